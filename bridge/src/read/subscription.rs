//! One client's reading of a view: *replaying* until its own positions meet the view's, then *live*.
//!
//! Synchronous: [`Subscription::next`] gives what there is within a budget, and whoever writes it to a socket asks again
//! when that is done. Nothing queues up for a slow client: it costs a cursor.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use crate::base::metrics;
use crate::base::sabotage::{Sabotage, broken};
use crate::base::sync::atomic::Ordering;
use crate::core::Hold;
use crate::live::delivery::{Live, Snapshot};
use crate::live::framing::gap_frame;
use crate::live::listeners::{Listener, Notify};
use crate::live::ring::{Step, Taken};
use crate::log::topic::Topics;
use crate::position::event_id::RunningId;
use crate::position::{Part, Vector};
use crate::read::reconcile::{AtOrigin, Pending, deleted, reconcile, strangers};
use crate::read::repeat::{Last, LastFrames};
use crate::read::replay::{Chunk, Context, Replay, Replayed};
use crate::read::request::LastEventId;
use crate::record::tenant::TenantId;
use crate::sse::frame::{self, Control};

/// Rounds of one call without a frame before the caller gets a chance to do something else.
const MAX_ROUNDS: usize = 16;
/// Bytes of one chunk of a replay, whatever the budget.
const MAX_LOOK_AHEAD: usize = 256 * 1024;
/// How often a subscription that is ahead of its view looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How much one call of [`Subscription::next`] may give.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Frames at the most; at least 1.
    pub records: usize,
    /// Bytes at the most, though at least one frame is given whatever its size.
    pub bytes: usize,
}

/// What a subscription has for its client.
#[derive(Debug)]
pub enum Next {
    /// Whole SSE blocks, in slices that are written one after the other; `records` of them bear a record.
    Frames {
        /// The bytes.
        bytes: Vec<Bytes>,
        /// How many records they bear.
        records: usize,
    },
    /// Nothing now: wait with [`Subscription::changed`], or as [`Subscription::wanted`] says.
    Wait,
}

/// What is worth a further look after [`Next::Wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// News of the view.
    News,
    /// News of the view, or this moment.
    NewsUntil(Instant),
    /// The end of a read of history ([`Subscription::wake_when_read`]), or this moment.
    History(Instant),
    /// Nothing: there is more to do, but others should have their turn.
    Turn,
}

/// One client's reading of a view. Dropping it ends it.
pub struct Subscription {
    /// The view. The last reader that lets go of it retires it.
    hold: Hold,
    /// U: the position after everything that was given.
    vector: Arc<Vector>,
    topics: Arc<Topics>,
    state: State,
    /// The view's version before the last look at it.
    seen: u64,
    /// What few subscriptions have, and none for long.
    rare: Option<Box<Rare>>,
    /// The shape of the view to which `topics` and U belong.
    shape: Shape,
    wait: Wait,
    /// Whether U is further than the last id that was given.
    moved: bool,
    synced: bool,
    resumed: bool,
}

/// A view's shape. It is only held against another one, and never changes four billion times between two looks.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape(u32);

impl Shape {
    fn of(shape: u64) -> Shape {
        Shape(shape as u32)
    }
}

#[derive(Default)]
struct Rare {
    /// Parts of the id that this replica does not see, for another that may. Such a stream keeps a vector of its own.
    carried: Vec<Part>,
    /// The id that the client came with, as long as nothing has moved.
    came_with: Option<String>,
    /// Gaps that are due.
    pending: std::collections::VecDeque<Pending>,
    /// How many records the replay has given, until that is said.
    replayed: u64,
}

enum State {
    Replaying(Box<Replaying>),
    Live { cursor: u64 },
}

/// A replay and the moment of the view that it is going for.
#[derive(Default)]
struct Replaying {
    replay: Replay,
    target: Option<Snapshot>,
}

/// What the next look is worth waiting for.
enum Wait {
    View,
    Replay,
    /// Nothing: there is more to do, but others should have their turn.
    Turn,
}

/// How a subscription starts.
pub(crate) struct SubscriptionStart {
    pub(crate) vector: Vector,
    pub(crate) carried: Vec<Part>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) last_event_id: LastEventId,
    pub(crate) topics: Arc<Topics>,
    pub(crate) shape: u64,
}

