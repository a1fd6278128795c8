//! What a stream says, and when: the same for every way out.
//!
//! A small machine: [`Stream::turn`] gives whole SSE blocks, first the priming frame, then what the subscription has,
//! heartbeats when there is silence, and as the last block the reason for the end. It never waits; [`Stream::due`] says
//! when to look again even if nothing comes.

use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use rand::Rng;
use serde_json::json;
use tailrace_bridge::{Control, Lookaside, Next, Status, Subscription};
use tokio::time::Instant;

use crate::drain::Phase;
use crate::limits::Place;
use crate::metrics::Metrics;
use crate::pace::{Pace, UNPACED};
use crate::trace::TraceId;

/// Far enough to stand for never, near enough for a timer.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);
/// How far two streams of the same age limit may lie apart.
const AGE_JITTER: f64 = 0.1;

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client or the network ended it.
    Client,
    /// The process stops.
    Drain,
    /// The process stopped before the client had read its last block.
    Cut,
    /// The age limit.
    MaxAge,
    /// The token has expired.
    TokenExpired,
}

impl End {
    pub(crate) const ALL: [End; 5] = [End::Client, End::Drain, End::Cut, End::MaxAge, End::TokenExpired];

    pub(crate) fn reason(self) -> &'static str {
        match self {
            End::Client => "client",
            End::Drain => "drain",
            End::Cut => "cut",
            End::MaxAge => "max_age",
            End::TokenExpired => "token_expired",
        }
    }
}

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
}

/// How things stand, for all streams.
pub(crate) struct World<'a> {
    pub(crate) now: Instant,
    pub(crate) status: Status,
    pub(crate) phase: Phase,
    pub(crate) metrics: &'a Metrics,
}

/// What a turn came to.
#[derive(Debug)]
pub(crate) enum Said {
    /// One block.
    Block(Bytes),
    /// Blocks, one after the other.
    Frames(Vec<Bytes>),
    /// What the stream before was given; it is all that there is for now.
    Repeated,
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
    _place: Place,
    /// None where there is no limit.
    pace: Option<Box<Paced>>,
    last_write: Instant,
    last_beat: Instant,
    /// The soonest deadline that ends the stream, and why.
    end: Option<Box<(Instant, End)>>,
    trace_id: TraceId,
    heartbeat_ms: u32,
    retry_ms: u32,
    heartbeat_event: bool,
    /// The status that the client knows of. None needs no telling: all is well.
    told: Status,
    /// Whether the moment of its end was drawn since the process began to stop.
    drains: bool,
    state: State,
}

/// A stream with a rate of its own.
struct Paced {
    pace: Pace,
    /// Set where the rate has been used up.
    until: Option<Instant>,
}

/// The headers of every stream. `Connection` belongs to the way out, which knows the protocol.
pub(crate) fn stream_headers(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}

/// From half to one and a half of it: those who left together do not come back together.
pub(crate) fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.5..1.5))
}

impl Stream {
    pub(crate) fn new(parts: Parts) -> Stream {
        let now = Instant::now();
        let aged = parts
            .max_age
            .map(|age| (now + age.mul_f64(1.0 - rand::rng().random_range(0.0..AGE_JITTER)), End::MaxAge));
        let expired = parts.token_remaining.map(|left| (now + left.min(NEVER), End::TokenExpired));
        Stream {
            subscription: parts.subscription,
            _place: parts.place,
            pace: parts.pace.map(|pace| Box::new(Paced { pace, until: None })),
            last_write: now,
            last_beat: now,
            end: [aged, expired].into_iter().flatten().min_by_key(|(at, _)| *at).map(Box::new),
            heartbeat_ms: millis(parts.heartbeat),
            retry_ms: millis(parts.retry),
            trace_id: parts.trace_id,
            heartbeat_event: parts.heartbeat_event,
            told: Status::Ok,
            drains: false,
            state: State::Priming,
        }
    }

    /// One look at everything that may be due.
    pub(crate) fn turn(&mut self, world: &World<'_>, lookaside: &mut Lookaside) -> Said {
        match self.state {
            State::Priming => return Said::Block(self.prime(world.now)),
            State::Ended => return Said::Ended,
            State::Open => {}
        }
        self.watch_drain(world);
        if let Some((at, end)) = self.end.as_deref().copied()
            && at <= world.now
        {
            return Said::Block(self.finish(end, world));
        }
        // A calm board must be told from a frozen one, from the start.
        if self.told != world.status {
            self.told = world.status;
            return Said::Block(self.say_status(world));
        }
        if world.now >= self.next_beat() {
            return Said::Block(self.beat(world.now));
        }
        if self.is_paced(world) {
            return Said::Nothing;
        }
        self.read(world, lookaside)
    }

