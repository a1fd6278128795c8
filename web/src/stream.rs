//! What a stream sends, and when: the same for HTTP/1 and HTTP/2.
//!
//! A state machine: [`Stream::turn`] returns whole SSE blocks: first the priming block, then what the subscription has,
//! heartbeats when there is silence, and as the last block the reason for the end. It never blocks; [`Stream::due`] returns
//! when to call it again even if nothing new arrives.

use std::time::Duration;

use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, VARY};
use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use rand::Rng;
use serde_json::json;
use tailrace_bridge::{Budget, Control, Framing, LastFrames, Next, Status, Subscription, web_socket};

use crate::accept::LINES;
use crate::access::Account;
use crate::coding::ContentCoding;
use crate::drain::Phase;
use crate::end::{End, close_code};
use crate::limit::Limit;
use crate::limits::{Amount, FilterPlace, ReplayPlace};
use crate::metrics::Metrics;
use crate::moment::Moment;
use crate::pace::{Pace, SMALL_READ, Share, UNPACED};
use crate::registry::Registered;
use crate::trace::TraceId;

/// Stands for never, but is short enough for a timer.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);
/// The part of the age limit by which a stream may end earlier, at random.
const AGE_JITTER: f64 = 0.1;

/// The parts of a new stream.
pub(crate) struct Parts {
    pub(crate) subscription: Subscription,
    /// Held until it is live, if it reads history.
    pub(crate) replay_place: Option<ReplayPlace>,
    /// Held for as long as the stream is open, if conditions of its filter count.
    pub(crate) filter_place: Option<FilterPlace>,
    /// Its part in the list of open streams, and in the limits.
    pub(crate) registered: Registered,
    /// `None`: no limit.
    pub(crate) pace: Option<Pace>,
    pub(crate) heartbeat: Duration,
    pub(crate) heartbeat_event: bool,
    pub(crate) retry: Duration,
    /// How long the token is still valid; `None`: for ever.
    pub(crate) token_remaining: Option<Duration>,
    /// How long before the end of its token the client is told; zero: it is not.
    pub(crate) token_notice: Duration,
    /// The age limit; `None`: none.
    pub(crate) max_age: Option<Duration>,
    pub(crate) trace_id: TraceId,
    /// Whether the server has seen no record of the tenant: the tenant's name may be wrong.
    pub(crate) is_unseen: bool,
    /// `None`: its bytes are sent as they are.
    pub(crate) coding: Option<ContentCoding>,
    /// The data for the log line at its end; `None`: it gets no line.
    pub(crate) account: Option<Account>,
}

/// The state that all streams share.
pub(crate) struct World<'a> {
    pub(crate) now: Moment,
    pub(crate) status: Status,
    pub(crate) phase: Phase,
    /// Whether chunks that clients have not read yet take much memory: then streams read less at a time.
    pub(crate) is_pressed: bool,
    pub(crate) metrics: &'a Metrics,
}

/// The result of a turn.
#[derive(Debug)]
pub(crate) enum Said {
    /// One block.
    Block(Bytes),
    /// Blocks, in order, and how many records they contain.
    Frames(Vec<Bytes>, usize),
    /// The frames that another stream got before, as many records as they contain; there is nothing more for now.
    Repeated(usize),
    /// Nothing for now.
    Nothing,
    /// The stream has ended: its last block was returned before.
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has been sent yet.
    Priming,
    Open,
    /// The last block was returned.
    Ended,
}

/// One stream.
pub(crate) struct Stream {
    pub(crate) subscription: Subscription,
    registered: Registered,
    extras: Option<Box<Extras>>,
    /// The earliest deadline that ends the stream.
    end: Option<Box<Ending>>,
    /// When the next heartbeat is due, unless something else is sent before.
    beat: Moment,
    heartbeat_ms: u32,
    retry_ms: u32,
    heartbeat_event: bool,
    /// The last status that the client was sent. Until the first one, the client assumes that all is well.
    told: Status,
    /// Whether the time of its end has been drawn since the process began to stop.
    drains: bool,
    /// Whether the client must still be notified that its tenant is not known.
    is_unseen: bool,
    coding: Option<ContentCoding>,
    state: State,
}

