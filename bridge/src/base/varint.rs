//! Numbers in as few bytes as they need.

/// Bytes of the longest varint.
pub(crate) const MAX_VARINT: usize = 10;

/// Appends a number as LEB128: seven bits a byte, the lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many bytes [`put_varint`] takes for a number.
pub(crate) fn varint_len(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Overwrites a number with one of the same length. If the lengths differ, returns false and writes nothing.
pub(crate) fn patch_varint(out: &mut [u8], mut number: u64) -> bool {
    let Some((last, others)) =
        out.split_last_mut().filter(|(_, others)| others.len() + 1 == varint_len(number))
    else {
        return false;
    };
    for byte in others {
        *byte = number as u8 | 0x80;
        number >>= 7;
    }
    *last = number as u8;
    true
}

/// Takes a number that [`put_varint`] wrote. `None`: the bytes end, it is longer than necessary, or it exceeds 64 bits.
pub(crate) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return (byte != 0 || shift == 0).then_some(number);
        }
    }
    None
}

/// Maps a signed number to an unsigned one that is small if the signed one is near zero.
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The signed number that [`zigzag`] mapped.
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_has_one_form(number in any::<u64>()) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            prop_assert_eq!(take_varint(&mut &bytes[..]), Some(number));
            let last = bytes.len() - 1;
            bytes[last] |= 0x80;
            bytes.push(0);
            prop_assert_eq!(take_varint(&mut &bytes[..]), None);
        }

        #[test]
        fn a_signed_number_comes_back(number in any::<i64>()) {
            prop_assert_eq!(unzigzag(zigzag(number)), number);
        }
    }
}
