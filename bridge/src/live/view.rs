//! The live, merged, filtered sequence of frames that all subscriptions of the same (tenant, topics, filter, envelope) share.
//!
//! A view has a vector V that says exactly which records it has taken into account, and a [`Ring`] of encoded frames.
//! V and the ring change together under one lock, so that a subscription which takes (V, the next frame's number) can
//! replay up to V and go on from that number.

use std::cell::Cell;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::base::clock::Clock;
use crate::base::metrics;
use crate::base::sabotage::{Sabotage, broken};
use crate::base::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::base::sync::{Mutex, MutexGuard};
use crate::live::ears::{Ear, Ears, TaskBell};
use crate::live::ring::{MAX_RING, Mark, PAGE, Ring, Step, Taken};
use crate::live::rings::Rings;
use crate::log::coverage::Coverage;
use crate::log::partition::Partition;
use crate::log::topic::Topic;
use crate::log::topic::{TopicPartitions, Topics};
use crate::position::event_id::{EventId, RunningId};
use crate::position::gap::Gap;
use crate::position::{Part, Position, Vector};
use crate::record::RecordRef;
use crate::record::filter::{self, Filter};
use crate::record::tenant::TenantId;
use crate::sse::envelope::Envelope;
use crate::sse::frame::{self, Control};

/// Bytes of a page that a thread keeps for the next one.
const MAX_SPARE: usize = 2 * PAGE;

thread_local! {
    /// For the frames that this thread encodes: its memory serves all views.
    static WRITER: Cell<(RunningId, PageWriter)> = Cell::default();
}

/// What makes two subscriptions share a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ViewKey {
    pub(crate) tenant: TenantId,
    pub(crate) envelope: Envelope,
    /// `None`: all that the tenant has, as most ask for.
    part: Option<Box<WantedPart>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct WantedPart {
    /// Sorted names; none: every topic that can yield the tenant.
    topics: Vec<String>,
    filter: Filter,
}

impl ViewKey {
    /// `topics` are sorted; none: all of them.
    pub(crate) fn new(tenant: TenantId, topics: Vec<String>, filter: Filter, envelope: Envelope) -> ViewKey {
        let is_all = topics.is_empty() && filter == filter::ANYTHING;
        ViewKey { tenant, envelope, part: (!is_all).then(|| Box::new(WantedPart { topics, filter })) }
    }

    pub(crate) fn names_topics(&self) -> bool {
        self.part.as_ref().is_some_and(|part| !part.topics.is_empty())
    }

    pub(crate) fn names(&self, topic: &str) -> bool {
        let named = |part: &WantedPart| part.topics.iter().any(|name| name == topic);
        !self.names_topics() || self.part.as_deref().is_some_and(named)
    }

    pub(crate) fn filter(&self) -> &Filter {
        self.part.as_ref().map_or(&filter::ANYTHING, |part| &part.filter)
    }
}

/// What all views share: settings and the age of the list of topics.
#[derive(Debug)]
pub(crate) struct Shared {
    /// When the list of topics was last refreshed, in whole minutes since the Unix epoch.
    pub(crate) minutes: AtomicU32,
    pub(crate) rings: Rings,
    pub(crate) linger: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Shared {
    pub(crate) fn new(rings: Rings, linger: Duration, clock: Arc<dyn Clock>) -> Arc<Shared> {
        Arc::new(Shared { minutes: AtomicU32::new(0), rings, linger, clock })
    }

    pub(crate) fn encode_id(&self, vector: &Vector) -> String {
        let mut id = String::new();
        EventId::encode(&mut id, self.minutes.load(Ordering::Relaxed), vector);
        id
    }
}

#[derive(Debug)]
pub(crate) struct View {
    /// For what is due later: a view that is gone wakes nobody, and has no frames.
    me: Weak<View>,
    key: ViewKey,
    shared: Arc<Shared>,
    state: Mutex<State>,
    pub(crate) ears: Mutex<Ears>,
    version: AtomicU64,
    waking: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// What readers know of: V has all of it.
    coverage: Arc<Coverage>,
    /// What is being registered: V has some of it.
    coming: Option<Arc<Coverage>>,
    /// V. Its parts are those of the coverage, in the same order.
    vector: Arc<Vector>,
    /// Whether the newest frame bears V as its id.
    framed: bool,
    /// Whether the rings together know that this one has frames.
    filled: bool,
    ring: Ring,
    /// How many read this view, and how many of them are known to stand at the ring's end. The second is for memory alone:
    /// were it wrong, frames would go too late, or a reader would have its records from the log.
    readers: u32,
    at_end: i32,
    /// Rises with every topic or partition that comes or goes.
    shape: u64,
    /// Rises with every gap that puts a position back.
    cuts: u32,
}

/// V, the next frame's number, and the topics, as they were at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) vector: Arc<Vector>,
    pub(crate) next: u64,
    pub(crate) shape: u64,
    cuts: u32,
}

