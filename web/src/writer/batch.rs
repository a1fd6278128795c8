//! What the streams of a view get together: frames up to the view's end, encoded for whoever needs them.

use std::ops::Range;

use bytes::Bytes;

use super::chunk::{Chunks, Coding};

pub(super) struct Batch {
    /// The numbers of the frames in the view, and their sizes.
    frames: Range<u64>,
    sizes: Vec<u32>,
    slices: Vec<Bytes>,
    /// The frames as they are, in a chunk.
    plain: Option<Bytes>,
}

impl Batch {
    /// `slices` end at ends of frames.
    pub(super) fn new((first, sizes): (u64, Vec<u32>), slices: Vec<Bytes>) -> Batch {
        let frames = first..first + sizes.len() as u64;
        Batch { frames, sizes, slices, plain: None }
    }

    pub(super) fn frames(&self) -> Range<u64> {
        self.frames.clone()
    }

    /// All frames.
    pub(super) fn slices(&self) -> &[Bytes] {
        &self.slices
    }

    /// The frames from this number on, which may be the one after the last.
    pub(super) fn from(&self, number: u64) -> Vec<Bytes> {
        let before = &self.sizes[..(number - self.frames.start) as usize];
        let mut skip: usize = before.iter().map(|size| *size as usize).sum();
        let mut left = Vec::with_capacity(self.slices.len());
        for slice in &self.slices {
            let gone = skip.min(slice.len());
            skip -= gone;
            if gone < slice.len() {
                left.push(slice.slice(gone..));
            }
        }
        left
    }

    /// The frames as they are, in a chunk that all share.
    pub(super) fn plain(&mut self, chunks: &Chunks) -> Bytes {
        self.plain.get_or_insert_with(|| chunks.encode(&self.slices, Coding::Chunked)).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_from_a_number_on_are_those_whatever_the_slices() {
        let slices = [&b"abb"[..], b"cccdd", b"e"].map(Bytes::from_static).to_vec();
        let batch = Batch::new((7, vec![1, 2, 3, 2, 1]), slices);
        let from = |number| String::from_utf8(batch.from(number).concat()).unwrap();
        assert_eq!([7, 8, 9, 10, 11, 12].map(from), ["abbcccdde", "bbcccdde", "cccdde", "dde", "e", ""]);
    }
}
