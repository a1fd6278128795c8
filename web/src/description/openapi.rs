//! The routes, as an OpenAPI 3.2 document.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::events::{self, EVENTS};
use super::parameters::schema;
use super::schemas::{self, reference, statuses};
use super::{ASYNCAPI, ID, OF_TENANT, OPENAPI, Server, TENANT, tenant_schema};
use crate::accept::LINES;
use crate::problem::{ProblemCode, TYPE};
use crate::query::{ACCESS_TOKEN, Route};

const DESCRIPTION: &str = "Kafka topics as streams of server-sent events, one for each tenant, that continue exactly where they \
    were cut; the same over WebSockets, as JSON lines, and in pages. Whatever takes GET takes HEAD, too, for the headers. An \
    unknown parameter is a 400 that names the nearest known one. A *reconnect*, a request for a stream with a last event id, is \
    not refused by status for a temporary condition: it gets 200, one `tailrace.error`, and the end.";

/// What the protocol of the connection refuses by itself.
const TOO_LARGE: StatusCode = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;

/// The headers of requests that several routes have: key, name, and what it is for.
const LAST_EVENT_ID: (&str, &str, &str) = (
    "LastEventId",
    "Last-Event-ID",
    "Where to continue; browsers send it by themselves. It has precedence over `last_event_id`.",
);
const TRACE_PARENT: (&str, &str, &str) =
    ("TraceParent", "traceparent", "Its trace id is used in errors and in the log (W3C Trace Context).");
const IF_NONE_MATCH: (&str, &str, &str) =
    ("IfNoneMatch", "If-None-Match", "The `ETag` of a page that the client has.");

pub(super) fn document(server: &Server<'_>) -> Value {
    let mut parameters = Parameters::default();
    let mut paths = Map::new();
    for route in Route::ALL {
        for path in server.paths(route) {
            let operation = operation(server, route, &path, &mut parameters);
            paths.insert(path, json!({ "get": operation }));
        }
    }
    paths.extend(of_the_server(server));
    let mut components = json!({
        "schemas": schemas::all(server),
        "parameters": parameters.0,
        "headers": headers(),
        "responses": refusals(server),
    });
    let mut document = json!({
        "openapi": "3.2.0",
        "info": server.info("Tailrace", DESCRIPTION),
        "servers": [{ "url": "/", "description": "This server." }],
        "tags": [
            { "name": "Streams", "description": "Records as they come, after those that the client has missed." },
            { "name": "Pages", "description": "The same records by request and response." },
            { "name": "Topics", "description": "What there is to read." },
            { "name": "Server", "description": "What the server says of itself." },
        ],
        "paths": paths,
    });
    document["info"]["license"]["identifier"] = json!(env!("CARGO_PKG_LICENSE"));
    if let Some(schemes) = security_schemes(server) {
        document["security"] = schemes.keys().map(|name| json!({ name: [] })).collect();
        components["securitySchemes"] = schemes.into();
    }
    document["components"] = components;
    document
}

/// The parameters of all routes. One that is the same for several routes stands once.
#[derive(Default)]
struct Parameters(Map<String, Value>);

impl Parameters {
    fn put(&mut self, name: &str, route: Route, parameter: Value) -> Value {
        let own = format!("{name}_of{}", route.path().replace('/', "_"));
        let is_other = self.0.get(name).is_some_and(|known| *known != parameter);
        let key = if is_other { &own } else { name };
        self.0.insert(key.to_owned(), parameter);
        json!({ "$ref": format!("#/components/parameters/{key}") })
    }

    fn of_route(&mut self, server: &Server<'_>, route: Route) -> Vec<Value> {
        let defaults = server.defaults(route);
        let described = server.parameters(route).map(|parameter| {
            let schema = schema(parameter, route, &defaults);
            let described = json!({
                "name": parameter.name, "in": "query", "description": parameter.about, "schema": schema,
            });
            self.put(parameter.name, route, described)
        });
        described.collect()
    }

    fn header(&mut self, route: Route, (key, name, about): (&str, &str, &str)) -> Value {
        self.put(
            key,
            route,
            json!({ "name": name, "in": "header", "description": about, "schema": { "type": "string" } }),
        )
    }
}

