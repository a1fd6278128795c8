//! The memory of all views' frames together, and which views have any: a view without costs nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::ring::MAX_AGE;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::view::View;

/// A view with frames is looked at this often: they go at the latest so long after their time.
const VISIT: Duration = Duration::from_secs(MAX_AGE.as_secs() / 2);

/// All rings of a bridge.
#[derive(Debug, Default)]
pub(crate) struct Rings {
    /// Bytes that all of them may hold.
    limit: usize,
    used: Arc<AtomicUsize>,
    /// Views that have frames, each once, with the time of the next visit; the soonest first.
    filled: Mutex<VecDeque<(Instant, Weak<View>)>>,
}

impl Rings {
    /// All together may hold `limit` bytes; what they hold is counted in `used`.
    pub(crate) fn new(limit: usize, used: Arc<AtomicUsize>) -> Rings {
        Rings { limit, used, ..Rings::default() }
    }

    /// Bytes in all rings.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Notes that one ring had `before` bytes and has `after`.
    pub(crate) fn note(&self, before: usize, after: usize) {
        match after.checked_sub(before) {
            Some(more) => self.used.fetch_add(more, Ordering::Relaxed),
            None => self.used.fetch_sub(before - after, Ordering::Relaxed),
        };
    }

    /// A view has its first frames.
    pub(crate) fn add(&self, view: Weak<View>) {
        self.filled.lock().push_back((Instant::now() + VISIT, view));
    }

    /// Where all together are over the limit, leaves none more than an equal share. To be called without a view's lock.
    pub(crate) fn shed(&self) {
        if self.used() <= self.limit {
            return;
        }
        let count = self.filled.lock().len();
        for _ in 0..count {
            self.visit_next(|_| true, |view| view.trim(None, self.limit / count));
            if self.used() <= self.limit {
                return;
            }
        }
    }

    /// Drops frames that everybody had time to take.
    pub(crate) fn drop_old(&self, now: Instant) {
        while self.visit_next(|due| due <= now, |view| view.trim(Some(now), usize::MAX)) {}
    }

    /// Visits the first view, if `is_due`; `trim` says whether it still has frames. False: there was none.
    fn visit_next(&self, is_due: impl Fn(Instant) -> bool, trim: impl FnOnce(&Arc<View>) -> bool) -> bool {
        let mut filled = self.filled.lock();
        if !filled.front().is_some_and(|(due, _)| is_due(*due)) {
            return false;
        }
        let Some((_, view)) = filled.pop_front() else { return false };
        drop(filled);
        if let Some(view) = view.upgrade()
            && trim(&view)
        {
            self.add(Arc::downgrade(&view));
        }
        true
    }
}
