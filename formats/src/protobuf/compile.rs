//! From descriptors to types.

use std::collections::HashMap;

use prost_reflect::{EnumDescriptor, ExtensionDescriptor, FieldDescriptor, MessageDescriptor};

use super::shape::shape;
use super::source::{IN_ANY, Source, file_in_any};
use super::types::{Enum, Field, Kind, Label, NONE, Shape, Type, Types};
use crate::Int64;
use crate::json::put_string;

/// Compiles the messages of the given files, and what they refer to.
pub(super) fn compile(source: &Source, int64: Int64) -> Types {
    let mut compiler = Compiler::new(source, int64);
    let mut counted = Box::default();
    for name in &source.given {
        let Some(file) = source.pool.get_file_by_name(name) else { continue };
        let indexes = compiler.counted(file.messages());
        if *name == source.main {
            counted = indexes;
        }
    }
    let mut messages = Vec::new();
    while let Some(next) = compiler.messages.get(messages.len()).cloned() {
        messages.push(compiler.message(&next));
    }
    let enums = compiler.enums.iter().map(enumeration).collect();
    let by_name = compiler.message_indexes.into_iter().map(|(name, index)| (name.into_boxed_str(), index));
    Types { messages: messages.into(), enums, by_name: by_name.collect(), counted, int64 }
}

/// Gives messages and enums their indexes as they are met. The messages are then compiled in that order, by which others are met:
/// no recursion, however they refer to each other.
struct Compiler<'s> {
    source: &'s Source,
    int64: Int64,
    messages: Vec<MessageDescriptor>,
    message_indexes: HashMap<String, u32>,
    enums: Vec<EnumDescriptor>,
    enum_indexes: HashMap<String, u32>,
}

impl<'s> Compiler<'s> {
    fn new(source: &'s Source, int64: Int64) -> Self {
        Compiler {
            source,
            int64,
            messages: Vec::new(),
            message_indexes: HashMap::new(),
            enums: Vec::new(),
            enum_indexes: HashMap::new(),
        }
    }

    /// The indexes of those messages that count, having met them all.
    fn counted(&mut self, messages: impl Iterator<Item = MessageDescriptor>) -> Box<[u32]> {
        let mut counted = Vec::new();
        for message in messages {
            let index = self.meet(&message);
            if !self.source.implied.contains(message.full_name()) {
                counted.push(index);
            }
        }
        counted.into()
    }

    fn meet(&mut self, message: &MessageDescriptor) -> u32 {
        if let Some(index) = self.message_indexes.get(message.full_name()) {
            return *index;
        }
        let index = self.messages.len() as u32;
        self.messages.push(message.clone());
        self.message_indexes.insert(message.full_name().to_owned(), index);
        index
    }

    fn meet_enum(&mut self, of: &EnumDescriptor) -> u32 {
        let next = self.enums.len() as u32;
        let index = *self.enum_indexes.entry(of.full_name().to_owned()).or_insert(next);
        if index == next {
            self.enums.push(of.clone());
        }
        index
    }

    fn message(&mut self, of: &MessageDescriptor) -> Type {
        let counted = self.counted(of.child_messages());
        let shape = shape(of, self.int64);
        if shape == Shape::Any {
            self.meet_what_is_in_any();
        }
        // A value that is written bare, or as an entry's, is written whatever it is.
        let explicit = shape != Shape::Object || of.is_map_entry();
        let oneofs = oneofs(of);
        let mut fields: Vec<Field> = of.fields().map(|field| self.field(&field, &oneofs, explicit)).collect();
        if shape == Shape::Object {
            fields.extend(of.extensions().map(|extension| self.extension(&extension)));
        }
        fields.sort_by_key(|field| {
            (oneofs.get(&field.number).map_or(field.number, |of| of.first), field.number)
        });
        let (dense, sparse) = by_number(&fields);
        Type { name: of.full_name().into(), shape, fields: fields.into(), dense, sparse, counted }
    }

    fn meet_what_is_in_any(&mut self) {
        for name in IN_ANY.map(file_in_any) {
            let file = self.source.pool.get_file_by_name(&name);
            for message in file.iter().flat_map(|file| file.messages()) {
                self.meet(&message);
            }
        }
    }

