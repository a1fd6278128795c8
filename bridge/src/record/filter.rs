//! Which records a stream gets: event types, keys, and conditions such as `value.user=17` or `header.region=eu,us`.
//!
//! A condition is `<field><operator><value>`.
//! - Fields: `key`, `type`, `header.NAME`, `value.path.to.it` or `value/json/pointer` (for names with dots), and `value`, the
//!   whole of a value that is a single string, number or boolean. A record without an event type has `message`, as in SSE.
//! - Operators: `=`, `!=`, `^=` (begins with), `<`, `<=`, `>`, `>=`. After the first three, commas separate alternatives.
//!   In values, commas, operators, quotes and spaces at an edge are written with a backslash before them, and so is a backslash
//!   before one of those.
//! - `17` is the number and the string. Order is by number where both sides are numbers, else by the bytes of their text.
//! - A field that is missing, null, an object or an array meets no condition except `!=`. If the field cannot be read, because
//!   the value is not JSON or nests too deep, or the text is not UTF-8, no condition is met, not even `!=`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::BuildHasher;

use crate::record::RecordRef;
use crate::record::event_type::is_reserved;
use crate::record::json::{Found, Pointer, is_json, is_shallow};
use crate::record::operand::alternatives;

/// Limits of one filter, which is evaluated for each record.
const MAX_TYPES: usize = 100;
const MAX_KEYS: usize = 1000;
const MAX_WHERES: usize = 32;
/// Characters of one condition, and steps of a path in it.
const MAX_WHERE_CHARS: usize = 4096;
const MAX_STEPS: usize = 32;
/// The type that SSE gives an event without one.
const NO_TYPE: &str = "message";
const ACCEPTED_FIELDS: &str = "key, type, header.NAME, value.path.to.it or value/json/pointer";
const ACCEPTED_OPERATORS: &str = "=, !=, <, <=, >, >= or ^=";

