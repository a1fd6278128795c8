//! Limits of open streams and of the rate of new ones: in all, per tenant, per subject, per address.
//!
//! A stream holds a [`Place`] while it is open. What the streams of a tenant share besides is its [`Tenant`]: the rates of what
//! they get and of what their replays examine, and how many read history. `TAILRACE_LIMITS_FILE` may have other limits for some
//! tenants, and is read again while the server runs ([`mod@file`]).

mod counted;
pub(crate) mod file;
mod rates;
mod tenant;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use metrics::gauge;
use parking_lot::Mutex;
use tailrace_bridge::{Rate, TenantId};

use self::counted::Counted;
use self::rates::Rates;
pub(crate) use self::tenant::{Amount, FilterPlace, ReplayPlace, Tenant};
use crate::limit::{Limit, Reached};
use crate::metrics::Metrics;
use crate::problem::{Passing, PassingCode};
use crate::settings::{LimitSettings, TenantLimits};

/// When to retry where it is not known when a place becomes free.
const RETRY_FULL: Duration = Duration::from_secs(5);
/// Tenants without streams that still owe for what they took: more are forgotten at once.
const MAX_OWING: usize = 10_000;
/// Stands for a stream without a subject.
const NO_SUBJECT: u32 = u32::MAX;

/// The counts and the limits, shared by all requests.
pub(crate) struct Limits {
    max_streams: usize,
    max_per_address: usize,
    address_rate: Rate,
    open: Mutex<Open>,
    /// Locked apart, so that a flood of refused requests does not delay the end of streams.
    connects: Mutex<Connects>,
    /// For [`Subject`], drawn at random, so that nobody can choose names that collide.
    hasher: RandomState,
    metrics: Arc<Metrics>,
    own: Weak<Limits>,
}

/// Open streams. An entry is removed with its last stream, so the maps are never larger than the number of streams (but for
/// [`MAX_OWING`] tenants).
#[derive(Default)]
struct Open {
    streams: usize,
    tenants: Counted<TenantId, Arc<Tenant>>,
    subjects: Counted<Subject>,
    addresses: Counted<IpAddr>,
}

/// The rates of new streams, and what the limits of tenants are.
struct Connects {
    tenants: Rates<TenantId>,
    addresses: Rates<IpAddr>,
    /// What holds for a tenant that is not in `of`.
    usual: TenantLimits,
    of: HashMap<TenantId, TenantLimits>,
}

/// A subject of a tenant, by a hash of both: the name comes from a token and may be long. Subjects of other tenants with the same
/// name count for themselves, or one tenant's users could take the places of another's.
type Subject = u64;

/// One stream's share of the limits; dropping it frees the share.
pub(crate) struct Place {
    tenant: Arc<Tenant>,
    subject: u32,
    address: u32,
}

impl Limits {
    pub(crate) fn new(settings: &LimitSettings, metrics: Arc<Metrics>) -> Arc<Limits> {
        let limit = if settings.max_streams == 0 { f64::INFINITY } else { settings.max_streams as f64 };
        gauge!("tailrace_streams_limit").set(limit);
        Arc::new_cyclic(|own| Limits {
            max_streams: settings.max_streams,
            max_per_address: settings.max_streams_per_address,
            address_rate: settings.connect_rate_per_address,
            open: Mutex::default(),
            connects: Mutex::new(Connects {
                tenants: Rates::default(),
                addresses: Rates::default(),
                usual: settings.tenant,
                of: settings.file.as_ref().map(|file| file.tenants.clone()).unwrap_or_default(),
            }),
            hasher: RandomState::new(),
            metrics,
            own: own.clone(),
        })
    }

    /// No limits at all.
    #[cfg(test)]
    pub(crate) fn none() -> Arc<Limits> {
        Limits::new(&LimitSettings::default(), Arc::new(Metrics::new()))
    }

    /// The number of open streams.
    pub(crate) fn streams(&self) -> usize {
        self.open.lock().streams
    }

    /// Takes a place for a stream, or returns why there is none. `None`: the stream has no subject.
    pub(crate) fn enter(
        &self,
        tenant: &TenantId,
        subject: Option<&str>,
        address: IpAddr,
    ) -> Result<Place, Passing> {
        self.enter_at(tenant, subject, address, Instant::now())
    }

    fn enter_at(
        &self,
        tenant: &TenantId,
        subject: Option<&str>,
        address: IpAddr,
        now: Instant,
    ) -> Result<Place, Passing> {
        let address = network(address);
        let subject = subject.map(|subject| self.hasher.hash_one((tenant.as_str(), subject)));
        let limits = self.check_rates(tenant, &address, now)?;
        let mut open = self.open.lock();
        self.check_counts(&open, &limits, tenant, subject, &address)?;
        open.streams += 1;
        let number = open
            .tenants
            .enter(tenant, |number| Arc::new(Tenant::new(self.own.clone(), number, &limits, now)));
        let place = Place {
            tenant: Arc::clone(open.tenants.value(number)),
            subject: subject.map_or(NO_SUBJECT, |subject| open.subjects.enter(&subject, |_| ())),
            address: open.addresses.enter(&address, |_| ()),
        };
        drop(open);
        self.metrics.streams.increment(1.0);
        Ok(place)
    }

