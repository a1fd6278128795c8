//! The walk from a value's bytes to its text.

use crate::json::{put_base64, put_double, put_float, put_int, put_int64, put_string};
use crate::{Int64, MAX_DEPTH, MAX_TEXT, Undecodable};

use super::decimal::put_decimal;
use super::fault::Fault;
use super::program::{Id, Node, Part, Program, Run, Unit};
use super::reader::Reader;
use super::time::{put_date, put_duration, put_time_of_day, put_timestamp};

/// Appends the text of a value that takes all of `bytes`.
pub(super) fn walk(program: &Program, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Undecodable> {
    let most = out.len() + MAX_TEXT;
    let mut walk = Walk { program, bytes: Reader::new(bytes), out, most, path: Vec::new() };
    walk.whole().map_err(|fault| walk.undecodable(fault))
}

/// Where a walk is.
struct Walk<'a> {
    program: &'a Program,
    bytes: Reader<'a>,
    out: &'a mut Vec<u8>,
    /// The longest that `out` may become.
    most: usize,
    /// The labels of the fields that a fault lies in, the innermost first. Empty without a fault.
    path: Vec<Run>,
}

impl<'a> Walk<'a> {
    fn whole(&mut self) -> Result<(), Fault> {
        self.value(self.program.root, 0)?;
        self.room(0)?;
        if self.bytes.is_empty() { Ok(()) } else { Err(Fault::Behind) }
    }

    /// Appends one value; `depth` arrays and objects are around it.
    fn value(&mut self, id: Id, depth: u32) -> Result<(), Fault> {
        match self.program.nodes[id as usize] {
            Node::Null => self.put(b"null"),
            Node::Boolean => {
                let text: &[u8] = if self.bytes.boolean()? { b"true" } else { b"false" };
                self.put(text);
            }
            Node::Int => put_int(self.out, self.bytes.int()?),
            Node::Long => put_int(self.out, self.bytes.long()?),
            Node::LongText => put_int64(self.out, self.bytes.long()?, Int64::String),
            Node::Float => put_float(self.out, f32::from_le_bytes(self.bytes.array()?)),
            Node::Double => put_double(self.out, f64::from_le_bytes(self.bytes.array()?)),
            Node::String => self.string()?,
            Node::Bytes => self.bytes.bytes().and_then(|bytes| self.base64(bytes))?,
            Node::BytesText => self.bytes.bytes().and_then(|bytes| self.code_points(bytes))?,
            Node::Fixed(size) => self.take(size).and_then(|bytes| self.base64(bytes))?,
            Node::FixedText(size) => self.take(size).and_then(|bytes| self.code_points(bytes))?,
            Node::Enum(symbols) => self.symbol(symbols)?,
            Node::Array(items) => self.array(items, depth)?,
            Node::Map(values) => self.map(values, depth)?,
            Node::Record(fields) => self.record(fields, depth)?,
            Node::Union(branches) => {
                let branch = self.branch(branches)?;
                self.value(branch.node, depth)?;
            }
            Node::NamedUnion(branches) => self.named_union(branches, depth)?,
            Node::Decimal { scale } => {
                self.bytes.bytes().and_then(|bytes| self.decimal(bytes, i64::from(scale)))?;
            }
            Node::DecimalFixed { scale, size } => {
                self.take(size).and_then(|bytes| self.decimal(bytes, i64::from(scale)))?;
            }
            Node::BigDecimal => self.big_decimal()?,
            Node::Uuid => self.uuid()?,
            Node::Date => put_date(self.out, self.bytes.int()?),
            Node::TimeMillis => put_time_of_day(self.out, i64::from(self.bytes.int()?), Unit::Millis)?,
            Node::TimeMicros => put_time_of_day(self.out, self.bytes.long()?, Unit::Micros)?,
            Node::Timestamp { unit, local } => put_timestamp(self.out, self.bytes.long()?, unit, local),
            Node::Duration => {
                let counts = [self.bytes.array()?, self.bytes.array()?, self.bytes.array()?];
                put_duration(self.out, counts.map(u32::from_le_bytes));
            }
        }
        Ok(())
    }

