//! The routes, and the steps from a request to its stream: tenant, token, parameters, readiness, limits, subscription.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, Method, Response, Uri};
use axum::routing::get;
use percent_encoding::percent_decode_str;
use tailrace_bridge::{StartFrom, SubscribeError, Subscription, TenantId};
use tracing::Instrument as _;

use crate::access::{self, Account};
use crate::app::App;
use crate::audit::{self, Who};
use crate::identity::{Caller, Topics};
use crate::limits::{FilterPlace, ReplayPlace, Tenant};
use crate::pace::Pace;
use crate::peer::PeerAddress;
use crate::problem::{Passing, PassingCode, Problem};
use crate::query::{Defaults, Query, Raw};
use crate::registry::{Arrival, Registered};
use crate::server::AttachedStream;
use crate::stream::{self, Parts, Stream};
use crate::trace::{RequestSpan, TraceId, trace_id};
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
        "/" => {
            "the console is served with TAILRACE_CONSOLE=on; streams are at /t/{tenant}/events and /events"
        }
        _ => "streams are at /t/{tenant}/events and /events",
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
    // The body of a request is ignored.
    let (request, _) = request.into_parts();
    let span = app.traces.as_ref().map(|traces| traces.request(&request));
    let sampled = span.as_ref().and_then(RequestSpan::trace_id);
    let trace_id = sampled.unwrap_or_else(|| trace_id(&request.headers));
    let mut who = Who::of(&request, trace_id);
    let response = match begin(&app, &request, &mut who).await {
        Ok(response) => response,
        Err(stop) => refused(&app, &request, &who, stop),
    };
    if let Some(span) = span {
        span.end(response.status(), who.tenant.as_ref());
    }
    response
}

