//! Compresses streams: once for all streams of a view, never for one alone.
//!
//! What the streams of a group get together is compressed in *stretches*: runs of frames in one [`context`], whose pieces refer to
//! what came before in the same stretch. Whoever has had every piece of a stretch, and nothing else since it began, gets the next
//! one, the same bytes for all. Whatever a stream has for its client alone (a heartbeat, history, what a slow reader
//! missed) is stored as it is, and the stream is outside then. Whoever is outside gets pieces that stand alone, until the next
//! stretch begins, with which anybody may go on: it refers to nothing before. It begins once somebody waits for it, and the last one
//! has had some frames or a second.
//!
//! [`body`] is the coded body of one stream, with the [`sum`] of gzip; [`encoder`] makes the pieces, and [`blocks`] has what is
//! written without an encoder.
//!
//! Nothing that a request says is ever compressed, and no stretch ever has the records of two views: the size of what is sent
//! tells nothing of what a client may not read.

mod blocks;
mod body;
mod context;
mod encoder;
mod sum;
#[cfg(test)]
mod tests;

use std::io;

use bytes::Bytes;
use smallvec::SmallVec;

pub(super) use self::blocks::padding;
pub(super) use self::body::Body;
use self::context::Context;
use self::encoder::Encoder;
use super::batch::Batch;
use super::chunk::{Chunks, Coding};
use crate::coding::{Compression, ContentCoding};
use crate::metrics::Metrics;
use crate::moment::Moment;

/// Streams of a view below which nothing is compressed: it would be for one alone.
const FEWEST: u32 = 2;
/// The contexts that all threads together have for each coding, each of about 600 KiB. Where all are in use, what other views have is
/// stored.
pub(super) const CONTEXTS: usize = 64;

/// What a group knows of its compression.
pub(super) struct Compressed {
    /// Distinguishes the group from all others of the thread, also those that are gone. Not zero.
    number: u64,
    /// How many of its streams have each coding.
    streams: [u32; 2],
    /// The context that it had last for each coding; another group may have it now.
    contexts: [u8; 2],
}

impl Compressed {
    pub(super) fn new(number: u64) -> Compressed {
        Compressed { number, streams: [0; 2], contexts: [0; 2] }
    }

    pub(super) fn add(&mut self, coding: ContentCoding) {
        self.streams[coding as usize] += 1;
    }

    pub(super) fn remove(&mut self, coding: ContentCoding) {
        self.streams[coding as usize] -= 1;
    }
}

/// What a thread compresses with.
pub(super) struct Compressor {
    compression: Compression,
    /// How many contexts there may be for each coding.
    most: u8,
    contexts: [Vec<Context>; 2],
    /// For pieces that stand alone.
    alone: [Option<Encoder>; 2],
    /// How many stretches have begun.
    stretches: u64,
    /// Whether contexts have pieces.
    has_pieces: bool,
    /// Bytes of streams before and after, by coding, since they were last counted.
    counts: [[u64; 2]; 2],
}

impl Compressor {
    /// With so many contexts at the most for each coding.
    pub(super) fn new(compression: Compression, most: u8) -> Compressor {
        Compressor {
            compression,
            most,
            contexts: [const { Vec::new() }; 2],
            alone: [const { None }; 2],
            stretches: 0,
            has_pieces: false,
            counts: [[0; 2]; 2],
        }
    }

    /// What a stream has for its client alone, as the next chunk of its body.
    pub(super) fn own(&mut self, body: &mut Body, slices: &[Bytes], chunks: &Chunks) -> Bytes {
        let stored = body.store(slices);
        self.count(body.coding(), slices.iter().map(Bytes::len).sum(), stored.len());
        chunks.encode(&[stored.into()], Coding::Chunked)
    }

    /// What the streams of a group get together, as the next chunks of this body.
    pub(super) fn shared(
        &mut self,
        body: &mut Body,
        group: &mut Compressed,
        batch: &Batch,
        now: Moment,
        chunks: &Chunks,
    ) -> SmallVec<[Bytes; 2]> {
        let shared = self.pieces(body, group, batch, now, chunks).unwrap_or_else(|error| {
            tracing::warn!(%error, "what streams have is not compressed");
            SmallVec::new()
        });
        if shared.is_empty() {
            return SmallVec::from_iter([self.own(body, batch.slices(), chunks)]);
        }
        let size = |pieces: &[Bytes]| pieces.iter().map(Bytes::len).sum();
        self.count(body.coding(), size(batch.slices()), size(&shared));
        shared
    }

