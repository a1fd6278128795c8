//! HTTP/1.1's chunked coding (RFC 9112, section 7.1), and the memory of chunks that clients have not read yet.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// The end of a chunk.
const END: &[u8] = b"\r\n";
/// The chunk of size zero that ends the body.
const LAST: &[u8] = b"0\r\n\r\n";

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// By the last chunk.
    Chunked,
    /// By the end of the connection, as in HTTP/1.0.
    Plain,
    /// By the last message of a WebSocket, which is a close.
    Messages,
}

impl Coding {
    /// A chunk in this coding: without the marks of the chunked coding, the bytes are the same.
    pub(super) fn of(self, chunk: Bytes) -> Bytes {
        match self {
            Coding::Chunked => chunk,
            Coding::Plain | Coding::Messages => match memchr::memchr(b'\n', &chunk) {
                Some(size) => chunk.slice(size + 1..chunk.len() - END.len()),
                None => chunk,
            },
        }
    }
}

/// Makes chunks and counts their memory. A chunk counts once, however many streams keep it, until the last one drops it.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks(Arc<AtomicUsize>);

/// One chunk.
struct Chunk {
    bytes: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.capacity(), Ordering::Relaxed);
    }
}

impl Chunks {
    /// The memory of all chunks, in bytes.
    pub(super) fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// All slices as one chunk. If they are empty, so is the result: an empty chunk would end the body.
    pub(super) fn encode(&self, slices: &[Bytes], coding: Coding) -> Bytes {
        let size: usize = slices.iter().map(Bytes::len).sum();
        let mut out = Vec::with_capacity(size + 20);
        push(&mut out, slices, size, coding);
        self.keep(out)
    }

    /// The end of a body: `before`, the last block, and the last chunk.
    pub(super) fn end(&self, before: &[u8], block: Bytes, coding: Coding) -> Bytes {
        let mut out = Vec::with_capacity(before.len() + block.len() + 32);
        out.extend_from_slice(before);
        let size = block.len();
        push(&mut out, &[block], size, coding);
        if coding == Coding::Chunked {
            out.extend_from_slice(LAST);
        }
        self.keep(out)
    }

    /// The bytes of the pieces after the first `taken` bytes.
    pub(super) fn rest(&self, pieces: &[Bytes], mut taken: usize) -> Bytes {
        if let [piece] = pieces {
            return piece.slice(taken..);
        }
        let mut out = Vec::with_capacity(pieces.iter().map(Bytes::len).sum::<usize>() - taken);
        for piece in pieces {
            let gone = taken.min(piece.len());
            out.extend_from_slice(&piece[gone..]);
            taken -= gone;
        }
        self.keep(out)
    }

    /// A copy that only one stream keeps.
    pub(super) fn copy(&self, bytes: &[u8]) -> Bytes {
        self.keep(bytes.to_vec())
    }

    fn keep(&self, bytes: Vec<u8>) -> Bytes {
        self.0.fetch_add(bytes.capacity(), Ordering::Relaxed);
        Bytes::from_owner(Chunk { bytes, held: Arc::clone(&self.0) })
    }
}

fn push(out: &mut Vec<u8>, slices: &[Bytes], size: usize, coding: Coding) {
    let is_chunk = coding == Coding::Chunked && size > 0;
    if is_chunk {
        // Writing to memory does not fail.
        let _ = write!(out, "{size:x}\r\n");
    }
    slices.iter().for_each(|slice| out.extend_from_slice(slice));
    if is_chunk {
        out.extend_from_slice(END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_its_size_in_hexadecimal_and_two_line_ends() {
        let slices = [Bytes::from_static(b"id: 1\n\n"), Bytes::from_static(b"data: x\n\n")];
        let (chunks, last) = (Chunks::default(), Bytes::from_static(b":\n\n"));
        let chunk = chunks.encode(&slices, Coding::Chunked);
        assert_eq!(chunk, "10\r\nid: 1\n\ndata: x\n\n\r\n");
        assert_eq!(chunks.end(b"x", last.clone(), Coding::Chunked), "x3\r\n:\n\n\r\n0\r\n\r\n");
        // The same for clients without the chunked coding.
        assert_eq!(chunks.encode(&slices, Coding::Plain), "id: 1\n\ndata: x\n\n");
        assert_eq!(Coding::Plain.of(chunk), "id: 1\n\ndata: x\n\n");
        assert_eq!(chunks.end(b"x", last, Coding::Plain), "x:\n\n");
    }

    #[test]
    fn nothing_to_say_does_not_end_the_body() {
        assert_eq!(Chunks::default().encode(&[], Coding::Chunked), "");
        assert_eq!(Chunks::default().encode(&[Bytes::new()], Coding::Chunked), "");
    }

    #[test]
    fn a_chunk_counts_once_until_the_last_part_of_it_is_gone() {
        let chunks = Chunks::default();
        let chunk = chunks.encode(&[Bytes::from(vec![b'x'; 1000])], Coding::Chunked);
        let rests: Vec<Bytes> = (0..100).map(|at| chunk.slice(at..)).collect();
        assert!((1000..1100).contains(&chunks.held()), "{}", chunks.held());
        drop(chunk);
        assert!(chunks.held() >= 1000);
        drop(rests);
        assert_eq!(chunks.held(), 0);
    }

    #[test]
    fn what_is_left_of_pieces_is_all_but_what_was_taken() {
        let chunks = Chunks::default();
        let pieces =
            [Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two"), Bytes::from_static(b"3")];
        let all = pieces.concat();
        for taken in 0..=all.len() {
            assert_eq!(chunks.rest(&pieces, taken), all[taken..]);
            // A single piece, which other streams may keep too, is not copied.
            let one = Bytes::from(all.clone());
            let rest = chunks.rest(std::slice::from_ref(&one), taken);
            assert_eq!((&rest, rest.as_ptr()), (&one.slice(taken..), one[taken..].as_ptr()));
        }
        assert_eq!(chunks.held(), 0);
    }
}
