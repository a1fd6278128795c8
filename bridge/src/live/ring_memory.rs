//! The memory of all views' frames together, and the list of views that have frames: a view without frames costs nothing here.
//!
//! A page of frames leaves its ring
//! - when every reader of the view has taken its frames (`View::drop_taken`, in `live::delivery`),
//! - when its view's ring is larger than [`MAX_RING`](crate::live::ring::MAX_RING) (`View::pushed`, in
//!   `live::framing`),
//! - when all rings together are over the budget's share ([`RingMemory::shed`]),
//! - when every reader had [`MAX_AGE`] to take it ([`RingMemory::drop_old`], at each tick).
//!
//! Its charge is then released. Its bytes are freed when the last writer that holds a slice of them is done.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::base::sync::Mutex;
use crate::live::ring::MAX_AGE;
use crate::live::view::View;
use crate::log::memory::Account;

/// How often a view with frames is visited: an old frame is dropped at most this long after [`MAX_AGE`].
const VISIT: Duration = Duration::from_secs(MAX_AGE.as_secs() / 2);

/// How many views the list keeps capacity for.
const SPARE: usize = 1024;

/// All rings of a bridge.
#[derive(Debug, Default)]
pub(crate) struct RingMemory {
    /// Bytes that all rings may hold together.
    limit: usize,
    account: Account,
    /// Views that have frames, or had some a moment ago. Each is listed once, with the time of its next visit, soonest first.
    filled: Mutex<VecDeque<(Instant, Weak<View>)>>,
}

impl RingMemory {
    /// All rings together may hold `limit` bytes, charged to `account`.
    pub(crate) fn new(limit: usize, account: Account) -> RingMemory {
        RingMemory { limit, account, ..RingMemory::default() }
    }

    /// Bytes in all rings.
    pub(crate) fn used(&self) -> usize {
        self.account.used()
    }

    /// The account that rings are charged to.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Lists a view that has got its first frames.
    pub(crate) fn add(&self, view: Weak<View>, now: Instant) {
        self.filled.lock().push_back((now + VISIT, view));
    }

    /// Whether all rings together are over the limit.
    pub(crate) fn is_over(&self) -> bool {
        self.used() > self.limit
    }

    /// Trims rings to an equal share each, one after the other, until all are within the limit. To be called without a view's
    /// lock.
    pub(crate) fn shed(&self, now: Instant) {
        let share = self.limit / self.account.holders().max(1);
        let views = self.filled.lock().len();
        for _ in 0..views {
            self.visit_next(now, |_| true, |view| view.trim(None, share));
            if !self.is_over() {
                return;
            }
        }
    }

    /// Drops frames that every reader had time to take.
    pub(crate) fn drop_old(&self, now: Instant) {
        while self.visit_next(now, |due| due <= now, |view| view.trim(Some(now), usize::MAX)) {}
        // Very many views may have been busy at once.
        self.filled.lock().shrink_to(SPARE);
    }

    /// Visits the first view if `is_due`; `trim` returns whether the view still has frames. Returns false if no view was due.
    fn visit_next(
        &self,
        now: Instant,
        is_due: impl Fn(Instant) -> bool,
        trim: impl FnOnce(&Arc<View>) -> bool,
    ) -> bool {
        let mut filled = self.filled.lock();
        if !filled.front().is_some_and(|(due, _)| is_due(*due)) {
            return false;
        }
        let Some((_, view)) = filled.pop_front() else { return false };
        drop(filled);
        if let Some(view) = view.upgrade()
            && trim(&view)
        {
            self.add(Arc::downgrade(&view), now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;
    use crate::*;

    struct Nothing;

    impl Source for Nothing {
        fn read(&self, _: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
            async { Err(HistoryError::Gone) }.boxed()
        }

        fn offsets_at(&self, _: &str, _: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
            async { Err(HistoryError::Gone) }.boxed()
        }

        fn refresh(&self) -> BoxFuture<'static, ()> {
            async {}.boxed()
        }
    }

    fn acme() -> TenantId {
        TenantId::new("acme").unwrap()
    }

    fn subscribe(bridge: &Bridge) -> Subscription {
        let request = SubscribeRequest {
            tenant: acme(),
            topics: Vec::new(),
            filter: Filter::default(),
            framing: Framing::Sse,
            event_name: Default::default(),
            envelope: Envelope::None,
            unmasked: false,
            conflate: false,
            from: StartFrom::Latest,
            last_event_id: None,
        };
        bridge.subscribe(request).now_or_never().unwrap().unwrap()
    }

    fn append(bridge: &Bridge, offset: u64) {
        let record = NewRecord {
            offset,
            epoch: 0,
            timestamp: 0,
            key: None,
            value: Some(b"a value"),
            headers: Headers::default(),
            tenant: acme(),
            event_type: None,
            form: crate::record::form::Form::default(),
        };
        let partition = bridge.topic("orders").unwrap().partitions()[0].clone();
        bridge.append(&partition, &[record], Position { offset: offset + 1, epoch: 0 });
    }

    /// Takes all frames that there are; returns the number of records.
    fn read(subscription: &mut Subscription) -> usize {
        let mut all = 0;
        while let Next::Frames { records, .. } = subscription.next(Budget { records: 1, bytes: 1 << 20 }) {
            all += records;
        }
        all
    }

    #[test]
    fn frames_stay_for_who_has_not_taken_them_and_go_when_everybody_has() {
        let config = BridgeConfig {
            memory: 8 << 20,
            rules: Arc::new("header:tenant".parse().unwrap()),
            linger: Duration::ZERO,
            privacy: Arc::default(),
        };
        let bridge = Bridge::new(config, Arc::new(Nothing));
        bridge.add_topic("orders", TopicId([7; 16]), &[Start { offset: 0, epoch: 0, log_start: 0 }]);
        let used = || bridge.rings_used();
        let (mut one, mut other) = (subscribe(&bridge), subscribe(&bridge));
        append(&bridge, 0);
        append(&bridge, 1);
        assert_eq!((read(&mut one), used() > 0), (2, true));
        assert_eq!((read(&mut other), used()), (2, 0));
        // The only reader that lags is dropped.
        append(&bridge, 2);
        assert_eq!((read(&mut one), used() > 0), (1, true));
        drop(other);
        assert_eq!(used(), 0);
        // The reader that has the frames is dropped: the frames are kept for the other reader.
        let mut other = subscribe(&bridge);
        append(&bridge, 3);
        assert_eq!(read(&mut one), 1);
        drop(one);
        assert!(used() > 0);
        assert_eq!((read(&mut other), used()), (1, 0));
    }
}
