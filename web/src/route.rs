//! The routes, and the steps from a request to its stream: tenant, token, parameters, readiness, limits, subscription.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, Method, Response, Uri};
use axum::routing::get;
use percent_encoding::percent_decode_str;
use tailrace_bridge::{SubscribeError, SubscribeRequest, Subscription, TenantId};
use tracing::Instrument as _;

use crate::access::{self, Account};
use crate::app::App;
use crate::auth::Caller;
use crate::limits::Place;
use crate::pace::Pace;
use crate::problem::{Passing, PassingCode, Problem};
use crate::query::{Query, Raw};
use crate::server::{AttachedStream, PeerAddress};
use crate::stream::{self, Parts, Stream};
use crate::trace::{TraceId, trace_id};
use crate::{console, cors, refusal};

/// The name of the tenant where there is only one.
const ONLY_TENANT: &str = "default";
/// The time until a client retries while the server is not ready: a tail is warm in about a second, and a refusal costs little.
const RETRY_NOT_READY: Duration = Duration::from_secs(1);
/// Starting a stream may need a request to Kafka; if it takes longer than this, something is wrong there.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no stream: for good, or for now.
enum Stop {
    Problem(Problem),
    /// Sent as a status, or within a stream if the request has a last event id.
    Passing {
        passing: Passing,
        last_event_id: Option<String>,
    },
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Stop {
        Stop::Problem(problem)
    }
}

/// The most characters that one partition adds to an id: two varints of ten and five bytes and its share of the rest, in
/// base64.
const MAX_POSITION_TEXT: usize = 24;

pub(crate) fn router(app: Arc<App>) -> Router {
    let origins = app.settings.origins.clone();
    let mut router = Router::new()
        .route("/events", get(events))
        .route("/t/{tenant}/events", get(events))
        .route("/tailrace.js", get(console::module));
    if app.settings.console {
        router = router.route("/", get(console::page)).route("/console.json", get(console::names));
    }
    router
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown)
        .layer(cors::layer(origins))
        .with_state(app)
}

async fn unknown(uri: Uri, headers: HeaderMap) -> Response<Body> {
    let others = match uri.path() {
        "/healthz" | "/readyz" | "/metrics" => "it is at the address for operators, TAILRACE_ADMIN_LISTEN",
        "/" => {
            "the console is served with TAILRACE_CONSOLE=on; streams are at /t/{tenant}/events and /events"
        }
        _ => "streams are at /t/{tenant}/events and /events",
    };
    no_route(&uri, &headers, others)
}

/// `others`: the routes that exist, as a sentence for the client.
pub(crate) fn no_route(uri: &Uri, headers: &HeaderMap, others: &str) -> Response<Body> {
    let detail = format!("there is no route {:?}; {others}", uri.path());
    Problem::NotFound { detail }.response(trace_id(headers))
}

pub(crate) async fn wrong_method(method: Method, headers: HeaderMap) -> Response<Body> {
    Problem::Method { method: method.to_string() }.response(trace_id(&headers))
}

async fn events(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    // The body of a request is ignored.
    let (request, _) = request.into_parts();
    let trace_id = trace_id(&request.headers);
    let stop = match begin(&app, &request, trace_id).await {
        Ok(response) => return response,
        Err(stop) => stop,
    };
    let refused = |code, detail: &str| {
        app.metrics.refused(code);
        access::refused(code, detail, request.uri.path(), peer(&request).ip(), trace_id);
    };
    match stop {
        Stop::Problem(problem) => {
            refused(problem.code(), &problem.detail());
            problem.response(trace_id)
        }
        Stop::Passing { passing, last_event_id } => {
            refused(passing.code.as_str(), &passing.detail);
            refusal::response(
                passing,
                last_event_id.as_deref(),
                app.settings.retry,
                trace_id,
                &request.headers,
            )
        }
    }
}

