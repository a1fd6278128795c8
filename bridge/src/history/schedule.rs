//! Decides which read begins next: partitions are read through one after the other, and tenants take turns. Whether any read may
//! begin now, also for memory, is decided by `History::dispatch`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::history::job::{Job, ReadKey, Waiter};
use crate::history::{MAX_RUNNING, MIN_READ};
use crate::log::segment::Segment;
use crate::record::tenant::TenantId;

/// A scan ends when no reader has found its last segment for this long.
pub(crate) const LEASE: Duration = Duration::from_millis(50);
/// How long a scan may continue while other jobs wait for its place.
const SCAN_TURN: Duration = Duration::from_secs(2);

/// The reads that wait or run, and their scans.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    scans: Vec<Scan>,
    /// Jobs that continue a scan, or are so small that they need none.
    next: VecDeque<Arc<Job>>,
    /// Jobs that would begin a scan, by tenant, and the tenants in the order of their turns.
    waiting: HashMap<TenantId, VecDeque<Arc<Job>>>,
    turns: VecDeque<TenantId>,
    /// Jobs that wait or run: one per key, shared by all its waiters.
    jobs: HashMap<ReadKey, Arc<Job>>,
    running: usize,
}

/// One partition that is being read through.
#[derive(Debug)]
struct Scan {
    partition: u64,
    /// Where its next read begins.
    at: u64,
    /// Whether one of its reads waits or runs.
    reads: bool,
    begun: Instant,
    /// When a reader last found the segment that was read last: such a reader will request the next one.
    followed: Instant,
}

impl Job {
    /// Whether it only asks whether the log holds a position.
    pub(crate) fn is_question(&self) -> bool {
        self.read.max_bytes < MIN_READ
    }

    /// The partition and offset of the scan that it continues or begins.
    fn place(&self) -> (u64, u64) {
        (self.key.0, self.read.from)
    }
}

impl Scan {
    fn place(&self) -> (u64, u64) {
        (self.partition, self.at)
    }
}

impl Schedule {
    /// How many reads run.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// How many reads wait.
    pub(crate) fn waiting(&self) -> usize {
        self.next.len() + self.waiting.values().map(VecDeque::len).sum::<usize>()
    }

    /// The read of this key that waits or runs.
    pub(crate) fn find(&self, key: ReadKey) -> Option<Waiter> {
        self.jobs.get(&key).map(Waiter::new)
    }

    /// Adds a job whose key is new.
    pub(crate) fn add(&mut self, tenant: &TenantId, job: Arc<Job>, now: Instant) -> Waiter {
        let waiter = Waiter::new(&job);
        self.jobs.insert(job.key, job.clone());
        self.enqueue(tenant, job, now);
        waiter
    }

    fn enqueue(&mut self, tenant: &TenantId, job: Arc<Job>, now: Instant) {
        let others_wait = !self.waiting.is_empty();
        let goes_on = |scan: &&mut Scan| !(others_wait && now.duration_since(scan.begun) >= SCAN_TURN);
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

    /// The scan whose next or running read is the job. A partition may have two scans, at different offsets.
    fn scan_at(&mut self, job: &Job) -> Option<&mut Scan> {
        self.scans.iter_mut().find(|scan| scan.place() == job.place())
    }

    /// A reader has found a segment that ends at `end`: the scan whose last segment it is counts as followed.
    pub(crate) fn follow(&mut self, partition: u64, end: u64, now: Instant) {
        let brought_it = |scan: &&mut Scan| scan.place() == (partition, end);
        self.scans.iter_mut().filter(brought_it).for_each(|scan| scan.followed = now);
    }

    /// Ends the scans that no reader follows.
    pub(crate) fn end_unfollowed(&mut self, now: Instant) {
        self.scans.retain(|scan| scan.reads || now.duration_since(scan.followed) < LEASE);
    }

    /// Whether reads wait, and none runs.
    pub(crate) fn is_stuck(&self) -> bool {
        self.running == 0 && !(self.next.is_empty() && self.waiting.is_empty())
    }

    /// Whether a read may begin, with at most so many scans.
    pub(crate) fn has_next(&self, scans: usize) -> bool {
        let has_job = !self.next.is_empty() || (self.scans.len() < scans && !self.waiting.is_empty());
        self.running < MAX_RUNNING && has_job
    }

    /// Begins the next job: one that continues a scan comes first, else one of the tenant whose turn it is.
    pub(crate) fn begin_next(&mut self, scans: usize, now: Instant) -> Option<Arc<Job>> {
        let job = self.take_next(scans, now)?;
        job.begin();
        self.running += 1;
        Some(job)
    }

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
        let (partition, at) = job.place();
        self.scans.retain(|scan| scan.partition != partition || scan.reads);
        self.scans.push(Scan { partition, at, reads: true, begun: now, followed: now });
        Some(job)
    }

