//! What a client sends over its WebSocket (RFC 6455, section 5): pings and pongs, and at the end a close. It has no messages to
//! send: one is refused by its header, so nothing that a client sends takes memory.

use tailrace_bridge::web_socket::{self, MAX_CONTROL};

/// A masked header, and the data of a control frame.
const MAX_FRAME: usize = 6 + MAX_CONTROL;

/// Bits of the first two bytes of a frame.
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// Codes of section 7.4.1.
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;
const INVALID_DATA: u16 = 1007;

/// What has come and was not answered yet.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// The begin of a frame that has not come whole.
    partial: Vec<u8>,
    /// The answer to the newest ping; the ones before need none (section 5.5.3).
    pong: Option<Vec<u8>>,
    /// The close that ends the connection: from then on nothing is read.
    close: Option<Vec<u8>>,
}

/// A frame of a client: its opcode, its data.
type Frame = (u8, Vec<u8>);

/// Why the connection is closed.
type Flaw = (u16, &'static str);

impl Incoming {
    /// Takes the bytes that follow those before.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while self.close.is_none() && !bytes.is_empty() {
            let size = bytes.len().min(MAX_FRAME - self.partial.len());
            self.partial.extend_from_slice(&bytes[..size]);
            bytes = &bytes[size..];
            self.read_frames();
        }
    }

    fn read_frames(&mut self) {
        let mut taken = 0;
        while self.close.is_none() {
            match frame(&self.partial[taken..]) {
                Ok(Some((size, frame))) => {
                    taken += size;
                    self.answer(&frame);
                }
                Ok(None) => break,
                Err((code, why)) => self.close = Some(web_socket::close(code, why)),
            }
        }
        self.partial.drain(..taken);
        if self.close.is_some() {
            // Nothing after it is looked at.
            self.partial = Vec::new();
        }
    }

    fn answer(&mut self, (opcode, data): &Frame) {
        match *opcode {
            CLOSE => self.close = Some(closes(data)),
            PING => self.pong = Some(web_socket::pong(data)),
            // An answer to a heartbeat, or a sign of life that nobody asked for.
            _ => {}
        }
    }

    /// The answer to a ping, if one is due.
    pub(super) fn pong(&mut self) -> Option<Vec<u8>> {
        self.pong.take()
    }

    /// The close, if the connection is to be closed.
    pub(super) fn close(&mut self) -> Option<Vec<u8>> {
        self.close.take()
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.pong.is_none() && self.close.is_none()
    }
}

const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The first frame of the bytes, and its size; `None`: it has not come whole.
fn frame(bytes: &[u8]) -> Result<Option<(usize, Frame)>, Flaw> {
    let [first, rest @ ..] = bytes else { return Ok(None) };
    if first & RESERVED != 0 {
        return Err((PROTOCOL_ERROR, "reserved bits are set, and no extension was agreed upon"));
    }
    let opcode = first & 0x0f;
    match opcode {
        0..=2 => return Err((UNSUPPORTED_DATA, "this server takes no messages")),
        CLOSE | PING | PONG => {}
        _ => return Err((PROTOCOL_ERROR, "there is no such opcode")),
    }
    if first & FINAL == 0 {
        return Err((PROTOCOL_ERROR, "a control frame is fragmented"));
    }
    let [second, rest @ ..] = rest else { return Ok(None) };
    if second & MASKED == 0 {
        return Err((PROTOCOL_ERROR, "a frame of a client is not masked"));
    }
    let size = usize::from(second & !MASKED);
    if size > MAX_CONTROL {
        return Err((PROTOCOL_ERROR, "a control frame is too long"));
    }
    let Some((mask, data)) = rest.split_first_chunk::<4>().filter(|(_, data)| data.len() >= size) else {
        return Ok(None);
    };
    let data = data[..size].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Ok(Some((6 + size, (opcode, data))))
}

/// The answer to a close: the same code, if it may be sent (sections 5.5.1 and 7.4).
fn closes(data: &[u8]) -> Vec<u8> {
    let Some((code, reason)) = data.split_first_chunk::<2>() else {
        let code = if data.is_empty() { NORMAL } else { PROTOCOL_ERROR };
        return web_socket::close(code, "");
    };
    match u16::from_be_bytes(*code) {
        _ if std::str::from_utf8(reason).is_err() => web_socket::close(INVALID_DATA, ""),
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => web_socket::close(code, ""),
        _ => web_socket::close(PROTOCOL_ERROR, ""),
    }
}

