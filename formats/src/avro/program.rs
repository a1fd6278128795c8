//! A schema as a walk needs it: nodes that name each other by number, which recursion needs, and texts that are escaped already.

/// A node's number.
pub(super) type Id = u32;

/// What the next bytes are, and what they become.
#[derive(Clone, Copy, Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    /// As a number.
    Long,
    /// As a string.
    LongText,
    Float,
    Double,
    String,
    /// As base64.
    Bytes,
    /// As text of code points 0 to 255.
    BytesText,
    /// This many bytes, as base64.
    Fixed(u32),
    /// This many bytes, as text of code points 0 to 255.
    FixedText(u32),
    Enum(Run),
    Array(Id),
    Map(Id),
    Record(Run),
    /// A bare branch.
    Union(Run),
    /// A branch in an object with its name, but for null.
    NamedUnion(Run),
    Decimal {
        scale: u32,
    },
    DecimalFixed {
        scale: u32,
        size: u32,
    },
    /// A decimal with its scale in the bytes.
    BigDecimal,
    /// 16 bytes, as the text of a UUID.
    Uuid,
    Date,
    /// Milliseconds after midnight.
    TimeMillis,
    /// Microseconds after midnight.
    TimeMicros,
    /// An instant, or a local time, which names no zone.
    Timestamp {
        unit: Unit,
        local: bool,
    },
    /// Months, days and milliseconds.
    Duration,
}

/// What a timestamp counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// Neighbours in one of a program's tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) len: u32,
}

impl Run {
    pub(super) fn range(self) -> std::ops::Range<usize> {
        let first = self.first as usize;
        first..first + self.len as usize
    }

    pub(super) fn get(self, index: u64) -> Option<usize> {
        (index < u64::from(self.len)).then(|| self.first as usize + index as usize)
    }
}

/// A field of a record, or a branch of a union: a value with text before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// In the texts. A field's is `"name":` behind the brace or the comma that precedes it; a branch's is `{"name":`.
    pub(super) label: Run,
    pub(super) node: Id,
}

/// A schema as a walk needs it.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) root: Id,
    pub(super) nodes: Vec<Node>,
    /// The fields of records and the branches of unions.
    pub(super) parts: Vec<Part>,
    /// The symbols of enums, with their quotes.
    pub(super) symbols: Vec<Run>,
    /// All texts.
    pub(super) texts: Vec<u8>,
}

impl Program {
    pub(super) fn text(&self, run: Run) -> &[u8] {
        &self.texts[run.range()]
    }
}
