//! Where a subscription stands, as a number that its owner can publish, and how far that is behind its view, for whoever
//! reads the number: an operator's list of streams must not touch the streams themselves.

use std::cell::OnceCell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::live::view::View;
use crate::position::Vector;
use crate::read::subscription::{State, Subscription};
use crate::record::tenant::TenantId;

/// The bits of a number that are flags; the others are the place.
const REPLAYS: u64 = 1 << 63;
const WAS_LIVE: u64 = 1 << 62;
const PLACE: u64 = WAS_LIVE - 1;

/// Where a subscription stands: the frame of its view that it takes next, or, while it replays, the sum of its offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing(u64);

impl Standing {
    fn of(subscription: &Subscription) -> Standing {
        let was_live = if subscription.synced { WAS_LIVE } else { 0 };
        match subscription.state {
            State::Live { cursor } => Standing(was_live | (cursor & PLACE)),
            State::Replaying(_) => Standing(REPLAYS | was_live | sum(&subscription.vector)),
        }
    }

    /// As one integer.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The inverse of [`Standing::to_bits`].
    pub fn from_bits(bits: u64) -> Standing {
        Standing(bits)
    }

    /// Whether the subscription replays.
    pub fn is_replaying(self) -> bool {
        self.0 & REPLAYS != 0
    }

    /// Whether its client has been told that it is live, now or before.
    pub fn was_live(self) -> bool {
        self.0 & WAS_LIVE != 0
    }
}

/// The sum of the known offsets, without the bits that are flags: differences of two sums stay right.
fn sum(vector: &Vector) -> u64 {
    let positions = vector.parts.iter().flat_map(|part| &part.positions);
    let known = positions.filter(|position| position.is_known());
    known.fold(0_u64, |sum, position| sum.wrapping_add(position.offset)) & PLACE
}

/// The view of a subscription, for others than its owner. It does not keep the view.
#[derive(Clone, Debug)]
pub struct ViewRef(Weak<View>);

impl ViewRef {
    /// The view's state, while somebody reads it.
    pub fn look(&self) -> Option<ViewPosition> {
        Some(ViewPosition::of(self.0.upgrade()?))
    }

    /// Whose records it has, while somebody reads it.
    pub fn tenant(&self) -> Option<TenantId> {
        Some(self.0.upgrade()?.tenant().clone())
    }

    /// Distinguishes views whose subscriptions are open.
    pub fn number(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

/// A view at one moment, as far as others measure their distance from it.
#[derive(Debug)]
pub struct ViewPosition {
    view: Arc<View>,
    next: u64,
    /// The sum of its offsets, once it has been needed.
    offsets: OnceCell<u64>,
}

/// How far a subscription is behind its view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Events that it has not taken; while it replays, the offsets up to the view's positions, of which some or all may hold
    /// no record for it.
    pub count: u64,
    /// How long the oldest of these events has been waiting; `None` while it replays, or if the view no longer has the event.
    pub waits: Option<Duration>,
}

impl ViewPosition {
    fn of(view: Arc<View>) -> ViewPosition {
        ViewPosition { next: view.next(), offsets: OnceCell::new(), view }
    }

    fn offsets(&self) -> u64 {
        *self.offsets.get_or_init(|| sum(&self.view.snapshot().vector))
    }

    /// Whose records the view has.
    pub fn tenant(&self) -> &TenantId {
        self.view.tenant()
    }

    /// The names of its topics, sorted; empty: all.
    pub fn topics(&self) -> &[String] {
        self.view.key().topics()
    }

    /// How far a subscription of this view that stands there is behind it.
    pub fn behind(&self, standing: Standing) -> Behind {
        let place = standing.0 & PLACE;
        if standing.is_replaying() {
            return Behind { count: distance(self.offsets(), place), waits: None };
        }
        match self.next.saturating_sub(place) {
            0 => Behind { count: 0, waits: Some(Duration::ZERO) },
            count => Behind { count, waits: self.view.pushed_at(place).map(|at| self.since(at)) },
        }
    }

    fn since(&self, at: Instant) -> Duration {
        self.view.now().saturating_duration_since(at)
    }
}

/// How far `to` is ahead of `from`; 0 if it is not.
fn distance(to: u64, from: u64) -> u64 {
    match to.wrapping_sub(from) & PLACE {
        ahead if ahead > PLACE / 2 => 0,
        ahead => ahead,
    }
}

impl Subscription {
    /// Where it stands. A replaying subscription adds up its positions.
    pub fn standing(&self) -> Standing {
        Standing::of(self)
    }

    /// Its view, for others.
    pub fn view_ref(&self) -> ViewRef {
        ViewRef(Arc::downgrade(&self.hold.view))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{Fingerprint, Part, Position, TopicId};

    fn vector(offsets: &[u64]) -> Vector {
        let positions = offsets.iter().map(|&offset| Position { offset, epoch: 0 }).collect();
        Vector { parts: vec![Part { fingerprint: Fingerprint::new("a", TopicId([7; 16])), positions }] }
    }

    #[test]
    fn a_distance_is_right_although_sums_overflow() {
        let most = i64::MAX as u64 - 10;
        let (from, to) =
            (sum(&vector(&[most, most, u64::MAX])), sum(&vector(&[most + 3, most + 4, u64::MAX])));
        assert_eq!((distance(to, from), distance(from, to), distance(to, to)), (7, 0, 0));
    }

    #[test]
    fn flags_do_not_touch_the_place() {
        let standing = Standing(REPLAYS | WAS_LIVE | 5);
        assert_eq!(Standing::from_bits(standing.to_bits()), standing);
        assert!(standing.is_replaying() && standing.was_live() && standing.0 & PLACE == 5);
    }
}
