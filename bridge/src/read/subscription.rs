//! One client's subscription to a view: *replaying* until its own positions meet the view's, then *live*; *replaying* again
//! after an overrun.
//!
//! It is synchronous: [`Subscription::next`] returns what there is within a budget, and the caller asks again when that is
//! written to the socket. Nothing is queued for a slow client: it only costs a cursor.
//!
//! This module has the states and the loop over them. [`catch_up`](super::catch_up) is one step of a replaying subscription,
//! [`follow`](super::follow) one of a live one, and [`wait`](super::wait) is the waiting between calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::json;

use crate::base::clock::Clock;
use crate::base::metrics;
use crate::base::sabotage::{Sabotage, broken};
use crate::core::Hold;
use crate::live::delivery::Snapshot;
use crate::log::partition::Partition;
use crate::log::topic::Topics;
use crate::position::{Part, Position, Vector};
use crate::read::pending_gap::Pending;
use crate::read::repeat::LastFrames;
use crate::read::replay::Replay;
use crate::read::request::LastEventId;
use crate::read::run::Run;
use crate::read::wait::Wait;
use crate::read::work::Work;
use crate::record::tenant::TenantId;
use crate::sse::frame::{self, Control};
use crate::sse::framing::Framing;

/// Steps without a frame in one call, before the caller gets a chance to do something else.
const MAX_ROUNDS: usize = 16;

/// How much one call of [`Subscription::next`] may return.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Frames at most; at least 1.
    pub records: usize,
    /// Bytes at most, though at least one frame is returned whatever its size.
    pub bytes: usize,
}

/// What a subscription has for its client.
#[derive(Debug)]
pub enum Next {
    /// Whole SSE blocks, in slices that are to be written one after the other; `records` of them have a record.
    Frames {
        /// The bytes.
        bytes: Vec<Bytes>,
        /// How many of the blocks have a record.
        records: usize,
    },
    /// Nothing now: wait with [`Subscription::changed`], or as [`Subscription::wanted`] says.
    Wait,
}

/// One client's subscription to a view. Dropping it ends the subscription.
///
/// # States
/// *Replaying*: it reads memory and history, with a vector U of its own, up to a snapshot of the view. *Live*: it is a cursor
/// in the view's ring. It starts in either state, and only [`Subscription::next`] changes the state, any number of times:
///
/// | from | when | to |
/// | --- | --- | --- |
/// | replaying | everything up to the view's V is emitted, and the ring still has the frames after V | live |
/// | live | the ring no longer has the frames after the cursor | replaying |
///
/// A replay may begin with a run, in which only the newest record of each key is emitted: that of a
/// snapshot, and each one of a subscription that conflates.
///
/// In either state, gaps that are due are emitted before anything else.
///
/// # Calls
/// - To write: [`id`](Subscription::id) before the first frame of a connection (and in its last block, if that has an id), then
///   [`next`](Subscription::next) whenever there is room. Where one thread serves several subscriptions:
///   [`repeat`](Subscription::repeat) first, then [`next_keeping`](Subscription::next_keeping) if that returned nothing.
///   [`progress`](Subscription::progress) at a heartbeat. Each call counts what it returns as delivered: the caller has to
///   write it whole and in this order, or close the connection.
/// - To wait after [`Next::Wait`]: [`changed`](Subscription::changed) for a task. For an event loop,
///   [`wanted`](Subscription::wanted) says what to wait for: a listener of the view ([`listen`](Subscription::listen),
///   registered before the first call of `next` and rearmed before each further one) or
///   [`wake_when_read`](Subscription::wake_when_read).
/// - To inspect, without a change: [`tenant`](Subscription::tenant), [`view`](Subscription::view),
///   [`is_live`](Subscription::is_live), [`needs_history`](Subscription::needs_history).
///
/// Only `changed` is async. It is cancel-safe: it takes nothing, and the next call of `next` finds what came meanwhile. All
/// other calls return at once.
pub struct Subscription {
    /// The view, which is retired when its last reader is dropped.
    pub(super) hold: Hold,
    /// U: the positions after everything that was emitted.
    pub(super) vector: Arc<Vector>,
    pub(super) topics: Arc<Topics>,
    pub(super) state: State,
    /// The view's version before the last step.
    pub(super) seen: u64,
    /// State that few subscriptions need.
    pub(super) rare: Option<Box<Rare>>,
    /// The shape of the view to which `topics` and U belong.
    pub(super) shape: Shape,
    pub(super) wait: Wait,
    /// Whether U is ahead of the last id that was sent.
    pub(super) moved: bool,
    pub(super) synced: bool,
    pub(super) resumed: bool,
    /// Whether replays emit only the newest record of each key.
    pub(super) conflates: bool,
}

