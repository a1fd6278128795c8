//! The id that finds a request in logs: taken from `traceparent`, or generated here.

use std::fmt;

use axum::http::HeaderMap;
use rand::RngCore;

/// The trace id of the W3C trace context, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The request's own trace id, or a new one.
pub(crate) fn trace_id(headers: &HeaderMap) -> TraceId {
    incoming(headers).unwrap_or_else(fresh)
}

fn incoming(headers: &HeaderMap) -> Option<TraceId> {
    let id = headers.get("traceparent")?.to_str().ok()?.split('-').nth(1)?;
    let legal = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let id = u128::from_str_radix(id, 16).ok().filter(|id| legal && *id != 0)?;
    Some(TraceId(id))
}

/// A new trace id, for a request without one.
pub(crate) fn fresh() -> TraceId {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    TraceId(u128::from_be_bytes(bytes))
}
