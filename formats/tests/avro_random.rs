//! Random values under random schemas: written by apache-avro, read by us, and compared with what the value was.

use std::collections::HashMap;

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Days, Decimal, Millis, Months};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::{Value as Json, json};
use tailrace_formats::{AvroJson, Int64, MAX_TEXT, Options, avro};

/// A schema that is not written yet.
#[derive(Clone, Debug)]
enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    String,
    Bytes,
    Fixed(usize),
    Enum(usize),
    Decimal(usize),
    Uuid,
    Date,
    TimestampMicros,
    LocalTimestampNanos,
    Duration,
    Array(Box<Type>),
    Map(Box<Type>),
    Optional(Box<Type>, bool),
    /// These and null, in a union.
    Union(Vec<Type>),
    Record(Vec<Type>),
    /// A record that holds a value and, maybe, another of itself.
    Chain(Box<Type>),
}

fn types() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![
        Just(Type::Null),
        Just(Type::Boolean),
        Just(Type::Int),
        Just(Type::Long),
        Just(Type::Float),
        Just(Type::Double),
        Just(Type::String),
        Just(Type::Bytes),
        (0..20_usize).prop_map(Type::Fixed),
        (1..5_usize).prop_map(Type::Enum),
        (0..30_usize).prop_map(Type::Decimal),
        Just(Type::Uuid),
        Just(Type::Date),
        Just(Type::TimestampMicros),
        Just(Type::LocalTimestampNanos),
        Just(Type::Duration),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let several = || proptest::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            inner.clone().prop_map(|items| Type::Array(Box::new(items))),
            inner.clone().prop_map(|values| Type::Map(Box::new(values))),
            (inner.clone(), any::<bool>()).prop_map(|(some, first)| Type::Optional(Box::new(some), first)),
            several().prop_map(Type::Union),
            several().prop_map(Type::Record),
            inner.clone().prop_map(|value| Type::Chain(Box::new(value))),
        ]
    })
}

/// A type with names for what needs one.
struct Named {
    kind: Type,
    name: String,
    schema: Json,
    parts: Vec<Named>,
}

impl Named {
    fn new(kind: &Type, count: &mut usize) -> Self {
        *count += 1;
        // Some in a namespace of their own.
        let name =
            if count.is_multiple_of(3) { format!("space{count}.T{count}") } else { format!("T{count}") };
        let mut part = |kind: &Type| Named::new(kind, count);
        let parts: Vec<Named> = match kind {
            Type::Array(inner) | Type::Map(inner) | Type::Chain(inner) => vec![part(inner)],
            Type::Optional(inner, _) => vec![part(not_null(inner))],
            Type::Union(all) => branches(all).iter().map(part).collect(),
            Type::Record(all) => all.iter().map(part).collect(),
            _ => Vec::new(),
        };
        let schema = schema(kind, &name, &parts);
        Named { kind: kind.clone(), name, schema, parts }
    }
}

/// What a union may hold once, and no union within.
fn branches(all: &[Type]) -> Vec<Type> {
    let mut kinds = vec!["null"];
    let mut branches = vec![Type::Null];
    for branch in all {
        let kind = match branch {
            Type::Union(_) | Type::Optional(..) | Type::Null => continue,
            Type::Int | Type::Date => "int",
            Type::Long | Type::TimestampMicros | Type::LocalTimestampNanos => "long",
            Type::Bytes | Type::Decimal(_) => "bytes",
            Type::String | Type::Uuid => "string",
            Type::Boolean => "boolean",
            Type::Float => "float",
            Type::Double => "double",
            Type::Array(_) => "array",
            Type::Map(_) => "map",
            _ => "",
        };
        if kind.is_empty() || !kinds.contains(&kind) {
            kinds.push(kind);
            branches.push(branch.clone());
        }
    }
    branches
}

fn not_null(kind: &Type) -> &Type {
    match kind {
        Type::Null | Type::Optional(..) | Type::Union(_) => &Type::Long,
        kind => kind,
    }
}

