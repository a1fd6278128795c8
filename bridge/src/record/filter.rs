//! Which records a stream gets: event types, keys, and conditions such as `value.user=17` or `header.region=eu,us`.
//!
//! A condition is `<field><operator><value>`, `<field>?` (it is there) or `!<field>?` (it is not). Several of them in brackets,
//! `(value.total>100|header.vip=1)`, are alternatives: one must hold.
//! - Fields: `key`, `type`, `header.NAME`, `value.path.to.it` or `value/json/pointer` (for names with dots), and `value`, the
//!   whole of a value that is a single string, number or boolean. A record without an event type has `message`, as in SSE.
//! - Operators: `=`, `!=`, `^=` (begins with), `<`, `<=`, `>`, `>=`. After the first three, commas separate values of which one is
//!   enough. In values, commas, operators, brackets, bars, quotes and spaces at an edge are written with a backslash before them, and
//!   so is a backslash before one of those; brackets and bars may stand as they are where there are no alternatives.
//! - `17` is the number and the string. Order is by number where both sides are numbers, else by the bytes of their text.
//! - A field that is missing, null, an object or an array meets no condition except `!=`. One that is missing or null is not there;
//!   objects, arrays, and keys and headers of any bytes are. If the field cannot be read, because the value is not JSON or nests too
//!   deep, or the text is not UTF-8, or key or value cannot be decoded, no condition on its text is met, not even `!=`, nor is
//!   `!<field>?`. The same holds for the type of a record that cannot be decoded, where it would be in the value.

use std::collections::BTreeSet;

use crate::record::RecordRef;
use crate::record::condition::{Bound, Clause, Condition, MAX_CONDITIONS, Test, Wanted};
use crate::record::event_type::is_reserved;
use crate::record::field::{Field, NO_TYPE, type_of};
use crate::record::selector::Selector;
use crate::record::syntax_error::SyntaxError;

/// Limits of one filter, which is evaluated for each record.
const MAX_TYPES: usize = 100;
const MAX_KEYS: usize = 1000;

/// Which records a stream gets. Two filters with the same conditions in another order are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    types: BTreeSet<String>,
    keys: BTreeSet<String>,
    wheres: Vec<Clause>,
}

/// The filter that all records match.
pub(crate) static ANYTHING: Filter =
    Filter { types: BTreeSet::new(), keys: BTreeSet::new(), wheres: Vec::new() };

/// A filter that cannot be parsed, and where the error is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}, column {column}: {message}")]
pub struct FilterError {
    /// The parameter: `type`, `key` or `where`.
    pub parameter: &'static str,
    /// Which of the parameter's values, from 0.
    pub index: usize,
    /// The column in that value, in characters from 1.
    pub column: usize,
    /// What is wrong there, and what is accepted.
    pub message: String,
}

/// What a filter does with a record, unless an early condition fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    /// How often it reads the record's value: once for each condition on it.
    pub(crate) reads: usize,
    /// With how many values it compares what it has read.
    pub(crate) values: usize,
}

impl Filter {
    /// The most types, and the most conditions.
    pub const LIMITS: (usize, usize) = (MAX_TYPES, MAX_CONDITIONS);

    /// Parses a stream's parameters. A record's type must be one of `types`, its key one of `keys` (if empty: anything), and
    /// every one of `wheres` must hold: at most 32 conditions in all of them, with 256 values in each.
    ///
    /// # Errors
    /// The first value that cannot be parsed, with the column of the error.
    pub fn parse(types: &[String], keys: &[String], wheres: &[String]) -> Result<Filter, FilterError> {
        check_count("type", types.len(), MAX_TYPES)?;
        check_count("key", keys.len(), MAX_KEYS)?;
        check_count("where", wheres.len(), MAX_CONDITIONS)?;
        types.iter().enumerate().try_for_each(|(index, name)| check_type(index, name))?;
        let (mut clauses, mut left) = (Vec::new(), MAX_CONDITIONS);
        for (index, text) in wheres.iter().enumerate() {
            let clause = Clause::parse(text, left).map_err(|error| of_where(error, index, text))?;
            left -= clause.any_of().len();
            clauses.push(clause);
        }
        clauses.sort();
        clauses.dedup();
        let set = |values: &[String]| values.iter().cloned().collect();
        Ok(Filter { types: set(types), keys: set(keys), wheres: clauses })
    }

