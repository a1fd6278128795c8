//! An encoder makes the pieces of one stretch after the other. At the end of each piece everything before it can be decoded, and any
//! block may follow.

use std::io;

use bytes::Bytes;
use flate2::{Compress, FlushCompress};
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

use super::blocks::{WINDOW_LOG, ZSTD_END};
use crate::coding::ContentCoding;

/// The tables of a zstd encoder, as powers of two. A stretch is small, and so are they: an encoder takes some 600 KiB.
const TABLES_LOG: u32 = 14;
/// By so much, a level of zstd takes the time of one of gzip.
const ZSTD_LEVELS_MORE: i32 = 2;
/// Room that is made for an encoder to write into.
const ROOM: usize = 4096;

pub(super) enum Encoder {
    Zstd(CCtx<'static>),
    Gzip(Box<Compress>),
}

impl Encoder {
    /// `level`: 1 (fast) to 9 (small).
    pub(super) fn new(coding: ContentCoding, level: u8) -> io::Result<Encoder> {
        match coding {
            ContentCoding::Zstd => {
                let mut context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
                let level = i32::from(level) + ZSTD_LEVELS_MORE;
                for parameter in [
                    CParameter::CompressionLevel(level),
                    CParameter::WindowLog(WINDOW_LOG),
                    CParameter::HashLog(TABLES_LOG),
                    CParameter::ChainLog(TABLES_LOG),
                    CParameter::ContentSizeFlag(false),
                ] {
                    context.set_parameter(parameter).map_err(failed)?;
                }
                Ok(Encoder::Zstd(context))
            }
            ContentCoding::Gzip => {
                let level = flate2::Compression::new(u32::from(level));
                Ok(Encoder::Gzip(Box::new(Compress::new(level, false))))
            }
        }
    }

    /// Begins a stretch: what follows refers to nothing before. Appends what comes before its first piece.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Encoder::Zstd(context) => {
                context.reset(ResetDirective::SessionOnly).map_err(failed)?;
                out.extend_from_slice(&ZSTD_END);
            }
            Encoder::Gzip(compress) => compress.reset(),
        }
        Ok(())
    }

    /// Appends the next piece of the stretch.
    pub(super) fn encode(&mut self, slices: &[Bytes], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Encoder::Zstd(context) => {
                for slice in slices {
                    let mut input = InBuffer::around(slice);
                    while input.pos < slice.len() {
                        written(out, |output| context.compress_stream(output, &mut input))?;
                    }
                }
                while written(out, |output| context.flush_stream(output))? > 0 {}
            }
            Encoder::Gzip(compress) => {
                for slice in slices {
                    deflate(compress, slice, FlushCompress::None, out)?;
                }
                deflate(compress, &[], FlushCompress::Sync, out)?;
            }
        }
        Ok(())
    }
}

/// Has more written behind `out`.
fn written(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut OutBuffer<'_, [u8]>) -> Result<usize, usize>,
) -> io::Result<usize> {
    let end = out.len();
    out.resize(end + ROOM, 0);
    let mut output = OutBuffer::around(&mut out[end..]);
    let result = write(&mut output);
    let count = output.pos();
    out.truncate(end + count);
    result.map_err(failed)
}

fn failed(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

fn deflate(
    compress: &mut Compress,
    mut input: &[u8],
    flush: FlushCompress,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    loop {
        out.reserve(ROOM);
        let taken = compress.total_in();
        compress.compress_vec(input, out, flush)?;
        input = &input[(compress.total_in() - taken) as usize..];
        // Where there is no room left, there may be more.
        if input.is_empty() && out.len() < out.capacity() {
            return Ok(());
        }
    }
}
