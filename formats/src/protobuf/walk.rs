//! From the bytes of a message to its text.

use std::borrow::Cow;
use std::ops::Range;

use super::notes::{Note, Notes, first_field, take_notes};
use super::scalar::put_scalar;
use super::types::{Field, Kind, Label, Shape, Type, Types};
use super::well_known;
use super::wire::{self, Reader, Value};
use super::wrong::Wrong;
use crate::MAX_DEPTH;

/// One decoding.
pub(super) struct Walk<'t> {
    pub(super) types: &'t Types,
    /// The notes of the messages that are being written, the innermost last.
    pub(super) notes: Notes,
    /// How long the text may become.
    limit: usize,
}

impl<'t> Walk<'t> {
    pub(super) fn new(types: &'t Types, limit: usize) -> Self {
        Walk { types, notes: Notes::new(), limit }
    }

    /// Appends a message, within `depth` objects and arrays.
    pub(super) fn message(
        &mut self,
        of: u32,
        bytes: &[u8],
        out: &mut Vec<u8>,
        depth: u32,
    ) -> Result<(), Wrong> {
        let of = &self.types.messages[of as usize];
        match of.shape {
            Shape::Object => {
                let open = out.len();
                self.fields(of, bytes, out, deeper(depth)?)?;
                close_object(out, open);
                Ok(())
            }
            Shape::Bare(empty) => self.bare(of, empty, bytes, out, depth),
            Shape::Timestamp => well_known::put_timestamp(out, bytes),
            Shape::Duration => well_known::put_duration(out, bytes),
            Shape::FieldMask => well_known::put_field_mask(out, bytes),
            Shape::Any => self.any(bytes, out, deeper(depth)?),
        }
    }

    /// Appends a message's fields, each as `,"name":value`.
    pub(super) fn fields(
        &mut self,
        of: &'t Type,
        bytes: &[u8],
        out: &mut Vec<u8>,
        depth: u32,
    ) -> Result<(), Wrong> {
        self.each_field(of, bytes, |walk, field, notes| {
            let begin = out.len();
            out.extend_from_slice(&field.key);
            if !walk.field(field, bytes, notes, out, depth)? {
                out.truncate(begin);
            }
            walk.within_bounds(out)
        })
    }

    /// Appends the value of a message's only field.
    fn bare(
        &mut self,
        of: &'t Type,
        empty: &str,
        bytes: &[u8],
        out: &mut Vec<u8>,
        depth: u32,
    ) -> Result<(), Wrong> {
        let begin = out.len();
        self.each_field(of, bytes, |walk, field, notes| {
            walk.field(field, bytes, notes, out, depth)?;
            walk.within_bounds(out)
        })?;
        if out.len() == begin {
            out.extend_from_slice(empty.as_bytes());
        }
        Ok(())
    }

