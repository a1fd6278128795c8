//! What is known of schemas, and what is to be asked for and when. It is told the time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::Rng as _;
use tailrace_formats::confluent::SchemaId;

use super::schema::Schema;
use super::verdict::{self, Absence};

/// The most schemas that are kept, and the most bytes of their texts. Beyond that, those go that were not used since the last time.
const MAX_SCHEMAS: usize = 10_000;
const MAX_TEXT: usize = 64 << 20;
/// Ids that the registry does not have which are remembered. Where nothing but schemas is written, there are none.
const MAX_ABSENT: usize = 10_000;
/// Ids that may be asked for at a time. Each comes with a partition that waits for it, or with a reader.
const MAX_WANTED: usize = 1_000;
/// An id that nobody has looked for within this time is not asked for any more.
const FORGET: Duration = Duration::from_secs(60);
/// The same of one that the registry does not have: that counts by now, most likely.
const FORGET_ABSENT: Duration = Duration::from_secs(3);
/// The pause after the first failure. It doubles with each, up to the second; a random part of it, up to half, is left out.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The pause before an id is asked for again that was not there.
const ABSENT_PAUSE: Duration = Duration::from_secs(1);

/// A moment, by the clock that only rises, and in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) millis: i64,
}

/// A schema that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) schema: Schema,
    /// Records up to this timestamp are undecodable in this process: when they were read, it was not there.
    absent_until: i64,
    /// Whether it was used since room was last made.
    used: AtomicBool,
    size: usize,
}

impl Found {
    /// Whether it is there for a record of this timestamp, in milliseconds.
    pub(crate) fn is_for(&self, timestamp: i64) -> bool {
        timestamp < 0 || timestamp > self.absent_until
    }
}

/// What is known of one schema, for one record.
#[derive(Clone, Debug)]
pub(crate) enum Look {
    Found(Arc<Found>),
    /// The registry does not have it, for good.
    Unknown,
    /// It is being asked for.
    Pending,
}

/// What came of a question.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The schema, and the bytes of its text.
    Found(Schema, usize),
    /// Every address says that there is none.
    Absent,
    /// No address said anything of use; the first reason.
    Failed(Arc<str>),
}

/// An id that somebody waits for.
#[derive(Debug)]
struct Wanted {
    looked: Instant,
    due: Instant,
    is_asked: bool,
    failures: u32,
    last: Option<Miss>,
}

/// Why an id is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    Absent,
    Failed(Arc<str>),
}

#[derive(Debug, Default)]
pub(super) struct Known {
    found: HashMap<SchemaId, Arc<Found>>,
    text: usize,
    absent: HashMap<SchemaId, Absence>,
    wanted: HashMap<SchemaId, Wanted>,
}

impl Wanted {
    fn is_looked_for(&self, now: Instant) -> bool {
        let forget = if self.last == Some(Miss::Absent) { FORGET_ABSENT } else { FORGET };
        now.saturating_duration_since(self.looked) < forget
    }
}

impl Known {
    /// What is known for a record of this timestamp. An id that is not known is asked for from now on; true: it was not before.
    pub(super) fn look(&mut self, id: SchemaId, timestamp: i64, now: Now) -> (Look, bool) {
        let says_when = verdict::says_when(timestamp, now.millis);
        if let Some(found) = self.found.get(&id) {
            found.used.store(true, Ordering::Relaxed);
            let look = if found.is_for(timestamp) { Look::Found(found.clone()) } else { Look::Unknown };
            return (look, false);
        }
        let counts = self.absent.get(&id).is_some_and(|absence| match says_when {
            true => timestamp <= absence.until(),
            false => absence.counts_without_timestamp(),
        });
        if counts {
            return (Look::Unknown, false);
        }
        if let Some(wanted) = self.wanted.get_mut(&id) {
            wanted.looked = now.instant;
            return (Look::Pending, false);
        }
        if self.wanted.len() >= MAX_WANTED {
            return (Look::Pending, false);
        }
        let wanted =
            Wanted { looked: now.instant, due: now.instant, is_asked: false, failures: 0, last: None };
        self.wanted.insert(id, wanted);
        (Look::Pending, true)
    }

