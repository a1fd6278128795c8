//! A record, or a message of the server, as the bytes that a client gets: a block of an event stream, or a JSON object
//! (`{"event","id","data"}`) that is a line or a message.
//!
//! The order within a block is `event`, `data`, `retry`, and `id` last. A client that takes an id as soon as its line is there,
//! before the blank line, has the block's data by then, and skips nothing.

use bytes::Bytes;
use serde_json::Value;

use crate::base::sabotage::{Sabotage, broken};
use crate::position::gap::Gap;
use crate::record::RecordRef;
use crate::record::form::ValueForm;
use crate::record::mask_edit::Masked;
use crate::sse::cloudevents::put_cloudevent;
use crate::sse::envelope::{Envelope, put, put_key, put_record, put_string, put_text};
use crate::sse::framing::{EventName, Framing};
use crate::sse::privacy::Look;
use crate::sse::web_socket;

/// Appends a record's frame, as `look` says: all bytes of records that any client gets are written here. `id` has no line
/// ends.
///
/// With [`Envelope::None`] the form of the data is the same for every record: values that are not UTF-8, and tombstones, are
/// events of their own, `tailrace.binary` and `tailrace.tombstone`, with the record envelope. So are values that are withheld,
/// since they have masked fields and are not JSON: `tailrace.masked`. With either envelope, a record that cannot be decoded is
/// `tailrace.undecodable`: who waits for its type does not get what that type never has.
pub(crate) fn record(
    out: &mut Vec<u8>,
    record: &RecordRef<'_>,
    topic: &str,
    partition: u32,
    look: &Look<'_>,
    id: &str,
) {
    let masked = look.mask(topic, record);
    let (value, withheld) = match &masked {
        Masked::Same => (record.value, false),
        Masked::Changed(value) => (Some(value.as_slice()), false),
        Masked::Withheld => (None, true),
    };
    let record = &RecordRef { value, ..*record };
    let event_type = record.event_type.filter(|_| look.event_name == EventName::Type);
    let text = match look.envelope {
        _ if record.form.flaw.is_some() => Err(Some("tailrace.undecodable")),
        Envelope::None if withheld => Err(Some("tailrace.masked")),
        Envelope::None => plain(record),
        Envelope::Record | Envelope::CloudEvents => Err(event_type),
    };
    let head = |event| Head { event, id: Some(id), retry_ms: None };
    match text {
        Ok(text) if look.framing == Framing::Sse => {
            put_event(out, event_type);
            put_data(out, text);
            put_id(out, id);
            out.push(b'\n');
        }
        Ok(text) => head(event_type).put(out, look.framing, |out| put_text(out, text, record.form.value)),
        Err(event) => head(event).put(out, look.framing, |out| match look.envelope {
            Envelope::CloudEvents if record.form.flaw.is_none() => {
                put_cloudevent(out, record, topic, partition, look, withheld)
            }
            _ => put_record(out, record, topic, partition, look, withheld),
        }),
    }
}

/// Appends the frame that says that a key does not meet the filter any more, since this record of it does not: a
/// `tailrace.left` event. Keys are never masked.
pub(crate) fn left(
    out: &mut Vec<u8>,
    record: &RecordRef<'_>,
    topic: &str,
    partition: u32,
    framing: Framing,
    id: &str,
) {
    let head = Head { event: Some("tailrace.left"), id: Some(id), retry_ms: None };
    head.put(out, framing, |out| put_key(out, record, topic, partition));
}

/// All of a frame but its data.
struct Head<'a> {
    event: Option<&'a str>,
    id: Option<&'a str>,
    retry_ms: Option<u64>,
}

