//! The routes, and what each answers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, Method, Response, Uri};
use axum::routing::get;
use tailrace_bridge::Framing;
use tracing::Instrument as _;

use crate::access::Account;
use crate::admit::{self, Admitted, Allowed, RETRY_NOT_READY, Stop};
use crate::app::App;
use crate::attachment::Attached;
use crate::audit::{self, Who};
use crate::coding::ContentCoding;
use crate::peer::PeerAddress;
use crate::problem::{Passing, PassingCode, Problem};
use crate::query::{Raw, Route};
use crate::records::{self, Orders, Process, Wanted};
use crate::stream::{self, Parts, Stream};
use crate::trace::{RequestSpan, TraceId, trace_id};
use crate::{bodiless, console, cors, description, refusal, topics, upgrade};

pub(crate) fn router(app: Arc<App>) -> Router {
    let origins = app.settings.origins.clone();
    let mut router = Router::new()
        .route("/events", get(events))
        .route("/t/{tenant}/events", get(events))
        .route("/ws", get(web_socket))
        .route("/t/{tenant}/ws", get(web_socket))
        .route("/records", get(page))
        .route("/t/{tenant}/records", get(page))
        .route("/topics", get(list))
        .route("/t/{tenant}/topics", get(list))
        .route("/tailrace.js", get(console::module));
    router = description::add_to(router, &app);
    if app.settings.console {
        router = console::add_to(router, !app.settings.demo_tenants.is_empty());
    }
    router
        .method_not_allowed_fallback(refuse_method)
        .fallback(unknown)
        .layer(cors::layer(origins, app.settings.auth.has_cookie()))
        .with_state(app)
}

async fn unknown(request: Request) -> Response<Body> {
    let others = match request.uri().path() {
        "/healthz" | "/readyz" | "/metrics" | "/streams" | "/tenants" | "/config" => {
            "it is at the address for operators, TAILRACE_ADMIN_LISTEN"
        }
        path if path == "/" || console::has(path) => {
            "the console is served with TAILRACE_CONSOLE=on; streams are at /t/{tenant}/events and /events, pages at \
             /t/{tenant}/records and /records, topics at /t/{tenant}/topics and /topics"
        }
        _ => {
            "streams are at /t/{tenant}/events and /events, the same over WebSockets at /t/{tenant}/ws and /ws, pages at \
              /t/{tenant}/records and /records, topics at /t/{tenant}/topics and /topics"
        }
    };
    let problem = nowhere(request.uri(), others);
    refuse(&request.into_parts().0, &problem)
}

async fn refuse_method(request: Request) -> Response<Body> {
    let problem = Problem::Method { method: request.method().to_string() };
    refuse(&request.into_parts().0, &problem)
}

/// The answer to a request that is for no stream, with its line in the audit log.
fn refuse(request: &Head, problem: &Problem) -> Response<Body> {
    let trace_id = trace_id(&request.headers);
    audit::refused(&Who::of(request, trace_id), problem.code(), &problem.detail(), request.uri.path());
    problem.response(trace_id)
}

/// `others`: the routes that exist, as a sentence for the client.
pub(crate) fn no_route(uri: &Uri, headers: &HeaderMap, others: &str) -> Response<Body> {
    nowhere(uri, others).response(trace_id(headers))
}

fn nowhere(uri: &Uri, others: &str) -> Problem {
    Problem::NotFound { detail: format!("there is no route {:?}; {others}", uri.path()) }
}

/// For a request whose work was given up: the process ends.
pub(crate) fn stopping() -> Problem {
    let (code, detail) = (PassingCode::Draining, "this server is about to stop".to_owned());
    Problem::Passing(Passing { code, limit: None, detail, after: RETRY_NOT_READY })
}

pub(crate) async fn wrong_method(method: Method, headers: HeaderMap) -> Response<Body> {
    Problem::Method { method: method.to_string() }.response(trace_id(&headers))
}

async fn events(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    answer(&app, request, Route::Events).await
}

async fn web_socket(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    answer(&app, request, Route::WebSocket).await
}

async fn page(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    answer(&app, request, Route::Records).await
}

async fn list(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    answer(&app, request, Route::Topics).await
}

async fn answer(app: &App, request: Request, route: Route) -> Response<Body> {
    // The body of a request is ignored.
    let (request, _) = request.into_parts();
    let template = route.template(request.uri.path());
    let span = app.traces.as_ref().map(|traces| traces.request(&request, template));
    let sampled = span.as_ref().and_then(RequestSpan::trace_id);
    let trace_id = sampled.unwrap_or_else(|| trace_id(&request.headers));
    let mut who = Who::of(&request, trace_id);
    let response = match begin(app, &request, route, &mut who).await {
        Ok(response) => response,
        Err(stop) => refused(app, &request, route, &who, stop),
    };
    if let Some(span) = span {
        span.end(response.status(), who.tenant.as_ref());
    }
    response
}

