//! What Google's own library reads, and how it says the same in JSON.

use serde::Deserialize;
use serde_json::Value;
use tailrace_formats::{Int64, Options, Undecodable, protobuf::Schema};

/// A case of the golden file.
#[derive(Deserialize)]
struct Case {
    case: String,
    file: String,
    message: String,
    wire: String,
    json: String,
}

/// Each after those that it imports.
const FILES: [(&str, &str); 7] = [
    ("deepest.proto", include_str!("golden/protobuf/deepest.proto")),
    ("deeper.proto", include_str!("golden/protobuf/deeper.proto")),
    ("common.proto", include_str!("golden/protobuf/common.proto")),
    ("legacy.proto", include_str!("golden/protobuf/legacy.proto")),
    ("scalars.proto", include_str!("golden/protobuf/scalars.proto")),
    ("shop.proto", include_str!("golden/protobuf/shop.proto")),
    ("known.proto", include_str!("golden/protobuf/known.proto")),
];
const SET: &[u8] = include_bytes!("golden/protobuf/golden.binpb");
/// As ProtoJSON has it.
const STRINGS: Options = Options { int64: Int64::String, avro_json: tailrace_formats::AvroJson::Plain };

/// One of the files, with those before it as its references.
fn schema(main: &str, options: Options) -> Schema {
    let at = FILES.iter().position(|(name, _)| *name == main).unwrap();
    Schema::parse(FILES[at].1, &FILES[..at], options).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn decode(schema: &Schema, message: &str, wire: &[u8]) -> Result<String, Undecodable> {
    let mut out = b"before".to_vec();
    schema.message_by_name(message).unwrap().decode(wire, &mut out)?;
    Ok(String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned())
}

/// Whether two values are the same, `1.0` and `1` among them.
fn same(ours: &Value, golden: &Value) -> bool {
    match (ours, golden) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else { return false };
            a.to_bits() == b.to_bits() || (a, b) == LEAST
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// The least number of 32 bits, as we write it and as Google's library does, which gives six digits at least. Both are read as it.
const LEAST: (f64, f64) = (1e-45, 1.4013e-45);

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("golden/protobuf/cases.json")).unwrap()
}

/// The one case in which the golden file has another thing: no entry `2`. The entry has an unknown field in it, and upb, which
/// Google's library has been built on when the file was made, takes the whole entry for an unknown field of the message. The same
/// library in pure Python (`PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python`) has the entry, as we do.
const ANOTHER: (&str, &str) = ("entries backwards, twice, with more", r#"{"byInt32":{"0":"z","2":"new"}}"#);

#[test]
fn a_page_sees_what_googles_library_says() {
    let set = Schema::from_descriptor_set(SET, STRINGS).unwrap();
    let texts = FILES.map(|(name, _)| (name, schema(name, STRINGS)));
    let cases = cases();
    assert!(cases.len() > 200);
    for case in cases {
        let text = &texts.iter().find(|(name, _)| *name == case.file).unwrap().1;
        for schema in [text, &set] {
            let ours = decode(schema, &case.message, &bytes(&case.wire));
            let ours = ours.unwrap_or_else(|error| panic!("{}: {error}", case.case));
            if case.case == ANOTHER.0 {
                assert_eq!(ours, ANOTHER.1);
                continue;
            }
            let (a, b): (Value, Value) =
                (serde_json::from_str(&ours).unwrap(), serde_json::from_str(&case.json).unwrap());
            assert!(same(&a, &b), "{}: {ours} is not {}", case.case, case.json);
        }
    }
}

#[test]
fn no_name_is_there_twice() {
    let set = Schema::from_descriptor_set(SET, STRINGS).unwrap();
    for case in cases() {
        let ours = decode(&set, &case.message, &bytes(&case.wire)).unwrap();
        // Written again by a library that keeps one of each name, it is as long.
        let once = serde_json::from_str::<Value>(&ours).unwrap();
        assert_eq!(count_names(&once), ours.matches("\":").count(), "{}: {ours}", case.case);
    }
}

fn count_names(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(count_names).sum(),
        Value::Object(fields) => fields.values().map(|value| 1 + count_names(value)).sum(),
        _ => 0,
    }
}

