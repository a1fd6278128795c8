//! The replay of a subscription: per partition exactly the matching records between its own positions U and a target V,
//! in chunks that are merged by timestamp as far as that costs no waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::history::History;
use crate::history::job::Waiter;
use crate::history::readers::Reader;
use crate::log::packed::Held;
use crate::log::partition::Partition;
use crate::log::partition_log::Found;
use crate::log::topic::Topics;
use crate::position::{Position, Vector};
use crate::read::confirm::{Answer, Asked, Confirmation, Question, gap_of, is_past_end};
use crate::read::lane::{LANE_RECORDS, Lane};
use crate::read::pending_gap::Pending;
use crate::record::RecordRef;
use crate::record::filter::Filter;
use crate::record::tenant::TenantId;

/// Segments that one partition contributes to a chunk at the most: a chunk is made without a pause.
const LANE_SEGMENTS: usize = 8;
/// A partition that is not there within this time is overtaken by the others.
const OVERTAKE: Duration = Duration::from_millis(100);
/// The pause before Kafka is asked again for what it could not give.
pub(crate) const RETRY: Duration = Duration::from_millis(500);
/// The pause before another look for room in which to open what is packed.
const ROOM: Duration = Duration::from_millis(10);

/// What the reading of history is about: whose, and through what.
pub(crate) struct Context<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) filter: &'a Filter,
    pub(crate) history: &'a Arc<History>,
    pub(crate) topics: &'a Topics,
    /// When it is read.
    pub(crate) now: Instant,
}

/// One subscription's replay. It holds no records between two chunks, only what it waits for.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// What Kafka was asked, by partition: one question at a time.
    pub(crate) asked: HashMap<u64, Asked>,
    /// Partitions whose log confirmed the position, with the number of cuts at that time.
    pub(crate) confirmed: HashMap<u64, u32>,
    /// Positions that the leader confirmed after history had brought what a later leader wrote there.
    pub(crate) confirmed_rises: HashMap<u64, Position>,
    /// How many partitions had something for the last chunk: the others wait for Kafka.
    fruitful: usize,
    /// What is packed could not be opened for want of room.
    crowded: bool,
    /// Since when nothing moved, for want of a partition's records.
    stalled: Option<Instant>,
    /// Its part of those who share the room for what is read, or opened.
    reader: Reader,
    /// Something came from Kafka rather than from the tail.
    used_history: bool,
}

/// A record that a replay has come to.
pub(crate) struct Replayed<'a> {
    /// The positions after it, of which only its own partition's has moved since the record before.
    pub(crate) vector: &'a Vector,
    /// Which of the vector's parts that is in.
    pub(crate) part: usize,
    pub(crate) partition: &'a Partition,
    pub(crate) record: RecordRef<'a>,
}

/// Takes the records of a chunk; `false` ends the chunk after the record.
pub(crate) type Emit<'a> = dyn FnMut(Replayed<'_>) -> bool + 'a;

/// What a chunk came to.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// Some frames were emitted, or positions moved.
    Moved,
    /// History must come first.
    Waiting,
    /// A gap was found; it is to be announced before anything else.
    Gap(Pending),
    /// Every position has reached the target, or passed it, and is confirmed.
    Done,
}

impl Replay {
    /// Makes one chunk: emits records through `emit` until it says stop, and moves `vector` along. All partitions together
    /// look about `look_ahead` bytes ahead.
    pub(crate) fn chunk(
        &mut self,
        context: &Context<'_>,
        vector: &mut Vector,
        target: &Vector,
        look_ahead: usize,
        emit: &mut Emit<'_>,
    ) -> Chunk {
        self.forget_others(context.topics);
        let mut lanes = Vec::new();
        let mut pending = false;
        for (topic, partitions) in context.topics {
            let (Some(part), Some(goal)) =
                (vector.part_of(topic.fingerprint()), target.part_of(topic.fingerprint()))
            else {
                debug_assert!(false, "both have the shape that the topics are of");
                continue;
            };
            for partition in partitions {
                let index = partition.index() as usize;
                let position = vector.parts[part].positions[index];
                if !position.is_known() {
                    continue;
                }
                // Counted before the question: a cut while it is answered is one that it says nothing of.
                let cuts = partition.lineage().cuts();
                match self.confirm(context, partition, position) {
                    Confirmation::Gap(gap) => return Chunk::Gap(gap),
                    Confirmation::Pending => pending = true,
                    Confirmation::Confirmed => {
                        let Some(&to) = target.parts[goal].positions.get(index) else { continue };
                        if to.is_known() && position.offset < to.offset {
                            lanes.push(Lane::new(part, index, partition.clone(), cuts, position, to));
                        }
                    }
                }
            }
        }
        if lanes.is_empty() {
            return if pending { Chunk::Waiting } else { Chunk::Done };
        }
        self.fill_and_merge(context, vector, lanes, look_ahead, emit)
    }