    /// When to look again, whether or not there is news; later than now after a [`Stream::turn`] that gave nothing.
    pub(crate) fn due(&self) -> Instant {
        let paced = self.pace.as_ref().and_then(|paced| paced.until);
        let deadlines = [paced, self.end.as_ref().map(|end| end.0)];
        deadlines.into_iter().flatten().fold(self.next_beat(), Instant::min)
    }

    /// Whether news of the subscription is of no use before [`Stream::due`].
    pub(crate) fn waits_for_its_pace(&self) -> bool {
        self.pace.as_ref().is_some_and(|paced| paced.until.is_some())
    }

    /// Whether the last block has been given.
    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// To be called where the stream is dropped.
    pub(crate) fn closed(&self, world: &World<'_>) {
        if self.state != State::Ended {
            let cut = matches!(world.phase, Phase::Closing { .. });
            world.metrics.closed(if cut { End::Cut } else { End::Client }.reason());
        }
    }

    fn prime(&mut self, now: Instant) -> Bytes {
        self.last_write = now;
        self.state = State::Open;
        let retry_ms = jittered(self.retry()).as_millis() as u64;
        Control::priming(retry_ms, &self.subscription.id())
    }

    fn is_paced(&mut self, world: &World<'_>) -> bool {
        let Some(paced) = &mut self.pace else { return false };
        if paced.until.is_some_and(|until| until > world.now) {
            return true;
        }
        let wait = paced.pace.wait();
        if wait.is_some() && paced.until.is_none() {
            world.metrics.throttled.increment(1);
        }
        paced.until = wait.map(|wait| world.now + wait);
        wait.is_some()
    }

    /// Takes what the subscription has.
    fn read(&mut self, world: &World<'_>, lookaside: &mut Lookaside) -> Said {
        let budget = self.pace.as_ref().map_or(UNPACED, |paced| paced.pace.budget());
        if self.subscription.repeat(budget, lookaside) {
            self.note_read(world, lookaside.records(), lookaside.bytes());
            return Said::Repeated;
        }
        match self.subscription.next_beside(budget, lookaside) {
            Next::Wait => Said::Nothing,
            Next::Frames { bytes, records } => {
                self.note_read(world, records, bytes.iter().map(Bytes::len).sum());
                Said::Frames(bytes)
            }
        }
    }

    fn note_read(&mut self, world: &World<'_>, records: usize, bytes: usize) {
        if let Some(paced) = &mut self.pace {
            paced.pace.charge(records, bytes);
        }
        world.metrics.frames.increment(records as u64);
        self.last_write = world.now;
    }

    /// A comment or an id breaks silence. The event also comes amid traffic: a script may listen to none of it.
    fn next_beat(&self) -> Instant {
        let since = if self.heartbeat_event { self.last_beat } else { self.last_write };
        since + Duration::from_millis(u64::from(self.heartbeat_ms))
    }

    fn retry(&self) -> Duration {
        Duration::from_millis(u64::from(self.retry_ms))
    }

    fn beat(&mut self, now: Instant) -> Bytes {
        (self.last_beat, self.last_write) = (now, now);
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
        self.last_write = world.now;
        let data = json!({ "code": world.status.as_str() });
        Control { event: "tailrace.status", data, id: None, retry_ms: None }.encode()
    }

    /// Once the process closes its streams, this one has a moment of its own in the window.
    fn watch_drain(&mut self, world: &World<'_>) {
        let Phase::Closing { since, spread } = world.phase else { return };
        if !std::mem::replace(&mut self.drains, true) {
            let at = since + spread.mul_f64(rand::rng().random_range(0.0..1.0));
            if self.end.as_ref().is_none_or(|end| at < end.0) {
                self.end = Some(Box::new((at, End::Drain)));
            }
        }
    }

    fn finish(&mut self, end: End, world: &World<'_>) -> Bytes {
        let retry_ms = jittered(self.retry()).as_millis() as u64;
        let (event, data) = match end {
            End::TokenExpired => (
                "tailrace.error",
                json!({
                    "code": "token_expired", "message": "the token has expired: come back with a new one",
                    "retry_ms": retry_ms, "trace_id": self.trace_id.to_string(),
                }),
            ),
            End::MaxAge => ("tailrace.drain", json!({ "code": "max_age", "retry_ms": retry_ms })),
            End::Drain | End::Client | End::Cut => {
                ("tailrace.drain", json!({ "code": "draining", "retry_ms": retry_ms }))
            }
        };
        let id = Some(self.subscription.id());
        world.metrics.closed(end.reason());
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