    fn field(&mut self, of: &FieldDescriptor, oneofs: &HashMap<u32, Member>, explicit: bool) -> Field {
        let kind = self.kind(&of.kind(), of.is_group());
        let entry = of.kind().as_message().filter(|_| of.is_map()).filter(|entry| is_whole(entry)).cloned();
        let label = match entry {
            Some(entry) => Label::Map(self.meet(&entry)),
            None if of.is_list() || of.is_map() => Label::Repeated,
            None if explicit || of.supports_presence() => Label::Explicit,
            None => Label::Implicit,
        };
        let oneof = oneofs.get(&of.number()).map_or(NONE, |member| member.oneof);
        Field { number: of.number(), label, kind, oneof, key: key(of.json_name()) }
    }

    /// A field that another file adds to a message, `[name.of.extension]`.
    fn extension(&mut self, of: &ExtensionDescriptor) -> Field {
        let kind = self.kind(&of.kind(), of.is_group());
        let label = if of.is_list() || of.is_map() { Label::Repeated } else { Label::Explicit };
        Field { number: of.number(), label, kind, oneof: NONE, key: key(of.json_name()) }
    }

    fn kind(&mut self, of: &prost_reflect::Kind, is_group: bool) -> Kind {
        use prost_reflect::Kind as Of;
        match of {
            Of::Double => Kind::Double,
            Of::Float => Kind::Float,
            Of::Int32 => Kind::Int32,
            Of::Int64 => Kind::Int64,
            Of::Uint32 => Kind::UInt32,
            Of::Uint64 => Kind::UInt64,
            Of::Sint32 => Kind::SInt32,
            Of::Sint64 => Kind::SInt64,
            Of::Fixed32 => Kind::Fixed32,
            Of::Fixed64 => Kind::Fixed64,
            Of::Sfixed32 => Kind::SFixed32,
            Of::Sfixed64 => Kind::SFixed64,
            Of::Bool => Kind::Bool,
            Of::String => Kind::String,
            Of::Bytes => Kind::Bytes,
            Of::Message(of) if is_group => Kind::Group(self.meet(of)),
            Of::Message(of) => Kind::Message(self.meet(of)),
            Of::Enum(of) if of.full_name() == "google.protobuf.NullValue" => Kind::Null,
            Of::Enum(of) => Kind::Enum(self.meet_enum(of)),
        }
    }
}

/// The oneof of a field.
struct Member {
    oneof: u32,
    /// The lowest number in it.
    first: u32,
}

/// The fields that share a oneof, by their numbers. One alone, as proto3's `optional` has it, is a field like any other.
fn oneofs(of: &MessageDescriptor) -> HashMap<u32, Member> {
    let mut members = HashMap::new();
    for (oneof, numbers) in of.oneofs().enumerate() {
        let numbers: Vec<u32> = numbers.fields().map(|field| field.number()).collect();
        let Some(&first) = numbers.iter().min().filter(|_| numbers.len() > 1) else { continue };
        members.extend(numbers.into_iter().map(|number| (number, Member { oneof: oneof as u32, first })));
    }
    members
}

/// Whether the entry of a map has a key and a value, as it has where a compiler made it.
fn is_whole(entry: &MessageDescriptor) -> bool {
    [1, 2]
        .iter()
        .all(|number| entry.get_field(*number).is_some_and(|field| !field.is_list() && !field.is_group()))
}

/// `,"name":`
fn key(name: &str) -> Box<[u8]> {
    let mut key = b",".to_vec();
    put_string(&mut key, name);
    key.push(b':');
    key.into()
}

/// Fields by number: the low numbers, and the others.
type ByNumber = (Box<[u32]>, Box<[(u32, u32)]>);

/// The tables by which a field is found. Low numbers have a place each, as long as that takes little more than the fields.
fn by_number(fields: &[Field]) -> ByNumber {
    let most = 4 * fields.len() + 32;
    let end = fields.iter().map(|field| field.number as usize + 1).max().unwrap_or(0).min(most);
    let mut dense = vec![NONE; end];
    let mut sparse = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        match dense.get_mut(field.number as usize) {
            Some(place) => *place = index as u32,
            None => sparse.push((field.number, index as u32)),
        }
    }
    sparse.sort_unstable();
    (dense.into(), sparse.into())
}

fn enumeration(of: &EnumDescriptor) -> Enum {
    let values = &of.enum_descriptor_proto().value;
    let quoted = |name: &str| {
        let mut quoted = Vec::new();
        put_string(&mut quoted, name);
        quoted.into_boxed_slice()
    };
    let mut names: Vec<(i32, Box<[u8]>)> =
        values.iter().map(|value| (value.number(), quoted(value.name()))).collect();
    // Stable: of several names, the first is left.
    names.sort_by_key(|(number, _)| *number);
    names.dedup_by_key(|(number, _)| *number);
    Enum { names: names.into(), default: values.first().map_or(0, |value| value.number()) }
}