impl Head<'_> {
    /// Appends a frame; `data` appends its data, which is one line of JSON.
    fn put(&self, out: &mut Vec<u8>, framing: Framing, data: impl FnOnce(&mut Vec<u8>)) {
        match framing {
            Framing::Sse => {
                put_event(out, self.event);
                out.extend_from_slice(b"data: ");
                data(out);
                out.push(b'\n');
                self.put_rest_of_block(out);
            }
            Framing::Ndjson | Framing::WebSocket => self.put_object(out, framing, Some(data)),
        }
    }

    /// Appends a frame without data, which moves the client's positions and is no event.
    fn put_without_data(&self, out: &mut Vec<u8>, framing: Framing) {
        match framing {
            Framing::Sse => self.put_rest_of_block(out),
            Framing::Ndjson | Framing::WebSocket => self.put_object(out, framing, None::<fn(&mut Vec<u8>)>),
        }
    }

    fn put_rest_of_block(&self, out: &mut Vec<u8>) {
        if let Some(retry_ms) = self.retry_ms {
            put(out, format_args!("retry: {retry_ms}\n"));
        }
        if let Some(id) = self.id {
            put_id(out, id);
        }
        out.push(b'\n');
    }

    fn put_object(&self, out: &mut Vec<u8>, framing: Framing, data: Option<impl FnOnce(&mut Vec<u8>)>) {
        let object = |out: &mut Vec<u8>| {
            let mut members = Members::open(out);
            if let Some(event) = self.event {
                members.name("event");
                put_string(members.out, event);
            }
            if let Some(id) = self.id {
                members.name("id");
                put_string(members.out, id);
            }
            if let Some(retry_ms) = self.retry_ms {
                members.name("retry");
                put(members.out, format_args!("{retry_ms}"));
            }
            if let Some(data) = data {
                members.name("data");
                data(members.out);
            }
            members.close();
        };
        if framing == Framing::WebSocket {
            return web_socket::put_text(out, object);
        }
        object(out);
        out.push(b'\n');
    }
}

/// Writes the members of an object one after the other.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl Members<'_> {
    fn open(out: &mut Vec<u8>) -> Members<'_> {
        out.push(b'{');
        Members { out, is_first: true }
    }

    /// Begins a member; its value is to be appended to `out`.
    fn name(&mut self, name: &str) {
        let comma = if std::mem::take(&mut self.is_first) { "" } else { "," };
        put(self.out, format_args!("{comma}\"{name}\":"));
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

/// The value if it can be sent as it is, else the event that sends it in an envelope.
fn plain<'a>(record: &RecordRef<'a>) -> Result<&'a str, Option<&'static str>> {
    let value = record.value.ok_or(Some("tailrace.tombstone"))?;
    let text = std::str::from_utf8(value).ok().filter(|_| record.form.value != ValueForm::Binary);
    text.ok_or(Some("tailrace.binary"))
}

fn put_event(out: &mut Vec<u8>, event: Option<&str>) {
    // The rule that gave the type has refused line ends; here they would end the line.
    if let Some(event) = event.filter(|event| !event.contains(['\r', '\n'])) {
        put(out, format_args!("event: {event}\n"));
    }
}

/// One `data` line for each line of the text. SSE joins data lines with LF only, so CR and CRLF become LF.
fn put_data(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 8);
    let mut rest = text.as_bytes();
    loop {
        out.extend_from_slice(b"data: ");
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { return };
        let crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(crlf)..];
    }
}

/// Leaves out what could end the line, or make a client ignore it: an id with such bytes came in damaged.
fn put_id(out: &mut Vec<u8>, id: &str) {
    let is_foreign = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
    out.extend_from_slice(b"id: ");
    match id.as_bytes() {
        clean if !clean.iter().any(is_foreign) => out.extend_from_slice(clean),
        damaged => out.extend(damaged.iter().filter(|byte| !is_foreign(byte))),
    }
    out.push(b'\n');
}

/// The frame of a `tailrace.gap` event; its data is the [`Gap`]. `id`: the positions after the gap.
pub(crate) fn gap(gap: &Gap, framing: Framing, id: Option<String>) -> Bytes {
    let data = serde_json::to_value(gap).expect("a gap has only strings and numbers");
    Control { event: "tailrace.gap", data, id, retry_ms: None }.encode(framing)
}

/// A message of the server: a `tailrace.…` event.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// The event's name, such as `tailrace.synced`.
    pub event: &'static str,
    /// Its data.
    pub data: Value,
    /// The id of the positions after it, if it moves the client's positions.
    pub id: Option<String>,
    /// How many milliseconds the client waits before it connects again.
    pub retry_ms: Option<u64>,
}

