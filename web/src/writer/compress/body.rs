//! The coded body of one stream: what its client has so far, as far as the next piece depends on it.

use bytes::Bytes;
use flate2::Crc;

use super::blocks;
use crate::coding::ContentCoding;

pub(in crate::writer) struct Body {
    coding: ContentCoding,
    /// The number of the piece that continues what the client has; zero: it is outside of every stretch.
    next: u64,
    /// gzip's checksum of everything, and its size.
    sum: Crc,
}

impl Body {
    pub(in crate::writer) fn new(coding: ContentCoding) -> Body {
        Body { coding, next: 0, sum: Crc::new() }
    }

    pub(in crate::writer) fn coding(&self) -> ContentCoding {
        self.coding
    }

    /// What comes first.
    pub(in crate::writer) fn begin(&self) -> Bytes {
        blocks::begin(self.coding)
    }

    /// The bytes as they are, in blocks. The client is outside of every stretch then.
    pub(super) fn store(&mut self, slices: &[Bytes]) -> Vec<u8> {
        self.note(slices, 0);
        let mut out = Vec::with_capacity(slices.iter().map(Bytes::len).sum::<usize>() + 16);
        blocks::store(self.coding, slices, &mut out);
        out
    }

    /// Takes a piece of a stretch with this content, if it can follow what the client has.
    pub(super) fn takes(&mut self, number: u64, is_first: bool, slices: &[Bytes]) -> bool {
        let takes = is_first || self.next == number;
        if takes {
            self.note(slices, number + 1);
        }
        takes
    }

    /// Takes a piece with this content that stands alone.
    pub(super) fn take_alone(&mut self, slices: &[Bytes]) {
        self.note(slices, 0);
    }

    fn note(&mut self, slices: &[Bytes], next: u64) {
        self.next = next;
        if self.coding == ContentCoding::Gzip {
            slices.iter().for_each(|slice| self.sum.update(slice));
        }
    }

    /// The last bytes as they are, and the end.
    pub(in crate::writer) fn end(&mut self, last: Bytes) -> Bytes {
        let mut out = self.store(&[last]);
        blocks::end(self.coding, &self.sum, &mut out);
        out.into()
    }
}
