//! The bytes of the two codings that are written without an encoder: how a body begins and ends, and blocks that have bytes as
//! they are.
//!
//! Between two pieces of a body, one thing always holds: its last zstd frame (RFC 8878, section 3.1.1), or its only gzip member
//! (RFC 1952), is open, and the next block may begin. A new frame of zstd therefore begins with the end of the one before. gzip
//! has no such seams: clients drop what comes after a first member.

use bytes::Bytes;

use super::sum::Sum;
use crate::coding::ContentCoding;
use crate::http2::SMALLEST_DATA;

/// The window of a zstd frame, as a power of two; blocks may be as large.
pub(super) const WINDOW_LOG: u32 = 16;
/// The end of a zstd frame: a last block without content.
pub(super) const ZSTD_END: [u8; 3] = [1, 0, 0];

/// The begin of a zstd frame without checksum, dictionary or size: the magic number, the descriptor, and the window's.
const ZSTD_BEGIN: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0, ((WINDOW_LOG - 10) << 3) as u8];
/// A zstd block without content.
const ZSTD_EMPTY: [u8; 3] = [0, 0, 0];
const ZSTD_BLOCK: usize = 1 << WINDOW_LOG;

/// The header of a gzip member without name or time.
const GZIP_BEGIN: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// A stored block of DEFLATE (RFC 1951, section 3.2.4) without content. Go's decoder gives what it has when it meets one.
const GZIP_EMPTY: [u8; 5] = [0, 0, 0, 0xff, 0xff];
const GZIP_LAST: [u8; 5] = [1, 0, 0, 0xff, 0xff];
const GZIP_BLOCK: usize = 0xffff;

/// What comes first in a body.
pub(super) fn begin(coding: ContentCoding) -> Bytes {
    Bytes::from_static(match coding {
        ContentCoding::Zstd => &ZSTD_BEGIN,
        ContentCoding::Gzip => &GZIP_BEGIN,
    })
}

/// Appends the bytes as they are, in blocks.
pub(super) fn store(coding: ContentCoding, slices: &[Bytes], out: &mut Vec<u8>) {
    match coding {
        ContentCoding::Zstd => {
            for part in slices.iter().flat_map(|slice| slice.chunks(ZSTD_BLOCK)) {
                // Three bytes, the lowest first: whether it is the last, its type in two bits (raw), and its size.
                out.extend_from_slice(&((part.len() as u32) << 3).to_le_bytes()[..3]);
                out.extend_from_slice(part);
            }
        }
        ContentCoding::Gzip => {
            for part in slices.iter().flat_map(|slice| slice.chunks(GZIP_BLOCK)) {
                let size = part.len() as u16;
                out.push(0);
                out.extend_from_slice(&size.to_le_bytes());
                out.extend_from_slice(&(!size).to_le_bytes());
                out.extend_from_slice(part);
            }
            out.extend_from_slice(&GZIP_EMPTY);
        }
    }
}

/// Appends the end of a body; `sum`: of all its content.
pub(super) fn end(coding: ContentCoding, sum: &Sum, out: &mut Vec<u8>) {
    match coding {
        ContentCoding::Zstd => out.extend_from_slice(&ZSTD_END),
        ContentCoding::Gzip => {
            out.extend_from_slice(&GZIP_LAST);
            out.extend_from_slice(&sum.sum.to_le_bytes());
            out.extend_from_slice(&sum.size.to_le_bytes());
        }
    }
}

/// Blocks without content, of so many bytes or a little more, at most of [`SMALLEST_DATA`]. They move nothing that an encoder refers
/// to.
pub(in crate::writer) fn padding(coding: ContentCoding, size: usize) -> Bytes {
    static ZSTD: [u8; most(ZSTD_EMPTY.len())] = blocks(ZSTD_EMPTY);
    static GZIP: [u8; most(GZIP_EMPTY.len())] = blocks(GZIP_EMPTY);
    let (all, block): (&'static [u8], usize) = match coding {
        ContentCoding::Zstd => (&ZSTD, ZSTD_EMPTY.len()),
        ContentCoding::Gzip => (&GZIP, GZIP_EMPTY.len()),
    };
    Bytes::from_static(&all[..size.div_ceil(block) * block])
}

/// How many bytes all blocks of this size have that padding may need.
const fn most(block: usize) -> usize {
    SMALLEST_DATA.div_ceil(block) * block
}

/// The block again and again.
const fn blocks<const BLOCK: usize, const ALL: usize>(block: [u8; BLOCK]) -> [u8; ALL] {
    let (mut all, mut at) = ([0; ALL], 0);
    while at < ALL {
        all[at] = block[at % BLOCK];
        at += 1;
    }
    all
}