/// A view's shape. It is only compared for equality, and never changes four billion times between two steps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape(u32);

impl Shape {
    pub(super) fn of(shape: u64) -> Shape {
        Shape(shape as u32)
    }
}

#[derive(Default)]
pub(super) struct Rare {
    /// Parts of the id that this replica does not see, for another one that may. Such a stream keeps a vector of its own.
    pub(super) carried: Vec<Part>,
    /// The id that the client sent, until its position moves.
    pub(super) came_with: Option<String>,
    /// Gaps that are due.
    pub(super) pending: VecDeque<Pending>,
    /// How many records the replay has emitted, until that number is announced.
    pub(super) replayed: u64,
}

/// See [`Subscription`] for the transitions.
pub(super) enum State {
    /// Emits the records between U and a snapshot of the view, chunk by chunk.
    Replaying(Box<Replaying>),
    /// Emits the frames of the view's ring from this number on.
    Live { cursor: u64 },
}

/// A replay and the snapshot of the view that is its target.
#[derive(Default)]
pub(super) struct Replaying {
    pub(super) replay: Replay,
    pub(super) target: Option<Snapshot>,
    pub(super) work: Work,
    /// Whether others are to have their turn before the next chunk.
    pub(super) yields: bool,
}

/// The result of one step.
pub(super) enum Round {
    /// This is for the caller.
    Gives(Next),
    /// There may be more in another step: a gap that is due now, another target, another shape.
    Again,
    /// The replay has met the view, at the frame `cursor`.
    Joins { cursor: u64 },
    /// The ring no longer has the frame at the cursor.
    Overrun,
}

/// How a subscription starts.
pub(crate) struct SubscriptionStart {
    pub(crate) vector: Vector,
    pub(crate) carried: Vec<Part>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) last_event_id: LastEventId,
    pub(crate) topics: Arc<Topics>,
    pub(crate) shape: u64,
    /// Whether replays emit only the newest record of each key.
    pub(crate) conflates: bool,
    /// The run with which it begins.
    pub(crate) run: Option<Run>,
}

impl Rare {
    pub(super) fn is_any(&self) -> bool {
        !self.carried.is_empty() || self.came_with.is_some() || !self.pending.is_empty() || self.replayed > 0
    }
}

impl Subscription {
    /// A subscription that starts at the view's own positions: live at once.
    pub(crate) fn latest(hold: Hold, start: SubscriptionStart) -> Subscription {
        let snapshot = hold.view.snapshot();
        let cursor = snapshot.next;
        let mut subscription = Subscription::replaying(hold, start);
        subscription.vector = snapshot.vector;
        subscription.join(cursor);
        subscription
    }

    /// A subscription that starts with a replay from `start`.
    pub(crate) fn replaying(hold: Hold, start: SubscriptionStart) -> Subscription {
        metrics::replaying(1.0);
        let resumed = start.last_event_id.is_known();
        let (carried, came_with) = (start.carried, start.last_event_id.into_text());
        let rare = Rare { carried, came_with, pending: start.pending.into(), replayed: 0 };
        let mut replaying = Box::<Replaying>::default();
        replaying.replay.run = start.run;
        Subscription {
            seen: hold.view.version(),
            hold,
            vector: Arc::new(start.vector),
            topics: start.topics,
            state: State::Replaying(replaying),
            rare: rare.is_any().then(|| Box::new(rare)),
            shape: Shape::of(start.shape),
            wait: Wait::View,
            moved: false,
            synced: false,
            resumed,
            conflates: start.conflates,
        }
    }

