//! The live, merged, filtered sequence of frames that all subscriptions of the same (tenant, topics, filter, envelope) share.
//!
//! A view has a vector V that says exactly which records it has taken into account, and a [`Ring`] of encoded frames.
//! V and the ring change together under one lock, so that a subscription which takes (V, the next frame's number) can
//! replay up to V and go on from that number.

use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::catalog::{Partition, Topic};
use crate::envelope::Envelope;
use crate::event_id::EventId;
use crate::filter::Filter;
use crate::frame::{self, Control};
use crate::gap::Gap;
use crate::metrics;
use crate::position::{Part, Position, Vector};
use crate::reconcile::Topics;
use crate::record::RecordRef;
use crate::ring::{Mark, PAGE, Ring, Step, Taken};
use crate::sabotage::{Sabotage, broken};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::tenant::TenantId;

/// What makes two subscriptions share a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ViewKey {
    pub(crate) tenant: TenantId,
    /// Sorted names; none: every topic that can yield the tenant.
    pub(crate) topics: Option<Vec<String>>,
    pub(crate) filter: Filter,
    pub(crate) envelope: Envelope,
}

impl ViewKey {
    pub(crate) fn names(&self, topic: &str) -> bool {
        self.topics.as_ref().is_none_or(|names| names.iter().any(|name| name == topic))
    }
}

/// What all views share: settings and the age of the list of topics.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// When the list of topics was last refreshed, in whole minutes since the Unix epoch.
    pub(crate) minutes: AtomicU32,
    /// How many bytes of frames one view may keep.
    pub(crate) ring_cap: AtomicUsize,
    pub(crate) linger: Duration,
    pub(crate) runtime: Option<tokio::runtime::Handle>,
}

impl Shared {
    pub(crate) fn encode_id(&self, vector: &Vector) -> String {
        let mut id = String::new();
        EventId::encode(&mut id, self.minutes.load(Ordering::Relaxed), vector);
        id
    }
}

#[derive(Debug)]
pub(crate) struct View {
    /// For a wake that is due later: a view that is gone wakes nobody.
    me: Weak<View>,
    key: ViewKey,
    shared: Arc<Shared>,
    state: Mutex<State>,
    news: Notify,
    ears: Mutex<Ears>,
    version: AtomicU64,
    waking: AtomicBool,
}

/// Who is woken beside those that wait in [`View::changed`].
#[derive(Debug, Default)]
struct Ears {
    next: u32,
    open: Vec<(u32, Waker)>,
}

/// Wakes somebody whenever a view has something new, until it is dropped.
#[derive(Debug)]
pub struct Ear {
    view: Arc<View>,
    number: u32,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.view.ears.lock().open.retain(|(number, _)| *number != self.number);
    }
}

#[derive(Debug, Default)]
struct State {
    slots: Vec<Slots>,
    /// V. Its parts are those of `slots`, in the same order.
    vector: Arc<Vector>,
    /// Whether the newest frame bears V as its id.
    framed: bool,
    ring: Ring,
    /// Rises with every topic or partition that comes or goes.
    shape: u64,
    /// What [`View::topics`] gave last.
    topics: Option<(u64, Arc<Topics>)>,
}

/// The partitions of one topic that are registered, `None` before.
#[derive(Debug)]
struct Slots {
    topic: Arc<Topic>,
    partitions: Vec<Option<Arc<Partition>>>,
}

