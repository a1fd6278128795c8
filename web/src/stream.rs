//! What a stream says, and when: the same for every way out.
//!
//! A small machine: [`Stream::turn`] gives whole SSE blocks, first the priming frame, then what the subscription has,
//! heartbeats when there is silence, and as the last block the reason for the end. It never waits; [`Stream::due`] says
//! when to look again even if nothing comes.

use std::time::Duration;

use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use rand::Rng;
use serde_json::json;
use tailrace_bridge::{Budget, Control, LastFrames, Next, Status, Subscription};

use crate::access::Account;
use crate::drain::Phase;
use crate::end::End;
use crate::limits::Place;
use crate::metrics::Metrics;
use crate::moment::Moment;
use crate::pace::{Pace, SMALL_READ, UNPACED};
use crate::trace::TraceId;

/// Far enough to stand for never, near enough for a timer.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);
/// How far two streams of the same age limit may lie apart.
const AGE_JITTER: f64 = 0.1;

/// What a stream is made of.
pub(crate) struct Parts {
    pub(crate) subscription: Subscription,
    /// Held for as long as the stream is there.
    pub(crate) place: Place,
    /// `None`: no limit.
    pub(crate) pace: Option<Pace>,
    pub(crate) heartbeat: Duration,
    pub(crate) heartbeat_event: bool,
    pub(crate) retry: Duration,
    /// How long the token still holds; `None`: for ever.
    pub(crate) token_remaining: Option<Duration>,
    /// The age limit; `None`: none.
    pub(crate) max_age: Option<Duration>,
    pub(crate) trace_id: TraceId,
    /// Whether no record of the tenant has ever been seen: its name may be wrong.
    pub(crate) is_unseen: bool,
    /// What the line at its end says; `None`: it gets none.
    pub(crate) account: Option<Account>,
}

/// How things stand, for all streams.
pub(crate) struct World<'a> {
    pub(crate) now: Moment,
    pub(crate) status: Status,
    pub(crate) phase: Phase,
    /// Whether what clients have not taken yet is much: then they are given less at a time.
    pub(crate) is_pressed: bool,
    pub(crate) metrics: &'a Metrics,
}

/// What a turn came to.
#[derive(Debug)]
pub(crate) enum Said {
    /// One block.
    Block(Bytes),
    /// Blocks, one after the other, and how many records they bear.
    Frames(Vec<Bytes>, usize),
    /// What a stream before was given, encoded, and how many records it bears; it is all that there is for now.
    Repeated(Bytes, usize),
    /// Nothing for now.
    Nothing,
    /// Nothing any more: the last block has been given.
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has been said yet.
    Priming,
    Open,
    /// The last block is given.
    Ended,
}

/// One stream.
pub(crate) struct Stream {
    pub(crate) subscription: Subscription,
    place: Place,
    extras: Option<Box<Extras>>,
    /// The soonest deadline that ends the stream.
    end: Option<Box<Ending>>,
    /// When the next heartbeat is due, unless something is said before it.
    beat: Moment,
    heartbeat_ms: u32,
    retry_ms: u32,
    heartbeat_event: bool,
    /// The status that the client knows of. None needs no telling: all is well.
    told: Status,
    /// Whether the moment of its end was drawn since the process began to stop.
    drains: bool,
    /// Whether the client is still to be told that its tenant is not known.
    is_unseen: bool,
    state: State,
}

/// What few streams have.
struct Extras {
    paced: Option<Box<Paced>>,
    account: Option<Account>,
}

/// A stream with a rate of its own.
struct Paced {
    pace: Pace,
    /// Set where the rate has been used up.
    until: Option<Moment>,
}

impl Extras {
    fn of(pace: Option<Pace>, account: Option<Account>) -> Option<Box<Extras>> {
        let paced = pace.map(|pace| Box::new(Paced { pace, until: None }));
        (paced.is_some() || account.is_some()).then(|| Box::new(Extras { paced, account }))
    }

