//! The tails of all partitions together: they stay within their share, and are packed when history needs memory.

use std::sync::Arc;

use crate::base::lock_order::Rank;
use crate::base::sync::{Mutex, RwLock};
use crate::log::memory::Budget;
use crate::log::new_segments::NewSegments;
use crate::log::packed::{Held, Packed};
use crate::log::partition::Partition;
use crate::log::segment::Segment;

#[derive(Debug)]
pub(crate) struct Tails {
    pub(crate) budget: Budget,
    pub(crate) new_segments: NewSegments,
    /// All partitions, for the search of the oldest segment.
    partitions: RwLock<Arc<[Arc<Partition>]>>,
    /// Held while segments are evicted: one thread at a time is enough.
    evicting: Mutex<(), { Rank::Evicting as u8 }>,
    /// Held while a segment is packed: one at a time.
    packing: Mutex<(), { Rank::Packing as u8 }>,
}

impl Tails {
    pub(crate) fn new(budget: Budget) -> Arc<Tails> {
        Arc::new(Tails {
            budget,
            new_segments: NewSegments::default(),
            partitions: RwLock::new(Arc::from([])),
            evicting: Mutex::new(()),
            packing: Mutex::new(()),
        })
    }

    /// Sets the list of all partitions.
    pub(crate) fn set_partitions(&self, all: Vec<Arc<Partition>>) {
        *self.partitions.write() = all.into();
    }

    /// Bytes of one segment of the tail.
    pub(crate) fn segment_size(&self) -> usize {
        self.budget.segment_size(self.partitions.read().len())
    }

    /// Drops the oldest segments of all partitions until the tail is within its share.
    pub(crate) fn evict(&self) {
        if !self.budget.is_tail_over() {
            return;
        }
        let Some(_only_one) = self.evicting.try_lock() else { return };
        let partitions = self.partitions.read().clone();
        while self.budget.is_tail_over() {
            let born = partitions.iter().filter_map(|p| Some((p.log.read().front_born()?, p)));
            let Some((_, oldest)) = born.min_by_key(|(born, _)| *born) else { return };
            let Some(evicted) = oldest.log.write().evict_front() else { return };
            if let Held::Open(segment) = evicted {
                self.new_segments.recycle(segment);
            }
        }
    }

    /// Packs a segment of history. One segment at a time, since the working memory of several would add up.
    pub(crate) fn packed(&self, segment: &Arc<Segment>) -> Option<Arc<Packed>> {
        let _one_by_one = self.packing.lock();
        Packed::of(segment).map(Arc::new)
    }

    /// Packs the oldest segment of all partitions that is open and complete. False: there is none. Takes milliseconds, without
    /// a lock that a batch waits for.
    pub(crate) fn pack_oldest(&self) -> bool {
        let _one_by_one = self.packing.lock();
        let partitions = self.partitions.read().clone();
        let open = partitions.iter().filter_map(|p| p.log.read().oldest_open().map(|open| (open, p)));
        let Some(((_, segment), partition)) = open.min_by_key(|((born, _), _)| *born) else { return false };
        let packed = Packed::of(&segment).map(Arc::new);
        partition.log.write().pack(&segment, packed);
        true
    }
}