/// The answer to a request that gets no stream, with its line in the audit log.
fn refused(app: &App, request: &Head, who: &Who, stop: Stop) -> Response<Body> {
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

/// `who` gets the tenant and the subject as soon as they are known.
async fn begin(app: &Arc<App>, request: &Head, who: &mut Who) -> Result<Response<Body>, Stop> {
    let trace_id = who.trace_id;
    // Before the token is checked: who is revoked from here on gets no stream.
    let seen = app.registry.seen();
    let raw = Raw::split(request.uri.query().unwrap_or_default())?;
    let last_event_id = raw.last_event_id(&request.headers)?;
    let passing = |passing| Stop::Passing { passing, last_event_id: last_event_id.clone() };
    let caller = app.settings.auth.caller(request, raw.one("access_token")?).await;
    let caller = caller.map_err(|problem| match problem {
        Problem::Passing(condition) => passing(condition),
        problem => Stop::Problem(problem),
    })?;
    who.subject = caller.subject().cloned();
    let tenant = tenant(app, request.uri.path(), &caller)?;
    who.tenant = Some(tenant.clone());
    let allowed = app.settings.auth.allow(&caller, &tenant)?;
    let mut query = raw.read(&Defaults::from(&app.settings))?;
    query.topics = topics_within(app, query.topics, &allowed)?;
    if request.method == Method::HEAD {
        return Ok(headers_only(&request.headers));
    }
    let peer = PeerAddress::of(&request.extensions);
    check_phase(app).map_err(passing)?;
    if last_event_id.is_none() {
        check_id_size(app, &tenant, &query)?;
    }
    let place = app.limits.enter(&tenant, subject(app, &caller), peer.ip()).map_err(passing)?;
    let span = access::stream_span(&tenant, &query.topics, peer, trace_id);
    span.in_scope(|| tracing::debug!(resumes = last_event_id.is_some(), "a stream begins"));
    // Only without tokens can the tenant's name be wrong, and a client that reconnects has got the notice before.
    let is_unseen = app.settings.is_open() && last_event_id.is_none() && !app.bridge.has_seen(&tenant);
    let reader = Reader { allowed, unmasked: caller.may_unmask(&tenant) };
    let filter_place = filter_place(app, place.tenant(), &query, &reader).map_err(passing)?;
    // A search for the last records may read history before the subscription begins.
    let searches = last_event_id.is_none() && matches!(query.from, StartFrom::Last(_));
    let first = searches.then(|| place.tenant().enter_replay()).transpose().map_err(passing)?;
    let subscribing = subscribe(app, place.tenant(), tenant, &query, &reader, last_event_id.clone());
    let subscription = subscribing.instrument(span.clone()).await?;
    let replay_place = replay_place(&subscription, first, place.tenant()).map_err(passing)?;
    app.metrics.accepted.increment(1);
    let account = Account::open(trace_id, peer.ip(), span);
    let subject = caller.subject().map(|subject| &**subject);
    let arrival = Arrival { subscription: &subscription, subject, address: peer.ip(), place, seen };
    let registered = app.registry.enter(arrival);
    let parts = parts(app, &caller, &query, subscription, registered, trace_id);
    Ok(opened(
        &request.headers,
        Stream::new(Parts { replay_place, filter_place, is_unseen, account, ..parts }),
    ))
}

/// What the caller may see of the tenant's records.
struct Reader {
    allowed: Topics,
    /// Whether masks are lifted.
    unmasked: bool,
}

/// The topics of the stream, of those that the token allows. All are asked for by naming none.
fn topics_within(app: &App, asked: Vec<String>, allowed: &Topics) -> Result<Vec<String>, Problem> {
    let Topics::Only(only) = allowed else { return Ok(asked) };
    if let Some(topic) = asked.iter().find(|topic| !only.contains(topic)) {
        let detail = format!("the token's scopes do not include the topic {topic:?} of this tenant");
        return Err(Problem::Forbidden { detail, scope: None });
    }
    if !asked.is_empty() {
        return Ok(asked);
    }
    let topics = app.bridge.topics();
    let is_known = |name: &&String| topics.iter().any(|topic| **topic.name() == ***name);
    let known: Vec<String> = only.iter().filter(is_known).cloned().collect();
    match only.first() {
        Some(first) if known.is_empty() => Err(Problem::UnknownTopic { topic: first.clone(), nearest: None }),
        _ => Ok(known),
    }
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
    registered: Registered,
    trace_id: TraceId,
) -> Parts {
    let (settings, limits) = (&app.settings, app.limits.of_tenant(subscription.tenant()));
    Parts {
        subscription,
        registered,
        replay_place: None,
        filter_place: None,
        pace: Pace::new(limits.stream_event_rate.per_second(), limits.stream_byte_rate.per_second()),
        heartbeat: query.heartbeat,
        heartbeat_event: query.heartbeat_event,
        retry: query.retry,
        token_remaining: caller.remaining(),
        token_notice: settings.token_notice,
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

/// Refuses new streams before the tail is warm, and once streams are being ended.
fn check_phase(app: &App) -> Result<(), Passing> {
    if app.drain.is_closing() {
        let detail = "this server is about to stop: another one will take the stream".to_owned();
        return Err(Passing::new(PassingCode::Draining, detail, app.settings.drain_retry));
    }
    if !app.bridge.health().is_warm() {
        let detail = "the server is still warming up".to_owned();
        return Err(Passing::new(PassingCode::NotReady, detail, RETRY_NOT_READY));
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

/// The subject by which the stream is counted. Tokens without one count together, or a limit of subjects would be passed by
/// leaving it out.
fn subject<'a>(app: &App, caller: &'a Caller) -> Option<&'a str> {
    (!app.settings.is_open()).then(|| caller.subject().map_or("", |subject| &**subject))
}

/// A place among the filters of the tenant: each of its records may be compared with all of them. A stream that sees what is
/// masked has a view of its own, and its filter is one more.
fn filter_place(
    app: &App,
    tenant: &Arc<Tenant>,
    query: &Query,
    reader: &Reader,
) -> Result<Option<FilterPlace>, Passing> {
    let mut topics: Vec<&String> = query.topics.iter().collect();
    topics.sort_unstable();
    topics.dedup();
    let unmasked = reader.unmasked || app.settings.privacy.masks.is_empty();
    let view = app.limits.hash_of((&topics, &query.filter, query.envelope, unmasked));
    tenant.enter_filter(view, query.filter.conditions())
}

/// A place among the streams that read history, for a subscription that has to; `taken`: one that it has already.
fn replay_place(
    subscription: &Subscription,
    taken: Option<ReplayPlace>,
    tenant: &Arc<Tenant>,
) -> Result<Option<ReplayPlace>, Passing> {
    match (subscription.needs_history(), taken) {
        (false, _) => Ok(None),
        (true, Some(place)) => Ok(Some(place)),
        (true, None) => tenant.enter_replay().map(Some),
    }
}

async fn subscribe(
    app: &App,
    shared: &Tenant,
    tenant: TenantId,
    query: &Query,
    reader: &Reader,
    last_event_id: Option<String>,
) -> Result<Subscription, Stop> {
    let request = query.request(tenant.clone(), reader.unmasked, last_event_id.clone());
    let passing = |code, detail: &str| Stop::Passing {
        passing: Passing::new(code, detail, RETRY_NOT_READY),
        last_event_id: last_event_id.clone(),
    };
    let meter = Arc::clone(shared.replay_rate());
    let unavailable = |detail: &str| passing(PassingCode::Overloaded, detail);
    match tokio::time::timeout(SUBSCRIBE_TIMEOUT, app.bridge.subscribe_metered(request, meter)).await {
        Ok(Ok(subscription)) => Ok(subscription),
        Ok(Err(SubscribeError::UnknownTopic(topic))) => {
            let nearest = nearest_topic(app, &tenant, &reader.allowed, &topic);
            Err(Problem::UnknownTopic { topic, nearest }.into())
        }
        // The topic may be served again soon: a page that once had the stream reconnects by itself.
        Ok(Err(error @ SubscribeError::Unserved { .. })) if last_event_id.is_some() => {
            Err(passing(PassingCode::NotReady, &error.to_string()))
        }
        Ok(Err(SubscribeError::Unserved { topic, why })) => Err(Problem::UnservedTopic { topic, why }.into()),
        Ok(Err(SubscribeError::BadId(why))) => Err(Problem::parameter("from", why.to_string()).into()),
        Ok(Err(SubscribeError::Masked(why))) => {
            Err(Problem::Forbidden { detail: why.to_string(), scope: None }.into())
        }
        Ok(Err(SubscribeError::Unavailable(why))) => {
            tracing::warn!(%why, "a stream could not begin");
            Err(unavailable("Kafka could not be asked where to begin"))
        }
        Err(_) => Err(unavailable("Kafka did not say in time where to begin")),
    }
}

/// The most topics that an unknown name is compared with, so that requests with guessed names stay cheap.
const MAX_COMPARED: usize = 500;

/// The topic that was likely meant, among those that the caller may read and in which the tenant can have records: the distance is at most half of its
/// length.
fn nearest_topic(app: &App, tenant: &TenantId, allowed: &Topics, name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let is_near = |known: &str, distance: usize| distance * 2 <= known.len();
    let topics = app.bridge.topics();
    let known = topics.iter().map(|topic| &**topic.name());
    let known = known.filter(|known| is_near(known, known.len().abs_diff(name.len())));
    let known = known.filter(|known| allowed.contains(known));
    let known = known.filter(|known| app.rules.can_yield(known, tenant)).take(MAX_COMPARED);
    let measured = known.map(|known| (strsim::damerau_levenshtein(&known.to_lowercase(), &name), known));
    let (distance, nearest) = measured.min()?;
    is_near(nearest, distance).then(|| nearest.to_owned())
}
