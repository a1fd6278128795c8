//! Compresses streams: once for all streams of a view, never for one alone.
//!
//! What the streams of a group get together is compressed in *stretches*: runs of frames in one [`context`], whose pieces refer to
//! what came before in the same stretch. Whoever has had every piece of a stretch, and nothing else since it began, gets the next
//! one, the same bytes for all. Whatever a stream has for its client alone (a heartbeat, history, what a slow reader
//! missed) is stored as it is, and the stream is outside then. Whoever is outside gets pieces that stand alone, until the next
//! stretch begins, with which anybody may go on: it refers to nothing before, and it comes soon.
//!
//! [`body`] is the coded body of one stream, [`encoder`] makes the pieces, and [`blocks`] has what is written without an encoder.
//!
//! Nothing that a request says is ever compressed, and no stretch ever has the records of two views: the size of what is sent
//! tells nothing of what a client may not read.

mod blocks;
mod body;
mod context;
mod encoder;
#[cfg(test)]
mod tests;

use std::io;

use bytes::Bytes;

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
/// The contexts that a thread has for each coding. Where all are in use, what other views have is stored.
const CONTEXTS: usize = 32;

/// What a group knows of its compression.
pub(super) struct Compressed {
    /// Distinguishes the group from all others of the thread, also those that are gone. Not zero.
    group: u64,
    /// How many of its streams have each coding.
    streams: [u32; 2],
    /// The context that it had last for each coding; another group may have it now.
    contexts: [u8; 2],
}

impl Compressed {
    pub(super) fn new(group: u64) -> Compressed {
        Compressed { group, streams: [0; 2], contexts: [0; 2] }
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
    contexts: [Vec<Context>; 2],
    /// For pieces that stand alone.
    alone: [Option<Encoder>; 2],
    /// How many stretches have begun.
    stretches: u64,
    /// The contexts whose last pieces are kept.
    kept: Vec<(ContentCoding, u8)>,
    /// Bytes of streams before and after, by coding, since they were last counted.
    counts: [[u64; 2]; 2],
}

impl Compressor {
    pub(super) fn new(compression: Compression) -> Compressor {
        Compressor {
            compression,
            contexts: [const { Vec::new() }; 2],
            alone: [const { None }; 2],
            stretches: 0,
            kept: Vec::new(),
            counts: [[0; 2]; 2],
        }
    }

    /// What a stream has for its client alone, as the next chunk of its body.
    pub(super) fn own(&mut self, body: &mut Body, slices: &[Bytes], chunks: &Chunks) -> Bytes {
        let stored = body.store(slices);
        self.count(body.coding(), slices.iter().map(Bytes::len).sum(), stored.len());
        chunks.encode(&[stored.into()], Coding::Chunked)
    }

    /// What the streams of a group get together, as the next chunk of this body.
    pub(super) fn shared(
        &mut self,
        body: &mut Body,
        group: &mut Compressed,
        batch: &Batch,
        now: Moment,
        chunks: &Chunks,
    ) -> Bytes {
        match self.piece(body, group, batch, now, chunks) {
            Ok(Some(chunk)) => {
                self.count(body.coding(), batch.bytes(), chunk.len());
                return chunk;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "what streams have is not compressed"),
        }
        self.own(body, batch.slices(), chunks)
    }

    /// At the end of a round: counts, and frees what nobody asks for any more.
    pub(super) fn rest(&mut self, metrics: &Metrics) {
        for (coding, at) in self.kept.drain(..) {
            self.contexts[coding as usize][usize::from(at)].last = None;
        }
        for coding in ContentCoding::ALL {
            let [before, after] = std::mem::take(&mut self.counts[coding as usize]);
            if before > 0 {
                metrics.compressed(coding, before, after);
            }
        }
    }

    fn count(&mut self, coding: ContentCoding, before: usize, after: usize) {
        let counts = &mut self.counts[coding as usize];
        counts[0] += before as u64;
        counts[1] += after as u64;
    }

    /// `None`: the batch is to be stored.
    fn piece(
        &mut self,
        body: &mut Body,
        group: &mut Compressed,
        batch: &Batch,
        now: Moment,
        chunks: &Chunks,
    ) -> io::Result<Option<Bytes>> {
        let coding = body.coding();
        let Some(at) = self.context(coding, group, batch, now, chunks)? else { return Ok(None) };
        let context = &mut self.contexts[coding as usize][usize::from(at)];
        let Some(piece) = &mut context.last else { return Ok(None) };
        if body.takes(piece.number, piece.is_first, batch.slices()) {
            return Ok(Some(piece.chunk.clone()));
        }
        let chunk = match &piece.alone {
            Some(chunk) => chunk,
            None => {
                let out = alone(&mut self.alone[coding as usize], coding, &self.compression, batch)?;
                piece.alone.insert(chunks.encode(&[out.into()], Coding::Chunked))
            }
        };
        body.take_alone(batch.slices());
        Ok(Some(chunk.clone()))
    }

    /// The context whose last piece has the frames of the batch. `None`: others have gone on already, or the view has too few
    /// streams.
    fn context(
        &mut self,
        coding: ContentCoding,
        group: &mut Compressed,
        batch: &Batch,
        now: Moment,
        chunks: &Chunks,
    ) -> io::Result<Option<u8>> {
        let (frames, at) = (batch.frames(), group.contexts[coding as usize]);
        let contexts = &mut self.contexts[coding as usize];
        let own = contexts.get_mut(usize::from(at)).filter(|context| context.is_of(group.group));
        match &own {
            Some(own) if own.has(&frames) => return Ok(Some(at)),
            Some(own) if frames.start < own.next() => return Ok(None),
            Some(_) => {}
            None => {}
        }
        if group.streams[coding as usize] < FEWEST {
            return Ok(None);
        }
        let at = match own {
            Some(own) if own.goes_on(now) && own.next() == frames.start => {
                own.push(batch, chunks)?;
                at
            }
            own => {
                let at = match own {
                    Some(_) => at,
                    None => match free(contexts, coding, self.compression.level, now)? {
                        Some(at) => at,
                        None => return Ok(None),
                    },
                };
                self.stretches += 1;
                let stretch = (group.group, self.stretches);
                contexts[usize::from(at)].begin(stretch, &self.compression, batch, now, chunks)?;
                at
            }
        };
        group.contexts[coding as usize] = at;
        self.kept.push((coding, at));
        Ok(Some(at))
    }
}

/// A context whose stretch is past, or a new one; `None`: there are enough.
fn free(
    contexts: &mut Vec<Context>,
    coding: ContentCoding,
    level: u8,
    now: Moment,
) -> io::Result<Option<u8>> {
    if let Some(at) = contexts.iter().position(|context| context.is_past(now)) {
        return Ok(Some(at as u8));
    }
    if contexts.len() == CONTEXTS {
        return Ok(None);
    }
    contexts.push(Context::new(coding, level, now)?);
    Ok(Some((contexts.len() - 1) as u8))
}

/// The batch as a stretch of its own.
fn alone(
    encoder: &mut Option<Encoder>,
    coding: ContentCoding,
    compression: &Compression,
    batch: &Batch,
) -> io::Result<Vec<u8>> {
    let mut made = match encoder.take() {
        Some(encoder) => encoder,
        None => Encoder::new(coding, compression.level)?,
    };
    let mut out = Vec::new();
    made.begin(&mut out)?;
    made.encode(batch.slices(), &mut out)?;
    *encoder = Some(made);
    Ok(out)
}
