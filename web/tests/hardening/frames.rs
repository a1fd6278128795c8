//! Frames of HTTP/2 (RFC 9113), written by hand: a client library would not send what is wrong.

use std::time::{Duration, Instant};

use crate::http_client::Raw;
use crate::support::Server;
use crate::way::Way;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Settings by their numbers.
pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const MAX_FRAME_SIZE: u16 = 5;

#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = values
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub(crate) fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

/// An integer of HPACK with a prefix of so many bits (RFC 7541, section 5.1).
fn integer(bits: u8, pattern: u8, value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![pattern | value as u8];
    }
    let (mut bytes, mut left) = (vec![pattern | most as u8], value - most);
    while left >= 128 {
        bytes.push((left % 128) as u8 | 128);
        left /= 128;
    }
    bytes.push(left as u8);
    bytes
}

fn text(value: &[u8]) -> Vec<u8> {
    [&integer(7, 0, value.len())[..], value].concat()
}

/// A header that is not kept in the table.
pub(crate) fn header(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0][..], &text(name.as_bytes()), &text(value)].concat()
}

/// A header that is kept in the table, as its newest entry.
pub(crate) fn kept(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0x40][..], &text(name.as_bytes()), &text(value)].concat()
}

/// The newest entry of the table, by its index.
pub(crate) const NEWEST: u8 = 0x80 | 62;

/// The headers of a request.
pub(crate) fn request(method: &str, path: &[u8]) -> Vec<u8> {
    [
        header(":method", method.as_bytes()),
        header(":scheme", b"http"),
        header(":authority", b"tailrace"),
        header(":path", path),
    ]
    .concat()
}

pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &request("GET", path.as_bytes()))
}

/// A connection of HTTP/2.
pub(crate) struct Connection {
    pub(crate) raw: Raw,
}

impl Connection {
    /// With the preface and these settings sent.
    pub(crate) async fn open(way: Way, server: &Server, values: &[(u16, u32)]) -> Connection {
        let mut raw = Raw::open(way, server).await;
        assert!(raw.send(&[PREFACE, &settings(values), &frame(SETTINGS, ACK, 0, &[])].concat()).await);
        Connection { raw }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.raw.send(bytes).await
    }

    /// The next frame; `None`: none within the time, or the end.
    pub(crate) async fn next(&mut self, within: Duration) -> Option<Frame> {
        let begun = Instant::now();
        loop {
            let got = &self.raw.got;
            if got.len() >= 9 {
                let length = u32::from_be_bytes([0, got[0], got[1], got[2]]) as usize;
                if got.len() >= 9 + length {
                    let bytes: Vec<u8> = self.raw.got.drain(..9 + length).collect();
                    let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap()) & (u32::MAX >> 1);
                    return Some(Frame {
                        kind: bytes[3],
                        flags: bytes[4],
                        stream,
                        payload: bytes[9..].to_vec(),
                    });
                }
            }
            let left = within.checked_sub(begun.elapsed())?;
            if !self.raw.more(left).await && self.raw.ended {
                return None;
            }
        }
    }

    /// The next frame of this kind, on this stream.
    pub(crate) async fn next_of(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let next = self.next(Duration::from_secs(10)).await;
            let next = next.unwrap_or_else(|| panic!("no frame {kind} of stream {stream}"));
            if (next.kind, next.stream) == (kind, stream) {
                return next;
            }
        }
    }

    /// The status of the answer on a stream, or that the stream was reset. Statuses of the static table, or as text.
    pub(crate) async fn status(&mut self, stream: u32) -> Option<u16> {
        loop {
            let next = self
                .next(Duration::from_secs(10))
                .await
                .unwrap_or_else(|| panic!("no answer on stream {stream}"));
            match next.kind {
                HEADERS if next.stream == stream => return Some(status_of(&next.payload)),
                RST_STREAM if next.stream == stream => return None,
                GOAWAY => panic!("the connection ends: {next:?}"),
                _ => {}
            }
        }
    }

    /// Reads to the end of the connection, which must come: the error of the last GOAWAY, if there was one.
    pub(crate) async fn end_within(&mut self, most: Duration) -> Option<u32> {
        let (begun, mut error) = (Instant::now(), None);
        while !self.raw.ended {
            let left =
                most.checked_sub(begun.elapsed()).unwrap_or_else(|| panic!("still open after {most:?}"));
            if let Some(next) = self.next(left).await
                && next.kind == GOAWAY
            {
                error = Some(u32::from_be_bytes(next.payload[4..8].try_into().unwrap()));
            }
        }
        error
    }
}

/// The server sends the status first: by the static table, or as text with the name from there, in Huffman's code.
fn status_of(block: &[u8]) -> u16 {
    // A change of the table's size may come before it.
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        // Any other: 4xx.
        _ => 499,
    }
}