    /// The id of everything emitted so far, for the priming frame and for a last block. On a resume it is the id that the
    /// client sent, until the position moves.
    pub fn id(&mut self) -> String {
        if let Some(id) = self.rare.as_ref().and_then(|rare| rare.came_with.clone()) {
            return id;
        }
        self.moved = false;
        self.encode_id()
    }

    /// Returns what there is for the client, within the budget. Does not block.
    pub fn next(&mut self, budget: Budget) -> Next {
        self.next_keeping(budget, &mut LastFrames::<()>::default())
    }

    /// As [`Subscription::next`], and keeps the frames in `last` for [`Subscription::repeat`] if other subscriptions may need
    /// the same ones. [`LastFrames::set_encoded`] is to follow.
    pub fn next_keeping<E>(&mut self, budget: Budget, last: &mut LastFrames<E>) -> Next {
        last.drop_unencoded();
        let budget = Budget { records: budget.records.max(1), ..budget };
        for _ in 0..MAX_ROUNDS {
            self.seen = self.hold.view.version();
            if let Some(gaps) = self.give_gaps(budget) {
                return gaps;
            }
            let round = match self.state {
                State::Replaying(_) => self.catch_up(budget),
                State::Live { cursor } => self.follow(cursor, budget, last),
            };
            match round {
                Round::Gives(next) => return next,
                Round::Again => {}
                Round::Joins { cursor } => self.join(cursor),
                Round::Overrun => self.fall_behind(),
            }
        }
        self.wait = Wait::Turn;
        Next::Wait
    }

    /// From replaying to live: U has met V, and the ring continues from the frame `cursor`.
    fn join(&mut self, cursor: u64) {
        debug_assert!(!self.is_live(), "it counts as one that replays");
        metrics::replaying(-1.0);
        self.state = State::Live { cursor };
        self.hold.view.arrived(cursor, 1);
        tracing::debug!(tenant = %self.tenant(), frame = cursor, resumed = self.resumed, "a subscription has joined its view");
    }

    /// From live to replaying, after an overrun: the frames after the cursor have left the ring.
    fn fall_behind(&mut self) {
        metrics::replaying(1.0);
        self.state = State::Replaying(Box::default());
        tracing::debug!(tenant = %self.tenant(), "a subscription has fallen behind its view");
    }

    /// The tenant whose records it reads.
    pub fn tenant(&self) -> &TenantId {
        self.hold.view.tenant()
    }

    /// How what it returns is written.
    pub fn framing(&self) -> Framing {
        self.hold.view.key().framing
    }

    /// Distinguishes the view that this subscription reads from all others that are open.
    pub fn view(&self) -> usize {
        Arc::as_ptr(&self.hold.view) as usize
    }

    /// Whether it is to get records that are not in memory, so that it reads history.
    pub fn needs_history(&self) -> bool {
        !self.is_live()
            && self.topics.iter().any(|(topic, partitions)| {
                let Some(part) = self.vector.part_of(topic.fingerprint()) else { return false };
                let positions = &self.vector.parts[part].positions;
                let is_older = |(position, partition): (&Position, &Arc<Partition>)| {
                    position.is_known() && position.offset < partition.oldest()
                };
                positions.iter().zip(partitions).any(is_older)
            })
    }

    /// Whether its id lies within a run of newest records: until the run has ended, the client lacks records that were superseded
    /// meanwhile.
    pub fn is_within_run(&self) -> bool {
        !self.bounds().is_empty()
    }