/// V, the next frame's number, and the topics, as they were at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) vector: Arc<Vector>,
    pub(crate) next: u64,
    pub(crate) shape: u64,
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
    pub(crate) fn new(key: ViewKey, shared: Arc<Shared>) -> Arc<View> {
        Arc::new_cyclic(|me| View {
            me: me.clone(),
            key,
            shared,
            state: Mutex::new(State::default()),
            news: Notify::new(),
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

    /// Adds a topic. Its partitions are not taken into account before [`View::register`].
    pub(crate) fn add_topic(&self, topic: &Arc<Topic>) {
        let mut state = self.state.lock();
        let at = state.slots.partition_point(|slots| slots.topic.name() < topic.name());
        state.slots.insert(at, Slots { topic: topic.clone(), partitions: Vec::new() });
        let part = Part { fingerprint: topic.fingerprint(), positions: Vec::new() };
        Arc::make_mut(&mut state.vector).parts.insert(at, part);
        state.shape += 1;
    }

    /// Takes a partition into account from its head on. Batches in flight are excluded by the partition's ingest lock.
    pub(crate) fn register(&self, partition: &Arc<Partition>) {
        if broken(Sabotage::RegisterWithoutWaiting) {
            return self.register_at(partition, partition.head());
        }
        let _no_batch = partition.ingest.lock();
        self.register_at(partition, partition.head());
    }

    fn register_at(&self, partition: &Arc<Partition>, head: Position) {
        let mut state = self.state.lock();
        let Some(at) = state.topic_at(partition.topic_name()) else { return };
        let index = partition.index() as usize;
        let slots = &mut state.slots[at].partitions;
        if slots.len() <= index {
            slots.resize(index + 1, None);
        }
        slots[index] = Some(partition.clone());
        let positions = &mut Arc::make_mut(&mut state.vector).parts[at].positions;
        if positions.len() <= index {
            positions.resize(index + 1, Position::UNKNOWN);
        }
        positions[index] = head;
        state.shape += 1;
        drop(state);
        self.bump();
    }

    /// Removes a topic that is gone, or goes on with its next incarnation, and tells every reader by gaps.
    ///
    /// While the gaps of a re-created topic are announced one by one, an id holds the topic in two parts: what is announced
    /// already in the new one, what is not yet in the old. So a cut between two gaps repeats none and swallows none.
    pub(crate) fn replace_topic(&self, old: &Arc<Topic>, new: Option<&Arc<Topic>>, gaps: &[Gap]) {
        let mut state = self.state.lock();
        let Some(at) = state.slots.iter().position(|slots| Arc::ptr_eq(&slots.topic, old)) else { return };
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
        state.finish_replacement(at, new);
        drop(state);
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
        vector.parts[at].positions[index] = to;
        state.push_gap(&self.shared, &gap, &vector);
        state.vector = Arc::new(vector);
        drop(state);
        self.wake();
    }

    /// Frames those of a batch's records that match. One caller at a time per partition: it holds the ingest lock.
    pub(crate) fn frame<'a>(&self, partition: &Partition, records: impl Iterator<Item = RecordRef<'a>>) {
        let mut matching = records.filter(|record| self.key.filter.matches(record)).peekable();
        if matching.peek().is_none() {
            return;
        }
        let mut state = self.state.lock();
        let Some((at, index)) = state.slot(partition) else { return };
        state.refresh();
        let minutes = self.shared.minutes.load(Ordering::Relaxed);
        let before = state.ring.next();
        let mut page = PageWriter::default();
        let mut id = String::new();
        for record in matching {
            let position = Position { offset: record.offset + 1, epoch: record.epoch };
            Arc::make_mut(&mut state.vector).parts[at].positions[index] = position;
            id.clear();
            encode_frame_id(&mut id, minutes, &state.vector, (at, index));
            frame::record(
                &mut page.bytes,
                &record,
                partition.topic_name(),
                partition.index(),
                self.key.envelope,
                &id,
            );
            let step =
                Step::Record { topic: partition.fingerprint(), partition: partition.index(), position };
            page.mark(step, record.timestamp, &mut state.ring);
        }
        metrics::count_encoded(state.ring.next() - before + page.marks.len() as u64);
        page.flush(&mut state.ring);
        state.framed = true;
        state.ring.trim_to(self.shared.ring_cap.load(Ordering::Relaxed));
        drop(state);
        self.wake();
    }

    /// V, brought up to the heads, and the number of the next frame.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut state = self.state.lock();
        state.refresh();
        Snapshot { vector: state.vector.clone(), next: state.ring.next(), shape: state.shape }
    }

    /// Rises with every topic or partition that comes or goes.
    pub(crate) fn shape(&self) -> u64 {
        self.state.lock().shape
    }

    /// The topics and their registered partitions, with the shape at which that was so. One list for all readers.
    pub(crate) fn topics(&self) -> (u64, Arc<Topics>) {
        let mut state = self.state.lock();
        if let Some((shape, topics)) = &state.topics
            && *shape == state.shape
        {
            return (*shape, topics.clone());
        }
        let topics = state
            .slots
            .iter()
            .map(|slots| (slots.topic.clone(), slots.partitions.iter().flatten().cloned().collect()));
        let topics: Arc<Topics> = topics.collect();
        state.topics = Some((state.shape, topics.clone()));
        (state.shape, topics)
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

    /// Whether frames from `cursor` on are still there.
    pub(crate) fn holds(&self, cursor: u64) -> bool {
        cursor >= self.state.lock().ring.first()
    }

    /// Drops frames that everybody had time to take. Gives the bytes that are left.
    pub(crate) fn trim(&self, now: Instant) -> usize {
        let mut state = self.state.lock();
        state.ring.trim_old(now);
        state.ring.trim_to(self.shared.ring_cap.load(Ordering::Relaxed));
        state.ring.size()
    }

    /// Rises with everything that a reader might wait for.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Waits until [`View::version`] is no longer `seen`. Cancel-safe.
    pub(crate) async fn changed(&self, seen: u64) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if self.version() != seen {
                return;
            }
            news.await;
        }
    }

    /// Wakes `waker` whenever there is something new. Such a waker must not block.
    pub(crate) fn listen(self: &Arc<Self>, waker: Waker) -> Ear {
        let mut ears = self.ears.lock();
        ears.next += 1;
        let number = ears.next;
        ears.open.push((number, waker));
        Ear { view: self.clone(), number }
    }

    /// Tells readers at once.
    fn bump(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.news.notify_waiters();
        self.ears.lock().open.iter().for_each(|(_, waker)| waker.wake_by_ref());
    }

    /// Tells readers, after the linger if there is one: frames that come meanwhile go out with the same write.
    fn wake(&self) {
        let linger = self.shared.linger;
        let Some(runtime) = self.shared.runtime.as_ref().filter(|_| !linger.is_zero()) else {
            return self.bump();
        };
        // The version moves at once: a reader that is awake anyway need not wait.
        self.version.fetch_add(1, Ordering::AcqRel);
        if !self.waking.swap(true, Ordering::AcqRel) {
            let me = self.me.clone();
            runtime.spawn(async move {
                tokio::time::sleep(linger).await;
                if let Some(view) = me.upgrade() {
                    view.waking.store(false, Ordering::Release);
                    view.bump();
                }
            });
        }
    }
}

