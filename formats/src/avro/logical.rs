//! Which logical types count. The specification has those ignored that are unknown, or not valid.

use serde_json::Value;

use super::names::Object;

/// A logical type that counts.
pub(super) struct Logical<'a> {
    name: &'a str,
    /// A decimal's precision and scale.
    decimal: Option<(u64, u64)>,
}

impl Logical<'_> {
    /// The type with this as its logical type.
    pub(super) fn put(&self, mut schema: Value) -> Value {
        schema["logicalType"] = self.name.into();
        if let Some((precision, scale)) = self.decimal {
            schema["precision"] = precision.into();
            schema["scale"] = scale.into();
        }
        schema
    }
}

/// The logical type of an object whose type is `kind`, if it is one of this type.
pub(super) fn logical_type<'a>(object: &'a Object, kind: &str) -> Option<Logical<'a>> {
    let name = object.get("logicalType")?.as_str()?;
    let size = object.get("size").and_then(Value::as_u64);
    let decimal = match (name, kind) {
        ("decimal", "bytes") => Some(decimal(object, None)?),
        ("decimal", "fixed") => Some(decimal(object, Some(size?))?),
        ("big-decimal", "bytes") | ("uuid", "string") | ("date" | "time-millis", "int") => None,
        ("uuid", "fixed") if size == Some(16) => None,
        ("duration", "fixed") if size == Some(12) => None,
        ("time-micros", "long") => None,
        ("timestamp-millis" | "timestamp-micros" | "timestamp-nanos", "long") => None,
        ("local-timestamp-millis" | "local-timestamp-micros" | "local-timestamp-nanos", "long") => None,
        _ => return None,
    };
    Some(Logical { name, decimal })
}

/// A decimal's precision and scale, if they are valid: the precision is 1 or more and fits into the bytes, the scale is not more.
fn decimal(object: &Object, size: Option<u64>) -> Option<(u64, u64)> {
    let precision = object.get("precision")?.as_u64()?;
    let scale = object.get("scale").map_or(Some(0), Value::as_u64)?;
    // The digits that any number of so many bytes has, without the bit of its sign.
    let most = |size: u64| ((8.0 * size as f64 - 1.0) * std::f64::consts::LOG10_2).floor();
    let fits = size.is_none_or(|size| precision as f64 <= most(size));
    (precision >= 1 && scale <= precision && fits).then_some((precision, scale))
}
