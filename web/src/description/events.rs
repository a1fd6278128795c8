//! What a stream has besides records of a tenant that can be shown as they are: one list of all events whose names begin with
//! `tailrace.`.

use serde_json::{Value, json};

use super::ID;

/// An event of the server.
pub(super) struct Event {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// The name of the schema of its data.
    pub(super) data: &'static str,
    pub(super) has: Fields,
    /// Data as they may come.
    pub(super) example: fn() -> Value,
}

/// What else it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fields {
    /// Neither moves the client's positions nor ends the stream.
    Nothing,
    /// The positions after it.
    Id,
    /// The positions after it, if they have moved.
    MaybeId,
    /// The positions, and the time until the client reconnects: it is the last one.
    Last,
}

pub(super) const EVENTS: [Event; 11] = [
    Event {
        name: "tailrace.gap",
        about: "Records that will not be delivered, because Kafka does not have them any more.",
        data: "Gap",
        has: Fields::MaybeId,
        example: || json!({ "code": "retention", "topic": "orders", "partition": 1, "from": 100, "to": 150 }),
    },
    Event {
        name: "tailrace.synced",
        about: "Once for each connection: the replay has become live, or the snapshot is whole.",
        data: "Synced",
        has: Fields::MaybeId,
        example: || json!({ "replayed": 37 }),
    },
    Event {
        name: "tailrace.status",
        about: "The state of the server has changed, or the token expires soon.",
        data: "Status",
        has: Fields::Nothing,
        example: || json!({ "code": "kafka_unavailable" }),
    },
    Event {
        name: "tailrace.heartbeat",
        about: "With `heartbeat=event`: the connection is alive.",
        data: "Heartbeat",
        has: Fields::MaybeId,
        example: || json!({ "time": 1_767_225_600_000_u64 }),
    },
    Event {
        name: "tailrace.drain",
        about: "The connection ends regularly: reconnect after this time.",
        data: "Drain",
        has: Fields::Last,
        example: || json!({ "code": "draining", "retry_ms": 2130 }),
    },
    Event {
        name: "tailrace.error",
        about: "Why the stream ends.",
        data: "Error",
        has: Fields::Last,
        example: || {
            json!({
                "code": "too_many_streams",
                "message": "this tenant has as many streams as it may: 500 (TAILRACE_MAX_STREAMS_PER_TENANT)",
                "limit": "max_streams_per_tenant",
                "variable": "TAILRACE_MAX_STREAMS_PER_TENANT",
                "value": "500",
                "retry_ms": 4100,
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            })
        },
    },
    Event {
        name: "tailrace.left",
        about: "With `from=snapshot` or `conflate=key`, and a filter: the newest record of the key does not match any more.",
        data: "Left",
        has: Fields::Id,
        example: || {
            json!({
                "topic": "orders", "partition": 3, "offset": 1042, "timestamp": 1_767_225_600_000_u64, "key": "A-17",
            })
        },
    },
    Event {
        name: "tailrace.binary",
        about: "Under `envelope=none`: a record whose value is not text.",
        data: "Record",
        has: Fields::Id,
        example: || in_envelope(json!({ "base64": "AAAAABECYQ==" }), "binary"),
    },
    Event {
        name: "tailrace.tombstone",
        about: "Under `envelope=none`: a record without a value, which deletes its key.",
        data: "Record",
        has: Fields::Id,
        example: || in_envelope(Value::Null, "tombstone"),
    },
    Event {
        name: "tailrace.masked",
        about: "Under `envelope=none`: a record whose value is withheld, since its topic has masked fields and it is not JSON.",
        data: "Record",
        has: Fields::Id,
        example: || in_envelope(Value::Null, "masked"),
    },
    Event {
        name: "tailrace.undecodable",
        about: "Under any envelope: a record whose key or value is not what the server's settings say.",
        data: "Undecodable",
        has: Fields::Id,
        example: || {
            let mut record = in_envelope(json!({ "base64": "AAAAABECYQ==" }), "binary");
            record["code"] = json!("unknown_schema");
            record["field"] = json!("value");
            record
        },
    },
];

/// Those that a page shows in the place of a record.
pub(super) fn in_place_of_records() -> impl Iterator<Item = &'static Event> {
    EVENTS.iter().filter(|event| matches!(event.data, "Record" | "Undecodable"))
}

/// A record that one of them stands for.
fn in_envelope(value: Value, kind: &str) -> Value {
    let mut record = record();
    record["value"] = value;
    record["value_kind"] = json!(kind);
    record
}

/// A record in its envelope.
pub(super) fn record() -> Value {
    json!({
        "topic": "orders",
        "partition": 3,
        "offset": 1042,
        "timestamp": 1_767_225_600_000_u64,
        "key": "A-17",
        "headers": { "tenant": "acme" },
        "value": { "order": "A-17", "state": "paid" },
    })
}

/// The value of the same record.
pub(super) fn value() -> Value {
    record()["value"].take()
}

/// The event as an object: a line, or a message of a WebSocket.
pub(super) fn object(event: &Event) -> Value {
    let mut object = json!({ "event": event.name, "data": (event.example)() });
    if event.has != Fields::Nothing {
        object["id"] = json!(ID);
    }
    if event.has == Fields::Last {
        object["retry"] = json!(2130);
    }
    object
}
