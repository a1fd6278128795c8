//! The streams, as an AsyncAPI 3 document: every event one by one, as an EventSource gets it, and as an object of a WebSocket.

use serde_json::{Map, Value, json};

use super::events::{self, EVENTS, Event, Fields};
use super::parameters::schema;
use super::schemas::{self, reference};
use super::{ID, Server, TENANT};
use crate::end::{LAST_CODES, close_code};
use crate::query::{ACCESS_TOKEN, Route};

const DESCRIPTION: &str = "Kafka topics as streams of server-sent events, one for each tenant, that continue exactly where they \
    were cut. Of a server-sent event, the payload is its data, and the headers are its other fields; of a WebSocket, the payload is \
    the whole message. Other routes are in the OpenAPI document, `/openapi.json`.";
/// The name of the message that is a record.
const RECORD: &str = "record";

/// The two ways of a stream: its name, and the protocols without and with TLS.
struct Way {
    route: Route,
    name: &'static str,
    protocols: [&'static str; 2],
    title: &'static str,
}

const WAYS: [Way; 2] = [
    Way { route: Route::Events, name: "events", protocols: ["http", "https"], title: "Server-sent events" },
    Way { route: Route::WebSocket, name: "webSocket", protocols: ["ws", "wss"], title: "A WebSocket" },
];

pub(super) fn document(server: &Server<'_>) -> Value {
    let (mut servers, mut channels, mut operations) = (Map::new(), Map::new(), Map::new());
    let mut messages = Map::new();
    for way in &WAYS {
        servers.insert(way.name.to_owned(), of_this(server, way));
        let own = messages_of(way);
        let names: Vec<String> = own.iter().map(|(name, _)| name.clone()).collect();
        let key = |name: &str| format!("{name}.{}", way.name);
        messages.extend(own.into_iter().map(|(name, message)| (key(&name), message)));
        let in_channel =
            names.iter().map(|name| (name.clone(), to(&format!("components/messages/{}", key(name)))));
        let in_channel: Map<String, Value> = in_channel.collect();
        for path in server.paths(way.route) {
            let channel = channel_name(way, &path);
            let sent = names.iter().map(|name| to(&format!("channels/{channel}/messages/{name}")));
            operations.insert(format!("send_{channel}"), operation(server, way, &channel, sent.collect()));
            channels.insert(channel, self::channel(server, way, path, &in_channel));
        }
    }
    let mut components = json!({ "schemas": of_events(server), "messages": messages });
    if let Some(schemes) = security_schemes(server) {
        components["securitySchemes"] = schemes.into();
    }
    let mut info = server.info("Tailrace", DESCRIPTION);
    info["tags"] = json!([{ "name": "kafka" }, { "name": "server-sent events" }, { "name": "websocket" }]);
    json!({
        "asyncapi": "3.0.0",
        "info": info,
        "defaultContentType": "application/json",
        "servers": servers,
        "channels": channels,
        "operations": operations,
        "components": components,
    })
}

fn to(place: &str) -> Value {
    json!({ "$ref": format!("#/{place}") })
}

/// `tenantEvents` of `/t/{tenant}/events`.
fn channel_name(way: &Way, path: &str) -> String {
    let is_plain = path == way.route.path();
    if is_plain { way.name.to_owned() } else { format!("{}OfTenant", way.name) }
}

fn of_this(server: &Server<'_>, way: &Way) -> Value {
    let mut own = json!({
        "host": "{host}",
        "protocol": way.protocols[usize::from(server.settings.has_tls())],
        "description": "This server, by the name that clients know it by.",
        "variables": { "host": { "default": "localhost:8080", "description": "Host and port." } },
    });
    if let Some(schemes) = security_schemes(server) {
        own["security"] =
            schemes.keys().map(|name| to(&format!("components/securitySchemes/{name}"))).collect();
    }
    own
}

fn channel(server: &Server<'_>, way: &Way, path: String, messages: &Map<String, Value>) -> Value {
    let mut channel = json!({
        "title": way.title,
        "description": "The records of one tenant, and what the server says of the stream.",
        "address": path,
        "servers": [to(&format!("servers/{}", way.name))],
        "messages": messages,
    });
    if path != way.route.path() {
        channel["parameters"] = json!({ "tenant": { "description": TENANT, "examples": ["acme"] } });
    }
    if way.route == Route::WebSocket {
        channel["bindings"] = json!({ "ws": { "method": "GET", "query": query(server, way.route), "bindingVersion": "0.1.0" } });
    }
    channel
}

fn operation(server: &Server<'_>, way: &Way, channel: &str, messages: Vec<Value>) -> Value {
    let mut operation = json!({
        "action": "send",
        "summary": "What a client of this stream gets.",
        "description": about(way),
        "channel": to(&format!("channels/{channel}")),
        "messages": messages,
    });
    if way.route == Route::Events {
        operation["bindings"] = json!({ "http": { "method": "GET", "query": query(server, way.route), "bindingVersion": "0.3.0" } });
    }
    operation
}

fn about(way: &Way) -> String {
    match way.route {
        Route::WebSocket => {
            let codes = LAST_CODES.iter().map(|code| format!("{} `{code}`", close_code(code)));
            format!(
                "Messages of the client are refused with the close code 1003. The server closes after its last message, with a code that \
                 stands for that of the message: {}.",
                codes.collect::<Vec<_>>().join(", ")
            )
        }
        _ => "For an EventSource, which reconnects by itself with the id of the last event.".to_owned(),
    }
}

/// The query of the request that opens the stream.
fn query(server: &Server<'_>, route: Route) -> Value {
    let defaults = server.defaults(route);
    let described = server.parameters(route).map(|parameter| {
        let mut schema = schema(parameter, route, &defaults);
        schema["description"] = json!(parameter.about);
        (parameter.name.to_owned(), schema)
    });
    json!({ "type": "object", "properties": described.collect::<Map<_, _>>(), "additionalProperties": false })
}

/// The messages of a stream, by name.
fn messages_of(way: &Way) -> Vec<(String, Value)> {
    let of_events = EVENTS.iter().map(|event| match way.route {
        Route::WebSocket => (event.name.to_owned(), object(event)),
        _ => (event.name.to_owned(), block(event)),
    });
    let record = match way.route {
        Route::WebSocket => record_object(),
        _ => record_block(),
    };
    let mut messages: Vec<(String, Value)> =
        std::iter::once((RECORD.to_owned(), record)).chain(of_events).collect();
    if way.route == Route::WebSocket {
        messages.push(("positions".to_owned(), positions()));
    }
    messages
}

/// An event of the server for an EventSource.
fn block(event: &Event) -> Value {
    let mut headers = json!({
        "type": "object", "required": ["event"], "properties": { "event": { "const": event.name } },
    });
    let mut example = json!({ "event": event.name });
    if event.has != Fields::Nothing {
        headers["properties"]["id"] = reference("EventId");
        example["id"] = json!(ID);
    }
    if event.has == Fields::Last {
        headers["properties"]["retry"] = json!({ "type": "integer", "minimum": 0 });
        example["retry"] = json!(2130);
    }
    json!({
        "name": event.name,
        "title": event.name,
        "summary": event.about,
        "headers": headers,
        "payload": reference(event.data),
        "examples": [{ "headers": example, "payload": (event.example)() }],
    })
}

fn record_block() -> Value {
    json!({
        "name": RECORD,
        "title": "A record",
        "summary": "Under `envelope=none` its value, under `record` all that Kafka has of it, under `cloudevents` a CloudEvent.",
        "headers": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "event": { "type": "string", "description": "The type of the record, if it has one." },
                "id": reference("EventId"),
            },
        },
        "payload": schemas::any_record(),
        "examples": [
            { "name": "none", "headers": { "event": "order.paid", "id": ID }, "payload": events::value() },
            { "name": "record", "headers": { "event": "order.paid", "id": ID }, "payload": events::record() },
        ],
    })
}

