//! The replay of a subscription: per partition exactly the matching records between its own positions U and a target V, in
//! chunks. Within a chunk the partitions are merged by timestamp, as far as that costs no waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::base::meter::Meter;
use crate::history::History;
use crate::history::job::{Asker, Waiter};
use crate::history::readers::Reader;
use crate::history::window::Making;
use crate::live::view_key::{Told, ViewKey};
use crate::log::lineage::Moment;
use crate::log::packed::Held;
use crate::log::partition::Partition;
use crate::log::partition_log::Found;
use crate::log::topic::Topics;
use crate::position::{Position, Vector};
use crate::read::confirm::{Answer, Asked, Confirmation, Question, gap_of, is_past_end};
use crate::read::lane::{LANE_RECORDS, Lane};
use crate::read::pending_gap::Pending;
use crate::read::run::{Kept, Run};
use crate::read::work;
use crate::record::RecordRef;
use crate::record::filter::Filter;
use crate::record::tenant::TenantId;

/// Segments that one partition contributes to a chunk at most: a chunk is made without yielding.
const LANE_SEGMENTS: usize = 8;
/// How long the merge waits for a partition's records before it emits later records of other partitions.
const OVERTAKE: Duration = Duration::from_millis(100);
/// How long to wait after an error before Kafka is asked again.
pub(crate) const RETRY: Duration = Duration::from_millis(500);
/// How long to wait before trying again to open a packed segment for which there was no memory.
const ROOM: Duration = Duration::from_millis(10);

/// What a replay needs to know of its subscription.
pub(crate) struct Context<'a> {
    pub(crate) tenant: &'a TenantId,
    /// The rate that the replays of the tenant share.
    pub(crate) meter: Option<&'a Arc<Meter>>,
    /// What its view has of each record.
    pub(crate) key: &'a ViewKey,
    pub(crate) filter: &'a Filter,
    pub(crate) history: &'a Arc<History>,
    pub(crate) topics: &'a Topics,
    /// The time of the chunk.
    pub(crate) now: Instant,
}

impl Context<'_> {
    /// For whom history is read.
    pub(crate) fn asker(&self) -> Asker<'_> {
        Asker { tenant: self.tenant, meter: self.meter }
    }
}

/// One subscription's replay. Between two chunks it holds no records, only the reads that it waits for.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// The open question to Kafka per partition: one at a time.
    pub(crate) asked: HashMap<u64, Asked>,
    /// The number of the present step, which makes one chunk.
    pub(crate) step: u64,
    /// Partitions whose log confirmed the position, and when.
    pub(crate) confirmed: HashMap<u64, Moment>,
    /// Positions where history continues with records of another leader, and the leader has confirmed that it does.
    pub(crate) confirmed_turns: HashMap<u64, Position>,
    /// Positions that the leader has confirmed anew where history continues with records of an earlier one.
    pub(crate) confirmed_below: HashMap<u64, Position>,
    /// How many partitions had matches for the last chunk: the others wait for Kafka.
    fruitful: usize,
    /// Whether a packed segment could not be opened for lack of memory.
    crowded: bool,
    /// Since when no position has moved because a partition's records were missing.
    stalled: Option<Instant>,
    /// Its registration as one of the readers that share the memory for history.
    reader: Reader,
    /// Whether it has used history, and not the tail alone.
    used_history: bool,
    /// Bytes of records that the last chunk examined.
    examined: usize,
    /// Whether the last chunk looked at segments that had been packed.
    opened: bool,
    /// While only the newest record of each key is delivered: up to where.
    pub(crate) run: Option<Run>,
}

/// What a replay waits for.
#[derive(Debug)]
pub(crate) enum Awaited {
    Read(Waiter),
    Window(Arc<Making>),
}

impl Awaited {
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Awaited::Read(read) => read.is_done(),
            Awaited::Window(made) => made.is_done(),
        }
    }

    /// Wakes `waker` once when it has ended; false if it has ended already.
    pub(crate) fn wake_when_done(&self, waker: &Waker) -> bool {
        match self {
            Awaited::Read(read) => read.wake_when_done(waker),
            Awaited::Window(made) => made.wake_when_done(waker),
        }
    }
}

/// A record that a replay emits.
pub(crate) struct Replayed<'a> {
    /// The positions after it. Since the record before, only those of its own partition have changed.
    pub(crate) vector: &'a Vector,
    /// The index of the record's topic among the vector's parts.
    pub(crate) part: usize,
    pub(crate) partition: &'a Partition,
    pub(crate) record: RecordRef<'a>,
    pub(crate) told: Told,
    /// The run that it belongs to.
    pub(crate) run: Option<&'a Run>,
}

/// Receives the records of a chunk; `false` ends the chunk after the record.
pub(crate) type Emit<'a> = dyn FnMut(Replayed<'_>) -> bool + 'a;

/// The result of a chunk.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// Some frames were emitted, or positions moved.
    Moved,
    /// History has to be read first.
    Waiting,
    /// A gap was found, which is to be announced before anything else.
    Gap(Pending),
    /// Every position has reached or passed the target, and is confirmed.
    Done,
}

