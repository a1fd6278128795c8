//! A rate that many share, without a lock: each pays for what it took, and all wait while more is taken than paid for.
//!
//! Time is what is paid with: at a rate of 100 a second, one costs 10 ms. The meter stores the time at which everything that was
//! taken will be paid; who takes something moves it on. It may be up to [`BURST`] ahead of the clock: so much may be taken at
//! once after a quiet time.

use std::time::{Duration, Instant};

use crate::base::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How far payment may be behind.
pub(crate) const BURST: Duration = Duration::from_secs(1);
/// The longest debt: more is forgiven, so that a wrong setting is not paid for days after it was corrected.
const MAX_DEBT: Duration = Duration::from_secs(3600);

/// A rate that many share. It is told the time.
#[derive(Debug)]
pub struct Meter {
    /// The time from which the others are counted.
    start: Instant,
    /// The amount per second, as the bits of a float; zero: no limit.
    rate: AtomicU64,
    /// When everything is paid, in nanoseconds after `start`.
    paid_at: AtomicU64,
    /// How often the rate was changed: times that were booked before do not hold any more.
    changes: AtomicU32,
}

impl Meter {
    /// A meter with nothing to pay. `per_second`: zero is no limit.
    pub fn new(per_second: f64, now: Instant) -> Meter {
        Meter {
            start: now,
            rate: AtomicU64::new(per_second.to_bits()),
            paid_at: AtomicU64::new(0),
            changes: AtomicU32::new(0),
        }
    }

    /// The amount per second; zero: no limit.
    pub fn per_second(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::Relaxed))
    }

    /// Whether there is a limit.
    pub fn is_limited(&self) -> bool {
        self.rate.load(Ordering::Relaxed) != 0
    }

    /// Changes the rate. What is still to be paid is paid at the new one.
    pub fn set_rate(&self, per_second: f64, now: Instant) {
        let before = f64::from_bits(self.rate.swap(per_second.to_bits(), Ordering::Relaxed));
        if before == per_second {
            return;
        }
        let now = self.nanos(now);
        let factor = if per_second > 0.0 { before / per_second } else { 0.0 };
        let at_new_rate = |paid_at: u64| now + (paid_at.saturating_sub(now) as f64 * factor) as u64;
        self.change(|paid_at| at_new_rate(paid_at).min(now + nanos_of(MAX_DEBT)));
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the rate was changed. Whoever waits for a time that it has booked looks at this now and then, and books anew if it
    /// differs.
    pub fn changes(&self) -> u32 {
        self.changes.load(Ordering::Relaxed)
    }

    /// `Some`: more was taken than is paid for, and nothing should be taken before that time.
    pub fn wait(&self, now: Instant) -> Option<Instant> {
        if !self.is_limited() {
            return None;
        }
        self.until(self.paid_at.load(Ordering::Relaxed), now)
    }

    /// Whether something that was taken is not paid for yet, also where more may be taken at once. Until then a new meter would
    /// allow more than this one.
    pub fn owes(&self, now: Instant) -> bool {
        self.is_limited() && self.paid_at.load(Ordering::Relaxed) > self.nanos(now)
    }

    /// Pays for what was taken.
    pub fn pay(&self, amount: u64, now: Instant) {
        self.book(amount, now);
    }

    /// Pays for what is about to be taken; it should not be taken before the time that is returned. Those who book at the same
    /// time get times one after the other.
    pub fn book(&self, amount: u64, now: Instant) -> Option<Instant> {
        let rate = self.per_second();
        if rate <= 0.0 {
            return None;
        }
        let (cost, at) = (cost(amount, rate), self.nanos(now));
        let most = at + nanos_of(MAX_DEBT);
        let before = self.change(|paid_at| paid_at.max(at).saturating_add(cost).min(most));
        self.until(before, now)
    }

    /// Takes back what was booked and not taken.
    pub fn refund(&self, amount: u64) {
        let rate = self.per_second();
        if rate > 0.0 {
            self.change(|paid_at| paid_at.saturating_sub(cost(amount, rate)));
        }
    }

    /// Changes the time at which everything is paid; returns the one before.
    fn change(&self, change: impl Fn(u64) -> u64) -> u64 {
        let changed = |paid_at| Some(change(paid_at));
        self.paid_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed)
            .unwrap_or_else(|unchanged| unchanged)
    }

    fn until(&self, paid_at: u64, now: Instant) -> Option<Instant> {
        let until = self.start + Duration::from_nanos(paid_at.saturating_sub(nanos_of(BURST)));
        (until > now).then_some(until)
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos_of(now.saturating_duration_since(self.start))
    }
}

