//! The console page and the client module, part of the binary, and the names that the page suggests.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Response};
use serde_json::json;

use crate::app::App;

const PAGE: &str = include_str!("../assets/console.html");
const MODULE: &str = include_str!("../assets/tailrace.js");
/// The page may send requests to its own server only, and no page may embed it in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The most topics of one response. A longer list is of no use to choose from, and anybody may request it as often as they
/// like.
const MAX_TOPICS: usize = 1000;

pub(crate) async fn page() -> Response<Body> {
    let mut response = asset(PAGE, "text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

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
