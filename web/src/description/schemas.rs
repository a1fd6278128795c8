//! The objects of the interface, as JSON schemas. They use only what both JSON Schema 2020-12 (OpenAPI) and draft 7 (AsyncAPI)
//! have, so that both documents share them.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tailrace_bridge::{FlawCode, GapCode, Half, Status};

use super::events::{EVENTS, Event, Fields, in_place_of_records};
use super::{ID, Server};
use crate::end::{DRAIN_CODES, error_codes};
use crate::limit::Limit;
use crate::problem::{ProblemCode, TYPE};

/// All of them by name.
pub(super) fn all(server: &Server<'_>) -> Map<String, Value> {
    let mut all = Map::new();
    let mut put = |name: &str, schema| all.insert(name.to_owned(), schema);
    put("EventId", event_id());
    put("Bytes", bytes());
    put("Record", record(&[]));
    put("Undecodable", undecodable());
    put("CloudEvent", cloud_event());
    put("Gap", gap(false));
    put("Synced", object(&["replayed"], json!({ "replayed": count("Records that were replayed.") })));
    put("Status", status());
    put(
        "Heartbeat",
        object(&["time"], json!({ "time": count("The server's time, in milliseconds since 1970.") })),
    );
    put("Drain", drain());
    put("Error", error());
    put("Left", left());
    put("StreamEvent", stream_event());
    put("StreamObject", stream_object());
    put("Page", page());
    put("GapOfPage", gap(true));
    put("Enveloped", enveloped());
    put("PageEnd", page_end());
    put("PageLine", page_line());
    put("Topics", topics(server));
    put("Problem", problem());
    if server.settings.console {
        put("Console", console());
    }
    all
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

fn count(about: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": about })
}

fn string(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

fn event_id() -> Value {
    json!({
        "type": "string",
        "description": "The positions of a stream in all of its partitions. Opaque.",
        "pattern": "^[A-Z][A-Za-z0-9_-]+$",
        "examples": [ID],
    })
}

fn bytes() -> Value {
    let mut bytes =
        object(&["base64"], json!({ "base64": { "type": "string", "pattern": "^[A-Za-z0-9+/]*={0,2}$" } }));
    bytes["description"] = json!("Bytes that are not text.");
    bytes
}

/// Text, bytes that are none, or nothing.
fn text_or_bytes() -> Value {
    json!({ "anyOf": [{ "type": "string" }, { "type": "null" }, reference("Bytes")] })
}

/// The members that say where in Kafka a record is.
fn place() -> Map<String, Value> {
    let place = json!({
        "topic": { "type": "string" },
        "partition": { "type": "integer", "minimum": 0 },
        "offset": { "type": "integer", "minimum": 0 },
        "timestamp": {
            "type": ["integer", "null"], "description": "In milliseconds since 1970; null if there is none.",
        },
        "key": text_or_bytes(),
    });
    members(place)
}

fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

const PLACE: [&str; 5] = ["topic", "partition", "offset", "timestamp", "key"];

fn left() -> Value {
    object(&PLACE, Value::Object(place()))
}

/// The envelope of a record. `more`: members that it has besides.
fn record(more: &[(&str, Value)]) -> Value {
    let mut properties = place();
    properties.insert(
        "type".to_owned(),
        string("The type of the record, where the name of an event does not say it."),
    );
    properties
        .insert("headers".to_owned(), json!({ "type": "object", "additionalProperties": text_or_bytes() }));
    properties
        .insert("value".to_owned(), json!({ "description": "JSON as it is, or other text as a string." }));
    let kinds = json!({
        "enum": ["tombstone", "binary", "masked"],
        "description": "What the value is, where JSON could look the same.",
    });
    properties.insert("value_kind".to_owned(), kinds);
    properties.extend(more.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())));
    let more = more.iter().map(|(name, _)| *name);
    let required: Vec<&str> = PLACE.into_iter().chain(["headers", "value"]).chain(more).collect();
    let mut record = object(&required, Value::Object(properties));
    let where_kind_is = |kinds: Value, value: Value| {
        json!({
            "if": { "required": ["value_kind"], "properties": { "value_kind": { "enum": kinds } } },
            "then": { "properties": { "value": value } },
        })
    };
    record["allOf"] = json!([
        where_kind_is(json!(["tombstone", "masked"]), json!({ "type": "null" })),
        where_kind_is(json!(["binary"]), reference("Bytes")),
    ]);
    record
}