    fn record(&mut self, fields: Run, depth: u32) -> Result<(), Fault> {
        // Records without bytes can stand in each other: two fields in each of twenty levels are a million.
        self.room(0)?;
        let depth = deeper(depth)?;
        let program = self.program;
        if fields.len == 0 {
            self.out.push(b'{');
        }
        for field in &program.parts[fields.range()] {
            self.out.extend_from_slice(program.text(field.label));
            self.value(field.node, depth).map_err(|fault| self.within(field, fault))?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn array(&mut self, items: Id, depth: u32) -> Result<(), Fault> {
        let depth = deeper(depth)?;
        self.out.push(b'[');
        self.blocks(|walk| walk.value(items, depth))?;
        self.out.push(b']');
        Ok(())
    }

    fn map(&mut self, values: Id, depth: u32) -> Result<(), Fault> {
        let depth = deeper(depth)?;
        self.out.push(b'{');
        self.blocks(|walk| {
            walk.string()?;
            walk.out.push(b':');
            walk.value(values, depth)
        })?;
        self.out.push(b'}');
        Ok(())
    }

    /// Appends the items of all blocks, with commas between them. A count is not trusted: an item without bytes has text, for which
    /// there must be room.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut first = true;
        loop {
            let count = self.bytes.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                if !first {
                    self.out.push(b',');
                }
                first = false;
                item(self)?;
                self.room(0)?;
            }
        }
    }

    fn branch(&mut self, branches: Run) -> Result<Part, Fault> {
        let index = u64::try_from(self.bytes.long()?).map_err(|_| Fault::Branch)?;
        let at = branches.get(index).ok_or(Fault::Branch)?;
        Ok(self.program.parts[at])
    }

    fn named_union(&mut self, branches: Run, depth: u32) -> Result<(), Fault> {
        let branch = self.branch(branches)?;
        if matches!(self.program.nodes[branch.node as usize], Node::Null) {
            return self.value(branch.node, depth);
        }
        let depth = deeper(depth)?;
        self.put(self.program.text(branch.label));
        self.value(branch.node, depth)?;
        self.out.push(b'}');
        Ok(())
    }

    fn symbol(&mut self, symbols: Run) -> Result<(), Fault> {
        let index = u64::try_from(self.bytes.int()?).map_err(|_| Fault::Symbol)?;
        let at = symbols.get(index).ok_or(Fault::Symbol)?;
        self.put(self.program.text(self.program.symbols[at]));
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        let text = self.bytes.string()?;
        self.room(text.len())?;
        put_string(self.out, text);
        Ok(())
    }

    fn base64(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.room(bytes.len() / 3 * 4)?;
        put_base64(self.out, bytes);
        Ok(())
    }

    /// Each byte as the character of its number, as the JSON encoding of the specification has them.
    fn code_points(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.room(bytes.len())?;
        let text: String = bytes.iter().copied().map(char::from).collect();
        put_string(self.out, &text);
        Ok(())
    }

    fn decimal(&mut self, bytes: &[u8], scale: i64) -> Result<(), Fault> {
        self.room(0)?;
        let room = self.most - self.out.len();
        put_decimal(self.out, bytes, scale, room)
    }

    /// In its bytes are those of a number, and a scale.
    fn big_decimal(&mut self) -> Result<(), Fault> {
        let mut content = Reader::new(self.bytes.bytes()?);
        let (number, scale) = (content.bytes()?, content.long()?);
        if !content.is_empty() {
            return Err(Fault::Behind);
        }
        self.decimal(number, scale)
    }

    fn uuid(&mut self) -> Result<(), Fault> {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.out.push(b'"');
        for (at, byte) in self.bytes.array::<16>()?.into_iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                self.out.push(b'-');
            }
            self.put(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        self.out.push(b'"');
        Ok(())
    }

    fn put(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn take(&mut self, size: u32) -> Result<&'a [u8], Fault> {
        self.bytes.take(size as usize)
    }

    /// Whether there is room for so many bytes more.
    fn room(&self, more: usize) -> Result<(), Fault> {
        if self.out.len().saturating_add(more) > self.most { Err(Fault::Room) } else { Ok(()) }
    }

    #[cold]
    fn within(&mut self, field: &Part, fault: Fault) -> Fault {
        self.path.push(field.label);
        fault
    }

    #[cold]
    fn undecodable(&self, fault: Fault) -> Undecodable {
        match fault {
            Fault::Depth => Undecodable::TooDeep,
            Fault::Room => Undecodable::TooLong,
            _ if self.path.is_empty() => Undecodable::Mismatch(fault.text().to_owned()),
            _ => Undecodable::Mismatch(format!("in {}, {}", self.names(), fault.text())),
        }
    }

    /// The names of the fields that the fault lies in.
    fn names(&self) -> String {
        let labels = self.path.iter().rev().map(|label| self.program.text(*label));
        // Without the brace or comma before it, the quotes and the colon.
        let names = labels.map(|label| String::from_utf8_lossy(&label[2..label.len() - 2]));
        names.collect::<Vec<_>>().join(".")
    }
}

fn deeper(depth: u32) -> Result<u32, Fault> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Fault::Depth) }
}
