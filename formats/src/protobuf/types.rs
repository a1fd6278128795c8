//! What a schema is compiled to: for each message, what its fields are on the wire and in the text.

use std::collections::HashMap;

use super::wire;
use crate::Int64;

/// No index.
pub(super) const NONE: u32 = u32::MAX;

/// All types of a schema.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) messages: Box<[Type]>,
    pub(super) enums: Box<[Enum]>,
    /// The messages, by their full names.
    pub(super) by_name: HashMap<Box<str>, u32>,
    /// The messages of the main file that an index counts.
    pub(super) counted: Box<[u32]>,
    pub(super) int64: Int64,
}

/// A message type.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) name: Box<str>,
    pub(super) shape: Shape,
    /// By number, but those of a oneof together, where its first one stands.
    pub(super) fields: Box<[Field]>,
    /// The index of a field by its number, up to some number.
    pub(super) dense: Box<[u32]>,
    /// The numbers beyond, sorted, each with its field's index.
    pub(super) sparse: Box<[(u32, u32)]>,
    /// The messages within it that an index counts.
    pub(super) counted: Box<[u32]>,
}

impl Type {
    /// The index of the field of a number, if there is one.
    pub(super) fn find(&self, number: u32) -> Option<u32> {
        if let Some(&index) = self.dense.get(number as usize) {
            return (index != NONE).then_some(index);
        }
        let found = self.sparse.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.sparse[found].1)
    }
}

/// How a message is written. All but objects are of types that ProtoJSON knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `{"field":value}`.
    Object,
    /// The value of the only field that is there; if none is, this.
    Bare(&'static str),
    Timestamp,
    Duration,
    FieldMask,
    Any,
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) label: Label,
    pub(super) kind: Kind,
    /// The oneof of which it is a member, or [`NONE`].
    pub(super) oneof: u32,
    /// `,"name":`, escaped.
    pub(super) key: Box<[u8]>,
}

impl Field {
    /// Its name as it is in the text.
    pub(super) fn name(&self) -> &str {
        let name = self.key.get(2..self.key.len().saturating_sub(2)).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// Whether a value of this wire type is one of it. Any other is unknown, whatever its number, as Google's parsers have it.
    pub(super) fn accepts(&self, wire: u8) -> bool {
        let own = self.kind.wire();
        wire == own || (wire == wire::BYTES && self.label == Label::Repeated && own != wire::GROUP)
    }
}

/// How often a field can be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// Once; if it is not, that is the same as its default value, which is left out.
    Implicit,
    /// Once, or not at all.
    Explicit,
    /// Any number of times.
    Repeated,
    /// Any number of times, as entries of a map; the type of these.
    Map(u32),
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    UInt32,
    UInt64,
    SInt32,
    SInt64,
    Fixed32,
    Fixed64,
    SFixed32,
    SFixed64,
    Bool,
    String,
    Bytes,
    Enum(u32),
    /// The enum that stands for null.
    Null,
    Message(u32),
    /// A message between two tags.
    Group(u32),
}

impl Kind {
    /// The wire type of one value.
    pub(super) fn wire(self) -> u8 {
        use Kind::*;
        match self {
            Int32 | Int64 | UInt32 | UInt64 | SInt32 | SInt64 | Bool | Enum(_) | Null => wire::VARINT,
            Fixed64 | SFixed64 | Double => wire::FIXED64,
            Fixed32 | SFixed32 | Float => wire::FIXED32,
            String | Bytes | Message(_) => wire::BYTES,
            Group(_) => wire::GROUP,
        }
    }
}

/// An enum type.
#[derive(Debug)]
pub(super) struct Enum {
    /// Sorted by number, each with its name in quotes: of several, the first.
    pub(super) names: Box<[(i32, Box<[u8]>)]>,
    /// The value of what is not there.
    pub(super) default: i32,
}

impl Enum {
    /// The name of a number, in quotes.
    pub(super) fn name(&self, number: i32) -> Option<&[u8]> {
        // Most enums count from zero.
        if let Some((at, name)) = self.names.get(number as usize)
            && *at == number
        {
            return Some(name);
        }
        let found = self.names.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.names[found].1)
    }
}
