//! The forms of a record's data, and one of them: JSON with all that Kafka has of the record.

use std::fmt;
use std::str::FromStr;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::record::RecordRef;
use crate::record::form::{Flaw, ValueForm};
use crate::record::json::is_json;
use crate::sse::framing::EventName;
use crate::sse::privacy::Look;

/// The form of a record's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Envelope {
    /// The value as it is.
    #[default]
    None,
    /// An object with topic, partition, offset, timestamp, key, headers and value.
    Record,
    /// A CloudEvent 1.0 in the JSON format.
    CloudEvents,
}

impl Envelope {
    /// All of them.
    pub const ALL: [Envelope; 3] = [Envelope::None, Envelope::Record, Envelope::CloudEvents];

    /// The value of `envelope=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Envelope::None => "none",
            Envelope::Record => "record",
            Envelope::CloudEvents => "cloudevents",
        }
    }
}

impl FromStr for Envelope {
    type Err = String;

    fn from_str(text: &str) -> Result<Envelope, String> {
        let envelope = Envelope::ALL.into_iter().find(|envelope| envelope.as_str() == text);
        envelope.ok_or_else(|| format!("{text:?} is not an envelope; accepted: none, record, cloudevents"))
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Appends the record envelope: one line of JSON.
///
/// A value that is JSON is copied as it is, but line ends between its tokens become spaces. A key is always a string.
/// `timestamp` is in milliseconds, null if there is none. Headers are an object; repeated names are repeated in their order,
/// and JSON parsers take the last, as Kafka's clients do. A value that is not text is `{"base64":…}` with
/// `"value_kind":"binary"` beside it; no value is null with `"value_kind":"tombstone"`. The kind distinguishes these from JSON
/// values that look the same. The first member is the record's `type` where the event does not have it as its name. A value
/// that is withheld is null with `"value_kind":"masked"`. Only the listed headers are there.
/// Of a record that cannot be decoded, `field` says what cannot be, the key or the value, which is then shown as the bytes that
/// Kafka has, and `code` says why.
pub(crate) fn put_record(
    out: &mut Vec<u8>,
    record: &RecordRef<'_>,
    topic: &str,
    partition: u32,
    look: &Look<'_>,
    withheld: bool,
) {
    out.push(b'{');
    if let Some(event_type) = record.event_type.filter(|_| look.event_name == EventName::None) {
        out.extend_from_slice(b"\"type\":");
        put_string(out, event_type);
        out.push(b',');
    }
    put_place_and_key(out, record, topic, partition);
    out.extend_from_slice(b",\"headers\":{");
    let carried = record.headers.iter().filter(|(name, _)| look.headers.has(name));
    for (index, (name, value)) in carried.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_string(out, name);
        out.push(b':');
        put_bytes(out, value);
    }
    out.extend_from_slice(b"},\"value\":");
    let kind = put_value(out, record);
    let kind = if withheld { Some("masked") } else { kind };
    if let Some(kind) = kind {
        put(out, format_args!(",\"value_kind\":\"{kind}\""));
    }
    if let Some(Flaw { half, code }) = record.form.flaw {
        put(out, format_args!(",\"code\":\"{}\",\"field\":\"{}\"", code.as_str(), half.as_str()));
    }
    out.push(b'}');
}

/// Appends the record envelope without headers and value.
pub(crate) fn put_key(out: &mut Vec<u8>, record: &RecordRef<'_>, topic: &str, partition: u32) {
    out.push(b'{');
    put_place_and_key(out, record, topic, partition);
    out.push(b'}');
}

fn put_place_and_key(out: &mut Vec<u8>, record: &RecordRef<'_>, topic: &str, partition: u32) {
    out.extend_from_slice(b"\"topic\":");
    put_string(out, topic);
    put_field(out, "partition", partition);
    put_field(out, "offset", record.offset);
    match record.timestamp {
        ..0 => out.extend_from_slice(b",\"timestamp\":null"),
        timestamp => put_field(out, "timestamp", timestamp),
    }
    out.extend_from_slice(b",\"key\":");
    match record.key {
        Some(key) if record.form.binary_key || record.form.has_raw_key() => put_base64(out, key),
        key => put_bytes(out, key),
    }
}

fn put_field(out: &mut Vec<u8>, name: &str, number: impl fmt::Display) {
    put(out, format_args!(",\"{name}\":{number}"));
}

/// Returns the kind of the value, if a JSON value could be written in the same way.
fn put_value(out: &mut Vec<u8>, record: &RecordRef<'_>) -> Option<&'static str> {
    let Some(value) = record.value else {
        out.extend_from_slice(b"null");
        return Some("tombstone");
    };
    let form = if record.form.has_raw_value() { ValueForm::Binary } else { record.form.value };
    let text = std::str::from_utf8(value).ok().filter(|_| form != ValueForm::Binary);
    match text {
        None => {
            put_base64(out, value);
            return Some("binary");
        }
        Some(text) => put_text(out, text, form),
    }
    None
}

/// A JSON document as it is, on one line; other text as a string.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str, form: ValueForm) {
    let is_document = match form {
        ValueForm::Json => true,
        ValueForm::Unknown => is_json(text.as_bytes()),
        ValueForm::Text | ValueForm::Binary => false,
    };
    match is_document {
        true => put_on_one_line(out, text.as_bytes()),
        false => put_string(out, text),
    }
}

/// Appends a JSON document. In JSON, line ends occur between tokens only, never within a string.
pub(crate) fn put_on_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let start = out.len();
    out.extend_from_slice(json);
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

/// Text as a string, other bytes as `{"base64":…}`, `None` as null.
fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => out.extend_from_slice(b"null"),
        Some((_, Ok(text))) => put_string(out, text),
        Some((bytes, Err(_))) => put_base64(out, bytes),
    }
}

fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, format_args!("{{\"base64\":\"{}\"}}", Base64Display::new(bytes, &STANDARD)));
}

pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Appends formatted text.
pub(crate) fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = std::io::Write::write_fmt(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::form::Form;
    use crate::record::tenant::TenantId;
    use crate::record::{self, Headers, NewRecord};
    use crate::sse::event_source::CloudEventsSource;
    use crate::sse::framing::Framing;
    use crate::sse::privacy::HeaderList;
    use serde_json::{Value, json};

    fn envelope(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> String {
        envelope_of(key, value, headers, Form::default())
    }

    fn envelope_of(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
        form: Form,
    ) -> String {
        let headers = record::written_headers(headers);
        let tenant = TenantId::new("acme").unwrap();
        let new = NewRecord {
            offset: 7,
            epoch: 0,
            timestamp: 1_700,
            key,
            value,
            headers: Headers::written(&headers),
            tenant,
            event_type: None,
            form,
        };
        let mut bytes = Vec::new();
        record::encode(&mut bytes, &new);
        let look = Look {
            framing: Framing::Sse,
            event_name: EventName::Type,
            envelope: Envelope::Record,
            headers: &HeaderList::All,
            source: &CloudEventsSource::default(),
            masking: None,
        };
        let mut out = Vec::new();
        put_record(&mut out, &RecordRef::decode(&bytes, 7, 0, 1_700), "orders", 3, &look, false);
        String::from_utf8(out).unwrap()
    }

    fn value_of(value: Option<&[u8]>) -> Value {
        let text = envelope(None, value, &[]);
        assert!(!text.contains(['\r', '\n']));
        serde_json::from_str::<Value>(&text).unwrap()["value"].clone()
    }

    #[test]
    fn a_json_value_stands_verbatim() {
        let text = envelope(Some(b"k"), Some(br#"{"b" : 1.0, "a":1e2}"#), &[("h", Some(b"x")), ("n", None)]);
        assert_eq!(
            text,
            r#"{"topic":"orders","partition":3,"offset":7,"timestamp":1700,"key":"k","headers":{"h":"x","n":null},"value":{"b" : 1.0, "a":1e2}}"#
        );
    }

    #[test]
    fn line_ends_between_tokens_become_spaces() {
        assert!(envelope(None, Some(b"{\r\n\"a\":\n1}"), &[]).ends_with(r#""value":{  "a": 1}}"#));
    }

    #[test]
    fn every_other_value_keeps_its_bytes() {
        assert_eq!(value_of(Some(b"a\r\nb\rc\0")), json!("a\r\nb\rc\0"));
        assert_eq!(value_of(Some(b"{\"a\":")), json!("{\"a\":"));
        assert_eq!(value_of(Some(b"\"a\nb\"")), json!("\"a\nb\""));
        assert_eq!(value_of(Some(b"")), json!(""));
        assert_eq!(value_of(Some(b"\xff\x00")), json!({"base64": "/wA="}));
        assert_eq!(value_of(Some(b"\"\xff\"")), json!({"base64": "Iv8i"}));
        assert_eq!(value_of(None), json!(null));
    }

    #[test]
    fn what_a_json_value_could_look_like_has_its_kind_beside_it() {
        let kind = |value: Option<&[u8]>| {
            let envelope: Value = serde_json::from_str(&envelope(None, value, &[])).unwrap();
            envelope.get("value_kind").cloned()
        };
        assert_eq!(kind(Some(b"\xff\xfe")), Some(json!("binary")));
        assert_eq!(kind(None), Some(json!("tombstone")));
        for json_or_text in [&br#"{"base64":"//4="}"#[..], b"null", b"text", b""] {
            assert_eq!(kind(Some(json_or_text)), None);
        }
    }

    #[test]
    fn keys_are_strings_even_where_they_look_like_numbers() {
        let key = |key| serde_json::from_str::<Value>(&envelope(key, None, &[])).unwrap()["key"].clone();
        assert_eq!(key(Some(&b"17"[..])), json!("17"));
        assert_eq!(key(Some(&b"\xff"[..])), json!({"base64": "/w=="}));
        assert_eq!(key(None), json!(null));
    }

    #[test]
    fn a_form_says_what_bytes_alone_do_not() {
        let shown = |form, value: &'static [u8]| {
            let form = Form { value: form, ..Form::default() };
            let text = envelope_of(None, Some(value), &[], form);
            let envelope: Value = serde_json::from_str(&text).unwrap();
            (envelope["value"].clone(), envelope.get("value_kind").cloned())
        };
        assert_eq!(shown(ValueForm::Text, b"17"), (json!("17"), None));
        assert_eq!(shown(ValueForm::Json, b"{\n\"a\":1}"), (json!({"a": 1}), None));
        assert_eq!(shown(ValueForm::Binary, b"17"), (json!({"base64": "MTc="}), Some(json!("binary"))));
        let form = Form { binary_key: true, ..Form::default() };
        let key =
            |key| serde_json::from_str::<Value>(&envelope_of(key, None, &[], form)).unwrap()["key"].clone();
        assert_eq!((key(Some(b"17")), key(None)), (json!({"base64": "MTc="}), json!(null)));
    }
}
