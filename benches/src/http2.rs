//! Just enough of HTTP/2 (RFC 9113) to ask for streams: what comes is searched for events, whatever lies between them.

/// What a client sends before its first frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// No measurement sends as much as this, so no window is ever opened again.
const WINDOW: u32 = 0x7fff_ffff;
/// What a connection's window is at the beginning.
const INITIAL_WINDOW: u32 = 65_535;

/// What a client sends now and then, as a sign of life: the server asks for one by pings, which are not read.
pub(crate) const ALIVE: &[u8] = b"\0\0\x08\x06\x01\0\0\0\0tailrace";

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM_AND_HEADERS: u8 = 5;

/// A new connection that asks for these paths, each with additional header lines, if any.
pub(crate) fn ask(authority: &str, requests: impl Iterator<Item = String>) -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE.
    put(&mut out, SETTINGS, 0, 0, &[&[0, 4][..], &WINDOW.to_be_bytes()].concat());
    put(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW - INITIAL_WINDOW).to_be_bytes());
    for (at, request) in requests.enumerate() {
        let (path, headers) = request.split_once('\n').unwrap_or((&request, ""));
        // By the static table of HPACK: GET, http, and the names of the authority and the path, with values as they are.
        let mut block = [&b"\x82\x86"[..], &[1], &text(authority), &[4], &text(path)].concat();
        for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
            block.extend([&[0][..], &text(&name.to_ascii_lowercase()), &text(value)].concat());
        }
        put(&mut out, HEADERS, END_STREAM_AND_HEADERS, 2 * at as u32 + 1, &block);
    }
    out
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A text of fewer than 255 bytes, as it is (RFC 7541, section 5.2).
fn text(text: &str) -> Vec<u8> {
    const FITS: usize = 127;
    let length = match text.len().checked_sub(FITS) {
        None => vec![text.len() as u8],
        Some(rest) => {
            vec![FITS as u8, u8::try_from(rest).ok().filter(|rest| *rest < 0x80).expect("a short text")]
        }
    };
    [&length, text.as_bytes()].concat()
}