    fn note_read(&mut self, records: usize, bytes: usize) {
        if let Some(paced) = &mut self.paced {
            paced.pace.charge(records, bytes);
        }
        if let Some(account) = &mut self.account {
            account.add(records);
        }
    }
}

/// The end that a stream will come to.
struct Ending {
    at: Moment,
    why: End,
    trace_id: Option<TraceId>,
}

/// The headers of every stream that answers a request with these. `Connection` belongs to the way out, which knows the
/// protocol.
pub(crate) fn stream_headers(request: &HeaderMap, headers: &mut HeaderMap) {
    // nginx, Traefik and Caddy 2.6 compress whatever says nothing of its coding and do not heed no-transform; the last holds
    // the events back.
    if request.contains_key(ACCEPT_ENCODING) {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}

/// From half to one and a half of it: those who left together do not come back together.
pub(crate) fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.5..1.5))
}

/// From it to one and a half of it: whoever comes sooner finds what it found before.
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
            Box::new(Ending { at: now.plus(left.min(NEVER)), why, trace_id: Some(parts.trace_id) })
        };
        let mut stream = Stream {
            subscription: parts.subscription,
            place: parts.place,
            extras: Extras::of(parts.pace, parts.account),
            end: [aged, expired].into_iter().flatten().min_by_key(|(left, _)| *left).map(ending),
            beat: now,
            heartbeat_ms: millis(parts.heartbeat),
            retry_ms: millis(parts.retry),
            heartbeat_event: parts.heartbeat_event,
            told: Status::Ok,
            drains: false,
            is_unseen: parts.is_unseen,
            state: State::Priming,
        };
        stream.set_beat(now);
        stream
    }

    /// One look at everything that may be due.
    pub(crate) fn turn(&mut self, world: &World<'_>, last: &mut LastFrames<Bytes>) -> Said {
        match self.state {
            State::Priming => return Said::Block(self.prime(world.now)),
            State::Ended => return Said::Ended,
            State::Open => {}
        }
        self.watch_drain(world);
        if self.end.as_ref().is_some_and(|end| end.at <= world.now) {
            return Said::Block(self.finish(world));
        }
        // A calm board must be told from a frozen one, from the start.
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

    /// When to look again, whether or not there is news; later than now after a [`Stream::turn`] that gave nothing.
    pub(crate) fn due(&self) -> Moment {
        let paced = self.paced().and_then(|paced| paced.until);
        let deadlines = [paced, self.end.as_ref().map(|end| end.at)];
        deadlines.into_iter().flatten().fold(self.beat, Moment::min)
    }

    /// The soonest moment that ends it, if there is one.
    pub(crate) fn ends_at(&self) -> Option<Moment> {
        self.end.as_ref().map(|end| end.at)
    }

    fn paced(&self) -> Option<&Paced> {
        self.extras.as_ref()?.paced.as_deref()
    }

    /// Whether news of the subscription is of no use before [`Stream::due`].
    pub(crate) fn waits_for_its_pace(&self) -> bool {
        self.paced().is_some_and(|paced| paced.until.is_some())
    }

    /// Stands for the tenant among those that have streams.
    pub(crate) fn tenant(&self) -> u32 {
        self.place.tenant()
    }

    /// Whether the last block has been given.
    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// To be called where the stream is dropped, with what ended it unless it has said so itself.
    pub(crate) fn closed(&self, end: End, world: &World<'_>) {
        if self.state != State::Ended {
            let cut = end == End::Client && matches!(world.phase, Phase::Closing { .. });
            self.count_end(if cut { End::Cut } else { end }, world);
        }
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
        Control::priming(retry_ms, &self.subscription.id())
    }

    fn is_paced(&mut self, world: &World<'_>) -> bool {
        let Some(paced) = self.extras.as_mut().and_then(|extras| extras.paced.as_mut()) else { return false };
        if paced.until.is_some_and(|until| until > world.now) {
            return true;
        }
        let wait = paced.pace.wait();
        if wait.is_some() && paced.until.is_none() {
            world.metrics.throttled.increment(1);
        }
        paced.until = wait.map(|wait| world.now.plus(wait));
        wait.is_some()
    }

    /// Takes what the subscription has.
    fn read(&mut self, world: &World<'_>, last: &mut LastFrames<Bytes>) -> Said {
        let budget = self.paced().map_or(UNPACED, |paced| paced.pace.budget());
        if let Some(chunk) = self.subscription.repeat(budget, last).cloned() {
            self.note_read(world, last.records(), last.bytes());
            return Said::Repeated(chunk, last.records());
        }
        let bytes = if world.is_pressed { budget.bytes.min(SMALL_READ) } else { budget.bytes };
        match self.subscription.next_keeping(Budget { bytes, ..budget }, last) {
            Next::Wait => Said::Nothing,
            Next::Frames { bytes, records } => {
                self.note_read(world, records, bytes.iter().map(Bytes::len).sum());
                Said::Frames(bytes, records)
            }
        }
    }

    fn note_read(&mut self, world: &World<'_>, records: usize, bytes: usize) {
        if let Some(extras) = &mut self.extras {
            extras.note_read(records, bytes);
        }
        self.spoke(world.now);
    }

    /// A comment or an id breaks silence. The event also comes amid traffic: a script may listen to none of it.
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
        match (self.heartbeat_event, id) {
            (true, id) => Control {
                event: "tailrace.heartbeat",
                data: json!({ "time": unix_millis() }),
                id,
                retry_ms: None,
            }
            .encode(),
            (false, Some(id)) => Control::progress(&id),
            (false, None) => Control::comment(),
        }
    }

    fn say_status(&mut self, world: &World<'_>) -> Bytes {
        self.spoke(world.now);
        let data = json!({ "code": world.status.as_str() });
        Control { event: "tailrace.status", data, id: None, retry_ms: None }.encode()
    }

    /// With the code `ok`, as nothing is wrong with the stream.
    fn say_unseen(&mut self, world: &World<'_>) -> Bytes {
        self.spoke(world.now);
        let message = format!(
            "no record of the tenant {:?} has come since this server started: is the name right?",
            self.subscription.tenant().as_str()
        );
        let data = json!({ "code": Status::Ok.as_str(), "message": message });
        Control { event: "tailrace.status", data, id: None, retry_ms: None }.encode()
    }

    /// Once the process closes its streams, this one has a moment of its own in the window.
    fn watch_drain(&mut self, world: &World<'_>) {
        let Phase::Closing { since, spread, .. } = world.phase else { return };
        if !std::mem::replace(&mut self.drains, true) {
            let at = Moment::of(since + spread.mul_f64(rand::rng().random_range(0.0..1.0)));
            if self.end.as_ref().is_none_or(|end| at < end.at) {
                self.end = Some(Box::new(Ending { at, why: End::Drain, trace_id: None }));
            }
        }
    }

    fn finish(&mut self, world: &World<'_>) -> Bytes {
        let (why, trace_id) = self.end.as_ref().map_or((End::Drain, None), |end| (end.why, end.trace_id));
        let retry = match world.phase {
            Phase::Closing { retry, .. } => not_before(retry.max(self.retry())),
            Phase::Open => jittered(self.retry()),
        };
        let retry_ms = retry.as_millis() as u64;
        let (event, data) = match why {
            End::TokenExpired => (
                "tailrace.error",
                json!({
                    "code": "token_expired", "message": "the token has expired: come back with a new one",
                    "retry_ms": retry_ms, "trace_id": trace_id.map(|id| id.to_string()),
                }),
            ),
            End::MaxAge => ("tailrace.drain", json!({ "code": "max_age", "retry_ms": retry_ms })),
            // The others are not announced.
            _ => ("tailrace.drain", json!({ "code": "draining", "retry_ms": retry_ms })),
        };
        let id = Some(self.subscription.id());
        self.count_end(why, world);
        self.state = State::Ended;
        Control { event, data, id, retry_ms: Some(retry_ms) }.encode()
    }
}

/// Settings are far below what fits.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