fn undecodable() -> Value {
    record(&[
        ("code", json!({ "enum": FlawCode::ALL.map(FlawCode::as_str), "description": "Why." })),
        ("field", json!({ "enum": Half::ALL.map(Half::as_str), "description": "What cannot be decoded." })),
    ])
}

fn cloud_event() -> Value {
    let mut event = object(
        &["specversion", "id", "source", "type"],
        json!({
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "minLength": 1 },
            "source": { "type": "string", "minLength": 1, "format": "uri-reference" },
            "type": { "type": "string", "minLength": 1 },
            "subject": { "type": "string" },
            "partitionkey": { "type": "string" },
            "keybase64": string("A key that no string of CloudEvents can be."),
            "time": { "type": "string", "format": "date-time" },
            "datacontenttype": { "type": "string" },
            "dataschema": { "type": "string" },
            "traceparent": { "type": "string" },
            "tracestate": { "type": "string" },
            "valuekind": string("`tombstone`, or `masked` for a value that is withheld."),
            "data": {},
            "data_base64": { "type": "string" },
        }),
    );
    event["description"] = json!("A CloudEvent 1.0 in the JSON format.");
    event["additionalProperties"] = json!(true);
    event["not"] = json!({ "required": ["data", "data_base64"] });
    event
}

/// The data of a gap. Where it stands in a page, it says before which record.
fn gap(of_page: bool) -> Value {
    let codes = |filter: fn(GapCode) -> bool| -> Vec<&str> {
        GapCode::ALL.into_iter().filter(|code| filter(*code)).map(GapCode::as_str).collect()
    };
    let variant = |codes: Vec<&str>, more: &[(&str, Value)]| {
        let at = ("at", count("The index of the record before which the gap stands."));
        let own = [("code", json!({ "enum": codes }))];
        let all = own.iter().chain(of_page.then_some(&at)).chain(more);
        let required: Vec<&str> = all.clone().map(|(name, _)| *name).collect();
        let properties = all.map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
        object(&required, Value::Object(properties))
    };
    let place = [
        ("topic", json!({ "type": "string" })),
        ("partition", json!({ "type": "integer", "minimum": 0 })),
        ("from", count("The first offset that will not be delivered.")),
    ];
    let with = |last| [&place[..], &[last]].concat();
    json!({
        "oneOf": [
            variant(
                codes(|code| code.names_a_partition() && !code.reuses_offsets()),
                &with(("to", count("The offset after the last one that will not be delivered."))),
            ),
            variant(
                codes(GapCode::reuses_offsets),
                &with(("next", count("Where the partition goes on, since new records reuse old offsets."))),
            ),
            variant(codes(|code| !code.names_a_partition()), &[]),
        ],
    })
}

fn status() -> Value {
    let of_server = object(
        &["code"],
        json!({
            "code": { "enum": Status::ALL.map(Status::as_str) },
            "message": string("What a client should know, although nothing is wrong."),
        }),
    );
    let of_token = object(
        &["code", "message", "remaining_ms"],
        json!({
            "code": { "const": "token_expiring" },
            "message": { "type": "string" },
            "remaining_ms": count("Until the stream ends."),
        }),
    );
    json!({ "oneOf": [of_server, of_token] })
}

fn retry_ms() -> Value {
    count("When to reconnect, in milliseconds.")
}

fn drain() -> Value {
    object(&["code", "retry_ms"], json!({ "code": { "enum": DRAIN_CODES }, "retry_ms": retry_ms() }))
}

