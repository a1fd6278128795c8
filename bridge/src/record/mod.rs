//! A decoded Kafka record: as it comes in, and as a segment stores it, in one run of bytes.
//!
//! The form in memory is private to this process: a byte that says what decoding found out ([`form`]), then key, value and event
//! type, each after its length + 1 (0: none), then each header's name and value in the same form, to the end.
//!
//! ```
//! use tailrace_bridge::{Filter, Form, Headers, RawRecord, RecordRef, TenantNames, TenantRules, put_header};
//!
//! let mut headers = Vec::new();
//! put_header(&mut headers, "tenant", Some(b"acme"));
//! let headers = Headers::written(&headers);
//! let (key, value) = (Some(&b"order-7"[..]), Some(&br#"{"total":120}"#[..]));
//!
//! let rules: TenantRules = "header:tenant".parse()?;
//! let tenant = rules.tenant_of("orders", &RawRecord { key, value, headers, flaw: None }, &mut TenantNames::default())?;
//! assert_eq!(tenant.as_str(), "acme");
//!
//! let filter = Filter::parse(&[], &[], &["value.total>=100".to_owned()])?;
//! let (offset, epoch, timestamp, event_type, form) = (0, 0, 0, None, Form::default());
//! assert!(filter.matches(&RecordRef { offset, epoch, timestamp, key, value, event_type, headers, form }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alternatives;
pub(crate) mod condition;
pub(crate) mod event_type;
pub(crate) mod field;
mod field_name;
pub(crate) mod filter;
pub(crate) mod form;
pub(crate) mod json;
pub(crate) mod key_hash;
pub(crate) mod mask;
pub(crate) mod mask_edit;
pub(crate) mod mask_rule;
pub(crate) mod masked_paths;
pub(crate) mod number;
mod operand;
pub(crate) mod pseudonym;
pub(crate) mod routing;
pub(crate) mod selector;
mod syntax_error;
pub(crate) mod tenant;
pub(crate) mod trace_context;

use std::borrow::Cow;

use crate::base::varint::{MAX_VARINT, put_varint, take_varint};
use crate::record::form::{Flaw, Form};
use crate::record::tenant::TenantId;

/// A record's headers, in order: names may repeat, values may be missing.
///
/// They are in one run of bytes, as a segment stores them, so that their source may be freed before the record is appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// The headers that [`put_header`] wrote. Other bytes give incomplete headers, never a panic.
    pub fn written(bytes: &'a [u8]) -> Headers<'a> {
        Headers(bytes)
    }

    /// Name and value of each header.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        self.raw().map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
    }

    /// The value of the last header of that name: the current one for Kafka's own clients.
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.raw().filter(|(known, _)| *known == name.as_bytes()).last().and_then(|(_, value)| value)
    }

    fn raw(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || Some((take_bytes(&mut rest)??, take_bytes(&mut rest)?)))
    }
}

/// Appends a header, for [`Headers::written`].
pub fn put_header(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    put_bytes(out, Some(name.as_bytes()));
    put_bytes(out, value);
}

/// What rules read before a record has a tenant.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawRecord<'a> {
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
    /// Which half of it could not be decoded: no rule looks into that.
    pub flaw: Option<Flaw>,
}

/// A record to append.
#[derive(Clone, Debug)]
pub struct NewRecord<'a> {
    /// Its offset.
    pub offset: u64,
    /// The leader epoch under which it was written; -1: not known.
    pub epoch: i32,
    /// Milliseconds since the Unix epoch; -1: none.
    pub timestamp: i64,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
    /// The tenant whose record it is.
    pub tenant: TenantId,
    /// The SSE event type, checked by the rule that gave it.
    pub event_type: Option<Cow<'a, str>>,
    /// What decoding says of key and value.
    pub form: Form,
}

