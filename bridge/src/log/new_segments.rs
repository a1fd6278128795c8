//! What a segment of the tail begins with: its place in the order of all segments, and the memory of one that was evicted.

use std::sync::Arc;

use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicU64, Ordering};
use crate::log::segment::{Buffers, Capacity, Segment};

/// Segments of all partitions, in the order in which they were begun.
#[derive(Debug, Default)]
pub(crate) struct NewSegments {
    begun: AtomicU64,
    /// The memory of the segment that was evicted last, beside the budget: the next one that is begun takes it.
    spare: Mutex<Buffers>,
}

impl NewSegments {
    /// The next segment's place in the order of all segments, and memory for it if there is some that fits.
    pub(crate) fn begin(&self, capacity: Capacity) -> (u64, Buffers) {
        let mut spare = self.spare.lock();
        let buffers = if spare.fit(capacity) { std::mem::take(&mut *spare) } else { Buffers::default() };
        (self.begun.fetch_add(1, Ordering::Relaxed), buffers)
    }

    /// Keeps the memory of a segment that was evicted, unless a reader still has it.
    pub(crate) fn recycle(&self, segment: Arc<Segment>) {
        if let Some(segment) = Arc::into_inner(segment) {
            let before = std::mem::replace(&mut *self.spare.lock(), segment.into_buffers());
            // Freed without the lock.
            drop(before);
        }
    }
}