/// What a live cursor finds.
#[derive(Debug)]
pub(crate) enum Live {
    /// Frames, and V if the cursor is at the view's end after them (with whether the last frame bears V as its id).
    Frames(Taken, Option<(Arc<Vector>, bool)>),
    Nothing,
    /// The cursor fell out of the ring.
    Overrun,
}

impl View {
    /// A view that takes nothing into account yet: its coverage is empty.
    pub(crate) fn new(key: ViewKey, shared: Arc<Shared>, nothing: Arc<Coverage>) -> Arc<View> {
        let state = State {
            vector: nothing.heads(),
            coverage: nothing,
            coming: None,
            framed: false,
            filled: false,
            ring: Ring::new(shared.rings.account()),
            readers: 0,
            at_end: 0,
            shape: 0,
            cuts: 0,
        };
        Arc::new_cyclic(|me| View {
            me: me.clone(),
            key,
            shared,
            state: Mutex::new(state),
            ears: Mutex::default(),
            version: AtomicU64::new(0),
            waking: AtomicBool::new(false),
        })
    }

    pub(crate) fn key(&self) -> &ViewKey {
        &self.key
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.key.tenant
    }

    pub(crate) fn coverage(&self) -> Arc<Coverage> {
        self.state.lock().coverage.clone()
    }

    /// Begins to take more into account: all of `coverage`, of which what is new has to be [`View::register`]ed.
    pub(crate) fn expect(&self, coverage: Arc<Coverage>) {
        let mut state = self.state.lock();
        let vector = Arc::make_mut(&mut state.vector);
        for (at, (topic, _)) in coverage.topics().iter().enumerate() {
            if vector.parts.get(at).is_none_or(|part| part.fingerprint != topic.fingerprint()) {
                let part = Part { fingerprint: topic.fingerprint(), positions: Vec::new() };
                vector.parts.insert(at, part);
            }
        }
        state.coming = Some(coverage);
    }

    /// Takes a partition into account from its head on. Batches in flight are excluded by the partition's ingest lock.
    pub(crate) fn register(&self, partition: &Partition) {
        if broken(Sabotage::RegisterWithoutWaiting) {
            return self.register_at(partition, partition.head());
        }
        let _no_batch = partition.ingest.lock();
        self.register_at(partition, partition.head());
    }

    fn register_at(&self, partition: &Partition, head: Position) {
        let mut state = self.state.lock();
        let Some((at, index)) = state.expected().place(partition) else { return };
        let positions = &mut Arc::make_mut(&mut state.vector).parts[at].positions;
        if positions.len() <= index {
            positions.resize(index + 1, Position::UNKNOWN);
        }
        positions[index] = head;
    }

    /// Everything expected is registered: readers may know of it.
    pub(crate) fn settle(&self) {
        let mut state = self.state.lock();
        if let Some(coming) = state.coming.take() {
            state.coverage = coming;
            state.shape += 1;
        }
        drop(state);
        self.bump();
    }