    /// Distinguishes what is the same for all streams of one view.
    pub(crate) fn hash_of(&self, view: impl Hash) -> u64 {
        self.hasher.hash_one(view)
    }

    /// The limits of a tenant.
    pub(crate) fn of_tenant(&self, tenant: &TenantId) -> TenantLimits {
        self.connects.lock().of(tenant)
    }

    /// Whether one more stream may begin now; the limits of the tenant. The address comes first: what it has too many of takes
    /// nothing from the tenant's rate.
    fn check_rates(
        &self,
        tenant: &TenantId,
        address: &IpAddr,
        now: Instant,
    ) -> Result<TenantLimits, Passing> {
        let mut connects = self.connects.lock();
        let too_fast = |limit, rate: Rate| {
            move |after| Passing::limited(PassingCode::RateLimited, Reached::new(limit, rate), after)
        };
        let rate = self.address_rate;
        connects.addresses.check(address, rate, now).map_err(too_fast(Limit::ConnectRatePerAddress, rate))?;
        let limits = connects.of(tenant);
        let rate = limits.connect_rate;
        connects.tenants.check(tenant, rate, now).map_err(too_fast(Limit::ConnectRatePerTenant, rate))?;
        Ok(limits)
    }

    fn check_counts(
        &self,
        open: &Open,
        limits: &TenantLimits,
        tenant: &TenantId,
        subject: Option<Subject>,
        address: &IpAddr,
    ) -> Result<(), Passing> {
        let of_tenant = |max| if max == 0 { 0 } else { open.tenants.count(tenant) };
        let of_subject = subject.map_or(0, |subject| open.subjects.count(&subject));
        let counts = [
            (Limit::MaxStreams, self.max_streams, open.streams),
            (Limit::MaxStreamsPerTenant, limits.max_streams, of_tenant(limits.max_streams)),
            (Limit::MaxStreamsPerSubject, limits.max_streams_per_subject, of_subject),
            (Limit::MaxStreamsPerAddress, self.max_per_address, open.addresses.count(address)),
        ];
        match counts.into_iter().find(|(_, max, count)| *max > 0 && count >= max) {
            Some((limit, max, _)) => Err(full(limit, max, RETRY_FULL)),
            None => Ok(()),
        }
    }

    /// Takes other limits for some tenants. Streams that are open stay open, also where there are more than the new limit.
    pub(crate) fn apply(&self, of: HashMap<TenantId, TenantLimits>) {
        let now = Instant::now();
        let mut connects = self.connects.lock();
        connects.of = of;
        // Both are held, so that no tenant begins with the limits before.
        for (name, tenant) in self.open.lock().tenants.iter() {
            tenant.set(&connects.of(name), now);
        }
    }

    /// Takes other limits for the tenants that are not named.
    #[cfg(test)]
    pub(crate) fn apply_usual(&self, usual: TenantLimits) {
        self.connects.lock().usual = usual;
        self.apply(HashMap::new());
    }

    /// Removes the rates of tenants and addresses that had no new stream for a while; called regularly.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut connects = self.connects.lock();
        connects.tenants.sweep(now);
        connects.addresses.sweep(now);
        drop(connects);
        self.open.lock().tenants.sweep(|tenant| tenant.owes(now));
    }
}

impl Connects {
    fn of(&self, tenant: &TenantId) -> TenantLimits {
        self.of.get(tenant).copied().unwrap_or(self.usual)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(limits) = self.tenant.limits.upgrade() else { return };
        let now = Instant::now();
        let mut open = limits.open.lock();
        debug_assert!(open.streams > 0, "whoever leaves has entered");
        open.streams = open.streams.saturating_sub(1);
        let may_owe = open.tenants.len() < MAX_OWING + open.streams;
        open.tenants.leave(self.tenant.number, |tenant| may_owe && tenant.owes(now));
        if self.subject != NO_SUBJECT {
            open.subjects.leave(self.subject, |_| false);
        }
        open.addresses.leave(self.address, |_| false);
        drop(open);
        limits.metrics.streams.decrement(1.0);
    }
}

impl Place {
    /// What the streams of its tenant share.
    pub(crate) fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The number of the tenant, unique among the tenants that have streams.
    pub(crate) fn tenant_number(&self) -> u32 {
        self.tenant.number
    }
}

fn full(limit: Limit, max: usize, after: Duration) -> Passing {
    Passing::limited(PassingCode::TooManyStreams, Reached::new(limit, max), after)
}

/// The address that limits apply to: the /64 of an IPv6 address, as one household has a whole /64. An IPv6 address that stands
/// for an IPv4 address counts as that: mapped (RFC 4291), translated by NAT64 (RFC 6052), or of a 6to4 network (RFC 3056), whose
/// owner has 65,536 of /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else { return address.to_canonical() };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let ipv4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => ipv4(g, h),
        (0x2002, _) => ipv4(b, c),
        _ => IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)),
    }
}

#[cfg(test)]
mod tests;