impl State {
    fn topic_at(&self, name: &str) -> Option<usize> {
        self.slots.binary_search_by(|slots| slots.topic.name().as_ref().cmp(name)).ok()
    }

    /// Where the partition stands in the vector, if it is this incarnation and registered.
    fn slot(&self, partition: &Partition) -> Option<(usize, usize)> {
        let at = self.topic_at(partition.topic_name())?;
        let index = partition.index() as usize;
        let registered = self.slots[at].partitions.get(index)?.as_ref()?;
        (registered.key() == partition.key()).then_some((at, index))
    }

    /// V\[q\] = max(V\[q\], H\[q\]): heads never pass records that are not in the views yet, and V is ahead of a head
    /// while a batch is being framed.
    fn refresh(&mut self) {
        for (at, slots) in self.slots.iter().enumerate() {
            for (index, partition) in slots.partitions.iter().enumerate() {
                let Some(partition) = partition else { continue };
                let head = partition.head();
                let known = self.vector.parts[at].positions[index];
                if head.offset > known.offset || (broken(Sabotage::IdWithoutView) && head != known) {
                    Arc::make_mut(&mut self.vector).parts[at].positions[index] = head;
                    self.framed = false;
                }
            }
        }
    }

    fn push_gap(&mut self, shared: &Shared, gap: &Gap, vector: &Vector) {
        metrics::count_gap(gap.code);
        if broken(Sabotage::SilentGap) {
            return;
        }
        let bytes = gap_frame(gap, Some(shared.encode_id(vector)));
        let step = Step::Gap(Arc::new(vector.clone()));
        let mark = Mark { end: bytes.len() as u32, step, timestamp: -1 };
        self.ring.push(bytes.to_vec(), vec![mark]);
        self.framed = true;
    }

    /// Puts the new incarnation, or nothing, into the place of the topic that is gone.
    fn finish_replacement(&mut self, at: usize, new: Option<&Arc<Topic>>) {
        let mut vector = Vector::clone(&self.vector);
        match new {
            Some(topic) => {
                let partitions = topic.partitions();
                vector.parts[at] = new_part(topic);
                self.slots[at] =
                    Slots { topic: topic.clone(), partitions: partitions.into_iter().map(Some).collect() };
            }
            None => {
                vector.parts.remove(at);
                self.slots.remove(at);
            }
        }
        self.vector = Arc::new(vector);
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

fn encode_frame_id(id: &mut String, minutes: u32, vector: &Vector, own: (usize, usize)) {
    if !broken(Sabotage::IdsWithoutOtherPartitions) {
        return EventId::encode(id, minutes, vector);
    }
    let mut alone = vector.clone();
    for (at, part) in alone.parts.iter_mut().enumerate() {
        for (index, position) in part.positions.iter_mut().enumerate() {
            if (at, index) != own {
                *position = Position::UNKNOWN;
            }
        }
    }
    EventId::encode(id, minutes, &alone);
}

/// Collects frames into pages.
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
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.shrink_to_fit();
            ring.push(bytes, std::mem::take(&mut self.marks));
        }
    }
}