    /// Up to `most` ids to be asked for now, and when the next is due. They count as asked until [`Known::take`].
    pub(super) fn due(&mut self, now: Instant, most: usize) -> (Vec<SchemaId>, Option<Instant>) {
        self.wanted.retain(|_, wanted| wanted.is_asked || wanted.is_looked_for(now));
        let mut waiting: Vec<_> = self.wanted.iter_mut().filter(|(_, wanted)| !wanted.is_asked).collect();
        waiting.sort_by_key(|(_, wanted)| wanted.due);
        let (mut ids, mut next) = (Vec::new(), None);
        for (id, wanted) in waiting {
            if wanted.due > now || ids.len() >= most {
                next = Some(wanted.due);
                break;
            }
            wanted.is_asked = true;
            ids.push(*id);
        }
        (ids, next)
    }

    /// Takes note of what came of a question that was asked at `asked`.
    pub(super) fn take(&mut self, id: SchemaId, asked: Now, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Found(schema, size) => self.keep(id, schema, size),
            Outcome::Absent => {
                self.note_absence(id, asked);
                self.put_off(id, Miss::Absent, now, |_| ABSENT_PAUSE);
            }
            Outcome::Failed(why) => {
                self.put_off(id, Miss::Failed(why), now, pause);
                return;
            }
        }
        // It answers again: what it did not answer is asked at once.
        let failed = self.wanted.values_mut().filter(|wanted| matches!(wanted.last, Some(Miss::Failed(_))));
        failed.for_each(|wanted| wanted.due = wanted.due.min(now));
    }

    /// Why an id is not known yet; `None`: it has just been asked for.
    pub(super) fn why(&self, id: SchemaId) -> Option<Miss> {
        self.wanted.get(&id).and_then(|wanted| wanted.last.clone())
    }

    /// How many schemas there are.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    fn put_off(&mut self, id: SchemaId, miss: Miss, now: Instant, pause: impl Fn(u32) -> Duration) {
        if let Some(wanted) = self.wanted.get_mut(&id) {
            wanted.failures = if miss == Miss::Absent { 0 } else { wanted.failures.saturating_add(1) };
            wanted.is_asked = false;
            wanted.due = now + pause(wanted.failures);
            wanted.last = Some(miss);
        }
    }

    fn note_absence(&mut self, id: SchemaId, asked: Now) {
        if let Some(absence) = self.absent.get_mut(&id) {
            return absence.note(asked.instant, asked.millis);
        }
        if self.absent.len() >= MAX_ABSENT {
            // None of those that somebody waits for, or a wait would begin anew.
            let idle = self.absent.keys().find(|id| !self.wanted.contains_key(id)).copied();
            idle.map(|id| self.absent.remove(&id));
        }
        self.absent.insert(id, Absence::new(asked.instant, asked.millis));
    }

    fn keep(&mut self, id: SchemaId, schema: Schema, size: usize) {
        self.wanted.remove(&id);
        if self.found.len() >= MAX_SCHEMAS || self.text + size > MAX_TEXT {
            self.found.retain(|_, found| found.used.swap(false, Ordering::Relaxed));
            if self.found.len() >= MAX_SCHEMAS || self.text_of_all() + size > MAX_TEXT {
                self.found.clear();
            }
        }
        let absent_until = self.absent.get(&id).map_or(i64::MIN, Absence::until);
        self.found.insert(id, Arc::new(Found { schema, absent_until, used: AtomicBool::new(false), size }));
        self.text = self.text_of_all();
    }

    fn text_of_all(&self) -> usize {
        self.found.values().map(|found| found.size).sum()
    }
}

