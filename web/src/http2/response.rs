//! The head of a response as a header block. It is encoded without the dynamic table: a connection keeps no state for it, and any
//! thread may make it.

use std::time::SystemTime;

use axum::http::header::{CONNECTION, DATE, TRANSFER_ENCODING, UPGRADE};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::http::response::Parts;

/// `:status` in the static table: with these values from this number on (RFC 7541, appendix A).
const STATUS: u8 = 8;
const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
/// The largest number that fits the first byte of a length.
const FITS: usize = 127;

/// The block of this head.
pub(crate) fn encode(parts: &Parts) -> Bytes {
    let mut out = Vec::with_capacity(512);
    put_status(&mut out, parts.status);
    // Those of a connection have no meaning here (RFC 9113, section 8.2.2).
    let skipped = [CONNECTION, TRANSFER_ENCODING, UPGRADE, DATE];
    for (name, value) in parts.headers.iter().filter(|(name, _)| !skipped.contains(name)) {
        out.push(0);
        put(&mut out, name.as_str().as_bytes());
        put(&mut out, value.as_bytes());
    }
    out.push(0);
    put(&mut out, DATE.as_str().as_bytes());
    put(&mut out, httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    out.into()
}

/// The head of a response that has nothing else.
pub(super) fn encode_status(status: StatusCode) -> Vec<u8> {
    let mut out = Vec::new();
    put_status(&mut out, status);
    out
}

fn put_status(out: &mut Vec<u8>, status: StatusCode) {
    match KNOWN.iter().position(|known| *known == status.as_u16()) {
        // The whole field has a number (section 6.1).
        Some(at) => out.push(0x80 | (STATUS + at as u8)),
        // The name has one, and the value follows (section 6.2.2).
        None => {
            out.push(STATUS);
            put(out, status.as_str().as_bytes());
        }
    }
}

/// A text as it is, after its length (RFC 7541, sections 5.1 and 5.2).
fn put(out: &mut Vec<u8>, text: &[u8]) {
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
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use hyper::Response;

    use super::super::hpack::Decoder;
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        for (size, status) in [
            (0, 200),
            (1, 204),
            (126, 206),
            (127, 304),
            (128, 400),
            (254, 404),
            (255, 500),
            (256, 431),
            (16_000, 599),
        ] {
            let value = "y".repeat(size);
            let response =
                Response::builder().status(status).header("x", &value).header("connection", "close");
            let block = encode(&response.body(()).unwrap().into_parts().0);
            let mut fields = Vec::new();
            let put = |name: &[u8], value: &[u8], _| fields.push((name.to_vec(), value.to_vec()));
            Decoder::new().decode(&block, 1 << 20, put).unwrap();
            assert_eq!(fields[0], (b":status".to_vec(), status.to_string().into_bytes()));
            assert_eq!(fields[1], (b"x".to_vec(), value.into_bytes()));
            assert_eq!((fields.len(), &fields[2].0[..]), (3, &b"date"[..]));
        }
    }
}
