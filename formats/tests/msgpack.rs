//! What MessagePack's own library writes, and what nobody would.

use proptest::prelude::*;
use serde::Deserialize;
use tailrace_formats::{Int64, MAX_TEXT, Options, Undecodable, msgpack};

/// A case of the golden file. Wire and JSON in parts, each with how often it is there.
#[derive(Deserialize)]
struct Case {
    case: String,
    wire: Vec<(String, usize)>,
    json: Vec<(String, usize)>,
}

fn whole(parts: &[(String, usize)]) -> String {
    parts.iter().map(|(part, times)| part.repeat(*times)).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn text(bytes: &[u8], options: Options) -> Result<String, Undecodable> {
    let mut out = Vec::new();
    msgpack::decode(bytes, options, &mut out).map(|()| String::from_utf8(out).unwrap())
}

fn decode(bytes: &[u8]) -> Result<String, Undecodable> {
    text(bytes, Options::default())
}

/// Where the string at the beginning of a text ends.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    let ends = |c: char| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end
    };
    2 + text[1..].find(ends).unwrap()
}

/// The text with its fractions in one form, if asked for as the shortest of 32 bits; all else, digits of integers and the order of
/// keys among it, as it is.
fn one_form(text: &str, floats: bool) -> String {
    let mut formed = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let end = match next {
            '"' => string_end(rest),
            '-' | '0'..='9' => rest.find(|c: char| !"+-.eE0123456789".contains(c)).unwrap_or(rest.len()),
            _ => next.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        let fraction =
            token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && token.contains(['.', 'e']);
        formed += &match fraction {
            true if floats => format!("{:e}", token.parse::<f64>().unwrap() as f32),
            true => format!("{:e}", token.parse::<f64>().unwrap()),
            false => token.to_owned(),
        };
        rest = after;
    }
    formed
}

#[test]
fn what_the_library_writes_is_what_a_page_should_see() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden/msgpack/cases.json")).unwrap();
    assert!(cases.len() > 100);
    for case in cases {
        let (wire, golden) = (bytes(&whole(&case.wire)), whole(&case.json));
        let ours = decode(&wire).unwrap_or_else(|error| panic!("{}: {error}", case.case));
        // Python has numbers of 64 bits alone: 0.10000000149011612 is what it makes of the 32 bits of 0.1.
        let floats = case.case.starts_with("float ");
        assert_eq!(one_form(&ours, false), one_form(&golden, floats), "{}", case.case);
        // Nor does any beginning of it stand for the whole.
        let step = 1 + wire.len() / 50;
        assert!((0..wire.len()).step_by(step).all(|end| decode(&wire[..end]).is_err()), "{}", case.case);
    }
}

#[test]
fn integers_are_strings_all_of_them_where_they_are_asked_for() {
    let options = Options { int64: Int64::String, ..Options::default() };
    let wire = b"\x95\x01\xff\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xca\x3f\x80\x00\x00\x81\x05\x06";
    assert_eq!(text(wire, options).unwrap(), r#"["1","-1","18446744073709551615",1.0,{"5":"6"}]"#);
    assert_eq!(decode(wire).unwrap(), r#"[1,-1,18446744073709551615,1.0,{"5":6}]"#);
}

#[test]
fn what_is_not_one_value_is_a_mismatch() {
    for wire in [
        b"".as_slice(),
        b"\xc1",
        b"\xc0\xc0",
        b"\x91",
        b"\x81\x01",
        b"\xd9\x05abc",
        b"\xa2\xff\xfe",
        b"\xc4\x05",
        b"\xd4",
        b"\xdb\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff\xc0",
        b"\xdf\xff\xff\xff\xff\xc0",
        b"\xc9\xff\xff\xff\xff\x01",
    ] {
        assert!(matches!(decode(wire), Err(Undecodable::Mismatch(_))), "{wire:?}");
    }
}

#[test]
fn an_error_tells_no_values() {
    let error = decode(b"\x82\xa6secret\xa6hidden\xa3key\xa3a\xff\xff").unwrap_err().to_string();
    assert!(error.ends_with("a string that is not UTF-8, at byte 21"), "{error}");
    assert!(!error.contains("secret") && !error.contains("hidden"), "{error}");
}

#[test]
fn an_error_says_which_byte_does_not_fit() {
    for (wire, what) in [
        (b"\x92\xc0\xc1".as_slice(), "a byte that begins no value, at byte 2"),
        (b"\x92\xc0", "a count of more than there is, at byte 1"),
        (b"\x92\xc0\xcd\x01", "the end within a value, at byte 3"),
        (b"\xa5abc", "a length that goes beyond the end, at byte 1"),
        (b"\xa2\xc3\xa9\xc0", "1 bytes behind the value's end"),
    ] {
        let error = decode(wire).unwrap_err().to_string();
        assert!(error.ends_with(what), "{error}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |first: u8, depth: usize| [vec![first; depth].as_slice(), &[0xc0; 101]].concat();
    for first in [0x91, 0xdd] {
        let deep = vec![first; 1_000_000];
        assert!(decode(&deep).is_err());
    }
    let arrays = |depth: usize| [vec![0x91; depth].as_slice(), b"\xc0"].concat();
    assert_eq!(decode(&arrays(100)).unwrap(), "[".repeat(100) + "null" + &"]".repeat(100));
    assert_eq!(decode(&arrays(101)), Err(Undecodable::TooDeep));
    // Keys of keys of keys.
    assert_eq!(decode(&nested(0x81, 101)), Err(Undecodable::TooDeep));
}

#[test]
fn a_few_bytes_do_not_become_endless_text() {
    // Each key is escaped once more than the one within it.
    let mut wire = vec![0x81; 60];
    wire.extend_from_slice(b"\x91\xa1a");
    wire.extend_from_slice(&[0xc0; 60]);
    assert_eq!(decode(&wire), Err(Undecodable::TooLong));
    // Four bytes of text each.
    let count = (MAX_TEXT as u32 / 4).to_be_bytes();
    let wire = [b"\xdd".as_slice(), &count, &vec![0xc0; MAX_TEXT / 4]].concat();
    assert_eq!(decode(&wire), Err(Undecodable::TooLong));
}

proptest! {
    #[test]
    fn any_bytes_are_json_or_an_error(wire in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(text) = decode(&wire) {
            serde_json::from_str::<serde::de::IgnoredAny>(&text).unwrap();
        }
    }

    #[test]
    fn damaged_values_are_json_or_an_error(case in 0_usize..100, place: prop::sample::Index, byte: u8) {
        let cases: Vec<Case> = serde_json::from_str(include_str!("golden/msgpack/cases.json")).unwrap();
        let mut wire = bytes(&whole(&cases[case].wire));
        let place = place.index(wire.len());
        wire[place] = byte;
        if let Ok(text) = decode(&wire) {
            serde_json::from_str::<serde::de::IgnoredAny>(&text).unwrap();
        }
    }
}
