//! The content of events, and how events are found in received bytes: by `@` and sixteen digits, the microsecond of sending.

use std::io::Write;

use rustix::time::{ClockId, clock_gettime};

/// Bytes of one event's JSON.
pub(crate) const EVENT_BYTES: usize = 200;

/// The byte before the digits, which occurs nowhere else in a stream: neither in ids nor in names.
pub(crate) const MARK: u8 = b'@';

/// A fixed number of digits, so that each event has the same size.
pub(crate) const DIGITS: u8 = 16;

/// Microseconds of the monotonic clock, which all processes of a machine share.
pub(crate) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

/// Writes one event of `bytes` bytes: JSON that begins with the time of sending, and contains a user.
pub(crate) fn write_event(out: &mut Vec<u8>, bytes: usize, user: usize, sent_us: u64) {
    let end = out.len() + bytes;
    // Writing to memory cannot fail.
    let _ = write!(out, "{{\"at\":\"@{sent_us:016}\",\"user\":{user},\"status\":\"shipped\",\"pad\":\"");
    out.resize(end.saturating_sub(2).max(out.len()), b'x');
    out.extend_from_slice(b"\"}");
}

/// Writes one event of `bytes` bytes that can be compressed like typical JSON (to about a quarter), which padding could not: an
/// order with random ids.
pub(crate) fn write_order(out: &mut Vec<u8>, bytes: usize, number: u64, sent_us: u64) {
    const CITIES: [&str; 8] = ["Berlin", "Hamburg", "Paris", "Lyon", "Madrid", "Wien", "Roma", "Oslo"];
    let end = out.len() + bytes;
    let mut state = number;
    // SplitMix64.
    let mut draw = |below: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (drawn ^ (drawn >> 31)) % below
    };
    // Writing to memory cannot fail.
    let _ = write!(out, "{{\"at\":\"@{sent_us:016}\",\"user\":{},\"items\":[", draw(10_000));
    let first = out.len();
    loop {
        let item = format!(
            "{{\"id\":\"{:012x}\",\"sku\":\"A-{}\",\"qty\":{},\"price\":{}.{:02},\"city\":\"{}\"}}",
            draw(1 << 48),
            draw(5000),
            1 + draw(9),
            draw(500),
            draw(100),
            CITIES[draw(8) as usize]
        );
        if out.len() + item.len() + 3 > end {
            break;
        }
        if out.len() > first {
            out.push(b',');
        }
        out.extend_from_slice(item.as_bytes());
    }
    out.resize(end.saturating_sub(2).max(out.len()), b' ');
    out.extend_from_slice(b"]}");
}

/// Finds events in a stream that is received in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    inside: bool,
    digits: u8,
    value: u64,
}

impl Scan {
    /// Calls `found` with the time of sending of each event that these bytes complete.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(u64)) {
        while let Some(byte) = bytes.first() {
            if !self.inside {
                let Some(at) = memchr::memchr(MARK, bytes) else { return };
                *self = Scan { inside: true, digits: 0, value: 0 };
                bytes = &bytes[at + 1..];
            } else if byte.is_ascii_digit() {
                self.value = self.value * 10 + u64::from(byte - b'0');
                self.digits += 1;
                bytes = &bytes[1..];
                if self.digits == DIGITS {
                    self.inside = false;
                    found(self.value);
                }
            } else {
                self.inside = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_size_that_was_asked_for() {
        let mut out = Vec::new();
        write_event(&mut out, EVENT_BYTES, 7, 5);
        assert_eq!(out.len(), EVENT_BYTES);
        for bytes in [EVENT_BYTES, 1000] {
            out.clear();
            write_order(&mut out, bytes, 7, 5);
            assert_eq!(out.len(), bytes);
            assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
        }
    }

    #[test]
    fn events_are_found_however_the_stream_is_cut() {
        let mut stream = b"retry: 5\n\n: a@b\n\n".to_vec();
        for sent in [1, 22, 333] {
            stream.extend_from_slice(b"data: ");
            write_event(&mut stream, EVENT_BYTES, 7, sent);
            stream.extend_from_slice(b"\n\n");
        }
        for size in 1..stream.len() {
            let (mut scan, mut found) = (Scan::default(), Vec::new());
            stream.chunks(size).for_each(|piece| scan.feed(piece, |sent| found.push(sent)));
            assert_eq!(found, [1, 22, 333], "pieces of {size}");
        }
    }
}