    /// Whether anything came from Kafka rather than from memory.
    pub(crate) fn used_history(&self) -> bool {
        self.used_history
    }

    /// Reads of partitions that have gone meanwhile are not waited for.
    fn forget_others(&mut self, topics: &Topics) {
        if !self.asked.is_empty() {
            let is_there = |key: u64| topics.iter().flat_map(|(_, all)| all).any(|p| p.key() == key);
            self.asked.retain(|key, _| is_there(*key));
        }
    }

    fn fill_and_merge(
        &mut self,
        context: &Context<'_>,
        vector: &mut Vector,
        mut lanes: Vec<Lane>,
        look_ahead: usize,
        emit: &mut Emit<'_>,
    ) -> Chunk {
        let bytes = look_ahead / self.fruitful.clamp(1, lanes.len());
        for lane in &mut lanes {
            if let Some(gap) = self.fill(context, lane, bytes) {
                return Chunk::Gap(gap);
            }
        }
        if let Some(gap) = self.open_some(context, &mut lanes, bytes) {
            return Chunk::Gap(gap);
        }
        self.fruitful = lanes.iter().filter(|lane| !lane.found.is_empty()).count();
        let overtake = self.stalled.is_some_and(|since| context.now.duration_since(since) >= OVERTAKE);
        let mut moved = merge(vector, &mut lanes, overtake, emit);
        for lane in &lanes {
            let position = &mut vector.parts[lane.part].positions[lane.index];
            if lane.found.is_empty() && lane.scanned.offset > position.offset {
                *position = lane.scanned;
                moved = true;
            }
        }
        if moved {
            self.stalled = None;
            return Chunk::Moved;
        }
        self.stalled.get_or_insert(context.now);
        // A place may be free by now, since scans also end by time.
        context.history.dispatch();
        Chunk::Waiting
    }

    /// Looks for matching records from the lane's position on, in memory, then in what history has brought.
    fn fill(&mut self, context: &Context<'_>, lane: &mut Lane, max_bytes: usize) -> Option<Pending> {
        let mut bytes = 0;
        for _ in 0..LANE_SEGMENTS {
            if lane.scanned.offset >= lane.to.offset || lane.found.len() >= LANE_RECORDS || bytes >= max_bytes
            {
                break;
            }
            let (held, is_tail) = match lane.partition.find(lane.scanned.offset) {
                Found::Held(held) => (held, true),
                Found::AtEnd => break,
                Found::Before => match context.history.find(&lane.partition, lane.scanned.offset) {
                    Some(held) => {
                        self.enter_history(context);
                        (held, false)
                    }
                    // First what was found goes out: to look further would push out what it was found in.
                    None if !lane.found.is_empty() => break,
                    None => return self.fetch(context, lane),
                },
            };
            // After the find: a cut is counted before the log is any other.
            if lane.was_cut() {
                break;
            }
            // Where history has told of a later leader than memory knows, all that is here may be of a log that is cut.
            if lane.partition.doubt(lane.scanned).is_some() {
                break;
            }
            match (context.history.opened(&held), held) {
                (Some(segment), held) => {
                    if !is_tail || matches!(held, Held::Packed(_)) {
                        lane.open = segment.size();
                    }
                    match self.confirm_rise(context, lane, &segment, is_tail) {
                        Confirmation::Confirmed => lane.scan(context, &segment, max_bytes, &mut bytes),
                        Confirmation::Pending => return None,
                        Confirmation::Gap(gap) => return Some(gap),
                    }
                }
                (None, Held::Packed(packed)) if lane.found.is_empty() => {
                    lane.packed = Some((packed, is_tail));
                    return None;
                }
                (None, _) => break,
            }
        }
        self.asked.remove(&lane.partition.key());
        None
    }

    fn enter_history(&mut self, context: &Context<'_>) {
        self.used_history = true;
        context.history.readers().looks(&mut self.reader);
    }