async fn begin(app: &Arc<App>, request: &Head, trace_id: TraceId) -> Result<Response<Body>, Stop> {
    let raw = Raw::split(request.uri.query().unwrap_or_default())?;
    let caller = app.settings.auth.caller(&request.headers, raw.one("access_token")?)?;
    let tenant = tenant(app, request.uri.path(), &caller)?;
    app.settings.auth.allow(&caller, &tenant)?;
    let query = raw.read(&app.settings)?;
    let last_event_id = last_event_id(&request.headers, &raw)?;
    if request.method == Method::HEAD {
        return Ok(headers_only(&request.headers));
    }
    let peer = peer(request);
    let passing = |passing| Stop::Passing { passing, last_event_id: last_event_id.clone() };
    check_phase(app).map_err(passing)?;
    if last_event_id.is_none() {
        check_id_size(app, &tenant, &query)?;
    }
    let place = app.limits.enter(&tenant, peer.ip()).map_err(passing)?;
    let span = access::stream_span(&tenant, &query.topics, peer, trace_id);
    span.in_scope(|| tracing::debug!(resumes = last_event_id.is_some(), "a stream begins"));
    // Only without tokens can the tenant's name be wrong, and a client that reconnects has got the notice before.
    let is_unseen = app.settings.is_open() && last_event_id.is_none() && !app.bridge.has_seen(&tenant);
    let unmasked = caller.unmasks(&tenant);
    let subscribing = subscribe(app, tenant, &query, unmasked, last_event_id.clone());
    let subscription = subscribing.instrument(span.clone()).await?;
    app.metrics.accepted.increment(1);
    let account = Account::open(trace_id, peer.ip(), span);
    let parts = parts(app, &caller, &query, subscription, place, trace_id);
    Ok(opened(&request.headers, Stream::new(Parts { is_unseen, account, ..parts })))
}

fn peer(request: &Head) -> SocketAddr {
    let peer = request.extensions.get::<PeerAddress>().map(|peer| peer.0);
    peer.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into())
}

/// The head of a stream's response. The server adds the body, according to the protocol of the connection.
fn opened(request: &HeaderMap, stream: Stream) -> Response<Body> {
    let mut response = headers_only(request);
    response.extensions_mut().insert(AttachedStream::new(stream));
    response
}

fn headers_only(request: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    stream::stream_headers(request, response.headers_mut());
    response
}

fn parts(
    app: &App,
    caller: &Caller,
    query: &Query,
    subscription: Subscription,
    place: Place,
    trace_id: TraceId,
) -> Parts {
    let settings = &app.settings;
    Parts {
        subscription,
        place,
        pace: Pace::new(settings.limits.stream_event_rate, settings.limits.stream_byte_rate),
        heartbeat: query.heartbeat,
        heartbeat_event: query.heartbeat_event,
        retry: query.retry,
        token_remaining: caller.remaining(),
        max_age: settings.max_age,
        trace_id,
        is_unseen: false,
        account: None,
    }
}

/// The tenant of the stream: from the path, else the token's only tenant, or the only tenant of the server.
fn tenant(app: &App, path: &str, caller: &Caller) -> Result<TenantId, Problem> {
    let segment = path.strip_prefix("/t/").and_then(|rest| rest.strip_suffix("/events"));
    let name = match (segment, app.rules.is_none()) {
        (Some(segment), _) => decode_tenant(segment)?,
        (None, true) => ONLY_TENANT.to_owned(),
        (None, false) => match caller.only_tenant() {
            Some(tenant) => tenant.to_owned(),
            None => return Err(unclear_tenant(caller)),
        },
    };
    if app.rules.is_none() && name != ONLY_TENANT {
        let detail = "this server has one tenant: its stream is at /events".to_owned();
        return Err(Problem::NotFound { detail });
    }
    TenantId::new(&name).map_err(|detail| Problem::Tenant { detail })
}

fn decode_tenant(segment: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded
        .map(|name| name.into_owned())
        .map_err(|_| Problem::Tenant { detail: "it is not UTF-8".to_owned() })
}

fn unclear_tenant(caller: &Caller) -> Problem {
    let detail = match caller {
        Caller::Anyone => "this server has many tenants: ask for /t/{tenant}/events",
        Caller::Bearer(_) => "the token does not name just one tenant: ask for /t/{tenant}/events",
    };
    Problem::Tenant { detail: detail.to_owned() }
}

/// The header has precedence over the parameter. An empty value counts as none, like the header that a browser without an id
/// omits.
fn last_event_id(headers: &HeaderMap, raw: &Raw) -> Result<Option<String>, Problem> {
    let parameter = raw.one("last_event_id")?;
    let header =
        headers.get("last-event-id").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let id = header.filter(|id| !id.is_empty()).or(parameter.map(str::to_owned));
    Ok(id.filter(|id| !id.is_empty()))
}

