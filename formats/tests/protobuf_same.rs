//! Messages of all kinds, made and written as JSON by prost-reflect, which goes by way of a tree.

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage, Value,
};
use tailrace_formats::{AvroJson, Int64, Options, protobuf::Schema};

const SET: &[u8] = include_bytes!("golden/protobuf/golden.binpb");
const MESSAGES: [&str; 9] = [
    "golden.Scalars",
    "golden.Optional",
    "golden.Packed",
    "golden.Unpacked",
    "golden.Known",
    "golden.Legacy",
    "golden.shop.Order",
    "golden.shop.Tree",
    "golden.shop.Maps",
];

/// Chance that repeats itself.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number that is small as often as it is large.
    fn number(&mut self) -> u64 {
        let bits = self.below(64);
        self.next() >> bits
    }

    fn text(&mut self) -> String {
        let letters = ['a', 'Z', '0', '"', '\\', '\n', '\0', '\u{7f}', 'é', '€', '😀', '\u{2028}'];
        (0..self.below(6)).map(|_| letters[self.below(12) as usize]).collect()
    }
}

/// A message with some of its fields.
fn made(of: &MessageDescriptor, chance: &mut Chance, depth: u32) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    if set_well_known(&mut message, chance) {
        return message;
    }
    for field in of.fields() {
        let is_there = chance.below(if depth > 3 { 8 } else { 2 }) == 0;
        let ends = depth > 5 && matches!(field.kind(), Kind::Message(_));
        if is_there && !ends {
            let value = field_value(&field, chance, depth);
            message.set_field(&field, value);
        }
    }
    message
}

/// Sets the fields of a message that cannot have just any; the others of Google's can.
fn set_well_known(message: &mut DynamicMessage, chance: &mut Chance) -> bool {
    let of = message.descriptor();
    let mut set = |name: &str, value: Value| message.set_field_by_name(name, value);
    match of.full_name() {
        "google.protobuf.Timestamp" => {
            set("seconds", Value::I64(chance.below(315_537_897_600) as i64 - 62_135_596_800));
            let nanos = [0, 1_000_000, 1_000, 1, 500_000_000, 999_999_999][chance.below(6) as usize];
            set("nanos", Value::I32(nanos));
        }
        "google.protobuf.Duration" => {
            let sign = if chance.below(2) == 0 { 1 } else { -1 };
            set("seconds", Value::I64(sign * (chance.below(315_576_000_001) >> chance.below(40)) as i64));
            set("nanos", Value::I32(sign as i32 * (chance.below(1_000_000_000) >> chance.below(32)) as i32));
        }
        "google.protobuf.FieldMask" => {
            let paths = ["a", "a_b.c_d", "long_name"].map(|path| Value::String(path.to_owned()));
            set("paths", Value::List(paths[..chance.below(4) as usize].to_vec()));
        }
        "google.protobuf.Any" => {
            let inner = of.parent_pool().get_message_by_name(MESSAGES[chance.below(3) as usize]).unwrap();
            set("type_url", Value::String(format!("x.org/{}", inner.full_name())));
            set("value", Value::Bytes(made(&inner, chance, 4).encode_to_vec().into()));
        }
        // prost-reflect writes null for what is not finite in these; the golden file has it, from Google's library.
        "google.protobuf.DoubleValue" => set("value", Value::F64(chance.number() as f64 / 8.0)),
        "google.protobuf.FloatValue" => set("value", Value::F32(chance.number() as f32 / 8.0)),
        "google.protobuf.Value" => {
            let field = of.fields().nth(chance.below(4) as usize).unwrap();
            let value = match field.kind() {
                Kind::Double => Value::F64(chance.number() as f64 / 8.0),
                _ => scalar(&field.kind(), chance, 9),
            };
            message.set_field(&field, value);
        }
        _ => return false,
    }
    true
}

fn field_value(field: &FieldDescriptor, chance: &mut Chance, depth: u32) -> Value {
    let count = chance.below(4);
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { unreachable!() };
        let (key, value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let entries = (0..count).map(|_| (map_key(&key, chance), scalar(&value, chance, depth + 1)));
        return Value::Map(entries.collect());
    }
    if field.cardinality() == Cardinality::Repeated {
        return Value::List((0..count).map(|_| scalar(&field.kind(), chance, depth + 1)).collect());
    }
    scalar(&field.kind(), chance, depth + 1)
}

fn map_key(kind: &Kind, chance: &mut Chance) -> MapKey {
    match scalar(kind, chance, 9) {
        Value::Bool(key) => MapKey::Bool(key),
        Value::I32(key) => MapKey::I32(key),
        Value::I64(key) => MapKey::I64(key),
        Value::U32(key) => MapKey::U32(key),
        Value::U64(key) => MapKey::U64(key),
        Value::String(key) => MapKey::String(key),
        key => panic!("{key:?}"),
    }
}

