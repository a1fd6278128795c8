//! What the streams of a view get together: frames up to the view's end, encoded for whoever needs them.

use std::ops::Range;

use bytes::Bytes;

use super::chunk::{Chunks, Coding};

pub(super) struct Batch {
    /// The numbers of the frames in the view.
    frames: Range<u64>,
    slices: Vec<Bytes>,
    bytes: usize,
    /// The frames as they are, in a chunk.
    plain: Option<Bytes>,
}

impl Batch {
    pub(super) fn new(frames: Range<u64>, slices: Vec<Bytes>) -> Batch {
        let bytes = slices.iter().map(Bytes::len).sum();
        Batch { frames, slices, bytes, plain: None }
    }

    pub(super) fn frames(&self) -> Range<u64> {
        self.frames.clone()
    }

    pub(super) fn slices(&self) -> &[Bytes] {
        &self.slices
    }

    /// The size of the frames as they are.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The frames as they are, in a chunk that all share.
    pub(super) fn plain(&mut self, chunks: &Chunks) -> Bytes {
        self.plain.get_or_insert_with(|| chunks.encode(&self.slices, Coding::Chunked)).clone()
    }
}