fn error() -> Value {
    let mut properties = members(json!({
        "code": { "enum": error_codes().collect::<Vec<_>>() },
        "message": { "type": "string" },
        "retry_ms": retry_ms(),
        "trace_id": { "type": ["string", "null"], "description": "Finds the stream in the server's log." },
    }));
    properties.extend(of_limit());
    object(&["code", "message", "retry_ms", "trace_id"], Value::Object(properties))
}

/// The members that name a limit that was reached.
fn of_limit() -> Map<String, Value> {
    members(json!({
        "limit": { "enum": Limit::ALL.map(Limit::name), "description": "The limit that was reached." },
        "variable": string("The setting of the limit."),
        "value": string("The limit, where clients may know it."),
    }))
}

/// What an EventSource makes of a block.
fn stream_event() -> Value {
    let record = json!({
        "title": "A record",
        "type": "object",
        "required": ["data"],
        "properties": {
            "event": of_record("The type of the record, if it has one."),
            "data": string(DATA),
            "id": reference("EventId"),
        },
    });
    let of_event = |event: &Event| {
        let data = json!({
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": reference(event.data),
        });
        of_server(event, data)
    };
    let all: Vec<Value> = std::iter::once(record).chain(EVENTS.iter().map(of_event)).collect();
    json!({ "description": "A block that has data. `tailrace.…` are events of the server, all others are records.", "oneOf": all })
}

const DATA: &str =
    "Under `envelope=none` the value; under `record` a Record and under `cloudevents` a CloudEvent, as JSON.";

/// A line, or a message of a WebSocket.
fn stream_object() -> Value {
    let of_events = EVENTS.iter().map(event_object);
    let all: Vec<Value> = [positions_object(), record_object()].into_iter().chain(of_events).collect();
    json!({ "oneOf": all })
}

/// An object that is no event.
pub(super) fn positions_object() -> Value {
    json!({
        "title": "Positions",
        "description": "The first object, and what stands for a heartbeat: it moves the client's positions, and is no event.",
        "type": "object",
        "required": ["id"],
        "properties": { "id": reference("EventId"), "retry": retry_ms() },
        "not": { "required": ["data"] },
    })
}

pub(super) fn record_object() -> Value {
    json!({
        "title": "A record",
        "type": "object",
        "required": ["id", "data"],
        "properties": {
            "event": of_record("The type of the record, if it has one."),
            "id": reference("EventId"),
            "data": any_record(),
        },
    })
}

pub(super) fn event_object(event: &Event) -> Value {
    of_server(event, reference(event.data))
}

/// The name of an event that is a record.
fn of_record(about: &str) -> Value {
    json!({ "type": "string", "not": { "pattern": "^tailrace\\." }, "description": about })
}

/// By `envelope=`: a Record, a CloudEvent, or any value.
pub(super) fn any_record() -> Value {
    json!({ "anyOf": [reference("Record"), reference("CloudEvent"), { "title": "A bare value" }] })
}

fn of_server(event: &Event, data: Value) -> Value {
    let mut properties = members(json!({ "event": { "const": event.name }, "data": data }));
    if event.has != Fields::Nothing {
        properties.insert("id".to_owned(), reference("EventId"));
    }
    if event.has == Fields::Last {
        properties.insert("retry".to_owned(), retry_ms());
    }
    let required: &[&str] = match event.has {
        Fields::Id => &["event", "data", "id"],
        Fields::Last => &["event", "data", "retry"],
        Fields::Nothing | Fields::MaybeId => &["event", "data"],
    };
    let mut schema = object(required, Value::Object(properties));
    schema["title"] = json!(event.name);
    schema["description"] = json!(event.about);
    schema
}

/// What stands beside the records of a page.
fn beside_records() -> Map<String, Value> {
    members(json!({
        "gaps": { "type": "array", "minItems": 1, "items": reference("GapOfPage") },
        "enveloped": { "type": "array", "minItems": 1, "items": reference("Enveloped") },
        "more": { "const": true, "description": "There may be more: ask again at once." },
        "next": reference("EventId"),
    }))
}

