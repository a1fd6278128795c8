//! What the settings say about the text.

/// The deepest nesting of a value: what searches in JSON text bear.
pub const MAX_DEPTH: u32 = 100;
/// The most bytes of one value's text. A few bytes can stand for many: an Avro array of nulls has none for an item.
pub const MAX_TEXT: usize = 16 << 20;

/// How values are written as JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// How 64-bit integers are written.
    pub int64: Int64,
    /// How Avro's values are written.
    pub avro_json: AvroJson,
}

/// How 64-bit integers are written, all of them, whatever their values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Int64 {
    /// As numbers, with all their digits. JavaScript's `JSON.parse` rounds those above 2^53.
    #[default]
    Number,
    /// As strings.
    String,
}

/// How Avro's values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AvroJson {
    /// Union branches bare, bytes as base64, decimals as strings, dates and times by ISO 8601.
    #[default]
    Plain,
    /// The JSON encoding of Avro's specification: union branches named, bytes as text of code points 0 to 255, logical types as
    /// what they are written in.
    Avro,
}
