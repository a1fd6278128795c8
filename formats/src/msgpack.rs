//! MessagePack: the bytes of a value to JSON text.
//!
//! What JSON has not: binary data is base64; a timestamp is a text by RFC 3339 in UTC, `"2026-07-01T10:20:30Z"`; any other extension
//! is `{"ext":TYPE,"base64":DATA}`, and so is a timestamp of no year from 1 to 9999. A key that is no string is its JSON text:
//! `{1: …}` is `{"1": …}`, `{[1, "a"]: …}` is `{"[1,\"a\"]": …}`. Keys that are there twice stay, in order.
//!
//! MessagePack has one type of integer, and writes each number in as few bytes as it takes. So [`Options::int64`] concerns all
//! integers: as strings they are all strings, small ones too, or a page could not rely on it.

use crate::instant::put_instant;
use crate::json::{put_base64, put_double, put_float, put_int, put_int64, put_string};
use crate::{MAX_DEPTH, MAX_TEXT, Options, Undecodable};

/// The extension type of timestamps.
const TIMESTAMP: i8 = -1;

/// Appends the value's JSON text.
///
/// # Errors
/// [`Undecodable`] if the bytes are not one value and nothing else, if a string is not UTF-8, or if the text would exceed a bound.
/// What was appended is then of no use.
pub fn decode(bytes: &[u8], options: Options, out: &mut Vec<u8>) -> Result<(), Undecodable> {
    let limit = out.len() + MAX_TEXT;
    let mut reader = Reader { bytes, at: 0, options, limit };
    reader.value(out, 0)?;
    match reader.rest().len() {
        0 => Ok(()),
        rest => Err(Undecodable::Mismatch(format!("{rest} bytes behind the value's end"))),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// Where the next byte to be read is; at most their length.
    at: usize,
    options: Options,
    /// How long the text may become.
    limit: usize,
}

impl<'a> Reader<'a> {
    /// Appends the next value, within `depth` arrays and maps.
    fn value(&mut self, out: &mut Vec<u8>, depth: u32) -> Result<(), Undecodable> {
        if out.len() > self.limit {
            return Err(Undecodable::TooLong);
        }
        let [first] = self.array()?;
        match first {
            0x00..=0x7f => self.put_integer(out, first),
            0xe0..=0xff => self.put_integer(out, first as i8),
            0x80..=0x8f => return self.map(out, u32::from(first & 0x0f), depth),
            0x90..=0x9f => return self.items(out, u32::from(first & 0x0f), depth),
            0xa0..=0xbf => return self.string(out, u32::from(first & 0x1f)),
            0xc0 => out.extend_from_slice(b"null"),
            0xc1 => return Err(wrong("a byte that begins no value", self.at - 1)),
            0xc2 => out.extend_from_slice(b"false"),
            0xc3 => out.extend_from_slice(b"true"),
            0xca => put_float(out, f32::from_be_bytes(self.array()?)),
            0xcb => put_double(out, f64::from_be_bytes(self.array()?)),
            0xcc..=0xd3 => return self.integer(out, first),
            0xc4..=0xc6 => {
                let length = self.length(first - 0xc4)?;
                put_base64(out, self.take(length)?);
            }
            0xc7..=0xc9 => {
                let length = self.length(first - 0xc7)?;
                return self.extension(out, length);
            }
            0xd4..=0xd8 => return self.extension(out, 1 << (first - 0xd4)),
            0xd9..=0xdb => {
                let length = self.length(first - 0xd9)?;
                return self.string(out, length);
            }
            0xdc | 0xdd => {
                let count = self.length(first - 0xdc + 1)?;
                return self.items(out, count, depth);
            }
            0xde | 0xdf => {
                let count = self.length(first - 0xde + 1)?;
                return self.map(out, count, depth);
            }
        }
        Ok(())
    }

    /// Appends an integer that has bytes of its own.
    fn integer(&mut self, out: &mut Vec<u8>, first: u8) -> Result<(), Undecodable> {
        match first {
            0xcc => self.array().map(|bytes| self.put_integer(out, u8::from_be_bytes(bytes))),
            0xcd => self.array().map(|bytes| self.put_integer(out, u16::from_be_bytes(bytes))),
            0xce => self.array().map(|bytes| self.put_integer(out, u32::from_be_bytes(bytes))),
            0xcf => self.array().map(|bytes| self.put_integer(out, u64::from_be_bytes(bytes))),
            0xd0 => self.array().map(|bytes| self.put_integer(out, i8::from_be_bytes(bytes))),
            0xd1 => self.array().map(|bytes| self.put_integer(out, i16::from_be_bytes(bytes))),
            0xd2 => self.array().map(|bytes| self.put_integer(out, i32::from_be_bytes(bytes))),
            _ => self.array().map(|bytes| self.put_integer(out, i64::from_be_bytes(bytes))),
        }
    }

    fn put_integer(&self, out: &mut Vec<u8>, number: impl itoa::Integer) {
        put_int64(out, number, self.options.int64);
    }

    fn string(&mut self, out: &mut Vec<u8>, length: u32) -> Result<(), Undecodable> {
        let begin = self.at;
        let text = std::str::from_utf8(self.take(length)?);
        let text = text.map_err(|error| wrong("a string that is not UTF-8", begin + error.valid_up_to()))?;
        put_string(out, text);
        Ok(())
    }

    fn items(&mut self, out: &mut Vec<u8>, count: u32, depth: u32) -> Result<(), Undecodable> {
        let depth = self.deeper(count, depth)?;
        out.push(b'[');
        for at in 0..count {
            if at > 0 {
                out.push(b',');
            }
            self.value(out, depth)?;
        }
        out.push(b']');
        Ok(())
    }

    fn map(&mut self, out: &mut Vec<u8>, count: u32, depth: u32) -> Result<(), Undecodable> {
        let depth = self.deeper(count, depth)?;
        out.push(b'{');
        for at in 0..count {
            if at > 0 {
                out.push(b',');
            }
            self.key(out, depth)?;
            out.push(b':');
            self.value(out, depth)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Appends a key: what is no string becomes one.
    fn key(&mut self, out: &mut Vec<u8>, depth: u32) -> Result<(), Undecodable> {
        let begin = out.len();
        self.value(out, depth)?;
        if out.get(begin) == Some(&b'"') {
            return Ok(());
        }
        // A key within a key within a key is escaped each time: twice as long, at most.
        if out.len() > self.limit {
            return Err(Undecodable::TooLong);
        }
        let text = out.split_off(begin);
        put_string(out, &String::from_utf8_lossy(&text));
        Ok(())
    }

    fn extension(&mut self, out: &mut Vec<u8>, length: u32) -> Result<(), Undecodable> {
        let [kind] = self.array()?;
        let data = self.take(length)?;
        if kind as i8 == TIMESTAMP && put_timestamp(out, data) {
            return Ok(());
        }
        out.extend_from_slice(b"{\"ext\":");
        put_int(out, kind as i8);
        out.extend_from_slice(b",\"base64\":");
        put_base64(out, data);
        out.push(b'}');
        Ok(())
    }

    /// One level deeper, for so many items or entries. None of them is less than a byte: a count that cannot be is found before
    /// anything is done for it.
    fn deeper(&self, count: u32, depth: u32) -> Result<u32, Undecodable> {
        if count as usize > self.rest().len() {
            return Err(self.wrong("a count of more than there is"));
        }
        if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Undecodable::TooDeep) }
    }

    /// A length or a count of 1, 2 or 4 bytes.
    fn length(&mut self, size: u8) -> Result<u32, Undecodable> {
        match size {
            0 => self.array().map(|[byte]| u32::from(byte)),
            1 => self.array().map(|bytes| u32::from(u16::from_be_bytes(bytes))),
            _ => self.array().map(u32::from_be_bytes),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Undecodable> {
        let array = *self.rest().first_chunk().ok_or_else(|| self.wrong("the end within a value"))?;
        self.at += N;
        Ok(array)
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], Undecodable> {
        let taken = self.rest().get(..length as usize);
        let taken = taken.ok_or_else(|| self.wrong("a length that goes beyond the end"))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[cold]
    fn wrong(&self, what: &str) -> Undecodable {
        wrong(what, self.at)
    }
}

/// What is wrong, and where it begins, in bytes from zero.
#[cold]
fn wrong(what: &str, at: usize) -> Undecodable {
    Undecodable::Mismatch(format!("{what}, at byte {at}"))
}

/// Appends a timestamp of any of the three forms. False if it is none that has a text.
fn put_timestamp(out: &mut Vec<u8>, data: &[u8]) -> bool {
    let (seconds, nanos) = match *data {
        [a, b, c, d] => (i64::from(u32::from_be_bytes([a, b, c, d])), 0),
        [a, b, c, d, e, f, g, h] => {
            let both = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            ((both & 0x3_ffff_ffff) as i64, (both >> 34) as u32)
        }
        [a, b, c, d, ref seconds @ ..] => match seconds.try_into() {
            Ok(seconds) => (i64::from_be_bytes(seconds), u32::from_be_bytes([a, b, c, d])),
            Err(_) => return false,
        },
        _ => return false,
    };
    let begin = out.len();
    out.push(b'"');
    if !put_instant(out, seconds, nanos) {
        out.truncate(begin);
        return false;
    }
    out.push(b'"');
    true
}
