//! Records that are CloudEvents 1.0 already, by the Kafka protocol binding.
//!
//! In binary mode the attributes are headers, `ce_` before the name, and the value is the data. In structured mode the value is
//! the whole event, which the header `content-type` says. What only looks like an event, and lacks a required attribute or is of
//! another version, is an ordinary record.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::record::RecordRef;
use crate::sse::privacy::HeaderList;

/// The attributes without which nothing is an event.
pub(crate) const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
const VERSION: &str = "1.0";

/// A record's own event.
pub(crate) enum NativeEvent<'a> {
    /// The value is the event in JSON.
    Structured(&'a [u8]),
    /// The headers are its attributes, the required ones among them; the value is its data.
    Binary(BTreeMap<&'a str, &'a str>),
}

impl<'a> NativeEvent<'a> {
    /// The event that the record is. Of its attributes, only those whose headers are listed count.
    pub(crate) fn of(record: &RecordRef<'a>, headers: &HeaderList) -> Option<NativeEvent<'a>> {
        // What decides the mode is not shown by it, so that it need not be listed.
        let content_type =
            record.headers.get("content-type").and_then(|value| std::str::from_utf8(value).ok());
        match content_type.map(media_type) {
            Some(media) if media == "application/cloudevents" || media == "application/cloudevents+json" => {
                record.value.filter(|value| is_event(value)).map(NativeEvent::Structured)
            }
            // Batches, which Kafka's binding does not have, and formats that are not JSON.
            Some(media) if media.starts_with("application/cloudevents") => None,
            _ => binary(record, headers).map(NativeEvent::Binary),
        }
    }
}

/// A media type in lower case, without its parameters.
pub(crate) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What a structured event must have; whether the rest is JSON is checked on the way.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    data: Option<IgnoredAny>,
    data_base64: Option<IgnoredAny>,
}

fn is_event(json: &[u8]) -> bool {
    // An array of the attributes would be read as the object is.
    json.trim_ascii_start().first() == Some(&b'{')
        && serde_json::from_slice::<Event<'_>>(json).is_ok_and(|event| {
            event.specversion == VERSION
                && [&event.id, &event.source, &event.kind].iter().all(|text| !text.is_empty())
                && !(event.data.is_some() && event.data_base64.is_some())
        })
}

fn binary<'a>(record: &RecordRef<'a>, headers: &HeaderList) -> Option<BTreeMap<&'a str, &'a str>> {
    if record.headers.get("ce_specversion") != Some(VERSION.as_bytes()) {
        return None;
    }
    let mut attributes = BTreeMap::new();
    for (header, value) in record.headers.iter().filter(|(name, _)| headers.has(name)) {
        let name = match header.strip_prefix("ce_") {
            Some(name) if is_attribute_name(name) && !matches!(name, "data" | "datacontenttype") => name,
            None if header == "content-type" => "datacontenttype",
            _ => continue,
        };
        // The last of a name counts, with whatever it has.
        attributes.insert(name, value.and_then(text).filter(|value| is_attribute(name, value)));
    }
    let attributes: BTreeMap<_, _> =
        attributes.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    REQUIRED.iter().all(|name| attributes.contains_key(name)).then_some(attributes)
}

/// Lower-case letters and digits of ASCII.
pub(crate) fn is_attribute_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The bytes as a string of CloudEvents, which has neither control characters nor what Unicode calls no characters.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.chars().all(is_allowed))
}

fn is_allowed(c: char) -> bool {
    let code = u32::from(c);
    !c.is_control() && !(0xfdd0..=0xfdef).contains(&code) && code & 0xfffe != 0xfffe
}

/// Whether the value is one that the attribute of this name can have.
fn is_attribute(name: &str, value: &str) -> bool {
    match name {
        "time" => is_time(value),
        "specversion" | "id" | "source" | "type" | "subject" | "dataschema" | "datacontenttype" => {
            !value.is_empty()
        }
        _ => true,
    }
}

/// A time by RFC 3339. The parser alone takes more forms of ISO 8601.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let has = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|byte| any.contains(byte));
    has(4, b"-")
        && has(7, b"-")
        && has(10, b"Tt")
        && has(13, b":")
        && has(16, b":")
        && !text.ends_with(']')
        && text.parse::<jiff::Timestamp>().is_ok()
}
