//! One `where=` of a filter: a condition, or several of which one must hold.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use smallvec::SmallVec;

use crate::record::RecordRef;
use crate::record::alternatives;
use crate::record::field::{Content, Field};
use crate::record::field_name::parse_field;
use crate::record::number::{Number, is_any};
use crate::record::operand::{MAX_VALUES, values};
use crate::record::syntax_error::SyntaxError;

/// Conditions of all `where=` of a filter together, each alternative being one.
pub(crate) const MAX_CONDITIONS: usize = 32;
/// Characters of one `where=`.
const MAX_CHARS: usize = 4096;
const ACCEPTED_OPERATORS: &str = "=, !=, <, <=, >, >=, ^= or ?";
const BAR_IN_FIELD: &str = "a field whose name has |, ( or ) cannot be one of several alternatives, only the field of a where= of its own";
const NOT: &str = "! stands before a field with ? behind it, as in !value.a?; not equal is !=";

/// What one `where=` says. Alternatives are sorted by their texts: those in another order are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Clause {
    /// One at least.
    any_of: SmallVec<[Condition; 1]>,
}

#[derive(Clone, Debug)]
pub(crate) struct Condition {
    /// As it was written. Conditions are compared by it: it says everything else.
    pub(crate) text: String,
    pub(crate) field: Field,
    pub(crate) test: Test,
}

#[derive(Clone, Debug)]
pub(crate) enum Test {
    Any(Vec<String>),
    None(Vec<String>),
    Begins(Vec<String>),
    Order(Wanted, Bound),
    There,
    Lacking,
}

/// How the field of a record is to compare with the bound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a field is compared with by order.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) text: String,
    /// `None`: it is no number.
    pub(crate) number: Option<Number>,
}

impl Clause {
    /// Parses one `where=` that may have so many conditions.
    pub(crate) fn parse(text: &str, most: usize) -> Result<Clause, SyntaxError> {
        if let Some((at, _)) = text.char_indices().nth(MAX_CHARS) {
            return Err(SyntaxError::of(
                at,
                format_args!("longer than the {MAX_CHARS} characters that are accepted"),
            ));
        }
        let is_list = text.starts_with('(');
        let parts = match is_list {
            true => alternatives::split(text)?,
            false => vec![(0, text)],
        };
        if let Some((at, _)) = parts.get(most) {
            return Err(SyntaxError::of(
                *at,
                format_args!("at most {MAX_CONDITIONS} conditions are accepted, each alternative being one"),
            ));
        }
        let mut any_of: SmallVec<[Condition; 1]> = SmallVec::new();
        let mut values = MAX_VALUES;
        for (at, part) in parts {
            let condition = Condition::parse(part, is_list, values).map_err(|error| error.behind(at))?;
            values -= condition.test.values();
            any_of.push(condition);
        }
        any_of.sort();
        any_of.dedup();
        Ok(Clause { any_of })
    }

    pub(crate) fn any_of(&self) -> &[Condition] {
        &self.any_of
    }

    /// Whether it looks at nothing but the key.
    pub(crate) fn is_of_key(&self) -> bool {
        self.any_of().iter().all(|condition| condition.field == Field::Key)
    }

