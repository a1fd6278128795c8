//! An order of ten fields as JSON, Avro and Protobuf, and what describes the latter two.

use std::io::Write as _;

/// What an order is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Avro,
    Protobuf,
}

/// Names of the fields, their types in Avro, and the numbers of their types in a descriptor (`FieldDescriptorProto.Type`).
const FIELDS: [(&str, &str, u8); 10] = [
    ("id", "long", INT64),
    ("customer", "string", STRING),
    ("total", "double", DOUBLE),
    ("currency", "string", STRING),
    ("items", "int", INT32),
    ("paid", "boolean", BOOL),
    ("created", "long", INT64),
    ("city", "string", STRING),
    ("note", "string", STRING),
    ("discount", "double", DOUBLE),
];
const DOUBLE: u8 = 1;
const INT64: u8 = 3;
const INT32: u8 = 5;
const BOOL: u8 = 8;
const STRING: u8 = 9;

const NOTE: &str = "Leave it with the neighbours on the second floor; the bell of the house does not work, so please knock. \
                    Thank you very much.";

/// A field's value.
enum Value {
    Number(i64),
    Real(f64),
    Is(bool),
    Text(String),
}

fn values(number: u64) -> [Value; 10] {
    let text = |text: &str| Value::Text(text.to_owned());
    [
        Value::Number(number as i64 + 1_000_000),
        Value::Text(format!("customer-{:06}", number * 7919 % 1_000_000)),
        Value::Real((number % 100_000) as f64 / 4.0 + 0.25),
        text("EUR"),
        Value::Number((number % 12) as i64 + 1),
        Value::Is(number.is_multiple_of(3)),
        Value::Number(1_790_000_000_000 + number as i64),
        text("Rotterdam"),
        text(NOTE),
        Value::Real(0.5),
    ]
}

/// Appends the order with this number.
pub(crate) fn put_order(kind: Kind, number: u64, out: &mut Vec<u8>) {
    let values = values(number);
    let fields = FIELDS.iter().zip(&values).zip(1..);
    match kind {
        Kind::Json => {
            for (((name, ..), value), at) in fields {
                let before = if at == 1 { '{' } else { ',' };
                // A vector takes everything.
                let _ = match value {
                    Value::Number(value) => write!(out, "{before}\"{name}\":{value}"),
                    Value::Real(value) => write!(out, "{before}\"{name}\":{value:?}"),
                    Value::Is(value) => write!(out, "{before}\"{name}\":{value}"),
                    Value::Text(value) => write!(out, "{before}\"{name}\":\"{value}\""),
                };
            }
            out.push(b'}');
        }
        Kind::Avro => {
            for ((_, value), _) in fields {
                match value {
                    Value::Number(value) => put_varint(out, zigzag(*value)),
                    Value::Real(value) => out.extend(value.to_le_bytes()),
                    Value::Is(value) => out.push(u8::from(*value)),
                    Value::Text(value) => {
                        put_varint(out, zigzag(value.len() as i64));
                        out.extend(value.as_bytes());
                    }
                }
            }
        }
        Kind::Protobuf => {
            for ((_, value), at) in fields {
                match value {
                    Value::Number(value) => put_number(out, at, *value as u64),
                    Value::Real(value) => {
                        put_varint(out, at << 3 | 1);
                        out.extend(value.to_le_bytes());
                    }
                    Value::Is(value) => put_number(out, at, u64::from(*value)),
                    Value::Text(value) => put_bytes(out, at, value.as_bytes()),
                }
            }
        }
    }
}

/// The order's schema in Avro.
pub(crate) fn avro_schema() -> String {
    let fields = FIELDS.map(|(name, kind, _)| format!(r#"{{"name":"{name}","type":"{kind}"}}"#)).join(",");
    format!(r#"{{"type":"record","name":"Order","fields":[{fields}]}}"#)
}

/// The order's descriptor: a `FileDescriptorSet` of one file with the message `Order`.
pub(crate) fn descriptor_set() -> Vec<u8> {
    let mut message = Vec::new();
    put_bytes(&mut message, 1, b"Order");
    for ((name, _, kind), number) in FIELDS.iter().zip(1..) {
        let mut field = Vec::new();
        put_bytes(&mut field, 1, name.as_bytes());
        put_number(&mut field, 3, number);
        // It is optional.
        put_number(&mut field, 4, 1);
        put_number(&mut field, 5, u64::from(*kind));
        put_bytes(&mut message, 2, &field);
    }
    let mut file = Vec::new();
    put_bytes(&mut file, 1, b"order.proto");
    put_bytes(&mut file, 4, &message);
    put_bytes(&mut file, 12, b"proto3");
    let mut set = Vec::new();
    put_bytes(&mut set, 1, &file);
    set
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Seven bits in each byte, the lowest first: both formats have it.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}
