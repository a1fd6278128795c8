//! The coded body of one stream: what its client has so far, as far as the next piece depends on it.

use bytes::Bytes;

use super::blocks;
use super::context::Piece;
use super::sum::Sum;
use crate::coding::ContentCoding;

pub(in crate::writer) struct Body {
    coding: ContentCoding,
    /// The number of the piece that continues what the client has; zero: it is outside of every stretch.
    next: u64,
    /// Of everything; only gzip needs it.
    sum: Sum,
}

impl Body {
    pub(in crate::writer) fn new(coding: ContentCoding) -> Body {
        Body { coding, next: 0, sum: Sum::default() }
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
        self.next = 0;
        if self.coding == ContentCoding::Gzip {
            self.sum.add(slices);
        }
        let mut out = Vec::with_capacity(slices.iter().map(Bytes::len).sum::<usize>() + 16);
        blocks::store(self.coding, slices, &mut out);
        out
    }

    /// The client gets what the piece has. Whether the piece itself can follow what it has, and not only one that stands alone.
    pub(super) fn takes(&mut self, piece: &Piece) -> bool {
        if let Some(sum) = &piece.sum {
            self.sum.append(&piece.content, sum);
        }
        let takes = piece.is_first || self.next == piece.number;
        self.next = if takes { piece.number + 1 } else { 0 };
        takes
    }

    /// The last bytes as they are, and the end.
    pub(in crate::writer) fn end(&mut self, last: Bytes) -> Bytes {
        let mut out = self.store(&[last]);
        blocks::end(self.coding, &self.sum, &mut out);
        out.into()
    }
}
