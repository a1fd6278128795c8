//! Avro: a value's bytes by the schema that they were written with.
//!
//! # What becomes of a value
//!
//! With [`AvroJson::Plain`](crate::AvroJson::Plain):
//!
//! | Avro | JSON |
//! | --- | --- |
//! | `null`, `boolean`, `string` | themselves |
//! | `int`, `float`, `double` | a number; what is not finite is `"NaN"`, `"Infinity"` or `"-Infinity"` |
//! | `long` | a number or a string, by [`Int64`](crate::Int64) |
//! | `bytes`, `fixed` | a string of base64 |
//! | `enum` | its symbol |
//! | `array`, `map`, `record` | an array, an object; a field that is null is there as null |
//! | union | its branch, bare |
//! | `decimal`, `big-decimal` | a string with all digits: `"-0.50"` for scale 2 |
//! | `uuid` | a string: `"00112233-4455-6677-8899-aabbccddeeff"` |
//! | `date` | `"2024-02-29"` |
//! | `time-millis`, `time-micros` | `"23:59:59.999"`; with six digits |
//! | `timestamp-millis`, `-micros`, `-nanos` | `"2024-02-29T12:00:00.000Z"`; with six and nine digits |
//! | `local-timestamp-…` | the same without `Z` |
//! | `duration` | `"P1M2DT3.500S"`: months, days, seconds |
//!
//! With [`AvroJson::Avro`](crate::AvroJson::Avro), the JSON encoding of the specification: a union's branch is in an object with its
//! type's full name, but for null; bytes are text of code points 0 to 255; logical types are what they are written in.
//!
//! Logical types that are unknown or do not fit their type are ignored, as the specification has it.
//!
//! # Whose schema
//!
//! A value is read by the schema that it was written with, and its fields have the names that they have there. Nothing is resolved
//! to another schema, so a topic's records may have different fields; aliases and defaults, which only that would need, are not
//! looked at.

mod compile;
mod decimal;
mod ends;
mod fault;
mod logical;
mod names;
mod prepare;
mod program;
mod reader;
mod time;
mod walk;

use crate::{BadSchema, Options, Undecodable};

use program::Program;

/// A schema, ready for decoding. It is not changed by that, and can be shared.
///
/// ```
/// use tailrace_formats::{Options, avro};
///
/// let text = r#"{"type": "record", "name": "Order", "fields": [
///     {"name": "id", "type": "long"},
///     {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]}
/// ]}"#;
/// let schema = avro::Schema::parse(text, &[], Options::default())?;
/// let mut out = Vec::new();
/// schema.decode(&[14, 2, 0], &mut out)?;
/// assert_eq!(out, br#"{"id":7,"at":"1970-01-01T00:00:00.000Z"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Schema(Program);

impl Schema {
    /// Reads a schema. `references` are the texts of the schemas that it refers to, and of those that they refer to, in any order: the
    /// types that are defined in them can be used. A definition may be there several times, if it is the same.
    ///
    /// # Errors
    /// If the text is not a schema, refers to a type that is nowhere defined, has with its references more than 1 MiB, nests
    /// deeper than [`MAX_DEPTH`](crate::MAX_DEPTH), or has no value that ends, as a record that contains itself has none.
    pub fn parse(text: &str, references: &[&str], options: Options) -> Result<Self, BadSchema> {
        let logical = options.avro_json == crate::AvroJson::Plain;
        let schema = prepare::prepare(text, references, logical)?;
        let program = compile::compile(&schema, options)?;
        if !ends::ends(&program) {
            return Err(BadSchema("a type contains itself, so that no value of it ends".to_owned()));
        }
        Ok(Schema(program))
    }

    /// Appends a value's JSON, without line ends and without spaces between tokens. `bytes` are the value's and no others: what
    /// frames them is taken off before.
    ///
    /// # Errors
    /// If the bytes do not fit the schema, or the value would be too deep or too long. What was appended is of no use then.
    pub fn decode(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Undecodable> {
        walk::walk(&self.0, bytes, out)
    }
}
