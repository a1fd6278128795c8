//! All that is known of a partition's leader epochs (KIP-320): whether the log is still the one that a position speaks of.
//!
//! A new leader may lack the newest records of the one before. Then the log is *cut*: it goes on from an earlier offset with
//! other records. An offset alone does not tell the two apart; the leader epoch of the record below it does.
//!
//! | word | meaning |
//! | --- | --- |
//! | epoch start | the first offset that a leader wrote, as far as records in memory tell |
//! | confirmed | the leader has said that its log holds the record below the position |
//! | doubted | the position's epoch is later than all that memory knows: memory may be of a log that was cut since |
//! | cut | the log went on from an earlier offset; all that was confirmed before is void |
//!
//! The tail notes a cut in `core::append`; a replay learns of it in `read::confirm`.
//!
//! [`Epochs`] belongs to the log and changes with its records, under the log's lock. [`Lineage`] belongs to the partition: it
//! holds what the leader has answered. Whoever asks takes [`Lineage::cuts`] first and gives it back with the answer, so that an
//! answer about the log before a cut is never noted for the log after it.

use std::collections::VecDeque;

use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use crate::position::Position;

/// Epoch starts remembered per partition. A leader changes seldom; older ones are asked from Kafka.
const MAX_EPOCHS: usize = 256;
/// Confirmed positions remembered per partition.
const MAX_CONFIRMED: usize = 64;

/// Where leaders began to write, of rising offsets and rising epochs.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    starts: VecDeque<(u64, i32)>,
}

impl Epochs {
    /// A record of this leader epoch stands at the offset. -1, not known, is not noted.
    pub(crate) fn note(&mut self, offset: u64, epoch: i32) {
        if epoch < 0 || self.newest() >= epoch {
            return;
        }
        debug_assert!(
            self.starts.back().is_none_or(|&(start, _)| start < offset),
            "epochs rise with offsets"
        );
        self.starts.push_back((offset, epoch));
        if self.starts.len() > MAX_EPOCHS {
            self.starts.pop_front();
        }
    }

    /// The leader epoch of the last record below the offset, where it is known.
    pub(crate) fn below(&self, offset: u64) -> Option<i32> {
        let after = self.starts.partition_point(|&(start, _)| start < offset);
        after.checked_sub(1).map(|last| self.starts[last].1)
    }

    /// The leader epoch that is known to begin exactly at the offset.
    pub(crate) fn starting_at(&self, offset: u64) -> Option<i32> {
        let at = self.starts.partition_point(|&(start, _)| start < offset);
        self.starts.get(at).filter(|&&(start, _)| start == offset).map(|&(_, epoch)| epoch)
    }

    /// The leader epoch of the newest record; -1 where none is known.
    pub(crate) fn newest(&self) -> i32 {
        self.starts.back().map_or(-1, |&(_, epoch)| epoch)
    }

    /// The log goes on at the offset: forgets the epochs that began there or later.
    pub(crate) fn cut_to(&mut self, offset: u64) {
        self.starts.retain(|&(start, _)| start < offset);
    }
}

/// What the leader has answered about a partition, and how often the log was cut.
#[derive(Debug)]
pub(crate) struct Lineage {
    cuts: AtomicU32,
    /// Positions that the leader has confirmed since the last cut: thousands of clients come back with the same ones.
    confirmed: Mutex<VecDeque<Position>>,
    /// The leader has confirmed all that memory holds, whatever leaders up to this epoch have written; -1: none.
    memory_confirmed: AtomicI32,
}

impl Default for Lineage {
    fn default() -> Lineage {
        Lineage { cuts: AtomicU32::new(0), confirmed: Mutex::default(), memory_confirmed: AtomicI32::new(-1) }
    }
}

impl Lineage {
    /// How often the log was cut. What was confirmed before a cut must be confirmed anew.
    pub(crate) fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::Acquire)
    }

    /// The log was cut.
    pub(crate) fn note_cut(&self) {
        let mut confirmed = self.confirmed.lock();
        confirmed.clear();
        self.memory_confirmed.store(-1, Ordering::Release);
        self.cuts.fetch_add(1, Ordering::AcqRel);
    }

    /// The leader has confirmed the position. Ignored if the log was cut since `cuts` was read.
    pub(crate) fn note_confirmed(&self, position: Position, cuts: u32) {
        let mut confirmed = self.confirmed.lock();
        if self.cuts() == cuts && !confirmed.contains(&position) {
            confirmed.push_back(position);
            if confirmed.len() > MAX_CONFIRMED {
                confirmed.pop_front();
            }
        }
    }

    /// Whether the leader has confirmed the position since the last cut.
    pub(crate) fn is_confirmed(&self, position: Position) -> bool {
        self.confirmed.lock().contains(&position)
    }

    /// The leader, of `epoch` or a later one, has confirmed all that memory holds. Ignored if the log was cut since `cuts` was
    /// read.
    pub(crate) fn note_memory_confirmed(&self, epoch: i32, cuts: u32) {
        let _no_cut = self.confirmed.lock();
        if self.cuts() == cuts {
            self.memory_confirmed.fetch_max(epoch, Ordering::AcqRel);
        }
    }

    /// Whether the leader of this epoch, or a later one, has confirmed all that memory holds.
    pub(crate) fn is_memory_confirmed(&self, epoch: i32) -> bool {
        epoch <= self.memory_confirmed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64, epoch: i32) -> Position {
        Position { offset, epoch }
    }

    #[test]
    fn epochs_are_known_from_where_they_began() {
        let mut epochs = Epochs::default();
        for (offset, epoch) in [(10, 2), (11, 2), (12, -1), (20, 5)] {
            epochs.note(offset, epoch);
        }
        assert_eq!([10, 11, 20, 21].map(|offset| epochs.below(offset)), [None, Some(2), Some(2), Some(5)]);
        assert_eq!([10, 11, 20].map(|offset| epochs.starting_at(offset)), [Some(2), None, Some(5)]);
        epochs.cut_to(20);
        assert_eq!((epochs.newest(), epochs.below(100)), (2, Some(2)));
    }

    #[test]
    fn an_answer_about_the_log_before_a_cut_is_not_noted() {
        let lineage = Lineage::default();
        let before = lineage.cuts();
        lineage.note_confirmed(at(5, 1), before);
        lineage.note_memory_confirmed(3, before);
        assert!(lineage.is_confirmed(at(5, 1)) && lineage.is_memory_confirmed(3));
        lineage.note_cut();
        lineage.note_confirmed(at(5, 1), before);
        lineage.note_memory_confirmed(3, before);
        assert!(!lineage.is_confirmed(at(5, 1)) && !lineage.is_memory_confirmed(0));
        lineage.note_confirmed(at(5, 1), lineage.cuts());
        assert!(lineage.is_confirmed(at(5, 1)));
    }
}