fn schema(kind: &Type, name: &str, parts: &[Named]) -> Json {
    let logical = |kind: &str, logical: &str| json!({"type": kind, "logicalType": logical});
    match kind {
        Type::Null => json!("null"),
        Type::Boolean => json!("boolean"),
        Type::Int => json!("int"),
        Type::Long => json!("long"),
        Type::Float => json!("float"),
        Type::Double => json!({"type": "double"}),
        Type::String => json!("string"),
        Type::Bytes => json!("bytes"),
        Type::Fixed(size) => json!({"type": "fixed", "name": name, "size": size}),
        Type::Enum(count) => {
            let symbols: Vec<_> = (0..*count).map(|at| format!("S{at}")).collect();
            json!({"type": "enum", "name": name, "symbols": symbols})
        }
        Type::Decimal(scale) => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": scale})
        }
        Type::Uuid => logical("string", "uuid"),
        Type::Date => logical("int", "date"),
        Type::TimestampMicros => logical("long", "timestamp-micros"),
        Type::LocalTimestampNanos => logical("long", "local-timestamp-nanos"),
        Type::Duration => json!({"type": "fixed", "name": name, "size": 12, "logicalType": "duration"}),
        Type::Array(_) => json!({"type": "array", "items": parts[0].schema}),
        Type::Map(_) => json!({"type": "map", "values": parts[0].schema}),
        Type::Optional(_, true) => json!(["null", parts[0].schema]),
        Type::Optional(_, false) => json!([parts[0].schema, "null"]),
        Type::Union(_) => parts.iter().map(|part| part.schema.clone()).collect(),
        Type::Record(_) => {
            let fields: Vec<_> = (0..).zip(parts).map(|(at, part)| field(at, part.schema.clone())).collect();
            json!({"type": "record", "name": name, "fields": fields})
        }
        Type::Chain(_) => {
            let fields = [field(0, parts[0].schema.clone()), field(1, json!(["null", name]))];
            json!({"type": "record", "name": name, "fields": fields})
        }
    }
}

fn field(at: usize, schema: Json) -> Json {
    json!({"name": format!("f{at}"), "type": schema})
}

/// A random value, and what it is as JSON.
fn value(of: &Named, rng: &mut StdRng) -> (Value, Json) {
    match &of.kind {
        Type::Null => (Value::Null, Json::Null),
        Type::Boolean => {
            let value = rng.random();
            (Value::Boolean(value), json!(value))
        }
        Type::Int => {
            let value = rng.random::<i32>() >> rng.random_range(0..32);
            (Value::Int(value), json!(value))
        }
        Type::Long => {
            let value = rng.random::<i64>() >> rng.random_range(0..64);
            (Value::Long(value), json!(value))
        }
        Type::Float => {
            let value = f32::from_bits(rng.random());
            (Value::Float(value), number(f64::from(value)))
        }
        Type::Double => {
            let value = f64::from_bits(rng.random());
            (Value::Double(value), number(value))
        }
        Type::String => {
            let value = text(rng);
            (Value::String(value.clone()), json!(value))
        }
        Type::Bytes => {
            let length = rng.random_range(0..40);
            let value = bytes(length, rng);
            let text = STANDARD.encode(&value);
            (Value::Bytes(value), json!(text))
        }
        Type::Fixed(size) => {
            let value = bytes(*size, rng);
            let text = STANDARD.encode(&value);
            (Value::Fixed(*size, value), json!(text))
        }
        Type::Enum(count) => {
            let at = rng.random_range(0..*count);
            (Value::Enum(at as u32, format!("S{at}")), json!(format!("S{at}")))
        }
        _ if of.parts.is_empty() && !matches!(of.kind, Type::Record(_)) => logical(&of.kind, rng),
        _ => collection(of, rng),
    }
}

fn logical(kind: &Type, rng: &mut StdRng) -> (Value, Json) {
    match kind {
        Type::Decimal(scale) => {
            let number = rng.random::<i128>() >> rng.random_range(0..128);
            let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            let (sign, point) = (if number < 0 { "-" } else { "" }, if *scale > 0 { "." } else { "" });
            let decimal = Decimal::from(number.to_be_bytes());
            (Value::Decimal(decimal), json!(format!("{sign}{whole}{point}{fraction}")))
        }
        Type::Uuid => {
            let mut bytes = [0; 16];
            rng.fill_bytes(&mut bytes);
            let uuid = apache_avro::Uuid::from_bytes(bytes);
            (Value::Uuid(uuid), json!(uuid.to_string()))
        }
        Type::Date => {
            let days = rng.random_range(-719_528..2_932_897);
            let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(i64::from(days)));
            (Value::Date(days), json!(date.unwrap().to_string()))
        }
        Type::TimestampMicros => {
            let at = jiff::Timestamp::from_microsecond(
                rng.random_range(-62_000_000_000_000_000..253_000_000_000_000_000),
            );
            let at = at.unwrap();
            let text = at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
            (Value::TimestampMicros(at.as_microsecond()), json!(text))
        }
        Type::LocalTimestampNanos => {
            let nanos = rng.random::<i64>();
            let at = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap();
            let text = at.strftime("%Y-%m-%dT%H:%M:%S.%9f").to_string();
            (Value::LocalTimestampNanos(nanos), json!(text))
        }
        _ => {
            let [months, days, millis]: [u32; 3] = rng.random();
            let duration =
                apache_avro::Duration::new(Months::new(months), Days::new(days), Millis::new(millis));
            let seconds = format!("{}.{:03}", millis / 1000, millis % 1000);
            (Value::Duration(duration), json!(format!("P{months}M{days}DT{seconds}S")))
        }
    }
}

