//! What only Kafka still has: reads that everybody who waits for them shares, bounded in number and fair between tenants.
//!
//! Readers of the same history come at different times, and what is kept of it is small. So partitions are read through one
//! after the other, in *scans* that everybody rides who stands where one begins: whoever comes later rides the next ones, and
//! has its first partitions last. The more readers there are, the fewer scans run at once. What was read is packed, where there
//! is room ([`Cold`]), and opened for those who come later.

pub(crate) mod cache;
pub(crate) mod readers;
pub(crate) mod source;

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::base::sync::atomic::{AtomicBool, Ordering};
use crate::base::sync::{self, Mutex};
use crate::history::cache::Cold;
use crate::history::readers::Readers;
use crate::history::source::{HistoryError, HistoryRead, Source};
use crate::log::packed::{Held, Packed};
use crate::log::partition::Partition;
use crate::log::segment::Segment;
use crate::log::tails::Tails;
use crate::position::Position;
use crate::record::tenant::TenantId;

/// Reads of Kafka at once. More would compete for the same brokers with the tail.
const MAX_RUNNING: usize = 4;
/// A segment stays this long for the readers that asked for it, whatever else is read.
const PIN: Duration = Duration::from_millis(500);
/// A scan whose last read nobody has looked into for so long is over.
const LEASE: Duration = Duration::from_millis(50);
/// A scan goes on for so long before others may have its place.
const SCAN_TURN: Duration = Duration::from_secs(2);
/// Bytes of one read at the most, and at the least.
const MAX_READ: usize = 1024 * 1024;
const MIN_READ: usize = 64 * 1024;
/// Bytes of one read that make it worth its round trip.
const GOOD_READ: usize = 512 * 1024;
/// How much smaller than a segment its packed form may turn out: where there is no room for that, packing is in vain.
const BEST_RATIO: usize = 8;

/// What one read is known by: the partition, the offset, and the epoch that it confirms.
type ReadKey = (u64, u64, i32);

/// A read that somebody waits for.
#[derive(Debug)]
pub(crate) struct Job {
    key: ReadKey,
    read: HistoryRead,
    asked: Instant,
    begun: AtomicBool,
    done: AtomicBool,
    error: Mutex<Option<HistoryError>>,
    waiting: Mutex<Vec<Waker>>,
}

impl Job {
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Whether its turn has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Whether it only asks whether a position is there.
    fn is_question(&self) -> bool {
        self.read.max_bytes < MIN_READ
    }

    pub(crate) fn error(&self) -> Option<HistoryError> {
        self.error.lock().clone()
    }

    /// Waits for the end of the read. Cancel-safe.
    pub(crate) async fn finished(&self) {
        poll_fn(|context| match self.wake_when_done(context.waker()) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
        .await;
    }

    /// Wakes `waker` once at the end of the read; false where that has come already.
    pub(crate) fn wake_when_done(&self, waker: &Waker) -> bool {
        let mut waiting = self.waiting.lock();
        if self.is_done() {
            return false;
        }
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        true
    }

    fn finish(&self, error: Option<HistoryError>) {
        *self.error.lock() = error;
        let mut waiting = self.waiting.lock();
        self.done.store(true, Ordering::Release);
        let woken = std::mem::take(&mut *waiting);
        drop(waiting);
        woken.into_iter().for_each(Waker::wake);
    }
}

pub(crate) struct History {
    source: Arc<dyn Source>,
    tails: Arc<Tails>,
    cold: Cold,
    /// Bytes that segments of history may take that are not packed.
    limit: usize,
    readers: Readers,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    scans: Vec<Scan>,
    /// Jobs that go on with a scan, or are too small to wait.
    next: VecDeque<Arc<Job>>,
    /// Jobs that would begin a scan, by tenant, and the tenants in the order of their turns.
    waiting: HashMap<TenantId, VecDeque<Arc<Job>>>,
    turns: VecDeque<TenantId>,
    /// Jobs that wait or run: one per key, for everybody.
    jobs: HashMap<ReadKey, Arc<Job>>,
    running: usize,
    /// Bytes that the running reads may bring.
    reserved: usize,
    kept: Vec<Kept>,
    size: usize,
    /// Somebody will look again whether reads may begin.
    looks_again: bool,
    /// How often a partition was forgotten: what was read, or opened, before that is neither given nor kept after it.
    forgotten: u64,
}

/// One partition being read through.
struct Scan {
    partition: u64,
    /// Where its next read begins.
    at: u64,
    /// Whether a read of it is under way, or waits to be.
    reads: bool,
    begun: Instant,
    /// When somebody last looked into what it read last: whoever does will ask for more.
    followed: Instant,
}

struct Kept {
    partition: u64,
    segment: Arc<Segment>,
    used: Instant,
    /// The read that brought it: as long as somebody waits for that, it stays until then.
    pin: (Weak<Job>, Instant),
}

impl Kept {
    fn is_pinned(&self, now: Instant) -> bool {
        let (job, until) = &self.pin;
        now < *until && job.strong_count() > 0
    }
}

/// Numbers for the gauges.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HistoryLoad {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    pub(crate) bytes: usize,
}

