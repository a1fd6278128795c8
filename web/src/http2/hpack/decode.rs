//! A header block as fields (RFC 7541, section 6).

use super::huffman;
use super::table::{OVERHEAD, Table};

/// Why a block is not decoded. Either ends the connection, since the table is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http2) enum Refused {
    /// It is not of HPACK.
    Wrong,
    /// Its fields are larger than anything that is decoded.
    TooLarge,
}

#[derive(Debug)]
pub(in crate::http2) struct Decoder {
    table: Table,
}

/// Where a name or a value comes from.
enum Text<'a> {
    Raw(&'a [u8]),
    Huffman(&'a [u8]),
}

impl Decoder {
    pub(in crate::http2) fn new() -> Decoder {
        Decoder { table: Table::new() }
    }

    /// Decodes a whole block: gives each field in order, and the size of all so far as section 4.1 counts it. `most` limits that
    /// size.
    pub(in crate::http2) fn decode(
        &mut self,
        block: &[u8],
        most: usize,
        mut field: impl FnMut(&[u8], &[u8], usize),
    ) -> Result<(), Refused> {
        let (mut left, mut size, mut has_field) = (block, 0, false);
        let (mut name, mut value) = (Vec::new(), Vec::new());
        let mut give = |name: &[u8], value: &[u8]| {
            size += name.len() + value.len() + OVERHEAD;
            if size > most {
                return Err(Refused::TooLarge);
            }
            field(name, value, size);
            Ok(())
        };
        while let Some(first) = left.first().copied() {
            if first & 0x80 != 0 {
                let (name, value) = self.entry(number(&mut left, 7)?)?;
                give(name, value)?;
            } else if first & 0xe0 == 0x20 {
                // A change of the table's size stands before all fields (section 4.2).
                let max_size = number(&mut left, 5)?;
                self.table.set_max_size(max_size).filter(|()| !has_field).ok_or(Refused::Wrong)?;
                continue;
            } else {
                let is_kept = first & 0x40 != 0;
                let known = number(&mut left, if is_kept { 6 } else { 4 })?;
                name.clear();
                match known {
                    0 => text(&mut left)?.put(&mut name)?,
                    known => name.extend_from_slice(self.entry(known)?.0),
                }
                value.clear();
                text(&mut left)?.put(&mut value)?;
                if is_kept {
                    self.table.add(&name, &value);
                }
                give(&name, &value)?;
            }
            has_field = true;
        }
        Ok(())
    }

    fn entry(&self, number: usize) -> Result<(&[u8], &[u8]), Refused> {
        self.table.get(number).ok_or(Refused::Wrong)
    }
}

impl Text<'_> {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), Refused> {
        match self {
            Text::Raw(bytes) => out.extend_from_slice(bytes),
            Text::Huffman(bytes) => huffman::decode(bytes, out).ok_or(Refused::Wrong)?,
        }
        Ok(())
    }
}

