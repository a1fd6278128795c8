//! Confluent's wire format: what says by which schema a key or a value was written.
//!
//! There are two forms. In the older one the bytes begin with it: a zero, the schema's id in four bytes, then what was written. In
//! the newer one a header has it, [`KEY_HEADER`] or [`VALUE_HEADER`], and the key or the value is bare: a one, the schema's GUID
//! in 16 bytes. Readers look for the header first. With Protobuf, either is followed by the indexes of the message within its
//! file, so that these are in the header where the GUID is.
//!
//! ```
//! use tailrace_formats::confluent::{Frame, SchemaId, take_message_indexes};
//!
//! let mut frame = Frame::of(b"\x00\x00\x00\x01\x02\x04\x02\x00payload").unwrap();
//! assert_eq!(frame.schema, SchemaId::Id(258));
//! assert_eq!(take_message_indexes(&mut frame.rest).unwrap()[..], [1, 0]);
//! assert_eq!(frame.rest, b"payload");
//! ```

use std::fmt;

use smallvec::SmallVec;

use crate::Undecodable;

/// The header that says by which schema the key was written. Where it is there several times, the last one counts.
pub const KEY_HEADER: &str = "__key_schema_id";
/// The header that says by which schema the value was written. Where it is there several times, the last one counts.
pub const VALUE_HEADER: &str = "__value_schema_id";

/// The deepest nesting of messages within messages, as protoc has it.
const MAX_INDEXES: usize = 32;

/// The first byte of what has an id.
const MAGIC_ID: u8 = 0;
/// The first byte of what has a GUID.
const MAGIC_GUID: u8 = 1;

/// What a registry knows a schema by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchemaId {
    /// A number, unique within a registry.
    Id(u32),
    /// A hash of the schema with its references, the same in all registries.
    Guid([u8; 16]),
}

impl fmt::Display for SchemaId {
    /// As registries write it in their paths: `258`, `89791762-2336-4186-9674-299b90a802e2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaId::Id(id) => write!(f, "{id}"),
            SchemaId::Guid(bytes) => {
                for (at, byte) in bytes.iter().enumerate() {
                    let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(f, "{dash}{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

/// A schema's id, and what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The id.
    pub schema: SchemaId,
    /// With Protobuf, the message's indexes, which [`take_message_indexes`] takes off. Then the payload, if the bytes are a key's
    /// or a value's; nothing, if they are a header's.
    pub rest: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame of a key or a value; None if it has none. Bytes of any other origin that begin with a zero look the same: whether
    /// a registry knows the id is the caller's to find out.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let (id, rest) = bytes.strip_prefix(&[MAGIC_ID])?.split_first_chunk()?;
        Some(Frame { schema: SchemaId::Id(u32::from_be_bytes(*id)), rest })
    }

    /// What the header [`KEY_HEADER`] or [`VALUE_HEADER`] holds; None if that is neither a GUID nor an id, which Confluent's
    /// readers accept there too.
    pub fn of_header(value: &'a [u8]) -> Option<Self> {
        let Some(guid) = value.strip_prefix(&[MAGIC_GUID]) else { return Self::of(value) };
        let (guid, rest) = guid.split_first_chunk()?;
        Some(Frame { schema: SchemaId::Guid(*guid), rest })
    }
}

/// The way to a message: the place of one in its file, then of one nested in that, and so on.
pub type MessageIndexes = SmallVec<[i32; 4]>;

/// Takes off the indexes of the message, which follow a schema's id where that is of Protobuf: their count, then each, as zigzag
/// varints. A count of zero stands for the first message, `[0]`.
///
/// # Errors
/// [`Undecodable::Mismatch`] if there are none, if one is below zero or of more than 32 bits, or more than 32 of them.
pub fn take_message_indexes(bytes: &mut &[u8]) -> Result<MessageIndexes, Undecodable> {
    let mut rest = *bytes;
    let count = match take_zigzag(&mut rest)? {
        0 => {
            *bytes = rest;
            return Ok(MessageIndexes::from_slice(&[0]));
        }
        count => usize::try_from(count).ok().filter(|count| *count <= MAX_INDEXES),
    };
    let count = count.ok_or_else(|| Undecodable::Mismatch("a count of message indexes".to_owned()))?;
    let indexes = (0..count).map(|_| take_zigzag(&mut rest)).collect::<Result<MessageIndexes, _>>()?;
    if indexes.iter().any(|index| *index < 0) {
        return Err(Undecodable::Mismatch("a message index below zero".to_owned()));
    }
    *bytes = rest;
    Ok(indexes)
}

/// Takes off a zigzag varint of at most 32 bits.
fn take_zigzag(bytes: &mut &[u8]) -> Result<i32, Undecodable> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let wrong = || Undecodable::Mismatch("message indexes".to_owned());
        let (byte, rest) = bytes.split_first().ok_or_else(wrong)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).map_err(|_| wrong())?;
            return Ok((value >> 1) as i32 ^ -((value & 1) as i32));
        }
        shift += 7;
        if shift > 28 {
            return Err(wrong());
        }
    }
}
