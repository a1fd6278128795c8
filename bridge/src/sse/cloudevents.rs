//! A record as a CloudEvent 1.0 in the JSON format, on one line.
//!
//! A record that is an event already stays itself: see [`native_event`](crate::sse::native_event). Every other becomes one whose
//! attributes say where in Kafka it is from.

use std::collections::BTreeMap;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::record::RecordRef;
use crate::record::form::ValueForm;
use crate::record::json::is_json;
use crate::record::trace_context::TraceContext;
use crate::sse::envelope::{put, put_on_one_line, put_string};
use crate::sse::native_event::{NativeEvent, REQUIRED, is_attribute_name, media_type, text};
use crate::sse::privacy::{HeaderList, Look};

/// The type of a record that has no event type.
const DEFAULT_TYPE: &str = "tailrace.record";
/// The bytes that a name of an extension has at most, where a header gives it.
const MAX_NAME: usize = 20;
/// Members that no header may write: attributes of the specification, and those that are written from the record itself.
const TAKEN: [&str; 14] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "data",
    "datacontenttype",
    "dataschema",
    "partitionkey",
    "keybase64",
    "traceparent",
    "tracestate",
    "valuekind",
];

/// Appends the event. `withheld`: the record has a value that may not be shown.
pub(crate) fn put_cloudevent(
    out: &mut Vec<u8>,
    record: &RecordRef<'_>,
    topic: &str,
    partition: u32,
    look: &Look<'_>,
    withheld: bool,
) {
    match NativeEvent::of(record, look.headers) {
        Some(NativeEvent::Structured(json)) => put_on_one_line(out, json.trim_ascii()),
        Some(NativeEvent::Binary(attributes)) => put_binary(out, record, attributes, look.headers, withheld),
        None => put_ordinary(out, record, topic, partition, look, withheld),
    }
}

/// The event of a record that is none: what Kafka has of it, as attributes.
fn put_ordinary(
    out: &mut Vec<u8>,
    record: &RecordRef<'_>,
    topic: &str,
    partition: u32,
    look: &Look<'_>,
    withheld: bool,
) {
    out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":");
    put_string(out, topic);
    // The quote at the end of the topic's name.
    out.pop();
    put(out, format_args!("/{partition}/{}\"", record.offset));
    put_attribute(out, "source", look.source.as_str());
    let event_type = record.event_type.and_then(|event_type| text(event_type.as_bytes()));
    put_attribute(out, "type", event_type.filter(|text| !text.is_empty()).unwrap_or(DEFAULT_TYPE));
    put_key(out, record.key, record.form.binary_key);
    if let Some(time) = time_of(record.timestamp) {
        put(out, format_args!(",\"time\":\"{time:.3}\""));
    }
    put_trace(out, record, look.headers);
    for (name, value) in extensions(record, look.headers) {
        put_attribute(out, name, value);
    }
    match record.value {
        _ if withheld => out.extend_from_slice(b",\"valuekind\":\"masked\""),
        None => out.extend_from_slice(b",\"valuekind\":\"tombstone\""),
        Some(json) if is_json_value(record.form.value, json) => {
            put_attribute(out, "datacontenttype", "application/json");
            put_json(out, json);
        }
        Some(value) => match std::str::from_utf8(value) {
            Ok(text) if record.form.value != ValueForm::Binary => {
                put_attribute(out, "datacontenttype", "text/plain; charset=utf-8");
                put_attribute(out, "data", text);
            }
            _ => {
                put_attribute(out, "datacontenttype", "application/octet-stream");
                put_base64(out, "data_base64", value);
            }
        },
    }
    out.push(b'}');
}

/// Whether a value of this form is a JSON document.
fn is_json_value(form: ValueForm, value: &[u8]) -> bool {
    form == ValueForm::Json || form == ValueForm::Unknown && is_json(value)
}