fn scalar(kind: &Kind, chance: &mut Chance, depth: u32) -> Value {
    match kind {
        // Not below zero: prost-reflect takes a zero with a sign for one that is not there.
        Kind::Double => Value::F64(f64::from_bits(chance.next() >> 1)),
        Kind::Float => Value::F32(f32::from_bits(chance.next() as u32 >> 1)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(chance.number() as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(chance.number() as i64),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(chance.number() as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(chance.number()),
        Kind::Bool => Value::Bool(chance.below(2) == 1),
        Kind::String => Value::String(chance.text()),
        Kind::Bytes => Value::Bytes(chance.text().into_bytes().into()),
        Kind::Message(of) => Value::Message(made(of, chance, depth)),
        Kind::Enum(of) if of.full_name() == "google.protobuf.NullValue" => Value::EnumNumber(0),
        Kind::Enum(of) => {
            let values: Vec<i32> = of.values().map(|value| value.number()).chain([12345]).collect();
            Value::EnumNumber(values[chance.below(values.len() as u64) as usize])
        }
    }
}

/// The fields of a message in another order, those of one number in the same.
fn shuffled(wire: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut fields: Vec<(u32, &[u8])> = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let before = rest;
        let (number, wire_type) = prost::encoding::decode_key(&mut rest).unwrap();
        prost::encoding::skip_field(wire_type, number, &mut rest, Default::default()).unwrap();
        fields.push((number, &before[..before.len() - rest.len()]));
    }
    for _ in 0..fields.len() * 3 {
        let at = chance.below(fields.len() as u64) as usize;
        if fields.get(at + 1).is_some_and(|next| next.0 != fields[at].0) {
            fields.swap(at, at + 1);
        }
    }
    fields.into_iter().flat_map(|(_, field)| field.to_vec()).collect()
}

/// The set as the other implementation reads it: prost-reflect 0.16 follows only one step of public imports.
fn pool() -> DescriptorPool {
    let mut set = prost_types::FileDescriptorSet::decode(SET).unwrap();
    let shop = set.file.iter_mut().find(|file| file.name() == "shop.proto").unwrap();
    shop.dependency.push("deepest.proto".to_owned());
    DescriptorPool::from_file_descriptor_set(set).unwrap()
}

/// Both implementations' schemas.
fn both(int64: Int64) -> (DescriptorPool, Schema) {
    let options = Options { int64, avro_json: AvroJson::Plain };
    (pool(), Schema::from_descriptor_set(SET, options).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn text_is_what_a_tree_would_be_written_as(which in 0..MESSAGES.len(), seed: u64) {
        thread_local! {
            static BOTH: (DescriptorPool, Schema) = both(Int64::String);
        }
        BOTH.with(|(pool, schema)| {
            let mut chance = Chance(seed);
            let of = pool.get_message_by_name(MESSAGES[which]).unwrap();
            let message = made(&of, &mut chance, 0);
            let wire = message.encode_to_vec();
            let ours = schema.message_by_name(MESSAGES[which]).unwrap();
            let mut text = Vec::new();
            ours.decode(&wire, &mut text).unwrap();
            let theirs: serde_json::Value = serde_json::from_str(&serde_json::to_string(&message).unwrap()).unwrap();
            let parsed: serde_json::Value = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(parsed, theirs);
            let mut again = Vec::new();
            ours.decode(&shuffled(&wire, &mut chance), &mut again).unwrap();
            prop_assert_eq!(String::from_utf8(text).unwrap(), String::from_utf8(again).unwrap());
            Ok(())
        })?;
    }

    #[test]
    fn damaged_bytes_are_json_or_an_error(which in 0..MESSAGES.len(), seed: u64, place: prop::sample::Index, byte: u8, cut in 0..4_usize) {
        thread_local! {
            static BOTH: (DescriptorPool, Schema) = both(Int64::Number);
        }
        BOTH.with(|(pool, schema)| {
            let of = pool.get_message_by_name(MESSAGES[which]).unwrap();
            let mut wire = made(&of, &mut Chance(seed), 0).encode_to_vec();
            prop_assume!(!wire.is_empty());
            let place = place.index(wire.len());
            wire[place] = byte;
            wire.drain(place..(place + cut).min(wire.len()));
            let mut text = Vec::new();
            if schema.message_by_name(MESSAGES[which]).unwrap().decode(&wire, &mut text).is_ok() {
                serde_json::from_slice::<serde::de::IgnoredAny>(&text).unwrap();
            }
            Ok(())
        })?;
    }
}
