//! The endpoints for operators and their tools: liveness, readiness, metrics.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use axum::routing::get;
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use tailrace_bridge::{Bridge, Readiness};

use crate::route;

#[derive(Clone)]
struct Admin {
    bridge: Bridge,
    prometheus: PrometheusHandle,
}

pub(crate) fn router(bridge: Bridge, prometheus: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(route::wrong_method)
        .fallback(unknown)
        .with_state(Admin { bridge, prometheus })
}

async fn unknown(uri: Uri, headers: HeaderMap) -> Response<Body> {
    route::no_route(
        &uri,
        &headers,
        "this is the address for operators, with /healthz, /readyz and /metrics; streams are at TAILRACE_LISTEN",
    )
}

async fn healthz() -> Response<Body> {
    text(StatusCode::OK, "ok\n".to_owned())
}

async fn readyz(State(admin): State<Admin>) -> Response<Body> {
    let readiness = admin.bridge.health().readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, words(&readiness, admin.bridge.health().status().as_str()))
}

fn words(readiness: &Readiness, status: &str) -> String {
    let mut words = String::from(if readiness.ready { "ready\n" } else { "not ready\n" });
    for reason in &readiness.reasons {
        words.push_str(&format!("reason: {reason}\n"));
    }
    words.push_str(&format!("status: {status}\n"));
    for note in &readiness.notes {
        words.push_str(&format!("note: {note}\n"));
    }
    words
}

async fn metrics(State(admin): State<Admin>) -> Response<Body> {
    gauge!("tailrace_ready").set(if admin.bridge.health().readiness().ready { 1.0 } else { 0.0 });
    // The collector counts open descriptors, maybe ten thousand, by listing a directory.
    let _ = tokio::task::spawn_blocking(|| metrics_process::Collector::default().collect()).await;
    let mut response = text(StatusCode::OK, admin.prometheus.render());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
