//! JSON text, appended piece by piece.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Int64;

/// Appends a string with its quotes, escaped as JSON (RFC 8259, section 7) requires it and no further.
pub fn put_string(out: &mut Vec<u8>, text: &str) {
    // A string always has a text, and a vector takes all that is written to it.
    let _ = serde_json::to_writer(out, text);
}

/// Appends an integer of at most 32 bits.
pub fn put_int(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends an integer of 64 bits.
pub fn put_int64(out: &mut Vec<u8>, number: impl itoa::Integer, how: Int64) {
    match how {
        Int64::Number => put_int(out, number),
        Int64::String => {
            out.push(b'"');
            put_int(out, number);
            out.push(b'"');
        }
    }
}

/// Appends a number of 64 bits in its shortest form that reads back the same. What is not finite is a string, as in ProtoJSON:
/// `"NaN"`, `"Infinity"`, `"-Infinity"`.
pub fn put_double(out: &mut Vec<u8>, number: f64) {
    match not_finite(number) {
        Some(name) => out.extend_from_slice(name),
        None => out.extend_from_slice(ryu::Buffer::new().format_finite(number).as_bytes()),
    }
}

/// [`put_double`] for 32 bits: `0.1` stays `0.1`.
pub fn put_float(out: &mut Vec<u8>, number: f32) {
    match not_finite(f64::from(number)) {
        Some(name) => out.extend_from_slice(name),
        None => out.extend_from_slice(ryu::Buffer::new().format_finite(number).as_bytes()),
    }
}

fn not_finite(number: f64) -> Option<&'static [u8]> {
    match number {
        number if number.is_nan() => Some(b"\"NaN\""),
        f64::INFINITY => Some(b"\"Infinity\""),
        f64::NEG_INFINITY => Some(b"\"-Infinity\""),
        _ => None,
    }
}

/// Appends bytes as a string of base64, with padding.
pub fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The slice is as long as the text.
    let _ = STANDARD.encode_slice(bytes, &mut out[start..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn strings_read_back(string in any::<String>()) {
            let text = text(|out| put_string(out, &string));
            prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), string);
        }

        #[test]
        fn doubles_read_back(number in any::<f64>()) {
            prop_assume!(number.is_finite());
            prop_assert_eq!(text(|out| put_double(out, number)).parse::<f64>().unwrap(), number);
        }
    }

    #[test]
    fn every_control_is_escaped() {
        for byte in 0..b' ' {
            let string = char::from(byte).to_string();
            let text = text(|out| put_string(out, &string));
            assert!(text.bytes().all(|byte| byte >= b' '), "{text:?}");
            assert_eq!(serde_json::from_str::<String>(&text).unwrap(), string);
        }
    }

    #[test]
    fn what_is_not_finite_is_a_string() {
        let all = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, 0.1];
        let texts = all.map(|number| text(|out| put_double(out, number)));
        assert_eq!(texts, ["\"NaN\"", "\"Infinity\"", "\"-Infinity\"", "-0.0", "1e300", "0.1"]);
        assert_eq!(text(|out| put_float(out, 0.1)), "0.1");
    }

    #[test]
    fn integers_of_64_bits_are_numbers_or_strings() {
        let both = [Int64::Number, Int64::String].map(|how| text(|out| put_int64(out, i64::MIN, how)));
        assert_eq!(both, ["-9223372036854775808", "\"-9223372036854775808\""]);
    }

    #[test]
    fn bytes_are_padded_base64() {
        let all = [&b""[..], b"a", b"ab", b"abc"].map(|bytes| text(|out| put_base64(out, bytes)));
        assert_eq!(all, ["\"\"", "\"YQ==\"", "\"YWI=\"", "\"YWJj\""]);
    }
}
