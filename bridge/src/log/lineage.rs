//! What is known of a partition's leader epochs (KIP-320), which shows whether the log still holds the record below a position.
//!
//! A new leader may lack the newest records of the leader before it. Then the log is *cut*: it is truncated, and continues from
//! an earlier offset with other records. An offset alone does not distinguish the two logs; the leader epoch of the record
//! below the offset does.
//!
//! | word | meaning |
//! | --- | --- |
//! | epoch start | the offset of a leader's first record, as far as records in memory show it |
//! | confirmed | the leader has said that its log holds the record below the position |
//! | covered | ingest has read up to the position: it will notice a cut below, and count it |
//! | doubted | the position's epoch is later than all epochs in memory: memory may be of a log that was cut since |
//! | cut | the log continued from an earlier offset; all earlier confirmations are void |
//!
//! Ingest notes a cut in `core::append`; a replay finds one in `read::confirm`.
//!
//! [`Epochs`] belongs to the log and changes with its records, under the log's lock. [`Lineage`] belongs to the partition and
//! has the leader's answers. A caller reads [`Lineage::cuts`] before it asks the leader, and passes that number along with the
//! answer, so that an answer about the log before a cut is never noted for the log after it.
//!
//! A client may be ahead of a replica that has just started. A cut below such a position, and above what ingest has read, is
//! never counted: ingest reads on, and finds nothing but the other log. So what the leader has confirmed of a position that was
//! not covered ends when the position is covered, and after a moment anyway: the log may never again reach the position
//! ([`Moment::holds_at`]). And a replica that starts in the middle of a log knows no epoch there until it has read a record:
//! that counts as a cut, since there may have been one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use crate::position::Position;

/// Epoch starts kept per partition. Leaders change seldom; Kafka is asked about older epochs.
const MAX_EPOCHS: usize = 256;
/// Epoch starts kept per partition of logs that were cut.
const MAX_LOST: usize = 64;
/// Confirmed positions kept per partition.
const MAX_CONFIRMED: usize = 64;
/// How long a confirmation holds while the position is not covered.
const UNCOVERED: Duration = Duration::from_secs(2);

/// The offsets at which leaders began to write; offsets and epochs both rise.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    starts: VecDeque<(u64, i32)>,
    /// Those of which a cut has taken all records: a client that has some of these comes back later.
    lost: VecDeque<(u64, i32)>,
}

impl Epochs {
    /// Notes that the record at the offset has this leader epoch. -1 (not known) is ignored.
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

    /// Where epochs up to this one begin, or began in a log that was cut since, as far as it is certain. An epoch has one leader, and so one
    /// begin, in whatever log.
    pub(crate) fn began(&self, latest: i32) -> Vec<(u64, i32)> {
        let all = self.certain().chain(self.lost.iter().copied());
        all.filter(|(_, epoch)| *epoch <= latest).collect()
    }

    /// All but the first, which may have begun before the first record in memory.
    fn certain(&self) -> impl Iterator<Item = (u64, i32)> {
        self.starts.iter().copied().skip(1)
    }

    /// The leader epoch of the last record below the offset, if it is known.
    pub(crate) fn below(&self, offset: u64) -> Option<i32> {
        let after = self.starts.partition_point(|&(start, _)| start < offset);
        after.checked_sub(1).map(|last| self.starts[last].1)
    }

    /// The leader epoch that is known to begin exactly at the offset.
    pub(crate) fn starting_at(&self, offset: u64) -> Option<i32> {
        let at = self.starts.partition_point(|&(start, _)| start < offset);
        self.starts.get(at).filter(|&&(start, _)| start == offset).map(|&(_, epoch)| epoch)
    }

    /// The leader epoch of the newest record; -1 if none is known.
    pub(crate) fn newest(&self) -> i32 {
        self.starts.back().map_or(-1, |&(_, epoch)| epoch)
    }

    /// The log continues at the offset: the epochs that began there or later are those of a lost log.
    pub(crate) fn cut_to(&mut self, offset: u64) {
        let lost: Vec<(u64, i32)> = self.certain().filter(|(start, _)| *start >= offset).collect();
        self.lost.retain(|(_, known)| lost.iter().all(|(_, epoch)| epoch != known));
        self.lost.extend(lost);
        while self.lost.len() > MAX_LOST {
            self.lost.pop_front();
        }
        self.starts.retain(|&(start, _)| start < offset);
    }
}

/// What a replica knew of the log below a position when it asked the leader about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// How often the log had been cut.
    pub(crate) cuts: u32,
    /// Whether the position was covered.
    pub(crate) covered: bool,
    /// The time.
    pub(crate) at: Instant,
}

impl Moment {
    /// Whether what was learned at this moment still holds now: a cut since then would have been counted, or the position is
    /// not covered yet, and it was learned just now.
    pub(crate) fn holds_at(self, now: Moment) -> bool {
        let is_recent = || !now.covered && now.at.saturating_duration_since(self.at) < UNCOVERED;
        self.cuts == now.cuts && (self.covered || is_recent())
    }
}