/// Which records a stream gets. Two filters with the same conditions in another order are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    types: BTreeSet<String>,
    keys: BTreeSet<String>,
    wheres: Vec<Condition>,
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

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Condition {
    /// As it was written, for sorting the conditions.
    text: String,
    field: Field,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    Key,
    Type,
    Header(String),
    Value(Pointer),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Test {
    Any(Vec<String>),
    None(Vec<String>),
    Begins(Vec<String>),
    Order { wanted: Wanted, operand: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A condition that holds only for records with one of a few values in a field.
#[derive(Clone, Debug)]
pub(crate) struct Equality<'a> {
    pub(crate) field: &'a Field,
    values: Vec<&'a str>,
}

impl<'a> Equality<'a> {
    fn of(field: &'a Field, values: impl IntoIterator<Item = &'a String>) -> Equality<'a> {
        Equality { field, values: values.into_iter().map(String::as_str).collect() }
    }

    /// The hashes of the values, as [`Field::hash_in`] computes them.
    pub(crate) fn hashes(&self, hasher: &impl BuildHasher) -> impl Iterator<Item = u64> {
        self.values.iter().map(|value| hash_of(value, hasher))
    }
}

/// The hash is the same for all texts that are equal, as numbers or as text.
fn hash_of(text: &str, hasher: &impl BuildHasher) -> u64 {
    match text.parse::<f64>() {
        // Minus zero becomes zero.
        Ok(number) if is_number(text) => hasher.hash_one((number + 0.0).to_bits()),
        _ => hasher.hash_one(text),
    }
}

/// The content of a record's field.
enum Content<'a> {
    Text(Cow<'a, str>),
    Lacking,
    /// It is not UTF-8.
    Unreadable,
}

impl Filter {
    /// Parses a stream's parameters. A record's type must be one of `types`, its key one of `keys` (if empty: anything), and
    /// every one of `wheres` must hold.
    ///
    /// # Errors
    /// The first value that cannot be parsed, with the column of the error.
    pub fn parse(types: &[String], keys: &[String], wheres: &[String]) -> Result<Filter, FilterError> {
        check_count("type", types.len(), MAX_TYPES)?;
        check_count("key", keys.len(), MAX_KEYS)?;
        check_count("where", wheres.len(), MAX_WHERES)?;
        types.iter().enumerate().try_for_each(|(index, name)| check_type(index, name))?;
        let mut conditions = Vec::new();
        for (index, text) in wheres.iter().enumerate() {
            let at_fault = |flaw: Flaw| flaw.in_parameter("where", index, text);
            conditions.push(parse_condition(text).map_err(at_fault)?);
        }
        conditions.sort_by(|a, b| a.text.cmp(&b.text));
        conditions.dedup();
        let set = |values: &[String]| values.iter().cloned().collect();
        Ok(Filter { types: set(types), keys: set(keys), wheres: conditions })
    }

    /// Whether every record matches.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty() && self.keys.is_empty() && self.wheres.is_empty()
    }

    /// Whether the record matches. Never panics, whatever the record holds.
    pub fn matches(&self, record: &RecordRef<'_>) -> bool {
        let of_type = || self.types.contains(record.event_type.unwrap_or(NO_TYPE));
        let of_key = || {
            let key = record.key.and_then(|key| std::str::from_utf8(key).ok());
            key.is_some_and(|key| self.keys.contains(key))
        };
        (self.types.is_empty() || of_type())
            && (self.keys.is_empty() || of_key())
            && self.wheres.iter().all(|condition| condition.holds(record))
    }

    /// Whether it looks at nothing but the key, so that all records of a key match, or none.
    pub(crate) fn is_of_key(&self) -> bool {
        self.types.is_empty() && self.wheres.iter().all(|condition| condition.field == Field::Key)
    }

    /// Whether a record of this record's key may match: its conditions on the key hold.
    pub(crate) fn admits_key(&self, record: &RecordRef<'_>) -> bool {
        let key = record.key.and_then(|key| std::str::from_utf8(key).ok());
        let of_key = self.wheres.iter().filter(|condition| condition.field == Field::Key);
        (self.keys.is_empty() || key.is_some_and(|key| self.keys.contains(key)))
            && of_key.into_iter().all(|condition| condition.holds(record))
    }

    /// How many conditions a record may be compared with, but for one that requires one of a few values: by that, the filters of a
    /// tenant are found without looking at each. `type` and `key` are one each.
    pub fn conditions(&self) -> usize {
        let all =
            self.wheres.len() + usize::from(!self.types.is_empty()) + usize::from(!self.keys.is_empty());
        all - usize::from(!self.equalities().is_empty())
    }

    /// What it may cost to compare a record.
    pub(crate) fn effort(&self) -> Effort {
        let reads = self.wheres.iter().filter(|condition| matches!(condition.field, Field::Value(_))).count();
        let values = self.wheres.iter().map(|condition| condition.test.values()).sum();
        Effort { reads, values }
    }

    /// The fields of the conditions, each with its condition as it was written.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&Field, &str)> {
        self.wheres.iter().map(|condition| (&condition.field, condition.text.as_str()))
    }

    /// The conditions that require one of a few values: views are indexed by these.
    pub(crate) fn equalities(&self) -> Vec<Equality<'_>> {
        let keys = (!self.keys.is_empty()).then(|| Equality::of(&Field::Key, &self.keys));
        let types = (!self.types.is_empty()).then(|| Equality::of(&Field::Type, &self.types));
        let wheres = self.wheres.iter().filter_map(|condition| match &condition.test {
            Test::Any(values) => Some(Equality::of(&condition.field, values)),
            _ => None,
        });
        keys.into_iter().chain(wheres).chain(types).collect()
    }
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

/// An error at a byte of a condition.
struct Flaw {
    at: usize,
    message: String,
}

impl Flaw {
    fn new(at: usize, message: impl fmt::Display) -> Flaw {
        Flaw { at, message: message.to_string() }
    }

    fn in_parameter(self, parameter: &'static str, index: usize, text: &str) -> FilterError {
        let before = text.char_indices().take_while(|(at, _)| *at < self.at).count();
        FilterError { parameter, index, column: before + 1, message: self.message }
    }
}

