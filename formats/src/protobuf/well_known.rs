//! The types of `google.protobuf` that ProtoJSON writes in ways of their own, and that are no plain value of a field.

use super::scalar::utf8;
use super::wire::{Reader, Value};
use super::wrong::Wrong;
use crate::instant::{put_fraction, put_instant};
use crate::json::{put_int, put_string};

/// The most seconds of a duration, about 10,000 years.
const MAX_DURATION: u64 = 315_576_000_000;

/// Appends `"2026-07-01T10:20:30.500Z"`.
pub(super) fn put_timestamp(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Wrong> {
    let (seconds, nanos) = seconds_and_nanos(bytes)?;
    let nanos = u32::try_from(nanos).map_err(|_| Wrong::bytes("a timestamp out of range"))?;
    out.push(b'"');
    if !put_instant(out, seconds, nanos) {
        return Err(Wrong::bytes("a timestamp out of range"));
    }
    out.push(b'"');
    Ok(())
}

/// Appends `"-1.500s"`.
pub(super) fn put_duration(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Wrong> {
    let (seconds, nanos) = seconds_and_nanos(bytes)?;
    let signs_differ = (seconds < 0 && nanos > 0) || (seconds > 0 && nanos < 0);
    if seconds.unsigned_abs() > MAX_DURATION || nanos.unsigned_abs() > 999_999_999 || signs_differ {
        return Err(Wrong::bytes("a duration out of range"));
    }
    out.push(b'"');
    if seconds < 0 || nanos < 0 {
        out.push(b'-');
    }
    put_int(out, seconds.unsigned_abs());
    put_fraction(out, nanos.unsigned_abs());
    out.extend_from_slice(b"s\"");
    Ok(())
}

/// The two fields of a timestamp or a duration.
fn seconds_and_nanos(bytes: &[u8]) -> Result<(i64, i32), Wrong> {
    let (mut seconds, mut nanos) = (0, 0);
    each(bytes, |number, value| {
        match (number, value) {
            (1, Value::Varint(number)) => seconds = number as i64,
            (2, Value::Varint(number)) => nanos = number as i32,
            _ => {}
        }
        Ok(())
    })?;
    Ok((seconds, nanos))
}

/// Appends `"user.displayName,photo"`.
pub(super) fn put_field_mask(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Wrong> {
    let mut mask = String::new();
    let mut first = true;
    each(bytes, |number, value| {
        if let (1, Value::Bytes(path)) = (number, value) {
            if !std::mem::take(&mut first) {
                mask.push(',');
            }
            push_path(&mut mask, utf8(path)?);
        }
        Ok(())
    })?;
    put_string(out, &mask);
    Ok(())
}

/// Appends a path with its names as they are in JSON. One that would not read back the same stays as it is: other languages refuse
/// the whole message.
fn push_path(mask: &mut String, path: &str) {
    let mut parts = path.split('_');
    let begins_small = |part: &str| part.starts_with(|first: char| first.is_ascii_lowercase());
    let plain = !path.contains(|c: char| c.is_ascii_uppercase()) && parts.clone().skip(1).all(begins_small);
    if !plain {
        return mask.push_str(path);
    }
    mask.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (first, rest) = part.split_at(1);
        mask.push_str(&first.to_ascii_uppercase());
        mask.push_str(rest);
    }
}

/// The type and the bytes of an Any.
pub(super) fn packed_any(bytes: &[u8]) -> Result<(&str, &[u8]), Wrong> {
    let (mut url, mut packed): (&str, &[u8]) = ("", &[]);
    each(bytes, |number, value| {
        match (number, value) {
            (1, Value::Bytes(text)) => url = utf8(text).map_err(|wrong| wrong.within("@type"))?,
            (2, Value::Bytes(bytes)) => packed = bytes,
            _ => {}
        }
        Ok(())
    })?;
    Ok((url, packed))
}

/// Gives each field.
fn each<'a>(bytes: &'a [u8], mut give: impl FnMut(u32, Value<'a>) -> Result<(), Wrong>) -> Result<(), Wrong> {
    let mut reader = Reader::new(bytes);
    while !reader.is_at_end() {
        let (number, wire) = reader.tag()?;
        give(number, reader.value(number, wire)?)?;
    }
    Ok(())
}