/// Data that only few streams need.
#[derive(Default)]
struct Extras {
    paced: Option<Box<Paced>>,
    replay_place: Option<ReplayPlace>,
    _filter_place: Option<FilterPlace>,
    account: Option<Account>,
}

/// The rate limits of a stream that has any.
#[derive(Default)]
struct Paced {
    /// Its own.
    pace: Option<Pace>,
    /// Its share in its tenant's.
    share: Option<Share>,
    /// Set while a rate is used up: when to read again.
    until: Option<Moment>,
}

impl Paced {
    /// How long not to read, and which limit says so.
    fn wait(&mut self, now: Moment) -> Option<(Duration, Limit)> {
        let own = self.pace.as_mut().and_then(Pace::wait).map(|wait| (wait, Limit::StreamRate));
        // Its turn among the streams of its tenant would pass while it waits for its own rate.
        let shared = || Some((self.share.as_mut()?.wait(now.instant().into_std())?, Limit::TenantRate));
        own.or_else(shared)
    }

    fn budget(&self) -> Budget {
        let own = self.pace.as_ref().map_or(UNPACED, Pace::budget);
        let shared = self.share.as_ref().map_or(UNPACED, Share::budget);
        Budget { records: own.records.min(shared.records), bytes: own.bytes.min(shared.bytes) }
    }

    fn charge(&mut self, amount: Amount, now: Moment) {
        if let Some(pace) = &mut self.pace {
            pace.charge(amount.events as usize, amount.bytes as usize);
        }
        if let Some(share) = &mut self.share {
            share.charge(amount, now.instant().into_std());
        }
    }
}

impl Extras {
    fn of(
        pace: Option<Pace>,
        replay_place: Option<ReplayPlace>,
        filter_place: Option<FilterPlace>,
        account: Option<Account>,
    ) -> Option<Box<Extras>> {
        let paced = pace.map(|pace| Box::new(Paced { pace: Some(pace), ..Paced::default() }));
        let is_any = paced.is_some() || replay_place.is_some() || filter_place.is_some() || account.is_some();
        is_any.then(|| Box::new(Extras { paced, replay_place, _filter_place: filter_place, account }))
    }
}

/// The planned end of a stream.
struct Ending {
    at: Moment,
    why: End,
    trace_id: Option<TraceId>,
    /// When the client must be told that its token will expire.
    notice: Option<Moment>,
}

/// The headers of a stream's response to a request with these headers. The server sets `Connection`, as it knows the protocol.
pub(crate) fn stream_headers(
    request: &HeaderMap,
    framing: Framing,
    coding: Option<ContentCoding>,
    headers: &mut HeaderMap,
) {
    // nginx, Traefik and Caddy 2.6 compress any response without `Content-Encoding` and ignore `no-transform`; Caddy 2.6 then
    // delays the events.
    if request.contains_key(ACCEPT_ENCODING) {
        let coding = coding.map_or("identity", ContentCoding::as_str);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    headers.append(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    let media_type = match framing {
        Framing::Sse => "text/event-stream",
        Framing::Ndjson | Framing::WebSocket => LINES,
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}

/// From 0.5 to 1.5 times `time`: clients that disconnected together do not reconnect together.
pub(crate) fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.5..1.5))
}

/// From 1 to 1.5 times `time`: a client that reconnected sooner would find the same condition.
pub(crate) fn not_before(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(1.0..1.5))
}

impl Stream {
    pub(crate) fn new(parts: Parts) -> Stream {
        let now = Moment::now();
        let aged = |age: Duration| age.mul_f64(1.0 - rand::rng().random_range(0.0..AGE_JITTER));
        let aged = parts.max_age.map(|age| (aged(age), End::MaxAge));
        let expired = parts.token_remaining.map(|left| (left, End::TokenExpired));
        let ending = |(left, why): (Duration, End)| {
            let is_told = why == End::TokenExpired && !parts.token_notice.is_zero();
            let notice = is_told.then(|| now.plus(left.saturating_sub(parts.token_notice).min(NEVER)));
            Box::new(Ending { at: now.plus(left.min(NEVER)), why, trace_id: Some(parts.trace_id), notice })
        };
        let mut stream = Stream {
            subscription: parts.subscription,
            extras: Extras::of(parts.pace, parts.replay_place, parts.filter_place, parts.account),
            registered: parts.registered,
            end: [aged, expired].into_iter().flatten().min_by_key(|(left, _)| *left).map(ending),
            beat: now,
            heartbeat_ms: millis(parts.heartbeat),
            retry_ms: millis(parts.retry),
            heartbeat_event: parts.heartbeat_event,
            told: Status::Ok,
            drains: false,
            is_unseen: parts.is_unseen,
            coding: parts.coding,
            state: State::Priming,
        };
        stream.set_beat(now);
        stream
    }

