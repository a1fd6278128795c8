//! What the streams of one tenant share: its limits, its rates, and the count of those that read history.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tailrace_bridge::Meter;

use super::{Limits, RETRY_FULL, full};
use crate::limit::Limit;
use crate::problem::Passing;
use crate::settings::TenantLimits;

/// The most events and bytes of one turn where the tenant has a rate: what the rate allows in this time, so that the others
/// wait no longer for their turns.
const READ_TIME: f64 = 0.05;
/// The bounds of that.
const READ_EVENTS: (u64, u64) = (1, 256);
const READ_BYTES: (u64, u64) = (1, 64 * 1024);

/// One tenant that has streams, or had some a moment ago. There may be as many as streams, so what few of them need is behind a
/// pointer.
pub(crate) struct Tenant {
    pub(super) limits: Weak<Limits>,
    pub(super) number: u32,
    replays: AtomicU32,
    /// Zero: no limit.
    max_replays: AtomicU32,
    /// Zero: no limit.
    max_conditions: AtomicU32,
    /// Set once it has a rate.
    rates: OnceLock<Box<TenantRates>>,
    /// Shared with the subscriptions of the tenant.
    replay_rate: Arc<Meter>,
    filters: Mutex<Option<Box<Filters>>>,
}

/// What a tenant has that never had a rate.
static UNLIMITED: LazyLock<TenantRates> = LazyLock::new(|| TenantRates::unlimited(Instant::now()));

/// The different filters of a tenant's open streams, those with conditions that count.
#[derive(Default)]
struct Filters {
    /// How many streams have the filter, by its hash.
    streams: HashMap<u64, usize>,
    /// Conditions of all of them.
    conditions: usize,
}

/// What the streams of a tenant may get a second, together.
pub(crate) struct TenantRates {
    events: Meter,
    bytes: Meter,
    /// What a read takes on average: so much is booked for the next one.
    usual_events: AtomicU32,
    usual_bytes: AtomicU32,
}

/// Events, and bytes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl Amount {
    /// As much of it as `most`.
    pub(crate) fn first(self, most: Amount) -> Amount {
        Amount { events: self.events.min(most.events), bytes: self.bytes.min(most.bytes) }
    }

    /// What is left without `part`.
    pub(crate) fn less(self, part: Amount) -> Amount {
        Amount {
            events: self.events.saturating_sub(part.events),
            bytes: self.bytes.saturating_sub(part.bytes),
        }
    }
}

/// A stream's share in the replays that the tenant may have at once; dropping it frees the share.
pub(crate) struct ReplayPlace(Arc<Tenant>);

impl Tenant {
    pub(super) fn new(limits: Weak<Limits>, number: u32, own: &TenantLimits, now: Instant) -> Tenant {
        let tenant = Tenant {
            limits,
            number,
            replays: AtomicU32::new(0),
            max_replays: AtomicU32::new(0),
            max_conditions: AtomicU32::new(0),
            rates: OnceLock::new(),
            replay_rate: Arc::new(Meter::new(own.replay_byte_rate.per_second(), now)),
            filters: Mutex::default(),
        };
        tenant.set(own, now);
        tenant
    }

    /// Takes other limits. What is open stays open.
    pub(super) fn set(&self, own: &TenantLimits, now: Instant) {
        if self.rates.get().is_some() || !own.event_rate.is_none() || !own.byte_rate.is_none() {
            let rates = self.rates.get_or_init(|| Box::new(TenantRates::unlimited(now)));
            rates.events.set_rate(own.event_rate.per_second(), now);
            rates.bytes.set_rate(own.byte_rate.per_second(), now);
        }
        self.replay_rate.set_rate(own.replay_byte_rate.per_second(), now);
        self.max_replays.store(at_most(own.max_replays), Ordering::Relaxed);
        self.max_conditions.store(at_most(own.max_conditions), Ordering::Relaxed);
    }

    /// Whether something is still to be paid, or will be: a tenant that comes back must not find it forgotten.
    pub(super) fn owes(&self, now: Instant) -> bool {
        // A read of history that has begun is paid at its end, by whoever asked for it, also if they have left meanwhile.
        let is_read = Arc::strong_count(&self.replay_rate) > 1;
        let meters = [&self.rates().events, &self.rates().bytes, &*self.replay_rate];
        meters.into_iter().any(|meter| meter.owes(now)) || (is_read && self.replay_rate.is_limited())
    }

    pub(crate) fn rates(&self) -> &TenantRates {
        match self.rates.get() {
            Some(rates) => rates,
            None => &UNLIMITED,
        }
    }

    /// The rate at which the tenant's replays may examine records.
    pub(crate) fn replay_rate(&self) -> &Arc<Meter> {
        &self.replay_rate
    }

    /// Takes a place for a stream that reads history, or returns why there is none.
    pub(crate) fn enter_replay(self: &Arc<Self>) -> Result<ReplayPlace, Passing> {
        let max = self.max_replays.load(Ordering::Relaxed);
        let one_more = |replays: u32| (max == 0 || replays < max).then_some(replays + 1);
        match self.replays.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(ReplayPlace(Arc::clone(self))),
            Err(_) => Err(full(Limit::MaxReplaysPerTenant, max as usize, RETRY_FULL)),
        }
    }

    #[cfg(test)]
    pub(super) fn replays(&self) -> usize {
        self.replays.load(Ordering::Relaxed) as usize
    }
}

