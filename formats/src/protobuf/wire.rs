//! Protobuf's encoding: varints, tags and the values behind them.

use smallvec::SmallVec;

use super::wrong::Wrong;
use crate::MAX_DEPTH;

/// The wire types: what a tag says of how its value ends.
pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const BYTES: u8 = 2;
pub(super) const GROUP: u8 = 3;
const END_GROUP: u8 = 4;
pub(super) const FIXED32: u8 = 5;

/// A value as it is on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    /// A string, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
    /// A message between two tags.
    Group(&'a [u8]),
}

/// A place in the bytes of a message.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Where the next byte to be read is; at most their length.
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// At a place in the bytes; at their end, if that lies behind it.
    pub(super) fn at(bytes: &'a [u8], at: usize) -> Self {
        Reader { bytes, at: at.min(bytes.len()) }
    }

    pub(super) fn place(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn varint(&mut self) -> Result<u64, Wrong> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    /// A varint of up to ten bytes, of which the last has but one bit.
    fn long_varint(&mut self) -> Result<u64, Wrong> {
        let mut value = 0;
        for (place, &byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                self.at += place + 1;
                let fits = place < 9 || byte <= 1;
                return if fits { Ok(value) } else { Err(Wrong::bytes("a varint of more than 64 bits")) };
            }
        }
        let ends = self.bytes.len() - self.at < 10;
        Err(Wrong::bytes(if ends {
            "the bytes end within a varint"
        } else {
            "a varint of more than 64 bits"
        }))
    }

    /// A field's number, and its wire type.
    pub(super) fn tag(&mut self) -> Result<(u32, u8), Wrong> {
        let tag = u32::try_from(self.varint()?).map_err(|_| Wrong::bytes("a tag of more than 32 bits"))?;
        match tag >> 3 {
            0 => Err(Wrong::bytes("a field of the number zero")),
            number => Ok((number, (tag & 7) as u8)),
        }
    }

    /// The value behind a tag.
    pub(super) fn value(&mut self, number: u32, wire: u8) -> Result<Value<'a>, Wrong> {
        match wire {
            VARINT => self.varint().map(Value::Varint),
            FIXED64 => self.array().map(|bytes| Value::Fixed64(u64::from_le_bytes(bytes))),
            BYTES => {
                let length = self.varint()?;
                self.take(length).map(Value::Bytes)
            }
            GROUP => self.group(number).map(Value::Group),
            END_GROUP => Err(Wrong::bytes("the end of a group that did not begin")),
            FIXED32 => self.array().map(|bytes| Value::Fixed32(u32::from_le_bytes(bytes))),
            _ => Err(Wrong::bytes("a wire type that there is not")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (array, _) =
            rest.split_first_chunk().ok_or_else(|| Wrong::bytes("the bytes end within a number"))?;
        self.at += N;
        Ok(*array)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Wrong> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| Wrong::bytes("a length that goes beyond the end"))?;
        self.at += taken.len();
        Ok(taken)
    }

    /// What is in a group, up to its end tag. Groups within it are passed over without recursion.
    fn group(&mut self, number: u32) -> Result<&'a [u8], Wrong> {
        let start = self.at;
        let mut open: SmallVec<[u32; 8]> = SmallVec::from_slice(&[number]);
        loop {
            let end = self.at;
            if self.is_at_end() {
                return Err(Wrong::bytes("the bytes end within a group"));
            }
            let (number, wire) = self.tag()?;
            match wire {
                GROUP if open.len() == MAX_DEPTH as usize => return Err(Wrong::TooDeep),
                GROUP => open.push(number),
                END_GROUP if open.pop() != Some(number) => {
                    return Err(Wrong::bytes("the end of a group that did not begin"));
                }
                END_GROUP if open.is_empty() => return Ok(&self.bytes[start..end]),
                END_GROUP => {}
                _ => {
                    self.value(number, wire)?;
                }
            }
        }
    }
}

/// What a zigzag varint stands for.
pub(super) fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_read_back(number: u64) {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(number, &mut bytes);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint().unwrap(), number);
            prop_assert!(reader.is_at_end());
        }
    }

    #[test]
    fn a_varint_has_at_most_64_bits() {
        let most = [[0xff; 9].as_slice(), &[1]].concat();
        assert_eq!(Reader::new(&most).varint().unwrap(), u64::MAX);
        for bytes in [[[0xff; 9].as_slice(), &[2]].concat(), vec![0x80; 10], vec![0x80; 3], vec![]] {
            assert!(Reader::new(&bytes).varint().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn lengths_end_within_the_bytes() {
        for bytes in [b"\x05abcd".as_slice(), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
            assert!(Reader::new(bytes).value(1, BYTES).is_err());
        }
        assert!(Reader::new(b"abc").value(1, FIXED32).is_err());
        assert!(Reader::new(b"abcdefg").value(1, FIXED64).is_err());
    }

    #[test]
    fn groups_end_where_their_own_end_is() {
        // A group 2 with a group 3 in it.
        let mut reader = Reader::new(b"\x1b\x08\x01\x1c\x08\x02\x14\x08\x07");
        assert!(matches!(reader.value(2, GROUP), Ok(Value::Group(b"\x1b\x08\x01\x1c\x08\x02"))));
        assert_eq!(reader.tag().unwrap(), (1, VARINT));
        assert!(Reader::new(b"\x1b\x14\x1c").value(2, GROUP).is_err());
        assert!(Reader::new(b"\x1b\x1c").value(2, GROUP).is_err());
        assert!(matches!(Reader::new(&[0x1b; 1000]).value(2, GROUP), Err(Wrong::TooDeep)));
    }
}
