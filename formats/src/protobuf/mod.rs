//! Protobuf: the bytes of a message to its JSON, as [ProtoJSON](https://protobuf.dev/programming-guides/json/) has it.
//!
//! A [`Schema`] is parsed once, from what a registry has or from a descriptor set. A [`Message`] of it reads bytes, and knows
//! nothing of frames: see [`confluent`](crate::confluent) for those.
//!
//! ```
//! use tailrace_formats::{Options, protobuf::Schema};
//!
//! let text = r#"syntax = "proto3"; message Item { string name = 1; } message Order { repeated Item items = 1; }"#;
//! let schema = Schema::parse(text, &[], Options::default()).unwrap();
//! let order = schema.message_by_indexes(&[1]).unwrap();
//! let mut json = Vec::new();
//! order.decode(b"\x0a\x05\x0a\x03tea", &mut json).unwrap();
//! assert_eq!(json, br#"{"items":[{"name":"tea"}]}"#);
//! ```
//!
//! What a page should know of the mapping:
//! - Names are those of ProtoJSON: `lowerCamelCase`, or what `json_name` says.
//! - What a proto3 message has no presence for is left out where it is zero or empty, and so are fields that are not there. Members of
//!   a oneof, `optional` fields and all of proto2 are written when they are there, zero or not.
//! - Integers of 64 bits follow [`Options::int64`](crate::Options::int64); ProtoJSON's own way is strings.
//! - An enum's number without a name stands as a number, in proto2 too.
//! - Maps are objects sorted by key. `NaN` and infinities are strings, also in `google.protobuf.Value`; a `Value` without a kind is
//!   null.
//! - Timestamps and durations out of their ranges do not fit the schema. A field mask's path that has no JSON form stays as it is.
//! - An `Any` of a type that none of the schema's files has is `{"@type":…,"value":…}` with its bytes in base64.
//! - Unknown fields are left out. A required field may be missing. Strings must be UTF-8, also in proto2.
//!
//! Files of proto2 and proto3 are read; those of editions are not.

mod any;
mod compile;
mod known;
mod map;
mod notes;
mod scalar;
mod schema;
mod shape;
mod source;
mod types;
mod walk;
mod well_known;
mod wire;
mod wrong;

pub use schema::{Message, Schema};
