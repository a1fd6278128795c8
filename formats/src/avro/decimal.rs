//! Decimals with all their digits: an integer in two's complement, of any length, and a scale.

use super::fault::Fault;

/// The most bytes of a number, without those that only repeat its sign: 2,466 digits. Digits cost the square of their number.
const MAX_BYTES: usize = 1024;
const LIMBS: usize = MAX_BYTES / 8;
/// The largest power of ten in 64 bits, and its zeros.
const CHUNK: u64 = 10_000_000_000_000_000_000;
const CHUNK_DIGITS: usize = 19;
/// A chunk has 63.1 bits of a number's 64 × [`LIMBS`].
const MAX_DIGITS: usize = (LIMBS + 2) * CHUNK_DIGITS;

/// Appends a decimal with its quotes: `bytes` with the highest first, divided by ten to the power of `scale`. No bytes are zero.
/// The text is not longer than `room` by more than its digits.
pub(super) fn put_decimal(out: &mut Vec<u8>, bytes: &[u8], scale: i64, room: usize) -> Result<(), Fault> {
    // Each unit of the scale may be a zero of the text.
    if scale.unsigned_abs() > room as u64 {
        return Err(Fault::Room);
    }
    let bytes = significant(bytes);
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    if bytes.len() <= 16 {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(small(bytes, negative).unsigned_abs());
        put_scaled(out, negative, digits.as_bytes(), scale);
        return Ok(());
    }
    let mut digits = [b'0'; MAX_DIGITS];
    let start = put_digits(magnitude(bytes, negative)?, &mut digits);
    put_scaled(out, negative, &digits[start..], scale);
    Ok(())
}

/// Without the first bytes that only repeat the sign.
fn significant(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && let [next, ..] = rest
        && ((*first == 0 && *next < 0x80) || (*first == 0xff && *next >= 0x80))
    {
        bytes = rest;
    }
    bytes
}

fn small(bytes: &[u8], negative: bool) -> i128 {
    let sign = if negative { -1 } else { 0 };
    bytes.iter().fold(sign, |number, byte| number << 8 | i128::from(*byte))
}

/// The number without its sign, the lowest limb first.
fn magnitude(bytes: &[u8], negative: bool) -> Result<[u64; LIMBS], Fault> {
    if bytes.len() > MAX_BYTES {
        return Err(Fault::Decimal);
    }
    let mut limbs = [if negative { u64::MAX } else { 0 }; LIMBS];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.rchunks(8)) {
        *limb = chunk.iter().fold(*limb, |limb, byte| limb << 8 | u64::from(*byte));
    }
    if negative {
        let mut carry = true;
        for limb in &mut limbs {
            (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
        }
    }
    Ok(limbs)
}

/// Writes a number's digits to the end of `digits`, which are zeros, and tells where they start.
fn put_digits(mut limbs: [u64; LIMBS], digits: &mut [u8; MAX_DIGITS]) -> usize {
    let mut used = LIMBS;
    let mut end = digits.len();
    loop {
        while used > 0 && limbs[used - 1] == 0 {
            used -= 1;
        }
        if used == 0 {
            break;
        }
        let mut chunk = divide(&mut limbs[..used]);
        for digit in digits[end - CHUNK_DIGITS..end].iter_mut().rev() {
            *digit = b'0' + (chunk % 10) as u8;
            chunk /= 10;
        }
        end -= CHUNK_DIGITS;
    }
    end + digits[end..].iter().take_while(|digit| **digit == b'0').count()
}

/// Divides by [`CHUNK`], and returns the remainder.
fn divide(limbs: &mut [u64]) -> u64 {
    let mut rest = 0_u64;
    for limb in limbs.iter_mut().rev() {
        let number = u128::from(rest) << 64 | u128::from(*limb);
        *limb = (number / u128::from(CHUNK)) as u64;
        rest = (number % u128::from(CHUNK)) as u64;
    }
    rest
}

fn put_scaled(out: &mut Vec<u8>, negative: bool, digits: &[u8], scale: i64) {
    out.push(b'"');
    if negative {
        out.push(b'-');
    }
    let places = usize::try_from(scale).unwrap_or(0);
    match digits.len().checked_sub(places) {
        Some(whole) if whole > 0 => {
            out.extend_from_slice(&digits[..whole]);
            put_fraction(out, 0, &digits[whole..]);
        }
        _ => {
            out.push(b'0');
            put_fraction(out, places - digits.len(), digits);
        }
    }
    // A negative scale counts zeros behind the number, of which zero has none.
    if scale < 0 && digits != b"0" {
        put_zeros(out, scale.unsigned_abs() as usize);
    }
    out.push(b'"');
}

fn put_fraction(out: &mut Vec<u8>, zeros: usize, digits: &[u8]) {
    if zeros + digits.len() == 0 {
        return;
    }
    out.push(b'.');
    put_zeros(out, zeros);
    out.extend_from_slice(digits);
}

fn put_zeros(out: &mut Vec<u8>, zeros: usize) {
    out.resize(out.len() + zeros, b'0');
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8], scale: i64) -> Result<String, Fault> {
        let mut out = Vec::new();
        put_decimal(&mut out, bytes, scale, 1000)?;
        Ok(String::from_utf8(out).unwrap().trim_matches('"').to_owned())
    }

    proptest! {
        #[test]
        fn all_digits_are_there(bytes in proptest::collection::vec(any::<u8>(), 0..=200)) {
            let number = BigInt::from_signed_bytes_be(&bytes);
            prop_assert_eq!(text(&bytes, 0).unwrap(), number.to_string());
        }

        #[test]
        fn a_scale_only_places_the_point(number in any::<i64>(), scale in 0..40_usize) {
            let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            let sign = if number < 0 { "-" } else { "" };
            let point = if scale > 0 { "." } else { "" };
            let wanted = format!("{sign}{whole}{point}{fraction}");
            prop_assert_eq!(text(&number.to_be_bytes(), scale as i64).unwrap(), wanted);
        }
    }

    #[test]
    fn numbers_around_a_change_of_method_are_exact() {
        for length in [15, 16, 17, 1023, 1024] {
            for first in [0x01, 0x7f, 0x80, 0xfe] {
                for fill in [0, 1, 0xff] {
                    let mut bytes = vec![fill; length];
                    bytes[0] = first;
                    assert_eq!(text(&bytes, 0).unwrap(), BigInt::from_signed_bytes_be(&bytes).to_string());
                }
            }
        }
    }

    #[test]
    fn what_repeats_the_sign_does_not_count() {
        assert_eq!(text(&[0; 5000], 2).unwrap(), "0.00");
        assert_eq!(text(&[0xff; 5000], 2).unwrap(), "-0.01");
        assert_eq!(text(&[0x7f; 1025], 0), Err(Fault::Decimal));
        assert_eq!(text(&[], 0).unwrap(), "0");
    }

    #[test]
    fn a_negative_scale_is_zeros() {
        assert_eq!(text(&[5], -3).unwrap(), "5000");
        assert_eq!(text(&[0xfb], -3).unwrap(), "-5000");
        assert_eq!(text(&[0], -3).unwrap(), "0");
    }

    #[test]
    fn a_scale_beyond_the_room_is_refused() {
        for scale in [1001, -1001, i64::MAX, i64::MIN] {
            assert_eq!(text(&[1], scale), Err(Fault::Room));
        }
        assert_eq!(text(&[1], 1000).unwrap().len(), 1002);
    }
}