    /// Gives each field that is there with those of its notes that count.
    fn each_field(
        &mut self,
        of: &'t Type,
        bytes: &[u8],
        mut give: impl FnMut(&mut Self, &'t Field, Range<usize>) -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        let base = self.notes.len();
        take_notes(of, bytes, &mut self.notes)?;
        let (mut at, end) = (base, self.notes.len());
        while at < end {
            let (count, valid) = first_field(of, &self.notes[at..end]);
            let field = &of.fields[self.notes[at + valid.start].field as usize];
            let notes = at + valid.start..at + valid.end;
            give(self, field, notes).map_err(|wrong| wrong.within(field.name()))?;
            at += count;
        }
        self.notes.truncate(base);
        Ok(())
    }

    /// Appends the value of a field. False if it is one that is left out.
    fn field(
        &mut self,
        field: &Field,
        bytes: &[u8],
        notes: Range<usize>,
        out: &mut Vec<u8>,
        depth: u32,
    ) -> Result<bool, Wrong> {
        match field.label {
            Label::Repeated => self.array(field, bytes, notes, out, depth),
            Label::Map(entry) => self.map(entry, field.number, bytes, notes, out, depth).map(|()| true),
            Label::Implicit | Label::Explicit => self.single(field, bytes, notes, out, depth),
        }
    }

    /// Appends the value of a field that is there once: the last one, or all of them merged.
    pub(super) fn single(
        &mut self,
        field: &Field,
        bytes: &[u8],
        notes: Range<usize>,
        out: &mut Vec<u8>,
        depth: u32,
    ) -> Result<bool, Wrong> {
        if let Kind::Message(of) | Kind::Group(of) = field.kind {
            let merged = merged(&self.notes[notes], bytes, field.number)?;
            return self.message(of, &merged, out, depth).map(|()| true);
        }
        let last = self.notes[notes].last().copied();
        let Some(value) = last.map(|last| last.last(bytes, field.number)).transpose()?.flatten() else {
            return Ok(false);
        };
        if field.label == Label::Implicit && is_zero(value) {
            return Ok(false);
        }
        put_scalar(out, self.types, field.kind, value).map(|()| true)
    }

    /// Appends all values of a field. False if there is none, which packed ones can be.
    fn array(
        &mut self,
        field: &Field,
        bytes: &[u8],
        notes: Range<usize>,
        out: &mut Vec<u8>,
        depth: u32,
    ) -> Result<bool, Wrong> {
        let depth = deeper(depth)?;
        let open = out.len();
        for at in notes {
            let note = self.notes[at];
            note.each(bytes, field.number, |value| match value {
                Value::Bytes(packed) if field.kind.wire() != wire::BYTES => self.packed(field, packed, out),
                value => {
                    out.push(b',');
                    self.element(field.kind, value, out, depth)?;
                    self.within_bounds(out)
                }
            })?;
        }
        if out.len() == open {
            return Ok(false);
        }
        out[open] = b'[';
        out.push(b']');
        Ok(true)
    }

    fn packed(&self, field: &Field, packed: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
        let wire = field.kind.wire();
        let mut reader = Reader::new(packed);
        while !reader.is_at_end() {
            out.push(b',');
            put_scalar(out, self.types, field.kind, reader.value(field.number, wire)?)?;
            self.within_bounds(out)?;
        }
        Ok(())
    }

    fn element(&mut self, kind: Kind, value: Value<'_>, out: &mut Vec<u8>, depth: u32) -> Result<(), Wrong> {
        match (kind, value) {
            (Kind::Message(of) | Kind::Group(of), Value::Bytes(bytes) | Value::Group(bytes)) => {
                self.message(of, bytes, out, depth)
            }
            (kind, value) => put_scalar(out, self.types, kind, value),
        }
    }

    pub(super) fn within_bounds(&self, out: &[u8]) -> Result<(), Wrong> {
        if out.len() <= self.limit { Ok(()) } else { Err(Wrong::TooLong) }
    }
}

/// One level deeper, for an object or an array.
pub(super) fn deeper(depth: u32) -> Result<u32, Wrong> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Wrong::TooDeep) }
}

/// Makes an object of what was appended since, `,"name":value` for each field.
pub(super) fn close_object(out: &mut Vec<u8>, open: usize) {
    match out.get_mut(open) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

/// The bytes of a message that is there once or several times: put together they are the message that all of them are.
fn merged<'a>(notes: &[Note], bytes: &'a [u8], number: u32) -> Result<Cow<'a, [u8]>, Wrong> {
    let mut merged: Option<Cow<'a, [u8]>> = None;
    for note in notes {
        note.each(bytes, number, |value| {
            let (Value::Bytes(part) | Value::Group(part)) = value else { return Ok(()) };
            match &mut merged {
                None => merged = Some(Cow::Borrowed(part)),
                Some(merged) => merged.to_mut().extend_from_slice(part),
            }
            Ok(())
        })?;
    }
    Ok(merged.unwrap_or_default())
}

/// Whether a value is the default one of its type: nothing but zeros, or nothing. A zero below zero is not.
fn is_zero(value: Value<'_>) -> bool {
    match value {
        Value::Varint(number) | Value::Fixed64(number) => number == 0,
        Value::Fixed32(number) => number == 0,
        Value::Bytes(bytes) | Value::Group(bytes) => bytes.is_empty(),
    }
}