    /// Whether the replay has met the view.
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.hold.inner.shared.clock
    }

    pub(super) fn now(&self) -> Instant {
        self.clock().now()
    }

    pub(super) fn encode_id(&self) -> String {
        let shared = &self.hold.inner.shared;
        match (self.carried(), &self.bounds()[..]) {
            ([], []) => shared.encode_id(self.tenant(), &self.vector),
            (carried, bounds) => {
                shared.encode_id(self.tenant(), &with_parts(&self.vector, &[carried, bounds]))
            }
        }
    }

    /// The bounds that its id has.
    fn bounds(&self) -> Vec<Part> {
        match &self.state {
            State::Replaying(replaying) => bounds_of(replaying.replay.run.as_ref(), &self.vector),
            State::Live { .. } => Vec::new(),
        }
    }

    pub(super) fn carried(&self) -> &[Part] {
        self.rare.as_ref().map_or(&[], |rare| &rare.carried)
    }

    pub(super) fn has_gaps(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.pending.is_empty())
    }

    /// Forgets the id that the client sent: the position has moved.
    pub(super) fn left(&mut self) {
        if self.rare.is_some() {
            self.note(|rare| rare.came_with = None);
        }
    }

    pub(super) fn announce(&mut self, gaps: impl IntoIterator<Item = Pending>) {
        self.note(|rare| rare.pending.extend(gaps));
    }

    pub(super) fn note(&mut self, change: impl FnOnce(&mut Rare)) {
        let rare = self.rare.get_or_insert_default();
        change(rare);
        if !rare.is_any() {
            self.rare = None;
        }
    }

    /// Emits the gaps that are due, each with the id of the positions after it.
    fn give_gaps(&mut self, budget: Budget) -> Option<Next> {
        let pending = &mut self.rare.as_mut()?.pending;
        if pending.is_empty() {
            return None;
        }
        let count = pending.len().min(budget.records);
        let due: Vec<Pending> = pending.drain(..count).collect();
        let bytes = due.iter().filter_map(|pending| self.give_gap(pending)).collect();
        Some(Next::Frames { bytes, records: 0 })
    }

    fn give_gap(&mut self, pending: &Pending) -> Option<Bytes> {
        pending.gap.note_announced(self.tenant());
        pending.change.apply(Arc::make_mut(&mut self.vector));
        self.left();
        self.moved = false;
        let id = self.encode_id();
        (!broken(Sabotage::SilentGap)).then(|| frame::gap(&pending.gap, self.framing(), Some(id)))
    }

    /// Announces once that the replay has reached live.
    pub(super) fn sync(&mut self) -> Option<Next> {
        (!std::mem::replace(&mut self.synced, true)).then(|| self.give_synced(None))
    }

    /// Announces that the snapshot is whole, with an id that has no bound any more: from here on the client gets everything, even
    /// if it is disconnected now.
    pub(super) fn sync_snapshot(&mut self) -> Next {
        self.synced = true;
        self.left();
        self.moved = false;
        let id = self.encode_id();
        self.give_synced(Some(id))
    }

    fn give_synced(&mut self, id: Option<String>) -> Next {
        let mut replayed = 0;
        self.note(|rare| replayed = std::mem::take(&mut rare.replayed));
        let data = json!({ "replayed": replayed });
        let bytes = Control { event: "tailrace.synced", data, id, retry_ms: None }.encode(self.framing());
        Next::Frames { bytes: vec![bytes], records: 0 }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        match self.state {
            State::Live { cursor } => self.hold.view.arrived(cursor, -1),
            State::Replaying(ref mut replaying) => {
                metrics::replaying(-1.0);
                if let Some(meter) = self.hold.view.meter.get() {
                    replaying.work.give_back(meter);
                }
            }
        }
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("view", self.hold.view.key())
            .field("live", &self.is_live())
            .finish()
    }
}

/// The vector with further parts behind its own.
pub(super) fn with_parts(vector: &Vector, more: &[&[Part]]) -> Vector {
    let mut whole = vector.clone();
    more.iter().for_each(|parts| whole.parts.extend(parts.iter().cloned()));
    whole
}

/// The bounds of the run that a position is in, for its id.
pub(super) fn bounds_of(run: Option<&Run>, vector: &Vector) -> Vec<Part> {
    run.map_or_else(Vec::new, |run| run.bounds(vector))
}