fn collection(of: &Named, rng: &mut StdRng) -> (Value, Json) {
    let few = rng.random_range(0..4);
    match &of.kind {
        Type::Array(_) => {
            let (values, json): (Vec<_>, Vec<_>) = (0..few).map(|_| value(&of.parts[0], rng)).unzip();
            (Value::Array(values), Json::Array(json))
        }
        Type::Map(_) => {
            let (mut values, mut json) = (HashMap::new(), serde_json::Map::new());
            for _ in 0..few {
                let key = text(rng);
                let (of_key, its_json) = value(&of.parts[0], rng);
                values.insert(key.clone(), of_key);
                json.insert(key, its_json);
            }
            (Value::Map(values), Json::Object(json))
        }
        Type::Optional(_, null_first) => {
            let some = rng.random::<bool>();
            let (value, json) = if some { value(&of.parts[0], rng) } else { (Value::Null, Json::Null) };
            (Value::Union(u32::from(some == *null_first), Box::new(value)), json)
        }
        Type::Union(_) => {
            let at = rng.random_range(0..of.parts.len());
            let (value, json) = value(&of.parts[at], rng);
            (Value::Union(at as u32, Box::new(value)), json)
        }
        Type::Record(_) => {
            let all = (0..).zip(&of.parts).map(|(at, part)| (format!("f{at}"), value(part, rng)));
            let all: Vec<_> = all.collect();
            let json = all.iter().map(|(name, (_, json))| (name.clone(), json.clone())).collect();
            (Value::Record(all.into_iter().map(|(name, (value, _))| (name, value)).collect()), json)
        }
        _ => {
            let (mut next, mut json) = (Value::Union(0, Box::new(Value::Null)), Json::Null);
            for at in 0..=few {
                let (value, its_json) = value(&of.parts[0], rng);
                let record = Value::Record(vec![("f0".to_owned(), value), ("f1".to_owned(), next)]);
                json = json!({"f0": its_json, "f1": json});
                if at == few {
                    return (record, json);
                }
                next = Value::Union(1, Box::new(record));
            }
            unreachable!()
        }
    }
}

fn number(value: f64) -> Json {
    match value {
        _ if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        _ => json!(value),
    }
}

/// Whether two values are the same. A number of 32 bits is written as one of several texts that are read as it: of the shortest there
/// can be two, `2248931.2` and `2248931.3`.
fn same(ours: &Json, expected: &Json) -> bool {
    match (ours, expected) {
        (Json::Number(a), Json::Number(b)) if b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            a.to_bits() == b.to_bits() || f64::from(a as f32).to_bits() == b.to_bits()
        }
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn text(rng: &mut StdRng) -> String {
    let all = ['a', 'z', '"', '\\', '\n', '\0', '\u{7f}', 'é', '世', '🚀', '\u{2028}', ' '];
    (0..rng.random_range(0..12)).map(|_| *all.choose(rng).unwrap()).collect()
}

fn bytes(length: usize, rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// A random value's schema, bytes and JSON.
fn written(kind: &Type, seed: u64) -> (String, Vec<u8>, Json) {
    let named = Named::new(kind, &mut 0);
    assert!(!named.name.is_empty());
    let (value, json) = value(&named, &mut StdRng::seed_from_u64(seed));
    let text = named.schema.to_string();
    let schema = apache_avro::Schema::parse_str(&text).unwrap_or_else(|why| panic!("{text}: {why}"));
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    let bytes = writer.write_value_to_vec(value).unwrap_or_else(|why| panic!("{text}: {why}"));
    (text, bytes, json)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_apache_avro_writes_is_read(kind in types(), seed: u64) {
        let (text, bytes, json) = written(&kind, seed);
        let schema = avro::Schema::parse(&text, &[], Options::default()).unwrap();
        let mut out = Vec::new();
        schema.decode(&bytes, &mut out).unwrap();
        prop_assert!(!out.contains(&b'\n'));
        let ours = serde_json::from_slice::<Json>(&out).unwrap();
        prop_assert!(same(&ours, &json), "{ours} is not {json}");
    }

    #[test]
    fn damaged_bytes_are_refused_or_are_json(
        kind in types(), seed: u64, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let (text, mut bytes, _) = written(&kind, seed);
        for (at, byte, how) in damage {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|old| *old ^= byte),
            }
        }
        for avro_json in [AvroJson::Plain, AvroJson::Avro] {
            let options = Options { avro_json, int64: Int64::String };
            let schema = avro::Schema::parse(&text, &[], options).unwrap();
            let mut out = Vec::new();
            if schema.decode(&bytes, &mut out).is_ok() {
                prop_assert!(out.len() <= MAX_TEXT);
                serde_json::from_slice::<serde::de::IgnoredAny>(&out).unwrap();
            }
        }
    }
}
