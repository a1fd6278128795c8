//! What a client accepts, with weights; and the form of an answer that it likes: JSON a line, or what the route has otherwise.

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderName};

/// The media type of JSON a line.
pub(crate) const LINES: &str = "application/x-ndjson";

/// Whether the client prefers JSON a line to everything else that it names (RFC 9110, section 12.5.1).
pub(crate) fn wants_lines(headers: &HeaderMap) -> bool {
    let kinds = weighted(headers, ACCEPT);
    let is_lines = |kind: &str| kind.eq_ignore_ascii_case(LINES);
    let Some((at, (_, lines))) = kinds.iter().enumerate().find(|(_, (kind, _))| is_lines(kind)) else {
        return false;
    };
    // Of two that are liked as much, the first.
    let is_better = |(index, (_, weight)): (usize, &(&str, f32))| {
        if index < at { weight >= lines } else { weight > lines }
    };
    *lines > 0.0 && !kinds.iter().enumerate().any(is_better)
}

/// What a header lists, each with its weight (RFC 9110, section 12.4.2), which is 1 where it has none that can be read.
pub(crate) fn weighted(headers: &HeaderMap, header: HeaderName) -> Vec<(&str, f32)> {
    let values = headers.get_all(header).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(with_weight).collect()
}

fn with_weight(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q="))?.parse().ok());
    (name, weight.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_for_who_likes_them_best() {
        let wants = |accept: &'static str| {
            let headers = [(ACCEPT, accept.parse().unwrap())].into_iter().collect();
            wants_lines(&headers)
        };
        assert!(wants("application/x-ndjson") && wants("Application/X-NDJSON;q=0.5"));
        assert!(wants("application/x-ndjson, application/json;q=0.9, */*;q=0.1"));
        assert!(wants("application/json;q=0.5, application/x-ndjson"));
        assert!(!wants("text/event-stream") && !wants("*/*") && !wants(""));
        assert!(!wants("application/x-ndjson;q=0"));
        assert!(!wants("text/event-stream, application/x-ndjson"));
        assert!(!wants("application/x-ndjson;q=0.5, application/json"));
    }
}