/// A key that a string of CloudEvents can be is the subject and the key of its partition; any other is an extension of bytes.
fn put_key(out: &mut Vec<u8>, key: Option<&[u8]>, is_binary: bool) {
    let Some(key) = key else { return };
    match text(key).filter(|text| !text.is_empty() && !is_binary) {
        Some(text) => {
            put_attribute(out, "subject", text);
            put_attribute(out, "partitionkey", text);
        }
        None => put_base64(out, "keybase64", key),
    }
}

/// RFC 3339. Kafka has -1 where there is no time, and what lies after the year 9999 cannot be written.
fn time_of(timestamp: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(timestamp).ok().filter(|_| timestamp >= 0)
}

fn put_trace(out: &mut Vec<u8>, record: &RecordRef<'_>, headers: &HeaderList) {
    let Some(context) = TraceContext::of(record.headers).filter(|_| headers.has("traceparent")) else {
        return;
    };
    put_attribute(out, "traceparent", context.traceparent);
    if let Some(state) = context.tracestate.filter(|_| headers.has("tracestate")) {
        put_attribute(out, "tracestate", state);
    }
}

/// The listed headers whose name and value an attribute can have. The last of a name counts, as for Kafka's own clients.
fn extensions<'a>(record: &RecordRef<'a>, headers: &HeaderList) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_free = |name: &str| name.len() <= MAX_NAME && is_attribute_name(name) && !TAKEN.contains(&name);
    let listed = record.headers.iter().filter(|(name, _)| is_free(name) && headers.has(name));
    let last: BTreeMap<&str, Option<&str>> =
        listed.map(|(name, value)| (name, value.and_then(text))).collect();
    last.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// The event whose attributes are headers. Its trace context is its own, or else that of the record.
fn put_binary(
    out: &mut Vec<u8>,
    record: &RecordRef<'_>,
    mut attributes: BTreeMap<&str, &str>,
    headers: &HeaderList,
    withheld: bool,
) {
    for (index, name) in REQUIRED.into_iter().enumerate() {
        out.push(if index == 0 { b'{' } else { b',' });
        put(out, format_args!("\"{name}\":"));
        put_string(out, attributes.remove(name).unwrap_or_default());
    }
    let has_trace = attributes.contains_key("traceparent") || attributes.contains_key("tracestate");
    if withheld {
        attributes.remove("valuekind");
    }
    if record.form.value == ValueForm::Json
        && !attributes.get("datacontenttype").is_none_or(|text| is_json_type(text))
    {
        // The value has been decoded: it is no longer what the producer said.
        attributes.insert("datacontenttype", "application/json");
    }
    for (name, value) in &attributes {
        put_attribute(out, name, value);
    }
    if !has_trace {
        put_trace(out, record, headers);
    }
    if withheld {
        out.extend_from_slice(b",\"valuekind\":\"masked\"");
    } else if let Some(value) = record.value {
        put_declared(out, value, attributes.get("datacontenttype").copied());
    }
    out.push(b'}');
}

/// Data in the form that its content type has, so that the form is the same for all events of that type: JSON as it is, text as
/// a string, all else as base64. So is what is not of its own content type. Without a type, JSON is meant.
fn put_declared(out: &mut Vec<u8>, value: &[u8], content_type: Option<&str>) {
    let media = content_type.map_or_else(|| "application/json".to_owned(), media_type);
    let has_suffix = |name: &str| suffix(&media) == name;
    let is_text = media.starts_with("text/") || has_suffix("xml");
    match std::str::from_utf8(value) {
        _ if has_suffix("json") && is_json(value) => put_json(out, value),
        Ok(text) if is_text && !has_suffix("json") && !is_other_charset(content_type) => {
            put_attribute(out, "data", text);
        }
        _ => put_base64(out, "data_base64", value),
    }
}

/// What is after the plus sign of a media type, or its whole subtype.
fn suffix(media: &str) -> &str {
    let subtype = media.split_once('/').map_or("", |(_, subtype)| subtype);
    subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix)
}

