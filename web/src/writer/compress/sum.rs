//! gzip's checksum (CRC-32, RFC 1952, section 8) of everything that a client gets.

use bytes::Bytes;
use zlib_rs::crc32::{crc32, crc32_combine_gen, crc32_combine_op};

/// From so many bytes on, putting sums together is faster than going through the bytes.
const LONG: u32 = 1024;

/// The sum of bytes, and their number modulo 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) sum: u32,
    pub(super) size: u32,
}

/// The sum of bytes that many bodies get, and what appends it to others.
pub(super) struct SharedSum {
    sum: Sum,
    append: u32,
}

impl Sum {
    pub(super) fn add(&mut self, slices: &[Bytes]) {
        for slice in slices {
            self.sum = crc32(self.sum, slice);
            self.size = self.size.wrapping_add(slice.len() as u32);
        }
    }

    /// As [`Sum::add`], of bytes whose sum is known.
    pub(super) fn append(&mut self, slices: &[Bytes], known: &SharedSum) {
        if known.sum.size < LONG {
            return self.add(slices);
        }
        self.sum = crc32_combine_op(self.sum, known.sum.sum, known.append);
        self.size = self.size.wrapping_add(known.sum.size);
    }
}

impl SharedSum {
    pub(super) fn of(slices: &[Bytes]) -> SharedSum {
        let mut sum = Sum::default();
        sum.add(slices);
        SharedSum { sum, append: crc32_combine_gen(u64::from(sum.size)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_whichever_way_it_is_put_together() {
        let (mut one, mut other, mut all) = (Sum::default(), Sum::default(), Vec::new());
        for size in [0_usize, 1, 5, 1023, 1024, 5000, 70_000, 3] {
            let piece: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
            all.extend_from_slice(&piece);
            let slices =
                [Bytes::copy_from_slice(&piece[..size / 3]), Bytes::copy_from_slice(&piece[size / 3..])];
            one.add(&slices);
            other.append(&slices, &SharedSum::of(&slices));
            assert_eq!(one, other, "{size}");
        }
        let mut flate = flate2::Crc::new();
        flate.update(&all);
        assert_eq!((one.sum, one.size), (flate.sum(), flate.amount()));
    }
}