    /// Removes a topic that is gone, or goes on with its next incarnation, and tells every reader by gaps.
    ///
    /// While the gaps of a re-created topic are announced one by one, an id holds the topic in two parts: what is announced
    /// already in the new one, what is not yet in the old. So a cut between two gaps repeats none and swallows none.
    pub(crate) fn replace_topic(
        &self,
        old: &Arc<Topic>,
        new: Option<&Arc<Topic>>,
        coverage: Arc<Coverage>,
        gaps: &[Gap],
    ) {
        let mut state = self.state.lock();
        let is_old = |(topic, _): &TopicPartitions| Arc::ptr_eq(topic, old);
        let Some(at) = state.coverage.topics().iter().position(is_old) else { return };
        state.refresh();
        let mut vector = Vector::clone(&state.vector);
        let mut fresh = new.map(|topic| new_part(topic));
        if let (Some(topic), Some(part)) = (new, &mut fresh) {
            let partitions = topic.partitions();
            part.positions = vec![Position::UNKNOWN; partitions.len()];
            vector.parts.insert(at, part.clone());
            let old_count = vector.parts[at + 1].positions.len();
            for (index, partition) in partitions.iter().enumerate().skip(old_count) {
                vector.parts[at].positions[index] = partition.origin();
            }
        }
        let old_at = at + usize::from(new.is_some());
        for (index, gap) in gaps.iter().enumerate() {
            let mut gap = gap.clone();
            gap.from = vector.parts[old_at].positions.get(index).map(|position| position.offset);
            if let (Some(topic), true) = (new, gap.next.is_some()) {
                vector.parts[at].positions[index] = topic.partitions()[index].origin();
            }
            if let Some(position) = vector.parts[old_at].positions.get_mut(index) {
                *position = Position::UNKNOWN;
            }
            if index + 1 == gaps.len() {
                vector.parts.remove(old_at);
            }
            state.push_gap(&self.shared, &gap, &vector);
        }
        state.finish_replacement(at, new, coverage);
        self.pushed(state);
        self.wake();
    }

    /// Announces a gap of one partition: its position is `to` from now on.
    pub(crate) fn gap(&self, partition: &Partition, gap: &Gap, to: Position) {
        let mut state = self.state.lock();
        let Some((at, index)) = state.slot(partition) else { return };
        state.refresh();
        let mut gap = gap.clone();
        gap.from = Some(state.vector.parts[at].positions[index].offset);
        let mut vector = Vector::clone(&state.vector);
        let old = std::mem::replace(&mut vector.parts[at].positions[index], to);
        state.cuts += u32::from(to.offset < old.offset);
        state.push_gap(&self.shared, &gap, &vector);
        state.vector = Arc::new(vector);
        self.pushed(state);
        self.wake();
    }

