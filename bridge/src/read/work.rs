//! How much a replay may examine: in one call, so that it does not take the time of other streams, and in a second, by the rate
//! that the replays of its tenant share.
//!
//! What counts is not what the client gets, but what it costs to find it: each record of the tenant that is compared with the
//! filter, from memory or from history, counts with its bytes; what is read from Kafka counts as well, whole, for the tenant
//! whose replay asked for it first (`History::request`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::meter::Meter;
use crate::record::RecordRef;
use crate::record::filter::Effort;

/// Bytes of records that one call of `Subscription::next` examines, about: a fraction of a millisecond for most filters.
pub(crate) const CALL: usize = 256 * 1024;
/// The least that each partition is examined for in a chunk, or those that have found nothing yet would not move on.
const PARTITION: usize = 4 * 1024;
/// What a record counts for besides its key and value.
const RECORD: usize = 64;
/// What a record counts for that is passed over by its offset alone.
pub(crate) const SKIPPED: usize = 8;
/// What it counts for to be compared with one of a condition's values: as measured, beside what a byte takes to be searched.
const VALUE: usize = 4;

/// How much of each of so many partitions a chunk may examine.
pub(crate) fn of_each(partitions: usize) -> usize {
    (CALL / partitions.max(1)).max(PARTITION)
}

/// What it counts to examine a record: its bytes, those of its value for each condition that reads it.
pub(crate) fn of_record(record: &RecordRef<'_>, effort: Effort) -> usize {
    let (key, value) = (record.key.map_or(0, <[u8]>::len), record.value.map_or(0, <[u8]>::len));
    RECORD + key + value * effort.reads.max(1) + VALUE * effort.values
}

/// How often a replay that waits looks whether the rate was changed.
const LOOK: Duration = Duration::from_secs(2);

/// One replay's part in the rate of its tenant. While more was examined than the rate allows, each replay books the time of its
/// next call: those that wait take turns.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Bytes that were examined since the caller last did something else.
    in_call: usize,
    /// The time that was booked for the next call.
    turn: Option<Turn>,
}

/// A time that was booked.
#[derive(Clone, Copy, Debug)]
struct Turn {
    at: Instant,
    /// [`Meter::changes`] then.
    changes: u32,
    /// When the replay looks again.
    look: Instant,
}

impl Work {
    /// `Some`: the next call is to examine nothing before this time.
    pub(crate) fn wait(&mut self, meter: Option<&Arc<Meter>>, now: Instant) -> Option<Instant> {
        let (meter, changes) = (meter?, meter?.changes());
        self.turn = self.turn.filter(|turn| turn.changes == changes);
        if self.turn.is_none() && meter.wait(now).is_some() {
            let at = meter.book(CALL as u64, now).unwrap_or(now);
            self.turn = Some(Turn { at, changes, look: at });
        }
        let turn = self.turn.as_mut().filter(|turn| turn.at > now)?;
        turn.look = turn.at.min(now + LOOK);
        Some(turn.at)
    }

    /// When to ask again whether it is to wait.
    pub(crate) fn look_again_at(&self) -> Option<Instant> {
        self.turn.map(|turn| turn.look)
    }

    /// So much was examined. True: it is time for other streams.
    pub(crate) fn examined(&mut self, bytes: usize, meter: Option<&Arc<Meter>>, now: Instant) -> bool {
        if let Some(meter) = meter {
            self.give_back(meter);
            meter.pay(bytes as u64, now);
        }
        self.in_call += bytes;
        if self.in_call < CALL {
            return false;
        }
        self.in_call = 0;
        true
    }

    /// The call has ended, with frames or for another reason.
    pub(crate) fn call_ended(&mut self) {
        self.in_call = 0;
    }

    /// Gives a turn back that was booked.
    pub(crate) fn give_back(&mut self, meter: &Meter) {
        // What was booked at another rate was another time.
        if self.turn.take().is_some_and(|turn| turn.changes == meter.changes()) {
            meter.refund(CALL as u64);
        }
    }
}

/// The work of a search before the subscription begins; a turn that was booked is given back if the search is given up.
pub(crate) struct Searching<'a> {
    meter: Option<&'a Arc<Meter>>,
    work: Work,
}

impl<'a> Searching<'a> {
    pub(crate) fn of(meter: Option<&'a Arc<Meter>>) -> Searching<'a> {
        Searching { meter, work: Work::default() }
    }

    /// As [`Work::wait`].
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Instant> {
        self.work.wait(self.meter, now)
    }

    /// So much was examined.
    pub(crate) fn examined(&mut self, bytes: usize, now: Instant) {
        self.work.examined(bytes, self.meter, now);
    }
}

impl Drop for Searching<'_> {
    fn drop(&mut self) {
        if let Some(meter) = self.meter {
            self.work.give_back(meter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replays_of_one_tenant_take_turns_and_who_leaves_gives_its_turn_back() {
        let now = Instant::now();
        let meter = Some(Arc::new(Meter::new(CALL as f64, now)));
        let (mut one, mut two, mut three) = (Work::default(), Work::default(), Work::default());
        let meter = meter.as_ref();
        assert_eq!(one.wait(meter, now), None);
        assert!(one.examined(2 * CALL, meter, now));
        let second = std::time::Duration::from_secs(1);
        assert_eq!(two.wait(meter, now), Some(now + second));
        assert_eq!(one.wait(meter, now), Some(now + 2 * second));
        assert_eq!(two.wait(meter, now), Some(now + second), "it has its turn");
        one.give_back(meter.unwrap());
        assert_eq!(three.wait(meter, now), Some(now + 2 * second));
        assert_eq!(two.wait(meter, now + second), None);
        assert!(!two.examined(10, meter, now + second));
        assert_eq!(
            meter.unwrap().wait(now + second),
            Some(now + 2 * second).map(|at| at + second * 10 / CALL as u32)
        );
    }

    #[test]
    fn without_a_rate_nobody_waits_and_a_call_still_ends() {
        let now = Instant::now();
        let mut work = Work::default();
        assert_eq!(work.wait(None, now), None);
        assert!(!work.examined(CALL - 1, None, now));
        assert!(work.examined(1, None, now));
        assert!(!work.examined(CALL - 1, None, now));
    }

    #[test]
    fn many_partitions_share_a_call_and_each_moves_on() {
        assert_eq!((of_each(0), of_each(1), of_each(4)), (CALL, CALL, CALL / 4));
        assert_eq!(of_each(10_000), PARTITION);
    }
}
