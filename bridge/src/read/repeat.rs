//! A cache of one entry: the frames that a subscription took last, for the next one at the same cursor of the same view.

use std::sync::Arc;

use crate::live::view::View;
use crate::position::Vector;

/// The frames that one subscription took up to its view's end, with the caller's encoding of them (`E`). Other subscriptions at
/// the same cursor take them from here, and need not read the view, copy or encode. For one thread that serves many
/// subscriptions one after the other.
///
/// [`Subscription::next_keeping`] keeps frames here, [`LastFrames::set_encoded`] is to follow where it has, and from then on
/// [`Subscription::repeat`] may take them, until other frames are kept. Frames without an encoding are dropped by the next
/// call, so that an encoding is never used for other frames.
///
/// [`Subscription::next_keeping`]: crate::Subscription::next_keeping
/// [`Subscription::repeat`]: crate::Subscription::repeat
#[derive(Debug)]
pub struct LastFrames<E> {
    last: Option<Last>,
    encoded: Option<E>,
}

/// Frames that were taken from the cursor `cursor` up to the view's end.
#[derive(Debug)]
pub(crate) struct Last {
    /// Held so that no other view can have the same address.
    pub(crate) view: Arc<View>,
    pub(crate) cursor: u64,
    /// After the frames: the cursor, the positions, and whether the last frame's id is these positions.
    pub(crate) next: u64,
    pub(crate) vector: Arc<Vector>,
    pub(crate) framed: bool,
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    /// Those of each frame.
    pub(crate) sizes: Vec<u32>,
    /// The newest record's, for the latency histogram.
    pub(crate) timestamp: i64,
    /// How many subscriptions have taken the frames since the last report to the histogram and the view.
    pub(crate) unreported: usize,
}

impl<E> LastFrames<E> {
    /// Of the frames that the last [`Subscription::next_keeping`] gave, if it has kept them: the number of the first within their
    /// view, where no other frame ever has it and the others count on, and the size in bytes of each. Then
    /// [`LastFrames::set_encoded`] is to follow.
    ///
    /// [`Subscription::next_keeping`]: crate::Subscription::next_keeping
    pub fn fresh(&mut self) -> Option<(u64, Vec<u32>)> {
        let last = self.last.as_mut().filter(|_| self.encoded.is_none())?;
        Some((last.cursor, std::mem::take(&mut last.sizes)))
    }

    /// Sets the encoding of the frames that were kept.
    pub fn set_encoded(&mut self, encoded: E) {
        self.encoded = Some(encoded);
    }

    /// The encoding of the frames, once it was set.
    pub fn encoded(&mut self) -> Option<&mut E> {
        self.encoded.as_mut()
    }

    /// How many records [`Subscription::repeat`](crate::Subscription::repeat) would take.
    pub fn records(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.records)
    }

    /// How many bytes the kept frames have, before they are encoded.
    pub fn bytes(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.bytes)
    }

    /// Reports to the histogram and to the view how many subscriptions have taken the frames, and drops them here. The view
    /// then drops the frames that all its readers have. To be called at the end of the thread's round, before it sleeps.
    pub fn report_and_drop(&mut self) {
        self.encoded = None;
        if let Some(last) = self.last.take() {
            last.view.count_delivered(last.cursor..last.next, last.timestamp, last.unreported);
            last.view.arrived(last.next, last.unreported as i32);
        }
    }

    /// The kept frames, if they are encoded.
    pub(crate) fn kept(&mut self) -> Option<&mut Last> {
        self.last.as_mut().filter(|_| self.encoded.is_some())
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

impl<E> Default for LastFrames<E> {
    fn default() -> LastFrames<E> {
        LastFrames { last: None, encoded: None }
    }
}

impl<E> Drop for LastFrames<E> {
    fn drop(&mut self) {
        self.report_and_drop();
    }
}
