//! The rates of a page: those of a stream, and the share in those of its tenant.
//!
//! A stream reads, and pays by reading later. A page has no later: it begins with nothing to its credit, pays for what it has
//! read before it is answered, and so ends with nothing owed. A client that asks for page after page gets no more a second
//! than one that has a stream.

use std::time::{Duration, Instant};

use tailrace_bridge::Budget;

use crate::limit::Limit;
use crate::limits::Amount;
use crate::pace::{Pace, Share, UNPACED};
use crate::registry::Registered;

/// The rates of one page.
pub(super) struct Rates {
    own: Option<Pace>,
    shared: Option<Share>,
}

impl Rates {
    pub(super) fn new(mut own: Option<Pace>, registered: &Registered) -> Rates {
        if let Some(own) = &mut own {
            own.spend_burst();
        }
        let tenant = registered.place().tenant();
        let shared = tenant.rates().is_limited().then(|| Share::of(tenant));
        Rates { own, shared }
    }

    /// `Some`: nothing may be read for that long, by which limit; then it is to be called again.
    pub(super) fn wait(&mut self, now: Instant) -> Option<(Duration, Limit)> {
        self.wait_to_give().or_else(|| Some((self.shared.as_mut()?.wait(now)?, Limit::TenantRate)))
    }

    /// `Some`: what was read may not be given for that long, by which limit.
    pub(super) fn wait_to_give(&mut self) -> Option<(Duration, Limit)> {
        Some((self.own.as_mut()?.wait()?, Limit::StreamRate))
    }

    /// The most of one read.
    pub(super) fn budget(&self) -> Budget {
        let own = self.own.as_ref().map_or(UNPACED, Pace::budget);
        let shared = self.shared.as_ref().map_or(UNPACED, Share::budget);
        Budget { records: own.records.min(shared.records), bytes: own.bytes.min(shared.bytes) }
    }

    /// A read took so much, which may be nothing.
    pub(super) fn charge(&mut self, records: usize, bytes: usize, now: Instant) {
        if let Some(own) = &mut self.own {
            own.charge(records, bytes);
        }
        if let Some(shared) = &mut self.shared {
            shared.charge(Amount { events: records as u64, bytes: bytes as u64 }, now);
        }
    }
}