/// What a client is answered that sends these bytes, in parts of that size, and the most bytes that are kept of it meanwhile.
#[derive(Debug, PartialEq, Eq)]
pub struct Answers {
    pub pong: Option<Vec<u8>>,
    pub close: Option<Vec<u8>>,
    pub kept: usize,
}

/// For the fuzz targets.
pub fn answers(bytes: &[u8], part: usize) -> Answers {
    let (mut incoming, mut kept) = (Incoming::default(), 0);
    for part in bytes.chunks(part.max(1)) {
        incoming.take(part);
        kept = kept.max(incoming.partial.len());
    }
    Answers { pong: incoming.pong(), close: incoming.close(), kept }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(first: u8, data: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first, 0x80 | data.len() as u8];
        frame.extend_from_slice(&mask);
        frame.extend(data.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn code_after(bytes: &[u8]) -> Option<u16> {
        let mut incoming = Incoming::default();
        incoming.take(bytes);
        incoming.close().map(|close| u16::from_be_bytes([close[2], close[3]]))
    }

    #[test]
    fn a_ping_is_answered_with_its_data_and_only_the_newest() {
        let mut incoming = Incoming::default();
        incoming.take(&[masked(0x89, b"one"), masked(0x8a, b"unasked"), masked(0x89, &[7; 125])].concat());
        assert_eq!(incoming.pong(), Some(web_socket::pong(&[7; 125])));
        assert!(incoming.pong().is_none() && incoming.is_empty());
    }

    #[test]
    fn a_close_is_answered_with_its_code_if_it_has_one_that_may_be_sent() {
        let close =
            |code: u16, reason: &[u8]| code_after(&masked(0x88, &[&code.to_be_bytes(), reason].concat()));
        assert_eq!(code_after(&masked(0x88, b"")), Some(1000));
        assert_eq!(code_after(&masked(0x88, b"x")), Some(1002));
        for code in [1000, 1001, 1003, 1007, 1011, 3000, 4999] {
            assert_eq!(close(code, b"done"), Some(code));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert_eq!(close(code, b""), Some(1002), "{code}");
        }
        assert_eq!(close(1000, b"\xff"), Some(1007));
    }

    #[test]
    fn what_a_client_may_not_send_ends_the_connection_with_a_reason() {
        for (bytes, code) in [
            (&[0x81][..], 1003),
            (&[0x82], 1003),
            (&[0x01], 1003),
            (&[0x00], 1003),
            (&[0xc9], 1002),
            (&[0x83], 1002),
            (&[0x8b], 1002),
            (&[0x09], 1002),
            (&[0x89, 0x00], 1002),
            (&[0x89, 0xfe], 1002),
            (&[0x88, 0xff], 1002),
        ] {
            assert_eq!(code_after(bytes), Some(code), "{bytes:?}");
        }
    }

    proptest! {
        /// However the bytes come, the same is answered, and no more than one frame is kept.
        #[test]
        fn cuts_change_nothing(
            frames in prop::collection::vec((prop_oneof![Just(0x89_u8), Just(0x8a), Just(0x88)], 0_usize..=125), 0..6),
            noise in prop::collection::vec(any::<u8>(), 0..20),
            cuts in prop::collection::vec(1_usize..200, 1..20)
        ) {
            let mut bytes = frames.iter().flat_map(|(first, size)| masked(*first, &vec![b'a'; *size])).collect::<Vec<u8>>();
            bytes.extend(noise);
            let mut whole = Incoming::default();
            whole.take(&bytes);
            let (mut parts, mut rest) = (Incoming::default(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, more) = rest.split_at((*cut).min(rest.len()));
                parts.take(part);
                prop_assert!(parts.partial.len() < MAX_FRAME);
                rest = more;
            }
            prop_assert_eq!((whole.pong(), whole.close()), (parts.pong(), parts.close()));
        }
    }
}