fn nanos_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// In nanoseconds. A float that is too large becomes the largest number.
fn cost(amount: u64, per_second: f64) -> u64 {
    (amount as f64 / per_second * 1e9) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn what_was_taken_is_owed_until_its_time_has_passed_also_where_more_may_be_taken() {
        let start = Instant::now();
        let meter = Meter::new(100.0, start);
        assert!(!meter.owes(start));
        meter.pay(50, start);
        assert_eq!(meter.wait(start), None);
        assert!(meter.owes(after(start, 499)) && !meter.owes(after(start, 500)));
        assert!(!Meter::new(0.0, start).owes(start));
    }

    #[test]
    fn a_second_s_worth_may_be_taken_at_once_and_what_is_over_it_waits() {
        let start = Instant::now();
        let meter = Meter::new(100.0, start);
        meter.pay(100, start);
        assert_eq!(meter.wait(start), None);
        meter.pay(50, start);
        assert_eq!(meter.wait(start), Some(after(start, 500)));
        assert_eq!(meter.wait(after(start, 500)), None);
    }

    #[test]
    fn quiet_time_is_worth_one_second_and_no_more() {
        let start = Instant::now();
        let (meter, later) = (Meter::new(10.0, start), after(start, 3_600_000));
        meter.pay(20, later);
        assert_eq!(meter.wait(later), Some(after(later, 1000)));
    }

    #[test]
    fn who_books_at_the_same_time_gets_times_one_after_the_other() {
        let start = Instant::now();
        let meter = Meter::new(10.0, start);
        meter.pay(10, start);
        let times: Vec<_> = (0..4).map(|_| meter.book(5, start)).collect();
        let expected = [None, Some(after(start, 500)), Some(after(start, 1000)), Some(after(start, 1500))];
        assert_eq!(times, expected);
        meter.refund(5);
        assert_eq!(meter.wait(start), Some(after(start, 1500)));
    }

    #[test]
    fn a_rate_below_one_a_second_is_a_rate() {
        let start = Instant::now();
        let meter = Meter::new(0.5, start);
        meter.pay(1, start);
        assert_eq!(meter.wait(start), Some(after(start, 1000)));
        meter.pay(1, after(start, 1000));
        assert_eq!(meter.wait(after(start, 1000)), Some(after(start, 3000)));
    }

    #[test]
    fn a_rate_that_is_changed_holds_for_what_is_still_to_be_paid() {
        let start = Instant::now();
        let meter = Meter::new(1.0, start);
        meter.pay(100, start);
        meter.set_rate(10.0, start);
        assert_eq!(meter.wait(start), Some(after(start, 9_000)));
        meter.set_rate(0.0, start);
        assert_eq!((meter.wait(start), meter.book(1 << 40, start)), (None, None));
        meter.set_rate(1.0, start);
        assert_eq!(meter.wait(start), None, "nothing is owed from the time without a limit");
    }

    #[test]
    fn a_debt_has_an_end() {
        let start = Instant::now();
        let meter = Meter::new(1.0, start);
        meter.pay(u64::MAX, start);
        assert_eq!(meter.wait(start), Some(start + MAX_DEBT - BURST));
    }

    #[test]
    fn what_threads_pay_at_once_is_paid_in_full() {
        let start = Instant::now();
        let meter = Meter::new(1000.0, start);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| meter.pay(1, start)));
            }
        });
        assert_eq!(meter.wait(start), Some(after(start, 3000)));
    }
}
