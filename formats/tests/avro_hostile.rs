//! Schemas and bytes that somebody made to do harm, one kind a test. None may panic, overflow the stack, or take more memory or
//! time than their bounds allow.

use std::fmt::Write;
use std::time::{Duration, Instant};

use tailrace_formats::{AvroJson, MAX_DEPTH, MAX_TEXT, Options, Undecodable, avro};

fn parse(text: &str) -> Result<avro::Schema, String> {
    avro::Schema::parse(text, &[], Options::default()).map_err(|why| why.to_string())
}

fn refusal(text: &str) -> String {
    parse(text).map(|_| ()).expect_err("it is refused")
}

fn decode(schema: &str, bytes: &[u8]) -> Result<String, Undecodable> {
    let mut out = Vec::new();
    parse(schema).unwrap().decode(bytes, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn mismatch(schema: &str, bytes: &[u8]) -> String {
    let Err(Undecodable::Mismatch(why)) = decode(schema, bytes) else { panic!("{schema} takes {bytes:?}") };
    why
}

fn record(name: &str, fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, schema)| format!(r#"{{"name":"{name}","type":{schema}}}"#));
    let fields = fields.collect::<Vec<_>>().join(",");
    format!(r#"{{"type":"record","name":"{name}","fields":[{fields}]}}"#)
}

fn array(items: &str) -> String {
    format!(r#"{{"type":"array","items":{items}}}"#)
}

/// A number as Avro writes it.
fn long(number: i64) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

// Bytes

#[test]
fn a_count_of_items_without_bytes_ends_at_the_bound() {
    let bytes = [long(i64::MAX), vec![0]].concat();
    let nothing = record("Nothing", &[]);
    for items in ["\"null\"", nothing.as_str(), r#"{"type":"fixed","name":"F","size":0}"#] {
        assert_eq!(decode(&array(items), &bytes), Err(Undecodable::TooLong));
        let mut out = Vec::new();
        parse(&array(items)).unwrap().decode(&bytes, &mut out).unwrap_err();
        assert!(out.len() <= MAX_TEXT + 100, "{} bytes", out.len());
    }
}

#[test]
fn the_least_count_there_is_does_not_overflow() {
    let bytes = [long(i64::MIN), long(0), vec![0]].concat();
    assert_eq!(decode(&array("\"null\""), &bytes), Err(Undecodable::TooLong));
    let negative = [long(-1), long(-1), vec![0]].concat();
    assert!(mismatch(&array("\"null\""), &negative).contains("negative"));
}

#[test]
fn a_length_beyond_the_bytes_allocates_nothing() {
    for schema in ["\"string\"", "\"bytes\"", r#"{"type":"map","values":"int"}"#] {
        let bytes = [long(i64::MAX), long(i64::MAX), vec![0]].concat();
        let mut out = Vec::new();
        parse(schema).unwrap().decode(&bytes, &mut out).unwrap_err();
        assert!(out.capacity() < 1000);
    }
    let huge = r#"{"type":"fixed","name":"F","size":18446744073709551615}"#;
    assert!(mismatch(huge, b"abc").contains("end too early"));
}

#[test]
fn text_is_not_longer_than_its_bound() {
    let text = |length: usize| [long(length as i64), vec![b'a'; length]].concat();
    assert_eq!(decode("\"string\"", &text(MAX_TEXT - 2)).unwrap().len(), MAX_TEXT);
    assert_eq!(decode("\"string\"", &text(MAX_TEXT - 1)), Err(Undecodable::TooLong));
    let escaped = [long(4 << 20), vec![1; 4 << 20]].concat();
    assert_eq!(decode("\"string\"", &escaped), Err(Undecodable::TooLong));
    let zeros = r#"{"type":"bytes","logicalType":"decimal","precision":4000000000,"scale":4000000000}"#;
    assert_eq!(decode(zeros, &[2, 1]), Err(Undecodable::TooLong));
    let big = [long(12), vec![2, 1], long(i64::MAX)].concat();
    assert_eq!(
        decode(r#"{"type":"bytes","logicalType":"big-decimal"}"#, &big[..]),
        Err(Undecodable::TooLong)
    );
}

#[test]
fn records_without_bytes_in_each_other_end_at_the_bound() {
    // Two fields in each of 23 levels are eight million records, in no byte at all. (Of 60 levels a walk without a bound would take
    // all memory, and fail no test.)
    let levels = (1..=23).map(|level| {
        let below = format!("\"R{}\"", level - 1);
        record(&format!("R{level}"), &[("a", &below), ("b", &below)])
    });
    let references: Vec<String> = levels.chain([record("R0", &[])]).collect();
    let references: Vec<&str> = references.iter().map(String::as_str).collect();
    let schema = avro::Schema::parse("\"R23\"", &references, Options::default()).unwrap();
    let mut out = Vec::new();
    assert_eq!(schema.decode(&[], &mut out), Err(Undecodable::TooLong));
    assert!(out.len() <= MAX_TEXT + 100, "{} bytes", out.len());
}

#[test]
fn values_nest_to_their_bound_and_no_deeper() {
    let list = record("L", &[("n", r#"["null","L"]"#)]);
    let nested = |levels: usize| [vec![2; levels - 1], vec![0]].concat();
    let deepest = decode(&list, &nested(MAX_DEPTH as usize)).unwrap();
    assert_eq!(deepest.matches('{').count(), MAX_DEPTH as usize);
    assert_eq!(decode(&list, &nested(MAX_DEPTH as usize + 1)), Err(Undecodable::TooDeep));
    assert_eq!(decode(&list, &vec![2; 1 << 20]), Err(Undecodable::TooDeep));
    // Where branches have names, they are objects too.
    let options = Options { avro_json: AvroJson::Avro, ..Options::default() };
    let schema = avro::Schema::parse(&list, &[], options).unwrap();
    assert_eq!(schema.decode(&nested(51), &mut Vec::new()), Err(Undecodable::TooDeep));
    schema.decode(&nested(50), &mut Vec::new()).unwrap();
}

#[test]
fn what_does_not_fit_says_where() {
    let order = record("Order", &[("lines", &array(&record("Line", &[("name", "\"string\"")])))]);
    assert_eq!(mismatch(&order, &[2, 2, 0xff, 0]), "in lines.name, a string is not UTF-8");
    assert_eq!(mismatch("\"int\"", &[2, 2]), "they go on behind the value");
    assert_eq!(mismatch("\"boolean\"", &[2]), "a boolean is neither 0 nor 1");
    for index in [2, -1, i64::MAX, i64::MIN] {
        let why = mismatch(r#"["null","int"]"#, &long(index));
        assert_eq!(why, "there is no such branch of the union");
    }
    for index in [1, -1] {
        let why = mismatch(r#"{"type":"enum","name":"E","symbols":["A"]}"#, &long(index));
        assert_eq!(why, "there is no such symbol of the enum");
    }
    assert!(mismatch("\"long\"", &[0xff; 11]).contains("too many bytes"));
    assert!(mismatch("\"int\"", &long(1 << 40)).contains("too many bytes"));
    assert!(mismatch(r#"{"type":"int","logicalType":"time-millis"}"#, &long(-1)).contains("time of day"));
    assert!(mismatch("\"string\"", &[1]).contains("negative"));
}

// Schemas

#[test]
fn a_type_that_contains_itself_is_refused() {
    let mutual = record("A", &[("b", &record("B", &[("a", "\"A\"")]))]);
    let by_union = record("U", &[("u", r#"["U"]"#)]);
    let by_unions = record("V", &[("v", &format!(r#"["V",{}]"#, record("W", &[("v", "\"V\"")])))]);
    for schema in [record("R", &[("r", "\"R\"")]), mutual, by_union, by_unions] {
        assert!(refusal(&schema).contains("contains itself"), "{schema}");
    }
    // These end: in an empty array, or by another branch.
    for schema in [record("R", &[("r", &array("\"R\""))]), record("R", &[("r", r#"["R","null"]"#)])] {
        parse(&schema).unwrap();
    }
}

#[test]
fn deep_schemas_are_refused() {
    let arrays = |levels: usize| {
        format!(r#"{}"int"{}"#, r#"{"type":"array","items":"#.repeat(levels), "}".repeat(levels))
    };
    // The innermost object is the type itself, no level around it.
    let objects =
        |levels: usize| format!(r#"{}"int"{}"#, r#"{"type":"#.repeat(levels + 1), "}".repeat(levels + 1));
    for levels in [101, 120, 1000, 300_000] {
        refusal(&arrays(levels));
        refusal(&objects(levels));
        refusal(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
    }
    parse(&arrays(100)).unwrap();
    parse(&objects(100)).unwrap();
}

#[test]
fn a_long_chain_of_references_is_refused() {
    let chain: Vec<String> = (0..5000)
        .map(|at| record(&format!("T{at}"), &[("next", &format!(r#"["null","T{}"]"#, at + 1))]))
        .chain([record("T5000", &[])])
        .collect();
    let references: Vec<&str> = chain.iter().map(String::as_str).collect();
    let refused = avro::Schema::parse("\"T0\"", &references, Options::default()).unwrap_err();
    assert!(refused.0.contains("nest deeper"), "{refused}");
    // As many types beside each other are none too many.
    let wide: Vec<String> = (0..5000).map(|at| format!("\"T{at}\"")).collect();
    let flat: Vec<String> = (0..5000).map(|at| record(&format!("T{at}"), &[("a", "\"int\"")])).collect();
    let references: Vec<&str> = flat.iter().map(String::as_str).collect();
    let union = format!("[{}]", wide.join(","));
    avro::Schema::parse(&union, &references, Options::default()).unwrap();
}

#[test]
fn large_schemas_are_refused_at_once() {
    let start = Instant::now();
    let mut schema = String::from(r#"{"type":"enum","name":"E","symbols":[""#);
    for at in 0..1_200_000 {
        write!(schema, "s{at}\",\"").unwrap();
    }
    schema.push_str("e\"]}");
    assert!(schema.len() > 10 << 20);
    assert!(refusal(&schema).contains("more than"));
    assert!(refusal(&" ".repeat(10 << 20)).contains("more than"));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn what_the_parser_would_copy_again_and_again_is_refused() {
    // The parser keeps each type within each around it.
    let symbols = (0..100_000).map(|at| format!("\"s{at}\"")).collect::<Vec<_>>().join(",");
    let mut schema = format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]}}"#);
    for level in 0..40 {
        schema = record(&format!("R{level}"), &[("a", &schema)]);
    }
    assert!(refusal(&schema).contains("too many"));
}

#[test]
fn types_called_as_kinds_are_no_trap() {
    // apache-avro takes {"type": "record"} without fields for a type called record, and puts a copy of it there: twice as many
    // with each line of these.
    let mut schema = record("record", &[("a", "\"int\"")]);
    for level in 0..40 {
        let (name, before) = if level % 2 == 0 { ("enum", "record") } else { ("record", "enum") };
        let copy = format!(r#"{{"type":"{before}"}}"#);
        let inner = std::mem::take(&mut schema);
        schema = record(name, &[("x", &inner), ("a", &copy), ("b", &copy)]);
    }
    refusal(&schema);
}

#[test]
fn texts_that_are_no_schemas_are_refused() {
    let all = [
        "",
        "{",
        "5",
        "null",
        "{}",
        "\"\"",
        "\"nowhere\"",
        "[[]]",
        "[]",
        r#"["int","int"]"#,
        r#"[["int"],"null"]"#,
        r#"{"type":"record","name":"R"}"#,
        r#"{"type":"record","fields":[]}"#,
        r#"{"type":"record","name":5,"fields":[]}"#,
        r#"{"type":"record","name":"R","fields":[5]}"#,
        r#"{"type":"record","name":"R","fields":[{"name":"a"}]}"#,
        r#"{"type":"record","name":"R","fields":[{"type":"int"}]}"#,
        r#"{"type":"record","name":"R","fields":{}}"#,
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
        r#"{"type":"enum","name":"E"}"#,
        r#"{"type":"enum","name":"E","symbols":["A","A"]}"#,
        r#"{"type":"enum","name":"E","symbols":[5]}"#,
        r#"{"type":"fixed","name":"F"}"#,
        r#"{"type":"fixed","name":"F","size":-1}"#,
        r#"{"type":"fixed","name":"F","size":1.5}"#,
        r#"{"type":"array"}"#,
        r#"{"type":"map"}"#,
        r#"{"type":"record","name":"a..b","fields":[]}"#,
        r#"{"type":"record","name":".","fields":[]}"#,
        r#"{"type":{"type":{}}}"#,
        "\"int\" \"int\"",
    ];
    for text in all {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_type_has_one_definition() {
    let two = [record("T", &[("a", "\"int\"")]), record("T", &[("a", "\"long\"")])];
    let both = record("R", &[("x", &two[0]), ("y", &two[1])]);
    assert!(refusal(&both).contains("defined twice"));
    let references: Vec<&str> = two.iter().map(String::as_str).collect();
    let twice = avro::Schema::parse("\"T\"", &references, Options::default()).unwrap_err();
    assert!(twice.0.contains("defined twice"), "{twice}");
    // The same one, by two ways.
    let same = avro::Schema::parse(&array(&two[0]), &[&two[0], &two[0]], Options::default()).unwrap();
    let mut out = Vec::new();
    same.decode(&[2, 4, 0], &mut out).unwrap();
    assert_eq!(out, br#"[{"a":2}]"#);
}

#[test]
fn names_are_those_that_java_allows() {
    let schema = record("Größe", &[("länge", "\"int\""), ("a\\\"b\\n", "\"int\"")]);
    assert_eq!(decode(&schema, &[2, 4]).unwrap(), r#"{"länge":1,"a\"b\n":2}"#);
}

#[test]
fn a_name_is_of_its_own_namespace_first() {
    let reference = r#"{"type":"record","name":"R","namespace":"a","fields":[
        {"name":"x","type":{"type":"enum","name":"K","symbols":["INNER"]}},
        {"name":"y","type":{"type":"record","name":"S","namespace":"","fields":[{"name":"k","type":"K"}]}},
        {"name":"z","type":"K"}]}"#;
    let outer = r#"{"type":"enum","name":"K","symbols":["OUTER"]}"#;
    let mut out = Vec::new();
    let schema = avro::Schema::parse(reference, &[outer], Options::default()).unwrap();
    schema.decode(&[0, 0, 0], &mut out).unwrap();
    assert_eq!(out, br#"{"x":"INNER","y":{"k":"OUTER"},"z":"INNER"}"#);
}

#[test]
fn a_name_that_its_namespace_lacks_is_of_none() {
    // The specification does not say so, but Java's library has it, by which registries look names up.
    let plain = record("Plain", &[("a", "\"int\"")]);
    let wrapper = r#"{"type":"record","name":"Wrapper","namespace":"w","fields":[{"name":"plain","type":["null","Plain"]}]}"#;
    for (avro_json, text) in
        [(AvroJson::Plain, r#"{"plain":{"a":5}}"#), (AvroJson::Avro, r#"{"plain":{"Plain":{"a":5}}}"#)]
    {
        let options = Options { avro_json, ..Options::default() };
        let schema = avro::Schema::parse(wrapper, &[&plain], options).unwrap();
        let mut out = Vec::new();
        schema.decode(&[2, 10], &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
