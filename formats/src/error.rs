//! Why bytes are not decoded.

/// Why the bytes of one record cannot be decoded. Its text names types and fields, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// The bytes end in the middle of something, go on behind their end, or hold what the schema does not allow.
    #[error("the bytes do not fit the schema: {0}")]
    Mismatch(String),
    /// They nest deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("the value nests deeper than {} levels", crate::MAX_DEPTH)]
    TooDeep,
    /// Their text would be longer than [`MAX_TEXT`](crate::MAX_TEXT).
    #[error("the value is longer than {} bytes as JSON", crate::MAX_TEXT)]
    TooLong,
}

impl Undecodable {
    /// A label for metrics, and the code that clients see.
    pub fn code(&self) -> &'static str {
        match self {
            Undecodable::Mismatch(_) => "mismatch",
            Undecodable::TooDeep => "too_deep",
            Undecodable::TooLong => "too_long",
        }
    }
}

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSchema(pub String);