impl Rare {
    fn is_any(&self) -> bool {
        !self.carried.is_empty() || self.came_with.is_some() || !self.pending.is_empty() || self.replayed > 0
    }
}

impl Subscription {
    /// A subscription that starts at the view's own position: live at once.
    pub(crate) fn latest(hold: Hold, start: SubscriptionStart) -> Subscription {
        let snapshot = hold.view.snapshot();
        let cursor = snapshot.next;
        let mut subscription = Subscription::replaying(hold, start);
        subscription.vector = snapshot.vector;
        subscription.go_live(cursor);
        subscription
    }

    /// A subscription that starts with a replay from `start`.
    pub(crate) fn replaying(hold: Hold, start: SubscriptionStart) -> Subscription {
        metrics::replaying(1.0);
        let resumed = start.last_event_id.is_known();
        let (carried, came_with) = (start.carried, start.last_event_id.into_text());
        let rare = Rare { carried, came_with, pending: start.pending.into(), replayed: 0 };
        Subscription {
            seen: hold.view.version(),
            hold,
            vector: Arc::new(start.vector),
            topics: start.topics,
            state: State::Replaying(Box::default()),
            rare: rare.is_any().then(|| Box::new(rare)),
            shape: Shape::of(start.shape),
            wait: Wait::View,
            moved: false,
            synced: false,
            resumed,
        }
    }

    /// The id of everything given so far, for the priming frame and for a last block. On a resume it is the id that came
    /// in until something moves it.
    pub fn id(&mut self) -> String {
        if let Some(id) = self.rare.as_ref().and_then(|rare| rare.came_with.clone()) {
            return id;
        }
        self.moved = false;
        self.encode_id()
    }

    /// What there is for the client, within the budget. Does not block.
    pub fn next(&mut self, budget: Budget) -> Next {
        self.next_keeping(budget, &mut LastFrames::<()>::default())
    }

    /// As [`Subscription::next`], and keeps the frames in `last` for [`Subscription::repeat`] where others may have the same.
    /// [`LastFrames::set_encoded`] is to follow.
    pub fn next_keeping<E>(&mut self, budget: Budget, last: &mut LastFrames<E>) -> Next {
        last.drop_unencoded();
        let budget = Budget { records: budget.records.max(1), ..budget };
        for _ in 0..MAX_ROUNDS {
            self.seen = self.hold.view.version();
            if let Some(gaps) = self.give_gaps(budget) {
                return gaps;
            }
            let next = match &mut self.state {
                State::Live { cursor } => {
                    let cursor = *cursor;
                    self.next_live(cursor, budget, last)
                }
                State::Replaying(_) => self.next_replayed(budget),
            };
            if let Some(next) = next {
                return next;
            }
        }
        self.wait = Wait::Turn;
        Next::Wait
    }

