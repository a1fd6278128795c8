//! The id by which a request is found again in logs: taken from `traceparent`, or made here.

use std::fmt::Write;

use axum::http::HeaderMap;
use rand::RngCore;

/// The 32 hexadecimal digits of the W3C trace context's trace id.
pub(crate) fn trace_id(headers: &HeaderMap) -> String {
    incoming(headers).unwrap_or_else(fresh)
}

fn incoming(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("traceparent")?.to_str().ok()?.split('-').nth(1)?;
    let legal = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    legal.then(|| id.to_ascii_lowercase())
}

fn fresh() -> String {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
