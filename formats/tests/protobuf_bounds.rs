//! Bytes of a valid schema that nobody should have written: depth, length and time are bounded.

use proptest::prelude::*;
use tailrace_formats::{
    MAX_DEPTH, MAX_TEXT, Options, Undecodable,
    protobuf::{Message, Schema},
};

const TEXT: &str = r#"
    syntax = "proto2";
    import "google/protobuf/struct.proto";
    import "google/protobuf/any.proto";
    message M {
      optional M message = 1;
      repeated M many = 2;
      map<string, M> map = 3;
      optional group Group = 4 { optional M within = 1; }
      optional google.protobuf.Value value = 5;
      optional google.protobuf.Any any = 6;
      repeated Long enums = 7 [packed = true];
      repeated M a_name_that_is_much_longer_than_all_that_is_ever_behind_it_in_the_bytes = 8;
      oneof a { M a1 = 11; string a2 = 12; }
      oneof b { M b1 = 21; string b2 = 22; }
      repeated int32 numbers = 30;
    }
    enum Long { A_NAME_THAT_IS_MUCH_LONGER_THAN_THE_ONE_BYTE_THAT_STANDS_FOR_IT_IN_THE_BYTES = 0; }
"#;

fn message() -> Message {
    Schema::parse(TEXT, &[], Options::default()).unwrap().message_by_name("M").unwrap()
}

fn decode(wire: &[u8]) -> Result<String, Undecodable> {
    let mut out = Vec::new();
    message().decode(wire, &mut out).map(|()| String::from_utf8(out).unwrap())
}

/// A value of a length, behind its tag.
fn within(tag: &[u8], content: &[u8]) -> Vec<u8> {
    let mut wire = tag.to_vec();
    prost::encoding::encode_varint(content.len() as u64, &mut wire);
    wire.extend_from_slice(content);
    wire
}

fn nested(depth: usize, wrap: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    (0..depth).fold(Vec::new(), |content, _| wrap(&content))
}

/// How something nests: around what is within, with what it begins, and the levels of the text that it is.
type Way = (fn(&[u8]) -> Vec<u8>, &'static [u8], usize);

fn entry(value: &[u8]) -> Vec<u8> {
    [b"\x0a\x01k".as_slice(), &within(b"\x12", value)].concat()
}

#[test]
fn depth_is_bounded_for_every_way_to_nest() {
    let ways: [Way; 8] = [
        (|content| within(b"\x0a", content), b"", 1),
        (|content| within(b"\x12", content), b"", 2),
        (|content| within(b"\x1a", &within(b"\x12", content)), b"", 2),
        (|content| [b"\x23".as_slice(), &within(b"\x0a", content), b"\x24"].concat(), b"", 2),
        (|content| within(b"\x5a", content), b"", 1),
        // A list in a value, an object in a value, and an Any in an Any.
        (|content| within(b"\x32", &within(b"\x0a", content)), b"\x2a", 1),
        (|content| within(b"\x2a", &within(b"\x0a", &entry(content))), b"\x2a", 1),
        (
            |content| [within(b"\x0a", b"x/google.protobuf.Any"), within(b"\x12", content)].concat(),
            b"\x32",
            1,
        ),
    ];
    for (at, (wrap, begin, levels)) in ways.into_iter().enumerate() {
        let whole = |depth: usize| {
            let content = nested(depth, wrap);
            if begin.is_empty() { content } else { within(begin, &content) }
        };
        let most = (MAX_DEPTH as usize - 1) / levels;
        // An Any in an Any says of what type it is, and is an object too.
        let text = decode(&whole(most - 1)).unwrap_or_else(|error| panic!("{at}: {error}"));
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        for depth in [most + 1, 1_000, 3_000] {
            assert_eq!(decode(&whole(depth)), Err(Undecodable::TooDeep), "{at}");
        }
    }
}

#[test]
fn groups_nest_no_deeper_and_without_recursion() {
    for (begin, end) in [(0x23, 0x24), (0x7b, 0x7c)] {
        for depth in [101, 1_000_000] {
            let wire = [vec![begin; depth], vec![end; depth]].concat();
            assert_eq!(decode(&wire), Err(Undecodable::TooDeep));
        }
    }
}

#[test]
fn a_few_bytes_do_not_become_endless_text() {
    // 80 characters a byte; and 66 for four bytes.
    let enums = within(b"\x3a", &vec![0; MAX_TEXT / 76]);
    assert_eq!(decode(&enums), Err(Undecodable::TooLong));
    let mut names = Vec::new();
    while names.len() < MAX_TEXT / 10 {
        names.extend_from_slice(&within(b"\x12", b"\x42\x00"));
    }
    assert_eq!(decode(&names), Err(Undecodable::TooLong));
    let numbers = b"\xf0\x01\x00".repeat(MAX_TEXT / 2);
    assert_eq!(decode(&numbers), Err(Undecodable::TooLong));
}

#[test]
fn time_does_not_explode_in_any_order_of_fields() {
    // The wrong way round on each level; the members of a oneof by turns; messages in many parts on each level.
    let backwards = nested(90, |content| [b"\xf0\x01\x01".as_slice(), &within(b"\x0a", content)].concat());
    assert!(decode(&backwards).is_ok());
    let turns = nested(45, |content| {
        [within(b"\x5a", content), b"\x62\x00".to_vec(), within(b"\x5a", content)]
            .concat()
            .into_iter()
            .take(50_000)
            .collect()
    });
    let _ = decode(&turns);
    let parts = nested(12, |content| {
        let part = within(b"\x0a", content);
        [part.as_slice(), b"\xf0\x01\x01", &part].concat()
    });
    assert!(decode(&parts).is_ok());
    let by_turns = b"\x12\x00\xf0\x01\x01".repeat(100_000);
    assert!(decode(&by_turns).is_ok());
    let oneofs = b"\x5a\x00\x62\x00\xaa\x01\x00\xb2\x01\x00".repeat(100_000);
    assert_eq!(decode(&oneofs).unwrap(), r#"{"a2":"","b2":""}"#);
    let entries = b"\x1a\x00\x1a\x03\x0a\x01k".repeat(100_000);
    assert_eq!(decode(&entries).unwrap(), r#"{"map":{"":{},"k":{}}}"#);
}

proptest! {
    #[test]
    fn any_bytes_are_json_or_an_error(wire in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(text) = decode(&wire) {
            serde_json::from_str::<serde::de::IgnoredAny>(&text).unwrap();
        }
    }

    /// Tags that there are, with whatever behind them.
    #[test]
    fn fields_in_any_order_are_json_or_an_error(
        parts in proptest::collection::vec((prop::sample::select(vec![0x0a_u8, 0x12, 0x1a, 0x2a, 0x32, 0x3a, 0x42, 0x5a, 0x62, 0x08]), proptest::collection::vec(0_u8..0x40, 0..12)), 0..12)
    ) {
        let wire: Vec<u8> = parts.iter().flat_map(|(tag, content)| within(&[*tag], content)).collect();
        if let Ok(text) = decode(&wire) {
            serde_json::from_str::<serde::de::IgnoredAny>(&text).unwrap();
        }
    }
}