/// The answer to a request that gets no stream and no page, with its line in the audit log.
fn refused(app: &App, request: &Head, route: Route, who: &Who, stop: Stop) -> Response<Body> {
    let trace_id = who.trace_id;
    let refused = |code, detail: &str| {
        app.metrics.refused(code);
        audit::refused(who, code, detail, request.uri.path());
    };
    match stop {
        Stop::Problem(problem) => {
            refused(problem.code(), &problem.detail());
            problem.response(trace_id)
        }
        Stop::Passing { passing, last_event_id } => {
            refused(passing.code.as_str(), &passing.detail);
            if let Some(reached) = &passing.limit {
                app.metrics.reached(reached.limit);
            }
            // Whoever asks for a page or a list sees its status.
            let has_status = matches!(route, Route::Records | Route::Topics);
            let last_event_id = last_event_id.as_deref().filter(|_| !has_status);
            let Some(id) = last_event_id else { return Problem::Passing(passing).response(trace_id) };
            let framing = framing(request, route);
            let head = headers_only(request, framing, None);
            refusal::in_stream(&passing, id, app.settings.retry, trace_id, (framing, head))
        }
    }
}

async fn begin(app: &App, request: &Head, route: Route, who: &mut Who) -> Result<Response<Body>, Stop> {
    if route == Route::WebSocket {
        upgrade::check(request, &app.settings.origins)?;
    }
    let allowed = admit::allow(app, request, route, who).await?;
    match route {
        Route::Events | Route::WebSocket => begin_stream(app, request, allowed, who.trace_id).await,
        Route::Records => answer_page(app, request, allowed, who.trace_id).await,
        Route::Topics => match admit::overview(app, request, &allowed) {
            Ok(topics) => Ok(topics::response(&topics, app.settings.privacy.id_keys.is_none())),
            Err(passing) => Err(Problem::Passing(passing).into()),
        },
    }
}

async fn begin_stream(
    app: &App,
    request: &Head,
    allowed: Allowed,
    trace_id: TraceId,
) -> Result<Response<Body>, Stop> {
    let framing = allowed.query.framing;
    let is_message = framing == Framing::WebSocket;
    let coding = app.settings.compression.offer.best_for(&request.headers).filter(|_| !is_message);
    if request.method == Method::HEAD {
        return Ok(headers_only(request, framing, coding).map(|_| bodiless::body()));
    }
    let Admitted { parts, span } = admit::admit(app, request, allowed, trace_id).await?;
    app.metrics.accepted.increment(1);
    let account = Account::open(trace_id, PeerAddress::of(&request.extensions).ip(), span);
    let mut response = headers_only(request, framing, coding);
    let stream = Stream::new(Parts { coding, account, ..parts });
    response.extensions_mut().insert(Attached::stream(stream));
    Ok(response)
}

async fn answer_page(
    app: &App,
    request: &Head,
    allowed: Allowed,
    trace_id: TraceId,
) -> Result<Response<Body>, Stop> {
    let wanted = Wanted::read(&allowed.raw, &allowed.query, &request.headers)?;
    if request.method == Method::HEAD {
        return Ok(records::headers_only(wanted));
    }
    let Admitted { parts, span } = admit::admit(app, request, allowed, trace_id).await?;
    let process = Process {
        orders: Orders { phase: app.drain.watch(), revocations: app.registry.watch() },
        metrics: Arc::clone(&app.metrics),
        memory: app.page_memory.clone(),
        is_public: app.settings.is_public(),
    };
    let answered = records::answer(parts, wanted, process, &request.headers);
    answered.instrument(span).await.map_err(|passing| Problem::Passing(passing).into())
}

/// How the stream that was asked for would be written.
fn framing(request: &Head, route: Route) -> Framing {
    let raw = Raw::split(request.uri.query().unwrap_or_default(), route);
    raw.and_then(|raw| raw.framing(route, &request.headers)).unwrap_or_default()
}

/// The head of a stream's response. The server adds the body, according to the protocol of the connection.
fn headers_only(request: &Head, framing: Framing, coding: Option<ContentCoding>) -> Response<Body> {
    // The handshake of a WebSocket was checked before anything else.
    if framing == Framing::WebSocket
        && let Ok(response) = upgrade::answer(request)
    {
        return response;
    }
    let mut response = Response::new(Body::empty());
    stream::stream_headers(&request.headers, framing, coding, response.headers_mut());
    response
}
