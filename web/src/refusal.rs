//! How somebody is told that there is no stream for them now.
//!
//! A newcomer gets the status. A browser that comes *back* would stop for good on any status but 200, so it gets a
//! stream of one block: `tailrace.error`, when to come again, and the id that it came with.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Response};
use serde_json::json;
use tailrace_bridge::Control;

use crate::problem::{Passing, Problem};
use crate::stream::{not_before, stream_headers};
use crate::trace::TraceId;

/// The answer for a condition that passes; `last_event_id` makes the difference.
pub(crate) fn response(
    passing: Passing,
    last_event_id: Option<&str>,
    retry: Duration,
    trace_id: TraceId,
    request: &HeaderMap,
) -> Response<Body> {
    match last_event_id {
        None => Problem::Passing(passing).response(trace_id),
        Some(id) => in_stream(&passing, id, retry, trace_id, request),
    }
}

fn in_stream(
    passing: &Passing,
    id: &str,
    retry: Duration,
    trace_id: TraceId,
    request: &HeaderMap,
) -> Response<Body> {
    let retry_ms = not_before(retry.max(passing.after)).as_millis() as u64;
    let block = Control {
        event: "tailrace.error",
        data: json!({
            "code": passing.code.as_str(), "message": passing.detail, "retry_ms": retry_ms, "trace_id": trace_id.to_string(),
        }),
        id: is_legal(id).then(|| id.to_owned()),
        retry_ms: Some(retry_ms),
    };
    let mut response = Response::new(Body::from(block.encode()));
    stream_headers(request, response.headers_mut());
    response
}

/// Whether it can stand on one line of a header and of a stream: it goes back to where it came from, unread.
fn is_legal(id: &str) -> bool {
    !id.is_empty() && !id.chars().any(char::is_control)
}
