//! Decoders of compressed bodies: strict ones, that give at once what they can.

use std::io::Write as _;

use flate2::write::GzDecoder;
use zstd_safe::{DCtx, InBuffer, OutBuffer};

/// Room for what is decoded at once.
const ROOM: usize = 1 << 12;

/// A decoder, by the value of `Content-Encoding`.
pub(crate) enum Decoder {
    Identity,
    Zstd {
        context: DCtx<'static>,
        /// Whether a frame has begun that has not ended.
        is_within: bool,
    },
    Gzip(Box<GzDecoder<Vec<u8>>>),
}

impl Decoder {
    pub(crate) fn new(coding: &str) -> Decoder {
        match coding {
            "zstd" => Decoder::Zstd { context: DCtx::create(), is_within: true },
            "gzip" => Decoder::Gzip(Box::new(GzDecoder::new(Vec::new()))),
            "" | "identity" => Decoder::Identity,
            other => panic!("nobody asked for {other:?}"),
        }
    }

    /// A decoder for a body after this head, whose names are in lower case.
    #[allow(dead_code)]
    pub(crate) fn after(head: &str) -> Decoder {
        let coding = head.lines().find_map(|line| line.strip_prefix("content-encoding: "));
        Decoder::new(coding.unwrap_or_default().trim())
    }

    /// Decodes what has come, and appends what it says.
    pub(crate) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            // A decoder of zstd would wait for another frame.
            _ if bytes.is_empty() => {}
            Decoder::Identity => out.extend_from_slice(bytes),
            Decoder::Zstd { context, is_within } => {
                let mut input = InBuffer::around(bytes);
                loop {
                    let end = out.len();
                    out.resize(end + ROOM, 0);
                    let mut output = OutBuffer::around(&mut out[end..]);
                    let left = context.decompress_stream(&mut output, &mut input);
                    *is_within = left.map_err(zstd_safe::get_error_name).expect("zstd") > 0;
                    let count = output.pos();
                    out.truncate(end + count);
                    if input.pos == bytes.len() && count < ROOM {
                        return;
                    }
                }
            }
            Decoder::Gzip(decoder) => {
                decoder.write_all(bytes).expect("gzip");
                decoder.flush().expect("gzip");
                out.append(decoder.get_mut());
            }
        }
    }

    /// Whether the body may end here.
    #[allow(dead_code)]
    pub(crate) fn may_end(&mut self) -> bool {
        match self {
            Decoder::Identity => true,
            Decoder::Zstd { is_within, .. } => !*is_within,
            // Checks the sum, too.
            Decoder::Gzip(decoder) => decoder.try_finish().is_ok(),
        }
    }
}