/// A record in memory.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Its offset.
    pub offset: u64,
    /// The leader epoch under which it was written; -1: not known.
    pub epoch: i32,
    /// Milliseconds since the Unix epoch; -1: none.
    pub timestamp: i64,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The SSE event type.
    pub event_type: Option<&'a str>,
    /// Its headers.
    pub headers: Headers<'a>,
    /// What decoding says of key and value.
    pub form: Form,
}

impl<'a> RecordRef<'a> {
    /// Reads what [`encode`] wrote. Other bytes give an incomplete record, never a panic.
    pub(crate) fn decode(bytes: &'a [u8], offset: u64, epoch: i32, timestamp: i64) -> RecordRef<'a> {
        let (form, mut rest) = match bytes.split_first() {
            Some((form, rest)) => (Form::of_byte(*form), rest),
            None => (Form::default(), bytes),
        };
        let key = take_bytes(&mut rest).flatten();
        let value = take_bytes(&mut rest).flatten();
        let event_type =
            take_bytes(&mut rest).flatten().and_then(|event_type| std::str::from_utf8(event_type).ok());
        RecordRef { offset, epoch, timestamp, key, value, event_type, headers: Headers(rest), form }
    }
}

/// Appends the record's bytes, without offset, epoch and timestamp.
pub(crate) fn encode(out: &mut Vec<u8>, record: &NewRecord<'_>) {
    out.reserve(most_bytes(record));
    out.push(record.form.to_byte());
    put_bytes(out, record.key);
    put_bytes(out, record.value);
    put_bytes(out, record.event_type.as_deref().map(str::as_bytes));
    out.extend_from_slice(record.headers.0);
}

/// The most bytes that it may take, so that memory is reserved once.
fn most_bytes(record: &NewRecord<'_>) -> usize {
    let len = |bytes: Option<&[u8]>| MAX_VARINT + bytes.map_or(0, <[u8]>::len);
    let event_type = record.event_type.as_deref().map(str::as_bytes);
    1 + len(record.key) + len(record.value) + len(event_type) + record.headers.0.len()
}

#[inline]
fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.push(0),
        Some(bytes) => {
            put_varint(out, bytes.len() as u64 + 1);
            out.extend_from_slice(bytes);
        }
    }
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Some(len) = take_varint(rest)?.checked_sub(1) else { return Some(None) };
    let (bytes, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = after;
    Some(Some(bytes))
}

/// The bytes of a list of headers.
#[cfg(test)]
pub(crate) fn written_headers(list: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    list.iter().for_each(|(name, value)| put_header(&mut bytes, name, *value));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn some_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
        proptest::option::of(vec(any::<u8>(), 0..300))
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(
            key in some_bytes(),
            value in some_bytes(),
            event_type in proptest::option::of(".{0,20}"),
            headers in vec((".{0,8}", some_bytes()), 0..5),
            form: u8,
        ) {
            let borrowed: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            let written = written_headers(&borrowed);
            let record = NewRecord {
                offset: 5, epoch: 2, timestamp: 9,
                key: key.as_deref(), value: value.as_deref(), headers: Headers::written(&written),
                tenant: TenantId::new("acme").unwrap(),
                event_type: event_type.as_deref().map(Cow::Borrowed),
                form: Form::of_byte(form),
            };
            let mut bytes = Vec::new();
            encode(&mut bytes, &record);
            let read = RecordRef::decode(&bytes, 5, 2, 9);
            prop_assert_eq!((read.offset, read.epoch, read.timestamp), (5, 2, 9));
            prop_assert_eq!(read.form, Form::of_byte(form));
            prop_assert_eq!(read.key, key.as_deref());
            prop_assert_eq!(read.value, value.as_deref());
            prop_assert_eq!(read.event_type, event_type.as_deref());
            prop_assert_eq!(read.headers.iter().collect::<Vec<_>>(), borrowed.clone());
            if let Some((name, value)) = borrowed.last() {
                prop_assert_eq!(read.headers.get(name), *value);
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
            RecordRef::decode(&bytes, 0, 0, 0).headers.iter().count();
        }
    }
}