fn page() -> Value {
    let mut properties = beside_records();
    properties.insert("records".to_owned(), json!({ "type": "array", "items": page_record() }));
    object(&["records", "next"], Value::Object(properties))
}

fn page_record() -> Value {
    json!({
        "anyOf": [
            reference("Record"),
            reference("Undecodable"),
            reference("CloudEvent"),
            { "title": "A bare value, under `envelope=none`" },
        ],
    })
}

fn page_end() -> Value {
    let mut end = object(&["next"], Value::Object(beside_records()));
    end["description"] = json!("The last line: what a page has besides records.");
    end
}

fn page_line() -> Value {
    json!({ "anyOf": [reference("PageEnd"), page_record()] })
}

fn enveloped() -> Value {
    let variants = in_place_of_records().map(|event| {
        object(
            &["at", "event", "data"],
            json!({
                "at": count("The index of the record, which is null there."),
                "event": { "const": event.name },
                "data": reference(event.data),
            }),
        )
    });
    json!({ "oneOf": variants.collect::<Vec<_>>() })
}

fn topics(server: &Server<'_>) -> Value {
    let mut properties = members(json!({ "partition": { "type": "integer", "minimum": 0 } }));
    let mut required = vec!["partition"];
    // Where ids are sealed, nobody is to learn positions.
    if server.settings.privacy.id_keys.is_none() {
        properties.insert("begin".to_owned(), count("The first offset in Kafka."));
        properties.insert("end".to_owned(), count("The offset after the last one that was read."));
        required.extend(["begin", "end"]);
    }
    let topic = object(
        &["topic", "partitions", "types", "rate"],
        json!({
            "topic": { "type": "string" },
            "partitions": { "type": "array", "items": object(&required, Value::Object(properties)) },
            "types": {
                "type": "array",
                "items": { "type": "string" },
                "maxItems": 50,
                "description": "Types of the tenant's newest records, the most frequent first.",
            },
            "rate": { "type": "number", "minimum": 0, "description": "Records of the tenant a second: an estimate." },
        }),
    );
    object(&["topics"], json!({ "topics": { "type": "array", "items": topic } }))
}

fn console() -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let board =
        object(&["path", "title"], json!({ "path": { "type": "string" }, "title": { "type": "string" } }));
    object(
        &["topics", "tenants", "boards", "start"],
        json!({
            "topics": texts,
            "tenants": texts,
            "boards": { "type": "array", "items": board },
            "start": { "anyOf": [{ "type": "null" }, { "type": "object" }] },
        }),
    )
}

fn problem() -> Value {
    let codes: Vec<&str> = ProblemCode::all().map(ProblemCode::as_str).collect();
    let statuses = statuses().map(|status| status.as_u16());
    let mut properties = members(json!({
        "type": { "type": "string", "format": "uri", "pattern": format!("^{TYPE}[a-z_]+$") },
        "title": { "type": "string" },
        "status": { "enum": statuses.collect::<Vec<_>>() },
        "code": { "enum": codes, "description": "Stable, for programs." },
        "detail": string("What is wrong, in a sentence."),
        "trace_id": { "type": "string", "pattern": "^[0-9a-f]{32}$", "description": "Finds the request in the server's log." },
        "parameter": string("The parameter that cannot be used."),
        "index": count("Which of its values."),
        "column": { "type": "integer", "minimum": 1, "description": "Where in a filter, in characters." },
        "topic": string("The topic that cannot be had."),
    }));
    properties.extend(of_limit());
    let required = ["type", "title", "status", "code", "detail", "trace_id"];
    let mut problem = object(&required, Value::Object(properties));
    problem["description"] = json!("A problem document (RFC 9457).");
    problem
}

/// The statuses of problems, each once.
pub(super) fn statuses() -> impl Iterator<Item = StatusCode> {
    let all: std::collections::BTreeSet<StatusCode> = ProblemCode::all().map(ProblemCode::status).collect();
    all.into_iter()
}
