//! A cache of one entry: the frames that a subscription was given last, for the next one at the same cursor of the same view.

use std::sync::Arc;

use crate::live::view::View;
use crate::position::Vector;

/// What one subscription was given at its view's end, with what the caller has encoded it to (`E`), for others that stand at the
/// same place: they need neither look nor copy nor encode. For one thread that serves many subscriptions one after the other.
///
/// [`Subscription::next_keeping`] keeps frames here, [`LastFrames::set_encoded`] follows each such call, and from then on
/// [`Subscription::repeat`] may take them, until others are kept. Frames without an encoding are dropped by the next call, so that
/// no encoding is ever taken for that of other frames.
///
/// [`Subscription::next_keeping`]: crate::Subscription::next_keeping
/// [`Subscription::repeat`]: crate::Subscription::repeat
#[derive(Debug, Default)]
pub struct LastFrames<E> {
    last: Option<Last>,
    encoded: Option<E>,
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
    /// Of the newest record, for the histogram.
    pub(crate) timestamp: i64,
    /// How many subscriptions have taken them of which neither the histogram nor the view knows yet.
    pub(crate) unreported: usize,
}

impl<E> LastFrames<E> {
    /// What the frames were encoded to; to be called after each [`Subscription::next_keeping`] that gave frames. `encode` is
    /// called where they are kept.
    ///
    /// [`Subscription::next_keeping`]: crate::Subscription::next_keeping
    pub fn set_encoded(&mut self, encode: impl FnOnce() -> E) {
        if self.last.is_some() && self.encoded.is_none() {
            self.encoded = Some(encode());
        }
    }

    /// How many records are in what [`Subscription::repeat`](crate::Subscription::repeat) takes.
    pub fn records(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.records)
    }

    /// How many bytes those frames are, before they are encoded.
    pub fn bytes(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.bytes)
    }

    /// Reports to the histogram and to the view who has taken the frames, and drops them; the view drops those that everybody has.
    /// To be called when the thread turns to something else, before it sleeps.
    pub fn report_and_drop(&mut self) {
        self.encoded = None;
        if let Some(last) = self.last.take() {
            last.view.count_delivered(last.timestamp, last.unreported);
            last.view.arrived(last.next, last.unreported as i32);
        }
    }

    /// The frames, where they may be taken.
    pub(crate) fn kept(&mut self) -> Option<(&mut Last, &E)> {
        Some((self.last.as_mut()?, self.encoded.as_ref()?))
    }

    pub(crate) fn drop_unencoded(&mut self) {
        if self.encoded.is_none() {
            self.report_and_drop();
        }
    }

    pub(crate) fn keep(&mut self, last: Last) {
        self.report_and_drop();
        self.last = Some(last);
    }
}

impl<E> Drop for LastFrames<E> {
    fn drop(&mut self) {
        self.report_and_drop();
    }
}