    /// Checks everything that may be due, and returns the first thing that is.
    pub(crate) fn turn<E>(&mut self, world: &World<'_>, last: &mut LastFrames<E>) -> Said {
        let said = self.first_due(world, last);
        if let Said::Block(block) = &said {
            self.registered.add(0, block.len());
        }
        said
    }

    fn first_due<E>(&mut self, world: &World<'_>, last: &mut LastFrames<E>) -> Said {
        match self.state {
            State::Priming => return Said::Block(self.prime(world.now)),
            State::Ended => return Said::Ended,
            State::Open => {}
        }
        self.watch_drain(world);
        self.watch_revocation(world.now);
        if self.end.as_ref().is_some_and(|end| end.at <= world.now) {
            return Said::Block(self.finish(world));
        }
        if self.is_notice_due(world.now) {
            return Said::Block(self.say_expiring(world));
        }
        // A page without events must be able to tell a quiet stream from a broken one, from the start.
        if self.told != world.status {
            self.told = world.status;
            return Said::Block(self.say_status(world));
        }
        if std::mem::take(&mut self.is_unseen) {
            return Said::Block(self.say_unseen(world));
        }
        if world.now >= self.beat {
            return Said::Block(self.beat(world.now));
        }
        if self.is_paced(world) {
            return Said::Nothing;
        }
        self.read(world, last)
    }

    /// When to call [`Stream::turn`] again, whether or not there are new records; after a turn that returned nothing, this is
    /// later than now.
    pub(crate) fn due(&self) -> Moment {
        let paced = self.paced().and_then(|paced| paced.until);
        let end = self.end.as_ref().map(|end| end.notice.map_or(end.at, |notice| notice.min(end.at)));
        let deadlines = [paced, end];
        deadlines.into_iter().flatten().fold(self.beat, Moment::min)
    }

    /// When the stream ends by itself, if it does.
    pub(crate) fn ends_at(&self) -> Option<Moment> {
        if self.is_revoked() {
            return Some(Moment::START);
        }
        self.end.as_ref().map(|end| end.at)
    }

    /// Whether an operator has ordered its end.
    pub(crate) fn is_revoked(&self) -> bool {
        self.registered.is_revoked()
    }

    fn paced(&self) -> Option<&Paced> {
        self.extras.as_ref()?.paced.as_deref()
    }

    /// Whether new records are ignored until [`Stream::due`], as the rate is used up.
    pub(crate) fn waits_for_its_pace(&self) -> bool {
        self.paced().is_some_and(|paced| paced.until.is_some())
    }

    /// The number of the tenant, unique among the tenants that have streams.
    pub(crate) fn tenant(&self) -> u32 {
        self.registered.place().tenant_number()
    }

    /// How its body is compressed.
    pub(crate) fn coding(&self) -> Option<ContentCoding> {
        self.coding
    }

    /// Whether the last block was returned.
    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// To be called before the stream is dropped. `end` is counted as the reason, unless the stream has ended by itself.
    pub(crate) fn closed(&self, end: End, world: &World<'_>) {
        if self.state != State::Ended {
            let cut = end == End::Client && matches!(world.phase, Phase::Closing { .. });
            self.count_end(if cut { End::Cut } else { end }, world);
        }
    }

    /// The client ends the stream in an orderly way.
    pub(crate) fn leave(&mut self, world: &World<'_>) {
        self.closed(End::Client, world);
        self.state = State::Ended;
    }

    fn count_end(&self, end: End, world: &World<'_>) {
        world.metrics.closed(end.reason());
        if let Some(account) = self.extras.as_ref().and_then(|extras| extras.account.as_ref()) {
            account.close(self.subscription.tenant(), end, world.now);
        }
    }