    /// Opens what is packed, the earliest first, as far as a reader's share of the room goes. Other partitions come when these
    /// have been read: a segment that is opened should not have to go before it has been read.
    fn open_some(&mut self, context: &Context<'_>, lanes: &mut [Lane], max_bytes: usize) -> Option<Pending> {
        self.crowded = false;
        let mut open: usize = lanes.iter().map(|lane| lane.open).sum();
        let mut closed: Vec<_> =
            lanes.iter_mut().filter_map(|lane| Some((lane.packed.take()?, lane))).collect();
        if closed.is_empty() {
            return None;
        }
        context.history.readers().looks(&mut self.reader);
        closed.sort_by_key(|((packed, _), _)| packed.time_span());
        for ((packed, is_tail), lane) in closed {
            let fits = open == 0 || open + packed.opened_size() <= context.history.share();
            match fits.then(|| context.history.open(&lane.partition, &packed)) {
                Some(Some(segment)) => {
                    open += segment.size();
                    match self.confirm_rise(context, lane, &segment, is_tail) {
                        Confirmation::Confirmed => lane.scan(context, &segment, max_bytes, &mut 0),
                        Confirmation::Pending => continue,
                        Confirmation::Gap(gap) => return Some(gap),
                    }
                }
                Some(None) => (lane.must_wait, self.crowded) = (true, true),
                None => lane.must_wait = true,
            }
            self.asked.remove(&lane.partition.key());
        }
        None
    }

    /// Asks for history, or sees what became of what was asked for.
    fn fetch(&mut self, context: &Context<'_>, lane: &mut Lane) -> Option<Pending> {
        self.enter_history(context);
        let now = context.now;
        let key = lane.partition.key();
        let question = Question::From(lane.scanned.offset);
        match self.answer(&lane.partition, question, now) {
            Answer::Failed(error) => {
                if lane.scanned.epoch >= 0 && is_past_end(lane.scanned, &error) {
                    // The leader is asked by the epoch where the log was cut.
                    self.confirmed.remove(&key);
                    self.retry_later(key, now);
                    return None;
                }
                let gap = gap_of(&lane.partition, lane.scanned, &error);
                if let Some(gap) = gap {
                    self.asked.remove(&key);
                    return Some(gap);
                }
                self.retry_later(key, now);
            }
            Answer::NotAsked | Answer::Good => {
                let until = match lane.partition.oldest() {
                    oldest if oldest > lane.scanned.offset => oldest,
                    _ => u64::MAX,
                };
                let size = context.history.read_size();
                let cuts = lane.partition.lineage().cuts();
                let from = question.read_from();
                let read = context.history.request(context.tenant, &lane.partition, from, until, size);
                self.note_asked(&lane.partition, question, read, cuts);
            }
            Answer::Running => {}
        }
        // Others are read first: what they bring need not wait for this one.
        lane.must_wait = self.asked.get(&key).is_some_and(|asked| !asked.read.has_begun());
        None
    }

    /// Wakes `waker` when any of the reads that are waited for ends; false where one has.
    pub(crate) fn wake_when_read(&self, waker: &Waker) -> bool {
        let mut reads = self.asked.values().filter(|asked| asked.retry_at.is_none());
        // After the first that has ended the others do not matter: there is another look, and it asks again.
        reads.all(|asked| asked.read.wake_when_done(waker))
    }

    /// The reads that are waited for, and when to look again even if none of them ends.
    pub(crate) fn awaited(&self, now: Instant) -> (Vec<Waiter>, Instant) {
        let reads = self.asked.values().filter(|asked| !asked.read.is_done());
        let retries = self.asked.values().filter_map(|asked| asked.retry_at);
        let overtake = self.stalled.map(|since| since + OVERTAKE).filter(|at| *at > now);
        let room = self.crowded.then(|| now + ROOM);
        let soon = retries.chain(overtake).chain(room);
        let latest = now + RETRY;
        (reads.map(|asked| asked.read.clone()).collect(), soon.min().unwrap_or(latest).min(latest))
    }
}

/// Emits the matches of all lanes by timestamp, as long as no lane that may have an earlier one lacks matches
/// (or those that do are overtaken).
fn merge(vector: &mut Vector, lanes: &mut [Lane], overtake: bool, emit: &mut Emit<'_>) -> bool {
    let mut moved = false;
    while overtake || !lanes.iter().any(|lane| lane.found.is_empty() && lane.is_open() && !lane.must_wait) {
        let earliest = lanes
            .iter_mut()
            .filter(|lane| !lane.found.is_empty())
            .min_by_key(|lane| lane.found.front().map(|found| found.timestamp));
        let Some(lane) = earliest else { break };
        let Some(found) = lane.found.pop_front() else { break };
        let record = found.segment.record(found.index);
        let position = Position { offset: record.offset + 1, epoch: record.epoch };
        let before = std::mem::replace(&mut vector.parts[lane.part].positions[lane.index], position);
        debug_assert!(before.is_before(position), "{before:?} would go back to {position:?}");
        moved = true;
        let next = Replayed { vector, part: lane.part, partition: &lane.partition, record };
        if !emit(next) {
            break;
        }
    }
    moved
}
