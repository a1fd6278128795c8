//! JSON Schema: what is behind the frame is JSON text already.

use serde::de::IgnoredAny;

use crate::{MAX_DEPTH, Undecodable};

/// Says whether the bytes are one JSON text and nothing else, so that they can stand as they are. They are not held against their
/// schema: who wrote them did that.
///
/// # Errors
/// [`Undecodable::Mismatch`] if they are not, [`Undecodable::TooDeep`] if they nest deeper than [`MAX_DEPTH`].
pub fn check(bytes: &[u8]) -> Result<&str, Undecodable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Undecodable::Mismatch("no UTF-8".to_owned()))?;
    let valid = serde_json::from_str::<IgnoredAny>(text);
    // Of the reason only the place is told: the rest can hold what was written.
    valid.map_err(|error| {
        Undecodable::Mismatch(format!("no JSON, at line {} column {}", error.line(), error.column()))
    })?;
    if depth(bytes) > MAX_DEPTH { Err(Undecodable::TooDeep) } else { Ok(text) }
}

/// The deepest nesting of a valid text.
fn depth(text: &[u8]) -> u32 {
    let (mut open, mut deepest) = (0_u32, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                open = open.saturating_add(1);
                deepest = deepest.max(open);
            }
            b']' | b'}' if !quoted => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stands_as_it_is() {
        for text in ["{\"a\": [1, 2e400, \"\\ud83d\\ude00\"]}", " null\n", "\"\\\\\\\"[[\"", "0.10"] {
            assert_eq!(check(text.as_bytes()), Ok(text));
        }
    }

    #[test]
    fn what_is_no_json_does_not() {
        for bytes in
            [b"".as_slice(), b"{", b"1 2", b"{\"a\":1}x", b"\"\xff\"", b"\xef\xbb\xbf1", b"NaN", b"'a'"]
        {
            assert!(matches!(check(bytes), Err(Undecodable::Mismatch(_))), "{bytes:?}");
        }
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(nested(100).as_bytes()).is_ok());
        assert_eq!(check(nested(101).as_bytes()), Err(Undecodable::TooDeep));
        assert_eq!(check(nested(1_000_000).as_bytes()), Err(Undecodable::TooDeep));
        assert!(check(format!("\"{}\"", "[".repeat(1000)).as_bytes()).is_ok());
    }
}