#[test]
fn a_message_that_ends_early_is_an_error_or_a_shorter_message() {
    let set = Schema::from_descriptor_set(SET, STRINGS).unwrap();
    for case in cases() {
        let wire = bytes(&case.wire);
        for end in 0..wire.len() {
            match decode(&set, &case.message, &wire[..end]) {
                Ok(text) => drop(serde_json::from_str::<Value>(&text).unwrap()),
                Err(Undecodable::Mismatch(_)) => {}
                Err(error) => panic!("{}: {error}", case.case),
            }
        }
    }
}

#[test]
fn integers_of_64_bits_are_numbers_unless_strings_are_asked_for() {
    let wire =
        b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x28\x05";
    for (options, text) in [
        (Options::default(), r#"{"anInt64":-1,"aUint32":5,"aUint64":18446744073709551615}"#),
        (STRINGS, r#"{"anInt64":"-1","aUint32":5,"aUint64":"18446744073709551615"}"#),
    ] {
        assert_eq!(decode(&schema("scalars.proto", options), "golden.Scalars", wire).unwrap(), text);
    }
    let known = schema("known.proto", Options::default());
    // A wrapped value that is not there, another that is, and one as a key.
    assert_eq!(
        decode(&known, "golden.Known", b"\x62\x00\x6a\x02\x08\x07").unwrap(),
        r#"{"anInt64":0,"aUint64":7}"#
    );
    let shop = schema("shop.proto", Options::default());
    assert_eq!(decode(&shop, "golden.shop.Maps", b"\x12\x02\x08\x07").unwrap(), r#"{"byInt64":{"7":""}}"#);
}

#[test]
fn the_same_message_is_the_same_text_in_whatever_order_it_is_written() {
    let shop = schema("shop.proto", STRINGS);
    let text = r#"{"customer":{"labels":{"a":"1","b":"2"}},"after":"x"}"#;
    for wire in [
        b"\x12\x10\x12\x06\x0a\x01a\x12\x011\x12\x06\x0a\x01b\x12\x012\x52\x01x".as_slice(),
        b"\x52\x01x\x12\x10\x12\x06\x0a\x01b\x12\x012\x12\x06\x0a\x01a\x12\x011",
        b"\x12\x08\x12\x06\x12\x012\x0a\x01b\x52\x01x\x12\x08\x12\x06\x0a\x01a\x12\x011",
    ] {
        assert_eq!(decode(&shop, "golden.shop.Order", wire).unwrap(), text);
    }
}

#[test]
fn messages_are_found_by_their_indexes_as_the_text_has_them() {
    let shop = schema("shop.proto", STRINGS);
    let name = |indexes: &[i32]| shop.message_by_indexes(indexes).map(|message| message.name().to_owned());
    // The entries of maps do not count in a text.
    for (indexes, expected) in [
        ([0].as_slice(), "Customer"),
        (&[1], "Order"),
        (&[1, 0, 2], "Order.Item.Third"),
        (&[0, 0], "Customer.Address"),
        (&[0, 0, 2], "Customer.Address.Country"),
        (&[3], "Tree"),
    ] {
        assert_eq!(name(indexes).unwrap(), format!("golden.shop.{expected}"));
    }
    for indexes in [[].as_slice(), &[9], &[-1], &[0, 1], &[1, 0, 3], &[1, 0, 2, 0], &[i32::MAX], &[0, -1]] {
        assert!(matches!(name(indexes), Err(Undecodable::Mismatch(_))), "{indexes:?}");
    }
    // Groups do not count either.
    let legacy = schema("legacy.proto", STRINGS);
    assert_eq!(legacy.message_by_indexes(&[1]).unwrap().name(), "golden.Scope");
    assert!(legacy.message_by_indexes(&[0, 0]).is_err());
    assert!(
        legacy.message_by_name("golden.Legacy.Result").is_ok() && legacy.message_by_name("Legacy").is_err()
    );
}

#[test]
fn what_json_has_no_way_for_is_a_mismatch_and_says_where() {
    let shop = schema("shop.proto", STRINGS);
    let known = schema("known.proto", STRINGS);
    let legacy = schema("legacy.proto", STRINGS);
    let of = |schema: &Schema, message: &str, wire: &[u8]| match decode(schema, message, wire) {
        Err(Undecodable::Mismatch(text)) => text,
        other => panic!("{message} {wire:?}: {other:?}"),
    };
    for (wire, text) in [
        (b"\x1a\x04\x0a\x02\xff\xfe".as_slice(), "golden.shop.Order: items.sku: not UTF-8"),
        (b"\x12\x08\x12\x06\x0a\x01k\x12\x01\xff", "golden.shop.Order: customer.labels.value: not UTF-8"),
        (
            b"\x12\x04\x12\x02\x0a\x00\x12\x05\x12\x03\x0a\x01\xff",
            "golden.shop.Order: customer.labels.key: not UTF-8",
        ),
        (b"\x1a\x04\x1a\x05\x0a\x01", "golden.shop.Order: items.price: a length that goes beyond the end"),
        (b"\x0a\x05", "golden.shop.Order: orderId: a length that goes beyond the end"),
        (b"\x08\x80", "golden.shop.Order: orderId: the bytes end within a varint"),
        (
            b"\x2a\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            "golden.shop.Order: createdAt: a timestamp out of range",
        ),
        (
            b"\x2a\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "golden.shop.Order: createdAt: a timestamp out of range",
        ),
        (b"\x00", "golden.shop.Order: a field of the number zero"),
        (b"\x0c", "golden.shop.Order: orderId: the end of a group that did not begin"),
        (b"\x0f\x00", "golden.shop.Order: orderId: a wire type that there is not"),
        (b"\xff\xff\xff\xff\xff\x01\x00", "golden.shop.Order: a tag of more than 32 bits"),
    ] {
        assert_eq!(of(&shop, "golden.shop.Order", wire), text);
    }
    assert_eq!(of(&legacy, "golden.Legacy", b"\x0a\x01\xff"), "golden.Legacy: name: not UTF-8");
    // A second and half a second less, and 400,000,000,000 seconds.
    for wire in [
        b"\x12\x0d\x08\x01\x10\x80\xb6\xca\x91\xfe\xff\xff\xff\xff\x01".as_slice(),
        b"\x12\x07\x08\x80\xc0\xee\x8e\xd2\x0b",
    ] {
        assert_eq!(of(&known, "golden.Known", wire), "golden.Known: duration: a duration out of range");
    }
}

#[test]
fn what_other_languages_refuse_or_drop_is_there() {
    let known = schema("known.proto", STRINGS);
    let legacy = schema("legacy.proto", STRINGS);
    for (wire, text) in [
        // A path with a capital, one with a digit behind an underscore.
        (b"\x1a\x0c\x0a\x03aB_\x0a\x05a_1_b".as_slice(), r#"{"mask":"aB_,a_1_b"}"#),
        // An any of a type that is not known, and one without a type.
        (b"\x4a\x08\x0a\x03x/y\x12\x01\xff", r#"{"any":{"@type":"x/y","value":"/w=="}}"#),
        (b"\x4a\x03\x12\x01\xff", r#"{"any":{"@type":"","value":"/w=="}}"#),
        // A number that JSON has not.
        (b"\x2a\x09\x11\x00\x00\x00\x00\x00\x00\xf0\x7f", r#"{"value":"Infinity"}"#),
    ] {
        assert_eq!(decode(&known, "golden.Known", wire).unwrap(), text);
    }
    // A number that a closed enum has not.
    assert_eq!(decode(&legacy, "golden.Legacy", b"\x18\x63").unwrap(), r#"{"kind":99}"#);
}
