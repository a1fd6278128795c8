//! HTTP/1.1's chunked coding (RFC 9112, section 7.1).

use std::io::Write;

use bytes::Bytes;

/// The chunk after the last one.
pub(super) const LAST: &[u8] = b"0\r\n\r\n";

/// One chunk of all the slices, which are not empty, after `before`.
pub(super) fn encode(before: &[u8], slices: &[Bytes]) -> Bytes {
    let size: usize = slices.iter().map(Bytes::len).sum();
    let mut out = Vec::with_capacity(before.len() + size + 20);
    out.extend_from_slice(before);
    // Writing to memory does not fail.
    let _ = write!(out, "{size:x}\r\n");
    slices.iter().for_each(|slice| out.extend_from_slice(slice));
    out.extend_from_slice(b"\r\n");
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_its_size_in_hexadecimal_and_two_line_ends() {
        let slices = [Bytes::from_static(b"id: 1\n\n"), Bytes::from_static(b"data: x\n\n")];
        assert_eq!(encode(b"", &slices), "10\r\nid: 1\n\ndata: x\n\n\r\n");
    }
}
