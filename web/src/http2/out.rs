//! What a connection has to send: its own bytes, and between them pieces that it shares with others.

use bytes::Bytes;
use smallvec::SmallVec;

/// Smaller pieces are copied: one more piece costs the kernel about as much as copying this many bytes.
const SHARED: usize = 1024;

#[derive(Debug)]
pub(crate) struct Out {
    pub(super) bytes: Vec<u8>,
    /// Pieces, each with its place among the bytes.
    shared: Vec<(usize, Bytes)>,
    shared_size: usize,
    /// Whether everything is copied: over TLS, each piece would be a record of its own.
    copies: bool,
}

impl Out {
    pub(super) fn new(copies: bool) -> Out {
        Out { bytes: Vec::new(), shared: Vec::new(), shared_size: 0, copies }
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.shared_size
    }

    pub(super) fn put(&mut self, piece: Bytes) {
        if self.copies || piece.len() < SHARED {
            return self.bytes.extend_from_slice(&piece);
        }
        self.shared_size += piece.len();
        self.shared.push((self.bytes.len(), piece));
    }

    /// Takes everything, in order.
    pub(crate) fn take(&mut self) -> SmallVec<[Bytes; 1]> {
        let (mut own, mut pieces, mut before) =
            (Bytes::from(std::mem::take(&mut self.bytes)), SmallVec::new(), 0);
        for (at, piece) in std::mem::take(&mut self.shared) {
            pieces.push(own.split_to(at - before));
            pieces.push(piece);
            before = at;
        }
        pieces.push(own);
        pieces.retain(|piece: &mut Bytes| !piece.is_empty());
        self.shared_size = 0;
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn everything_is_taken_in_order(
            sizes in proptest::collection::vec((0_usize..3000, 0_usize..40), 0..12), copies in proptest::prelude::any::<bool>()
        ) {
            let (mut out, mut all) = (Out::new(copies), Vec::new());
            for (n, (shared, own)) in sizes.into_iter().enumerate() {
                let (own, shared) = (vec![n as u8; own], vec![!n as u8; shared]);
                all.extend_from_slice(&own);
                all.extend_from_slice(&shared);
                out.bytes.extend_from_slice(&own);
                out.put(shared.into());
            }
            proptest::prop_assert_eq!(out.size(), all.len());
            let pieces = out.take();
            proptest::prop_assert!(!copies || pieces.len() <= 1);
            proptest::prop_assert_eq!(pieces.concat(), all);
            proptest::prop_assert_eq!((out.size(), out.take().len()), (0, 0));
        }
    }
}