impl History {
    pub(crate) fn new(source: Arc<dyn Source>, tails: Arc<Tails>) -> Arc<History> {
        let (limit, cold) = (tails.budget.history(), Cold::default());
        Arc::new(History { source, tails, cold, limit, readers: Readers::default(), state: Mutex::default() })
    }

    pub(crate) fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// Those who read history at the moment: each says so whenever it looks.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// The segment of history that covers the offset, if it is still here.
    pub(crate) fn find(&self, partition: &Partition, offset: u64) -> Option<Held> {
        let open = self.state.lock().find(partition.key(), offset, Instant::now());
        open.map(Held::Open).or_else(|| self.cold.find(partition.key(), offset).map(Held::Packed))
    }

    /// The segment, if it is open.
    pub(crate) fn opened(&self, held: &Held) -> Option<Arc<Segment>> {
        let packed = match held {
            Held::Open(segment) => return Some(segment.clone()),
            Held::Packed(packed) => packed,
        };
        let segment = packed.opened()?;
        let mut state = self.state.lock();
        if let Some(kept) = state.kept.iter_mut().find(|kept| Arc::ptr_eq(&kept.segment, &segment)) {
            kept.used = Instant::now();
        }
        Some(segment)
    }

    /// Opens a packed segment, for everybody. `None`: there is no room for it at the moment. Takes a millisecond at the most.
    pub(crate) fn open(&self, partition: &Partition, packed: &Packed) -> Option<Arc<Segment>> {
        let size = packed.opened_size();
        let forgotten = {
            let mut state = self.state.lock();
            if !self.make_room(&mut state, self.open_room(), size) {
                return None;
            }
            state.reserved += size;
            state.forgotten
        };
        let segment = packed.open();
        let mut state = self.state.lock();
        state.reserved -= size;
        let segment = segment?;
        let is_new = !state.kept.iter().any(|kept| Arc::ptr_eq(&kept.segment, &segment));
        if is_new && state.forgotten == forgotten {
            state.keep(partition.key(), segment.clone(), (Weak::new(), Instant::now()));
        }
        Some(segment)
    }

    /// The segment, opened even where there is no room, for one look.
    pub(crate) fn opened_anyway(&self, partition: &Partition, held: &Held) -> Option<Arc<Segment>> {
        match held {
            Held::Open(segment) => Some(segment.clone()),
            Held::Packed(packed) => self.open(partition, packed).or_else(|| packed.open()),
        }
    }

    /// Bytes of what is open that one reader may count on.
    pub(crate) fn share(&self) -> usize {
        self.open_room() / 2 / self.readers.count().max(1)
    }

    /// The tail, or the rings, have grown: what they had lent is given back.
    pub(crate) fn give_way(&self) {
        if self.cold.size() > self.tails.budget.spare_room() {
            self.cold.shrink(self.cold_room());
        }
    }

    /// Bytes that packed segments may take: what the tail and the rings do not use of their shares. History's own share is for
    /// open segments alone: if packed ones took some of it, open ones would be dropped before their readers had them, and read
    /// again.
    fn cold_room(&self) -> usize {
        self.tails.budget.spare_room()
    }

    /// Bytes that segments may take which are not packed, with what reads under way may bring.
    fn open_room(&self) -> usize {
        let lent = self.cold.size().saturating_sub(self.tails.budget.spare_room());
        self.limit.saturating_sub(lent)
    }

    /// Asks for a read from `from` on; somebody else's read of the same serves too.
    pub(crate) fn request(
        self: &Arc<Self>,
        tenant: &TenantId,
        partition: &Partition,
        from: Position,
        until: u64,
        max_bytes: usize,
    ) -> Arc<Job> {
        let key = (partition.key(), from.offset, from.epoch);
        let mut state = self.state.lock();
        if let Some(job) = state.jobs.get(&key) {
            return job.clone();
        }
        let read = HistoryRead {
            topic: partition.topic_name().clone(),
            partition: partition.index(),
            from: from.offset,
            epoch: from.epoch,
            until,
            max_bytes,
        };
        let job = Arc::new(Job {
            key,
            read,
            asked: Instant::now(),
            begun: AtomicBool::new(false),
            done: AtomicBool::new(false),
            error: Mutex::new(None),
            waiting: Mutex::default(),
        });
        state.jobs.insert(key, job.clone());
        state.enqueue(tenant, job.clone());
        drop(state);
        self.dispatch();
        job
    }

