//! The opening handshake of a WebSocket (RFC 6455, section 4): which requests are one, whose pages may make it, and its answer.

use axum::body::Body;
use axum::http::header::{CONNECTION, ORIGIN, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, HeaderValue, Request, Response};
use tungstenite::handshake::server::create_response;

use crate::cors::{self, Origins};
use crate::problem::Problem;

/// The subprotocol after which a token follows in the list of those that a client offers: `new WebSocket(url, ["bearer", token])`.
const BEARER: &str = "bearer";

/// Whether the request asks for a WebSocket.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(UPGRADE).iter();
    values.any(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The token that the client offers as a subprotocol. `Some(None)`: it offers to, and does not.
pub(crate) fn token(headers: &HeaderMap) -> Option<Option<&str>> {
    if !is_asked(headers) {
        return None;
    }
    let mut offered = protocols(headers);
    offered.any(|name| name == BEARER).then(|| offered.next().filter(|token| !token.is_empty()))
}

/// Checks the handshake, and that its page may read what this server has: a browser opens WebSockets to any server, with its
/// cookies, and asks nobody.
pub(crate) fn check(request: &Head, origins: &Origins) -> Result<(), Problem> {
    answer(request)?;
    let mut from = request.headers.get_all(ORIGIN).iter();
    let is_trusted = match (from.next(), from.next()) {
        (None, _) => true,
        (Some(origin), None) => {
            origin.to_str().is_ok_and(|origin| cors::is_own(origin, request) || origins.allows(origin))
        }
        (Some(_), Some(_)) => false,
    };
    if is_trusted {
        return Ok(());
    }
    let detail =
        "a page of this origin may not open a WebSocket here; its origin must be in TAILRACE_CORS_ORIGINS";
    Err(Problem::Barred { detail: detail.to_owned() })
}

/// The answer to a handshake that was checked.
pub(crate) fn answer(request: &Head) -> Result<Response<Body>, Problem> {
    let mut asked = Request::new(());
    (*asked.method_mut(), *asked.version_mut()) = (request.method.clone(), request.version);
    asked.headers_mut().clone_from(&request.headers);
    // A list may come in several lines (RFC 9110, section 5.3), of which the library reads the first.
    let lines: Vec<&[u8]> = request.headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(all) = HeaderValue::from_bytes(&lines.join(&b", "[..])) {
        asked.headers_mut().insert(CONNECTION, all);
    }
    let answer = create_response(&asked).map_err(|error| Problem::Upgrade { detail: reason(&error) })?;
    let mut answer = answer.map(|()| Body::empty());
    if protocols(&request.headers).any(|name| name == BEARER) {
        // A browser gives up if none of those that it offers is taken.
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BEARER));
    }
    Ok(answer)
}

fn reason(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Protocol(why) => why.to_string(),
        other => other.to_string(),
    }
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(more: &[(&'static str, &'static str)]) -> Head {
        let mut request = Request::builder()
            .uri("/t/acme/ws")
            .header("host", "board.example")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn origins(text: &str) -> Origins {
        text.parse().unwrap()
    }

    /// The example of RFC 6455, section 1.3.
    #[test]
    fn the_answer_shows_that_the_key_was_read() {
        let answer = answer(&request(&[])).unwrap();
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!answer.headers().contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn a_list_may_come_in_several_lines() {
        let mut request = request(&[]);
        request.headers.insert("connection", HeaderValue::from_static("keep-alive"));
        assert!(answer(&request).is_err());
        request.headers.append("connection", HeaderValue::from_static("Upgrade"));
        assert!(answer(&request).is_ok());
    }

    #[test]
    fn what_is_no_handshake_is_said_to_be_none() {
        for missing in ["connection", "upgrade", "sec-websocket-version", "sec-websocket-key"] {
            let mut request = request(&[]);
            request.headers.remove(missing);
            let problem = check(&request, &origins("*")).unwrap_err();
            assert!(matches!(problem, Problem::Upgrade { .. }), "{missing}: {problem:?}");
        }
        let mut old = request(&[]);
        old.headers.insert("sec-websocket-version", HeaderValue::from_static("8"));
        assert!(check(&old, &origins("*")).is_err());
    }

    #[test]
    fn attack_a_page_of_another_origin_opens_nothing() {
        let check =
            |more: &[(&'static str, &'static str)], list: &str| check(&request(more), &origins(list)).is_ok();
        assert!(check(&[], "") && check(&[("origin", "https://board.example")], ""));
        assert!(check(&[("origin", "https://app.example")], "https://app.example"));
        for evil in
            ["https://evil.example", "null", "https://board.example.evil", "https://board.example:8443"]
        {
            assert!(!check(&[("origin", evil)], "https://app.example"), "{evil}");
        }
        assert!(!check(&[("origin", "https://board.example"), ("origin", "https://evil.example")], ""));
    }

    #[test]
    fn a_token_follows_its_name_and_is_never_sent_back() {
        let of = |offered| {
            token(&request(&[("sec-websocket-protocol", offered)]).headers)
                .map(|token| token.map(str::to_owned))
        };
        assert_eq!(of("bearer, abc.d-e_f"), Some(Some("abc.d-e_f".to_owned())));
        assert_eq!(of("chat, bearer,abc"), Some(Some("abc".to_owned())));
        assert_eq!((of("bearer"), of("bearer,"), of("chat")), (Some(None), Some(None), None));
        let answer = answer(&request(&[("sec-websocket-protocol", "bearer, abc")])).unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "bearer");
        let mut plain = request(&[("sec-websocket-protocol", "bearer, abc")]);
        plain.headers.remove("upgrade");
        assert_eq!(token(&plain.headers), None);
    }
}
