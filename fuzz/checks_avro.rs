//! What must hold for Avro, whatever the bytes or the schema: run by the fuzz targets, and over the corpus by a plain test.

use std::sync::LazyLock;

use tailrace_formats::{AvroJson, Int64, MAX_TEXT, Options, avro};

const SCHEMAS: [&str; 6] = [
    r#"{"type":"record","name":"All","fields":[
        {"name":"n","type":"null"},{"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"l","type":"long"},
        {"name":"f","type":"float"},{"name":"d","type":"double"},{"name":"s","type":"string"},{"name":"y","type":"bytes"},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},{"name":"x","type":{"type":"fixed","name":"F","size":3}}]}"#,
    r#"{"type":"record","name":"Tree","fields":[{"name":"name","type":"string"},
        {"name":"list","type":{"type":"array","items":"Tree"}},{"name":"map","type":{"type":"map","values":["null","Tree"]}}]}"#,
    r#"{"type":"array","items":["null","boolean","int","long","float","double","string","bytes",
        {"type":"array","items":"null"},{"type":"map","values":"long"},{"type":"fixed","name":"a.F","size":0},
        {"type":"record","name":"a.R","fields":[]}]}"#,
    r#"{"type":"array","items":[
        {"type":"bytes","logicalType":"decimal","precision":3000,"scale":20},
        {"type":"fixed","name":"D","size":40,"logicalType":"decimal","precision":90,"scale":0},
        {"type":"string","logicalType":"uuid"},{"type":"fixed","name":"U","size":16,"logicalType":"uuid"},
        {"type":"int","logicalType":"date"},{"type":"long","logicalType":"timestamp-millis"},
        {"type":"fixed","name":"S","size":12,"logicalType":"duration"}]}"#,
    r#"{"type":"record","name":"Times","fields":[
        {"name":"a","type":{"type":"int","logicalType":"time-millis"}},{"name":"b","type":{"type":"long","logicalType":"time-micros"}},
        {"name":"c","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"d","type":{"type":"long","logicalType":"timestamp-nanos"}},
        {"name":"e","type":{"type":"long","logicalType":"local-timestamp-millis"}},
        {"name":"f","type":{"type":"long","logicalType":"local-timestamp-nanos"}}]}"#,
    r#"{"type":"map","values":{"type":"bytes","logicalType":"big-decimal"}}"#,
];

const OPTIONS: [Options; 2] = [
    Options { int64: Int64::Number, avro_json: AvroJson::Plain },
    Options { int64: Int64::String, avro_json: AvroJson::Avro },
];

static PARSED: LazyLock<Vec<avro::Schema>> = LazyLock::new(|| {
    let both = |text: &&str| OPTIONS.map(|how| avro::Schema::parse(text, &[], how).expect("a schema"));
    SCHEMAS.iter().flat_map(both).collect()
});

/// Bytes under a valid schema, which the first of them chooses: what is decoded is one line of JSON, within its bound.
pub(crate) fn avro_bytes(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    decode(&PARSED[usize::from(*choice) % PARSED.len()], bytes);
}

/// A schema, one that it refers to, and bytes, each ended by a zero but the last: nothing panics, and what is decoded is JSON.
pub(crate) fn avro_schema(input: &[u8]) {
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let mut text = || std::str::from_utf8(parts.next().unwrap_or_default());
    let (Ok(schema), Ok(reference)) = (text(), text()) else { return };
    let references: &[&str] = if reference.is_empty() { &[] } else { &[reference] };
    let bytes = parts.next().unwrap_or_default();
    let parsed = OPTIONS.map(|how| avro::Schema::parse(schema, references, how));
    assert_eq!(parsed[0].is_ok(), parsed[1].is_ok(), "logical types alone differ");
    for schema in parsed.iter().flatten() {
        decode(schema, bytes);
    }
}

fn decode(schema: &avro::Schema, bytes: &[u8]) {
    let mut out = Vec::new();
    if schema.decode(bytes, &mut out).is_ok() {
        assert!(out.len() <= MAX_TEXT);
        assert!(!out.contains(&b'\n'), "one line");
        serde_json::from_slice::<serde::de::IgnoredAny>(&out).expect("JSON");
    }
}
