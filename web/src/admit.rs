//! The steps from a request to its subscription, the same for a stream and for a page: tenant, token, parameters, readiness, limits.

use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts as Head;
use percent_encoding::percent_decode_str;
use tailrace_bridge::{StartFrom, Status, SubscribeError, Subscription, TenantId, TopicOverview};
use tracing::{Instrument as _, Span};

use crate::access;
use crate::app::App;
use crate::audit::Who;
use crate::identity::{Caller, Topics};
use crate::limits::{FilterPlace, ReplayPlace, Tenant};
use crate::pace::Pace;
use crate::peer::PeerAddress;
use crate::problem::{Passing, PassingCode, Problem};
use crate::query::{ACCESS_TOKEN, Defaults, Query, Raw, Route};
use crate::registry::{Arrival, Registered, Seen};
use crate::stream::Parts;
use crate::trace::TraceId;

/// The name of the tenant where there is only one.
const ONLY_TENANT: &str = "default";
/// The time until a client retries while the server is not ready: a tail is warm in about a second, and a refusal costs little.
pub(crate) const RETRY_NOT_READY: Duration = Duration::from_secs(1);
/// Starting a subscription may need a request to Kafka; if it takes longer than this, something is wrong there.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most characters that one partition adds to an id: two varints of ten and five bytes and its share of the rest, in
/// base64.
const MAX_POSITION_TEXT: usize = 24;

/// Why a request gets nothing: for good, or for now.
pub(crate) enum Stop {
    Problem(Problem),
    /// A stream says it within itself if the request has a last event id.
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

/// A request whose caller may have what it asks for.
pub(crate) struct Allowed {
    pub(crate) raw: Raw,
    pub(crate) query: Query,
    last_event_id: Option<String>,
    caller: Caller,
    tenant: TenantId,
    reader: Reader,
    /// From before the token was checked: who is revoked since gets nothing.
    seen: Seen,
    route: Route,
}

/// A request that has its subscription and its places.
pub(crate) struct Admitted {
    pub(crate) parts: Parts,
    pub(crate) span: Span,
}

/// Checks the token and the parameters. `who` gets the tenant and the subject as soon as they are known.
pub(crate) async fn allow(app: &App, request: &Head, route: Route, who: &mut Who) -> Result<Allowed, Stop> {
    let seen = app.registry.seen();
    let raw = Raw::split(request.uri.query().unwrap_or_default(), route)?;
    let last_event_id = raw.last_event_id(&request.headers)?;
    let caller = app.settings.auth.caller(request, raw.one(ACCESS_TOKEN)?).await;
    let caller = caller.map_err(|problem| match problem {
        Problem::Passing(passing) => Stop::Passing { passing, last_event_id: last_event_id.clone() },
        problem => Stop::Problem(problem),
    })?;
    who.subject = caller.subject().cloned();
    let tenant = tenant(app, request.uri.path(), route, &caller)?;
    who.tenant = Some(tenant.clone());
    let allowed = app.settings.auth.allow(&caller, &tenant)?;
    let framing = raw.framing(route, &request.headers)?;
    let mut query = raw.read(&Defaults::of(&app.settings, route, framing))?;
    query.topics = topics_within(app, query.topics, &allowed)?;
    let reader = Reader { allowed, unmasked: caller.may_unmask(&tenant) };
    Ok(Allowed { raw, query, last_event_id, caller, tenant, reader, seen, route })
}

/// The topics of the tenant as the caller may see them. It counts as a stream that begins and ends at once.
pub(crate) fn overview(app: &App, request: &Head, allowed: &Allowed) -> Result<Vec<TopicOverview>, Passing> {
    let Allowed { caller, tenant, reader, .. } = allowed;
    check_phase(app)?;
    let address = PeerAddress::of(&request.extensions).ip();
    let _place = app.limits.enter(tenant, subject(app, caller), address)?;
    Ok(app.bridge.overview(tenant, |topic| reader.allowed.contains(topic)))
}

/// Takes the places that the request needs, and subscribes.
pub(crate) async fn admit(
    app: &App,
    request: &Head,
    allowed: Allowed,
    trace_id: TraceId,
) -> Result<Admitted, Stop> {
    let Allowed { raw: _, query, last_event_id, caller, tenant, reader, seen, route } = allowed;
    let passing = |passing| Stop::Passing { passing, last_event_id: last_event_id.clone() };
    let peer = PeerAddress::of(&request.extensions);
    check_phase(app).map_err(passing)?;
    if last_event_id.is_none() {
        check_id_size(app, &tenant, &query)?;
    }
    let place = app.limits.enter(&tenant, subject(app, &caller), peer.ip()).map_err(passing)?;
    let span = access::stream_span(&tenant, &query.topics, peer, trace_id);
    span.in_scope(|| tracing::debug!(resumes = last_event_id.is_some(), "a subscription begins"));
    // Only without tokens, and where there are several, can the tenant's name be wrong, and a client that reconnects has got the
    // notice before.
    let may_be_wrong = app.settings.is_open() && !app.rules.is_none() && last_event_id.is_none();
    let is_unseen = may_be_wrong && !app.bridge.has_seen(&tenant);
    let filter_place = filter_place(app, place.tenant(), &query, &reader).map_err(passing)?;
    // A search for the last records may read history before the subscription begins.
    let searches = last_event_id.is_none() && matches!(query.from, StartFrom::Last(_));
    let first = searches.then(|| place.tenant().enter_replay()).transpose().map_err(passing)?;
    let subscribing = subscribe(app, place.tenant(), tenant, &query, &reader, last_event_id.clone());
    let subscription = subscribing.instrument(span.clone()).await?;
    if route == Route::Records && subscription.is_within_run() {
        return Err(within_run(&last_event_id).into());
    }
    let replay_place = replay_place(&subscription, first, place.tenant()).map_err(passing)?;
    let (subject, is_page) = (caller.subject().map(|subject| &**subject), route == Route::Records);
    let arrival = Arrival { subscription: &subscription, subject, address: peer.ip(), is_page, place, seen };
    let registered = app.registry.enter(arrival);
    let parts = parts(app, &caller, &query, subscription, registered, trace_id);
    Ok(Admitted { parts: Parts { replay_place, filter_place, is_unseen, ..parts }, span })
}

/// A page of everything cannot continue where a client has only the newest record of each key.
fn within_run(last_event_id: &Option<String>) -> Problem {
    let name = if last_event_id.is_some() { "last_event_id" } else { "from" };
    let detail = "the id lies within a snapshot, or within what conflate=key has left out; a stream ends that, and its \
                  tailrace.synced has an id that a page takes: /t/{tenant}/events";
    Problem::parameter(name, detail)
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
        coding: None,
        account: None,
    }
}

