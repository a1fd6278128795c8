//! What the readers of a view take from it, and when its frames can be dropped.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::base::metrics;
use crate::base::sabotage::{Sabotage, broken};
use crate::base::sync::MutexGuard;
use crate::live::ring::Taken;
use crate::live::view::{View, ViewState};
use crate::log::topic::Topics;
use crate::position::Vector;

/// V, the next frame's number, and the shape of the topics, all read at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) vector: Arc<Vector>,
    pub(crate) next: u64,
    pub(crate) shape: u64,
    cuts: u32,
}

/// What a live subscription gets at its cursor.
#[derive(Debug)]
pub(crate) enum Live {
    /// Frames. If they reach the view's end, also V, and whether V is the id of the last frame.
    Frames(Taken, Option<(Arc<Vector>, bool)>),
    Nothing,
    /// The ring no longer has the cursor's frames.
    Overrun,
}

impl View {
    /// Records in the histogram that so many streams have delivered these frames, with records up to this timestamp.
    pub(crate) fn count_delivered(&self, frames: Range<u64>, timestamp: i64, streams: usize) {
        if let Some(deliveries) = self.shared.deliveries.get() {
            self.tell_delivered(&**deliveries, frames, streams);
        }
        if timestamp >= 0 && streams > 0 {
            metrics::delivered(self.shared.clock.unix_millis() - timestamp, streams);
        }
    }

    /// Counts one more reader of this view.
    pub(crate) fn enter(&self) {
        self.state.lock().readers += 1;
    }

    /// Counts one reader less; returns how many are left.
    pub(crate) fn leave(&self) -> u32 {
        let mut state = self.state.lock();
        state.readers = state.readers.checked_sub(1).expect("each reader leaves once");
        let left = state.readers;
        self.drop_taken(state);
        left
    }

    /// `count` live cursors have reached frame `next`; a negative `count`: so many subscriptions with that cursor have ended.
    pub(crate) fn arrived(&self, next: u64, count: i32) {
        let mut state = self.state.lock();
        if next == state.ring.next() {
            state.at_end += count;
            self.drop_taken(state);
        }
    }

    /// Drops all frames once every reader has them. With very many views, each has one reader, which takes its frames at once.
    fn drop_taken(&self, mut state: MutexGuard<'_, ViewState>) {
        if i64::from(state.at_end) >= i64::from(state.readers) && state.ring.size() > 0 {
            let taken = state.ring.take_all();
            drop(state);
            drop(taken);
        }
    }

    /// V, raised to the heads, and the number of the next frame.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut state = self.state.lock();
        state.refresh();
        let (vector, next) = (state.vector.clone(), state.ring.next());
        Snapshot { vector, next, shape: state.shape, cuts: state.cuts }
    }

    /// When the frame with this number came into the ring; `None` if the ring does not have it.
    pub(crate) fn pushed_at(&self, number: u64) -> Option<Instant> {
        self.state.lock().ring.pushed_at(number)
    }

    /// The number of the next frame.
    pub(crate) fn next(&self) -> u64 {
        self.state.lock().ring.next()
    }

    pub(crate) fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    /// Rises whenever a topic or partition is added or removed.
    pub(crate) fn shape(&self) -> u64 {
        self.state.lock().shape
    }

    /// The topics and their registered partitions, with the shape that they belong to. All readers share the list.
    pub(crate) fn topics(&self) -> (u64, Arc<Topics>) {
        let state = self.state.lock();
        (state.shape, state.coverage.topics().clone())
    }

    pub(crate) fn take(&self, cursor: u64, records: usize, bytes: usize) -> Live {
        let state = self.state.lock();
        if cursor == state.ring.next() {
            return Live::Nothing;
        }
        let Some(taken) = state.ring.take(cursor, records, bytes) else { return Live::Overrun };
        let at_end = cursor + taken.marks.len() as u64 == state.ring.next();
        let end = at_end.then(|| (state.vector.clone(), state.framed));
        Live::Frames(taken, end)
    }

    /// V, raised to the heads, if `cursor` is the view's next frame; `None` for any other cursor.
    pub(crate) fn vector_at(&self, cursor: u64) -> Option<Arc<Vector>> {
        let mut state = self.state.lock();
        if cursor != state.ring.next() && !broken(Sabotage::ProgressAnywhere) {
            return None;
        }
        state.refresh();
        Some(state.vector.clone())
    }

    /// Whether a reader may join the view at the snapshot: its frames are still in the ring, and no position was moved back
    /// since. After such a move the same offset can mean another record, and the reader would get a gap that is not its own.
    pub(crate) fn holds(&self, snapshot: &Snapshot) -> bool {
        let state = self.state.lock();
        snapshot.next >= state.ring.first() && snapshot.cuts == state.cuts
    }

    /// Whether a position was moved back since the snapshot. If so, the snapshot's positions may be of a log that was
    /// truncated, and must not be a replay's target.
    pub(crate) fn was_cut_since(&self, snapshot: &Snapshot) -> bool {
        self.state.lock().cuts != snapshot.cuts
    }

    /// Drops frames that every reader had time to take by `now`, and the oldest ones beyond `cap` bytes. Returns whether any
    /// are left.
    pub(crate) fn trim(&self, now: Option<Instant>, cap: usize) -> bool {
        let mut state = self.state.lock();
        if let Some(now) = now {
            state.ring.trim_old(now);
        }
        state.ring.trim_to(cap);
        state.filled = state.ring.size() > 0;
        state.filled
    }
}
