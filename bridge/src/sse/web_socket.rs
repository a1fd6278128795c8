//! Frames of a WebSocket from the server (RFC 6455, section 5.2): never fragmented, never masked, and with no extension.

/// The final fragment of a text message, a close, a ping, a pong: the first byte of a frame.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// The header of a frame whose size is not known yet. Most messages have a header of this size.
const USUAL_HEADER: usize = 4;
/// Sizes from here on are in the two bytes that follow, or in the eight that follow.
const IN_TWO: usize = 126;
const IN_EIGHT: usize = 1 << 16;

/// The most bytes that a control frame carries (RFC 6455, section 5.5).
pub const MAX_CONTROL: usize = 125;

/// A ping without data: the heartbeat.
pub(crate) const HEARTBEAT: [u8; 2] = [PING, 0];

/// Appends a text message, whose text `write` appends.
pub(crate) fn put_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[TEXT, 0, 0, 0]);
    write(out);
    let size = out.len() - start - USUAL_HEADER;
    match size {
        ..IN_TWO => {
            out[start + 1] = size as u8;
            out.drain(start + 2..start + USUAL_HEADER);
        }
        IN_TWO..IN_EIGHT => {
            out[start + 1] = 126;
            out[start + 2..start + USUAL_HEADER].copy_from_slice(&(size as u16).to_be_bytes());
        }
        IN_EIGHT.. => {
            out[start + 1] = 127;
            out.splice(start + 2..start + USUAL_HEADER, (size as u64).to_be_bytes());
        }
    }
}

/// The answer to a ping with this data, of at most [`MAX_CONTROL`] bytes.
pub fn pong(data: &[u8]) -> Vec<u8> {
    control(PONG, data)
}

/// A close frame. A reason that is longer than a control frame allows is cut at a character.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let most = MAX_CONTROL - size_of::<u16>();
    let mut ends = (0..=reason.len().min(most)).rev();
    let end = ends.find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    control(CLOSE, &[&code.to_be_bytes(), &reason.as_bytes()[..end]].concat())
}

fn control(kind: u8, data: &[u8]) -> Vec<u8> {
    debug_assert!(data.len() <= MAX_CONTROL, "a control frame of {} bytes", data.len());
    [&[kind, data.len() as u8], data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(size: usize) -> Vec<u8> {
        let mut out = b"before".to_vec();
        put_text(&mut out, |out| out.extend(std::iter::repeat_n(b'x', size)));
        out.drain(..6);
        out
    }

    #[test]
    fn a_header_is_as_long_as_the_size_needs() {
        for (size, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = text(size);
            assert_eq!((&frame[..header.len()], frame.len()), (header, header.len() + size));
            assert!(frame[header.len()..].iter().all(|byte| *byte == b'x'));
        }
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let frame = close(4000, &"ü".repeat(100));
        assert_eq!((&frame[..4], frame.len()), (&[0x88, 124, 0x0f, 0xa0][..], 126));
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
        assert_eq!(close(1000, ""), [0x88, 2, 3, 0xe8]);
        assert_eq!(pong(b"hi"), [0x8a, 2, b'h', b'i']);
    }
}