fn parse_condition(text: &str) -> Result<Condition, Flaw> {
    if let Some((at, _)) = text.char_indices().nth(MAX_WHERE_CHARS) {
        return Err(Flaw::new(
            at,
            format_args!("longer than the {MAX_WHERE_CHARS} characters that are accepted"),
        ));
    }
    let at = find_operator(text);
    let field = &text[..at.unwrap_or(text.len())];
    check_edges(field)?;
    let field = parse_field(field)?;
    let Some(at) = at else {
        return Err(Flaw::new(text.len(), format_args!("no operator; accepted: {ACCEPTED_OPERATORS}")));
    };
    check_operator(text, at)?;
    Ok(Condition { text: text.to_owned(), field, test: parse_test(text, at)? })
}

/// The first operator. `!` and `^` are part of one only before `=`.
fn find_operator(text: &str) -> Option<usize> {
    let at = text.find(['=', '<', '>'])?;
    let longer = text.as_bytes()[at] == b'=' && at > 0 && matches!(text.as_bytes()[at - 1], b'!' | b'^');
    Some(if longer { at - 1 } else { at })
}

/// Refuses operators of other languages: an unknown one would be taken for a part of the field.
fn check_operator(text: &str, at: usize) -> Result<(), Flaw> {
    const OTHERS: [char; 6] = ['*', '$', '~', '|', ':', '%'];
    match text[..at].chars().next_back() {
        Some(sign) if OTHERS.contains(&sign) && text[at..].starts_with('=') => Err(Flaw::new(
            at - sign.len_utf8(),
            format_args!("{sign}= is not an operator; accepted: {ACCEPTED_OPERATORS}"),
        )),
        _ => Ok(()),
    }
}

/// Refuses space around a field: no field has such a name.
fn check_edges(field: &str) -> Result<(), Flaw> {
    let (begin, end) = (field.trim_start(), field.trim_end());
    match (begin.len() < field.len(), end.len() < field.len()) {
        (true, _) => Err(Flaw::new(0, "a space before the field")),
        (false, true) => Err(Flaw::new(end.len(), "a space between the field and its operator")),
        (false, false) => Ok(()),
    }
}

