//! Limits of open streams and of the rate of new ones: in all, per tenant, per address.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use hashbrown::HashTable;
use metrics::gauge;
use parking_lot::Mutex;
use slab::Slab;
use tailrace_bridge::TenantId;

use crate::metrics::Metrics;
use crate::problem::{Passing, PassingCode};
use crate::settings::LimitSettings;

/// Keys that a rate limiter may hold; above it, old keys are removed before the next regular sweep.
const MAX_RATE_KEYS: usize = 100_000;
/// When to retry where it is not known when a place becomes free.
const RETRY_FULL: Duration = Duration::from_secs(5);

/// The counts and the limits, shared by all requests.
pub(crate) struct Limits {
    max_streams: usize,
    max_per_tenant: usize,
    max_per_address: usize,
    open: Mutex<Open>,
    tenant_rate: Option<DefaultKeyedRateLimiter<TenantId>>,
    address_rate: Option<DefaultKeyedRateLimiter<IpAddr>>,
    metrics: Arc<Metrics>,
}

/// Open streams. An entry is removed with its last stream, so the maps are never larger than the number of streams.
#[derive(Default)]
struct Open {
    streams: usize,
    tenants: Counts<TenantId>,
    addresses: Counts<IpAddr>,
}

/// How many streams each key has. A key with streams has a number: ten thousand places store numbers, not names.
struct Counts<K> {
    /// Numbers, by the hash of their keys.
    numbers: HashTable<u32>,
    hasher: RandomState,
    counts: Slab<(K, u32)>,
}

/// One stream's share of the limits; dropping it frees the share.
pub(crate) struct Place {
    limits: Arc<Limits>,
    tenant: u32,
    address: u32,
}

impl Limits {
    pub(crate) fn new(settings: &LimitSettings, metrics: Arc<Metrics>) -> Limits {
        let limit = if settings.max_streams == 0 { f64::INFINITY } else { settings.max_streams as f64 };
        gauge!("tailrace_streams_limit").set(limit);
        Limits {
            max_streams: unlimited(settings.max_streams),
            max_per_tenant: unlimited(settings.max_streams_per_tenant),
            max_per_address: unlimited(settings.max_streams_per_address),
            open: Mutex::default(),
            tenant_rate: quota(settings.connect_rate_per_tenant).map(RateLimiter::keyed),
            address_rate: quota(settings.connect_rate_per_address).map(RateLimiter::keyed),
            metrics,
        }
    }

    /// No limits at all.
    #[cfg(test)]
    pub(crate) fn none() -> Arc<Limits> {
        Arc::new(Limits {
            max_streams: usize::MAX,
            max_per_tenant: usize::MAX,
            max_per_address: usize::MAX,
            open: Mutex::default(),
            tenant_rate: None,
            address_rate: None,
            metrics: Arc::new(Metrics::new()),
        })
    }

    /// The number of open streams.
    pub(crate) fn streams(&self) -> usize {
        self.open.lock().streams
    }

    /// Takes a place for a stream, or returns why there is none.
    pub(crate) fn enter(self: &Arc<Self>, tenant: &TenantId, address: IpAddr) -> Result<Place, Passing> {
        let address = network(address);
        check_rate(self.address_rate.as_ref(), &address, "from this address")?;
        check_rate(self.tenant_rate.as_ref(), tenant, "of this tenant")?;
        let mut open = self.open.lock();
        if open.streams >= self.max_streams {
            return Err(full("all places for streams are taken"));
        }
        if open.tenants.count(tenant) >= self.max_per_tenant {
            return Err(full("this tenant has as many streams as it may"));
        }
        if open.addresses.count(&address) >= self.max_per_address {
            return Err(full("this address has as many streams as it may"));
        }
        open.streams += 1;
        let (tenant, address) = (open.tenants.enter(tenant), open.addresses.enter(&address));
        drop(open);
        self.metrics.streams.increment(1.0);
        Ok(Place { limits: Arc::clone(self), tenant, address })
    }

    /// Removes the rates of tenants and addresses that had no new stream for a while; called regularly.
    pub(crate) fn sweep(&self) {
        if let Some(limiter) = &self.tenant_rate {
            limiter.retain_recent();
        }
        if let Some(limiter) = &self.address_rate {
            limiter.retain_recent();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock();
        open.streams = open.streams.saturating_sub(1);
        open.tenants.leave(self.tenant);
        open.addresses.leave(self.address);
        drop(open);
        self.limits.metrics.streams.decrement(1.0);
    }
}

impl Place {
    /// The number of the tenant, unique among the tenants that have streams.
    pub(crate) fn tenant(&self) -> u32 {
        self.tenant
    }
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Counts { numbers: HashTable::new(), hasher: RandomState::new(), counts: Slab::new() }
    }
}

