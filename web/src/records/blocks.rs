//! Takes event streams apart again. A page has the same records, control events and masks as a stream because it is made of the
//! same frames.

use std::borrow::Cow;

/// What one event of a stream has for a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// The name of the event; `None`: a record without a type.
    pub(super) event: Option<&'a str>,
    pub(super) data: Cow<'a, str>,
}

/// The events of whole blocks, which are those that have data.
pub(super) fn blocks(text: &str) -> impl Iterator<Item = Block<'_>> {
    text.split("\n\n").filter_map(block)
}

fn block(text: &str) -> Option<Block<'_>> {
    let (mut event, mut data) = (None, None);
    for line in text.split('\n') {
        if let Some(name) = line.strip_prefix("event: ") {
            event = Some(name);
        } else if let Some(more) = line.strip_prefix("data: ") {
            data = Some(joined(data, more));
        }
    }
    Some(Block { event, data: data? })
}

/// The data of an event is its lines, with a line end between each.
fn joined<'a>(before: Option<Cow<'a, str>>, line: &'a str) -> Cow<'a, str> {
    match before {
        None => Cow::Borrowed(line),
        Some(before) => Cow::Owned(format!("{before}\n{line}")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;
    use tailrace_bridge::Control;

    use super::*;

    #[test]
    fn events_come_out_as_they_went_in_and_ids_and_comments_do_not() {
        let gap =
            Control { event: "tailrace.gap", data: json!({"to": 5}), id: Some("B".into()), retry_ms: None };
        let record = Bytes::from_static(b"event: paid\ndata: a: b\ndata: \ndata: c\nid: C\n\n");
        let untyped = Bytes::from_static(b"data: \nid: D\n\n");
        let parts = [Control::priming(9, "A"), gap.encode(), Control::comment(), record, untyped];
        let text = String::from_utf8(parts.concat()).unwrap();
        let found: Vec<Block<'_>> = blocks(&text).collect();
        let expected = [(Some("tailrace.gap"), "{\"to\":5}"), (Some("paid"), "a: b\n\nc"), (None, "")];
        assert_eq!(found, expected.map(|(event, data)| Block { event, data: data.into() }));
    }
}
