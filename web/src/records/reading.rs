//! What a page reads, and when it ends: at its limit, at the end of the records, or when its time is over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use tailrace_bridge::{Budget, Next, Subscription, Wanted as WaitsFor};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::rate::Rates;
use super::wanted::Wanted;
use crate::drain::Phase;
use crate::end::PageEnd;
use crate::limit::{Limit, Reached};
use crate::limits::{FilterPlace, ReplayPlace};
use crate::metrics::Metrics;
use crate::problem::{Passing, PassingCode};
use crate::registry::Registered;
use crate::stream::Parts;

/// For how long a page reads, unless it may wait for longer: a filter that matches nothing in a long history must not keep
/// its client waiting without progress.
const READ_TIME: Duration = Duration::from_secs(5);
/// A page ends once its records have so many bytes; the last of them may exceed it.
const MAX_SIZE: usize = 1 << 20;
/// The longest that a page is held back so that its client keeps its rate: longer, and proxies would give it up.
const MAX_PAYING: Duration = Duration::from_secs(55);
/// When to ask again for what Kafka did not give in time.
const RETRY_HISTORY: Duration = Duration::from_secs(1);
/// A time that does not come while a page is read.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// What may end a page besides its client and its records.
pub(crate) struct Orders {
    pub(crate) phase: watch::Receiver<Phase>,
    /// Changes when an operator ends streams.
    pub(crate) revocations: watch::Receiver<u64>,
}

/// The subscription of a page, which counts as a stream until the page is sent.
pub(super) struct Reading {
    subscription: Subscription,
    registered: Registered,
    /// Held until it is live, if it reads history.
    replay_place: Option<ReplayPlace>,
    _filter_place: Option<FilterPlace>,
    rates: Rates,
    orders: Orders,
    metrics: Arc<Metrics>,
    /// Records that the page may still have.
    left: usize,
    wait: Duration,
    begun: Instant,
    /// Since when there has been something to read, or may have been.
    reads_since: Instant,
    /// The id where it began.
    begun_at: String,
    token_ends: Option<Instant>,
    /// Drawn once the process begins to stop.
    drains: Option<Instant>,
    /// Whether there was nothing more when it was last read.
    is_at_end: bool,
    /// What kept it from reading when it last could not.
    hindrance: Option<Hindrance>,
}

/// What keeps a page from reading.
#[derive(Clone, Copy)]
enum Hindrance {
    Rate(Limit, Duration),
    ReplayRate,
    History,
}

/// One step of a page.
pub(super) enum Step {
    /// Whole lines of a stream.
    Frames(Bytes),
    End(PageEnd),
}

impl Reading {
    pub(super) fn new(parts: Parts, wanted: &Wanted, orders: Orders, metrics: Arc<Metrics>) -> Reading {
        let Parts { mut subscription, registered, replay_place, filter_place, pace, .. } = parts;
        let begun = Instant::now();
        Reading {
            rates: Rates::new(pace, &registered),
            begun_at: subscription.id(),
            subscription,
            registered,
            replay_place,
            _filter_place: filter_place,
            orders,
            metrics,
            left: wanted.limit,
            wait: wanted.wait,
            begun,
            reads_since: begun,
            token_ends: parts.token_remaining.map(|left| begun + left.min(NEVER)),
            drains: None,
            is_at_end: false,
            hindrance: None,
        }
    }

    /// The next records, or why there are none. `size`: the bytes of the page so far; zero: it is empty.
    pub(super) async fn next(&mut self, size: usize) -> Step {
        loop {
            if let Some(end) = self.ended(size) {
                return Step::End(end);
            }
            if let Some((wait, limit)) = self.rates.wait(Instant::now().into_std()) {
                self.note_throttled(limit, wait);
                if self.is_time_over(size) {
                    return Step::End(PageEnd::Time);
                }
                self.pause(Instant::now() + wait).await;
                continue;
            }
            match self.read(size) {
                Next::Frames { bytes, records } => return Step::Frames(self.pay(bytes, records).await),
                Next::Wait => {
                    if let Some(end) = self.ended_waiting(size) {
                        return Step::End(end);
                    }
                    self.await_more(size).await;
                }
            }
        }
    }

    /// Whether the page is full, or has to end for another reason than that there is nothing more.
    fn ended(&mut self, size: usize) -> Option<PageEnd> {
        if let Some(end) = self.ordered() {
            return Some(end);
        }
        match size {
            _ if self.left == 0 => Some(PageEnd::Limit),
            MAX_SIZE.. => Some(PageEnd::Size),
            1.. if self.is_time_over(size) => Some(PageEnd::Time),
            _ => None,
        }
    }

    /// Whether others than the client and its records end it.
    fn ordered(&mut self) -> Option<PageEnd> {
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.registered.is_revoked() {
            Some(PageEnd::Revoked)
        } else if is_due(self.token_ends) {
            Some(PageEnd::TokenExpired)
        } else {
            is_due(self.drains_at()).then_some(PageEnd::Drain)
        }
    }

    /// As streams do, pages end over a time when the process stops, so that not all clients come back at once.
    fn drains_at(&mut self) -> Option<Instant> {
        if self.drains.is_none()
            && let Phase::Closing { since, spread, .. } = *self.orders.phase.borrow()
        {
            self.drains = Some(since + spread.mul_f64(rand::rng().random_range(0.0..1.0)));
        }
        self.drains
    }

    /// When a page ends that has not reached the end of the records.
    fn time_ends(&self, size: usize) -> Instant {
        let reads = self.reads_since + READ_TIME;
        // An empty page may wait for something to come.
        if size > 0 { reads } else { reads.max(self.begun + self.wait) }
    }