fn parse_field(text: &str) -> Result<Field, Flaw> {
    let unknown = || Flaw::new(0, format_args!("{text:?} is not a field; accepted: {ACCEPTED_FIELDS}"));
    match text {
        "key" => return Ok(Field::Key),
        "type" => return Ok(Field::Type),
        "value" => return Ok(Field::Value(Pointer::of_steps(std::iter::empty::<&str>()))),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("header.") {
        return match name {
            "" => Err(Flaw::new(text.len(), "no name of a header after header.")),
            name => Ok(Field::Header(name.to_owned())),
        };
    }
    let path = text.strip_prefix("value").ok_or_else(unknown)?;
    match path.as_bytes().first() {
        Some(b'.') => parse_path(&path[1..], "value.".len()),
        Some(b'/') => parse_pointer(path),
        _ => Err(unknown()),
    }
}

fn parse_path(path: &str, start: usize) -> Result<Field, Flaw> {
    let mut at = start;
    for step in path.split('.') {
        if step.is_empty() {
            return Err(Flaw::new(
                at,
                "an empty step; for names that are empty or have dots, use value/json/pointer",
            ));
        }
        if let (Some(bracket), true) = (step.find('['), step.ends_with(']')) {
            let meant = path.replace('[', ".").replace(']', "").replace(['"', '\''], "");
            return Err(Flaw::new(
                at + bracket,
                format_args!(
                    "steps have dots before them, not brackets around them: value.{meant}; a name with brackets is reached by value/json/pointer"
                ),
            ));
        }
        at += step.len() + 1;
    }
    check_steps(path.split('.').count())?;
    Ok(Field::Value(Pointer::of_steps(path.split('.'))))
}

fn parse_pointer(path: &str) -> Result<Field, Flaw> {
    check_steps(path.split('/').count() - 1)?;
    Pointer::parse(path).map(Field::Value).map_err(|why| Flaw::new("value".len(), why))
}

fn check_steps(count: usize) -> Result<(), Flaw> {
    match count {
        ..=MAX_STEPS => Ok(()),
        _ => Err(Flaw::new("value".len(), format_args!("at most {MAX_STEPS} steps are accepted"))),
    }
}

/// Makes a test from its alternatives.
type MakeTest = fn(Vec<String>) -> Test;

/// The operators, each before those that it begins with.
const OPERATORS: [(&str, MakeTest); 7] = [
    ("!=", Test::None),
    ("^=", Test::Begins),
    ("<=", |operand| Test::order(Wanted::LessOrEqual, operand)),
    (">=", |operand| Test::order(Wanted::GreaterOrEqual, operand)),
    ("<", |operand| Test::order(Wanted::Less, operand)),
    (">", |operand| Test::order(Wanted::Greater, operand)),
    ("=", Test::Any),
];

/// Parses the operator at this byte, and its operand.
fn parse_test(text: &str, at: usize) -> Result<Test, Flaw> {
    let known = OPERATORS.iter().find(|(operator, _)| text[at..].starts_with(operator));
    let (operator, make) = known.unwrap_or(&OPERATORS[OPERATORS.len() - 1]);
    let start = (at + operator.len()).min(text.len());
    let operand = &text[start..];
    let values = alternatives(operand).map_err(|fault| Flaw::new(start + fault.at, fault.message))?;
    let is_of_one = operator.starts_with(['<', '>']);
    if is_of_one && values.len() > 1 {
        let comma = start + values[0].len();
        return Err(Flaw::new(
            comma,
            format_args!("{operator} takes one value; a comma that belongs to it is written \\,"),
        ));
    }
    if is_of_one && operand.is_empty() {
        return Err(Flaw::new(start, format_args!("a value is needed after {operator}")));
    }
    Ok(make(values))
}

impl Condition {
    fn holds(&self, record: &RecordRef<'_>) -> bool {
        match self.field.of(record) {
            Content::Text(text) => self.test.holds(&text),
            Content::Lacking => matches!(self.test, Test::None(_)) && !self.field.is_unreadable(record),
            Content::Unreadable => false,
        }
    }
}

impl Field {
    fn of<'a>(&self, record: &RecordRef<'a>) -> Content<'a> {
        match self {
            Field::Key => text(record.key),
            Field::Type => Content::Text(Cow::Borrowed(record.event_type.unwrap_or(NO_TYPE))),
            Field::Header(name) => text(record.headers.get(name)),
            Field::Value(pointer) => match record.value.and_then(|value| pointer.find(value)) {
                Some(Found::Text(text) | Found::Literal(text)) => Content::Text(text),
                _ => Content::Lacking,
            },
        }
    }

    /// The hash of the record's content in this field; `None` if that cannot be equal to any value.
    pub(crate) fn hash_in(&self, record: &RecordRef<'_>, hasher: &impl BuildHasher) -> Option<u64> {
        match self.of(record) {
            Content::Text(text) => Some(hash_of(&text, hasher)),
            Content::Lacking | Content::Unreadable => None,
        }
    }

    /// Whether the field only seems to be missing because the value is not JSON, or nests too deep to be searched. Called only if
    /// that makes a difference, since it reads the whole value.
    fn is_unreadable(&self, record: &RecordRef<'_>) -> bool {
        let is_json =
            |value: &[u8]| std::str::from_utf8(value).is_ok() && is_shallow(value) && is_json(value);
        matches!(self, Field::Value(_)) && record.value.is_some_and(|value| !is_json(value))
    }
}

fn text(bytes: Option<&[u8]>) -> Content<'_> {
    match bytes.map(std::str::from_utf8) {
        None => Content::Lacking,
        Some(Ok(text)) => Content::Text(Cow::Borrowed(text)),
        Some(Err(_)) => Content::Unreadable,
    }
}

impl Test {
    fn order(wanted: Wanted, operand: Vec<String>) -> Test {
        Test::Order { wanted, operand: operand.into_iter().next().unwrap_or_default() }
    }

    fn values(&self) -> usize {
        match self {
            Test::Any(all) | Test::None(all) | Test::Begins(all) => all.len(),
            Test::Order { .. } => 1,
        }
    }

    fn holds(&self, text: &str) -> bool {
        match self {
            Test::Any(all) => all.iter().any(|one| equal(text, one)),
            Test::None(all) => !all.iter().any(|one| equal(text, one)),
            Test::Begins(all) => all.iter().any(|one| text.starts_with(one.as_str())),
            Test::Order { wanted, operand } => wanted.holds(compare(text, operand)),
        }
    }
}

