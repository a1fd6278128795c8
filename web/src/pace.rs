//! The rate limits of one stream: its own, and its share in that of its tenant. A stream above its rate is read later, which
//! takes no memory but its cursor; nothing is dropped.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tailrace_bridge::Budget;

use crate::limits::{Amount, Tenant};

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

    /// Begins with nothing to its credit, for who would otherwise get a burst each time that it comes.
    pub(crate) fn spend_burst(&mut self) {
        for meter in [&mut self.events, &mut self.bytes].into_iter().flatten() {
            meter.owed += u64::from(meter.burst);
            meter.pay();
        }
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

/// `per_second` on average, in bursts of up to one second's worth; `None` for zero, which means no limit.
fn quota(per_second: f64) -> Option<Quota> {
    if per_second <= 0.0 {
        return None;
    }
    let period = Duration::try_from_secs_f64(1.0 / per_second).ok()?.max(Duration::from_nanos(1));
    let burst = NonZeroU32::new(per_second.ceil().min(f64::from(u32::MAX)) as u32).unwrap_or(NonZeroU32::MIN);
    Some(Quota::with_period(period)?.allow_burst(burst))
}

/// How often a stream that waits looks whether the rate was changed.
const LOOK: Duration = Duration::from_secs(2);

/// One stream's share in the rate of its tenant.
///
/// While the tenant has taken no more than its rate, a stream only pays for what it reads. From then on the streams take turns:
/// one that may have something to read books what a read usually takes, and gets the time at which all that was booked before
/// is paid. When that has come, it may read, and the difference to what it took is settled. What it took beyond what one read
/// should be, as one record may be, it pays in further turns before it reads again; one of small records reads several times in
/// one turn. So an idle stream takes no part of the rate,
/// none that has something is passed over, and each gets the same, whatever the size of its records.
pub(crate) struct Share {
    tenant: Arc<Tenant>,
    /// The time that was booked, and how often the rate had been changed then.
    until: Option<Instant>,
    changes: u32,
    /// What was booked for the next read.
    booked: Option<Amount>,
    /// The time of its last turn, and what it may still read in that.
    turn: Option<(Instant, Amount)>,
    /// What was taken and is still to be paid.
    owed: Amount,
}

impl Share {
    pub(crate) fn of(tenant: &Arc<Tenant>) -> Share {
        let changes = tenant.rates().changes();
        Share {
            tenant: Arc::clone(tenant),
            until: None,
            changes,
            booked: None,
            turn: None,
            owed: Amount::default(),
        }
    }

    /// The budget of the next read.
    pub(crate) fn budget(&self) -> Budget {
        let most = self.tenant.rates().most();
        Budget {
            records: most.events.min(READ_RECORDS as u64) as usize,
            bytes: most.bytes.min(READ_BYTES as u64) as usize,
        }
    }

    /// `Some`: nothing may be read for that long; then it is to be called again.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Duration> {
        let changes = self.tenant.rates().changes();
        if std::mem::replace(&mut self.changes, changes) != changes {
            // What was booked at another rate was another time.
            (self.until, self.booked) = (None, None);
        }
        if self.until.is_none_or(|until| until <= now) {
            self.until = self.next_turn(now).map(|wait| now + wait);
        }
        self.until.map(|until| (until - now).min(LOOK))
    }

    fn next_turn(&mut self, now: Instant) -> Option<Duration> {
        let rates = self.tenant.rates();
        while self.owed != Amount::default() {
            let part = self.owed.first(rates.most());
            self.owed = self.owed.less(part);
            if let Some(wait) = rates.book(part, now) {
                return Some(wait);
            }
        }
        let goes_on = self.turn.is_some_and(|(at, left)| at == now && left.events > 0 && left.bytes > 0);
        if self.booked.is_some() || goes_on || !rates.is_behind(now) {
            return None;
        }
        let usual = rates.usual();
        self.booked = Some(usual);
        rates.book(usual, now)
    }

    /// A read took so much, which may be nothing.
    pub(crate) fn charge(&mut self, amount: Amount, now: Instant) {
        let rates = self.tenant.rates();
        let most = rates.most();
        if let Some(booked) = self.booked.take() {
            rates.refund(booked);
            self.turn = Some((now, most));
        }
        if amount == Amount::default() {
            self.turn = None;
            return;
        }
        rates.note(amount);
        let part = amount.first(self.turn.map_or(most, |(_, left)| left));
        self.turn = self.turn.map(|(at, left)| (at, left.less(part)));
        self.owed = amount.less(part);
        rates.book(part, now);
    }
}

