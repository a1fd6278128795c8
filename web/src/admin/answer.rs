//! Answers of the operators' routes: a JSON array, or a JSON object a line, as the client likes.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Response};
use serde_json::Value;

use crate::accept::LINES;

/// How many there are, of which the answer has the first.
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");

/// The objects, of `total` that there are.
pub(super) fn list(objects: impl Iterator<Item = Value>, total: usize, as_lines: bool) -> Response<Body> {
    let mut text = String::new();
    for object in objects {
        text.push_str(match (as_lines, text.is_empty()) {
            (true, _) => "",
            (false, true) => "[",
            (false, false) => ",\n",
        });
        text.push_str(&object.to_string());
        text.push_str(if as_lines { "\n" } else { "" });
    }
    if !as_lines {
        text.push_str(if text.is_empty() { "[]\n" } else { "]\n" });
    }
    let mut response = json(text, if as_lines { LINES } else { "application/json" });
    response.headers_mut().insert(TOTAL, HeaderValue::from(total));
    response
}

/// One object.
pub(super) fn object(object: &Value) -> Response<Body> {
    json(format!("{object}\n"), "application/json")
}

fn json(text: String, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
