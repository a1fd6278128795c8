//! The fields that conditions look at, and what a record has in one.

use std::borrow::Cow;

use crate::record::RecordRef;
use crate::record::json::{Found, Pointer, is_json, is_shallow};

/// The type that SSE gives an event without one.
pub(crate) const NO_TYPE: &str = "message";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    Key,
    Type,
    Header(String),
    Value(Pointer),
}

/// The content of a record's field.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    Text(Cow<'a, str>),
    /// An object or an array.
    Nested,
    Null,
    /// There is no such field, as far as the value can be read.
    Lacking,
    /// It is not UTF-8, or could not be decoded.
    Unreadable,
}

impl Field {
    pub(crate) fn of<'a>(&self, record: &RecordRef<'a>) -> Content<'a> {
        match self {
            Field::Key if record.form.has_raw_key() => Content::Unreadable,
            Field::Key => text(record.key),
            Field::Type => {
                type_of(record).map_or(Content::Unreadable, |name| Content::Text(Cow::Borrowed(name)))
            }
            Field::Header(name) => text(record.headers.get(name)),
            Field::Value(_) if !record.form.has_fields() => Content::Lacking,
            Field::Value(pointer) => match record.value.and_then(|value| pointer.find(value)) {
                Some(Found::Text(text) | Found::Literal(text)) => Content::Text(text),
                Some(Found::Nested) => Content::Nested,
                Some(Found::Null) => Content::Null,
                None => Content::Lacking,
            },
        }
    }

    /// Whether the field is there, given its content: a field that is null is not. A record has a type only if it has one of its own,
    /// and a value also if that is not JSON.
    pub(crate) fn is_there(&self, content: &Content<'_>, record: &RecordRef<'_>) -> bool {
        match (self, content) {
            (Field::Type, _) => record.event_type.is_some(),
            (_, Content::Null) => false,
            (Field::Value(pointer), Content::Lacking) => pointer.is_whole() && record.value.is_some(),
            (_, Content::Lacking) => false,
            (_, Content::Text(_) | Content::Nested | Content::Unreadable) => true,
        }
    }

    /// Whether the field only seems to be missing because the value is not JSON, nests too deep to be searched, or could not be
    /// decoded. Called only if that makes a difference, since it reads the whole value.
    pub(crate) fn is_unreadable(&self, record: &RecordRef<'_>) -> bool {
        let is_json =
            |value: &[u8]| std::str::from_utf8(value).is_ok() && is_shallow(value) && is_json(value);
        match self {
            Field::Value(_) => record.value.is_some_and(|value| !record.form.has_fields() || !is_json(value)),
            Field::Type => type_of(record).is_none(),
            Field::Key | Field::Header(_) => false,
        }
    }
}

/// The record's type. `None`: it is not known, since it may be in what cannot be decoded.
pub(crate) fn type_of<'a>(record: &RecordRef<'a>) -> Option<&'a str> {
    record.event_type.or_else(|| record.form.flaw.is_none().then_some(NO_TYPE))
}

fn text(bytes: Option<&[u8]>) -> Content<'_> {
    match bytes.map(std::str::from_utf8) {
        None => Content::Lacking,
        Some(Ok(text)) => Content::Text(Cow::Borrowed(text)),
        Some(Err(_)) => Content::Unreadable,
    }
}
