//! When it counts that a registry does not have an id.
//!
//! A producer registers its schema before it writes, so that the id is there when the record is. A follower of the registry may
//! have it a moment later. So "there is none" counts for a record only where every address said so, at least [`AGE`] after the
//! record was written, and again [`AGAIN`] after it was said for the first time: for a record whose timestamp is old, because its
//! producer set it, or because the clocks differ, the second is what waits for a follower.
//!
//! The first bound is the same for all replicas, whenever they read: an id that was registered within it is decoded by all, one
//! that never was by none. One that was registered later is undecodable for who asked before, and decoded for who asks after;
//! that cannot be told apart without a memory that replicas share (docs/adr/0017). Within one process it does not change: what
//! counted once for a record counts for it ever after.

use std::time::{Duration, Instant};

/// How old a record has to be for it to count, by its timestamp and this machine's clock.
pub(super) const AGE: Duration = Duration::from_secs(10);
/// For how long an id has to be asked for.
pub(super) const AGAIN: Duration = Duration::from_secs(3);
/// How far another machine's clock may be ahead of this one's. A timestamp of a later time says nothing.
const MAX_AHEAD: Duration = Duration::from_secs(60);

/// What was said of an id that the registry does not have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absence {
    /// When it was first said, also in milliseconds since the Unix epoch.
    since: Instant,
    first: i64,
    /// When the question was asked, of the last such answers, to which it was said, [`AGAIN`] or more after the first.
    last: Option<i64>,
}

impl Absence {
    /// The first answer, to a question that was asked at `asked`, in milliseconds since the Unix epoch `at`.
    pub(super) fn new(asked: Instant, at: i64) -> Absence {
        Absence { since: asked, first: at, last: None }
    }

    /// A further answer.
    pub(super) fn note(&mut self, asked: Instant, at: i64) {
        if asked.saturating_duration_since(self.since) >= AGAIN {
            self.last = self.last.max(Some(at));
        }
    }

    /// The latest timestamp, in milliseconds, of records for which it counts; `i64::MIN`: for none.
    pub(super) fn until(&self) -> i64 {
        self.last.map_or(i64::MIN, |last| last - AGE.as_millis() as i64)
    }

    /// Whether it counts for a record whose timestamp says nothing, because there is none, or it is in the future. Its age is at
    /// least that of the first answer.
    pub(super) fn counts_without_timestamp(&self) -> bool {
        self.first <= self.until()
    }
}

/// Whether a timestamp, in milliseconds, says when a record was written.
pub(super) fn says_when(timestamp: i64, now: i64) -> bool {
    (0..=now.saturating_add(MAX_AHEAD.as_millis() as i64)).contains(&timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000_000;

    /// An id that was asked for at these times, in milliseconds from the start, and never there.
    fn asked(times: &[i64]) -> Absence {
        let start = Instant::now();
        let at = |millis: i64| (start + Duration::from_millis(millis as u64), START + millis);
        let mut absence = Absence::new(at(times[0]).0, at(times[0]).1);
        times[1..].iter().for_each(|time| absence.note(at(*time).0, at(*time).1));
        absence
    }

    #[test]
    fn an_absence_counts_for_records_that_are_old_enough_at_the_last_question() {
        assert_eq!(asked(&[0]).until(), i64::MIN);
        assert_eq!(asked(&[0, 2_999]).until(), i64::MIN);
        assert_eq!(asked(&[0, 3_000]).until(), START - 7_000);
        assert_eq!(asked(&[0, 3_000, 3_500, 10_000]).until(), START);
    }

    #[test]
    fn answers_that_come_in_another_order_take_nothing_back() {
        assert_eq!(asked(&[0, 10_000, 5_000]).until(), START);
    }

    #[test]
    fn a_record_without_a_timestamp_is_as_old_as_the_first_answer() {
        assert!(!asked(&[0, 9_999]).counts_without_timestamp());
        assert!(asked(&[0, 10_000]).counts_without_timestamp());
    }

    #[test]
    fn a_timestamp_of_the_future_says_nothing() {
        assert!(says_when(START + 60_000, START) && says_when(START, START) && says_when(0, START));
        assert!(!says_when(START + 60_001, START) && !says_when(-1, START));
    }
}
