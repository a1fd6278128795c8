//! The form of an answer that the client likes: a JSON document, or JSON a line.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The media type of JSON a line.
pub(crate) const LINES: &str = "application/x-ndjson";

/// Whether the client wants JSON a line.
pub(crate) fn wants_lines(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case(LINES))
}
