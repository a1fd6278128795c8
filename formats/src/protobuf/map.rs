//! Maps: entries on the wire, an object in the text.

use std::ops::Range;

use smallvec::SmallVec;

use super::notes::{Note, take_notes};
use super::scalar::{put_default, utf8};
use super::types::{Kind, Type};
use super::walk::{Walk, close_object, deeper};
use super::wire::{Value, zigzag};
use super::wrong::Wrong;
use crate::json::{put_int, put_string};

/// The number of an entry's key.
const KEY: u32 = 1;
/// The number of an entry's value.
const VALUE: u32 = 2;

/// A key, in the order in which keys are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Text(&'a str),
}

/// Keys with the bytes of their entries.
type Entries<'a> = SmallVec<[(Key<'a>, &'a [u8]); 4]>;

impl Walk<'_> {
    /// Appends a map. Writers put entries in any order, often another one each time: they are sorted by key, so that the same map
    /// is the same text. Of several entries with one key, the last counts.
    pub(super) fn map(
        &mut self,
        entry: u32,
        number: u32,
        bytes: &[u8],
        notes: Range<usize>,
        out: &mut Vec<u8>,
        depth: u32,
    ) -> Result<(), Wrong> {
        let depth = deeper(depth)?;
        let of = &self.types.messages[entry as usize];
        let mut entries = Entries::new();
        for at in notes {
            let note = self.notes[at];
            note.each(bytes, number, |value| {
                if let Value::Bytes(entry) = value {
                    entries.push((self.key(of, entry)?, entry));
                }
                Ok(())
            })?;
        }
        entries.sort_by_key(|(key, _)| *key);
        let open = out.len();
        for (at, (key, entry)) in entries.iter().enumerate() {
            if entries.get(at + 1).is_some_and(|(next, _)| next == key) {
                continue;
            }
            out.push(b',');
            put_key(out, *key);
            out.push(b':');
            self.entry_value(of, entry, out, depth).map_err(|wrong| wrong.within("value"))?;
            self.within_bounds(out)?;
        }
        close_object(out, open);
        Ok(())
    }

    /// The key of an entry; what is not there is zero, or empty.
    fn key<'a>(&mut self, of: &Type, entry: &'a [u8]) -> Result<Key<'a>, Wrong> {
        let found = self.part(of, entry, KEY, |walk, mut notes| {
            let last = notes.next_back().map(|at| walk.notes[at]);
            Ok(last.map(|last| last.last(entry, KEY)).transpose()?.flatten())
        })?;
        let kind = of.find(KEY).map(|field| of.fields[field as usize].kind);
        key_of(kind, found).map_err(|wrong| wrong.within("key"))
    }

    /// Appends the value of an entry; the default one, if none is there.
    fn entry_value(&mut self, of: &Type, entry: &[u8], out: &mut Vec<u8>, depth: u32) -> Result<(), Wrong> {
        let Some(field) = of.find(VALUE).map(|field| &of.fields[field as usize]) else { return Ok(()) };
        self.part(of, entry, VALUE, |walk, notes| match (field.kind, notes.is_empty()) {
            (Kind::Message(of), true) => walk.message(of, b"", out, depth),
            (kind, true) => put_default(out, walk.types, kind),
            (_, false) => walk.single(field, entry, notes, out, depth).map(drop),
        })
    }

    /// Takes notes of an entry, and gives those of its key or its value.
    fn part<T>(
        &mut self,
        of: &Type,
        entry: &[u8],
        number: u32,
        give: impl FnOnce(&mut Self, Range<usize>) -> Result<T, Wrong>,
    ) -> Result<T, Wrong> {
        let base = self.notes.len();
        take_notes(of, entry, &mut self.notes)?;
        let of_part = |note: &Note| of.fields[note.field as usize].number == number;
        let begin = base + self.notes[base..].iter().take_while(|note| !of_part(note)).count();
        let end = begin + self.notes[begin..].iter().take_while(|note| of_part(note)).count();
        let given = give(self, begin..end);
        self.notes.truncate(base);
        given
    }
}

fn key_of(kind: Option<Kind>, value: Option<Value<'_>>) -> Result<Key<'_>, Wrong> {
    let number = match value {
        Some(Value::Varint(number) | Value::Fixed64(number)) => number,
        Some(Value::Fixed32(number)) => u64::from(number),
        Some(Value::Bytes(_) | Value::Group(_)) | None => 0,
    };
    Ok(match kind {
        Some(Kind::Bool) => Key::Bool(number != 0),
        Some(Kind::Int32 | Kind::SFixed32) => Key::Signed(i64::from(number as i32)),
        Some(Kind::SInt32) => Key::Signed(zigzag(u64::from(number as u32))),
        Some(Kind::Int64 | Kind::SFixed64) => Key::Signed(number as i64),
        Some(Kind::SInt64) => Key::Signed(zigzag(number)),
        Some(Kind::UInt32 | Kind::Fixed32) => Key::Unsigned(u64::from(number as u32)),
        Some(Kind::UInt64 | Kind::Fixed64) => Key::Unsigned(number),
        _ => match value {
            Some(Value::Bytes(text)) => Key::Text(utf8(text)?),
            _ => Key::Text(""),
        },
    })
}

/// Appends a key. A name is a string in JSON, whatever it was.
fn put_key(out: &mut Vec<u8>, key: Key<'_>) {
    match key {
        Key::Text(text) => return put_string(out, text),
        Key::Bool(true) => out.extend_from_slice(b"\"true"),
        Key::Bool(false) => out.extend_from_slice(b"\"false"),
        Key::Signed(number) => {
            out.push(b'"');
            put_int(out, number);
        }
        Key::Unsigned(number) => {
            out.push(b'"');
            put_int(out, number);
        }
    }
    out.push(b'"');
}