impl Replay {
    /// Makes one chunk: emits records through `emit` until that returns `false`, and advances `vector`. All partitions together
    /// look about `look_ahead` bytes ahead.
    pub(crate) fn chunk(
        &mut self,
        context: &Context<'_>,
        vector: &mut Vector,
        target: &Vector,
        look_ahead: usize,
        emit: &mut Emit<'_>,
    ) -> Chunk {
        self.step += 1;
        (self.examined, self.opened) = (0, false);
        let chunk = self.confirm_and_fill(context, vector, target, look_ahead, emit);
        if !matches!(chunk, Chunk::Gap(_)) {
            // A question that was not asked again is answered otherwise, or of a partition that was removed. Its read would keep memory
            // from the others, and once it has ended, the replay would not wait for them.
            self.asked.retain(|_, asked| asked.step == self.step);
        }
        chunk
    }

    fn confirm_and_fill(
        &mut self,
        context: &Context<'_>,
        vector: &mut Vector,
        target: &Vector,
        look_ahead: usize,
        emit: &mut Emit<'_>,
    ) -> Chunk {
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
                // Counted before the question: the answer says nothing about a truncation that happens meanwhile.
                let cuts = partition.lineage().cuts();
                match self.confirm(context, partition, position) {
                    Confirmation::Gap(gap) => return Chunk::Gap(gap),
                    Confirmation::Pending => pending = true,
                    Confirmation::Confirmed => {
                        let Some(&to) = target.parts[goal].positions.get(index) else { continue };
                        let to = self.run.as_ref().and_then(|run| run.end_of(partition)).unwrap_or(to);
                        if to.is_known() && position.offset < to.offset {
                            let mut lane = Lane::new(part, index, partition.clone(), cuts, position, to);
                            lane.is_indexed = topic.is_indexed();
                            lanes.push(lane);
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

    /// Bytes of records that the last chunk examined.
    pub(crate) fn examined(&self) -> usize {
        self.examined
    }

    /// Whether history was used, and not memory alone.
    pub(crate) fn used_history(&self) -> bool {
        self.used_history
    }

    /// Whether the last chunk looked at segments that had been packed: they are open for others, too, which should have their turn.
    pub(crate) fn has_opened(&self) -> bool {
        self.opened
    }

    fn fill_and_merge(
        &mut self,
        context: &Context<'_>,
        vector: &mut Vector,
        mut lanes: Vec<Lane>,
        look_ahead: usize,
        emit: &mut Emit<'_>,
    ) -> Chunk {
        // With nothing to look ahead for, nothing would ever be found.
        let bytes = (look_ahead / self.fruitful.clamp(1, lanes.len())).max(1);
        let effort = work::of_each(lanes.len());
        for lane in &mut lanes {
            lane.effort = effort;
        }
        let gap = self.look(context, &mut lanes, bytes);
        self.examined = lanes.iter().map(|lane| lane.examined).sum();
        self.opened = lanes.iter().any(|lane| lane.open > 0);
        if let Some(gap) = gap {
            return Chunk::Gap(gap);
        }
        self.fruitful = lanes.iter().filter(|lane| !lane.found.is_empty()).count();
        let overtake = self.stalled.is_some_and(|since| context.now.duration_since(since) >= OVERTAKE);
        let mut moved = merge(vector, &mut lanes, overtake, self.run.as_ref(), emit);
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
        // A scan may be free by now, since scans also end by time.
        context.history.dispatch();
        Chunk::Waiting
    }

    /// Looks for matching records of all lanes.
    fn look(&mut self, context: &Context<'_>, lanes: &mut [Lane], max_bytes: usize) -> Option<Pending> {
        for lane in &mut *lanes {
            if let Some(gap) = self.fill(context, lane, max_bytes) {
                return Some(gap);
            }
        }
        self.open_some(context, lanes, max_bytes)
    }

    /// Looks for matching records from the lane's position on: in memory, then in what was read of history.
    fn fill(&mut self, context: &Context<'_>, lane: &mut Lane, max_bytes: usize) -> Option<Pending> {
        match self.keep(context, lane) {
            Confirmation::Confirmed => {}
            Confirmation::Pending => {
                lane.must_wait = true;
                return None;
            }
            Confirmation::Gap(gap) => return Some(gap),
        }
        let mut bytes = 0;
        for _ in 0..LANE_SEGMENTS {
            let is_full = lane.found.len() >= LANE_RECORDS || bytes >= max_bytes || lane.effort == 0;
            if lane.scanned.offset >= lane.until().offset || is_full {
                break;
            }
            let at = lane.at();
            let (held, is_tail) = match lane.partition.find(at) {
                Found::Held(held) => (held, true),
                Found::AtEnd => break,
                Found::Before => match context.history.find(&lane.partition, at) {
                    Some(held) => {
                        self.enter_history(context);
                        (held, false)
                    }
                    // The matches that were found are emitted first: reading further could evict their segments.
                    None if !lane.found.is_empty() => break,
                    None => return self.fetch(context, lane),
                },
            };
            // Checked after the find: a truncation is counted before the log changes.
            if lane.was_cut() {
                break;
            }
            // If history has shown a later leader than memory knows, all of memory may be of a log that was truncated since.
            if lane.partition.doubt(lane.scanned).is_some() {
                break;
            }
            match (context.history.opened(&held), held) {
                (Some(segment), held) => {
                    if !is_tail || matches!(held, Held::Packed(_)) {
                        lane.open = segment.size();
                    }
                    match self.confirm_segment(context, lane, &segment, is_tail) {
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
        None
    }

    /// Within a run: sees to it that the lane knows which records are the newest of their keys.
    fn keep(&mut self, context: &Context<'_>, lane: &mut Lane) -> Confirmation {
        match self.confirm_bound(context, lane) {
            Confirmation::Confirmed => {}
            other => return other,
        }
        let Some(run) = &mut self.run else { return Confirmation::Confirmed };
        match run.kept(context, lane) {
            Kept::Pending => return Confirmation::Pending,
            Kept::Window(window, from_nothing) => lane.keep(window, from_nothing),
            Kept::All => {}
        }
        // The window may have moved the bound.
        lane.to = run.end_of(&lane.partition).unwrap_or(lane.to);
        Confirmation::Confirmed
    }

    fn enter_history(&mut self, context: &Context<'_>) {
        self.used_history = true;
        context.history.readers().looks(&mut self.reader);
    }

    /// Opens packed segments, the earliest first, as far as a reader's share of the memory allows. Those of other partitions
    /// follow when these have been read: a segment should not be dropped between its opening and its reading.
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
                    match self.confirm_segment(context, lane, &segment, is_tail) {
                        Confirmation::Confirmed => lane.scan(context, &segment, max_bytes, &mut 0),
                        Confirmation::Pending => continue,
                        Confirmation::Gap(gap) => return Some(gap),
                    }
                }
                Some(None) => (lane.must_wait, self.crowded) = (true, true),
                None => lane.must_wait = true,
            }
        }
        None
    }

    /// Requests history, or processes the result of an earlier request.
    fn fetch(&mut self, context: &Context<'_>, lane: &mut Lane) -> Option<Pending> {
        self.enter_history(context);
        let now = context.now;
        let key = lane.partition.key();
        let at = lane.at();
        let question = Question::From(at);
        match self.answer(&lane.partition, question, now) {
            Answer::Failed(error) => {
                if lane.scanned.epoch >= 0 && is_past_end(lane.scanned, &error) {
                    // The position is to be confirmed again: the leader then says, by the epoch, where the log was truncated.
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
                let until = context.history.until(&lane.partition, at);
                let size = context.history.read_size();
                let from = question.read_from();
                let at = lane.partition.moment(from, now);
                let read = context.history.request(context.asker(), &lane.partition, from, until, size);
                self.note_asked(&lane.partition, question, read, at);
            }
            Answer::Running => {}
        }
        // The merge does not wait for a read that has not begun.
        lane.must_wait = self.asked.get(&key).is_some_and(|asked| !asked.read.has_begun());
        None
    }

    /// Wakes `waker` when any of the awaited reads and windows ends; false if one has ended already.
    pub(crate) fn wake_when_read(&self, waker: &Waker) -> bool {
        let mut reads = self.asked.values().filter(|asked| asked.retry_at.is_none());
        let mut windows = self.run.iter().flat_map(Run::awaited);
        // Once one has ended, no waker is needed for the others: the next step registers them again.
        reads.all(|asked| asked.read.wake_when_done(waker)) && windows.all(|made| made.wake_when_done(waker))
    }

    /// What is waited for; some of it may have ended since the last step.
    pub(crate) fn awaited(&self) -> Vec<Awaited> {
        let reads = self.asked.values().filter(|asked| asked.retry_at.is_none());
        let windows = self.run.iter().flat_map(Run::awaited);
        let reads = reads.map(|asked| Awaited::Read(asked.read.clone()));
        reads.chain(windows.map(|made| Awaited::Window(made.clone()))).collect()
    }

    /// When to look again even if no read ends.
    pub(crate) fn look_again_at(&self, now: Instant) -> Instant {
        let retries = self.asked.values().filter_map(|asked| asked.retry_at);
        let overtake = self.stalled.map(|since| since + OVERTAKE).filter(|at| *at > now);
        let room = self.crowded.then(|| now + ROOM);
        let latest = now + RETRY;
        retries.chain(overtake).chain(room).fold(latest, Instant::min)
    }
}

/// Emits the matches of all lanes by timestamp, while every lane that may have an earlier match has some ready (or is
/// overtaken).
fn merge(
    vector: &mut Vector,
    lanes: &mut [Lane],
    overtake: bool,
    run: Option<&Run>,
    emit: &mut Emit<'_>,
) -> bool {
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
        let (part, partition, told) = (lane.part, &*lane.partition, found.told);
        let next = Replayed { vector, part, partition, record, told, run };
        if !emit(next) {
            break;
        }
    }
    moved
}
