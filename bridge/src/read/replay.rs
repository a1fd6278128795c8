//! The replay of a subscription: per partition exactly the matching records between its own positions U and a target V,
//! in chunks that are merged by timestamp as far as that costs no waiting.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::base::metrics;
use crate::history::readers::Reader;
use crate::history::source::HistoryError;
use crate::history::{History, Job};
use crate::log::packed::{Held, Packed};
use crate::log::partition::Partition;
use crate::log::partition_log::Found;
use crate::log::segment::Segment;
use crate::log::topic::Topics;
use crate::position::gap::{Gap, GapCode};
use crate::position::{Position, Vector};
use crate::read::reconcile::{Change, Pending};
use crate::record::RecordRef;
use crate::record::filter::Filter;
use crate::record::tenant::TenantId;

/// Records and segments that one partition contributes to a chunk at the most: a chunk is made without a pause.
const LANE_RECORDS: usize = 256;
const LANE_SEGMENTS: usize = 8;
/// A partition that is not there within this time is overtaken by the others.
const OVERTAKE: Duration = Duration::from_millis(100);
/// What the reading of one record, to confirm a position, is expected to bring.
const CONFIRM_BYTES: usize = 1024;
/// The pause before Kafka is asked again for what it could not give.
const RETRY: Duration = Duration::from_millis(500);
/// The pause before another look for room in which to open what is packed.
const ROOM: Duration = Duration::from_millis(10);

/// What the reading of history is about: whose, and through what.
pub(crate) struct Context<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) filter: &'a Filter,
    pub(crate) history: &'a Arc<History>,
    pub(crate) topics: &'a Topics,
}

/// One subscription's replay. It holds no records between two chunks, only what it waits for.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Reads of history that this replay waits for, by partition.
    waiting: HashMap<u64, Waiting>,
    /// Partitions whose log confirmed the position, with the number of truncations at that time.
    confirmed: HashMap<u64, u32>,
    /// Positions that the leader confirmed after history had brought what a later leader wrote there.
    followed: HashMap<u64, Position>,
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

