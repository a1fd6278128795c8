//! The rate limit of one stream. A stream above its rate is read later, which takes no memory but its cursor; nothing is
//! dropped.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, RateLimiter};
use tailrace_bridge::Budget;

use crate::limits::quota;

/// The most records of one read; more would delay other streams of the thread.
const READ_RECORDS: usize = 256;
/// The most bytes of one read, about what a socket takes at once.
const READ_BYTES: usize = 64 * 1024;

/// The most bytes of one read while the memory for chunks that clients have not read yet is short.
pub(crate) const SMALL_READ: usize = 8 * 1024;

/// The budget of one read for a stream without a rate.
pub(crate) const UNPACED: Budget = Budget { records: READ_RECORDS, bytes: READ_BYTES };

/// Records and bytes are counted as owed after they were sent; the next read waits until the limiters have let all of them
/// pass.
pub(crate) struct Pace {
    events: Option<Meter>,
    bytes: Option<Meter>,
}

struct Meter {
    limiter: DefaultDirectRateLimiter,
    burst: u32,
    owed: u64,
}

impl Pace {
    /// Rates per second; zero: no limit. `None` where neither has a limit.
    pub(crate) fn new(event_rate: f64, byte_rate: f64) -> Option<Pace> {
        let (events, bytes) = (Meter::new(event_rate), Meter::new(byte_rate));
        (events.is_some() || bytes.is_some()).then_some(Pace { events, bytes })
    }

    /// The budget of the next read.
    pub(crate) fn budget(&self) -> Budget {
        Budget {
            records: self
                .events
                .as_ref()
                .map_or(READ_RECORDS, |meter| READ_RECORDS.min(meter.burst as usize)),
            bytes: self.bytes.as_ref().map_or(READ_BYTES, |meter| READ_BYTES.min(meter.burst as usize)),
        }
    }

    pub(crate) fn charge(&mut self, records: usize, bytes: usize) {
        if let Some(meter) = &mut self.events {
            meter.owed += records as u64;
        }
        if let Some(meter) = &mut self.bytes {
            meter.owed += bytes as u64;
        }
    }

    /// Passes what is owed through the limiters, as far as they allow; `Some`: how long to wait for the rest.
    pub(crate) fn wait(&mut self) -> Option<Duration> {
        let events = self.events.as_mut().and_then(Meter::pay);
        let bytes = self.bytes.as_mut().and_then(Meter::pay);
        events.max(bytes)
    }
}

impl Meter {
    fn new(per_second: f64) -> Option<Meter> {
        let quota = quota(per_second)?;
        Some(Meter { burst: quota.burst_size().get(), limiter: RateLimiter::direct(quota), owed: 0 })
    }

    /// In parts no larger than the burst, which is the most that a limiter lets through at once.
    fn pay(&mut self) -> Option<Duration> {
        loop {
            let part = NonZeroU32::new(self.owed.min(u64::from(self.burst)) as u32)?;
            match self.limiter.check_n(part) {
                Ok(Ok(())) => self.owed -= u64::from(part.get()),
                Ok(Err(until)) => return Some(until.wait_time_from(DefaultClock::default().now())),
                // Parts are never larger than the burst; if one were, the stream must not stop for ever.
                Err(_) => self.owed = 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_rate_waits_and_what_is_under_it_does_not() {
        let mut pace = Pace::new(10.0, 0.0).unwrap();
        assert_eq!(pace.budget().records, 10);
        pace.charge(10, 1 << 20);
        assert_eq!(pace.wait(), None);
        pace.charge(10, 1 << 20);
        let wait = pace.wait().unwrap();
        assert!(wait > Duration::from_millis(800) && wait <= Duration::from_secs(1), "{wait:?}");
    }

    #[test]
    fn a_frame_larger_than_a_second_of_bytes_is_paid_in_parts() {
        let mut pace = Pace::new(0.0, 1000.0).unwrap();
        pace.charge(1, 2500);
        assert!(pace.wait().is_some());
        assert_eq!(pace.bytes.as_ref().unwrap().owed, 1500);
    }

    #[test]
    fn a_rate_below_one_a_second_is_a_rate() {
        let mut pace = Pace::new(0.5, 0.0).unwrap();
        pace.charge(1, 10);
        assert_eq!(pace.wait(), None);
        pace.charge(1, 10);
        assert!(pace.wait().unwrap() > Duration::from_millis(1500));
    }
}