    /// Takes the frames that are kept in `frames`, if this subscription stands where that one stood which was given them, and
    /// its budget allows. Gives what they were encoded to.
    pub fn repeat<'a, E>(&mut self, budget: Budget, frames: &'a mut LastFrames<E>) -> Option<&'a E> {
        // One that has not said so yet says first that it is live.
        let gaps = self.has_gaps() || !self.synced;
        let State::Live { cursor } = &mut self.state else { return None };
        let (last, encoded) = frames.kept()?;
        let here = *cursor == last.cursor && Arc::ptr_eq(&self.hold.view, &last.view);
        if !here || gaps || last.records > budget.records || last.bytes > budget.bytes {
            return None;
        }
        *cursor = last.next;
        self.vector = last.vector.clone();
        self.moved = !last.framed;
        self.left();
        last.unreported += 1;
        Some(encoded)
    }

    /// After [`Next::Wait`]: what to look again for.
    pub fn wanted(&self) -> Wanted {
        match (&self.wait, &self.state) {
            (Wait::Turn, _) => Wanted::Turn,
            (Wait::Replay, State::Replaying(replaying)) => Wanted::History(replaying.replay.awaited().1),
            (_, State::Live { .. }) => Wanted::News,
            _ => Wanted::NewsUntil(Instant::now() + LOOK_AGAIN),
        }
    }

    /// Wakes `waker` at the end of any read of history that this subscription waits for; false where one has ended
    /// already, so that it is worth to look again.
    pub fn wake_when_read(&self, waker: &Waker) -> bool {
        match &self.state {
            State::Replaying(replaying) => replaying.replay.wake_when_read(waker),
            State::Live { .. } => true,
        }
    }

    /// Has `target` notified with `number` whenever the subscription's view has something new, until the listener is dropped.
    /// One serves all subscriptions of the same [`Subscription::view`].
    pub fn listen(&self, target: Arc<dyn Notify>, number: u32) -> Listener {
        Listener::new(self.hold.view.clone(), target, number)
    }

    /// Whose records they are.
    pub fn tenant(&self) -> &TenantId {
        self.hold.view.tenant()
    }

    /// Distinguishes the view that this subscription reads from all others that are open.
    pub fn view(&self) -> usize {
        Arc::as_ptr(&self.hold.view) as usize
    }

    /// After [`Next::Wait`]: waits until [`Subscription::next`] may give something. It may also return for nothing.
    /// Cancel-safe.
    pub async fn changed(&mut self) {
        match self.wait {
            Wait::Turn => tokio::task::yield_now().await,
            Wait::View if self.is_live() => self.hold.view.changed(self.seen).await,
            Wait::View => {
                let _ = tokio::time::timeout(LOOK_AGAIN, self.hold.view.changed(self.seen)).await;
            }
            Wait::Replay => self.replay_changed().await,
        }
    }

    /// At a heartbeat: the id to send if the position has moved past records that do not match since the last id, so that
    /// a resume does not look at them again.
    pub fn progress(&mut self) -> Option<String> {
        if self.has_gaps() {
            return None;
        }
        if let State::Live { cursor } = self.state {
            // Only a cursor at the view's end may take the view's vector: behind it there are frames to come.
            if let Some(vector) = self.hold.view.vector_at(cursor) {
                self.moved |= vector != self.vector;
                self.vector = vector;
            }
        }
        if !self.moved {
            return None;
        }
        self.moved = false;
        self.left();
        Some(self.encode_id())
    }

    /// Whether the replay has met the view.
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    fn encode_id(&self) -> String {
        let shared = &self.hold.inner.shared;
        match self.carried() {
            [] => shared.encode_id(&self.vector),
            carried => shared.encode_id(&with_carried(&self.vector, carried)),
        }
    }

    fn carried(&self) -> &[Part] {
        self.rare.as_ref().map_or(&[], |rare| &rare.carried)
    }

    fn has_gaps(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.pending.is_empty())
    }

    /// The position is not that of the id any more that the client came with.
    fn left(&mut self) {
        if self.rare.is_some() {
            self.note(|rare| rare.came_with = None);
        }
    }

    fn announce(&mut self, gaps: impl IntoIterator<Item = Pending>) {
        self.note(|rare| rare.pending.extend(gaps));
    }

    fn note(&mut self, change: impl FnOnce(&mut Rare)) {
        let rare = self.rare.get_or_insert_default();
        change(rare);
        if !rare.is_any() {
            self.rare = None;
        }
    }

    fn enter(&mut self, state: State) {
        let was_live = self.is_live();
        self.state = state;
        match (was_live, self.is_live()) {
            (false, true) => metrics::replaying(-1.0),
            (true, false) => metrics::replaying(1.0),
            _ => {}
        }
    }

    fn go_live(&mut self, cursor: u64) {
        self.enter(State::Live { cursor });
        self.hold.view.arrived(cursor, 1);
    }

    /// Announces the gaps that are due, each with the id that it leads to.
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
        metrics::count_gap(pending.gap.code.as_str());
        pending.change.apply(Arc::make_mut(&mut self.vector));
        self.left();
        self.moved = false;
        let id = self.encode_id();
        (!broken(Sabotage::SilentGap)).then(|| gap_frame(&pending.gap, Some(id)))
    }

    fn next_live<E>(&mut self, cursor: u64, budget: Budget, last: &mut LastFrames<E>) -> Option<Next> {
        match self.hold.view.take(cursor, budget.records, budget.bytes) {
            Live::Frames(taken, end) => Some(self.take(cursor, taken, end, last)),
            Live::Nothing => Some(self.sync().unwrap_or_else(|| {
                self.wait = Wait::View;
                Next::Wait
            })),
            Live::Overrun => {
                self.enter(State::Replaying(Box::default()));
                None
            }
        }
    }

    /// Moves on over frames that were taken from the ring.
    fn take<E>(
        &mut self,
        cursor: u64,
        taken: Taken,
        end: Option<(Arc<Vector>, bool)>,
        last: &mut LastFrames<E>,
    ) -> Next {
        self.left();
        let next = cursor + taken.marks.len() as u64;
        self.enter(State::Live { cursor: next });
        let records = taken.marks.iter().filter(|mark| matches!(mark.step, Step::Record { .. })).count();
        let timestamp = taken.marks.last().map_or(-1, |mark| mark.timestamp);
        match end {
            Some((vector, framed)) => {
                self.vector = vector.clone();
                self.moved = !framed;
                let bytes = taken.slices.iter().map(Bytes::len).sum();
                let view = self.hold.view.clone();
                let unreported = 1;
                last.keep(Last { view, cursor, next, vector, framed, records, bytes, timestamp, unreported });
            }
            None => {
                metrics::delivered(timestamp, 1);
                self.follow(&taken);
            }
        }
        Next::Frames { bytes: taken.slices, records }
    }

    /// A cursor in the midst of the ring keeps a vector of its own, frame by frame.
    fn follow(&mut self, taken: &Taken) {
        self.moved = false;
        for mark in &taken.marks {
            match &mark.step {
                Step::Gap(vector) => self.vector = vector.clone(),
                Step::Record { topic, partition, position } => {
                    let vector = Arc::make_mut(&mut self.vector);
                    if let Some(part) = vector.part_of(*topic) {
                        let positions = &mut vector.parts[part].positions;
                        let index = *partition as usize;
                        if positions.len() <= index {
                            positions.resize(index + 1, crate::position::Position::UNKNOWN);
                        }
                        positions[index] = *position;
                    }
                }
            }
        }
    }

    fn next_replayed(&mut self, budget: Budget) -> Option<Next> {
        let State::Replaying(replaying) = &mut self.state else { return None };
        let kept = replaying.target.take().filter(|target| !self.hold.view.was_cut_since(target));
        let target = kept.unwrap_or_else(|| self.hold.view.snapshot());
        if Shape::of(target.shape) != self.shape {
            self.reshape();
            return None;
        }
        let mut out = Emitted::default();
        let chunk = self.replay_chunk(&target.vector, budget, &mut out);
        if out.records > 0 && !self.synced {
            self.note(|rare| rare.replayed += out.records as u64);
        }
        match chunk {
            Chunk::Gap(pending) => self.announce([pending]),
            Chunk::Moved => self.keep_target(target),
            Chunk::Waiting => {
                // A topic that is gone gives nothing any more: then the target is looked for anew.
                if self.hold.view.shape() == target.shape {
                    self.keep_target(target);
                }
                self.wait = Wait::Replay;
                return Some(Next::Wait);
            }
            Chunk::Done => return self.join(target),
        }
        (out.records > 0).then(|| Next::Frames { bytes: vec![out.bytes.into()], records: out.records })
    }

    fn keep_target(&mut self, target: Snapshot) {
        if let State::Replaying(replaying) = &mut self.state {
            replaying.target = Some(target);
        }
    }

    /// One chunk of the replay towards the target.
    fn replay_chunk(&mut self, target: &Vector, budget: Budget, out: &mut Emitted) -> Chunk {
        let State::Replaying(replaying) = &mut self.state else { return Chunk::Done };
        let key = self.hold.view.key();
        let context = Context {
            tenant: &key.tenant,
            filter: key.filter(),
            history: &self.hold.inner.history,
            topics: &self.topics,
        };
        let carried = self.rare.as_ref().map_or(&[][..], |rare| &rare.carried);
        let shared = &self.hold.inner.shared;
        let minutes = shared.minutes.load(Ordering::Relaxed);
        let mut id = RunningId::default();
        let before = self.vector.clone();
        let mut vector = Vector::clone(&self.vector);
        let mut emit = |next: Replayed<'_>| {
            let (partition, index) = (next.partition, next.partition.index());
            if out.records > 0 {
                id.advance(next.part, index as usize, next.vector.parts[next.part].positions[index as usize]);
            } else if carried.is_empty() {
                id.begin(minutes, next.vector);
            } else {
                id.begin(minutes, &with_carried(next.vector, carried));
            }
            let topic = partition.topic_name();
            frame::record(&mut out.bytes, &next.record, topic, index, key.envelope, id.as_str());
            out.records += 1;
            out.records < budget.records && out.bytes.len() < budget.bytes
        };
        // Partitions are seldom all equally busy: a half more than what goes out now.
        let look_ahead = budget.bytes.min(MAX_LOOK_AHEAD) / 2 * 3;
        let chunk = replaying.replay.chunk(&context, &mut vector, target, look_ahead, &mut emit);
        if out.records > 0 {
            self.left();
        }
        self.moved |= vector != *before;
        self.vector = Arc::new(vector);
        chunk
    }

    /// Everything up to the target is given. Where U has met V, the view's ring goes on from the target's frame.
    fn join(&mut self, target: Snapshot) -> Option<Next> {
        let meets = |ours: &Vector| ours.meets(&target.vector);
        if self.carried().is_empty() && (meets(&self.vector) || broken(Sabotage::JoinAhead)) {
            if !self.hold.view.holds(&target) {
                return None;
            }
            if let State::Replaying(replaying) = &self.state {
                let used_history = replaying.replay.used_history();
                if self.resumed && !self.synced {
                    metrics::count_resume(used_history);
                }
            }
            // The positions are the same; the view's own vector is shared by all that stand here.
            self.vector = target.vector;
            self.go_live(target.next);
            return None;
        }
        // Ahead of the view, or with parts that it does not know: on with an own vector as the heads move.
        self.wait = Wait::View;
        Some(self.sync().unwrap_or(Next::Wait))
    }

    /// Says once that the replay has reached live.
    fn sync(&mut self) -> Option<Next> {
        if std::mem::replace(&mut self.synced, true) {
            return None;
        }
        let mut replayed = 0;
        self.note(|rare| replayed = std::mem::take(&mut rare.replayed));
        let data = json!({ "replayed": replayed });
        let bytes = Control { event: "tailrace.synced", data, id: None, retry_ms: None }.encode();
        Some(Next::Frames { bytes: vec![bytes], records: 0 })
    }

    /// Topics or partitions came or went: brings the own vector to the view's shape, with gaps where that takes any.
    fn reshape(&mut self) {
        let (shape, topics) = self.hold.view.topics();
        let mut vector = Vector::clone(&self.vector);
        let mut rare = self.rare.take().unwrap_or_default();
        rare.pending.extend(reconcile(&mut vector, &mut rare.carried, &topics, &AtOrigin));
        for part in strangers(&mut vector, &topics) {
            match self.topics.iter().find(|(topic, _)| topic.fingerprint() == part.fingerprint) {
                Some((topic, _)) => {
                    rare.pending.extend(deleted(&part, topic.name()));
                    // It stays until its gaps are announced.
                    vector.parts.push(part);
                }
                // It was never read here, and may be there again, or at another replica.
                None => rare.carried.push(part),
            }
        }
        self.rare = rare.is_any().then_some(rare);
        self.moved = true;
        self.vector = Arc::new(vector);
        self.topics = topics;
        self.shape = Shape::of(shape);
    }

    async fn replay_changed(&mut self) {
        let State::Replaying(replaying) = &self.state else { return };
        let (jobs, until) = replaying.replay.awaited();
        let until = tokio::time::Instant::from_std(until.max(Instant::now() + Duration::from_millis(1)));
        let ended = futures::future::select_all(
            jobs.iter().map(|job| Box::pin(job.finished()) as futures::future::BoxFuture<'_, ()>).chain(
                std::iter::once(
                    Box::pin(tokio::time::sleep_until(until)) as futures::future::BoxFuture<'_, ()>
                ),
            ),
        );
        ended.await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        match self.state {
            State::Live { cursor } => self.hold.view.arrived(cursor, -1),
            State::Replaying(_) => metrics::replaying(-1.0),
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

/// The frames of one chunk.
#[derive(Default)]
struct Emitted {
    bytes: Vec<u8>,
    records: usize,
}

fn with_carried(vector: &Vector, carried: &[Part]) -> Vector {
    let mut whole = vector.clone();
    whole.parts.extend(carried.iter().cloned());
    whole
}
