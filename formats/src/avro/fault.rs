//! What ends a walk.

/// What ends a walk. One byte, since each step of a walk returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end in the middle of something.
    End,
    /// There are bytes behind the end of the value.
    Behind,
    /// A variable-length number has too many bytes, or too many bits.
    Varint,
    /// A length or a count is negative.
    Negative,
    /// A text is not UTF-8.
    Text,
    /// A boolean is neither 0 nor 1.
    Boolean,
    /// A union has no branch of this number.
    Branch,
    /// An enum has no symbol of this number.
    Symbol,
    /// A time of day is not within a day.
    TimeOfDay,
    /// A decimal is longer than any that is written out.
    Decimal,
    /// The value nests too deep.
    Depth,
    /// The text is too long.
    Room,
}

impl Fault {
    /// What is wrong with the bytes. The last two are wrong with the value as a whole, and have errors of their own.
    pub(super) fn text(self) -> &'static str {
        match self {
            Fault::End => "they end too early",
            Fault::Behind => "they go on behind the value",
            Fault::Varint => "a number has too many bytes",
            Fault::Negative => "a length is negative",
            Fault::Text => "a string is not UTF-8",
            Fault::Boolean => "a boolean is neither 0 nor 1",
            Fault::Branch => "there is no such branch of the union",
            Fault::Symbol => "there is no such symbol of the enum",
            Fault::TimeOfDay => "a time of day is not within a day",
            Fault::Decimal => "a decimal has too many bytes",
            Fault::Depth => "it nests too deep",
            Fault::Room => "its text is too long",
        }
    }
}
