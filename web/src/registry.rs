//! The open streams, for operators: who reads what, how far behind, and the order to end.
//!
//! A stream and the registry share one [`Entry`]. The stream writes its counters there without a lock; the registry only
//! knows where the entries are. They are in parts, each with a lock of its own, so that whoever lists ten thousand of them
//! holds up nobody who opens or closes a stream.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use tailrace_bridge::{Standing, Subscription, TenantId, ViewRef};
use tokio::sync::watch;
use triomphe::ThinArc;

use crate::limits::Place;
use crate::moment::Moment;

/// The parts of the registry: a power of two.
const PARTS: usize = 256;
/// How many more entries a part that is full gets room for. Doubling would leave a third of all room unused.
const ROOM: usize = 8;
/// How long a revocation also ends streams whose requests came before it. A request takes less than this to become a stream.
const KEPT: Duration = Duration::from_secs(120);
/// The most revocations that are kept for that.
const MAX_KEPT: usize = 1024;

/// The registry, shared by all requests.
pub(crate) struct Registry {
    parts: [Mutex<Part>; PARTS],
    kept: Mutex<Kept>,
    /// The number of the newest revocation. Whoever waits for a change also wakes streams.
    revocations: watch::Sender<u64>,
}

/// Streams, in any order. With ten thousand of them there are forty in a part, and to find one takes less time than its hash.
type Part = Vec<Entered>;
/// Each stream has one, so it has no room for a count of weak references.
pub(crate) type Entered = triomphe::Arc<Entry>;

/// The newest revocations.
#[derive(Default)]
struct Kept {
    /// The number of the last one that is no longer kept.
    forgotten: u64,
    /// The others, in order, each with its time.
    revocations: VecDeque<(Moment, Revocation)>,
}

/// Which streams end: those that meet all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Revocation {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) subject: Option<String>,
    pub(crate) id: Option<StreamId>,
}

/// The number of a stream, drawn at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamId(u64);

/// The revocations that a request has seen before it was allowed.
#[derive(Clone, Copy)]
pub(crate) struct Seen(u64);

/// The claim `sub` of a stream's token, as small as a pointer.
struct Subject(ThinArc<(), u8>);

/// One open stream.
pub(crate) struct Entry {
    pub(crate) id: StreamId,
    /// Also says its tenant and its topics.
    pub(crate) view: ViewRef,
    subject: Option<Subject>,
    /// IPv4 as mapped IPv6.
    address: Ipv6Addr,
    /// In whole seconds.
    since: u32,
    /// Whether it is a page, which ends by itself.
    pub(crate) is_page: bool,
    revoked: AtomicBool,
    /// What the stream has got, and where it stands. Only the stream itself writes it.
    events: AtomicU64,
    bytes: AtomicU64,
    standing: AtomicU64,
    /// Whoever lists streams holds it for as long as that takes, should the stream end meanwhile.
    place: Place,
    registry: Arc<Registry>,
}

/// What a stream brings when it is entered.
pub(crate) struct Arrival<'a> {
    pub(crate) subscription: &'a Subscription,
    pub(crate) subject: Option<&'a str>,
    pub(crate) address: IpAddr,
    pub(crate) is_page: bool,
    /// Its share of the limits, held for as long as it is open.
    pub(crate) place: Place,
    /// From before its request was checked.
    pub(crate) seen: Seen,
}

/// A stream's part in the registry; dropping it takes the stream out.
pub(crate) struct Registered(Entered);

impl Registry {
    pub(crate) fn new() -> Arc<Registry> {
        let parts = std::array::from_fn(|_| Mutex::default());
        Arc::new(Registry { parts, kept: Mutex::default(), revocations: watch::Sender::new(0) })
    }

    /// To be called before a request is checked: what is revoked afterwards also ends the stream that the request becomes.
    pub(crate) fn seen(&self) -> Seen {
        Seen(*self.revocations.borrow())
    }

