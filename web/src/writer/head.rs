//! The head of a response (RFC 9112), as hyper would have written it.

use std::time::SystemTime;

use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use bytes::Bytes;
use hyper::http::response::Parts;

use super::chunk::Coding;

/// The head of a response with a body in this coding, after which the connection is closed.
pub(super) fn encode(parts: &Parts, coding: Coding) -> Bytes {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(match coding {
        Coding::Chunked | Coding::Messages => b"HTTP/1.1 ",
        Coding::Plain => b"HTTP/1.0 ",
    });
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    // The headers that say how the body is framed are written here.
    let ours = [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING];
    for (name, value) in parts.headers.iter().filter(|(name, _)| !ours.contains(name)) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(match coding {
        Coding::Chunked => b"transfer-encoding: chunked\r\nconnection: close\r\ndate: ",
        Coding::Plain => b"connection: close\r\ndate: ",
        Coding::Messages => b"connection: upgrade\r\ndate: ",
    });
    out.extend_from_slice(httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.into()
}
