//! The body of a stream: a small machine that hyper polls whenever the socket takes more.
//!
//! It holds a subscription (a cursor, no queue) and a few deadlines, and gives whole SSE blocks: first the priming frame,
//! then what the subscription has, heartbeats when there is silence, and as the last block the reason for the end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderName, HeaderValue, Response};
use bytes::Bytes;
use rand::Rng;
use serde_json::json;
use tailrace_bridge::{Control, Next, Status, Subscription};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::drain::Phase;
use crate::limits::Place;
use crate::metrics::Metrics;
use crate::pace::Pace;

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
    pub(crate) _place: Place,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) drain: watch::Receiver<Phase>,
    pub(crate) pace: Pace,
    pub(crate) heartbeat: Duration,
    pub(crate) heartbeat_event: bool,
    pub(crate) retry: Duration,
    /// How long the token still holds; `None`: for ever.
    pub(crate) token_remaining: Option<Duration>,
    /// The age limit; `None`: none.
    pub(crate) max_age: Option<Duration>,
    pub(crate) trace_id: String,
}

enum State {
    /// Nothing has been said yet.
    Priming,
    Open,
    /// The last block is out, or waits in `out`.
    Ended,
}

struct Stream {
    parts: Parts,
    state: State,
    out: VecDeque<Bytes>,
    last_write: Instant,
    last_beat: Instant,
    /// Set where the rate has been used up.
    paced_until: Option<Instant>,
    /// The soonest deadline that ends the stream, and why.
    end: Option<(Instant, End)>,
    /// Fires no later than the next deadline; it is not touched for each event.
    timer: Pin<Box<Sleep>>,
}

/// The response that carries a stream.
pub(crate) fn response(parts: Parts) -> Response<Body> {
    parts.metrics.accepted.increment(1);
    let body = futures::stream::unfold(Stream::new(parts), |mut stream| async move {
        stream.next().await.map(|bytes| (Ok::<_, Infallible>(bytes), stream))
    });
    let mut response = Response::new(Body::from_stream(body));
    stream_headers(response.headers_mut());
    response
}

