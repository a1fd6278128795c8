//! A cache of one entry: the frames that a subscription was given last, for the next one at the same cursor of the same view.

use std::sync::Arc;

use crate::live::view::View;
use crate::position::Vector;

/// What one subscription was given at a view's end, for others that stand at the same place: they need neither look nor
/// copy. For one thread that serves many subscriptions one after the other.
#[derive(Debug, Default)]
pub struct Lookaside {
    pub(crate) last: Option<Last>,
    kept: u64,
}

/// Frames that were taken at the cursor `cursor`, up to the view's end.
#[derive(Debug)]
pub(crate) struct Last {
    /// Keeps the address from being another view's.
    pub(crate) view: Arc<View>,
    pub(crate) cursor: u64,
    /// The cursor, the positions, and whether the last frame bears them as its id, after them.
    pub(crate) next: u64,
    pub(crate) vector: Arc<Vector>,
    pub(crate) framed: bool,
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    /// Of the newest record, for the histogram, and how many had it and are not in there yet.
    pub(crate) timestamp: i64,
    pub(crate) uncounted: usize,
}

impl Lookaside {
    /// How many records are in what [`Subscription::repeat`](crate::Subscription::repeat) takes.
    pub fn records(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.records)
    }

    /// Rises with every time that something is kept here.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// How many bytes those are.
    pub fn bytes(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.bytes)
    }

    /// Forgets what was given: to be called when the thread turns to something else, before it sleeps.
    pub fn clear(&mut self) {
        if let Some(last) = self.last.take() {
            last.view.count_delivered(last.timestamp, last.uncounted);
            last.view.arrived(last.next, last.uncounted as i32);
        }
    }

    pub(crate) fn keep(&mut self, last: Last) {
        self.clear();
        self.kept += 1;
        self.last = Some(last);
    }
}

impl Drop for Lookaside {
    fn drop(&mut self) {
        self.clear();
    }
}