fn operation(server: &Server<'_>, route: Route, path: &str, parameters: &mut Parameters) -> Value {
    let (tag, id, summary, about) = words(route);
    let is_of_tenant = path.starts_with(OF_TENANT);
    let id = match is_of_tenant {
        true => format!("tenant{}", first_upper(id)),
        false => id.to_owned(),
    };
    let mut all = parameters.of_route(server, route);
    if is_of_tenant {
        let tenant = json!({
            "name": "tenant", "in": "path", "required": true, "description": TENANT, "schema": tenant_schema(), "example": "acme",
        });
        all.insert(0, parameters.put("tenant", route, tenant));
    }
    if route != Route::Topics {
        all.push(parameters.header(route, LAST_EVENT_ID));
    }
    if route == Route::Records {
        all.push(parameters.header(route, IF_NONE_MATCH));
    }
    if route == Route::WebSocket {
        all.extend(handshake());
    }
    all.push(parameters.header(route, TRACE_PARENT));
    json!({
        "tags": [tag],
        "operationId": id,
        "summary": summary,
        "description": about,
        "parameters": all,
        "responses": responses(server, route),
    })
}

/// The tag of a route, the id of its operation, a summary, and what one should know.
fn words(route: Route) -> (&'static str, &'static str, &'static str, &'static str) {
    match route {
        Route::Events => (
            "Streams",
            "streamEvents",
            "A stream of events",
            "The records of the tenant, live, for an EventSource; or as JSON lines. The first block has an id and no data. Heartbeats are \
             comments, or blocks that have only an id; of JSON lines, empty lines, or objects that have only an id.",
        ),
        Route::WebSocket => (
            "Streams",
            "openWebSocket",
            "The same stream over a WebSocket",
            "Each message is one object, a StreamObject; the AsyncAPI document has them one by one. It needs HTTP/1.1. Browsers can \
             send the token as a subprotocol: `new WebSocket(url, [\"bearer\", token])`.",
        ),
        Route::Records => (
            "Pages",
            "readRecords",
            "A page of records",
            "Records, and the id where they end: of the next page, or of a stream. An empty page is the end only without `more`.",
        ),
        Route::Topics => (
            "Topics",
            "listTopics",
            "The topics that the tenant has",
            "The topics in which the tenant can have records and which the token allows.",
        ),
    }
}