fn pause(failures: u32) -> Duration {
    let (least, most) = PAUSES;
    let pause = least.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most);
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SchemaId = SchemaId::Id(17);

    /// Moments in milliseconds from a start.
    #[derive(Clone, Copy)]
    struct Clock(Instant);

    impl Clock {
        fn at(self, millis: u64) -> Now {
            Now { instant: self.0 + Duration::from_millis(millis), millis: 1_700_000_000_000 + millis as i64 }
        }
    }

    fn clock() -> Clock {
        Clock(Instant::now())
    }

    fn is_pending(known: &mut Known, id: SchemaId, timestamp: i64, now: Now) -> bool {
        matches!(known.look(id, timestamp, now).0, Look::Pending)
    }

    /// Asks for what is due, with this outcome.
    fn ask(known: &mut Known, now: Now, outcome: impl Fn() -> Outcome) -> usize {
        let (ids, _) = known.due(now.instant, 8);
        ids.iter().for_each(|id| known.take(*id, now, outcome(), now.instant));
        ids.len()
    }

    fn failed() -> Outcome {
        Outcome::Failed("it is down".into())
    }

    fn found() -> Outcome {
        Outcome::Found(Schema::Json, 100)
    }

    #[test]
    fn an_id_is_asked_for_once_however_many_look_for_it() {
        let (mut known, clock) = (Known::default(), clock());
        let now = clock.at(0);
        assert!(known.look(ID, now.millis, now).1);
        assert!(!known.look(ID, now.millis, now).1);
        assert_eq!(known.due(now.instant, 8).0, [ID]);
        assert_eq!(known.due(now.instant, 8).0, []);
        known.take(ID, now, found(), now.instant);
        assert!(matches!(known.look(ID, now.millis, now).0, Look::Found(_)));
        assert_eq!(known.due(now.instant, 8).0, []);
    }

    #[test]
    fn a_registry_that_does_not_answer_makes_nothing_unknown_and_is_asked_ever_less_often() {
        let (mut known, clock) = (Known::default(), clock());
        let written = clock.at(0).millis;
        let mut times = Vec::new();
        for millis in (0..60_000).step_by(10) {
            assert!(is_pending(&mut known, ID, written, clock.at(millis)));
            if ask(&mut known, clock.at(millis), failed) > 0 {
                times.push(millis);
            }
        }
        let pauses: Vec<u64> = times.windows(2).map(|two| two[1] - two[0]).collect();
        assert!((100..=210).contains(&pauses[0]) && (200..=410).contains(&pauses[1]), "{pauses:?}");
        assert!(pauses[8..].iter().all(|pause| (2_500..=5_010).contains(pause)), "{pauses:?}");
        assert_eq!(known.why(ID), Some(Miss::Failed("it is down".into())));
    }

    #[test]
    fn once_it_answers_everything_is_asked_at_once() {
        let (mut known, clock) = (Known::default(), clock());
        let now = clock.at(0);
        let (first, second) = (ID, SchemaId::Id(18));
        for id in [first, second] {
            known.look(id, now.millis, now);
        }
        for round in 0..20 {
            ask(&mut known, clock.at(round * 6_000), failed);
            known.look(first, now.millis, clock.at(round * 6_000));
            known.look(second, now.millis, clock.at(round * 6_000));
        }
        let later = clock.at(19 * 6_000 + 10);
        assert_eq!(known.due(later.instant, 8).0, []);
        known.take(first, later, found(), later.instant);
        assert_eq!(known.due(later.instant, 8).0, [second]);
    }

    #[test]
    fn an_id_that_appears_within_the_wait_is_decoded() {
        let (mut known, clock) = (Known::default(), clock());
        let written = clock.at(0).millis;
        for millis in (0..9_990).step_by(500) {
            assert!(is_pending(&mut known, ID, written, clock.at(millis)), "{millis}");
            ask(&mut known, clock.at(millis), || Outcome::Absent);
        }
        let now = clock.at(10_000);
        assert_eq!(ask(&mut known, now, found), 1);
        assert!(matches!(known.look(ID, written, now).0, Look::Found(_)));
    }

    #[test]
    fn what_counted_once_for_a_record_counts_ever_after() {
        let (mut known, clock) = (Known::default(), clock());
        let (old, new) = (clock.at(0).millis, clock.at(12_000).millis);
        for millis in (0..=10_000).step_by(500) {
            known.look(ID, old, clock.at(millis));
            ask(&mut known, clock.at(millis), || Outcome::Absent);
        }
        assert!(matches!(known.look(ID, old, clock.at(10_001)).0, Look::Unknown));
        // A later record is waited for anew, and the id is there by then.
        assert!(is_pending(&mut known, ID, new, clock.at(12_000)));
        ask(&mut known, clock.at(12_000), found);
        assert!(matches!(known.look(ID, new, clock.at(12_001)).0, Look::Found(_)));
        assert!(matches!(known.look(ID, old, clock.at(12_001)).0, Look::Unknown));
    }

    #[test]
    fn a_record_of_the_future_or_without_a_timestamp_waits_for_ten_seconds_and_no_longer() {
        let (mut known, clock) = (Known::default(), clock());
        for timestamp in [-1, clock.at(1_000_000).millis] {
            for millis in (0..10_000).step_by(500) {
                assert!(is_pending(&mut known, ID, timestamp, clock.at(millis)), "{timestamp} {millis}");
                ask(&mut known, clock.at(millis), || Outcome::Absent);
            }
            known.absent.clear();
        }
        for millis in [0, 500, 10_000] {
            known.look(ID, -1, clock.at(millis));
            known.take(ID, clock.at(millis), Outcome::Absent, clock.at(millis).instant);
        }
        assert!(matches!(known.look(ID, -1, clock.at(10_001)).0, Look::Unknown));
    }

    #[test]
    fn an_old_record_waits_until_the_answer_was_given_twice() {
        let (mut known, clock) = (Known::default(), clock());
        let written = clock.at(0).millis - 86_400_000;
        for millis in (0..=3_000).step_by(500) {
            assert!(is_pending(&mut known, ID, written, clock.at(millis)), "{millis}");
            ask(&mut known, clock.at(millis), || Outcome::Absent);
        }
        assert!(matches!(known.look(ID, written, clock.at(3_001)).0, Look::Unknown));
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_asked_for() {
        let (mut known, clock) = (Known::default(), clock());
        known.look(ID, 0, clock.at(0));
        assert_eq!(ask(&mut known, clock.at(59_000), failed), 1);
        assert_eq!(ask(&mut known, clock.at(61_000), failed), 0);
        assert!(known.wanted.is_empty());
    }

    #[test]
    fn an_id_that_counts_as_absent_is_not_asked_for_any_more() {
        let (mut known, clock) = (Known::default(), clock());
        known.look(ID, 0, clock.at(0));
        assert_eq!(ask(&mut known, clock.at(0), || Outcome::Absent), 1);
        assert_eq!(ask(&mut known, clock.at(2_000), || Outcome::Absent), 1);
        assert_eq!(ask(&mut known, clock.at(3_000), || Outcome::Absent), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut known, clock) = (Known::default(), clock());
        let now = clock.at(0);
        for number in 0..2 * MAX_SCHEMAS as u32 + 7 {
            known.keep(SchemaId::Id(number), Schema::Json, 10);
            known.note_absence(SchemaId::Id(number), now);
            // One that is in use stays.
            known.look(SchemaId::Id(3), now.millis, now);
        }
        assert!(known.found.len() <= MAX_SCHEMAS && known.absent.len() <= MAX_ABSENT);
        assert!(known.found.contains_key(&SchemaId::Id(3)));
        known.keep(ID, Schema::Json, MAX_TEXT - 5);
        assert!(known.text <= MAX_TEXT && known.found.contains_key(&ID));
        for number in 0..2 * MAX_WANTED as u32 {
            known.look(SchemaId::Id(1_000_000 + number), now.millis, now);
        }
        assert_eq!(known.wanted.len(), MAX_WANTED);
    }
}