    /// Reports each revocation.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.revocations.subscribe()
    }

    /// Enters a stream.
    pub(crate) fn enter(self: &Arc<Self>, arrival: Arrival<'_>) -> Registered {
        let Arrival { subscription, subject, address, is_page, place, seen } = arrival;
        let entry = Entered::new(Entry {
            id: StreamId(rand::rng().random()),
            view: subscription.view_ref(),
            subject: subject.map(Subject::of),
            address: mapped(address),
            since: (Moment::now().millis() / 1000) as u32,
            is_page,
            revoked: AtomicBool::new(false),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            standing: AtomicU64::new(subscription.standing().to_bits()),
            place,
            registry: Arc::clone(self),
        });
        let mut part = self.part(entry.id).lock();
        if part.len() == part.capacity() {
            let room = ROOM.max(part.len() / 8);
            part.reserve_exact(room);
        }
        part.push(entry.clone());
        drop(part);
        // Only now: a revocation that does not find the entry is found here.
        if self.is_revoked_since(seen, &entry, subscription.tenant()) {
            entry.revoked.store(true, Ordering::Relaxed);
        }
        Registered(entry)
    }

    fn is_revoked_since(&self, seen: Seen, entry: &Entry, tenant: &TenantId) -> bool {
        if *self.revocations.borrow() == seen.0 {
            return false;
        }
        let kept = self.kept.lock();
        let since = seen.0.saturating_sub(kept.forgotten) as usize;
        // If one of them is forgotten, it may have meant this stream.
        seen.0 < kept.forgotten
            || kept.revocations.iter().skip(since).any(|(_, one)| one.means(entry, tenant))
    }

    /// Every open stream, part by part.
    pub(crate) fn entries(&self) -> Vec<Entered> {
        let mut all = Vec::new();
        for part in &self.parts {
            let part = part.lock();
            all.extend(part.iter().cloned());
        }
        all
    }

    /// How many streams are open.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().len()).sum()
    }

    /// Ends the streams that are meant; returns how many they are. Each gets its last block from its own thread or task.
    pub(crate) fn revoke(&self, revocation: &Revocation) -> usize {
        self.keep(revocation.clone());
        let entries = self.entries();
        let meant = entries.iter().filter(|entry| entry.is_meant_by(revocation));
        let count = meant.filter(|entry| !entry.revoked.swap(true, Ordering::Relaxed)).count();
        // Only now: whoever is woken sees what has been stored before.
        self.revocations.send_modify(|_| {});
        count
    }

    fn keep(&self, revocation: Revocation) {
        let now = Moment::now();
        let mut kept = self.kept.lock();
        let is_old = |at: Moment| at.plus(KEPT) < now;
        while kept.revocations.front().is_some_and(|(at, _)| is_old(*at))
            || kept.revocations.len() >= MAX_KEPT
        {
            kept.revocations.pop_front();
            kept.forgotten += 1;
        }
        kept.revocations.push_back((now, revocation));
        // Under the lock, so that numbers are in order.
        self.revocations.send_modify(|number| *number += 1);
    }

    fn part(&self, id: StreamId) -> &Mutex<Part> {
        &self.parts[id.0 as usize % PARTS]
    }
}

impl Revocation {
    /// Whether it names nothing, and so would mean every stream.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Revocation::default()
    }

    fn means(&self, entry: &Entry, tenant: &TenantId) -> bool {
        self.id.is_none_or(|id| id == entry.id)
            && self.subject.as_deref().is_none_or(|subject| entry.subject() == Some(subject))
            && self.tenant.as_ref().is_none_or(|wanted| wanted == tenant)
    }
}

impl Entry {
    pub(crate) fn address(&self) -> IpAddr {
        self.address.to_canonical()
    }

    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.as_ref().map(Subject::as_str)
    }

    /// For how long it has been open.
    pub(crate) fn age(&self, now: Moment) -> Duration {
        Duration::from_secs((now.millis() / 1000).saturating_sub(u64::from(self.since)))
    }

    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Bytes of the event stream, without the framing of HTTP.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing::from_bits(self.standing.load(Ordering::Relaxed))
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }

    /// A stream without a view has just ended.
    fn is_meant_by(&self, revocation: &Revocation) -> bool {
        self.view.tenant().is_some_and(|tenant| revocation.means(self, &tenant))
    }
}

/// There is one writer, so that nothing is lost between load and store; a locked instruction would cost more than both.
fn add(count: &AtomicU64, more: usize) {
    count.store(count.load(Ordering::Relaxed) + more as u64, Ordering::Relaxed);
}

impl Registered {
    /// The stream's share of the limits.
    pub(crate) fn place(&self) -> &Place {
        &self.0.place
    }

    /// Counts what the stream has got.
    pub(crate) fn add(&self, events: usize, bytes: usize) {
        add(&self.0.events, events);
        add(&self.0.bytes, bytes);
    }

    /// Publishes where the stream stands.
    pub(crate) fn stands(&self, standing: Standing) {
        self.0.standing.store(standing.to_bits(), Ordering::Relaxed);
    }

    /// Whether an operator has ordered the stream's end.
    pub(crate) fn is_revoked(&self) -> bool {
        self.0.is_revoked()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let entry = &self.0;
        let mut part = entry.registry.part(entry.id).lock();
        let at = part.iter().position(|other| Entered::ptr_eq(other, entry));
        let removed = at.map(|at| part.swap_remove(at));
        if part.is_empty() {
            // Frees the memory that a storm needed.
            *part = Vec::new();
        }
        // The registry's share of the entry is dropped without the lock.
        drop(part);
        drop(removed);
    }
}

impl Subject {
    fn of(text: &str) -> Subject {
        Subject(ThinArc::from_header_and_slice((), text.as_bytes()))
    }

    fn as_str(&self) -> &str {
        // It was made of text.
        std::str::from_utf8(&self.0.slice).unwrap_or_default()
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for StreamId {
    type Err = &'static str;

    /// Only exactly as it is shown: nothing else names a stream.
    fn from_str(text: &str) -> Result<StreamId, &'static str> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let number =
            u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16 && text.bytes().all(is_digit));
        number.map(StreamId).ok_or("16 hexadecimal digits, as GET /streams shows them")
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests;