    /// Whether the job, which is in no queue any more, still has waiters; if not, the job is forgotten.
    fn is_wanted(&mut self, job: &Job) -> bool {
        let is_wanted = job.waiters() > 0;
        if !is_wanted {
            self.jobs.remove(&job.key);
        }
        is_wanted
    }

    /// Takes the next tenant's job with the most waiters plus seconds of waiting; then it is another tenant's turn.
    fn next_turn(&mut self, now: Instant) -> Option<Arc<Job>> {
        while let Some(tenant) = self.turns.pop_front() {
            let queue = self.waiting.get_mut(&tenant)?;
            let weight = |job: &Job| job.waiters() as u64 + now.duration_since(job.asked).as_secs();
            // The first of equal weight.
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

    /// Ends a read: its scan continues after the segment that was read, or ends if there is none.
    pub(crate) fn end(&mut self, job: &Job, segment: Option<&Segment>, now: Instant) {
        self.running -= 1;
        self.jobs.remove(&job.key);
        if job.is_question() {
            return;
        }
        let more = segment.filter(|segment| segment.end().offset > segment.base());
        match (more, self.scan_at(job)) {
            (Some(segment), Some(scan)) => {
                (scan.at, scan.reads, scan.followed) = (segment.end().offset, false, now);
            }
            (None, _) => self.scans.retain(|scan| scan.place() != job.place()),
            (Some(_), None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::MAX_READ;
    use crate::history::source::HistoryRead;
    use crate::log::segment::SegmentBuilder;
    use crate::position::Position;

    fn job(from: u64, asked: Instant) -> Arc<Job> {
        let read = HistoryRead {
            topic: "a".into(),
            partition: 0,
            from,
            epoch: -1,
            began: Vec::new(),
            until: u64::MAX,
            max_bytes: MAX_READ,
        };
        Job::new((7, from, -1), read, asked, None)
    }

    fn acme() -> TenantId {
        TenantId::new("acme").unwrap()
    }

    /// A scan that was never idle would keep its place for ever, and with many readers there is only one place.
    #[test]
    fn two_scans_of_one_partition_both_rest_when_their_reads_have_ended() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let _waiters = [0, 500].map(|from| schedule.add(&acme(), job(from, now), now));
        let begun: Vec<_> = (0..2).filter_map(|_| schedule.begin_next(2, now)).collect();
        assert_eq!((begun.len(), schedule.scans.len()), (2, 2));
        for job in begun.iter().rev() {
            let end = Position { offset: job.read.from + 100, epoch: 0 };
            schedule.end(job, Some(&SegmentBuilder::new(job.read.from).finish(end)), now);
        }
        assert!(schedule.scans.iter().all(|scan| !scan.reads));
        let mut places: Vec<u64> = schedule.scans.iter().map(|scan| scan.at).collect();
        places.sort_unstable();
        assert_eq!(places, [100, 600]);
    }

    /// If readers far behind kept a scan, no reader would request more of it, and no other scan could begin.
    #[test]
    fn only_who_reads_what_a_scan_brought_last_keeps_it() {
        let (mut schedule, begun) = (Schedule::default(), Instant::now());
        schedule.scans.push(Scan { partition: 7, at: 200, reads: false, begun, followed: begun });
        let later = begun + LEASE;
        schedule.follow(7, 100, later);
        assert_eq!(schedule.scans[0].followed, begun);
        schedule.follow(7, 200, later);
        assert_eq!(schedule.scans[0].followed, later);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_begun() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let gone = schedule.add(&acme(), job(0, now), now);
        let waits = schedule.add(&acme(), job(500, now), now);
        let other = schedule.find((7, 0, -1));
        drop(gone);
        assert_eq!(schedule.jobs[&(7, 0, -1)].waiters(), 1);
        drop(other);
        assert_eq!(schedule.begin_next(2, now).map(|job| job.read.from), Some(500));
        assert!(schedule.begin_next(2, now).is_none() && schedule.find((7, 0, -1)).is_none());
        drop(waits);
    }
}