    pub(crate) fn holds(&self, record: &RecordRef<'_>) -> bool {
        self.any_of.iter().any(|condition| condition.holds(record))
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Condition) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

impl Hash for Condition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Condition {
    fn partial_cmp(&self, other: &Condition) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Condition {
    fn cmp(&self, other: &Condition) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Condition {
    /// `is_listed`: whether it stands among alternatives. `most`: how many values it may have.
    fn parse(text: &str, is_listed: bool, most: usize) -> Result<Condition, SyntaxError> {
        let (field, test) = match find_operator(text) {
            Some(at) => {
                check_not(text)?;
                let field = listed_field(&text[..at], is_listed)?;
                check_operator(text, at)?;
                (field, parse_test(text, at, most)?)
            }
            None => parse_presence(text, is_listed)?,
        };
        Ok(Condition { text: text.to_owned(), field, test })
    }

    pub(crate) fn holds(&self, record: &RecordRef<'_>) -> bool {
        let content = self.field.of(record);
        match (&self.test, &content) {
            (Test::There, _) => self.field.is_there(&content, record),
            (Test::Lacking, _) => !self.field.is_there(&content, record) && !self.field.is_unreadable(record),
            (test, Content::Text(text)) => test.holds(text),
            (Test::None(_), Content::Nested | Content::Null | Content::Lacking) => {
                !self.field.is_unreadable(record)
            }
            _ => false,
        }
    }
}

/// The first operator. `!` and `^` are part of one only before `=`.
fn find_operator(text: &str) -> Option<usize> {
    let at = text.find(['=', '<', '>'])?;
    let longer = text.as_bytes()[at] == b'=' && at > 0 && matches!(text.as_bytes()[at - 1], b'!' | b'^');
    Some(if longer { at - 1 } else { at })
}

/// Refuses a negation of other languages: `!value.a=1`.
fn check_not(text: &str) -> Result<(), SyntaxError> {
    let is_operator = text.starts_with("!=");
    if text.starts_with('!') && !is_operator { Err(SyntaxError::new(0, NOT)) } else { Ok(()) }
}

/// Refuses operators of other languages: an unknown one would be taken for a part of the field.
fn check_operator(text: &str, at: usize) -> Result<(), SyntaxError> {
    const OTHERS: [char; 6] = ['*', '$', '~', '|', ':', '%'];
    match text[..at].chars().next_back() {
        Some(sign) if OTHERS.contains(&sign) && text[at..].starts_with('=') => Err(SyntaxError::of(
            at - sign.len_utf8(),
            format_args!("{sign}= is not an operator; accepted: {ACCEPTED_OPERATORS}"),
        )),
        _ => Ok(()),
    }
}

/// A field; among alternatives, one without what separates these: names have no escapes.
fn listed_field(text: &str, is_listed: bool) -> Result<Field, SyntaxError> {
    let escaped = ["\\|", "\\(", "\\)"].iter().filter_map(|pair| text.find(pair)).min();
    if let (true, Some(at)) = (is_listed, escaped) {
        return Err(SyntaxError::new(at, BAR_IN_FIELD));
    }
    parse_field(text)
}

/// Parses a condition without an operator: `field?` or `!field?`.
fn parse_presence(text: &str, is_listed: bool) -> Result<(Field, Test), SyntaxError> {
    let Some(asked) = text.strip_suffix('?') else {
        check_not(text)?;
        listed_field(text, is_listed)?;
        return Err(SyntaxError::of(text.len(), format_args!("no operator; accepted: {ACCEPTED_OPERATORS}")));
    };
    let (field, start, test) = match asked.strip_prefix('!') {
        Some(field) => (field, 1, Test::Lacking),
        None => (asked, 0, Test::There),
    };
    let field = listed_field(field, is_listed).map_err(|error| error.behind(start))?;
    Ok((field, test))
}

/// Makes a test from its values.
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

/// Parses the operator at this byte, and its operand of at most so many values.
fn parse_test(text: &str, at: usize, most: usize) -> Result<Test, SyntaxError> {
    let known = OPERATORS.iter().find(|(operator, _)| text[at..].starts_with(operator));
    let (operator, make) = known.unwrap_or(&OPERATORS[OPERATORS.len() - 1]);
    let start = (at + operator.len()).min(text.len());
    let operand = &text[start..];
    let values = values(operand, most).map_err(|error| error.behind(start))?;
    let is_of_one = operator.starts_with(['<', '>']);
    if is_of_one && values.len() > 1 {
        let comma = start + values[0].len();
        return Err(SyntaxError::of(
            comma,
            format_args!("{operator} takes one value; a comma that belongs to it is written \\,"),
        ));
    }
    if is_of_one && operand.is_empty() {
        return Err(SyntaxError::of(start, format_args!("a value is needed after {operator}")));
    }
    Ok(make(values))
}

impl Test {
    fn order(wanted: Wanted, operand: Vec<String>) -> Test {
        let text = operand.into_iter().next().unwrap_or_default();
        Test::Order(wanted, Bound { number: Number::parse(&text), text })
    }

    pub(crate) fn values(&self) -> usize {
        match self {
            Test::Any(all) | Test::None(all) | Test::Begins(all) => all.len(),
            Test::Order(..) => 1,
            Test::There | Test::Lacking => 0,
        }
    }

    /// Whether it holds for a field with this text.
    fn holds(&self, text: &str) -> bool {
        match self {
            Test::Any(all) => is_any(text, all),
            Test::None(all) => !is_any(text, all),
            Test::Begins(all) => all.iter().any(|one| text.starts_with(one.as_str())),
            Test::Order(wanted, bound) => wanted.holds(bound.compare(text)),
            Test::There => true,
            Test::Lacking => false,
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

impl Bound {
    /// How a text compares with this: by number if both are numbers, else by its bytes.
    fn compare(&self, text: &str) -> Ordering {
        match self.number.and_then(|bound| Some((Number::parse(text)?, bound))) {
            Some((number, bound)) => number.compare(bound),
            None => text.cmp(&self.text),
        }
    }
}
