//! Open segments of history: kept for the readers that requested them, and then until other segments need the memory.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::history::job::Job;
use crate::log::memory::{Account, Charge};
use crate::log::segment::Segment;

/// How long a segment is kept for the waiters of its read, whatever else is read.
const PIN: Duration = Duration::from_millis(500);

/// Open segments, of all partitions.
#[derive(Debug, Default)]
pub(crate) struct OpenCache {
    kept: Vec<Kept>,
    account: Account,
    /// Bytes for the segments of running reads, and for those that are being opened.
    reserved: Account,
}

#[derive(Debug)]
struct Kept {
    partition: u64,
    segment: Arc<Segment>,
    used: Instant,
    pin: Option<Pin>,
    _charge: Charge,
}

/// The read that brought a segment: while that has waiters, the segment is kept up to `until`.
#[derive(Debug)]
struct Pin {
    job: Weak<Job>,
    until: Instant,
}

impl Kept {
    fn is_pinned(&self, now: Instant) -> bool {
        let is_awaited = |pin: &Pin| pin.job.upgrade().is_some_and(|job| job.waiters() > 0);
        self.pin.as_ref().is_some_and(|pin| now < pin.until && is_awaited(pin))
    }
}

impl OpenCache {
    /// Bytes of memory that the segments take.
    pub(crate) fn size(&self) -> usize {
        self.account.used()
    }

    /// Bytes of memory that the segments take, including what is reserved.
    pub(crate) fn memory(&self) -> usize {
        self.account.used() + self.reserved.used()
    }

    /// Reserves so many bytes for a segment that is being read or opened.
    pub(crate) fn reserve(&self, bytes: usize) -> Charge {
        self.reserved.charge(bytes)
    }

    /// The segment that covers the offset.
    pub(crate) fn find(&mut self, partition: u64, offset: u64, now: Instant) -> Option<Arc<Segment>> {
        let covers = |kept: &&mut Kept| {
            kept.partition == partition && kept.segment.base() <= offset && offset < kept.segment.end().offset
        };
        let kept = self.kept.iter_mut().find(covers)?;
        kept.used = now;
        Some(kept.segment.clone())
    }

    /// Marks the segment as used, if it is kept here; returns whether it is.
    pub(crate) fn touch(&mut self, segment: &Arc<Segment>, now: Instant) -> bool {
        let kept = self.kept.iter_mut().find(|kept| Arc::ptr_eq(&kept.segment, segment));
        kept.map(|kept| kept.used = now).is_some()
    }

    /// Keeps a segment until others need its memory.
    pub(crate) fn keep(&mut self, partition: u64, segment: Arc<Segment>, now: Instant) {
        self.push(partition, segment, now, None);
    }

    /// Keeps the segment that a read has brought: pinned for a while, as long as the read has waiters.
    pub(crate) fn keep_pinned(&mut self, job: &Arc<Job>, segment: Arc<Segment>, now: Instant) {
        let pin = Pin { job: Arc::downgrade(job), until: now + PIN };
        self.push(job.key.0, segment, now, Some(pin));
    }

    fn push(&mut self, partition: u64, segment: Arc<Segment>, now: Instant, pin: Option<Pin>) {
        let charge = self.account.charge(segment.size());
        self.kept.push(Kept { partition, segment, used: now, pin, _charge: charge });
    }

    /// Evicts the least recently used segments until so many more bytes stay within `limit`; returns whether they do. More
    /// bytes than the whole limit are allowed if nothing else is left.
    pub(crate) fn evict_for(&mut self, bytes: usize, limit: usize, now: Instant) -> bool {
        while self.memory() + bytes > limit {
            let unpinned = self.kept.iter().enumerate().filter(|(_, kept)| !kept.is_pinned(now));
            let Some((oldest, _)) = unpinned.min_by_key(|(_, kept)| kept.used) else {
                return self.memory() == 0;
            };
            self.kept.swap_remove(oldest);
        }
        true
    }

    /// Forgets the segments of partitions for which `stays` is false.
    pub(crate) fn retain(&mut self, stays: impl Fn(u64) -> bool) {
        self.kept.retain(|kept| stays(kept.partition));
    }
}
