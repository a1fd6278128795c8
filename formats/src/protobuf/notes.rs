//! Where the fields of a message are.
//!
//! On the wire they stand in any order, and more than once: the last value of a field counts, messages merge, of a oneof the last
//! member counts. So the bytes are passed over once, noting where the fields are, and written from the notes. What an ordinary
//! writer made is in order already; then nothing is sorted.

use std::ops::Range;

use smallvec::SmallVec;

use super::types::{NONE, Type};
use super::wire::{Reader, Value};
use super::wrong::Wrong;

/// A stretch of a message's bytes with values of one field and nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note {
    /// The field's index.
    pub(super) field: u32,
    /// Behind the tag of its first value.
    start: u32,
    /// Behind its last value.
    end: u32,
    /// The wire type of its first value.
    wire: u8,
}

/// Notes of a message, and above them those of messages within it.
pub(super) type Notes = SmallVec<[Note; 32]>;

/// Appends the notes of a message's fields, sorted by field, and those of one field as they are on the wire. Unknown fields are
/// passed over.
pub(super) fn take_notes(of: &Type, bytes: &[u8], notes: &mut Notes) -> Result<(), Wrong> {
    let base = notes.len();
    let mut sorted = true;
    let mut reader = Reader::new(bytes);
    while !reader.is_at_end() {
        let place = reader.place() as u32;
        let (number, wire) = reader.tag()?;
        let start = reader.place() as u32;
        let found = of.find(number);
        reader.value(number, wire).map_err(|wrong| match found {
            Some(field) => wrong.within(of.fields[field as usize].name()),
            None => wrong,
        })?;
        let Some(field) = found.filter(|field| of.fields[*field as usize].accepts(wire)) else { continue };
        let end = reader.place() as u32;
        match notes[base..].last_mut() {
            Some(last) if last.field == field && last.end == place => last.end = end,
            last => {
                sorted &= last.is_none_or(|last| last.field <= field);
                notes.push(Note { field, start, end, wire });
            }
        }
    }
    if !sorted {
        notes[base..].sort_unstable_by_key(|note| (note.field, note.start));
    }
    Ok(())
}

/// How many of the notes are of the field of the first, or of the oneof of which it is a member; and which of these count.
pub(super) fn first_field(of: &Type, notes: &[Note]) -> (usize, Range<usize>) {
    let Some(first) = notes.first() else { return (0, 0..0) };
    let oneof = of.fields[first.field as usize].oneof;
    if oneof == NONE {
        let count = notes.iter().take_while(|note| note.field == first.field).count();
        return (count, 0..count);
    }
    let count = notes.iter().take_while(|note| of.fields[note.field as usize].oneof == oneof).count();
    (count, last_member(&notes[..count]))
}

/// Of the notes of a oneof, those of the member that was last, since another one was.
fn last_member(notes: &[Note]) -> Range<usize> {
    let last = notes.iter().max_by_key(|note| note.start).map(|note| note.field);
    let others = notes.iter().filter(|note| Some(note.field) != last);
    let since = others.map(|note| note.start).max().unwrap_or(0);
    let counts = |note: &Note| Some(note.field) == last && note.start >= since;
    let begin = notes.iter().position(counts).unwrap_or(0);
    let count = notes[begin..].iter().take_while(|note| counts(note)).count();
    begin..begin + count
}

impl Note {
    /// Gives each of its values, as they are on the wire. They are of the field of this number.
    pub(super) fn each<'a>(
        self,
        bytes: &'a [u8],
        number: u32,
        mut give: impl FnMut(Value<'a>) -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        let mut reader = Reader::at(bytes, self.start as usize);
        let mut wire = self.wire;
        loop {
            give(reader.value(number, wire)?)?;
            if reader.place() >= self.end as usize {
                return Ok(());
            }
            wire = reader.tag()?.1;
        }
    }

    /// The last of its values.
    pub(super) fn last(self, bytes: &[u8], number: u32) -> Result<Option<Value<'_>>, Wrong> {
        let mut last = None;
        self.each(bytes, number, |value| {
            last = Some(value);
            Ok(())
        })?;
        Ok(last)
    }
}