#[derive(Debug)]
struct Waiting {
    job: Arc<Job>,
    /// The partition's number of truncations when it was asked: what was said of the log before is void.
    truncations: u32,
    retry_at: Option<Instant>,
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

/// A partition between its position and the target.
struct Lane {
    part: usize,
    index: usize,
    partition: Arc<Partition>,
    /// How often its log had been cut back when the position was confirmed.
    truncations: u32,
    found: VecDeque<Match>,
    /// Everything below was looked at.
    scanned: Position,
    to: Position,
    /// Others are read from history first.
    must_wait: bool,
    /// What comes next and is to be opened first, and whether it is the tail's.
    packed: Option<(Arc<Packed>, bool)>,
    /// Bytes of the segment of history that it reads.
    open: usize,
}

struct Match {
    segment: Arc<Segment>,
    index: u32,
    timestamp: i64,
}

/// What the log says of a position.
enum Confirmation {
    Confirmed,
    Pending,
    Gap(Pending),
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
                continue;
            };
            for partition in partitions {
                let index = partition.index() as usize;
                let position = vector.parts[part].positions[index];
                if !position.is_known() {
                    continue;
                }
                // Counted before the question: a cut while it is answered is one that it says nothing of.
                let truncations = partition.truncations();
                match self.confirm(context, partition, position) {
                    Confirmation::Gap(gap) => return Chunk::Gap(gap),
                    Confirmation::Pending => pending = true,
                    Confirmation::Confirmed => {
                        let Some(&to) = target.parts[goal].positions.get(index) else { continue };
                        if to.is_known() && position.offset < to.offset {
                            lanes.push(Lane::new(part, index, partition.clone(), truncations, position, to));
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
        if !self.waiting.is_empty() {
            let is_there = |key: u64| topics.iter().flat_map(|(_, all)| all).any(|p| p.key() == key);
            self.waiting.retain(|key, _| is_there(*key));
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
        let overtake = self.stalled.is_some_and(|since| since.elapsed() >= OVERTAKE);
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
        self.stalled.get_or_insert_with(Instant::now);
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
        self.waiting.remove(&lane.partition.key());
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
            self.waiting.remove(&lane.partition.key());
        }
        None
    }

    /// Asks for history, or sees what became of what was asked for.
    fn fetch(&mut self, context: &Context<'_>, lane: &mut Lane) -> Option<Pending> {
        self.enter_history(context);
        let now = Instant::now();
        let key = lane.partition.key();
        // The epoch was confirmed when the replay began, and is again where another leader's begins.
        let from = Position { offset: lane.scanned.offset, epoch: -1 };
        match self.poll(&lane.partition, from, now) {
            Polled::Failed(error) => {
                if lane.scanned.epoch >= 0 && is_past_end(lane.scanned, &error) {
                    // The leader is asked by the epoch where the log was cut.
                    self.confirmed.remove(&key);
                    self.retry_later(key, now);
                    return None;
                }
                let gap = gap_of(&lane.partition, lane.scanned, &error);
                if let Some(gap) = gap {
                    self.waiting.remove(&key);
                    return Some(gap);
                }
                self.retry_later(key, now);
            }
            Polled::Nothing | Polled::Ended => {
                let until = match lane.partition.oldest() {
                    oldest if oldest > lane.scanned.offset => oldest,
                    _ => u64::MAX,
                };
                let size = context.history.read_size();
                let truncations = lane.partition.truncations();
                let job = context.history.request(context.tenant, &lane.partition, from, until, size);
                self.waiting.insert(key, Waiting { job, truncations, retry_at: None });
            }
            Polled::Running => {}
        }
        // Others are read first: what they bring need not wait for this one.
        lane.must_wait = self.waiting.get(&key).is_some_and(|waiting| !waiting.job.has_begun());
        None
    }

    /// Whether the log holds the records that the position speaks of: its epoch in memory says so, or the broker (KIP-320).
    fn confirm(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        position: Position,
    ) -> Confirmation {
        let key = partition.key();
        let truncations = partition.truncations();
        if let Some(question) = partition.doubt(position)
            && !self.settle_doubt(context, partition, position, question)
        {
            return Confirmation::Pending;
        }
        if self.confirmed.get(&key) == Some(&truncations) {
            return Confirmation::Confirmed;
        }
        if partition.confirms(position) {
            self.confirmed.insert(key, truncations);
            return Confirmation::Confirmed;
        }
        let confirmation = self.ask_leader(context, partition, position, truncations);
        if let Confirmation::Confirmed = confirmation {
            partition.note_confirmed(position, truncations);
            self.confirmed.insert(key, truncations);
        }
        confirmation
    }

    /// Where history goes on with what a later leader wrote: whether that leader's log has what lies below the lane's position.
    /// Asked after it was read, since the log may have been cut in between, further back than memory tells of. The tail's own
    /// records follow each other, or a cut was counted.
    fn confirm_rise(
        &mut self,
        context: &Context<'_>,
        lane: &Lane,
        segment: &Segment,
        is_tail: bool,
    ) -> Confirmation {
        let (key, below) = (lane.partition.key(), lane.scanned);
        let rises = below.epoch >= 0 && segment.epoch_from(below.offset) > below.epoch;
        if is_tail || !rises || self.followed.get(&key) == Some(&below) {
            return Confirmation::Confirmed;
        }
        if !lane.found.is_empty() {
            // First what was found goes out.
            return Confirmation::Pending;
        }
        let confirmation = self.ask_leader(context, &lane.partition, below, lane.truncations);
        if let Confirmation::Confirmed = confirmation {
            self.followed.insert(key, below);
        }
        confirmation
    }

    /// Asks the leader for the position, or sees what it has answered.
    fn ask_leader(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        position: Position,
        truncations: u32,
    ) -> Confirmation {
        let (key, now) = (partition.key(), Instant::now());
        match self.poll(partition, position, now) {
            Polled::Running => {}
            Polled::Ended => return Confirmation::Confirmed,
            Polled::Failed(error) => match gap_of(partition, position, &error) {
                Some(gap) => {
                    self.waiting.remove(&key);
                    return Confirmation::Gap(gap);
                }
                None => self.retry_later(key, now),
            },
            Polled::Nothing => self.ask(context, partition, position, truncations),
        }
        Confirmation::Pending
    }

    /// The position is of a later leader's log than what memory would go on with: whether the leader confirms memory. Where
    /// it does not, the tail notices the cut within moments, and nothing is given until then.
    fn settle_doubt(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        position: Position,
        question: Position,
    ) -> bool {
        let truncations = partition.truncations();
        let now = Instant::now();
        match self.poll(partition, question, now) {
            Polled::Running => {}
            Polled::Failed(_) => self.retry_later(partition.key(), now),
            Polled::Ended => {
                partition.trust(position.epoch, truncations);
                return true;
            }
            Polled::Nothing => self.ask(context, partition, question, truncations),
        }
        false
    }

    fn ask(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        position: Position,
        truncations: u32,
    ) {
        let (until, size) = (position.offset + 1, CONFIRM_BYTES);
        let job = context.history.request(context.tenant, partition, position, until, size);
        self.waiting.insert(partition.key(), Waiting { job, truncations, retry_at: None });
    }

    /// Looks at what is waited for. What has ended is forgotten: its segment is found now, or asked for again.
    fn poll(&mut self, partition: &Partition, from: Position, now: Instant) -> Polled {
        let key = partition.key();
        let Some(waiting) = self.waiting.get(&key) else { return Polled::Nothing };
        if !waiting.job.is_from(from) || waiting.truncations != partition.truncations() {
            self.waiting.remove(&key);
            return Polled::Nothing;
        }
        if let Some(at) = waiting.retry_at {
            if now < at {
                return Polled::Running;
            }
            self.waiting.remove(&key);
            return Polled::Nothing;
        }
        if !waiting.job.is_done() {
            return Polled::Running;
        }
        match waiting.job.error() {
            Some(error) => Polled::Failed(error),
            None => {
                self.waiting.remove(&key);
                Polled::Ended
            }
        }
    }

    fn retry_later(&mut self, key: u64, now: Instant) {
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.retry_at = Some(now + RETRY);
        }
    }

    /// Wakes `waker` when any of the reads that are waited for ends; false where one has.
    pub(crate) fn wake_when_read(&self, waker: &Waker) -> bool {
        let mut reads = self.waiting.values().filter(|waiting| waiting.retry_at.is_none());
        // After the first that has ended the others do not matter: there is another look, and it asks again.
        reads.all(|waiting| waiting.job.wake_when_done(waker))
    }

    /// The reads that are waited for, and when to look again even if none of them ends.
    pub(crate) fn awaited(&self) -> (Vec<Arc<Job>>, Instant) {
        let jobs = self.waiting.values().filter(|waiting| !waiting.job.is_done());
        let retries = self.waiting.values().filter_map(|waiting| waiting.retry_at);
        let overtake = self.stalled.map(|since| since + OVERTAKE).filter(|at| *at > Instant::now());
        let room = self.crowded.then(|| Instant::now() + ROOM);
        let soon = retries.chain(overtake).chain(room);
        let latest = Instant::now() + RETRY;
        (jobs.map(|waiting| waiting.job.clone()).collect(), soon.min().unwrap_or(latest).min(latest))
    }
}

/// What became of a read.
enum Polled {
    Nothing,
    Running,
    Ended,
    Failed(HistoryError),
}

impl Lane {
    fn new(
        part: usize,
        index: usize,
        partition: Arc<Partition>,
        truncations: u32,
        from: Position,
        to: Position,
    ) -> Lane {
        Lane {
            part,
            index,
            partition,
            truncations,
            found: VecDeque::new(),
            scanned: from,
            to,
            must_wait: false,
            packed: None,
            open: 0,
        }
    }

    /// Whether the log was cut back since the position was confirmed: what is found now may follow something else.
    fn was_cut(&self) -> bool {
        self.partition.truncations() != self.truncations
    }

    /// Collects the matches of one segment, up to the target and to what one chunk may hold.
    fn scan(&mut self, context: &Context<'_>, segment: &Arc<Segment>, max_bytes: usize, bytes: &mut usize) {
        let (mut read, before) = (0, self.scanned);
        for &index in segment.of_tenant(context.tenant, self.scanned.offset) {
            let record = segment.record(index);
            if record.offset >= self.to.offset {
                break;
            }
            read += 1;
            if !context.filter.matches(&record) {
                continue;
            }
            *bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
            self.found.push_back(Match { segment: segment.clone(), index, timestamp: record.timestamp });
            if self.found.len() >= LANE_RECORDS || *bytes >= max_bytes {
                self.scanned = Position { offset: record.offset + 1, epoch: record.epoch };
                metrics::count_replay_records(read);
                return;
            }
        }
        metrics::count_replay_records(read);
        let end = segment.end();
        self.scanned = if end.offset >= self.to.offset {
            // The target's epoch may be later, right after a cut, but not that of a log before.
            Position { epoch: self.to.epoch.max(segment.epoch_below(self.to.offset)), ..self.to }
        } else {
            end
        };
        // A stretch without records tells no epoch: that of the last record before it stands.
        self.scanned.epoch = self.scanned.epoch.max(before.epoch);
    }

    /// Whether there may be more matches than those that were found.
    fn is_open(&self) -> bool {
        self.scanned.offset < self.to.offset
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
        vector.parts[lane.part].positions[lane.index] =
            Position { offset: record.offset + 1, epoch: record.epoch };
        moved = true;
        let next = Replayed { vector, part: lane.part, partition: &lane.partition, record };
        if !emit(next) {
            break;
        }
    }
    moved
}

/// Whether the log ends before the position.
fn is_past_end(position: Position, error: &HistoryError) -> bool {
    matches!(*error, HistoryError::OutOfRange { end, .. } if position.offset > end)
}

/// The gap that an error of Kafka's means for a position; `None`: a later try may succeed.
fn gap_of(partition: &Partition, position: Position, error: &HistoryError) -> Option<Pending> {
    let (code, to) = match *error {
        HistoryError::OutOfRange { start, .. } if position.offset < start => {
            partition.set_log_start(start);
            (GapCode::Retention, Position { offset: start, epoch: -1 })
        }
        HistoryError::OutOfRange { end, .. } if position.offset > end => {
            (GapCode::Truncated, Position { offset: end, epoch: -1 })
        }
        HistoryError::Truncated { end, epoch } => (GapCode::Truncated, Position { offset: end, epoch }),
        _ => return None,
    };
    let gap = Gap::of_partition(code, partition.topic_name(), partition.index(), position.offset, to.offset);
    let change = Change::Move { topic: partition.fingerprint(), partition: partition.index(), to };
    Some(Pending { gap, change })
}
