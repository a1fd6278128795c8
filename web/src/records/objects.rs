//! Takes JSON lines of a stream apart again. A page has the same records, control events and masks as a stream because it is made of
//! the same frames.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What one event of a stream has for a page.
#[derive(Debug, Deserialize)]
pub(super) struct Object<'a> {
    /// The name of the event; `None`: a record without a type.
    #[serde(borrow)]
    pub(super) event: Option<Cow<'a, str>>,
    /// As it was written, on one line; `None`: it is no event.
    #[serde(borrow, default, deserialize_with = "even_null")]
    data: Option<&'a RawValue>,
}

impl Object<'_> {
    pub(super) fn data(&self) -> &str {
        self.data.map_or("null", RawValue::get)
    }
}

/// A value that is null is one.
fn even_null<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// The events of whole lines, which are those that have data.
pub(super) fn events(lines: &[u8]) -> impl Iterator<Item = Object<'_>> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    // The server has written them.
    let objects = lines.filter_map(|line| serde_json::from_slice::<Object<'_>>(line).ok());
    objects.filter(|object| object.data.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tailrace_bridge::{Control, Framing};

    use super::*;

    #[test]
    fn events_come_out_as_they_went_in_and_ids_and_heartbeats_do_not() {
        let lines = Framing::Ndjson;
        let gap =
            Control { event: "tailrace.gap", data: json!({"to": 5}), id: Some("B".into()), retry_ms: None };
        let records =
            b"{\"event\":\"pa\\\"id\",\"id\":\"C\",\"data\":{\"a\" : 1.0}}\n{\"id\":\"D\",\"data\":null}\n"
                .to_vec();
        let parts = [
            &Control::priming(lines, 9, "A")[..],
            &gap.encode(lines),
            &Control::heartbeat(lines, None),
            &Control::heartbeat(lines, Some("B")),
            &records,
        ];
        let bytes = parts.concat();
        let found: Vec<(Option<String>, &str)> = events(&bytes)
            .map(|object| {
                let data = object.data.map_or("", RawValue::get);
                (object.event.map(Cow::into_owned), data)
            })
            .collect();
        let expected = [
            (Some("tailrace.gap".to_owned()), "{\"to\":5}"),
            (Some("pa\"id".to_owned()), "{\"a\" : 1.0}"),
            (None, "null"),
        ];
        assert_eq!(found, expected);
    }
}
