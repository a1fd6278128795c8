//! How the messages that ProtoJSON knows by name are written.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::types::Shape;
use crate::Int64;

/// The shape of a message. A schema can have files of its own under Google's names: those that are written bare are held against what
/// Google's are, since every level of the bytes must be one in the text.
pub(super) fn shape(of: &MessageDescriptor, int64: Int64) -> Shape {
    let Some(name) = of.full_name().strip_prefix("google.protobuf.") else { return Shape::Object };
    let zero = match int64 {
        Int64::Number => "0",
        Int64::String => "\"0\"",
    };
    let bare = match name {
        "Timestamp" => return Shape::Timestamp,
        "Duration" => return Shape::Duration,
        "FieldMask" => return Shape::FieldMask,
        "Any" => return Shape::Any,
        "Struct" if is_only(of, is_map_of_values) => "{}",
        "ListValue" if is_only(of, |field| field.is_list() && is_message(field, "Value")) => "[]",
        "Value" if is_value(of) => "null",
        "DoubleValue" if wraps(of, Kind::Double) => "0.0",
        "FloatValue" if wraps(of, Kind::Float) => "0.0",
        "Int64Value" if wraps(of, Kind::Int64) => zero,
        "UInt64Value" if wraps(of, Kind::Uint64) => zero,
        "Int32Value" if wraps(of, Kind::Int32) => "0",
        "UInt32Value" if wraps(of, Kind::Uint32) => "0",
        "BoolValue" if wraps(of, Kind::Bool) => "false",
        "StringValue" | "BytesValue" if wraps(of, Kind::String) || wraps(of, Kind::Bytes) => "\"\"",
        _ => return Shape::Object,
    };
    Shape::Bare(bare)
}

/// Whether a message has one field, and which.
fn is_only(of: &MessageDescriptor, is: impl Fn(&FieldDescriptor) -> bool) -> bool {
    of.fields().len() == 1 && of.fields().all(|field| is(&field))
}

fn wraps(of: &MessageDescriptor, kind: Kind) -> bool {
    is_only(of, |field| !field.is_list() && field.kind() == kind)
}

fn is_map_of_values(field: &FieldDescriptor) -> bool {
    let kind = field.kind();
    let entry = kind.as_message().filter(|_| field.is_map());
    entry.is_some_and(|entry| {
        let is = |number, is: fn(&FieldDescriptor) -> bool| {
            entry.get_field(number).is_some_and(|field| is(&field))
        };
        is(1, |key| key.kind() == Kind::String)
            && is(2, |value| !value.is_list() && is_message(value, "Value"))
    })
}

/// Whether all of a message is one choice of null, a number, a text, a flag, an object or an array.
fn is_value(of: &MessageDescriptor) -> bool {
    let is_choice = |field: &FieldDescriptor| match field.kind() {
        Kind::Double | Kind::String | Kind::Bool => true,
        Kind::Enum(of) => of.full_name() == "google.protobuf.NullValue",
        Kind::Message(_) => is_message(field, "Struct") || is_message(field, "ListValue"),
        _ => false,
    };
    let in_oneof = |field: &FieldDescriptor| field.containing_oneof().is_some() && !field.is_list();
    of.oneofs().len() == 1
        && of.fields().len() > 1
        && of.fields().all(|field| in_oneof(&field) && is_choice(&field))
}

/// Whether a field is a message of that name in `google.protobuf`, and no group.
fn is_message(field: &FieldDescriptor, name: &str) -> bool {
    let kind = field.kind();
    let of = kind.as_message().filter(|_| !field.is_group());
    of.is_some_and(|of| of.full_name().strip_prefix("google.protobuf.") == Some(name))
}