/// An event of the server over a WebSocket.
fn object(event: &Event) -> Value {
    json!({
        "name": event.name,
        "title": event.name,
        "summary": event.about,
        "payload": schemas::event_object(event),
        "examples": [{ "payload": events::object(event) }],
    })
}

fn record_object() -> Value {
    json!({
        "name": RECORD,
        "title": "A record",
        "summary": "A record of the tenant.",
        "payload": schemas::record_object(),
        "examples": [{ "payload": { "event": "order.paid", "id": ID, "data": events::value() } }],
    })
}

/// What the client has got so far, without an event.
fn positions() -> Value {
    json!({
        "name": "positions",
        "title": "Positions",
        "summary": "What the client has got so far.",
        "payload": schemas::positions_object(),
        "examples": [{ "payload": { "id": ID, "retry": 2130 } }],
    })
}

/// The schemas that events refer to.
fn of_events(server: &Server<'_>) -> Map<String, Value> {
    let of_records = ["EventId", "Bytes", "Record", "CloudEvent"];
    let is_used = |name: &str| of_records.contains(&name) || EVENTS.iter().any(|event| event.data == name);
    schemas::all(server).into_iter().filter(|(name, _)| is_used(name)).collect()
}

/// The ways by which a token may come; `None`: none is asked for.
fn security_schemes(server: &Server<'_>) -> Option<Map<String, Value>> {
    let sources = server.tokens()?;
    let mut schemes = Map::new();
    schemes.insert("bearer".to_owned(), json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" }));
    if sources.query {
        schemes.insert(
            ACCESS_TOKEN.to_owned(),
            json!({ "type": "httpApiKey", "in": "query", "name": ACCESS_TOKEN }),
        );
    }
    if let Some(cookie) = &sources.cookie {
        schemes.insert("cookie".to_owned(), json!({ "type": "httpApiKey", "in": "cookie", "name": cookie }));
    }
    Some(schemes)
}