    /// Frames those of a batch's records that match; whether there are any, which is then for [`View::announce`] to tell.
    /// One caller at a time per partition: it holds the ingest lock.
    pub(crate) fn frame<'a>(
        &self,
        partition: &Partition,
        records: impl Iterator<Item = RecordRef<'a>>,
    ) -> bool {
        let mut matching = records.filter(|record| self.key.filter().matches(record)).peekable();
        if matching.peek().is_none() {
            return false;
        }
        let mut state = self.state.lock();
        let Some((at, index)) = state.slot(partition) else { return false };
        state.refresh();
        let minutes = self.shared.minutes.load(Ordering::Relaxed);
        let first = state.ring.next();
        let (mut id, mut page) = WRITER.take();
        let mut last = None;
        for record in matching {
            let position = Position { offset: record.offset + 1, epoch: record.epoch };
            if last.replace(position).is_some() {
                id.advance(at, index, position);
            } else {
                state.move_to((at, index), position);
                begin_id(&mut id, minutes, &state.vector, (at, index));
            }
            frame::record(
                &mut page.bytes,
                &record,
                partition.topic_name(),
                partition.index(),
                self.key.envelope,
                id.as_str(),
            );
            let step =
                Step::Record { topic: partition.fingerprint(), partition: partition.index(), position };
            page.mark(step, record.timestamp, &mut state.ring);
        }
        if let Some(position) = last {
            state.move_to((at, index), position);
        }
        page.flush(&mut state.ring);
        WRITER.set((id, page));
        metrics::count_encoded(state.ring.next() - first);
        state.framed = true;
        self.pushed(state);
        true
    }

    /// Tells readers of what a batch has framed, once its head is published: V is the heads' own vector by then, and all
    /// that take it share it.
    pub(crate) fn announce(&self) {
        self.state.lock().refresh();
        self.wake();
    }

    /// Something was pushed into the ring: it and all rings keep within their limits. Readers are still to be told.
    fn pushed(&self, mut state: MutexGuard<'_, State>) {
        state.at_end = 0;
        state.ring.trim_to(MAX_RING);
        let is_first = !std::mem::replace(&mut state.filled, true);
        drop(state);
        if is_first {
            self.shared.rings.add(self.me.clone());
        }
        self.shared.rings.shed();
    }

    /// Another one reads this view.
    pub(crate) fn enter(&self) {
        self.state.lock().readers += 1;
    }

    /// One does not read it any more; how many still do.
    pub(crate) fn leave(&self) -> u32 {
        let mut state = self.state.lock();
        state.readers -= 1;
        let left = state.readers;
        self.drop_taken(state);
        left
    }

    /// `count` live cursors have reached frame `next`; a negative `count`: so many subscriptions that stood there have ended.
    pub(crate) fn arrived(&self, next: u64, count: i32) {
        let mut state = self.state.lock();
        if next == state.ring.next() {
            state.at_end += count;
            self.drop_taken(state);
        }
    }

    /// Drops all frames where everybody has them: of very many views each has one reader, which takes them at once.
    fn drop_taken(&self, mut state: MutexGuard<'_, State>) {
        if i64::from(state.at_end) >= i64::from(state.readers) && state.ring.size() > 0 {
            let taken = state.ring.take_all();
            drop(state);
            drop(taken);
        }
    }

    /// V, brought up to the heads, and the number of the next frame.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut state = self.state.lock();
        state.refresh();
        let (vector, next) = (state.vector.clone(), state.ring.next());
        Snapshot { vector, next, shape: state.shape, cuts: state.cuts }
    }

    /// Rises with every topic or partition that comes or goes.
    pub(crate) fn shape(&self) -> u64 {
        self.state.lock().shape
    }

    /// The topics and their registered partitions, with the shape at which that was so. One list for all readers.
    pub(crate) fn topics(&self) -> (u64, Arc<Topics>) {
        let state = self.state.lock();
        (state.shape, state.coverage.topics().clone())
    }

    pub(crate) fn take(&self, cursor: u64, records: usize, bytes: usize) -> Live {
        let state = self.state.lock();
        if cursor == state.ring.next() {
            return Live::Nothing;
        }
        let Some(taken) = state.ring.take(cursor, records, bytes) else { return Live::Overrun };
        let at_end = cursor + taken.marks.len() as u64 == state.ring.next();
        let end = at_end.then(|| (state.vector.clone(), state.framed));
        Live::Frames(taken, end)
    }

    /// V for a cursor that stands at the view's next frame, brought up to the heads; `None` for any other.
    pub(crate) fn vector_at(&self, cursor: u64) -> Option<Arc<Vector>> {
        let mut state = self.state.lock();
        if cursor != state.ring.next() && !broken(Sabotage::ProgressAnywhere) {
            return None;
        }
        state.refresh();
        Some(state.vector.clone())
    }

    /// Whether a reader may go on from the snapshot: its frames are still there, and no position was put back since. The
    /// same offset would mean another record then, and the reader would be told of a gap that it is not before.
    pub(crate) fn holds(&self, snapshot: &Snapshot) -> bool {
        let state = self.state.lock();
        snapshot.next >= state.ring.first() && snapshot.cuts == state.cuts
    }

    /// Whether a position was put back since the snapshot: a place of the log before is nothing to go for.
    pub(crate) fn was_cut_since(&self, snapshot: &Snapshot) -> bool {
        self.state.lock().cuts != snapshot.cuts
    }

    /// Drops frames that everybody had time to take by `now`, and the oldest ones beyond `cap` bytes. Whether there are
    /// frames left.
    pub(crate) fn trim(&self, now: Option<Instant>, cap: usize) -> bool {
        let mut state = self.state.lock();
        if let Some(now) = now {
            state.ring.trim_old(now);
        }
        state.ring.trim_to(cap);
        state.filled = state.ring.size() > 0;
        state.filled
    }

    /// Rises with everything that a reader might wait for.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Waits until [`View::version`] is no longer `seen`. Cancel-safe.
    pub(crate) async fn changed(self: &Arc<Self>, seen: u64) {
        let mut ear = None;
        std::future::poll_fn(|context| {
            // Before the look: what comes after it is told.
            let bell = Arc::new(TaskBell(context.waker().clone()));
            ear = Some(Ear::new(self.clone(), bell, 0));
            if self.version() == seen { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Tells readers at once.
    fn bump(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.ears.lock().tell();
    }

    /// Tells readers, after the linger if there is one: frames that come meanwhile go out with the same write.
    fn wake(&self) {
        let linger = self.shared.linger;
        if linger.is_zero() {
            return self.bump();
        }
        // The version moves at once: a reader that is awake anyway need not wait.
        self.version.fetch_add(1, Ordering::AcqRel);
        if !self.waking.swap(true, Ordering::AcqRel) {
            let (me, clock) = (self.me.clone(), &self.shared.clock);
            let lingered = clock.sleep_until(clock.now() + linger);
            clock.spawn(Box::pin(async move {
                lingered.await;
                if let Some(view) = me.upgrade() {
                    view.waking.store(false, Ordering::Release);
                    view.bump();
                }
            }));
        }
    }
}

impl State {
    fn expected(&self) -> &Coverage {
        self.coming.as_ref().unwrap_or(&self.coverage)
    }

    /// Where the partition stands in the vector, if it is this incarnation and registered.
    fn slot(&self, partition: &Partition) -> Option<(usize, usize)> {
        let (at, index) = self.expected().place(partition)?;
        let position = self.vector.parts[at].positions.get(index)?;
        position.is_known().then_some((at, index))
    }

    /// V\[q\] = max(V\[q\], H\[q\]): heads never pass records that are not in the views yet, and V is ahead of a head
    /// while a batch is being framed. Where V is nowhere ahead, it is the heads that all views share.
    fn refresh(&mut self) {
        let heads = self.expected().heads();
        if Arc::ptr_eq(&heads, &self.vector) {
            return;
        }
        let (ahead, behind) = self.vector.compare(&heads);
        let ahead = ahead && !broken(Sabotage::IdWithoutView);
        if !ahead && self.coming.is_none() {
            self.framed &= !behind;
            self.vector = heads;
        } else if behind {
            Arc::make_mut(&mut self.vector).rise_to(&heads);
            self.framed = false;
        }
    }

    fn move_to(&mut self, (at, index): (usize, usize), position: Position) {
        Arc::make_mut(&mut self.vector).parts[at].positions[index] = position;
    }

    fn push_gap(&mut self, shared: &Shared, gap: &Gap, vector: &Vector) {
        metrics::count_gap(gap.code.as_str());
        if broken(Sabotage::SilentGap) {
            return;
        }
        let bytes = gap_frame(gap, Some(shared.encode_id(vector)));
        let step = Step::Gap(Arc::new(vector.clone()));
        let mark = Mark { end: bytes.len() as u32, step, timestamp: -1 };
        self.ring.push(bytes, [mark].into());
        self.framed = true;
    }

    /// Puts the new incarnation, or nothing, into the place of the topic that is gone.
    fn finish_replacement(&mut self, at: usize, new: Option<&Arc<Topic>>, coverage: Arc<Coverage>) {
        let vector = Arc::make_mut(&mut self.vector);
        match new {
            Some(topic) => vector.parts[at] = new_part(topic),
            None => drop(vector.parts.remove(at)),
        }
        self.coverage = coverage;
        self.shape += 1;
    }
}

/// A topic's part at the positions where this replica begins with it.
fn new_part(topic: &Topic) -> Part {
    let positions = topic.partitions().iter().map(|partition| partition.origin()).collect();
    Part { fingerprint: topic.fingerprint(), positions }
}

pub(crate) fn gap_frame(gap: &Gap, id: Option<String>) -> Bytes {
    let data = serde_json::to_value(gap).expect("a gap has only strings and numbers");
    Control { event: "tailrace.gap", data, id, retry_ms: None }.encode()
}

fn begin_id(id: &mut RunningId, minutes: u32, vector: &Vector, own: (usize, usize)) {
    if !broken(Sabotage::IdsWithoutOtherPartitions) {
        return id.begin(minutes, vector);
    }
    let mut alone = vector.clone();
    for (at, part) in alone.parts.iter_mut().enumerate() {
        for (index, position) in part.positions.iter_mut().enumerate() {
            if (at, index) != own {
                *position = Position::UNKNOWN;
            }
        }
    }
    id.begin(minutes, &alone);
}

/// Collects frames into pages. Its memory serves one page after the other: what goes into a ring is as large as it need be.
#[derive(Default)]
struct PageWriter {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

impl PageWriter {
    fn mark(&mut self, step: Step, timestamp: i64, ring: &mut Ring) {
        self.marks.push(Mark { end: self.bytes.len() as u32, step, timestamp });
        if self.bytes.len() >= PAGE {
            self.flush(ring);
        }
    }

    fn flush(&mut self, ring: &mut Ring) {
        if !self.marks.is_empty() {
            ring.push(Bytes::copy_from_slice(&self.bytes), self.marks.drain(..).collect());
            self.bytes.clear();
            self.bytes.shrink_to(MAX_SPARE);
        }
    }
}
