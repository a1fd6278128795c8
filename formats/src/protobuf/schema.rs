//! Schemas, and the messages that they describe.

use std::fmt;
use std::sync::Arc;

use super::compile::compile;
use super::source::{Source, guarded};
use super::types::Types;
use super::walk::Walk;
use crate::{BadSchema, MAX_TEXT, Options, Undecodable};

/// The types of a `.proto` file, or of several. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    types: Arc<Types>,
}

impl Schema {
    /// Reads a file, as registries have it: the text of a `.proto` file, or a serialised `FileDescriptorProto` in base64. The
    /// references are the files that it imports, directly or by others, each with the name by which it is imported, in any order.
    /// `google/protobuf/*.proto`, and the other files that Confluent's registry knows by itself, need not be there.
    ///
    /// # Errors
    /// If a file is not valid or imports one that is not there, or if they are of more than 4 MiB together or 1,000 files.
    pub fn parse(main: &str, references: &[(&str, &str)], options: Options) -> Result<Self, BadSchema> {
        Source::parse(main, references).and_then(|source| Self::of(&source, options))
    }

    /// Reads a serialised `FileDescriptorSet`, as `protoc --include_imports --descriptor_set_out` writes it. Its last file is the
    /// main one.
    ///
    /// # Errors
    /// If it is not valid, lacks what its files import, or is of more than 16 MiB or 1,000 files.
    pub fn from_descriptor_set(bytes: &[u8], options: Options) -> Result<Self, BadSchema> {
        Source::from_descriptor_set(bytes).and_then(|source| Self::of(&source, options))
    }

    fn of(source: &Source, options: Options) -> Result<Self, BadSchema> {
        guarded(|| Ok(Schema { types: Arc::new(compile(source, options.int64)) }))
    }

    /// The message at a place in the main file: see [`take_message_indexes`](crate::confluent::take_message_indexes). In the text of
    /// a file only messages count, not what maps and groups imply; in a descriptor all that it has counts.
    ///
    /// # Errors
    /// [`Undecodable::Mismatch`] if there is none: the indexes come with the bytes.
    pub fn message_by_indexes(&self, indexes: &[i32]) -> Result<Message, Undecodable> {
        let mut within = &self.types.counted;
        let mut found = None;
        for index in indexes {
            let place = usize::try_from(*index).ok();
            found = place.and_then(|place| within.get(place).copied());
            let Some(found) = found else { break };
            within = &self.types.messages[found as usize].counted;
        }
        let wrong = || Undecodable::Mismatch(format!("the schema has no message {indexes:?}"));
        found.map(|index| self.message(index)).ok_or_else(wrong)
    }

    /// The message of a full name, `shop.orders.Order`, in any of the files.
    ///
    /// # Errors
    /// If there is none.
    pub fn message_by_name(&self, name: &str) -> Result<Message, BadSchema> {
        let index = self.types.by_name.get(name);
        index
            .map(|index| self.message(*index))
            .ok_or_else(|| BadSchema(format!("there is no message {name}")))
    }

    fn message(&self, index: u32) -> Message {
        Message { types: self.types.clone(), index }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("messages", &self.types.messages.len()).finish_non_exhaustive()
    }
}

/// One message type. Cheap to clone.
#[derive(Clone)]
pub struct Message {
    types: Arc<Types>,
    index: u32,
}

impl Message {
    /// The full name, `shop.orders.Order`.
    pub fn name(&self) -> &str {
        &self.types.messages[self.index as usize].name
    }

    /// Appends the message's JSON text. No bytes at all are a message too, one with nothing in it.
    ///
    /// # Errors
    /// [`Undecodable`] if the bytes are no such message, or its text would exceed a bound. What was appended is then of no use.
    pub fn decode(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Undecodable> {
        // Places in the bytes are kept as 32 bits.
        if u32::try_from(bytes.len()).is_err() {
            return Err(Undecodable::TooLong);
        }
        let mut walk = Walk::new(&self.types, out.len() + MAX_TEXT);
        walk.message(self.index, bytes, out, 0).map_err(|wrong| wrong.of(self.name()))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Message").field(&self.name()).finish()
    }
}