    /// About how many bytes to ask for at once.
    pub(crate) fn read_size(&self) -> usize {
        (self.limit / (2 * self.most_scans())).clamp(MIN_READ, MAX_READ)
    }

    /// How many partitions are read at once for a single reader: a few are read through faster than all of them a little.
    fn most_scans(&self) -> usize {
        (self.limit / GOOD_READ).clamp(MAX_RUNNING, 2 * MAX_RUNNING).min(self.limit / MIN_READ).max(1)
    }

    /// How many with the readers that there are.
    fn scans(&self) -> usize {
        (self.most_scans() / self.readers.count().max(1)).max(1)
    }

    /// Bytes of memory that it takes, with what reads under way may bring.
    pub(crate) fn memory(&self) -> usize {
        let state = self.state.lock();
        state.size + state.reserved + self.cold.size()
    }

    pub(crate) fn load(&self) -> HistoryLoad {
        let state = self.state.lock();
        let waiting = state.next.len() + state.waiting.values().map(VecDeque::len).sum::<usize>();
        HistoryLoad { running: state.running, waiting, bytes: state.size + self.cold.size() }
    }

    /// Starts as many reads as there is room for. Called again by whoever waits, and by a tick.
    pub(crate) fn dispatch(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let now = Instant::now();
        self.readers.turn(now);
        state.scans.retain(|scan| scan.reads || now.duration_since(scan.followed) < LEASE);
        let scans = self.scans();
        while state.running < MAX_RUNNING
            && state.has_next(scans)
            && self.make_room(&mut state, self.open_room(), 2 * self.read_size())
        {
            let Some(job) = state.take_next(scans, now) else { break };
            job.begun.store(true, Ordering::Release);
            state.running += 1;
            // For what it brings, and once more for the packing of that.
            state.reserved += 2 * job.read.max_bytes;
            let (history, forgotten) = (self.clone(), state.forgotten);
            sync::spawn(async move {
                let (partition, bytes) = (job.key.0, job.read.max_bytes);
                let result = history.source.read(job.read.clone()).await;
                if let Some(segment) = history.finish(job, result, forgotten) {
                    let history = history.clone();
                    sync::work(move || history.pack(partition, &segment, forgotten)).await;
                }
                history.state.lock().reserved -= bytes;
                history.dispatch();
            });
        }
        if state.running == 0 && state.has_jobs() && !state.looks_again {
            // Scans and pins end by time.
            state.looks_again = true;
            let history = self.clone();
            sync::after(LEASE, move || {
                history.state.lock().looks_again = false;
                history.dispatch();
            });
        }
    }

    /// Gives the segment that was read, if it is to be packed.
    fn finish(
        self: &Arc<Self>,
        job: Arc<Job>,
        result: Result<Segment, HistoryError>,
        forgotten: u64,
    ) -> Option<Arc<Segment>> {
        let mut state = self.state.lock();
        state.running -= 1;
        state.reserved -= job.read.max_bytes;
        state.jobs.remove(&job.key);
        let mut to_pack = None;
        // What was read before a log was cut is not given to anybody.
        let is_void = state.forgotten != forgotten;
        let cut = || HistoryError::Unavailable("the log was cut meanwhile".to_owned());
        let error = match if is_void { Err(cut()) } else { result } {
            Ok(segment) => {
                state.move_scan(&job, Some(&segment));
                let segment = Arc::new(segment);
                if segment.end().offset > segment.base() {
                    let pin = (Arc::downgrade(&job), Instant::now() + PIN);
                    state.keep(job.key.0, segment.clone(), pin);
                    to_pack = Some(segment).filter(|_| !job.is_question());
                }
                None
            }
            Err(error) => {
                state.move_scan(&job, None);
                Some(error)
            }
        };
        drop(state);
        job.finish(error);
        drop(job);
        self.dispatch();
        to_pack
    }

    /// Packs what was read, so that it can stay. Where there is no room for that, the tail's oldest segments are packed too.
    fn pack(&self, partition: u64, segment: &Arc<Segment>, forgotten: u64) {
        if !self.find_room(segment.used() / BEST_RATIO) {
            return;
        }
        let Some(packed) = self.tails.packed(segment) else { return };
        self.find_room(packed.size());
        let state = self.state.lock();
        if state.forgotten == forgotten {
            self.cold.put(partition, packed, self.cold_room());
        }
        drop(state);
        // The tail may have grown meanwhile.
        self.give_way();
    }

