//! Formats for Tailrace: the bytes of a key or a value straight to JSON text, by their schema.
//!
//! The walk from bytes to text is this package's own, since it is done for each record; schemas are parsed by kept crates. There
//! is no tree between: what a decoder reads, it appends to the text. Nothing here does I/O; the consumer fetches schemas.
//!
//! So far this is what the decoders will share; there is none yet. Each is to take bytes that nobody checked: none panics, none recurses deeper than [`MAX_DEPTH`], and none writes more than
//! [`MAX_TEXT`] bytes. After an error the text that was appended is of no use, and the caller truncates it.

#![cfg_attr(not(test), warn(clippy::unwrap_used, reason = "no panic on input"))]

mod error;
pub mod json;
mod options;

pub use error::{BadSchema, Undecodable};
pub use options::{AvroJson, Int64, MAX_DEPTH, MAX_TEXT, Options};
