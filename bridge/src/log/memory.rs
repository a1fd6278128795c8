//! One budget in bytes for everything that grows with traffic.

use std::sync::Arc;

use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::log::segment::{Room, Segment, Spare};

/// Shares of the budget, in eighths. Fixed ones, so that neither history nor frames ever push out the tail. Only what the tail
/// and frames do not use of theirs is lent to packed history, until they want it.
const TAIL_EIGHTHS: usize = 6;
const HISTORY_EIGHTHS: usize = 1;
const RINGS_EIGHTHS: usize = 1;

/// Bytes of one segment of the tail: small enough to be evicted one by one, large enough to be few.
const MAX_SEGMENT: usize = 1024 * 1024;
const MIN_SEGMENT: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    tail_used: AtomicUsize,
    /// Bytes in all rings, which count them.
    rings_used: Arc<AtomicUsize>,
    births: AtomicU64,
    /// The memory of the segment that was evicted last, beside the budget: the next one that is begun takes it.
    spare: Mutex<Spare>,
    /// Held by whoever evicts: one is enough.
    pub(crate) evicting: Mutex<()>,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Budget {
        Budget {
            total,
            tail_used: AtomicUsize::new(0),
            rings_used: Arc::default(),
            births: AtomicU64::new(0),
            spare: Mutex::default(),
            evicting: Mutex::new(()),
        }
    }

    pub(crate) fn history(&self) -> usize {
        self.total / 8 * HISTORY_EIGHTHS
    }

    /// Bytes of frames for all views together.
    pub(crate) fn rings(&self) -> usize {
        self.total / 8 * RINGS_EIGHTHS
    }

    /// Bytes of a segment where so many partitions share the tail.
    pub(crate) fn segment(&self, partitions: usize) -> usize {
        (self.tail() / (8 * partitions.max(1))).clamp(MIN_SEGMENT, MAX_SEGMENT)
    }

    fn tail(&self) -> usize {
        self.total / 8 * TAIL_EIGHTHS
    }

    pub(crate) fn tail_used(&self) -> usize {
        self.tail_used.load(Ordering::Relaxed)
    }

    pub(crate) fn rings_used(&self) -> &Arc<AtomicUsize> {
        &self.rings_used
    }

    /// What the tail and the rings do not use of their shares.
    pub(crate) fn spare_room(&self) -> usize {
        let rings = self.rings().saturating_sub(self.rings_used.load(Ordering::Relaxed));
        self.tail().saturating_sub(self.tail_used()) + rings
    }

    pub(crate) fn is_over(&self) -> bool {
        self.tail_used() > self.tail()
    }

    /// Notes that the tail grew, or shrank, by so many bytes.
    pub(crate) fn charge(&self, bytes: isize) {
        match usize::try_from(bytes) {
            Ok(more) => self.tail_used.fetch_add(more, Ordering::Relaxed),
            Err(_) => self.tail_used.fetch_sub(bytes.unsigned_abs(), Ordering::Relaxed),
        };
    }

    /// The next segment's place in the order of all segments, and memory for it if there is some that fits.
    pub(crate) fn next_segment(&self, room: Room) -> (u64, Spare) {
        let mut spare = self.spare.lock();
        let spare = if spare.fits(room) { std::mem::take(&mut *spare) } else { Spare::default() };
        (self.births.fetch_add(1, Ordering::Relaxed), spare)
    }

    /// Keeps the memory of a segment that was evicted, unless a reader still has it.
    pub(crate) fn evicted(&self, segment: Arc<Segment>) {
        if let Some(segment) = Arc::into_inner(segment) {
            let before = std::mem::replace(&mut *self.spare.lock(), segment.into_spare());
            // Freed without the lock.
            drop(before);
        }
    }
}
