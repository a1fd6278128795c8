//! The response to a request for a stream that cannot be opened for now.
//!
//! A new client gets the error status. A browser that *re*connects would give up for good on any status but 200, so it gets a
//! stream of one event: `tailrace.error`, with the time of the next attempt and the id that it sent.

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use serde_json::{Map, Value, json};
use tailrace_bridge::{Control, Framing};

use crate::attachment::Attached;
use crate::problem::Passing;
use crate::stream::{last_words, not_before};
use crate::trace::TraceId;

/// The response to a client that comes back, in `head`, which opens a stream in this framing.
pub(crate) fn in_stream(
    passing: &Passing,
    id: &str,
    retry: Duration,
    trace_id: TraceId,
    (framing, head): (Framing, Response<Body>),
) -> Response<Body> {
    let retry_ms = not_before(retry.max(passing.after)).as_millis() as u64;
    let mut data = Map::new();
    data.insert("code".to_owned(), json!(passing.code.as_str()));
    data.insert("message".to_owned(), json!(passing.detail));
    passing.name_limit(&mut data);
    data.insert("retry_ms".to_owned(), json!(retry_ms));
    data.insert("trace_id".to_owned(), json!(trace_id.to_string()));
    let block = Control {
        event: "tailrace.error",
        data: Value::Object(data),
        id: is_legal(id).then(|| id.to_owned()),
        retry_ms: Some(retry_ms),
    };
    let last = last_words(&block, framing);
    if framing != Framing::WebSocket {
        return head.map(|_| Body::from(last));
    }
    let mut response = head;
    response.extensions_mut().insert(Attached::last(last));
    response
}

/// Whether the id can be put on one line of a header and of a stream: it is sent back to the client without being parsed.
fn is_legal(id: &str) -> bool {
    !id.is_empty() && !id.chars().any(char::is_control)
}