    fn prime(&mut self, now: Moment) -> Bytes {
        self.spoke(now);
        self.state = State::Open;
        let retry_ms = jittered(self.retry()).as_millis() as u64;
        Control::priming(self.framing(), retry_ms, &self.subscription.id())
    }

    fn is_paced(&mut self, world: &World<'_>) -> bool {
        let Some(paced) = self.paced_mut() else { return false };
        if paced.until.is_some_and(|until| until > world.now) {
            return true;
        }
        let wait = paced.wait(world.now);
        if let (Some((_, limit)), None) = (wait, paced.until) {
            world.metrics.throttled.increment(1);
            world.metrics.reached(limit);
        }
        paced.until = wait.map(|(wait, _)| world.now.plus(wait));
        wait.is_some()
    }

    /// Its rates, if there are any. Its tenant may have got one since it was last asked.
    fn paced_mut(&mut self) -> Option<&mut Paced> {
        let has_share = self.registered.place().tenant().rates().is_limited();
        if self.extras.is_none() && !has_share {
            return None;
        }
        let extras = self.extras.get_or_insert_default();
        if has_share {
            let paced = extras.paced.get_or_insert_default();
            paced.share.get_or_insert_with(|| Share::of(self.registered.place().tenant()));
        }
        extras.paced.as_deref_mut()
    }

    /// Reads what the subscription has.
    fn read<E>(&mut self, world: &World<'_>, last: &mut LastFrames<E>) -> Said {
        let budget = self.paced().map_or(UNPACED, Paced::budget);
        if self.subscription.repeat(budget, last) {
            self.note_read(world, last.records(), last.bytes());
            self.registered.stands(self.subscription.standing());
            return Said::Repeated(last.records());
        }
        let bytes = if world.is_pressed { budget.bytes.min(SMALL_READ) } else { budget.bytes };
        let next = self.subscription.next_keeping(Budget { bytes, ..budget }, last);
        self.registered.stands(self.subscription.standing());
        match next {
            Next::Wait => {
                self.note_nothing(world);
                Said::Nothing
            }
            Next::Frames { bytes, records } => {
                self.note_read(world, records, bytes.iter().map(Bytes::len).sum());
                Said::Frames(bytes, records)
            }
        }
    }

    fn note_read(&mut self, world: &World<'_>, records: usize, bytes: usize) {
        self.registered.add(records, bytes);
        if let Some(extras) = &mut self.extras {
            if let Some(paced) = &mut extras.paced {
                paced.charge(Amount { events: records as u64, bytes: bytes as u64 }, world.now);
            }
            if let Some(account) = &mut extras.account {
                account.add(records);
            }
        }
        self.note_live();
        self.spoke(world.now);
    }

    /// Gives back the turn among the streams of its tenant, if it has booked one.
    fn note_nothing(&mut self, world: &World<'_>) {
        if let Some(paced) = self.extras.as_mut().and_then(|extras| extras.paced.as_mut()) {
            paced.charge(Amount::default(), world.now);
        }
        self.note_live();
    }

    /// Once it is live, another stream may read history in its place.
    fn note_live(&mut self) {
        if let Some(extras) = &mut self.extras
            && extras.replay_place.is_some()
            && self.subscription.is_live()
        {
            extras.replay_place = None;
        }
    }

    /// Anything that is sent postpones a heartbeat that is a comment or an id. The heartbeat event comes regularly: a script
    /// may have no handler for the other events.
    fn spoke(&mut self, now: Moment) {
        if !self.heartbeat_event {
            self.set_beat(now);
        }
    }

    fn set_beat(&mut self, now: Moment) {
        self.beat = now.plus_millis(u64::from(self.heartbeat_ms));
    }

    fn retry(&self) -> Duration {
        Duration::from_millis(u64::from(self.retry_ms))
    }

    fn beat(&mut self, now: Moment) -> Bytes {
        self.set_beat(now);
        let id = self.subscription.progress();
        if !self.heartbeat_event {
            return Control::heartbeat(self.framing(), id.as_deref());
        }
        let data = json!({ "time": unix_millis() });
        Control { event: "tailrace.heartbeat", data, id, retry_ms: None }.encode(self.framing())
    }