impl Wanted {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Wanted::Less => order.is_lt(),
            Wanted::LessOrEqual => order.is_le(),
            Wanted::Greater => order.is_gt(),
            Wanted::GreaterOrEqual => order.is_ge(),
        }
    }
}

fn equal(text: &str, operand: &str) -> bool {
    text == operand || compare_numbers(text, operand) == Some(Ordering::Equal)
}

fn compare(text: &str, operand: &str) -> Ordering {
    compare_numbers(text, operand).unwrap_or_else(|| text.cmp(operand))
}

/// Whole numbers compare exactly, others as doubles.
fn compare_numbers(a: &str, b: &str) -> Option<Ordering> {
    if !is_number(a) || !is_number(b) {
        return None;
    }
    match (a.parse::<i128>(), b.parse::<i128>()) {
        (Ok(a), Ok(b)) => Some(a.cmp(&b)),
        _ => a.parse::<f64>().ok()?.partial_cmp(&b.parse::<f64>().ok()?),
    }
}

/// Whether the text is a number as JSON writes it. What looks like a number but is a name (`007`, `+1`, `inf`) is text.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let starts = matches!(digits, [b'0'] | [b'0', b'.' | b'e' | b'E', ..] | [b'1'..=b'9', ..]);
    starts && digits.iter().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effort_of_a_filter_is_that_of_all_its_conditions_and_one_equality_is_found_by_the_index() {
        let filter = |types: &[&str], wheres: &[&str]| {
            let own = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            Filter::parse(&own(types), &[], &own(wheres)).unwrap()
        };
        let one = filter(&["created"], &["value.a=1,2,3", "value.b>5", "header.c!=x,y"]);
        assert_eq!(one.effort(), Effort { reads: 2, values: 6 });
        assert_eq!(one.conditions(), 3);
        for (wheres, conditions) in
            [(&[][..], 0), (&["value.a=1"], 0), (&["value.a>1"], 1), (&["value.a!=1", "key^=b"], 2)]
        {
            assert_eq!(filter(&[], wheres).conditions(), conditions, "{wheres:?}");
        }
    }

    use crate::record::tenant::TenantId;
    use crate::record::{Headers, NewRecord, encode, written_headers};
    use proptest::prelude::*;

    struct Sample<'a> {
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        event_type: Option<&'a str>,
        headers: &'a [(&'a str, Option<&'a [u8]>)],
    }

    const SAMPLE: Sample<'static> = Sample {
        key: Some(b"user-17"),
        value: Some(
            br#"{"user":17,"name":"17","big":9007199254740993,"price":1.50,"paid":true,"none":null,
                "deep":{"a.b":"x","list":["zero",{"id":"7"}],"7":"seven"},"at":"2026-01-31","esc":"a\nb,c"}"#,
        ),
        event_type: Some("created"),
        headers: &[("region", Some(b"eu")), ("bad", Some(b"\xff")), ("empty", None), ("prio", Some(b"9"))],
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
        let bare = Sample { key: None, value: None, event_type: None, headers: &[] };
        assert!(matches(&parse("key!=a"), &bare) && matches(&parse("value.a!=a"), &bare));
        assert!(matches(&parse("type=message"), &bare));
    }

    #[test]
    fn what_cannot_be_read_meets_nothing() {
        let broken = |value: &'static [u8]| Sample { value: Some(value), key: Some(b"\xff"), ..SAMPLE };
        for value in [&b""[..], b"{\"b\":1", b"plain text", b"{\"b\":\"\xff\"}", b"\0\0\0\0\x11a"] {
            for condition in ["value.a=1", "value.a!=1", "value.a<1", "key=a", "key!=a", "header.bad!=x"] {
                assert!(!matches(&parse(condition), &broken(value)), "{condition} {value:?}");
            }
        }
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
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_or_matching_panic(
            condition in r"(value|value\.|value/|header\.|key|type)?[a-z0-9./~é]{0,6}[=!<>^]{0,3}.{0,6}|.{0,20}",
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
