//! Time as streams store it: ten thousand streams keep a few moments each, so a moment is one integer, cheap to compare.

use std::sync::LazyLock;

use tokio::time::{Duration, Instant};

/// The instant from which moments are counted.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A point in time, in milliseconds since [`START`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// The first of all.
    pub(crate) const START: Moment = Moment(0);

    pub(crate) fn now() -> Moment {
        Moment::of(Instant::now())
    }

    /// The millisecond in which the instant lies.
    pub(crate) fn of(instant: Instant) -> Moment {
        Moment(instant.saturating_duration_since(*START).as_millis() as u64)
    }

    /// The first moment that is later than the instant.
    pub(crate) fn past(instant: Instant) -> Moment {
        Moment::of(instant).plus_millis(1)
    }

    pub(crate) fn instant(self) -> Instant {
        *START + Duration::from_millis(self.0)
    }

    /// Milliseconds since [`START`].
    pub(crate) fn millis(self) -> u64 {
        self.0
    }

    pub(crate) fn plus_millis(self, millis: u64) -> Moment {
        Moment(self.0.saturating_add(millis))
    }

    /// A part of a millisecond counts as a whole one, so that nothing is due too early.
    pub(crate) fn plus(self, time: Duration) -> Moment {
        self.plus_millis(u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_after_a_part_of_a_millisecond_is_due_at_the_next_one() {
        let now = Moment::now();
        assert_eq!(now.plus(Duration::from_micros(1)), now.plus_millis(1));
        assert_eq!(now.plus(Duration::from_millis(2)), now.plus_millis(2));
        assert_eq!(Moment::of(now.instant()), now);
        assert!(Moment::past(now.instant()) > now);
    }
}
