//! Avro's golden files: what `golden/avro_golden.py` has made with Apache's library and fastavro, each read by ours.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tailrace_formats::{AvroJson, Int64, Options, avro};

/// A value's bytes, as hexadecimal digits, and its JSON in each form.
#[derive(Deserialize)]
struct Value {
    bytes: String,
    plain: String,
    avro: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/avro")
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// The text with each number that has a point or an exponent written one way: `1e+16` and `1e16` are the same.
fn with_plain_numbers(text: &str) -> String {
    let (mut out, mut rest, mut in_string) = (String::new(), text, false);
    while let Some(first) = rest.chars().next() {
        let numeral =
            rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e')).unwrap_or(rest.len());
        if !in_string && (first == '-' || first.is_ascii_digit()) {
            let number = &rest[..numeral];
            match number.contains(['.', 'e']) {
                true => out.push_str(&format!("{:?}", number.parse::<f64>().unwrap())),
                false => out.push_str(number),
            }
            rest = &rest[numeral..];
            continue;
        }
        let taken = if in_string && first == '\\' { 2 } else { first.len_utf8() };
        in_string ^= first == '"';
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

/// The texts of the schemas that a case refers to.
fn references(name: &str) -> Vec<String> {
    let paths = (1..).map(|at| folder().join(format!("{name}.{at}.avsc")));
    paths.map_while(|path| fs::read_to_string(path).ok()).collect()
}

/// Compares all values of a case with what is expected of them, and returns how many there are.
fn run(name: &str, options: Options, expected: impl Fn(&Value) -> &str) -> usize {
    let text = fs::read_to_string(folder().join(format!("{name}.avsc"))).unwrap();
    let references = references(name);
    let mut references: Vec<&str> = references.iter().map(String::as_str).collect();
    let schema =
        avro::Schema::parse(&text, &references, options).unwrap_or_else(|why| panic!("{name}: {why}"));
    references.reverse();
    let turned = avro::Schema::parse(&text, &references, options).unwrap();
    let values = fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap();
    let values: Vec<Value> = values.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for value in &values {
        let bytes = bytes(&value.bytes);
        for schema in [&schema, &turned] {
            let mut out = b"before".to_vec();
            schema.decode(&bytes, &mut out).unwrap_or_else(|why| panic!("{name}: {}: {why}", value.bytes));
            let text = std::str::from_utf8(&out).unwrap().strip_prefix("before").unwrap();
            assert_eq!(
                with_plain_numbers(text),
                with_plain_numbers(expected(value)),
                "{name}: {}",
                value.bytes
            );
        }
        for end in 0..bytes.len() {
            let short = schema.decode(&bytes[..end], &mut Vec::new());
            assert!(short.is_err(), "{name}: {} bytes of {}", end, value.bytes);
        }
        let long = schema.decode(&[&bytes[..], &[0]].concat(), &mut Vec::new());
        assert!(long.is_err(), "{name}: a byte behind {}", value.bytes);
    }
    values.len()
}

fn names() -> Vec<String> {
    let entries =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        entries.filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned)).collect();
    names.sort();
    names
}

#[test]
fn values_become_the_json_that_pages_expect() {
    let values: usize = names().iter().map(|name| run(name, Options::default(), |value| &value.plain)).sum();
    assert!(values > 400, "only {values} values");
}

#[test]
fn values_become_the_json_of_the_specification() {
    let options = Options { avro_json: AvroJson::Avro, ..Options::default() };
    for name in names() {
        run(&name, options, |value| &value.avro);
    }
}

#[test]
fn longs_can_be_strings() {
    let text = r#"{"type": "record", "name": "R", "fields": [
        {"name": "l", "type": "long"}, {"name": "i", "type": "int"}, {"name": "u", "type": ["null", "long"]},
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;
    let decode = |avro_json| {
        let options = Options { int64: Int64::String, avro_json };
        let mut out = Vec::new();
        avro::Schema::parse(text, &[], options).unwrap().decode(&[1, 2, 2, 4, 0], &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(decode(AvroJson::Plain), r#"{"l":"-1","i":1,"u":"2","t":"1970-01-01T00:00:00.000Z"}"#);
    assert_eq!(decode(AvroJson::Avro), r#"{"l":"-1","i":1,"u":{"long":"2"},"t":"0"}"#);
}
