//! What must hold for any input of Protobuf and MessagePack: run by the fuzz targets, and over the corpus by a plain test.

use std::sync::LazyLock;

use serde::de::IgnoredAny;
use tailrace_formats::protobuf::{Message, Schema};
use tailrace_formats::{MAX_TEXT, Options, json_schema, msgpack};

const SET: &[u8] = include_bytes!("../formats/tests/golden/protobuf/golden.binpb");

static MESSAGES: LazyLock<Vec<Message>> = LazyLock::new(|| {
    let schema = Schema::from_descriptor_set(SET, Options::default()).expect("a descriptor set");
    let names = ["Known", "Legacy", "Scalars", "Packed", "Unpacked", "shop.Order", "shop.Tree", "shop.Maps"];
    names.map(|name| schema.message_by_name(&format!("golden.{name}")).expect("a message")).to_vec()
});

/// What is decoded is JSON within its bounds.
fn is_json(text: &[u8]) {
    assert!(text.len() <= MAX_TEXT);
    json_schema::check(text).expect("JSON");
    serde_json::from_slice::<IgnoredAny>(text).expect("JSON");
}

/// No bytes make decoding panic, whatever the message is that they are held for: the first byte says which.
pub(crate) fn protobuf_bytes(input: &[u8]) {
    let Some((which, bytes)) = input.split_first() else { return };
    let message = &MESSAGES[usize::from(*which) % MESSAGES.len()];
    let mut text = Vec::new();
    if message.decode(bytes, &mut text).is_ok() {
        is_json(&text);
    }
}

/// No schema makes reading it panic, nor decoding by it: a text with one reference behind a NUL, and the same as descriptors.
pub(crate) fn protobuf_schema(input: &[u8]) {
    decode_by(Schema::from_descriptor_set(input, Options::default()).ok());
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (main, reference) = text.split_once('\0').unwrap_or((text, ""));
    decode_by(Schema::parse(main, &[("a.proto", reference)], Options::default()).ok());
}

fn decode_by(schema: Option<Schema>) {
    let message = schema.and_then(|schema| schema.message_by_indexes(&[0]).ok());
    let Some(message) = message else { return };
    for bytes in [
        b"".as_slice(),
        b"\x08\x01\x12\x00\x0a\x06\x0a\x01k\x12\x01v",
        b"\x0a\x04\x0a\x02\x0a\x00\x13\x08\x01\x14\x10\x05",
    ] {
        let mut text = Vec::new();
        if message.decode(bytes, &mut text).is_ok() {
            is_json(&text);
        }
    }
}

/// No bytes make decoding panic.
pub(crate) fn msgpack(input: &[u8]) {
    let mut text = Vec::new();
    if msgpack::decode(input, Options::default(), &mut text).is_ok() {
        is_json(&text);
    }
}