    /// Whether so many bytes more can be kept: there is room, something stale may go for it, or the tail can be packed.
    fn find_room(&self, bytes: usize) -> bool {
        let has_room = || self.cold.size() + bytes <= self.cold_room() || self.cold.has_stale();
        while !has_room() {
            if !self.tails.pack_oldest() {
                return false;
            }
        }
        true
    }

    /// Whether so many bytes more fit into `room`, after the segments that were used longest ago have gone. What is larger than
    /// all the room goes in alone.
    fn make_room(&self, state: &mut State, room: usize, bytes: usize) -> bool {
        let now = Instant::now();
        while state.size + state.reserved + bytes > room {
            let unpinned = state.kept.iter().enumerate().filter(|(_, kept)| !kept.is_pinned(now));
            let Some((oldest, _)) = unpinned.min_by_key(|(_, kept)| kept.used) else {
                return state.size + state.reserved == 0;
            };
            let gone = state.kept.swap_remove(oldest);
            state.size -= gone.segment.size();
        }
        true
    }

    /// Forgets the partitions that are not in `known`: their topics were deleted or created again.
    pub(crate) fn retain(&self, known: &HashSet<u64>) {
        let mut state = self.state.lock();
        state.kept.retain(|kept| known.contains(&kept.partition));
        state.size = state.kept.iter().map(|kept| kept.segment.size()).sum();
        self.cold.retain(known);
    }

    /// Forgets what is kept of one partition, and what reads of it that are under way will bring.
    pub(crate) fn forget(&self, partition: &Partition) {
        let mut state = self.state.lock();
        state.kept.retain(|kept| kept.partition != partition.key());
        state.size = state.kept.iter().map(|kept| kept.segment.size()).sum();
        state.forgotten += 1;
        self.cold.forget(partition.key());
    }
}

impl State {
    fn enqueue(&mut self, tenant: &TenantId, job: Arc<Job>) {
        let others_wait = !self.waiting.is_empty();
        let goes_on = |scan: &&mut Scan| !(others_wait && scan.begun.elapsed() >= SCAN_TURN);
        if job.is_question() {
            return self.next.push_back(job);
        }
        if let Some(scan) = self.scan_at(&job).filter(goes_on) {
            scan.reads = true;
            return self.next.push_back(job);
        }
        let queue = self.waiting.entry(tenant.clone()).or_default();
        if queue.is_empty() {
            self.turns.push_back(tenant.clone());
        }
        queue.push_back(job);
    }

    /// The scan whose next read, or the one under way, is the job. A partition may be read through at two places at once.
    fn scan_at(&mut self, job: &Job) -> Option<&mut Scan> {
        let at = (job.key.0, job.read.from);
        self.scans.iter_mut().find(|scan| (scan.partition, scan.at) == at)
    }

    /// The open segment that covers the offset.
    fn find(&mut self, partition: u64, offset: u64, now: Instant) -> Option<Arc<Segment>> {
        let covers = |kept: &&mut Kept| {
            kept.partition == partition && kept.segment.base() <= offset && offset < kept.segment.end().offset
        };
        let kept = self.kept.iter_mut().find(covers)?;
        kept.used = now;
        let segment = kept.segment.clone();
        let brought_it = |scan: &&mut Scan| (scan.partition, scan.at) == (partition, segment.end().offset);
        self.scans.iter_mut().filter(brought_it).for_each(|scan| scan.followed = now);
        Some(segment)
    }

    fn has_jobs(&self) -> bool {
        !self.next.is_empty() || !self.waiting.is_empty()
    }

    fn has_next(&self, scans: usize) -> bool {
        !self.next.is_empty() || (self.scans.len() < scans && !self.waiting.is_empty())
    }

    /// The next job: one that goes on first, else one of the tenant whose turn it is.
    fn take_next(&mut self, scans: usize, now: Instant) -> Option<Arc<Job>> {
        while let Some(job) = self.next.pop_front() {
            if self.is_wanted(&job) {
                return Some(job);
            }
            if let Some(scan) = self.scan_at(&job) {
                scan.reads = false;
            }
        }
        if self.scans.len() >= scans {
            return None;
        }
        let job = self.next_turn(now)?;
        let (partition, at) = (job.key.0, job.read.from);
        self.scans.retain(|scan| scan.partition != partition || scan.reads);
        self.scans.push(Scan { partition, at, reads: true, begun: now, followed: now });
        Some(job)
    }

