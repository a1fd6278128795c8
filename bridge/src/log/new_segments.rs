//! What a new segment of the tail gets: its number in the order of all segments, and the buffers of an evicted one.

use std::sync::Arc;

use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicU64, Ordering};
use crate::log::segment::{Buffers, Capacity, Segment};

/// Numbers the segments of all partitions, in the order in which they were begun.
#[derive(Debug, Default)]
pub(crate) struct NewSegments {
    begun: AtomicU64,
    /// The buffers of the segment that was evicted last, which are not in the budget. The next new segment takes them.
    spare: Mutex<Buffers>,
}

impl NewSegments {
    /// The new segment's number in the order of all segments, and buffers for it, which are reused ones if those fit.
    pub(crate) fn begin(&self, capacity: Capacity) -> (u64, Buffers) {
        let mut spare = self.spare.lock();
        let buffers = if spare.fit(capacity) { std::mem::take(&mut *spare) } else { Buffers::default() };
        (self.begun.fetch_add(1, Ordering::Relaxed), buffers)
    }

    /// Keeps the buffers of an evicted segment, unless a reader still holds the segment.
    pub(crate) fn recycle(&self, segment: Arc<Segment>) {
        if let Some(segment) = Arc::into_inner(segment) {
            let before = std::mem::replace(&mut *self.spare.lock(), segment.into_buffers());
            // Freed after the lock is released.
            drop(before);
        }
    }
}