/// A number whose first part is the lowest `bits` of a byte (section 5.1).
fn number(left: &mut &[u8], bits: u32) -> Result<usize, Refused> {
    // More is in no block that this server takes, and does not overflow.
    const MOST_PARTS: u32 = 4;
    let (first, mut rest) = left.split_first().ok_or(Refused::Wrong)?;
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        for part in 0.. {
            let (byte, after) = rest.split_first().filter(|_| part < MOST_PARTS).ok_or(Refused::Wrong)?;
            rest = after;
            value += usize::from(byte & 0x7f) << (7 * part);
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *left = rest;
    Ok(value)
}

/// A name or a value (section 5.2).
fn text<'a>(left: &mut &'a [u8]) -> Result<Text<'a>, Refused> {
    let is_huffman = left.first().is_some_and(|first| first & 0x80 != 0);
    let size = number(left, 7)?;
    let (bytes, rest) = left.split_at_checked(size).ok_or(Refused::Wrong)?;
    *left = rest;
    Ok(if is_huffman { Text::Huffman(bytes) } else { Text::Raw(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1 << 20;

    fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<String, Refused> {
        let mut all = String::new();
        decoder.decode(block, MOST, |name, value, _| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            all.push_str(&format!("{}: {}\n", text(name), text(value)));
        })?;
        Ok(all)
    }

    /// RFC 7541, appendix C.3 and C.4: three requests of one connection, without and with Huffman's code.
    #[test]
    fn the_requests_of_the_specification() {
        let raw: [&[u8]; 3] = [
            b"\x82\x86\x84\x41\x0fwww.example.com",
            b"\x82\x86\x84\xbe\x58\x08no-cache",
            b"\x82\x87\x85\xbf\x40\x0acustom-key\x0ccustom-value",
        ];
        let coded: [&[u8]; 3] = [
            b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
            b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
        ];
        let fields = [
            ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n",
            ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache\n",
            ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\n",
        ];
        for blocks in [raw, coded] {
            let mut decoder = Decoder::new();
            for (block, fields) in blocks.iter().zip(fields) {
                assert_eq!(decode(&mut decoder, block).as_deref(), Ok(fields));
            }
        }
    }

    /// RFC 7541, appendix C.5: a table of 256 bytes, from which the oldest fields go.
    #[test]
    fn the_oldest_fields_go_when_the_table_is_full() {
        let mut decoder = Decoder::new();
        let first = b"\x3f\xe1\x01\x48\x03302\x58\x07private\x61\x1dMon, 21 Oct 2013 20:13:21 GMT\x6e\x17https://www.example.com";
        assert!(decode(&mut decoder, first).is_ok());
        let second = decode(&mut decoder, b"\x48\x03307\xc1\xc0\xbf").unwrap();
        assert!(second.starts_with(":status: 307\ncache-control: private\n"), "{second}");
        // `:status: 302` has gone.
        assert!(
            decode(&mut decoder, b"\xc1").is_err_and(|refused| refused == Refused::Wrong) || {
                !decode(&mut decoder, b"\xc1").unwrap().contains("302")
            }
        );
    }

    #[test]
    fn what_is_larger_than_the_table_empties_it() {
        let mut decoder = Decoder::new();
        assert!(decode(&mut decoder, b"\x40\x01a\x01b").is_ok());
        assert_eq!(decode(&mut decoder, b"\xbe").as_deref(), Ok("a: b\n"));
        let large = [&b"\x40\x01x\x7f\x81\x1f"[..], &[b'y'; 4096]].concat();
        assert!(decode(&mut decoder, &large).is_ok());
        assert_eq!(decode(&mut decoder, b"\xbe"), Err(Refused::Wrong));
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_large() {
        let mut decoder = Decoder::new();
        let kept = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'y'; 4000]].concat();
        assert!(decode(&mut decoder, &kept).is_ok());
        let mut largest = 0;
        let refused = decoder.decode(&[0xbe; 10_000], 1 << 16, |_, _, size| largest = size);
        assert_eq!(refused, Err(Refused::TooLarge));
        assert!(largest <= 1 << 16);
    }

    #[test]
    fn a_change_of_the_size_stands_before_all_fields_and_is_not_more_than_agreed() {
        assert!(decode(&mut Decoder::new(), b"\x20\x3f\xe1\x1f\x82").is_ok());
        assert_eq!(decode(&mut Decoder::new(), b"\x82\x20"), Err(Refused::Wrong));
        assert_eq!(decode(&mut Decoder::new(), b"\x3f\xe2\x1f"), Err(Refused::Wrong));
    }

    proptest::proptest! {
        /// Whatever comes, it ends, and the table is never larger than agreed.
        #[test]
        fn any_bytes_are_decoded_or_refused(
            blocks in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), 1..20)
        ) {
            let mut decoder = Decoder::new();
            for block in blocks {
                if decoder.decode(&block, MOST, |_, _, _| {}).is_err() {
                    break;
                }
            }
        }
    }
}