impl Control {
    /// The event's frame.
    pub fn encode(&self, framing: Framing) -> Bytes {
        let mut out = Vec::with_capacity(128);
        let head = Head { event: Some(self.event), id: self.id.as_deref(), retry_ms: self.retry_ms };
        head.put(&mut out, framing, |out| put(out, format_args!("{}", self.data)));
        out.into()
    }

    /// The first frame of a stream: it gives a client an id before the first event, and is no event.
    pub fn priming(framing: Framing, retry_ms: u64, id: &str) -> Bytes {
        let mut out = Vec::with_capacity(id.len() + 32);
        if broken(Sabotage::BlankLineFirst) {
            out.push(b'\n');
        }
        let head = Head { event: None, id: Some(id), retry_ms: Some(retry_ms) };
        head.put_without_data(&mut out, framing);
        out.into()
    }

    /// What is sent when nothing else has been for a while, so that the connection stays open: a comment, an empty line, or a ping.
    /// `id`, if the client's positions have moved without an event, moves them.
    pub fn heartbeat(framing: Framing, id: Option<&str>) -> Bytes {
        let mut out = Vec::new();
        match (framing, id) {
            (Framing::Sse, None) => return Bytes::from_static(b":\n\n"),
            (Framing::Ndjson, None) => return Bytes::from_static(b"\n"),
            (Framing::WebSocket, None) => return Bytes::from_static(&web_socket::HEARTBEAT),
            (Framing::Sse | Framing::Ndjson, Some(_)) => {}
            // An object is no sign of life for who counts pings.
            (Framing::WebSocket, Some(_)) => out.extend_from_slice(&web_socket::HEARTBEAT),
        }
        Head { event: None, id, retry_ms: None }.put_without_data(&mut out, framing);
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::form::{Flaw, FlawCode, Form, Half};
    use crate::record::mask::Masks;
    use crate::record::tenant::TenantId;
    use crate::record::{Headers, NewRecord, encode};
    use crate::sse::event_source::CloudEventsSource;
    use crate::sse::privacy::{HeaderList, Masking};
    use proptest::prelude::*;
    use serde_json::json;

    /// A model of a browser's `EventSource`, written from the standard (HTML, 9.2.6), not from the code above.
    #[derive(Debug, Default)]
    struct EventSource {
        events: Vec<(String, String, String)>,
        data: String,
        event: String,
        id_buffer: String,
        last_event_id: String,
        retry: Option<u64>,
    }

    impl EventSource {
        fn read(stream: &[u8]) -> EventSource {
            let mut source = EventSource::default();
            let text = String::from_utf8(stream.to_vec()).expect("streams are always UTF-8");
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            let mut lines: Vec<&str> = text.split('\n').collect();
            lines.pop();
            lines.into_iter().for_each(|line| source.line(line));
            source
        }

        fn line(&mut self, line: &str) {
            if line.is_empty() {
                return self.dispatch();
            }
            let (field, value) = match line.find(':') {
                Some(0) => return,
                Some(at) => (&line[..at], line[at + 1..].strip_prefix(' ').unwrap_or(&line[at + 1..])),
                None => (line, ""),
            };
            match field {
                "event" => self.event = value.to_owned(),
                "data" => {
                    self.data.push_str(value);
                    self.data.push('\n');
                }
                "id" if !value.contains('\0') => self.id_buffer = value.to_owned(),
                "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => self.retry = value.parse().ok(),
                _ => {}
            }
        }

        fn dispatch(&mut self) {
            self.last_event_id = self.id_buffer.clone();
            let (mut data, event) = (std::mem::take(&mut self.data), std::mem::take(&mut self.event));
            if data.is_empty() {
                return;
            }
            data.pop();
            let event = if event.is_empty() { "message".to_owned() } else { event };
            self.events.push((event, data, self.last_event_id.clone()));
        }
    }

    fn framed(value: Option<&[u8]>, event_type: Option<&str>, envelope: Envelope) -> Vec<u8> {
        let look = Look {
            framing: Framing::Sse,
            event_name: Default::default(),
            envelope,
            headers: &HeaderList::All,
            source: &CloudEventsSource::default(),
            masking: None,
        };
        framed_as(value, event_type, Form::default(), &look)
    }

    fn framed_as(value: Option<&[u8]>, event_type: Option<&str>, form: Form, look: &Look<'_>) -> Vec<u8> {
        let new = NewRecord {
            offset: 7,
            epoch: 0,
            timestamp: 1_700,
            key: Some(b"k"),
            value,
            headers: Headers::default(),
            tenant: TenantId::new("acme").unwrap(),
            event_type: event_type.map(Into::into),
            form,
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, &new);
        let mut out = Vec::new();
        record(&mut out, &RecordRef::decode(&bytes, 7, 0, 1_700), "orders", 3, look, "ID");
        out
    }

    #[test]
    fn an_object_has_json_as_it_is_on_one_line_and_other_text_as_a_string() {
        let written = |framing, value: Option<&[u8]>, form| {
            let look = Look {
                framing,
                event_name: EventName::Type,
                envelope: Envelope::None,
                headers: &HeaderList::All,
                source: &CloudEventsSource::default(),
                masking: None,
            };
            framed_as(value, Some("created"), Form { value: form, ..Form::default() }, &look)
        };
        for (value, form, data) in [
            (&b"{\"b\" : 1.0,\r\n\"a\":1e2}"[..], ValueForm::Unknown, "{\"b\" : 1.0,  \"a\":1e2}"),
            (b"null", ValueForm::Unknown, "null"),
            (b"17", ValueForm::Unknown, "17"),
            (b"17", ValueForm::Text, "\"17\""),
            (b"a\r\n\"b\"", ValueForm::Unknown, "\"a\\r\\n\\\"b\\\"\""),
            (b"", ValueForm::Unknown, "\"\""),
        ] {
            let object = format!("{{\"event\":\"created\",\"id\":\"ID\",\"data\":{data}}}");
            assert_eq!(written(Framing::Ndjson, Some(value), form), format!("{object}\n").as_bytes());
            let header = [0x81, object.len() as u8];
            assert_eq!(written(Framing::WebSocket, Some(value), form), [&header, object.as_bytes()].concat());
        }
        let tombstone = written(Framing::Ndjson, None, ValueForm::Unknown);
        let tombstone: Value = serde_json::from_slice(&tombstone).unwrap();
        assert_eq!(
            (&tombstone["event"], &tombstone["data"]["value_kind"]),
            (&json!("tailrace.tombstone"), &json!("tombstone"))
        );
    }

    #[test]
    fn the_id_is_the_last_line_of_a_block() {
        let out = framed(Some(b"{}"), Some("created"), Envelope::None);
        assert_eq!(out, b"event: created\ndata: {}\nid: ID\n\n");
    }

    #[test]
    fn every_line_end_becomes_a_data_line() {
        let out = framed(Some(b"a\r\nb\rc\n\nd\n"), None, Envelope::None);
        assert_eq!(out, b"data: a\ndata: b\ndata: c\ndata: \ndata: d\ndata: \nid: ID\n\n");
    }

    #[test]
    fn an_empty_value_is_an_event_with_empty_data() {
        let out = framed(Some(b""), None, Envelope::None);
        assert_eq!(out, b"data: \nid: ID\n\n");
        assert_eq!(EventSource::read(&out).events, [("message".into(), String::new(), "ID".into())]);
    }

    #[test]
    fn what_cannot_stand_as_it_is_comes_under_its_own_event() {
        for (value, event, json) in [
            (None, "tailrace.tombstone", json!(null)),
            (Some(&b"\xff\n"[..]), "tailrace.binary", json!({"base64": "/wo="})),
        ] {
            let source = EventSource::read(&framed(value, Some("created"), Envelope::None));
            assert_eq!(source.events[0].0, event);
            let data: Value = serde_json::from_str(&source.events[0].1).unwrap();
            assert_eq!(
                (&data["value"], &data["offset"], &data["topic"]),
                (&json, &json!(7), &json!("orders"))
            );
        }
    }

    #[test]
    fn without_names_the_type_is_within_the_record_envelope() {
        let written = |envelope, framing, value: Option<&[u8]>, event_type| {
            let look = Look {
                framing,
                event_name: EventName::None,
                envelope,
                headers: &HeaderList::All,
                source: &CloudEventsSource::default(),
                masking: None,
            };
            String::from_utf8(framed_as(value, event_type, Form::default(), &look)).unwrap()
        };
        let record = |value, event_type| written(Envelope::Record, Framing::Sse, value, event_type);
        let rest =
            r#""topic":"orders","partition":3,"offset":7,"timestamp":1700,"key":"k","headers":{},"value""#;
        let paid = format!("data: {{\"type\":\"pa\\\"id\",{rest}:1}}\nid: ID\n\n");
        assert_eq!(record(Some(b"1"), Some("pa\"id")), paid);
        assert_eq!(record(Some(b"1"), None), format!("data: {{{rest}:1}}\nid: ID\n\n"));
        assert_eq!(written(Envelope::None, Framing::Sse, Some(b"1"), Some("paid")), "data: 1\nid: ID\n\n");
        let line = written(Envelope::None, Framing::Ndjson, Some(b"1"), Some("paid"));
        assert_eq!(line, "{\"id\":\"ID\",\"data\":1}\n");
        // What has no bare value keeps its name, and the envelope within has the type.
        let tombstone = written(Envelope::None, Framing::Sse, None, Some("paid"));
        assert!(tombstone.starts_with("event: tailrace.tombstone\ndata: {\"type\":\"paid\","), "{tombstone}");
    }

    #[test]
    fn under_the_record_envelope_a_record_keeps_its_event_type() {
        let source = EventSource::read(&framed(None, Some("deleted"), Envelope::Record));
        assert_eq!(source.events[0].0, "deleted");
    }

    fn event_of(stream: &[u8]) -> (String, Value) {
        let source = EventSource::read(stream);
        let [(event, data, _)] = &source.events[..] else { panic!("{source:?}") };
        (event.clone(), serde_json::from_str(data).unwrap())
    }

    #[test]
    fn what_cannot_be_decoded_is_an_event_of_its_own_with_either_envelope() {
        let flaw = Some(Flaw { half: Half::Value, code: FlawCode::UnknownSchema });
        for envelope in [Envelope::None, Envelope::Record] {
            // JSON text too is shown as the bytes that it is: nobody knows what they mean.
            let look = Look {
                framing: Framing::Sse,
                event_name: Default::default(),
                envelope,
                headers: &HeaderList::All,
                source: &CloudEventsSource::default(),
                masking: None,
            };
            let out = framed_as(Some(b"{}"), Some("created"), Form { flaw, ..Form::default() }, &look);
            let (event, data) = event_of(&out);
            assert_eq!(event, "tailrace.undecodable");
            assert_eq!((&data["code"], &data["field"]), (&json!("unknown_schema"), &json!("value")));
            assert_eq!((&data["value"], &data["value_kind"]), (&json!({"base64": "e30="}), &json!("binary")));
            assert_eq!((&data["offset"], &data["key"]), (&json!(7), &json!("k")));
        }
    }

    #[test]
    fn a_mask_withholds_a_value_that_cannot_be_decoded() {
        let masks: Masks = "orders=/user:redact".parse().unwrap();
        let masking = Some(Masking { masks: &masks, key: None });
        let look = Look {
            framing: Framing::Sse,
            event_name: Default::default(),
            envelope: Envelope::Record,
            headers: &HeaderList::All,
            source: &CloudEventsSource::default(),
            masking,
        };
        let code = FlawCode::NoPart;
        let flaw = |half| Form { flaw: Some(Flaw { half, code }), ..Form::default() };
        let (event, data) = event_of(&framed_as(Some(b"[1]"), None, flaw(Half::Value), &look));
        assert_eq!((event.as_str(), &data["code"]), ("tailrace.undecodable", &json!("no_part")));
        assert_eq!((&data["value"], &data["value_kind"]), (&json!(null), &json!("masked")));
        let (_, data) = event_of(&framed_as(Some(br#"{"user":"x","n":1}"#), None, flaw(Half::Key), &look));
        assert_eq!(data["value"], json!({"user": "***", "n": 1}));
        assert_eq!((&data["key"], &data["field"]), (&json!({"base64": "aw=="}), &json!("key")));
    }

    #[test]
    fn bytes_are_binary_even_if_they_look_like_text() {
        let form = Form { value: ValueForm::Binary, ..Form::default() };
        let source = CloudEventsSource::default();
        let look = |envelope| Look {
            framing: Framing::Sse,
            event_name: Default::default(),
            envelope,
            headers: &HeaderList::All,
            source: &source,
            masking: None,
        };
        let (event, data) = event_of(&framed_as(Some(b"{}"), Some("created"), form, &look(Envelope::None)));
        assert_eq!((event.as_str(), &data["value"]), ("tailrace.binary", &json!({"base64": "e30="})));
        let (event, data) = event_of(&framed_as(Some(b"{}"), Some("created"), form, &look(Envelope::Record)));
        assert_eq!((event.as_str(), &data["value"]), ("created", &json!({"base64": "e30="})));
        assert_eq!(data["value_kind"], json!("binary"));
    }

    #[test]
    fn a_control_event_says_what_it_has() {
        let all = Control {
            event: "tailrace.error",
            data: json!({"code": "draining", "message": "a\nb"}),
            id: Some("ID".into()),
            retry_ms: Some(2000),
        };
        assert_eq!(
            all.encode(Framing::Sse),
            "event: tailrace.error\ndata: {\"code\":\"draining\",\"message\":\"a\\nb\"}\nretry: 2000\nid: ID\n\n"
        );
        let bare =
            Control { event: "tailrace.synced", data: json!({"replayed": 0}), id: None, retry_ms: None };
        assert_eq!(bare.encode(Framing::Sse), "event: tailrace.synced\ndata: {\"replayed\":0}\n\n");
    }

    #[test]
    fn priming_and_heartbeats_set_the_id_and_dispatch_nothing() {
        let stream = [
            Control::priming(Framing::Sse, 2000, "A"),
            Control::heartbeat(Framing::Sse, None),
            Control::heartbeat(Framing::Sse, Some("B")),
        ]
        .concat();
        let source = EventSource::read(&stream);
        assert_eq!((source.last_event_id.as_str(), source.retry, source.events.len()), ("B", Some(2000), 0));
        assert_eq!(EventSource::read(&Control::priming(Framing::Sse, 1, "A")).last_event_id, "A");
    }

    #[test]
    fn a_damaged_id_cannot_break_the_block() {
        assert_eq!(Control::heartbeat(Framing::Sse, Some("a\nevent: x\r\0b")), "id: aevent: xb\n\n");
    }

    proptest! {
        #[test]
        fn a_client_gets_what_was_sent(
            values in proptest::collection::vec(proptest::option::of("[a-c:\r\n\0\u{feff}é ]{0,12}"), 1..5),
            event_type in proptest::option::of("[a-z :]{1,5}"),
            enveloped: bool,
        ) {
            let envelope = if enveloped { Envelope::Record } else { Envelope::None };
            let mut stream = Control::priming(Framing::Sse, 1, "0").to_vec();
            for value in &values {
                let bytes = value.as_ref().map(|value| value.as_bytes());
                stream.extend(framed(bytes, event_type.as_deref(), envelope));
            }
            let source = EventSource::read(&stream);
            prop_assert_eq!(source.events.len(), values.len());
            for ((event, data, id), value) in source.events.iter().zip(&values) {
                prop_assert_eq!(id, "ID");
                let own = event_type.as_deref().unwrap_or("message");
                match (value, enveloped) {
                    (Some(value), false) => {
                        prop_assert_eq!(event, own);
                        prop_assert_eq!(data, &value.replace("\r\n", "\n").replace('\r', "\n"));
                    }
                    (None, false) => prop_assert_eq!(event, "tailrace.tombstone"),
                    (value, true) => {
                        prop_assert_eq!(event, own);
                        let json: Value = serde_json::from_str(data).unwrap();
                        prop_assert_eq!(&json["value"], &json!(value));
                    }
                }
            }
        }

        #[test]
        fn any_bytes_make_one_block(value in proptest::collection::vec(any::<u8>(), 0..60), enveloped: bool) {
            let envelope = if enveloped { Envelope::Record } else { Envelope::None };
            let source = EventSource::read(&framed(Some(&value), None, envelope));
            prop_assert_eq!(source.events.len(), 1);
            prop_assert_eq!(source.last_event_id, "ID");
        }
    }
}
