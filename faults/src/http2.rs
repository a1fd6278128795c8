//! Just enough of HTTP/2 (RFC 9113) for a client that reads one stream of a connection: what it sends first, and what the body of
//! the answer is in the frames that come.

use std::fmt::Write as _;

/// What a client sends before its first frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD: usize = 9;
/// The only stream.
const STREAM: u32 = 1;
/// No client of a trial reads as much as this, so no window is ever opened again.
const WINDOW: u32 = 0x7fff_ffff;
const INITIAL_WINDOW: u32 = 65_535;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// What a client sends on a new connection to ask for this path, with these header lines.
pub(crate) fn ask(path: &str, lines: &str) -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE.
    put(&mut out, SETTINGS, 0, 0, &[&[0, 4][..], &WINDOW.to_be_bytes()].concat());
    put(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW - INITIAL_WINDOW).to_be_bytes());
    // By the static table of HPACK: GET, http, and the name of the path.
    let mut block = vec![0x82, 0x86, 0x04];
    put_text(&mut block, path);
    let headers = lines.lines().filter_map(|line| line.split_once(": "));
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        block.push(0);
        put_text(&mut block, if name == "host" { ":authority" } else { &name });
        put_text(&mut block, value);
    }
    put(&mut out, HEADERS, END_STREAM | END_HEADERS, STREAM, &block);
    out
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A text of HPACK as it is (RFC 7541, section 5.2).
fn put_text(out: &mut Vec<u8>, text: &str) {
    const FITS: usize = 127;
    match text.len().checked_sub(FITS) {
        None => out.push(text.len() as u8),
        Some(mut rest) => {
            out.push(FITS as u8);
            while rest > 0x7f {
                out.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            out.push(rest as u8);
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// Takes the body of the answer out of frames that come in any parts.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pending: Vec<u8>,
    /// The head of the answer, as HTTP/1.1 would write it, once it has come.
    pub(crate) head: Option<String>,
    /// What must be sent: answers to SETTINGS and PING.
    pub(crate) owed: Vec<u8>,
    /// Whether the stream has ended as the protocol has it.
    pub(crate) ended: bool,
    /// Whether it, or the connection, was ended otherwise.
    pub(crate) is_broken: bool,
}

impl Frames {
    pub(crate) fn decode(&mut self, raw: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(raw);
        let pending = std::mem::take(&mut self.pending);
        let (mut left, mut body) = (&pending[..], Vec::new());
        while let Some((head, rest)) = left.split_first_chunk::<HEAD>() {
            let [a, b, c, kind, flags, stream @ ..] = *head;
            let size = u32::from_be_bytes([0, a, b, c]) as usize;
            let Some((payload, rest)) = rest.split_at_checked(size) else { break };
            self.take(kind, flags, u32::from_be_bytes(stream), payload, &mut body);
            left = rest;
        }
        self.pending = left.to_vec();
        body
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8], body: &mut Vec<u8>) {
        match kind {
            DATA | HEADERS => {
                assert!(
                    stream == STREAM && flags & PADDED == 0 && !self.ended,
                    "{kind} {flags} of stream {stream}"
                );
                match kind {
                    DATA => body.extend_from_slice(payload),
                    _ => self.head = Some(head(payload)),
                }
                self.ended = flags & END_STREAM != 0;
            }
            SETTINGS if flags & ACK == 0 => put(&mut self.owed, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => put(&mut self.owed, PING, ACK, 0, payload),
            RST_STREAM => self.is_broken = true,
            // Without an error, the stream goes on.
            GOAWAY => self.is_broken |= payload[4..8] != [0; 4],
            SETTINGS | PING | WINDOW_UPDATE => {}
            other => panic!("a frame of kind {other}"),
        }
    }
}

/// A header block as the server writes it: the status first, then texts as they are.
fn head(block: &[u8]) -> String {
    const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let (mut left, mut head) = (block, String::from("HTTP/2 "));
    match left.first() {
        Some(known @ 0x88..=0x8e) => {
            let _ = write!(head, "{}", STATUSES[usize::from(known - 0x88)]);
            left = &left[1..];
        }
        Some(0x08) => {
            left = &left[1..];
            head.push_str(&text(&mut left));
        }
        other => panic!("a header block begins with {other:?}"),
    }
    head.push_str("\r\n");
    while let Some((first, rest)) = left.split_first() {
        assert_eq!(*first, 0, "a header with a name and a value");
        left = rest;
        let (name, value) = (text(&mut left), text(&mut left));
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head
}

fn text(left: &mut &[u8]) -> String {
    let (first, mut rest) = left.split_first().expect("a length");
    let mut size = usize::from(*first);
    assert!(size < 0x80, "a text in Huffman's code");
    if size == 0x7f {
        for shift in (0..).step_by(7) {
            let (byte, after) = rest.split_first().expect("a length");
            rest = after;
            size += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    let (text, after) = rest.split_at(size);
    *left = after;
    String::from_utf8(text.to_vec()).expect("a header is text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_comes_out_of_any_parts() {
        let mut sent = Vec::new();
        let value = "y".repeat(300);
        let mut block = vec![0x88, 0];
        put_text(&mut block, "x");
        put_text(&mut block, &value);
        put(&mut sent, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]);
        put(&mut sent, HEADERS, END_HEADERS, STREAM, &block);
        put(&mut sent, DATA, 0, STREAM, b"id: 1\n");
        put(&mut sent, PING, 0, 0, b"tailrace");
        put(&mut sent, DATA, END_STREAM, STREAM, b"\n");
        for part in [1, 7, sent.len()] {
            let mut frames = Frames::default();
            let body: Vec<u8> = sent.chunks(part).flat_map(|part| frames.decode(part)).collect();
            assert_eq!((&body[..], frames.ended, frames.is_broken), (&b"id: 1\n\n"[..], true, false));
            assert_eq!(frames.head.as_deref(), Some(&*format!("HTTP/2 200\r\nx: {value}\r\n")));
            assert_eq!(frames.owed.len(), HEAD + HEAD + 8);
        }
    }
}
