//! The endpoints for operators and their tools: liveness, readiness, metrics; and, for those whom [`guard`] lets in, the open
//! streams, which can be ended here, the tenants that have them, and the settings.

mod answer;
mod guard;
mod listing;
mod parameters;
mod streams;
mod tenants;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::get;
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tailrace_bridge::{Bridge, Readiness};
use tokio::sync::Semaphore;

use self::guard::Guard;
use crate::accept::wants_lines;
use crate::audit::{self, Who};
use crate::identity::Auth;
use crate::problem::Problem;
use crate::registry::Registry;
use crate::route;
use crate::settings::{ConfigurationValue, WebSettings};
use crate::trace::trace_id;

/// Lists that are made at the same time: others wait, and streams do not.
const LISTS: usize = 1;

#[derive(Clone)]
struct Admin {
    bridge: Bridge,
    prometheus: PrometheusHandle,
    registry: Arc<Registry>,
    guard: Guard,
    auth: Auth,
    configuration: Arc<[ConfigurationValue]>,
    lists: Arc<Semaphore>,
}

pub(crate) fn router(
    bridge: Bridge,
    prometheus: PrometheusHandle,
    registry: Arc<Registry>,
    settings: &WebSettings,
) -> Router {
    let guard = Guard::of(&settings.admin);
    let (auth, configuration) = (settings.auth.clone(), Arc::clone(&settings.configuration));
    let lists = Arc::new(Semaphore::new(LISTS));
    let admin = Admin { bridge, prometheus, registry, guard, auth, configuration, lists };
    Router::new()
        .route("/streams", get(streams).delete(revoke))
        .route("/tenants", get(tenants))
        .route("/config", get(config))
        .route_layer(from_fn_with_state(admin.clone(), guarded))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(route::wrong_method)
        .fallback(unknown)
        .with_state(admin)
}

async fn unknown(uri: Uri, headers: HeaderMap) -> Response<Body> {
    route::no_route(
        &uri,
        &headers,
        "this is the address for operators, with /healthz, /readyz, /metrics, /streams, /tenants and /config; streams \
         are at TAILRACE_LISTEN",
    )
}

/// Lets a request through to its route, or refuses it. The audit log has a line for either.
async fn guarded(State(admin): State<Admin>, request: Request, next: Next) -> Response<Body> {
    let (head, body) = request.into_parts();
    let who = Who::of(&head, trace_id(&head.headers));
    let (method, path) = (head.method.clone(), head.uri.path().to_owned());
    let response = let_through(admin, head, body, next).await;
    audit::called(&who, method.as_str(), &path, response.status().as_u16());
    response
}

async fn let_through(admin: Admin, head: Head, body: Body, next: Next) -> Response<Body> {
    let trace_id = trace_id(&head.headers);
    let guard = admin.guard;
    // A file may be read.
    let checked = tokio::task::spawn_blocking(move || (guard.check(&head), head)).await;
    match checked {
        Ok((Ok(()), head)) => next.run(Request::from_parts(head, body)).await,
        Ok((Err(problem), _)) => problem.response(trace_id),
        // The process ends.
        Err(_) => route::stopping().response(trace_id),
    }
}

async fn streams(State(admin): State<Admin>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    let wanted = streams::Wanted::read(head.uri.query(), &head.headers);
    listed(&admin, &head, wanted, streams::Wanted::list).await
}

async fn tenants(State(admin): State<Admin>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    let wanted = tenants::Wanted::read(head.uri.query(), &head.headers);
    listed(&admin, &head, wanted, tenants::Wanted::list).await
}

/// Makes a list beside the threads that serve requests.
async fn listed<W: Send + 'static>(
    admin: &Admin,
    request: &Head,
    wanted: Result<W, Problem>,
    list: fn(&W, &Registry) -> Response<Body>,
) -> Response<Body> {
    let trace_id = trace_id(&request.headers);
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(problem) => return problem.response(trace_id),
    };
    // Fails only if it is closed, which it never is.
    let _permit = admin.lists.acquire().await;
    let registry = Arc::clone(&admin.registry);
    let made = tokio::task::spawn_blocking(move || list(&wanted, &registry)).await;
    made.unwrap_or_else(|_| route::stopping().response(trace_id))
}

async fn revoke(State(admin): State<Admin>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    let trace_id = trace_id(&head.headers);
    let revoked =
        tokio::task::spawn_blocking(move || streams::revoke(&admin.registry, &head, trace_id)).await;
    match revoked {
        Ok(answer) => answer.unwrap_or_else(|problem| problem.response(trace_id)),
        Err(_) => route::stopping().response(trace_id),
    }
}

async fn config(State(admin): State<Admin>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    let trace_id = trace_id(&head.headers);
    if let Err(problem) = parameters::Parameters::split(head.uri.query(), &[]) {
        return problem.response(trace_id);
    }
    let object = |one: &ConfigurationValue| json!({ "variable": one.variable, "value": one.value, "default": one.is_default });
    let all = admin.configuration.iter().map(object);
    answer::list(all, admin.configuration.len(), wants_lines(&head.headers))
}

async fn healthz() -> Response<Body> {
    text(StatusCode::OK, "ok\n".to_owned())
}

async fn readyz(State(admin): State<Admin>) -> Response<Body> {
    let readiness = admin.bridge.health().readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, words(&readiness, admin.bridge.health().status().as_str(), admin.auth.note()))
}

fn words(readiness: &Readiness, status: &str, of_keys: Option<String>) -> String {
    let mut words = String::from(if readiness.ready { "ready\n" } else { "not ready\n" });
    for reason in &readiness.reasons {
        words.push_str(&format!("reason: {reason}\n"));
    }
    words.push_str(&format!("status: {status}\n"));
    for note in readiness.notes.iter().chain(&of_keys) {
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