    /// Whether every record matches.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty() && self.keys.is_empty() && self.wheres.is_empty()
    }

    /// Whether the record matches. Never panics, whatever the record holds.
    pub fn matches(&self, record: &RecordRef<'_>) -> bool {
        let of_type = || type_of(record).is_some_and(|name| self.types.contains(name));
        (self.types.is_empty() || of_type())
            && self.has_key_of(record)
            && self.wheres.iter().all(|clause| clause.holds(record))
    }

    /// Whether it looks at nothing but the key, so that all records of a key match, or none.
    pub(crate) fn is_of_key(&self) -> bool {
        self.types.is_empty() && self.wheres.iter().all(Clause::is_of_key)
    }

    /// Whether a record with this record's key may match: its conditions on the key alone hold.
    pub(crate) fn admits_key(&self, record: &RecordRef<'_>) -> bool {
        let mut of_key = self.wheres.iter().filter(|clause| clause.is_of_key());
        self.has_key_of(record) && of_key.all(|clause| clause.holds(record))
    }

    /// How many conditions a record may be compared with that does not match: all but those of one `where=`, `type` or `key` by which
    /// the filters of a tenant are found without looking at each. Where several could be that one, it is the one with the fewest
    /// alternatives, since which of them it is depends on the tenant's other filters. `type` and `key` are one each, and so is each
    /// alternative.
    pub fn conditions(&self) -> usize {
        self.conditions_besides(&self.selectors())
    }

    /// The same for a stream that keeps state by key. It is told of records that do not match, so it is found by a condition on the
    /// key alone, if it has one.
    pub fn conditions_by_key(&self) -> usize {
        if self.is_of_key() {
            return self.conditions();
        }
        let mut selectors = self.selectors();
        selectors.retain(Selector::is_of_key);
        self.conditions_besides(&selectors)
    }

    fn conditions_besides(&self, selectors: &[Selector<'_>]) -> usize {
        let types_and_keys = usize::from(!self.types.is_empty()) + usize::from(!self.keys.is_empty());
        let found_by = selectors.iter().map(|selector| selector.any_of.len()).min();
        self.all_conditions().count() + types_and_keys - found_by.unwrap_or(0)
    }

    /// What it may cost to compare a record.
    pub(crate) fn effort(&self) -> Effort {
        let reads =
            self.all_conditions().filter(|condition| matches!(condition.field, Field::Value(_))).count();
        let values = self.all_conditions().map(|condition| condition.test.values()).sum();
        Effort { reads, values }
    }

    /// The fields of the conditions, each with its condition as it was written.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&Field, &str)> {
        self.all_conditions().map(|condition| (&condition.field, condition.text.as_str()))
    }

    /// The ways in which the filter can be found by what a record has in its fields: views are indexed by one of these.
    pub(crate) fn selectors(&self) -> Vec<Selector<'_>> {
        let keys = (!self.keys.is_empty()).then(|| Selector::equal(&Field::Key, &self.keys));
        let types = (!self.types.is_empty()).then(|| Selector::equal(&Field::Type, &self.types));
        let wheres = self.wheres.iter().filter_map(Selector::of);
        keys.into_iter().chain(wheres).chain(types).collect()
    }

    /// A bound that the filter requires a field to be on one side of, if it has such a condition that is no alternative: the first.
    pub(crate) fn bound(&self) -> Option<(&Field, Wanted, &Bound)> {
        self.wheres.iter().find_map(|clause| match clause.any_of() {
            [Condition { field, test: Test::Order(wanted, bound), .. }] => Some((field, *wanted, bound)),
            _ => None,
        })
    }

    /// Whether the record's key is one of `key=`, if there are any.
    fn has_key_of(&self, record: &RecordRef<'_>) -> bool {
        let readable = || record.key.filter(|_| !record.form.has_raw_key());
        let key = || readable().and_then(|key| std::str::from_utf8(key).ok());
        self.keys.is_empty() || key().is_some_and(|key| self.keys.contains(key))
    }

    fn all_conditions(&self) -> impl Iterator<Item = &Condition> {
        self.wheres.iter().flat_map(Clause::any_of)
    }
}