    /// At the end of a round: counts. Unless streams are still to be served, frees what they would get.
    pub(super) fn rest(&mut self, metrics: &Metrics, is_idle: bool) {
        for coding in ContentCoding::ALL {
            let [before, after] = std::mem::take(&mut self.counts[coding as usize]);
            if before > 0 {
                metrics.compressed(coding, before, after);
            }
        }
        if is_idle && std::mem::take(&mut self.has_pieces) {
            self.contexts.iter_mut().flatten().for_each(Context::forget);
        }
    }

    fn count(&mut self, coding: ContentCoding, before: usize, after: usize) {
        let counts = &mut self.counts[coding as usize];
        counts[0] += before as u64;
        counts[1] += after as u64;
    }

    /// None: the batch is to be stored.
    fn pieces(
        &mut self,
        body: &mut Body,
        group: &mut Compressed,
        batch: &Batch,
        now: Moment,
        chunks: &Chunks,
    ) -> io::Result<SmallVec<[Bytes; 2]>> {
        let (coding, mut out) = (body.coding(), SmallVec::new());
        let Some(at) = self.context(coding, group, now)? else { return Ok(out) };
        let context = &mut self.contexts[coding as usize][usize::from(at)];
        self.has_pieces = true;
        context.reach((group.number, batch), &self.compression, &mut self.stretches, now, chunks)?;
        let mut is_outside = false;
        for piece in context.from(batch.frames().start) {
            let takes = body.takes(piece);
            is_outside = !takes;
            let chunk = match (takes, &piece.alone) {
                (true, _) => &piece.chunk,
                (false, Some(alone)) => alone,
                (false, None) => {
                    let alone = &mut self.alone[coding as usize];
                    let made = stand_alone(alone, coding, &self.compression, &piece.content);
                    // The body has taken the piece already.
                    let made = made.unwrap_or_else(|error| {
                        tracing::warn!(%error, "what streams have is not compressed");
                        let mut stored = Vec::new();
                        blocks::store(coding, &piece.content, &mut stored);
                        stored
                    });
                    piece.alone.insert(chunks.encode(&[made.into()], Coding::Chunked))
                }
            };
            out.push(chunk.clone());
        }
        if is_outside {
            context.await_next();
        }
        Ok(out)
    }

    /// The context of the group, or one that it may have. `None`: the group has too few streams, or all contexts are in use.
    fn context(
        &mut self,
        coding: ContentCoding,
        group: &mut Compressed,
        now: Moment,
    ) -> io::Result<Option<u8>> {
        if group.streams[coding as usize] < FEWEST {
            return Ok(None);
        }
        let (at, contexts) = (&mut group.contexts[coding as usize], &mut self.contexts[coding as usize]);
        if contexts.get(usize::from(*at)).is_some_and(|context| context.is_of(group.number)) {
            return Ok(Some(*at));
        }
        if let Some(past) = contexts.iter().position(|context| context.is_free(now)) {
            *at = past as u8;
        } else if contexts.len() < usize::from(self.most) {
            *at = contexts.len() as u8;
            contexts.push(Context::new(coding, self.compression.level, now)?);
        } else {
            return Ok(None);
        }
        Ok(Some(*at))
    }
}

/// The frames as a stretch of their own.
fn stand_alone(
    encoder: &mut Option<Encoder>,
    coding: ContentCoding,
    compression: &Compression,
    frames: &[Bytes],
) -> io::Result<Vec<u8>> {
    let mut made = match encoder.take() {
        Some(encoder) => encoder,
        None => Encoder::new(coding, compression.level)?,
    };
    let mut out = Vec::new();
    made.begin(&mut out)?;
    made.encode(frames, &mut out)?;
    *encoder = Some(made);
    Ok(out)
}