    /// Whether somebody still waits for the job, which is in no queue any more: else it is forgotten.
    fn is_wanted(&mut self, job: &Arc<Job>) -> bool {
        // The caller has one, the list of jobs another.
        let is_wanted = Arc::strong_count(job) > 2;
        if !is_wanted {
            self.jobs.remove(&job.key);
        }
        is_wanted
    }

    /// Of the tenant whose turn it is, the job that most wait for, or for long; then it is another tenant's turn.
    fn next_turn(&mut self, now: Instant) -> Option<Arc<Job>> {
        while let Some(tenant) = self.turns.pop_front() {
            let queue = self.waiting.get_mut(&tenant)?;
            let weight =
                |job: &Arc<Job>| Arc::strong_count(job) as u64 + now.duration_since(job.asked).as_secs();
            // The first of those that weigh the same.
            let heaviest = queue.iter().enumerate().rev().max_by_key(|(_, job)| weight(job));
            let job = heaviest.map(|(at, _)| at).and_then(|at| queue.remove(at));
            if queue.is_empty() {
                self.waiting.remove(&tenant);
            } else {
                self.turns.push_back(tenant);
            }
            match job {
                Some(job) if self.is_wanted(&job) => return Some(job),
                _ => {}
            }
        }
        None
    }

    /// A read has ended: its scan goes on after the segment, or is over.
    fn move_scan(&mut self, job: &Job, segment: Option<&Segment>) {
        if job.is_question() {
            return;
        }
        let more = segment.filter(|segment| segment.end().offset > segment.base());
        match (more, self.scan_at(job)) {
            (Some(segment), Some(scan)) => {
                (scan.at, scan.reads, scan.followed) = (segment.end().offset, false, Instant::now());
            }
            (None, _) => {
                let at = (job.key.0, job.read.from);
                self.scans.retain(|scan| (scan.partition, scan.at) != at);
            }
            (Some(_), None) => {}
        }
    }

    fn keep(&mut self, partition: u64, segment: Arc<Segment>, pin: (Weak<Job>, Instant)) {
        self.size += segment.size();
        self.kept.push(Kept { partition, segment, used: Instant::now(), pin });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment::SegmentBuilder;

    fn job(from: u64) -> Arc<Job> {
        let read = HistoryRead {
            topic: "a".into(),
            partition: 0,
            from,
            epoch: -1,
            until: u64::MAX,
            max_bytes: MAX_READ,
        };
        Arc::new(Job {
            key: (7, from, -1),
            read,
            asked: Instant::now(),
            begun: AtomicBool::new(false),
            done: AtomicBool::new(false),
            error: Mutex::new(None),
            waiting: Mutex::default(),
        })
    }

    /// One that never rested would keep its place for ever, and with many readers there is one place.
    #[test]
    fn two_scans_of_one_partition_both_rest_when_their_reads_have_ended() {
        let (mut state, tenant) = (State::default(), TenantId::new("acme").unwrap());
        let jobs = [job(0), job(500)];
        for job in &jobs {
            state.jobs.insert(job.key, job.clone());
            state.enqueue(&tenant, job.clone());
        }
        let taken: Vec<_> = (0..2).filter_map(|_| state.take_next(2, Instant::now())).collect();
        assert_eq!((taken.len(), state.scans.len()), (2, 2));
        for job in taken.iter().rev() {
            let end = Position { offset: job.read.from + 100, epoch: 0 };
            state.move_scan(job, Some(&SegmentBuilder::new(job.read.from).finish(end)));
        }
        assert!(state.scans.iter().all(|scan| !scan.reads));
        let mut places: Vec<u64> = state.scans.iter().map(|scan| scan.at).collect();
        places.sort_unstable();
        assert_eq!(places, [100, 600]);
    }

    /// Readers far behind would keep its place for it, with nobody to ask for more of it, and nothing would be read.
    #[test]
    fn only_who_reads_what_a_scan_brought_last_keeps_it() {
        let (mut state, begun) = (State::default(), Instant::now());
        for base in [0, 100] {
            let end = Position { offset: base + 100, epoch: 0 };
            let segment = Arc::new(SegmentBuilder::new(base).finish(end));
            state.keep(7, segment, (Weak::new(), begun));
        }
        state.scans.push(Scan { partition: 7, at: 200, reads: false, begun, followed: begun });
        let later = begun + LEASE;
        assert_eq!(state.find(7, 99, later).unwrap().base(), 0);
        assert_eq!(state.scans[0].followed, begun);
        assert_eq!(state.find(7, 100, later).unwrap().base(), 100);
        assert_eq!(state.scans[0].followed, later);
        assert!(state.find(7, 200, later).is_none());
    }
}
