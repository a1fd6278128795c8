//! How a record is written: its value as it is, or with all that Kafka knows of it.

use std::fmt;
use std::str::FromStr;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::json::is_json;
use crate::record::RecordRef;

/// The shape of a record's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Envelope {
    /// The value as it is.
    #[default]
    None,
    /// An object with topic, partition, offset, timestamp, key, headers and value.
    Record,
}

impl FromStr for Envelope {
    type Err = String;

    fn from_str(text: &str) -> Result<Envelope, String> {
        match text {
            "none" => Ok(Envelope::None),
            "record" => Ok(Envelope::Record),
            "cloudevents" => {
                Err("cloudevents is reserved for a later release; accepted: none, record".to_owned())
            }
            _ => Err(format!("{text:?} is not an envelope; accepted: none, record")),
        }
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Envelope::None => "none",
            Envelope::Record => "record",
        })
    }
}

/// Appends the record envelope: one line of JSON.
///
/// A value that is JSON stands as it is, but for line ends between its tokens, which become spaces. A key is a string
/// always. `timestamp` is in milliseconds, null where there is none. Headers are an object; names that repeat are repeated
/// in their order, and what reads JSON takes the last, as Kafka's clients do.
pub(crate) fn put_record(out: &mut Vec<u8>, record: &RecordRef<'_>, topic: &str, partition: u32) {
    out.extend_from_slice(b"{\"topic\":");
    put_string(out, topic);
    put_field(out, "partition", partition);
    put_field(out, "offset", record.offset);
    match record.timestamp {
        ..0 => out.extend_from_slice(b",\"timestamp\":null"),
        timestamp => put_field(out, "timestamp", timestamp),
    }
    out.extend_from_slice(b",\"key\":");
    put_bytes(out, record.key);
    out.extend_from_slice(b",\"headers\":{");
    for (index, (name, value)) in record.headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_string(out, name);
        out.push(b':');
        put_bytes(out, value);
    }
    out.extend_from_slice(b"},\"value\":");
    put_value(out, record.value);
    out.push(b'}');
}

fn put_field(out: &mut Vec<u8>, name: &str, number: impl fmt::Display) {
    put(out, format_args!(",\"{name}\":{number}"));
}

fn put_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(json) if std::str::from_utf8(json).is_ok() && is_json(json) => put_on_one_line(out, json),
        other => put_bytes(out, other),
    }
}

/// In JSON, line ends stand between tokens only, never within a string.
fn put_on_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let start = out.len();
    out.extend_from_slice(json);
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

/// Text as a string, other bytes as `{"base64":…}`, nothing as null.
fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => out.extend_from_slice(b"null"),
        Some((_, Ok(text))) => put_string(out, text),
        Some((bytes, Err(_))) => {
            put(out, format_args!("{{\"base64\":\"{}\"}}", Base64Display::new(bytes, &STANDARD)));
        }
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
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
    use crate::record::{self, Headers, NewRecord};
    use crate::tenant::TenantId;
    use serde_json::{Value, json};

    fn envelope(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> String {
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
        };
        let mut bytes = Vec::new();
        record::encode(&mut bytes, &new);
        let mut out = Vec::new();
        put_record(&mut out, &RecordRef::decode(&bytes, 7, 0, 1_700), "orders", 3);
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
    fn keys_are_strings_even_where_they_look_like_numbers() {
        let key = |key| serde_json::from_str::<Value>(&envelope(key, None, &[])).unwrap()["key"].clone();
        assert_eq!(key(Some(&b"17"[..])), json!("17"));
        assert_eq!(key(Some(&b"\xff"[..])), json!({"base64": "/w=="}));
        assert_eq!(key(None), json!(null));
    }
}