/// Whoever leaves pays at once what is owed, or to come back would be cheaper than to wait.
impl Drop for Share {
    fn drop(&mut self) {
        let now = tokio::time::Instant::now().into_std();
        let owed = std::mem::take(&mut self.owed);
        self.charge(Amount::default(), now);
        self.tenant.rates().book(owed, now);
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
    fn who_has_spent_its_burst_waits_for_the_first_record() {
        let mut pace = Pace::new(10.0, 0.0).unwrap();
        pace.spend_burst();
        assert_eq!(pace.wait(), None);
        pace.charge(5, 10);
        let wait = pace.wait().unwrap();
        assert!(wait > Duration::from_millis(400) && wait <= Duration::from_millis(500), "{wait:?}");
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

    mod of_a_tenant {
        //! The kinds of trouble: a stream that starves, one that gets more by larger records, one that is idle and takes a
        //! part, one that comes back to read before the others, a rate that is used for less than it allows.

        use std::collections::BinaryHeap;

        use super::super::*;
        use crate::limits::Limits;
        use crate::metrics::Metrics;
        use crate::settings::{LimitSettings, TenantLimits};

        /// A stream as its writer serves it: it reads `record` bytes at a time as often as it may, or is idle.
        struct Reader {
            share: Share,
            record: u64,
            /// Bytes that it may still read; it has no more to read then.
            left: u64,
            got: u64,
        }

        struct World {
            limits: Arc<Limits>,
            start: Instant,
        }

        impl World {
            fn with(event_rate: &str, byte_rate: &str) -> World {
                let (event_rate, byte_rate) = (event_rate.parse().unwrap(), byte_rate.parse().unwrap());
                let tenant = TenantLimits { event_rate, byte_rate, ..TenantLimits::default() };
                let settings = LimitSettings { tenant, ..LimitSettings::default() };
                World { limits: Limits::new(&settings, Arc::new(Metrics::new())), start: Instant::now() }
            }

            fn tenant(&self) -> Arc<Tenant> {
                let name = tailrace_bridge::TenantId::new("acme").unwrap();
                let place = self.limits.enter(&name, None, std::net::Ipv4Addr::LOCALHOST.into()).unwrap();
                Arc::clone(place.tenant())
            }
        }

        fn readers(tenant: &Arc<Tenant>, records: &[u64]) -> Vec<Reader> {
            let reader = |&record| Reader { share: Share::of(tenant), record, left: u64::MAX, got: 0 };
            records.iter().map(reader).collect()
        }

        /// Serves each reader whenever it may read, for `seconds`; returns how long the longest wait was.
        fn run(readers: &mut [Reader], start: Instant, seconds: u64) -> Duration {
            let end = start + Duration::from_secs(seconds);
            let mut due: BinaryHeap<_> = (0..readers.len()).map(|n| std::cmp::Reverse((start, n))).collect();
            let mut longest = Duration::ZERO;
            while let Some(std::cmp::Reverse((now, n))) = due.pop().filter(|first| first.0.0 < end) {
                let reader = &mut readers[n];
                let wait = reader.share.wait(now);
                if wait.is_none() {
                    // Of a budget, one record at least.
                    let budget = reader.share.budget();
                    let records = (budget.bytes as u64 / reader.record).clamp(1, budget.records as u64);
                    let bytes = (records * reader.record).min(reader.left);
                    reader.left -= bytes;
                    reader.got += bytes;
                    reader.share.charge(Amount { events: bytes.div_ceil(reader.record), bytes }, now);
                    if reader.left == 0 {
                        continue;
                    }
                }
                longest = longest.max(wait.unwrap_or_default());
                due.push(std::cmp::Reverse((now + wait.unwrap_or_default(), n)));
            }
            longest
        }

        fn total(readers: &[Reader]) -> u64 {
            readers.iter().map(|reader| reader.got).sum()
        }

        #[test]
        fn streams_get_equal_parts_whatever_the_size_of_their_records_and_together_all_of_the_rate() {
            const RATE: u64 = 1 << 20;
            let world = World::with("0", "1MiB/s");
            let sizes = [100, 1000, 10_000, 100_000, 1 << 20];
            let mut readers = readers(&world.tenant(), &sizes);
            run(&mut readers, world.start, 60);
            let (total, fair) = (total(&readers), 60 * RATE / 5);
            assert!(total > 59 * RATE && total < 63 * RATE, "{total}");
            for reader in &readers {
                let (got, record) = (reader.got, reader.record);
                assert!(
                    got + 2 * record > fair * 8 / 10 && got < fair * 12 / 10 + 2 * record,
                    "{record}: {got} of {fair}"
                );
            }
        }

        #[test]
        fn no_stream_starves_beside_a_thousand() {
            let world = World::with("1000", "0");
            let mut readers = readers(&world.tenant(), &[100; 1000]);
            run(&mut readers, world.start, 200);
            let (least, most) = readers
                .iter()
                .map(|reader| reader.got / 100)
                .fold((u64::MAX, 0), |(least, most), got| (least.min(got), most.max(got)));
            let total = total(&readers) / 100;
            assert!((199_000..=252_000).contains(&total), "{total}");
            assert!(least >= 100 && most <= 350, "{least} to {most}");
        }

        #[test]
        fn an_idle_stream_takes_no_part_and_one_that_needs_little_gets_it() {
            let world = World::with("100", "0");
            let tenant = world.tenant();
            let idle: Vec<Share> = (0..100).map(|_| Share::of(&tenant)).collect();
            let mut readers = readers(&tenant, &[1, 1]);
            readers[1].left = 50;
            run(&mut readers, world.start, 20);
            assert_eq!(readers[1].got, 50);
            assert!(readers[0].got >= 1950, "{}", readers[0].got);
            drop(idle);
        }

        #[test]
        fn attack_a_client_opens_a_new_stream_for_each_read_to_be_served_before_the_others() {
            let world = World::with("100", "0");
            let tenant = world.tenant();
            let mut honest = readers(&tenant, &[1]);
            let (mut now, mut taken) = (world.start, 0);
            for _ in 0..2000 {
                // It opens a stream, reads if it may, and leaves.
                let mut fresh = Share::of(&tenant);
                if fresh.wait(now).is_none() {
                    fresh.charge(Amount { events: 5, bytes: 5 }, now);
                    taken += 5;
                }
                drop(fresh);
                run(&mut honest, now, 0);
                now += Duration::from_millis(10);
            }
            let rate = 100 * 20;
            assert!(taken <= rate + 100 + 10, "{taken}");
        }

        #[test]
        fn attack_a_record_larger_than_the_rate_is_read_and_the_stream_is_left_before_it_is_paid() {
            let world = World::with("0", "1KiB/s");
            let tenant = world.tenant();
            let mut share = Share::of(&tenant);
            share.charge(Amount { events: 1, bytes: 100 << 10 }, world.start);
            drop(share);
            let mut back = Share::of(&tenant);
            assert!(back.next_turn(Instant::now()) > Some(Duration::from_secs(95)));
        }

        #[test]
        fn a_turn_that_was_booked_for_nothing_is_given_back() {
            let world = World::with("10", "0");
            let tenant = world.tenant();
            let mut one = Share::of(&tenant);
            one.charge(Amount { events: 20, bytes: 0 }, world.start);
            let mut idle = Share::of(&tenant);
            while one.next_turn(world.start).is_some() && one.owed != Amount::default() {}
            let before = tenant.rates().is_behind(world.start);
            assert!(before && idle.wait(world.start).is_some());
            let later = world.start + Duration::from_secs(10);
            assert_eq!(idle.wait(later), None);
            idle.charge(Amount::default(), later);
            assert!(!tenant.rates().is_behind(later));
        }

        #[test]
        fn a_stream_that_waits_goes_on_when_the_rate_is_lifted() {
            let world = World::with("0", "1");
            // Its stream is open, so that it is told of other limits.
            let name = tailrace_bridge::TenantId::new("acme").unwrap();
            let place = world.limits.enter(&name, None, std::net::Ipv4Addr::LOCALHOST.into()).unwrap();
            let mut share = Share::of(place.tenant());
            share.charge(Amount { events: 1, bytes: 1000 }, world.start);
            assert!(share.wait(world.start).is_some_and(|wait| wait <= LOOK));
            world.limits.apply_usual(TenantLimits::default());
            assert_eq!(share.wait(world.start), None);
        }
    }
}