/// What the leader has answered about a partition, and how often the log was cut.
#[derive(Debug)]
pub(crate) struct Lineage {
    cuts: AtomicU32,
    /// Positions that the leader has confirmed since the last cut: thousands of clients may resume at the same ones.
    confirmed: Mutex<VecDeque<(Position, Moment)>>,
    /// The latest epoch whose leader is known to have confirmed all records in memory; -1: none.
    memory_confirmed: AtomicI32,
}

impl Default for Lineage {
    fn default() -> Lineage {
        Lineage { cuts: AtomicU32::new(0), confirmed: Mutex::default(), memory_confirmed: AtomicI32::new(-1) }
    }
}

impl Lineage {
    /// How often the log was cut. Confirmations from before a cut are void.
    pub(crate) fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::Acquire)
    }

    /// Counts a cut, and forgets all confirmations.
    pub(crate) fn note_cut(&self) {
        let mut confirmed = self.confirmed.lock();
        confirmed.clear();
        self.memory_confirmed.store(-1, Ordering::Release);
        self.cuts.fetch_add(1, Ordering::AcqRel);
    }

    /// The leader has confirmed the position, when asked at this moment. Ignored if the log was cut since.
    pub(crate) fn note_confirmed(&self, position: Position, asked: Moment) {
        let mut confirmed = self.confirmed.lock();
        if self.cuts() != asked.cuts {
            return;
        }
        confirmed.retain(|(known, _)| *known != position);
        confirmed.push_back((position, asked));
        if confirmed.len() > MAX_CONFIRMED {
            confirmed.pop_front();
        }
    }

    /// Whether the leader has confirmed the position, and that holds now.
    pub(crate) fn is_confirmed(&self, position: Position, now: Moment) -> bool {
        let confirmed = self.confirmed.lock();
        confirmed.iter().any(|(known, asked)| *known == position && asked.holds_at(now))
    }

    /// The leader of `epoch`, or a later one, has confirmed all of memory. Ignored if the log was cut since `cuts` was read.
    pub(crate) fn note_memory_confirmed(&self, epoch: i32, cuts: u32) {
        let _no_cut = self.confirmed.lock();
        if self.cuts() == cuts {
            self.memory_confirmed.fetch_max(epoch, Ordering::AcqRel);
        }
    }

    /// Whether the leader of this epoch, or a later one, has confirmed all records in memory.
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
    fn where_an_epoch_began_is_known_after_a_cut_and_of_the_first_never() {
        let mut epochs = Epochs::default();
        assert_eq!(epochs.began(9), []);
        for (offset, epoch) in [(10, 2), (20, 5), (30, 6)] {
            epochs.note(offset, epoch);
        }
        assert_eq!(epochs.began(4), []);
        assert_eq!((epochs.began(5), epochs.began(9)), (vec![(20, 5)], vec![(20, 5), (30, 6)]));
        epochs.cut_to(25);
        assert_eq!(epochs.began(9), [(20, 5), (30, 6)]);
        epochs.cut_to(5);
        epochs.note(5, 7);
        epochs.note(8, 9);
        assert_eq!(epochs.began(9), [(8, 9), (30, 6), (20, 5)]);
    }

    #[test]
    fn an_answer_about_the_log_before_a_cut_is_not_noted() {
        let lineage = Lineage::default();
        let moment = |lineage: &Lineage| Moment { cuts: lineage.cuts(), covered: true, at: Instant::now() };
        let before = moment(&lineage);
        lineage.note_confirmed(at(5, 1), before);
        lineage.note_memory_confirmed(3, before.cuts);
        assert!(lineage.is_confirmed(at(5, 1), before) && lineage.is_memory_confirmed(3));
        lineage.note_cut();
        lineage.note_confirmed(at(5, 1), before);
        lineage.note_memory_confirmed(3, before.cuts);
        assert!(!lineage.is_confirmed(at(5, 1), moment(&lineage)) && !lineage.is_memory_confirmed(0));
        lineage.note_confirmed(at(5, 1), moment(&lineage));
        assert!(lineage.is_confirmed(at(5, 1), moment(&lineage)));
    }

    #[test]
    fn an_answer_about_a_position_ahead_holds_until_ingest_is_there_and_not_for_long() {
        let asked = Moment { cuts: 0, covered: false, at: Instant::now() };
        let after = |covered, at| Moment { covered, at, ..asked };
        assert!(asked.holds_at(asked) && !asked.holds_at(after(true, asked.at)));
        assert!(!asked.holds_at(after(false, asked.at + UNCOVERED)));
        let covered = after(true, asked.at);
        assert!(covered.holds_at(after(true, asked.at + UNCOVERED)));
        // Retention has removed records that ingest has not read: it does not know the epoch where it goes on.
        assert!(covered.holds_at(after(false, asked.at + UNCOVERED)));
    }
}