    fn say_status(&mut self, world: &World<'_>) -> Bytes {
        self.spoke(world.now);
        let data = json!({ "code": world.status.as_str() });
        Control { event: "tailrace.status", data, id: None, retry_ms: None }.encode(self.framing())
    }

    fn is_notice_due(&self, now: Moment) -> bool {
        self.end.as_ref().and_then(|end| end.notice).is_some_and(|notice| notice <= now)
    }

    /// The client has time to get a new token before the stream ends.
    fn say_expiring(&mut self, world: &World<'_>) -> Bytes {
        self.spoke(world.now);
        let remaining_ms = self.end.as_mut().map_or(0, |end| {
            end.notice = None;
            end.at.millis().saturating_sub(world.now.millis())
        });
        let message =
            "the token will expire, and the stream will end then: get a new token, and come back with it";
        let data = json!({ "code": "token_expiring", "message": message, "remaining_ms": remaining_ms });
        Control { event: "tailrace.status", data, id: None, retry_ms: None }.encode(self.framing())
    }

    /// The code is `ok`, as nothing is wrong with the stream.
    fn say_unseen(&mut self, world: &World<'_>) -> Bytes {
        self.spoke(world.now);
        let message = format!(
            "no record of the tenant {:?} has come since this server started: is the name right?",
            self.subscription.tenant().as_str()
        );
        let data = json!({ "code": Status::Ok.as_str(), "message": message });
        Control { event: "tailrace.status", data, id: None, retry_ms: None }.encode(self.framing())
    }

    /// Once the process ends its streams, draws this stream's time within the spread.
    fn watch_drain(&mut self, world: &World<'_>) {
        let Phase::Closing { since, spread, .. } = world.phase else { return };
        if !std::mem::replace(&mut self.drains, true) {
            let at = Moment::of(since + spread.mul_f64(rand::rng().random_range(0.0..1.0)));
            if self.end.as_ref().is_none_or(|end| at < end.at) {
                self.end = Some(Box::new(Ending { at, why: End::Drain, trace_id: None, notice: None }));
            }
        }
    }

    /// An operator's order comes before any other end, even one that is due as well: the client must be told this one.
    fn watch_revocation(&mut self, now: Moment) {
        if self.is_revoked() {
            let trace_id = self.end.take().and_then(|end| end.trace_id);
            self.end = Some(Box::new(Ending { at: now, why: End::Revoked, trace_id, notice: None }));
        }
    }

    fn finish(&mut self, world: &World<'_>) -> Bytes {
        let (why, trace_id) = self.end.as_ref().map_or((End::Drain, None), |end| (end.why, end.trace_id));
        let retry = match world.phase {
            Phase::Closing { retry, .. } => not_before(retry.max(self.retry())),
            Phase::Open => jittered(self.retry()),
        };
        let retry_ms = retry.as_millis() as u64;
        let error = |code, message| {
            let trace_id = trace_id.map(|id| id.to_string());
            let data =
                json!({ "code": code, "message": message, "retry_ms": retry_ms, "trace_id": trace_id });
            ("tailrace.error", data)
        };
        let (event, data) = match why {
            End::TokenExpired => error("token_expired", "the token has expired: come back with a new one"),
            End::Revoked => error("revoked", "an operator of the server has ended this stream"),
            End::MaxAge => ("tailrace.drain", json!({ "code": "max_age", "retry_ms": retry_ms })),
            // The other ends are not announced to the client.
            _ => ("tailrace.drain", json!({ "code": "draining", "retry_ms": retry_ms })),
        };
        let id = Some(self.subscription.id());
        self.count_end(why, world);
        self.state = State::Ended;
        last_words(&Control { event, data, id, retry_ms: Some(retry_ms) }, self.framing())
    }

    fn framing(&self) -> Framing {
        self.subscription.framing()
    }
}

/// The last frame of a stream; over a WebSocket, with the close.
pub(crate) fn last_words(control: &Control, framing: Framing) -> Bytes {
    let last = control.encode(framing);
    if framing != Framing::WebSocket {
        return last;
    }
    let code = control.data["code"].as_str().unwrap_or_default();
    [&last[..], &web_socket::close(close_code(code), code)].concat().into()
}

/// The bounds of settings are far below `u32::MAX` milliseconds.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