    fn is_time_over(&self, size: usize) -> bool {
        Instant::now() >= self.time_ends(size)
    }

    fn read(&mut self, size: usize) -> Next {
        let budget = self.rates.budget();
        let bytes = budget.bytes.min(MAX_SIZE.saturating_sub(size)).max(1);
        let next = self.subscription.next(Budget { records: budget.records.min(self.left), bytes });
        self.registered.stands(self.subscription.standing());
        if self.subscription.is_live() {
            // Another stream may read history in its place.
            self.replay_place = None;
        }
        next
    }

    /// Notes what was read, and waits until it may be given.
    async fn pay(&mut self, bytes: Vec<Bytes>, records: usize) -> Bytes {
        let frames = joined(bytes);
        self.left = self.left.saturating_sub(records);
        (self.is_at_end, self.hindrance) = (false, None);
        self.registered.add(records, frames.len());
        self.rates.charge(records, frames.len(), Instant::now().into_std());
        let until = Instant::now() + MAX_PAYING;
        while let Some((wait, limit)) = self.rates.wait_to_give() {
            self.note_throttled(limit, wait);
            if Instant::now() >= until || self.ordered().is_some() {
                break;
            }
            self.pause(until.min(Instant::now() + wait)).await;
        }
        self.hindrance = None;
        // Whoever has much to read leaves others their turn.
        tokio::task::yield_now().await;
        frames
    }

    /// After a read that gave nothing: whether the page ends here.
    fn ended_waiting(&mut self, size: usize) -> Option<PageEnd> {
        self.rates.charge(0, 0, Instant::now().into_std());
        let waits_for = self.subscription.wanted();
        self.is_at_end = matches!(waits_for, WaitsFor::News | WaitsFor::NewsUntil(_));
        self.hindrance = match waits_for {
            WaitsFor::News | WaitsFor::NewsUntil(_) | WaitsFor::Turn => None,
            WaitsFor::History(_) => Some(Hindrance::History),
            WaitsFor::Time(_) => Some(Hindrance::ReplayRate),
        };
        if self.is_at_end {
            let is_over = size > 0 || self.begun.elapsed() >= self.wait;
            return is_over.then_some(PageEnd::Synced);
        }
        self.is_time_over(size).then_some(PageEnd::Time)
    }

    /// Waits until there may be more, or until the page may have to end.
    async fn await_more(&mut self, size: usize) {
        let until = if self.is_at_end { self.begun + self.wait } else { self.time_ends(size) };
        let until = self.deadline(until);
        tokio::select! {
            () = self.subscription.changed() => {}
            () = sleep_until(until) => {}
            () = self.orders.changed() => {}
        }
        if self.is_at_end {
            self.reads_since = Instant::now();
        }
    }

    /// Waits until then, or until the page may have to end.
    async fn pause(&mut self, until: Instant) {
        let until = self.deadline(until);
        tokio::select! {
            () = sleep_until(until) => {}
            () = self.orders.changed() => {}
        }
    }

    /// The first of that time and of those at which the page has to end.
    fn deadline(&mut self, until: Instant) -> Instant {
        [self.token_ends, self.drains_at()].into_iter().flatten().fold(until, Instant::min)
    }

    /// Counts each wait once. Whether there is more is not known now.
    fn note_throttled(&mut self, limit: Limit, wait: Duration) {
        if !matches!(self.hindrance, Some(Hindrance::Rate(..))) {
            self.metrics.throttled.increment(1);
            self.metrics.reached(limit);
        }
        self.hindrance = Some(Hindrance::Rate(limit, wait));
        self.is_at_end = false;
    }

    /// Whether the page ends before the records do, as far as is known.
    pub(super) fn has_more(&self) -> bool {
        !self.is_at_end
    }

    /// The id where the page ends.
    pub(super) fn id(&mut self) -> String {
        self.subscription.progress().unwrap_or_else(|| self.subscription.id())
    }

    /// For an empty page whose time is over: why it has not got on at all, if it has not.
    pub(super) fn stuck(&mut self) -> Option<Passing> {
        // The subscription gives back the id that the client sent until it is asked how far it has got.
        let hindrance = self.hindrance.filter(|_| self.id() == self.begun_at)?;
        Some(match hindrance {
            Hindrance::Rate(limit, after) => {
                Passing::limited(PassingCode::RateLimited, Reached::rate(limit), after)
            }
            Hindrance::ReplayRate => Passing::new(
                PassingCode::RateLimited,
                "the streams of this tenant read no more history a second (TAILRACE_REPLAY_BYTE_RATE_PER_TENANT)",
                RETRY_HISTORY,
            ),
            Hindrance::History => {
                let why = "the records could not be had in time: Kafka, or the schema registry of a topic, does not answer";
                Passing::new(PassingCode::Overloaded, why, RETRY_HISTORY)
            }
        })
    }

    /// Ends the reading. What is left counts as a stream until the page is sent.
    pub(super) fn into_registered(self) -> Registered {
        self.registered
    }
}

impl Orders {
    /// A change of the state. The senders live as long as the server; if they were gone, the page would still end by time.
    async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.phase.changed() => {}
            Ok(()) = self.revocations.changed() => {}
            else => std::future::pending().await,
        }
    }
}

fn joined(mut slices: Vec<Bytes>) -> Bytes {
    match slices.len() {
        1 => slices.remove(0),
        _ => slices.concat().into(),
    }
}