fn of_where(error: SyntaxError, index: usize, text: &str) -> FilterError {
    FilterError { parameter: "where", index, column: error.column(text), message: error.message.into_owned() }
}

fn check_count(parameter: &'static str, count: usize, most: usize) -> Result<(), FilterError> {
    if count <= most {
        return Ok(());
    }
    let message = format!("at most {most} of {parameter}= are accepted");
    Err(FilterError { parameter, index: most, column: 1, message })
}

/// Refuses a type that no record has: such a stream would never have an event.
fn check_type(index: usize, name: &str) -> Result<(), FilterError> {
    let message = match name {
        "" => format!("the name of a type is needed; records without a type have {NO_TYPE}"),
        _ if is_reserved(name) && name != NO_TYPE => format!(
            "no record has the type {name:?}, which is reserved; control events (tailrace.…) come to every stream"
        ),
        _ => return Ok(()),
    };
    Err(FilterError { parameter: "type", index, column: 1, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::field_name::ACCEPTED_FIELDS;

    const ACCEPTED_OPERATORS: &str = "=, !=, <, <=, >, >=, ^= or ?";

    #[test]
    fn the_effort_of_a_filter_is_that_of_all_its_conditions_and_one_equality_is_found_by_the_index() {
        let filter = |types: &[&str], wheres: &[&str]| {
            let own = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            Filter::parse(&own(types), &[], &own(wheres)).unwrap()
        };
        let one = filter(&["created"], &["value.a=1,2,3", "value.b>5", "header.c!=x,y"]);
        assert_eq!(one.effort(), Effort { reads: 2, values: 6 });
        assert_eq!(one.conditions(), 3);
        let one = filter(&[], &["(value.a=1,2|value.b?|key^=x)", "!value.c?"]);
        assert_eq!(one.effort(), Effort { reads: 3, values: 3 });
        assert_eq!(one.conditions(), 1);
        for (wheres, conditions) in [
            (&[][..], 0),
            (&["value.a=1"], 0),
            (&["value.a>1"], 0),
            (&["key^=1"], 0),
            (&["value.a?"], 0),
            (&["value.a!=1"], 1),
            (&["!value.a?"], 1),
            (&["value.a!=1", "key^=b"], 1),
            (&["value.a>1", "value.a<5"], 1),
            (&["(value.a>1|key=x|header.b?)"], 0),
            (&["(value.a>1|key!=x|header.b?)"], 3),
            (&["(value.a>1|key=x|header.b?)", "value.c=1", "value.d!=1"], 4),
        ] {
            assert_eq!(filter(&[], wheres).conditions(), conditions, "{wheres:?}");
        }
        for (wheres, conditions) in [
            (&[][..], 0),
            (&["key=x", "key!=y"], 1),
            (&["value.a=1"], 1),
            (&["value.a=1", "key^=b"], 1),
            (&["(value.a=1|key=x)"], 2),
        ] {
            assert_eq!(filter(&[], wheres).conditions_by_key(), conditions, "{wheres:?}");
        }
    }

    use crate::record::form::{Flaw, FlawCode, Form, Half, ValueForm};
    use crate::record::tenant::TenantId;
    use crate::record::{Headers, NewRecord, encode, written_headers};
    use proptest::prelude::*;

    struct Sample<'a> {
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        event_type: Option<&'a str>,
        headers: &'a [(&'a str, Option<&'a [u8]>)],
        form: Form,
    }

    const NOTHING_DECODED: Form = Form { value: ValueForm::Unknown, binary_key: false, flaw: None };

    const SAMPLE: Sample<'static> = Sample {
        key: Some(b"user-17"),
        value: Some(
            br#"{"user":17,"name":"17","big":9007199254740993,"price":1.50,"paid":true,"none":null,
                "deep":{"a.b":"x","list":["zero",{"id":"7"}],"7":"seven"},"at":"2026-01-31","esc":"a\nb,c"}"#,
        ),
        event_type: Some("created"),
        headers: &[("region", Some(b"eu")), ("bad", Some(b"\xff")), ("empty", None), ("prio", Some(b"9"))],
        form: NOTHING_DECODED,
    };

    fn matches(filter: &Filter, sample: &Sample<'_>) -> bool {
        let headers = written_headers(sample.headers);
        let new = NewRecord {
            offset: 0,
            epoch: 0,
            timestamp: 0,
            key: sample.key,
            value: sample.value,
            headers: Headers::written(&headers),
            tenant: TenantId::new("acme").unwrap(),
            event_type: sample.event_type.map(Into::into),
            form: sample.form,
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, &new);
        filter.matches(&RecordRef::decode(&bytes, 0, 0, 0))
    }

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|&one| one.to_owned()).collect()
    }

    fn parse(condition: &str) -> Filter {
        Filter::parse(&[], &[], &strings(&[condition])).unwrap_or_else(|why| panic!("{condition}: {why}"))
    }

    fn holds(condition: &str) -> bool {
        matches(&parse(condition), &SAMPLE)
    }

    #[test]
    fn a_value_that_nests_too_deep_to_be_searched_meets_no_condition() {
        let deep = |levels: usize| {
            format!("{{\"state\":\"deleted\",\"l\":{}{}}}", "[".repeat(levels), "]".repeat(levels))
        };
        for (levels, differs) in [(20, true), (129, false), (100_000, false)] {
            let value = deep(levels);
            let sample = Sample { value: Some(value.as_bytes()), ..SAMPLE };
            assert!(!matches(&parse("value.state!=deleted"), &sample), "{levels}");
            assert_eq!(matches(&parse("value.state!=paid"), &sample), differs, "{levels}");
        }
    }

    #[test]
    fn every_field_can_be_asked_for() {
        for condition in [
            "key=user-17",
            "type=created",
            "header.region=eu",
            "value.user=17",
            "value/user=17",
            "value/deep/a.b=x",
            "value.deep.list.0=zero",
            "value/deep/list/1/id=7",
            "value.deep.7=seven",
            "value.paid=true",
            "value.esc=a\nb\\,c",
        ] {
            assert!(holds(condition), "{condition}");
            assert!(!holds(&condition.replacen('=', "!=", 1)), "not {condition}");
        }
    }

    #[test]
    fn every_operator_holds_and_fails() {
        for (yes, no) in [
            ("value.user=16,17", "value.user=16,18"),
            ("value.user!=16,18", "value.user!=16,17"),
            ("value.user<17.5", "value.user<17"),
            ("value.user<=17", "value.user<=16.99"),
            ("value.user>9", "value.user>17"),
            ("value.user>=1.7e1", "value.user>=18"),
            ("key^=user-,admin-", "key^=ser"),
            ("value.at>=2026-01-02", "value.at<2026-01-02"),
            ("header.prio<10", "header.prio>10"),
        ] {
            assert!(holds(yes) && !holds(no), "{yes}, {no}");
        }
    }

    #[test]
    fn seventeen_is_the_number_and_the_string() {
        assert!(
            holds("value.user=17")
                && holds("value.name=17")
                && holds("value.user=17.0")
                && holds("value.price=1.5")
        );
        assert!(!holds("value.user=017"));
        assert!(!holds("value.big=9007199254740992") && holds("value.big>9007199254740992"));
    }

    #[test]
    fn what_is_lacking_meets_only_not_equal() {
        for field in [
            "value.x",
            "value.user.x",
            "value.none",
            "value.deep",
            "value.deep.list.9",
            "header.x",
            "header.empty",
        ] {
            assert!(holds(&format!("{field}!=17")), "{field}");
            for condition in ["=", "<0", "<=z", ">0", ">=0", "^="] {
                assert!(!holds(&format!("{field}{condition}")), "{field}{condition}");
            }
        }
        let bare = Sample { key: None, value: None, event_type: None, headers: &[], form: NOTHING_DECODED };
        assert!(matches(&parse("key!=a"), &bare) && matches(&parse("value.a!=a"), &bare));
        assert!(matches(&parse("type=message"), &bare));
    }

    #[test]
    fn a_field_that_is_null_is_not_there_and_any_other_is() {
        for field in [
            "key",
            "type",
            "header.region",
            "header.bad",
            "value",
            "value.user",
            "value.paid",
            "value.deep",
            "value/deep/a.b",
            "value.deep.list",
            "value.deep.list.1",
        ] {
            assert!(holds(&format!("{field}?")) && !holds(&format!("!{field}?")), "{field}");
        }
        for field in [
            "header.x",
            "header.empty",
            "value.x",
            "value.none",
            "value.none.x",
            "value.user.x",
            "value.deep.list.2",
        ] {
            assert!(!holds(&format!("{field}?")) && holds(&format!("!{field}?")), "{field}");
        }
        let bare = Sample { key: None, value: None, event_type: None, headers: &[], form: NOTHING_DECODED };
        for field in ["key", "type", "header.region", "value", "value.a"] {
            assert!(!matches(&parse(&format!("{field}?")), &bare), "{field}");
            assert!(matches(&parse(&format!("!{field}?")), &bare), "{field}");
        }
        let empty = Sample { key: Some(b""), value: Some(b"{\"a\":\"\",\"b\":[],\"c\":false}"), ..bare };
        for field in ["key", "value", "value.a", "value.b", "value.c"] {
            assert!(matches(&parse(&format!("{field}?")), &empty), "{field}");
        }
        // The value of a tombstone is not there; bytes and text that are no JSON are, and null is not.
        for (value, there) in
            [(&b"plain text"[..], true), (b"\xff", true), (b"", true), (b" null ", false), (b"0", true)]
        {
            let sample = Sample { value: Some(value), ..bare };
            assert_eq!(matches(&parse("value?"), &sample), there, "{value:?}");
            assert_eq!(matches(&parse("!value?"), &sample), !there, "{value:?}");
        }
        // Such a name can be asked for, too.
        let named = Sample { value: Some(br#"{"a?":1,"!b":2}"#), ..bare };
        for condition in ["value.a??", "value.a?=1", "value.!b?", "!value.a?", "!value.b?"] {
            assert!(matches(&parse(condition), &named), "{condition}");
        }
    }

    #[test]
    fn one_of_the_alternatives_is_enough() {
        for yes in [
            "(value.user=17)",
            "(value.user>100|header.region=eu)",
            "(value.user=17|header.region=us)",
            "(value.x?|value.y?|value.user?)",
            "(!value.x?|value.user=1)",
            "(value.user=1,17|key=x)",
            r"(value.deep.7=\(x\||key^=user\-,user-)",
        ] {
            assert!(holds(yes), "{yes}");
        }
        assert!(!holds("(value.user>100|header.region=us)"));
        assert!(!holds("(value.x?|key=user\\|17|!value.user?)"));
        let both = |wheres: &[&str]| matches(&Filter::parse(&[], &[], &strings(wheres)).unwrap(), &SAMPLE);
        assert!(both(&["(value.user=17|value.x?)", "(value.x?|type=created)", "key=user-17"]));
        assert!(!both(&["(value.user=17|value.x?)", "(value.x?|type=deleted)"]));
    }

    #[test]
    fn what_separates_alternatives_is_escaped_in_a_value_and_may_be_elsewhere() {
        let sample = Sample {
            key: Some(b"a|(b)"),
            value: None,
            event_type: None,
            headers: &[],
            form: NOTHING_DECODED,
        };
        for condition in ["key=a|(b)", r"key=a\|\(b\)", r"(key=a\|\(b\)|key=x)", r"(key^=a\|)"] {
            assert!(matches(&parse(condition), &sample), "{condition}");
        }
    }

    #[test]
    fn what_cannot_be_read_meets_nothing() {
        let broken = |value: &'static [u8]| Sample { value: Some(value), key: Some(b"\xff"), ..SAMPLE };
        for value in [&b""[..], b"{\"b\":1", b"plain text", b"{\"b\":\"\xff\"}", b"\0\0\0\0\x11a"] {
            for condition in [
                "value.a=1",
                "value.a!=1",
                "value.a<1",
                "value.a?",
                "!value.a?",
                "(value.a?|!value.a?|value.a!=1)",
                "key=a",
                "key!=a",
                "header.bad!=x",
            ] {
                assert!(!matches(&parse(condition), &broken(value)), "{condition} {value:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_decoded_meets_nothing_even_if_its_bytes_would() {
        let flawed = |half| {
            let form = Form { flaw: Some(Flaw { half, code: FlawCode::Mismatch }), ..NOTHING_DECODED };
            Sample { event_type: None, form, ..SAMPLE }
        };
        let (key, value) = (flawed(Half::Key), flawed(Half::Value));
        for condition in [
            "value.user=17",
            "value.user!=18",
            "value.x!=1",
            "value.user?",
            "!value.x?",
            "type=message",
            "type!=created",
            "!type?",
        ] {
            assert!(!matches(&parse(condition), &value), "{condition}");
        }
        assert!(matches(&parse("key=user-17"), &value) && matches(&parse("header.region=eu"), &value));
        for condition in ["key=user-17", "key!=user-18"] {
            assert!(!matches(&parse(condition), &key), "{condition}");
        }
        assert!(matches(&parse("value.user=17"), &key));
        let of = |types: &[&str], keys: &[&str]| Filter::parse(&strings(types), &strings(keys), &[]).unwrap();
        assert!(!matches(&of(&["message"], &[]), &value) && !matches(&of(&[], &["user-17"]), &key));
        assert!(matches(&of(&["created"], &[]), &Sample { event_type: Some("created"), ..value }));
        assert!(matches(&Filter::default(), &key));
    }

    #[test]
    fn what_is_text_or_binary_has_no_fields() {
        for value in [ValueForm::Text, ValueForm::Binary] {
            let sample = Sample { form: Form { value, ..NOTHING_DECODED }, ..SAMPLE };
            assert!(
                !matches(&parse("value.user=17"), &sample) && !matches(&parse("value.user!=18"), &sample)
            );
            assert!(matches(&parse("type=created"), &sample));
        }
        let json = Sample { form: Form { value: ValueForm::Json, ..NOTHING_DECODED }, ..SAMPLE };
        assert!(matches(&parse("value.user=17"), &json));
    }

    #[test]
    fn types_and_keys_are_any_of_and_wheres_are_all_of() {
        let filter = |types: &[&str], keys: &[&str], wheres: &[&str]| {
            matches(&Filter::parse(&strings(types), &strings(keys), &strings(wheres)).unwrap(), &SAMPLE)
        };
        assert!(filter(&[], &[], &[]));
        assert!(filter(
            &["deleted", "created"],
            &["a", "user-17"],
            &["value.user=17", "header.region=eu,us"]
        ));
        assert!(!filter(&["deleted"], &[], &[]));
        assert!(!filter(&[], &["a"], &[]));
        assert!(!filter(&[], &[], &["value.user=17", "header.region=us"]));
    }

    #[test]
    fn filters_that_say_the_same_share_a_view() {
        let one = Filter::parse(&strings(&["a", "b"]), &[], &strings(&["key=1", "type=2"])).unwrap();
        let two =
            Filter::parse(&strings(&["b", "a", "b"]), &[], &strings(&["type=2", "key=1", "key=1"])).unwrap();
        assert_eq!(one, two);
        assert!(Filter::default().is_empty() && !one.is_empty());
        assert_eq!(parse("(key=1|type=2)"), parse("(type=2|key=1|type=2)"));
        assert_eq!(parse("(key=1)"), parse("key=1"));
        assert_ne!(parse("(key=1|type=2)"), Filter::parse(&[], &[], &strings(&["key=1", "type=2"])).unwrap());
    }

    #[test]
    fn errors_name_the_column_and_what_is_accepted() {
        for (text, column, says) in [
            ("", 1, ACCEPTED_FIELDS),
            ("=17", 1, ACCEPTED_FIELDS),
            ("valeu.user=17", 1, ACCEPTED_FIELDS),
            ("values=17", 1, ACCEPTED_FIELDS),
            ("headers.x=1", 1, ACCEPTED_FIELDS),
            ("header.=1", 8, "name of a header"),
            ("value.user", 11, ACCEPTED_OPERATORS),
            ("value.üser", 11, ACCEPTED_OPERATORS),
            ("value.user!17", 14, ACCEPTED_OPERATORS),
            ("value.user?17", 14, ACCEPTED_OPERATORS),
            ("!value.user", 1, "!value.a?"),
            ("!value.user=17", 1, "!value.a?"),
            ("?", 1, ACCEPTED_FIELDS),
            ("!?", 2, ACCEPTED_FIELDS),
            ("!valeu?", 2, ACCEPTED_FIELDS),
            ("!value.a..b?", 10, "empty step"),
            ("value.user ?", 11, "a space between the field"),
            ("! value.user?", 2, "a space before the field"),
            ("value.a?|value.b=1", 9, "in brackets"),
            ("value.a=1|value.b=2", 10, "in brackets"),
            ("value.a=(1|2)", 9, "by commas"),
            ("(", 2, "no )"),
            ("()", 2, ACCEPTED_FIELDS),
            ("(value.a=1", 11, "no )"),
            ("(value.a=1|)", 12, ACCEPTED_FIELDS),
            ("(value.é=1|valeu.b=2)", 12, ACCEPTED_FIELDS),
            ("(value.é=1|value.b==2)", 20, "an operator within a value"),
            ("(value.a=1 | value.b=2)", 11, "a space at the edge"),
            ("(value.a=1|value.b)", 19, ACCEPTED_OPERATORS),
            ("(value.a=1|!value.b=1)", 12, "!value.a?"),
            ("(value.a=1|(key=2|type=3))", 12, "do not nest"),
            ("(value.a=1)|(key=2)", 12, "behind the )"),
            ("(value.a|value.b)=1", 18, "behind the )"),
            (r"(value/a\|b=1|key=2)", 9, "of its own"),
            ("value.=1", 7, "empty step"),
            ("value.é..b=1", 9, "empty step"),
            ("value.a.=1", 9, "empty step"),
            ("value.total==100", 13, "an operator within a value"),
            ("value.total=>100", 13, "an operator within a value"),
            ("value.total > 100", 12, "a space between the field"),
            (" value.total>100", 1, "a space before the field"),
            ("value.total> 100", 13, "a space at the edge"),
            ("value.items[0].id=3", 12, "value.items.0.id"),
            ("value.items['x']=3", 12, "value.items.x"),
            ("value.total>100 and value.state=paid", 32, "a where= each"),
            ("value.total>100 and", 17, "each is a where= of its own"),
            ("value.state=\"paid\"", 13, "without quotes"),
            ("value.total>1,000", 14, "takes one value"),
            ("value.total<=", 14, "a value is needed"),
        ] {
            let error = Filter::parse(&[], &[], &strings(&["key=1", text])).unwrap_err();
            assert_eq!((error.parameter, error.index, error.column), ("where", 1, column), "{text}: {error}");
            assert!(error.message.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn filters_without_measure_are_refused() {
        let many = |count: usize, one: &str| vec![one.to_owned(); count];
        assert_eq!(Filter::parse(&many(101, "a"), &[], &[]).unwrap_err().parameter, "type");
        assert_eq!(Filter::parse(&[], &many(1001, "a"), &[]).unwrap_err().parameter, "key");
        assert_eq!(Filter::parse(&[], &[], &many(33, "key=1")).unwrap_err().index, 32);
        assert_eq!(Filter::parse(&[], &[], &[format!("key={}", "é".repeat(5000))]).unwrap_err().column, 4097);
        assert!(Filter::parse(&[], &[], &[format!("value{}=1", ".a".repeat(33))]).is_err());
        assert!(Filter::parse(&[], &[], &[format!("value{}=1", "/a".repeat(33))]).is_err());
        // Alternatives count as conditions, and share the values of one where=.
        let list = |count: usize| format!("({})", vec!["key=1"; count].join("|"));
        assert!(Filter::parse(&[], &[], &[list(32)]).is_ok());
        let error = Filter::parse(&[], &[], &[list(33)]).unwrap_err();
        assert_eq!((error.index, error.column), (0, 2 + 32 * 6), "{error}");
        let distinct = |count: usize, from: usize| {
            let all: Vec<String> = (from..from + count).map(|n| format!("key={n:02}")).collect();
            format!("({})", all.join("|"))
        };
        assert!(Filter::parse(&[], &[], &[distinct(20, 0), distinct(12, 20)]).is_ok());
        let error = Filter::parse(&[], &[], &[distinct(20, 0), distinct(13, 20)]).unwrap_err();
        assert_eq!((error.index, error.column), (1, 2 + 12 * 7), "{error}");
        let error = Filter::parse(&[], &[], &[distinct(32, 0), "key=1".to_owned()]).unwrap_err();
        assert_eq!((error.index, error.column), (1, 1), "{error}");
        let values = |count: usize| vec!["1"; count].join(",");
        assert!(Filter::parse(&[], &[], &[format!("(key={}|key={})", values(200), values(56))]).is_ok());
        let error =
            Filter::parse(&[], &[], &[format!("(key={}|key={})", values(200), values(57))]).unwrap_err();
        assert_eq!(error.column, 1 + 5 + 399 + 5 + 112, "{error}");
        let error = Filter::parse(&[], &[], &[format!("(key={}|key>5)", values(256))]).unwrap_err();
        assert_eq!(error.column, 1 + 5 + 511 + 5, "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_or_matching_panic(
            condition in r"[!(]?(value|value\.|value/|header\.|key|type)?[a-z0-9./~é]{0,6}[=!<>^?]{0,3}.{0,6}[|)]?|\((value\.a|key)[=?|)(\\x!]{0,12}|.{0,20}",
            value in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(filter) = Filter::parse(&[], &[], std::slice::from_ref(&condition)) {
                matches(&filter, &SAMPLE);
                matches(&filter, &Sample { value: Some(&value), ..SAMPLE });
            }
        }

        #[test]
        fn equal_and_not_equal_part_the_records_that_can_be_read(operand in "[0-9a-z,]{0,4}") {
            prop_assert_ne!(holds(&format!("value.user={operand}")), holds(&format!("value.user!={operand}")));
        }
    }
}
