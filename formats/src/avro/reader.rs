//! Avro's binary encoding of what is not made of other values.

use super::fault::Fault;

/// The bytes that are not read yet.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Fault::End)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Fault::End)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Fault> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Fault::Boolean),
        }
    }

    /// A number of at most 32 bits, in at most five bytes.
    pub(super) fn int(&mut self) -> Result<i32, Fault> {
        let number = self.varint::<5>()?;
        let number = u32::try_from(number).map_err(|_| Fault::Varint)?;
        Ok((number >> 1) as i32 ^ -((number & 1) as i32))
    }

    /// A number of at most 64 bits, in at most ten bytes.
    pub(super) fn long(&mut self) -> Result<i64, Fault> {
        let number = self.varint::<10>()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Little-endian groups of seven bits, `MOST` at most; the highest bit of a byte says that more follow.
    #[inline]
    fn varint<const MOST: usize>(&mut self) -> Result<u64, Fault> {
        match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint::<MOST>(),
        }
    }

    fn long_varint<const MOST: usize>(&mut self) -> Result<u64, Fault> {
        let mut number = 0;
        for (at, &byte) in self.0.iter().enumerate().take(MOST) {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has the last of 64 bits.
            if at == 9 && bits > 1 {
                return Err(Fault::Varint);
            }
            number |= bits << (7 * at);
            if byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Ok(number);
            }
        }
        Err(if self.0.len() < MOST { Fault::End } else { Fault::Varint })
    }

    /// The length of something that follows, which is not longer than what is left.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.long()?).map_err(|_| Fault::Negative)?;
        self.take(length)
    }

    pub(super) fn string(&mut self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Fault::Text)
    }

    /// How many items the next block of an array or a map has; 0 at its end. A negative count has the block's size in bytes behind
    /// it, which only those need who skip the block.
    pub(super) fn block(&mut self) -> Result<u64, Fault> {
        let count = self.long()?;
        if count < 0 {
            u64::try_from(self.long()?).map_err(|_| Fault::Negative)?;
        }
        Ok(count.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the specification describes it, for numbers that a test thinks of.
    fn written(number: i64) -> Vec<u8> {
        let mut rest = ((number << 1) ^ (number >> 63)) as u64;
        let mut bytes = Vec::new();
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    }

    #[test]
    fn numbers_of_all_sizes_are_read() {
        let powers = (0..63).map(|bits| 1_i64 << bits);
        let numbers =
            powers.flat_map(|power| [power, power - 1, -power, -power - 1]).chain([i64::MAX, i64::MIN]);
        for number in numbers {
            let bytes = written(number);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.long(), Ok(number));
            assert!(reader.is_empty());
            let int = i32::try_from(number).map_err(|_| Fault::Varint);
            assert_eq!(Reader::new(&bytes).int(), int, "{number}");
        }
    }

    #[test]
    fn numbers_that_are_too_long_are_refused() {
        let bits = [0xff; 10];
        assert_eq!(Reader::new(&bits).long(), Err(Fault::Varint));
        assert_eq!(Reader::new(&bits[..9]).long(), Err(Fault::End));
        assert_eq!(Reader::new(&bits[..5]).int(), Err(Fault::Varint));
        assert_eq!(Reader::new(&bits[..4]).int(), Err(Fault::End));
        let mut overflow = [0xff; 10];
        overflow[9] = 2;
        assert_eq!(Reader::new(&overflow).long(), Err(Fault::Varint));
        overflow[9] = 1;
        assert_eq!(Reader::new(&overflow).long(), Ok(i64::MIN));
        assert_eq!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x00]).int(), Ok(0));
        assert_eq!(Reader::new(&[]).int(), Err(Fault::End));
    }

    #[test]
    fn lengths_are_within_the_bytes() {
        assert_eq!(Reader::new(&[4, b'a', b'b', b'c']).bytes(), Ok(&b"ab"[..]));
        assert_eq!(Reader::new(&[6, b'a', b'b']).bytes(), Err(Fault::End));
        assert_eq!(Reader::new(&[1]).bytes(), Err(Fault::Negative));
        assert_eq!(Reader::new(&written(i64::MAX)).bytes(), Err(Fault::End));
        assert_eq!(Reader::new(&[2, 0xff]).string(), Err(Fault::Text));
    }

    #[test]
    fn a_negative_count_has_a_size_behind_it() {
        assert_eq!(Reader::new(&[4]).block(), Ok(2));
        assert_eq!(Reader::new(&[3, 20]).block(), Ok(2));
        assert_eq!(Reader::new(&[3, 1]).block(), Err(Fault::Negative));
        let least = [written(i64::MIN), vec![0]].concat();
        assert_eq!(Reader::new(&least).block(), Ok(1 << 63));
    }
}
