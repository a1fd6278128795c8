//! A context: the encoder of one stretch after the other, each of one view.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use tokio::time::Duration;

use super::encoder::Encoder;
use crate::coding::{Compression, ContentCoding};
use crate::moment::Moment;
use crate::writer::batch::Batch;
use crate::writer::chunk::{Chunks, Coding};

/// For how long a stretch goes on: who joins a view is outside for no longer than this while there is news.
const STRETCH: Duration = Duration::from_secs(1);
/// More pieces than any stretch has.
const PIECES: u64 = 1 << 24;

/// Frames of a stretch, compressed.
pub(super) struct Piece {
    /// The numbers of the frames.
    pub(super) frames: Range<u64>,
    /// A chunk that continues what the client has.
    pub(super) chunk: Bytes,
    /// The same frames for who is outside the stretch, once somebody was.
    pub(super) alone: Option<Bytes>,
    /// Within a stretch, 1 more than that of the piece before; no other piece of the thread has it.
    pub(super) number: u64,
    pub(super) is_first: bool,
}

pub(super) struct Context {
    encoder: Encoder,
    /// Whose stretch it is.
    group: u64,
    begun: Moment,
    /// How many frames it may still have.
    left: u64,
    /// The number of the frame after its last one.
    next: u64,
    number: u64,
    /// The last piece, until the end of the round.
    pub(super) last: Option<Piece>,
}

impl Context {
    /// A context without a stretch.
    pub(super) fn new(coding: ContentCoding, level: u8, now: Moment) -> io::Result<Context> {
        let encoder = Encoder::new(coding, level)?;
        Ok(Context { encoder, group: 0, begun: now, left: 0, next: 0, number: 0, last: None })
    }

    /// Whether the stretch is that of the group.
    pub(super) fn is_of(&self, group: u64) -> bool {
        self.group == group
    }

    /// Whether the last piece has exactly these frames.
    pub(super) fn has(&self, frames: &Range<u64>) -> bool {
        self.last.as_ref().is_some_and(|last| last.frames == *frames)
    }

    /// The number of the frame after the last one.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether the stretch has ended by its time.
    pub(super) fn is_past(&self, now: Moment) -> bool {
        self.begun.plus(STRETCH) <= now
    }

    /// Whether the stretch may have another piece.
    pub(super) fn goes_on(&self, now: Moment) -> bool {
        self.left > 0 && !self.is_past(now)
    }

    /// Begins the stretch of this number with its first piece.
    pub(super) fn begin(
        &mut self,
        (group, stretch): (u64, u64),
        compression: &Compression,
        batch: &Batch,
        now: Moment,
        chunks: &Chunks,
    ) -> io::Result<()> {
        // Valid only once it has a piece.
        (self.group, self.last) = (0, None);
        let mut out = Vec::new();
        self.encoder.begin(&mut out)?;
        (self.begun, self.left, self.number) = (now, compression.stretch.min(PIECES), stretch * PIECES);
        self.put(batch, out, true, chunks)?;
        self.group = group;
        Ok(())
    }

    /// Adds a piece to the stretch.
    pub(super) fn push(&mut self, batch: &Batch, chunks: &Chunks) -> io::Result<()> {
        let group = std::mem::take(&mut self.group);
        self.number += 1;
        self.put(batch, Vec::new(), false, chunks)?;
        self.group = group;
        Ok(())
    }

    fn put(&mut self, batch: &Batch, mut out: Vec<u8>, is_first: bool, chunks: &Chunks) -> io::Result<()> {
        self.encoder.encode(batch.slices(), &mut out)?;
        let (frames, number) = (batch.frames(), self.number);
        self.left = self.left.saturating_sub(frames.end - frames.start);
        self.next = frames.end;
        let chunk = chunks.encode(&[out.into()], Coding::Chunked);
        self.last = Some(Piece { frames, chunk, alone: None, number, is_first });
        Ok(())
    }
}
