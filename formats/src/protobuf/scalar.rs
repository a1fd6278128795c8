//! Single values as text.

use super::types::{Kind, Types};
use super::wire::{Value, zigzag};
use super::wrong::Wrong;
use crate::json::{put_base64, put_double, put_float, put_int, put_int64, put_string};

/// Appends a value that is no message.
pub(super) fn put_scalar(
    out: &mut Vec<u8>,
    types: &Types,
    kind: Kind,
    value: Value<'_>,
) -> Result<(), Wrong> {
    let int64 = types.int64;
    match (kind, value) {
        (Kind::String, Value::Bytes(text)) => put_string(out, utf8(text)?),
        (Kind::Bytes, Value::Bytes(bytes)) => put_base64(out, bytes),
        // Of what has 32 bits, the lower 32 count.
        (Kind::Int32, Value::Varint(number)) => put_int(out, number as i32),
        (Kind::UInt32, Value::Varint(number)) => put_int(out, number as u32),
        (Kind::SInt32, Value::Varint(number)) => put_int(out, zigzag(u64::from(number as u32)) as i32),
        (Kind::Int64, Value::Varint(number)) => put_int64(out, number as i64, int64),
        (Kind::UInt64, Value::Varint(number)) => put_int64(out, number, int64),
        (Kind::SInt64, Value::Varint(number)) => put_int64(out, zigzag(number), int64),
        (Kind::Bool, Value::Varint(number)) => put_bool(out, number != 0),
        (Kind::Enum(of), Value::Varint(number)) => put_enum(out, types, of, number as i32),
        (Kind::Null, Value::Varint(_)) => out.extend_from_slice(b"null"),
        (Kind::Fixed32, Value::Fixed32(number)) => put_int(out, number),
        (Kind::SFixed32, Value::Fixed32(number)) => put_int(out, number as i32),
        (Kind::Float, Value::Fixed32(number)) => put_float(out, f32::from_bits(number)),
        (Kind::Fixed64, Value::Fixed64(number)) => put_int64(out, number, int64),
        (Kind::SFixed64, Value::Fixed64(number)) => put_int64(out, number as i64, int64),
        (Kind::Double, Value::Fixed64(number)) => put_double(out, f64::from_bits(number)),
        _ => return Err(Wrong::bytes("another wire type")),
    }
    Ok(())
}

/// Appends what stands for a value that is not there.
pub(super) fn put_default(out: &mut Vec<u8>, types: &Types, kind: Kind) -> Result<(), Wrong> {
    let nothing = match kind {
        Kind::Enum(of) => Value::Varint(types.enums[of as usize].default as u64),
        _ => match kind.wire() {
            super::wire::VARINT => Value::Varint(0),
            super::wire::FIXED64 => Value::Fixed64(0),
            super::wire::FIXED32 => Value::Fixed32(0),
            _ => Value::Bytes(b""),
        },
    };
    put_scalar(out, types, kind, nothing)
}

fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true".as_slice() } else { b"false" });
}

/// Appends the name of a number. One that has none stands as a number, also where an enum is closed and other languages leave it
/// out: what a newer schema wrote is not lost.
fn put_enum(out: &mut Vec<u8>, types: &Types, of: u32, number: i32) {
    match types.enums[of as usize].name(number) {
        Some(name) => out.extend_from_slice(name),
        None => put_int(out, number),
    }
}

/// Text as it must be for JSON, also in a proto2 string, which could hold other bytes.
pub(super) fn utf8(text: &[u8]) -> Result<&str, Wrong> {
    std::str::from_utf8(text).map_err(|_| Wrong::bytes("not UTF-8"))
}
