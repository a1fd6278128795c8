//! Huffman's code of HPACK (RFC 7541, appendix B). It is canonical: codes of the same length follow each other in the order of
//! their symbols, and shorter codes come first. So the lengths alone give the code.

/// The length of each symbol's code in bits; the last one is the end of the string, which is in none.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];
/// The end of the string.
const END: u16 = 256;
const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// For each length: the first code, the number of codes, and where their symbols begin in [`ORDER`].
static CODES: [(u32, u32, u16); LONGEST + 1] = codes();
/// The symbols in the order of their codes.
static ORDER: [u16; 257] = order();

const fn order() -> [u16; 257] {
    let (mut order, mut at, mut length) = ([0; 257], 0, SHORTEST);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                order[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    order
}

const fn codes() -> [(u32, u32, u16); LONGEST + 1] {
    let (mut codes, mut code, mut at, mut length) = ([(0, 0, 0); LONGEST + 1], 0_u32, 0_u16, SHORTEST);
    while length <= LONGEST {
        let (mut count, mut symbol) = (0, 0);
        while symbol < LENGTHS.len() {
            count += (LENGTHS[symbol] as usize == length) as u32;
            symbol += 1;
        }
        codes[length] = (code, count, at);
        at += count as u16;
        code = (code + count) << 1;
        length += 1;
    }
    codes
}

/// Appends what the bytes decode to. `None`: they are not of this code, or do not end as it demands (section 5.2).
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // The bits that are not decoded yet are the lowest `count` of `bits`.
    let (mut bits, mut count) = (0_u64, 0_usize);
    for byte in bytes {
        bits = bits << 8 | u64::from(*byte);
        count += 8;
        while let Some((symbol, length)) = first(bits, count) {
            if symbol == END {
                return None;
            }
            out.push(symbol as u8);
            count -= length;
            bits &= (1 << count) - 1;
        }
        if count > LONGEST {
            return None;
        }
    }
    // What is left begins the code of the end, which is all ones, and is less than a byte.
    (count < 8 && bits == (1 << count) - 1).then_some(())
}

/// The first symbol, and its length in bits, if there are enough of them.
fn first(bits: u64, count: usize) -> Option<(u16, usize)> {
    for (length, (begin, codes, at)) in CODES.iter().copied().enumerate().take(count + 1).skip(SHORTEST) {
        let code = (bits >> (count - length)) as u32;
        if let Some(place) = code.checked_sub(begin).filter(|place| *place < codes) {
            return Some((ORDER[usize::from(at) + place as usize], length));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(bytes, &mut out).map(|()| out)
    }

    /// Codes by their symbols, as they are listed in appendix B.
    fn encode(text: &[u8]) -> Vec<u8> {
        let (mut bits, mut count, mut out) = (0_u64, 0, Vec::new());
        for symbol in text {
            let length = usize::from(LENGTHS[usize::from(*symbol)]);
            let (begin, _, at) = CODES[length];
            let place =
                ORDER[usize::from(at)..].iter().position(|other| *other == u16::from(*symbol)).unwrap();
            bits = bits << length | u64::from(begin + place as u32);
            count += length;
            while count >= 8 {
                out.push((bits >> (count - 8)) as u8);
                count -= 8;
                bits &= (1 << count) - 1;
            }
        }
        if count > 0 {
            out.push((bits << (8 - count)) as u8 | ((1 << (8 - count)) - 1));
        }
        out
    }

    /// The examples of RFC 7541, appendix C.4 and C.6.
    #[test]
    fn the_examples_of_the_specification() {
        let examples: [(&[u8], &str); 6] = [
            (b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "www.example.com"),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", "custom-key"),
            (b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", "custom-value"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (b"", ""),
        ];
        for (bytes, text) in examples {
            assert_eq!(decoded(bytes).as_deref(), Some(text.as_bytes()));
            assert_eq!(encode(text.as_bytes()), bytes);
        }
    }

    #[test]
    fn a_wrong_end_is_refused() {
        // A whole byte of padding; padding of zeros; the end of the string within; a code that does not end.
        for bytes in [
            &b"\xa8\xeb\x10\x64\x9c\xbf\xff"[..],
            b"\x00",
            b"\xff\xff\xff\xff\x00",
            b"\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(decoded(bytes), None, "{bytes:x?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_text_comes_back(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            proptest::prop_assert_eq!(decoded(&encode(&text)), Some(text));
        }

        /// A text has one code, so what is decoded at all is that code.
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100)) {
            if let Some(text) = decoded(&bytes) {
                proptest::prop_assert_eq!(encode(&text), bytes);
            }
        }
    }
}