/// The tenant of the request: from the path, else the token's only tenant, or the only tenant of the server.
fn tenant(app: &App, path: &str, route: Route, caller: &Caller) -> Result<TenantId, Problem> {
    let segment = path.strip_prefix("/t/").and_then(|rest| rest.strip_suffix(route.path()));
    let name = match (segment, app.rules.is_none()) {
        (Some(segment), _) => decode_tenant(segment)?,
        (None, true) => ONLY_TENANT.to_owned(),
        (None, false) => match caller.only_tenant() {
            Some(tenant) => tenant.to_owned(),
            None => return Err(unclear_tenant(caller, route)),
        },
    };
    if app.rules.is_none() && name != ONLY_TENANT {
        let what = match route {
            Route::Events | Route::WebSocket => "its stream is",
            Route::Records => "its records are",
            Route::Topics => "its topics are",
        };
        let detail = format!("this server has one tenant: {what} at {}", route.path());
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

fn unclear_tenant(caller: &Caller, route: Route) -> Problem {
    let why = match caller {
        Caller::Anyone => "this server has many tenants",
        Caller::Bearer(_) => "the token does not name just one tenant",
    };
    Problem::Tenant { detail: format!("{why}: ask for /t/{{tenant}}{}", route.path()) }
}

/// Refuses new streams before the tail is warm, and once streams are being ended.
fn check_phase(app: &App) -> Result<(), Passing> {
    if app.drain.is_closing() {
        let detail = "this server is about to stop: another one will take the stream".to_owned();
        return Err(Passing::new(PassingCode::Draining, detail, app.settings.drain_retry));
    }
    let health = app.bridge.health();
    if !health.is_warm() {
        // Which broker, and why, is the operator's to know: it is on /readyz.
        let detail = match health.status() {
            Status::KafkaUnavailable => "the server reaches no Kafka yet (its operator: /readyz has why)",
            Status::Ok | Status::Lagging => "the server is still warming up",
        };
        return Err(Passing::new(PassingCode::NotReady, detail.to_owned(), RETRY_NOT_READY));
    }
    Ok(())
}

/// Refuses a stream whose ids would be too long to come back in a header. A request that has an id shows that its ids do come
/// back.
fn check_id_size(app: &App, tenant: &TenantId, query: &Query) -> Result<(), Problem> {
    let limit = app.settings.max_id_size;
    // While only the newest record of each key is delivered, an id has a bound for each position.
    let times = if query.by_key() { 2 } else { 1 };
    let few = limit / (times * MAX_POSITION_TEXT);
    let (partitions, size) = app.bridge.id_size(tenant, &query.topics, few);
    let size = times * size;
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
    let by_key = query.by_key();
    let written = (query.framing, query.event_name, query.envelope);
    let view = app.limits.hash_of((&topics, &query.filter, written, unmasked, by_key));
    let filter = &query.filter;
    tenant.enter_filter(view, if by_key { filter.conditions_by_key() } else { filter.conditions() })
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

/// The topic that was likely meant, among those that the caller may read and in which the tenant can have records: the distance
/// is at most half of its length.
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