/// A stream's share in the conditions that its tenant may have; dropping it frees the share.
pub(crate) struct FilterPlace {
    tenant: Arc<Tenant>,
    filter: u64,
    conditions: usize,
}

impl Tenant {
    /// Takes a place for a filter, by a hash of all that makes it another one, or returns why there is none. A filter that another
    /// stream has already costs nothing more. `None`: none of its conditions counts.
    pub(crate) fn enter_filter(
        self: &Arc<Self>,
        filter: u64,
        conditions: usize,
    ) -> Result<Option<FilterPlace>, Passing> {
        if conditions == 0 {
            return Ok(None);
        }
        let max = self.max_conditions.load(Ordering::Relaxed) as usize;
        let mut filters = self.filters.lock();
        let filters = filters.get_or_insert_default();
        let sum = filters.conditions + conditions;
        match filters.streams.entry(filter) {
            Entry::Occupied(mut streams) => *streams.get_mut() += 1,
            Entry::Vacant(_) if max > 0 && sum > max => {
                return Err(full(Limit::MaxConditionsPerTenant, max, RETRY_FULL));
            }
            Entry::Vacant(vacant) => {
                vacant.insert(1);
                filters.conditions = sum;
            }
        }
        Ok(Some(FilterPlace { tenant: Arc::clone(self), filter, conditions }))
    }

    #[cfg(test)]
    pub(super) fn conditions(&self) -> (usize, usize) {
        let filters = self.filters.lock();
        filters.as_ref().map_or((0, 0), |filters| (filters.streams.len(), filters.conditions))
    }
}

impl Drop for FilterPlace {
    fn drop(&mut self) {
        let mut filters = self.tenant.filters.lock();
        let Some(own) = filters.as_mut() else { return };
        let Entry::Occupied(mut streams) = own.streams.entry(self.filter) else { return };
        *streams.get_mut() -= 1;
        if *streams.get() == 0 {
            streams.remove();
            own.conditions = own.conditions.saturating_sub(self.conditions);
        }
        if own.streams.is_empty() {
            *filters = None;
        }
    }
}

impl Drop for ReplayPlace {
    fn drop(&mut self) {
        self.0.replays.fetch_sub(1, Ordering::Relaxed);
    }
}

impl TenantRates {
    fn unlimited(now: Instant) -> TenantRates {
        TenantRates {
            events: Meter::new(0.0, now),
            bytes: Meter::new(0.0, now),
            usual_events: AtomicU32::new(1),
            usual_bytes: AtomicU32::new(256),
        }
    }

    /// Whether there is any limit: the only question that a stream of an unlimited tenant asks.
    pub(crate) fn is_limited(&self) -> bool {
        self.events.is_limited() || self.bytes.is_limited()
    }

    /// How often the rates were changed.
    pub(crate) fn changes(&self) -> u32 {
        self.events.changes().wrapping_add(self.bytes.changes())
    }

    /// Whether more was taken than is paid for.
    pub(crate) fn is_behind(&self, now: Instant) -> bool {
        self.events.wait(now).is_some() || self.bytes.wait(now).is_some()
    }

    /// Pays for what was, or is about to be, taken; `Some`: nothing should be taken before that time has passed.
    pub(crate) fn book(&self, amount: Amount, now: Instant) -> Option<Duration> {
        let events = self.events.book(amount.events, now);
        let bytes = self.bytes.book(amount.bytes, now);
        events.max(bytes).map(|until| until.saturating_duration_since(now))
    }

    /// Takes back what was booked and not taken.
    pub(crate) fn refund(&self, amount: Amount) {
        self.events.refund(amount.events);
        self.bytes.refund(amount.bytes);
    }

    /// The most of one turn.
    pub(crate) fn most(&self) -> Amount {
        let within = |meter: &Meter, (low, high): (u64, u64)| match meter.per_second() {
            0.0 => u64::MAX,
            rate => ((rate * READ_TIME) as u64).clamp(low, high),
        };
        Amount { events: within(&self.events, READ_EVENTS), bytes: within(&self.bytes, READ_BYTES) }
    }

    /// What a read takes on average.
    pub(crate) fn usual(&self) -> Amount {
        Amount {
            events: u64::from(self.usual_events.load(Ordering::Relaxed)),
            bytes: u64::from(self.usual_bytes.load(Ordering::Relaxed)),
        }
    }

    /// A read took so much.
    pub(crate) fn note(&self, amount: Amount) {
        let most = self.most();
        average(&self.usual_events, amount.events.min(most.events).clamp(1, READ_EVENTS.1));
        average(&self.usual_bytes, amount.bytes.min(most.bytes).clamp(1, READ_BYTES.1));
    }
}

/// A limit; one that no count reaches is the largest.
fn at_most(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// An eighth of the new value. If two threads do this at once, one of the values is lost, which does no harm.
fn average(usual: &AtomicU32, new: u64) {
    let before = u64::from(usual.load(Ordering::Relaxed));
    let sum = 7 * before + new;
    let after = if new > before { sum.div_ceil(8) } else { sum / 8 };
    usual.store(after.max(1) as u32, Ordering::Relaxed);
}