/// The headers of every stream. `Connection` is hyper's, which knows the protocol.
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
    fn new(parts: Parts) -> Stream {
        let now = Instant::now();
        let aged = parts
            .max_age
            .map(|age| (now + age.mul_f64(1.0 - rand::rng().random_range(0.0..AGE_JITTER)), End::MaxAge));
        let expired = parts.token_remaining.map(|left| (now + left.min(NEVER), End::TokenExpired));
        let end = [aged, expired].into_iter().flatten().min_by_key(|(at, _)| *at);
        Stream {
            timer: Box::pin(tokio::time::sleep_until(now + parts.heartbeat)),
            state: State::Priming,
            out: VecDeque::new(),
            last_write: now,
            last_beat: now,
            paced_until: None,
            end,
            parts,
        }
    }

    /// The next bytes for the socket; `None` after the last block.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.out.pop_front() {
                self.parts.metrics.bytes.increment(bytes.len() as u64);
                return Some(bytes);
            }
            match self.state {
                State::Priming => self.prime(),
                State::Open => self.turn().await,
                State::Ended => return None,
            }
        }
    }

    fn say(&mut self, block: Bytes) {
        self.last_write = Instant::now();
        self.out.push_back(block);
    }

    fn prime(&mut self) {
        let retry_ms = jittered(self.parts.retry).as_millis() as u64;
        let id = self.parts.subscription.id();
        self.say(Control::priming(retry_ms, &id));
        // A calm board must be told from a frozen one from the start.
        let status = *self.parts.status.borrow_and_update();
        if status != Status::Ok {
            self.say_status(status);
        }
        self.state = State::Open;
    }

    /// One look at everything that may be due, then a wait for the first of them.
    async fn turn(&mut self) {
        self.watch_drain();
        let now = Instant::now();
        if let Some((_, end)) = self.end.filter(|(at, _)| *at <= now) {
            return self.finish(end);
        }
        if self.parts.status.has_changed().unwrap_or(false) {
            let status = *self.parts.status.borrow_and_update();
            return self.say_status(status);
        }
        if now >= self.next_beat() {
            return self.beat();
        }
        if !self.is_paced(now) && self.read() {
            return;
        }
        self.wait().await;
    }

    fn is_paced(&mut self, now: Instant) -> bool {
        if self.paced_until.is_some_and(|until| until > now) {
            return true;
        }
        let wait = self.parts.pace.wait();
        if wait.is_some() && self.paced_until.is_none() {
            self.parts.metrics.throttled.increment(1);
        }
        self.paced_until = wait.map(|wait| now + wait);
        wait.is_some()
    }

    /// Takes what the subscription has; whether it had anything.
    fn read(&mut self) -> bool {
        match self.parts.subscription.next(self.parts.pace.budget()) {
            Next::Wait => false,
            Next::Frames { bytes, records } => {
                self.parts.pace.charge(records, bytes.iter().map(Bytes::len).sum());
                self.parts.metrics.frames.increment(records as u64);
                self.last_write = Instant::now();
                self.out.extend(bytes);
                true
            }
        }
    }

    /// A comment or an id breaks silence. The event also comes amid traffic: a script may listen to none of it.
    fn next_beat(&self) -> Instant {
        let since = if self.parts.heartbeat_event { self.last_beat } else { self.last_write };
        since + self.parts.heartbeat
    }

    fn beat(&mut self) {
        self.last_beat = Instant::now();
        let id = self.parts.subscription.progress();
        let block = match (self.parts.heartbeat_event, id) {
            (true, id) => Control {
                event: "tailrace.heartbeat",
                data: json!({ "time": unix_millis() }),
                id,
                retry_ms: None,
            }
            .encode(),
            (false, Some(id)) => Control::progress(&id),
            (false, None) => Control::comment(),
        };
        self.say(block);
    }

    fn say_status(&mut self, status: Status) {
        let data = json!({ "code": status.as_str() });
        self.say(Control { event: "tailrace.status", data, id: None, retry_ms: None }.encode());
    }

    /// Once the process closes its streams, this one has a moment of its own in the window.
    fn watch_drain(&mut self) {
        if !self.parts.drain.has_changed().unwrap_or(false) {
            return;
        }
        if let Phase::Closing { since, spread } = *self.parts.drain.borrow_and_update() {
            let at = since + spread.mul_f64(rand::rng().random_range(0.0..1.0));
            if self.end.is_none_or(|(other, _)| at < other) {
                self.end = Some((at, End::Drain));
            }
        }
    }

    fn finish(&mut self, end: End) {
        let retry_ms = jittered(self.parts.retry).as_millis() as u64;
        let (event, data) = match end {
            End::TokenExpired => (
                "tailrace.error",
                json!({
                    "code": "token_expired", "message": "the token has expired: come back with a new one",
                    "retry_ms": retry_ms, "trace_id": self.parts.trace_id,
                }),
            ),
            End::MaxAge => ("tailrace.drain", json!({ "code": "max_age", "retry_ms": retry_ms })),
            End::Drain | End::Client | End::Cut => {
                ("tailrace.drain", json!({ "code": "draining", "retry_ms": retry_ms }))
            }
        };
        let id = Some(self.parts.subscription.id());
        self.say(Control { event, data, id, retry_ms: Some(retry_ms) }.encode());
        self.parts.metrics.closed(end.reason());
        self.state = State::Ended;
    }

    /// Waits for news, for a change, or for the next deadline.
    async fn wait(&mut self) {
        let due = [self.paced_until, self.end.map(|(at, _)| at)]
            .into_iter()
            .flatten()
            .fold(self.next_beat(), Instant::min);
        // An early firing costs one look around; resetting the timer for each event would cost more.
        if self.timer.is_elapsed() || due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
        let paced = self.paced_until.is_some();
        let parts = &mut self.parts;
        tokio::select! {
            () = parts.subscription.changed(), if !paced => {}
            () = self.timer.as_mut() => {}
            // The senders live as long as the server; were they gone, the timer would still turn this.
            Ok(()) = parts.status.changed() => parts.status.mark_changed(),
            Ok(()) = parts.drain.changed() => parts.drain.mark_changed(),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !matches!(self.state, State::Ended) {
            let cut = matches!(*self.parts.drain.borrow(), Phase::Closing { .. });
            self.parts.metrics.closed(if cut { End::Cut } else { End::Client }.reason());
        }
    }
}

fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