impl<K: Clone + Eq + Hash> Counts<K> {
    fn number(&self, key: &K) -> Option<u32> {
        let is_it = |number: &u32| self.counts[*number as usize].0 == *key;
        self.numbers.find(self.hasher.hash_one(key), is_it).copied()
    }

    fn count(&self, key: &K) -> usize {
        self.number(key).map_or(0, |number| self.counts[number as usize].1 as usize)
    }

    fn enter(&mut self, key: &K) -> u32 {
        let number = self.number(key).unwrap_or_else(|| {
            let number = self.counts.insert((key.clone(), 0)) as u32;
            let hash = |number: &u32| self.hasher.hash_one(&self.counts[*number as usize].0);
            self.numbers.insert_unique(hash(&number), number, hash);
            number
        });
        self.counts[number as usize].1 += 1;
        number
    }

    fn leave(&mut self, number: u32) {
        let (key, count) = &mut self.counts[number as usize];
        *count -= 1;
        if *count == 0 {
            if let Ok(entry) = self.numbers.find_entry(self.hasher.hash_one(&*key), |one| *one == number) {
                entry.remove();
            }
            self.counts.remove(number as usize);
        }
    }
}

fn check_rate<K: Hash + Eq + Clone>(
    limiter: Option<&DefaultKeyedRateLimiter<K>>,
    key: &K,
    whose: &str,
) -> Result<(), Passing> {
    let Some(limiter) = limiter else { return Ok(()) };
    if limiter.len() > MAX_RATE_KEYS {
        limiter.retain_recent();
    }
    limiter.check_key(key).map_err(|until| Passing {
        code: PassingCode::RateLimited,
        detail: format!("new streams {whose} come too fast"),
        after: until.wait_time_from(DefaultClock::default().now()),
    })
}

fn full(detail: &str) -> Passing {
    Passing { code: PassingCode::TooManyStreams, detail: detail.to_owned(), after: RETRY_FULL }
}

/// The address that limits apply to: the /64 of an IPv6 address, as one household has a whole /64; an IPv4 address that is
/// mapped to IPv6 counts as IPv4.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

fn unlimited(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

/// `per_second` on average, in bursts of up to one second's worth; `None` for zero, which means no limit.
pub(crate) fn quota(per_second: f64) -> Option<Quota> {
    if per_second <= 0.0 {
        return None;
    }
    let period = Duration::try_from_secs_f64(1.0 / per_second).ok()?.max(Duration::from_nanos(1));
    let burst = NonZeroU32::new(per_second.ceil().min(f64::from(u32::MAX)) as u32).unwrap_or(NonZeroU32::MIN);
    Some(Quota::with_period(period)?.allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_per_tenant: usize) -> Arc<Limits> {
        let none = Arc::into_inner(Limits::none()).unwrap();
        Arc::new(Limits { max_streams: 3, max_per_tenant, ..none })
    }

    #[test]
    fn a_place_comes_back_when_it_is_dropped_and_nothing_is_kept_of_who_left() {
        let limits = limits(1);
        let (acme, other) = (TenantId::new("acme").unwrap(), TenantId::new("other").unwrap());
        let address = IpAddr::from([127, 0, 0, 1]);
        let first = limits.enter(&acme, address).ok().unwrap();
        assert_eq!(limits.enter(&acme, address).err().unwrap().code, PassingCode::TooManyStreams);
        let second = limits.enter(&other, address).ok().unwrap();
        assert_eq!(limits.streams(), 2);
        drop((first, second));
        let open = limits.open.lock();
        assert_eq!((open.streams, open.tenants.numbers.len(), open.addresses.numbers.len()), (0, 0, 0));
        assert!(open.tenants.counts.is_empty() && open.addresses.counts.is_empty());
    }

    #[test]
    fn one_ipv6_network_is_one_address_and_mapped_ipv4_is_ipv4() {
        let text = |text: &str| network(text.parse().unwrap());
        assert_eq!(text("2001:db8:1:2:3::4"), text("2001:db8:1:2:ffff::1"));
        assert_ne!(text("2001:db8:1:2::1"), text("2001:db8:1:3::1"));
        assert_eq!(text("::ffff:10.0.0.1"), text("10.0.0.1"));
    }
}
