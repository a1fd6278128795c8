//! Formats for Tailrace: the bytes of a key or a value straight to JSON text, by their schema.
//!
//! The walk from bytes to text is this package's own, since it is done for each record; schemas are parsed by kept crates. There
//! is no tree between: what a decoder reads, it appends to the text. Nothing here does I/O; the consumer fetches schemas.
//!
//! Decoders take bytes that nobody checked: none panics, none recurses deeper than [`MAX_DEPTH`], and none writes more than
//! [`MAX_TEXT`] bytes. After an error the text that was appended is of no use, and the caller truncates it.
//!
//! | what | by which schema | where |
//! | --- | --- | --- |
//! | Avro | the one that it was written with | [`avro::Schema`] |
//! | Protobuf | files, or a descriptor set | [`protobuf::Schema`] |
//! | JSON Schema | none: it is JSON already | [`json_schema::check`] |
//! | MessagePack | none | [`msgpack::decode`] |
//! | what says which schema it is | Confluent's wire format | [`confluent::Frame`] |

#![cfg_attr(not(test), warn(clippy::unwrap_used, reason = "no panic on input"))]

pub mod avro;
pub mod confluent;
mod error;
mod instant;
pub mod json;
pub mod json_schema;
pub mod msgpack;
mod options;
pub mod protobuf;

pub use error::{BadSchema, Undecodable};
pub use options::{AvroJson, Int64, MAX_DEPTH, MAX_TEXT, Options};
