//! A compressed body over HTTP/1.1: the head is passed over, chunks are joined, and what they have is decoded.

#[path = "../../web/tests/support/decoder.rs"]
mod decoder;

use decoder::Decoder;
use memchr::memmem::find;

#[derive(Default)]
pub(crate) struct Coded {
    /// What has come of the head, or of a chunk's size.
    line: Vec<u8>,
    decoder: Option<Decoder>,
    /// How many bytes of the chunk are to come, with its end.
    left: usize,
    content: Vec<u8>,
}

/// The end of a chunk.
const END: usize = b"\r\n".len();

impl Coded {
    /// What the bytes say, in addition to those before.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> &[u8] {
        self.content.clear();
        if self.decoder.is_none() {
            self.line.extend_from_slice(bytes);
            let Some(end) = find(&self.line, b"\r\n\r\n") else { return &self.content };
            let head = String::from_utf8_lossy(&self.line[..end]).into_owned();
            bytes = &bytes[bytes.len() - (self.line.len() - end - 2 * END)..];
            self.decoder = Some(Decoder::after(&head));
            self.line.clear();
        }
        let Some(decoder) = &mut self.decoder else { return &self.content };
        while let Some(&byte) = bytes.first() {
            if self.left > 0 {
                let count = self.left.min(bytes.len());
                let of_chunk = count.min(self.left.saturating_sub(END));
                decoder.take(&bytes[..of_chunk], &mut self.content);
                self.left -= count;
                bytes = &bytes[count..];
                continue;
            }
            bytes = &bytes[1..];
            self.line.push(byte);
            if byte == b'\n' {
                let size = std::str::from_utf8(&self.line).unwrap_or_default().trim();
                self.left = usize::from_str_radix(size, 16).map_or(0, |size| size + END);
                self.line.clear();
            }
        }
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_does_not_depend_on_how_it_comes() {
        let content = b"data: @0000000000000017\n\n".repeat(9);
        let coded = zstd_of(&content);
        let (first, second) = coded.split_at(7);
        let chunks =
            [first, second].map(|part| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
        let body =
            [b"HTTP/1.1 200 OK\r\ncontent-encoding: zstd\r\n\r\n".as_slice(), &chunks.concat()].concat();
        for part in [1, 2, 3, 10, body.len()] {
            let (mut coded, mut said) = (Coded::default(), Vec::new());
            body.chunks(part).for_each(|bytes| said.extend_from_slice(coded.take(bytes)));
            assert_eq!(said, content, "{part}");
        }
    }

    fn zstd_of(content: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 1000];
        let size = zstd_safe::compress(&mut out[..], content, 3).unwrap();
        out.truncate(size);
        out
    }
}