fn is_json_type(content_type: &str) -> bool {
    suffix(&media_type(content_type)) == "json"
}

/// Whether the content type names a character set of which UTF-8 is no superset.
fn is_other_charset(content_type: Option<&str>) -> bool {
    let parameters = content_type.unwrap_or_default().split(';').skip(1);
    let charset =
        parameters.filter_map(|parameter| parameter.trim().split_once('=')).find_map(|(name, value)| {
            name.trim()
                .eq_ignore_ascii_case("charset")
                .then(|| value.trim().trim_matches('"').to_ascii_lowercase())
        });
    charset.is_some_and(|charset| !matches!(&*charset, "utf-8" | "utf8" | "us-ascii"))
}

fn put_attribute(out: &mut Vec<u8>, name: &str, value: &str) {
    put(out, format_args!(",\"{name}\":"));
    put_string(out, value);
}

fn put_json(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(b",\"data\":");
    put_on_one_line(out, json);
}

fn put_base64(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    put(out, format_args!(",\"{name}\":\"{}\"", Base64Display::new(bytes, &STANDARD)));
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde::de::{IgnoredAny, MapAccess, Visitor};
    use serde::{Deserialize, Deserializer};
    use serde_json::{Value, json};

    use super::*;
    use crate::record::form::Form;
    use crate::record::{Headers, written_headers};
    use crate::sse::envelope::Envelope;
    use crate::sse::framing::Framing;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const BINARY: [(&str, Option<&[u8]>); 4] = [
        ("ce_specversion", Some(b"1.0")),
        ("ce_type", Some(b"com.example.paid")),
        ("ce_source", Some(b"/shop")),
        ("ce_id", Some(b"e-1")),
    ];

    struct Given<'a> {
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        headers: &'a [(&'a str, Option<&'a [u8]>)],
        event_type: Option<&'a str>,
        timestamp: i64,
        listed: &'a str,
        withheld: bool,
        form: Form,
    }

    impl Default for Given<'_> {
        fn default() -> Self {
            let (key, value, headers, event_type) = (None, None, &[][..], None);
            Given {
                key,
                value,
                headers,
                event_type,
                timestamp: -1,
                listed: "*",
                withheld: false,
                form: Form::default(),
            }
        }
    }

    impl Given<'_> {
        fn text(&self) -> String {
            let headers = written_headers(self.headers);
            let record = RecordRef {
                offset: 7,
                epoch: 0,
                timestamp: self.timestamp,
                key: self.key,
                value: self.value,
                event_type: self.event_type,
                headers: Headers::written(&headers),
                form: self.form,
            };
            let (headers, source) = (&self.listed.parse().unwrap(), &Default::default());
            let look = Look {
                framing: Framing::Sse,
                event_name: Default::default(),
                envelope: Envelope::CloudEvents,
                headers,
                source,
                masking: None,
            };
            let mut out = Vec::new();
            put_cloudevent(&mut out, &record, "orders", 3, &look, self.withheld);
            String::from_utf8(out).unwrap()
        }

        fn event(&self) -> Value {
            serde_json::from_str(&self.text()).unwrap()
        }
    }

    #[test]
    fn a_record_says_where_in_kafka_it_is_from() {
        let given = Given {
            key: Some(b"A-17"),
            value: Some(b"{\"n\" :\n1.0}"),
            headers: &[("region", Some(b"eu")), ("traceparent", Some(PARENT.as_bytes()))],
            timestamp: 1_767_225_600_007,
            ..Given::default()
        };
        assert_eq!(
            given.text(),
            format!(
                r#"{{"specversion":"1.0","id":"orders/3/7","source":"/tailrace","type":"tailrace.record","subject":"A-17","partitionkey":"A-17","time":"2026-01-01T00:00:00.007Z","traceparent":"{PARENT}","region":"eu","datacontenttype":"application/json","data":{{"n" : 1.0}}}}"#
            )
        );
        let typed = Given { event_type: Some("com.example.paid"), ..given };
        assert_eq!(typed.event()["type"], "com.example.paid");
    }

    #[test]
    fn a_value_is_data_in_its_form() {
        let data = |value: Option<&[u8]>, withheld| {
            let event = Given { value, withheld, ..Given::default() }.event();
            ["datacontenttype", "data", "data_base64", "valuekind"].map(|name| event.get(name).cloned())
        };
        let some = |text: &str| Some(json!(text));
        let json_type = some("application/json");
        assert_eq!(data(Some(b"null"), false), [json_type.clone(), Some(Value::Null), None, None]);
        assert_eq!(data(Some(b"\"x\""), false), [json_type, some("x"), None, None]);
        let text_type = some("text/plain; charset=utf-8");
        assert_eq!(data(Some(b"a\r\nb\0"), false), [text_type.clone(), some("a\r\nb\0"), None, None]);
        assert_eq!(data(Some(b""), false), [text_type, some(""), None, None]);
        assert_eq!(
            data(Some(b"\xff\0"), false),
            [some("application/octet-stream"), None, some("/wA="), None]
        );
        assert_eq!(data(None, false), [None, None, None, some("tombstone")]);
        assert_eq!(data(None, true), [None, None, None, some("masked")]);
    }

    #[test]
    fn a_key_that_no_string_can_be_is_bytes() {
        let key = |key| {
            let event = Given { key, ..Given::default() }.event();
            ["subject", "partitionkey", "keybase64"].map(|name| event.get(name).cloned())
        };
        assert_eq!(key(None), [None, None, None]);
        let text = Some(json!("\u{e9}\""));
        assert_eq!(key(Some("\u{e9}\"".as_bytes())), [text.clone(), text, None]);
        for (bytes, base64) in
            [(&b"\xff"[..], "/w=="), (b"a\n", "YQo="), (b"", ""), ("\u{fffe}".as_bytes(), "77++")]
        {
            assert_eq!(key(Some(bytes)), [None, None, Some(json!(base64))]);
        }
    }

    #[test]
    fn a_decoded_value_has_the_form_that_decoding_says() {
        let event = |value, headers, form| {
            Given {
                value: Some(value),
                headers,
                form: Form { value: form, ..Form::default() },
                ..Given::default()
            }
            .event()
        };
        let text = event(b"1", &[], ValueForm::Text);
        assert_eq!(
            (&text["data"], &text["datacontenttype"]),
            (&json!("1"), &json!("text/plain; charset=utf-8"))
        );
        assert_eq!(event(b"1", &[], ValueForm::Binary)["data_base64"], "MQ==");
        let avro = [&BINARY[..], &[("content-type", Some(&b"application/avro"[..]))]].concat();
        let own = event(b"[1]", &avro, ValueForm::Json);
        assert_eq!(
            (&own["id"], &own["data"], &own["datacontenttype"]),
            (&json!("e-1"), &json!([1]), &json!("application/json"))
        );
        let form = Form { binary_key: true, ..Form::default() };
        assert_eq!(Given { key: Some(b"k"), form, ..Given::default() }.event()["keybase64"], "aw==");
    }

    #[test]
    fn a_time_that_is_none_is_left_out() {
        for timestamp in [-1, i64::MIN, i64::MAX] {
            assert_eq!(Given { timestamp, ..Given::default() }.event().get("time"), None);
        }
        assert_eq!(Given { timestamp: 0, ..Given::default() }.event()["time"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn only_headers_that_can_be_attributes_are_carried() {
        let headers: &[(&str, Option<&[u8]>)] = &[
            ("region", Some(b"eu")),
            ("region", Some(b"us")),
            ("id", Some(b"forged")),
            ("data", Some(b"forged")),
            ("valuekind", Some(b"forged")),
            ("x-trace", Some(b"1")),
            ("Upper", Some(b"1")),
            ("", Some(b"1")),
            ("abcdefghijklmnopqrstu", Some(b"1")),
            ("control", Some(b"a\n")),
            ("bytes", Some(b"\xff")),
            ("none", None),
            ("cleared", Some(b"1")),
            ("cleared", None),
            ("traceparent", Some(b"not one")),
            ("tracestate", Some(b"a=1")),
        ];
        let plain = Given { value: Some(b"1"), ..Given::default() }.event();
        let mut expected = plain.clone();
        expected["region"] = json!("us");
        let given = Given { value: Some(b"1"), headers, ..Given::default() };
        assert_eq!(given.event(), expected);
        assert_eq!(Given { listed: "x-trace", ..given }.event(), plain);
    }

    #[test]
    fn the_trace_context_follows_the_list_of_headers() {
        let headers: &[(&str, Option<&[u8]>)] =
            &[("traceparent", Some(PARENT.as_bytes())), ("tracestate", Some(b"a=1"))];
        let trace = |listed| {
            let event = Given { headers, listed, ..Given::default() }.event();
            ["traceparent", "tracestate"].map(|name| event.get(name).cloned())
        };
        let (parent, state) = (Some(json!(PARENT)), Some(json!("a=1")));
        assert_eq!(trace("*"), [parent.clone(), state]);
        assert_eq!(trace("traceparent"), [parent, None]);
        assert_eq!(trace("tracestate"), [None, None]);
        assert_eq!(trace(""), [None, None]);
    }

    fn binary(more: &[(&str, Option<&[u8]>)], value: Option<&[u8]>, listed: &str) -> Value {
        let headers = [&BINARY[..], more].concat();
        Given { key: Some(b"k"), value, headers: &headers, listed, ..Given::default() }.event()
    }

    #[test]
    fn an_event_in_binary_mode_stays_itself() {
        let more: &[(&str, Option<&[u8]>)] = &[
            ("ce_time", Some(b"2018-04-05T03:56:24+02:00")),
            ("ce_shard", Some(b"7")),
            ("content-type", Some(b"application/json")),
            ("region", Some(b"eu")),
            ("ce_data", Some(b"forged")),
            ("ce_datacontenttype", Some(b"forged")),
            ("ce_Upper", Some(b"1")),
        ];
        assert_eq!(
            binary(more, Some(b"{\"n\":\n1}"), "*"),
            json!({"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "com.example.paid",
                "time": "2018-04-05T03:56:24+02:00", "shard": "7", "datacontenttype": "application/json", "data": {"n": 1}})
        );
        let event = binary(&[("traceparent", Some(PARENT.as_bytes()))], None, "*");
        assert_eq!(
            (event.get("data"), event.get("valuekind"), &event["traceparent"]),
            (None, None, &json!(PARENT))
        );
        let own: &[(&str, Option<&[u8]>)] =
            &[("traceparent", Some(PARENT.as_bytes())), ("ce_traceparent", Some(b"its own"))];
        assert_eq!(binary(own, None, "*")["traceparent"], "its own");
    }

    #[test]
    fn an_attribute_that_is_not_valid_is_left_out_and_a_required_one_makes_an_ordinary_record() {
        for bad in
            [&b"yesterday"[..], b"2018-04-05", b"2018-04-05T03:56:24Z[UTC]", b"20180405T035624Z", b"\xff"]
        {
            let event = binary(
                &[("ce_time", Some(bad)), ("ce_subject", Some(b"")), ("ce_note", Some(b"\n"))],
                None,
                "*",
            );
            assert_eq!((&event["id"], event.as_object().unwrap().len()), (&json!("e-1"), 4), "{event}");
        }
        for (name, bad) in [
            ("ce_specversion", Some(&b"0.3"[..])),
            ("ce_specversion", None),
            ("ce_id", Some(b"")),
            ("ce_id", None),
            ("ce_source", Some(b"\xff")),
            ("ce_type", Some(b"a\0")),
        ] {
            assert_eq!(binary(&[(name, bad)], None, "*")["id"], "orders/3/7", "{name} {bad:?}");
        }
    }

    #[test]
    fn an_event_in_binary_mode_shows_listed_headers_only() {
        const LISTED: &str = "ce_specversion,ce_id,ce_source,ce_type";
        let more: &[(&str, Option<&[u8]>)] =
            &[("ce_secret", Some(b"s")), ("content-type", Some(b"text/plain")), ("ce_subject", Some(b"s"))];
        let event = binary(more, Some(b"1"), LISTED);
        assert_eq!((event.as_object().unwrap().len(), &event["data"]), (5, &json!(1)), "{event}");
        assert_eq!(binary(more, Some(b"1"), &LISTED[..LISTED.len() - 8])["id"], "orders/3/7");
    }

    #[test]
    fn data_in_binary_mode_has_the_form_of_its_content_type() {
        let data = |content_type: Option<&str>, value: &[u8]| {
            let header = [("content-type", content_type.map(str::as_bytes))];
            let event = binary(&header[..usize::from(content_type.is_some())], Some(value), "*");
            assert_eq!(event.get("datacontenttype").and_then(Value::as_str), content_type);
            (event.get("data").cloned(), event.get("data_base64").cloned())
        };
        let (bare, base64) = ((Some(json!([1])), None), |text: &str| (None, Some(json!(text))));
        for json in
            [None, Some("application/json"), Some("text/json"), Some("Application/Geo+JSON; charset=utf-8")]
        {
            assert_eq!(data(json, b"[1]"), bare, "{json:?}");
            assert_eq!(data(json, b"[1"), base64("WzE="), "{json:?}");
        }
        let string = (Some(json!("[1]")), None);
        for text in
            ["text/plain", "application/xml", "image/svg+xml;charset=\"UTF-8\"", "text/csv; charset=us-ascii"]
        {
            assert_eq!(data(Some(text), b"[1]"), string, "{text}");
            assert_eq!(data(Some(text), b"\xff"), base64("/w=="), "{text}");
        }
        for other in ["application/avro", "application/x-json", "json", "text/plain; charset=iso-8859-1"] {
            assert_eq!(data(Some(other), b"[1]"), base64("WzFd"), "{other}");
        }
    }

    fn structured(content_type: &str, value: &[u8]) -> String {
        let headers: &[(&str, Option<&[u8]>)] = &[("content-type", Some(content_type.as_bytes()))];
        Given { value: Some(value), headers, listed: "", ..Given::default() }.text()
    }

    #[test]
    fn an_event_in_structured_mode_is_the_value_on_one_line() {
        let event = "\n{\"specversion\":\"1.0\",\r\n\"id\":\"e\\u002d1\", \"source\":\"/s\",\"type\":\"t\",\"n\":1e2,\"data\":null}\n";
        for media in [
            "application/cloudevents+json; charset=UTF-8",
            "Application/CloudEvents+JSON",
            "application/cloudevents",
        ] {
            assert_eq!(
                structured(media, event.as_bytes()),
                event.trim().replace(['\r', '\n'], " "),
                "{media}"
            );
        }
    }

    #[test]
    fn what_is_no_event_of_this_version_is_wrapped() {
        let event = r#"{"specversion":"1.0","id":"e-1","source":"/s","type":"t"}"#;
        for (from, to) in [
            ("1.0", "0.3"),
            ("\"e-1\"", "\"\""),
            ("\"e-1\"", "17"),
            ("\"e-1\"", "null"),
            ("\"id\"", "\"Id\""),
            ("{", "[{"),
            ("}", ""),
            ("}", ",\"id\":\"e-2\"}"),
            ("}", ",\"data\":1,\"data_base64\":\"AA==\"}"),
        ] {
            let other = event.replacen(from, to, 1);
            let wrapped: Value =
                serde_json::from_str(&structured("application/cloudevents+json", other.as_bytes())).unwrap();
            assert_eq!(wrapped["id"], "orders/3/7", "{other}");
        }
        let array = br#"["1.0","e-1","/s","t",null,null]"#;
        for (media, value) in [
            ("application/cloudevents+json", &array[..]),
            ("application/cloudevents-batch+json", event.as_bytes()),
            ("application/cloudevents+avro", event.as_bytes()),
            ("application/json", event.as_bytes()),
        ] {
            let wrapped: Value = serde_json::from_str(&structured(media, value)).unwrap();
            assert_eq!(
                (&wrapped["id"], &wrapped["datacontenttype"]),
                (&json!("orders/3/7"), &json!("application/json"))
            );
        }
    }

    #[test]
    fn a_value_that_is_withheld_is_in_no_mode() {
        let headers = [&BINARY[..], &[("ce_valuekind", Some(&b"json"[..]))]].concat();
        let event = Given { headers: &headers, withheld: true, ..Given::default() }.event();
        assert_eq!((&event["id"], &event["valuekind"]), (&json!("e-1"), &json!("masked")));
        let headers: &[(&str, Option<&[u8]>)] = &[("content-type", Some(b"application/cloudevents+json"))];
        let event = Given { headers, withheld: true, ..Given::default() }.event();
        assert_eq!((&event["id"], &event["valuekind"]), (&json!("orders/3/7"), &json!("masked")));
    }

    /// The names of an object's members, each as often as it is there.
    struct Members(Vec<String>);

    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
            struct Names;
            impl<'de> Visitor<'de> for Names {
                type Value = Members;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut names = Vec::new();
                    while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                        names.push(name);
                    }
                    Ok(Members(names))
                }
            }
            deserializer.deserialize_map(Names)
        }
    }

    fn some_header() -> impl Strategy<Value = (String, Option<Vec<u8>>)> {
        let name = prop_oneof![
            "[a-z0-9]{0,4}",
            "ce_(id|type|source|specversion|time|subject|data|valuekind|traceparent|[a-z_]{0,3})",
            "(content-type|traceparent|tracestate|valuekind|data|id)",
            ".{0,4}",
        ];
        let value = prop_oneof![
            vec(any::<u8>(), 0..20),
            "(1\\.0|application/(json|cloudevents\\+json|xml)|text/plain|[ -~]{0,10})"
                .prop_map(String::into_bytes),
        ];
        (name, proptest::option::weighted(0.9, value))
    }

    fn some_value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(any::<u8>(), 0..40),
            "(\\{\"a\":\r?\n1\\}|\"[ -~]{0,5}\"|null|.{0,10})".prop_map(String::into_bytes),
            Just(br#"{"specversion":"1.0","id":"1","source":"/","type":"t"}"#.to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn every_record_is_an_event_on_one_line(
            key in proptest::option::of(vec(any::<u8>(), 0..10)),
            value in proptest::option::of(some_value()),
            event_type in proptest::option::of(".{0,5}"),
            mut headers in vec(some_header(), 0..8),
            is_native in any::<bool>(),
            timestamp in any::<i64>(),
            withheld in any::<bool>(),
        ) {
            if is_native {
                let own = BINARY.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
                headers.splice(0..0, own);
            }
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            let value = value.as_deref().filter(|_| !withheld);
            let (key, event_type) = (key.as_deref(), event_type.as_deref());
            let text =
                Given { key, value, headers: &headers, event_type, timestamp, listed: "*", withheld, form: Form::default() }.text();
            prop_assert!(!text.contains(['\r', '\n']));
            let event: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&event["specversion"], "1.0");
            for name in REQUIRED {
                prop_assert!(event[name].as_str().is_some_and(|text| !text.is_empty()), "{}", text);
            }
            let Members(mut names) = serde_json::from_str(&text).unwrap();
            for name in &names {
                prop_assert!(name == "data_base64" || is_attribute_name(name), "{}", text);
            }
            let all = names.len();
            names.sort();
            names.dedup();
            prop_assert_eq!(all, names.len(), "{}", text);
            prop_assert!(!(event.get("data").is_some() && event.get("data_base64").is_some()));
        }
    }
}
