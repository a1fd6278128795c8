//! The console page and the client module, part of the binary, and the names that the page suggests.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::app::App;

const PAGE: &str = include_str!("../assets/console.html");
const MODULE: &str = include_str!("../assets/tailrace.js");
/// The page's script and style run as they are here, by their hashes, and nothing else that gets into the page does: not what
/// an event's text would add. It may send requests to its own server only, and no page may embed it in a frame. The module is
/// a file of the server.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let (script, style) = (hashes("script"), hashes("style"));
    let policy = format!(
        "default-src 'none'; script-src 'self' {script}; style-src {style}; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("hashes are ASCII")
});
/// Windows that other pages open of this one, and requests of theirs for it, get nothing of it.
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// The most topics of one response. A longer list is of no use to choose from, and anybody may request it as often as they
/// like.
const MAX_TOPICS: usize = 1000;

pub(crate) async fn page() -> Response<Body> {
    let mut response = asset(PAGE, "text/html; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// The hashes of the page's elements of this name, as sources of a policy (CSP level 3, section 2.3.1).
fn hashes(element: &str) -> String {
    let (begin, end) = (format!("<{element}"), format!("</{element}>"));
    let texts = PAGE.split(begin.as_str()).skip(1).filter_map(|rest| {
        let (_, content) = rest.split_once('>')?;
        Some(content.split_once(end.as_str())?.0)
    });
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    texts.map(hash).collect::<Vec<_>>().join(" ")
}

/// Pages of other origins import it, as far as CORS allows them to.
pub(crate) async fn module() -> Response<Body> {
    asset(MODULE, "text/javascript; charset=utf-8")
}

/// The topics that are served, and the tenants that the program suggests. Where tokens are required, both are empty: the page
/// needs no token, so anybody can read these names.
pub(crate) async fn names(State(app): State<Arc<App>>) -> Response<Body> {
    let (mut topics, mut tenants) = (Vec::new(), &[][..]);
    if app.settings.is_open() {
        topics = app.bridge.topics();
        tenants = &app.settings.suggested_tenants;
    }
    let topics: Vec<&str> = topics.iter().take(MAX_TOPICS).map(|topic| &**topic.name()).collect();
    let mut response = Response::new(Body::from(json!({ "topics": topics, "tenants": tenants }).to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn asset(text: &'static str, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_has_the_hash_of_each_script_and_style_and_allows_no_other() {
        let policy = POLICY.to_str().unwrap();
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!((PAGE.matches("<script").count(), PAGE.matches("<style").count()), (1, 1));
        assert_eq!(policy.matches("'sha256-").count(), 2);
        // These would be blocked, and nobody would notice but the reader of a console.
        for inline in [" style=\"", " onclick=", " onload=", "javascript:", "setAttribute(\"style"] {
            assert!(!PAGE.contains(inline), "{inline}");
        }
    }
}