fn first_upper(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// The headers that ask for a WebSocket (RFC 6455, section 4.1). `Connection` cannot be described, and is `Upgrade`.
fn handshake() -> [Value; 3] {
    let header = |name: &str, schema: Value| json!({ "name": name, "in": "header", "required": true, "schema": schema });
    [
        header("Upgrade", json!({ "const": "websocket" })),
        header("Sec-WebSocket-Version", json!({ "const": "13" })),
        header("Sec-WebSocket-Key", json!({ "type": "string", "pattern": "^[A-Za-z0-9+/]{21}[AQgw]==$" })),
    ]
}

fn responses(server: &Server<'_>, route: Route) -> Map<String, Value> {
    let mut responses: Map<String, Value> = statuses()
        .filter(|status| *status != StatusCode::UPGRADE_REQUIRED || route == Route::WebSocket)
        .filter(|status| is_given(server, *status))
        .chain([TOO_LARGE])
        .map(to_response)
        .collect();
    match route {
        Route::Events => responses.insert("200".to_owned(), stream()),
        Route::WebSocket => responses.insert(
            "101".to_owned(),
            json!({ "description": "The WebSocket is open.", "headers": { "Sec-WebSocket-Accept": header("SecWebSocketAccept") } }),
        ),
        Route::Records => {
            let description = "The client has this page: its `If-None-Match` names it.";
            let kept = json!({ "description": description, "headers": of_a_page() });
            responses.insert("304".to_owned(), kept);
            responses.insert("200".to_owned(), page())
        }
        Route::Topics => {
            let example = json!({
                "topics": [{
                    "topic": "orders",
                    "partitions": [partition(server)],
                    "types": ["order.paid", "order.created"],
                    "rate": 1.3,
                }],
            });
            responses.insert("200".to_owned(), json("The topics, by name.", reference("Topics"), example))
        }
    };
    responses
}

fn to_response(status: StatusCode) -> (String, Value) {
    (status.as_str().to_owned(), json!({ "$ref": format!("#/components/responses/{}", name_of(status)) }))
}

fn partition(server: &Server<'_>) -> Value {
    match server.settings.privacy.id_keys {
        None => json!({ "partition": 0, "begin": 0, "end": 412 }),
        Some(_) => json!({ "partition": 0 }),
    }
}

/// Whether a server that asks for no token gives it.
fn is_given(server: &Server<'_>, status: StatusCode) -> bool {
    status != StatusCode::UNAUTHORIZED || server.tokens().is_some()
}

fn json(description: &str, schema: Value, example: Value) -> Value {
    json!({
        "description": description,
        "content": { "application/json": { "schema": schema, "example": example } },
    })
}

fn header(key: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{key}") })
}

/// Two records as a stream begins.
fn stream() -> Value {
    let value = events::value();
    let blocks = format!(
        "retry: 2130\nid: {ID}\n\nevent: order.paid\ndata: {value}\nid: {ID}\n\nevent: {}\ndata: {}\nid: {ID}\n\n",
        EVENTS[0].name,
        (EVENTS[0].example)(),
    );
    let lines = [
        json!({ "id": ID, "retry": 2130 }),
        json!({ "event": "order.paid", "id": ID, "data": value }),
        events::object(&EVENTS[0]),
    ];
    json!({
        "description": "The stream, which ends when the client leaves, or with `tailrace.drain` or `tailrace.error`.",
        "headers": { "Cache-Control": header("CacheControl"), "X-Accel-Buffering": header("XAccelBuffering") },
        "content": {
            "text/event-stream": { "itemSchema": reference("StreamEvent"), "examples": sequence("Blocks", blocks) },
            LINES: { "itemSchema": reference("StreamObject"), "examples": sequence("Lines", text_of(&lines)) },
        },
    })
}

fn sequence(summary: &str, text: String) -> Value {
    json!({ "begin": { "summary": summary, "serializedValue": text } })
}

fn text_of(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn page() -> Value {
    let mut first = events::record();
    first["type"] = json!("order.paid");
    let lines = [first.clone(), events::record(), json!({ "more": true, "next": ID })];
    let page = json!({ "records": [first, events::record()], "more": true, "next": ID });
    let mut response = json("The page.", reference("Page"), page);
    response["headers"] = of_a_page();
    response["content"][LINES] =
        json!({ "itemSchema": reference("PageLine"), "examples": sequence("Lines", text_of(&lines)) });
    response
}

fn of_a_page() -> Value {
    json!({ "Cache-Control": header("CacheControl"), "ETag": header("ETag"), "Vary": header("Vary") })
}

fn headers() -> Value {
    let header = |about: &str, required: bool, schema: Value| json!({ "description": about, "required": required, "schema": schema });
    let text = || json!({ "type": "string" });
    json!({
        "CacheControl": header("Who may keep the answer.", true, text()),
        "XAccelBuffering": header("`no`: nginx hands on what comes at once.", true, json!({ "const": "no" })),
        "ETag": header("Only of a page that will not change.", false, text()),
        "Vary": header("What the answer depends on besides the address.", true, text()),
        "RetryAfter": header("Seconds before the next attempt.", true, json!({ "type": "integer", "minimum": 1 })),
        "WwwAuthenticate": header("What token is asked for (RFC 6750).", false, text()),
        "Allow": header("The methods that the route takes.", true, text()),
        "Upgrade": header("The protocol of the route.", true, json!({ "const": "websocket" })),
        "SecWebSocketAccept": header("The server's part of the handshake.", true, text()),
    })
}

fn name_of(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().replace(' ', "")
}

/// The answers that refuse a request: problem documents, by status, and what comes before anybody could write one.
fn refusals(server: &Server<'_>) -> Map<String, Value> {
    let given = statuses().filter(|status| is_given(server, *status));
    let mut refusals: Map<String, Value> = given.map(|status| (name_of(status), problem(status))).collect();
    let about = "The request line and the headers together have more than 32 KiB.";
    refusals.insert(name_of(TOO_LARGE), json!({ "description": about }));
    refusals
}

fn problem(status: StatusCode) -> Value {
    let codes: Vec<ProblemCode> = ProblemCode::all().filter(|code| code.status() == status).collect();
    let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let of_status =
        json!({ "properties": { "status": { "const": status.as_u16() }, "code": { "enum": names } } });
    let example = json!({
        "type": format!("{TYPE}{}", names[0]),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": names[0],
        "detail": "what is wrong, in a sentence",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    });
    let mut response = json!({
        "description": format!("{}: {}.", status.canonical_reason().unwrap_or_default(), names.join(", ")),
        "content": {
            "application/problem+json": { "schema": { "allOf": [reference("Problem"), of_status] }, "example": example },
        },
    });
    let headers: &[(&str, &str)] = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => &[("Retry-After", "RetryAfter")],
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => &[("WWW-Authenticate", "WwwAuthenticate")],
        StatusCode::METHOD_NOT_ALLOWED => &[("Allow", "Allow")],
        StatusCode::UPGRADE_REQUIRED => &[("Upgrade", "Upgrade")],
        _ => &[],
    };
    for (name, key) in headers {
        response["headers"][*name] = header(key);
    }
    response
}

/// The routes that have no tenant and ask for no token.
fn of_the_server(server: &Server<'_>) -> Map<String, Value> {
    let operation = |id: &str, summary: &str, about: &str, schema: Value, example: Value| {
        let refusals = [StatusCode::METHOD_NOT_ALLOWED, TOO_LARGE].into_iter().map(to_response);
        let mut responses: Map<String, Value> = refusals.collect();
        responses.insert("200".to_owned(), json(about, schema, example));
        json!({
            "get": {
                "tags": ["Server"],
                "operationId": id,
                "summary": summary,
                "description": about,
                "security": [],
                "responses": responses,
            },
        })
    };
    let document = |version: &str| json!({ "type": "object", "required": [version, "info"] });
    let mut paths = Map::new();
    let openapi = operation(
        "readOpenApi",
        "This document",
        "The interface of this server, as an OpenAPI document.",
        document("openapi"),
        json!({ "openapi": "3.2.0", "info": { "title": "Tailrace", "version": env!("CARGO_PKG_VERSION") } }),
    );
    paths.insert(OPENAPI.to_owned(), openapi);
    let asyncapi = operation(
        "readAsyncApi",
        "The events one by one",
        "The events of this server, as an AsyncAPI document.",
        document("asyncapi"),
        json!({ "asyncapi": "3.0.0", "info": { "title": "Tailrace", "version": env!("CARGO_PKG_VERSION") } }),
    );
    paths.insert(ASYNCAPI.to_owned(), asyncapi);
    if server.settings.console {
        let console = operation(
            "readConsole",
            "What the console offers",
            "Names of topics, tenants and boards to choose from; where tokens are asked for, none.",
            reference("Console"),
            json!({ "topics": ["orders"], "tenants": [], "boards": [], "start": null }),
        );
        paths.insert("/console.json".to_owned(), console);
    }
    paths
}

/// The ways by which a token may come; `None`: none is asked for.
fn security_schemes(server: &Server<'_>) -> Option<Map<String, Value>> {
    let sources = server.tokens()?;
    let mut schemes = Map::new();
    let mut put = |name: &str, scheme| schemes.insert(name.to_owned(), scheme);
    let bearer = json!({
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "It has precedence over the other ways.",
    });
    put("bearer", bearer);
    if sources.query {
        let about = "For clients that cannot set the header.";
        put(
            ACCESS_TOKEN,
            json!({ "type": "apiKey", "in": "query", "name": ACCESS_TOKEN, "description": about }),
        );
    }
    if let Some(cookie) = &sources.cookie {
        let about = "From pages of this server, and of the origins that it trusts.";
        put("cookie", json!({ "type": "apiKey", "in": "cookie", "name": cookie, "description": about }));
    }
    Some(schemes)
}