/// Refuses new streams before the tail is warm, and once streams are being ended.
fn check_phase(app: &App) -> Result<(), Passing> {
    if app.drain.is_closing() {
        let detail = "this server is about to stop: another one will take the stream".to_owned();
        return Err(Passing { code: PassingCode::Draining, detail, after: app.settings.drain_retry });
    }
    if !app.bridge.health().is_warm() {
        let detail = "the server is still warming up".to_owned();
        return Err(Passing { code: PassingCode::NotReady, detail, after: RETRY_NOT_READY });
    }
    Ok(())
}

/// Refuses a stream whose ids would be too long to come back in a header. A request that has an id shows that its ids do come
/// back.
fn check_id_size(app: &App, tenant: &TenantId, query: &Query) -> Result<(), Problem> {
    let limit = app.settings.max_id_size;
    let (partitions, size) = app.bridge.id_size(tenant, &query.topics, limit / MAX_POSITION_TEXT);
    if size > limit {
        return Err(Problem::TooManyPartitions { partitions, size, limit });
    }
    Ok(())
}

async fn subscribe(
    app: &App,
    tenant: TenantId,
    query: &Query,
    unmasked: bool,
    last_event_id: Option<String>,
) -> Result<Subscription, Stop> {
    let request = SubscribeRequest {
        tenant: tenant.clone(),
        topics: query.topics.clone(),
        filter: query.filter.clone(),
        envelope: query.envelope,
        unmasked,
        from: query.from.clone(),
        last_event_id: last_event_id.clone(),
    };
    let passing = |code, detail: &str| Stop::Passing {
        passing: Passing { code, detail: detail.to_owned(), after: RETRY_NOT_READY },
        last_event_id: last_event_id.clone(),
    };
    let unavailable = |detail: &str| passing(PassingCode::Overloaded, detail);
    match tokio::time::timeout(SUBSCRIBE_TIMEOUT, app.bridge.subscribe(request)).await {
        Ok(Ok(subscription)) => Ok(subscription),
        Ok(Err(SubscribeError::UnknownTopic(topic))) => {
            let nearest = nearest_topic(app, &tenant, &topic);
            Err(Problem::UnknownTopic { topic, nearest }.into())
        }
        // The topic may be served again soon: a page that once had the stream reconnects by itself.
        Ok(Err(error @ SubscribeError::Unserved { .. })) if last_event_id.is_some() => {
            Err(passing(PassingCode::NotReady, &error.to_string()))
        }
        Ok(Err(SubscribeError::Unserved { topic, why })) => Err(Problem::UnservedTopic { topic, why }.into()),
        Ok(Err(SubscribeError::BadId(why))) => Err(Problem::parameter("from", why.to_string()).into()),
        Ok(Err(SubscribeError::Masked(why))) => Err(Problem::Forbidden { detail: why.to_string() }.into()),
        Ok(Err(SubscribeError::Unavailable(why))) => {
            tracing::warn!(%why, "a stream could not begin");
            Err(unavailable("Kafka could not be asked where to begin"))
        }
        Err(_) => Err(unavailable("Kafka did not say in time where to begin")),
    }
}

/// The most topics that an unknown name is compared with, so that requests with guessed names stay cheap.
const MAX_COMPARED: usize = 500;

/// The topic that was likely meant, among those in which the tenant can have records: the distance is at most half of its
/// length.
fn nearest_topic(app: &App, tenant: &TenantId, name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let is_near = |known: &str, distance: usize| distance * 2 <= known.len();
    let topics = app.bridge.topics();
    let known = topics.iter().map(|topic| &**topic.name());
    let known = known.filter(|known| is_near(known, known.len().abs_diff(name.len())));
    let known = known.filter(|known| app.rules.can_yield(known, tenant)).take(MAX_COMPARED);
    let measured = known.map(|known| (strsim::damerau_levenshtein(&known.to_lowercase(), &name), known));
    let (distance, nearest) = measured.min()?;
    is_near(nearest, distance).then(|| nearest.to_owned())
}
