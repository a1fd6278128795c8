//! A context: the encoder of one stretch after the other, and the pieces that streams of its view may still need.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use tokio::time::Duration;

use super::encoder::Encoder;
use super::sum::SharedSum;
use crate::coding::{Compression, ContentCoding};
use crate::moment::Moment;
use crate::writer::batch::Batch;
use crate::writer::chunk::{Chunks, Coding};

/// After this time the next stretch may begin, if somebody waits for it; and a context that was not used for as long is free.
const STRETCH: Duration = Duration::from_secs(1);
/// The most pieces of a stretch.
const PIECES: u64 = 1 << 24;
/// The memory of pieces that are kept, unless the last one alone is larger.
const KEPT: usize = 128 * 1024;

/// Frames of a stretch, compressed.
pub(super) struct Piece {
    /// The numbers of the frames.
    pub(super) frames: Range<u64>,
    /// The frames as they are.
    pub(super) content: Vec<Bytes>,
    /// Of the content, for gzip.
    pub(super) sum: Option<SharedSum>,
    /// A chunk that continues what the client has.
    pub(super) chunk: Bytes,
    /// The same frames for who is outside the stretch, once somebody was.
    pub(super) alone: Option<Bytes>,
    /// Within a stretch, 1 more than that of the piece before; no other piece of the thread has it.
    pub(super) number: u64,
    pub(super) is_first: bool,
}

impl Piece {
    /// What is kept for it; its content is that of the view's pages.
    fn memory(&self) -> usize {
        self.chunk.len() + self.content.iter().map(Bytes::len).sum::<usize>()
    }
}

pub(super) struct Context {
    coding: ContentCoding,
    encoder: Encoder,
    /// Whose stretch it is; zero: nobody's.
    group: u64,
    begun: Moment,
    /// When it was last used.
    used: Moment,
    /// How many frames there are to be before the next stretch.
    left: u64,
    /// Whether streams wait for the next stretch.
    is_awaited: bool,
    /// The number of the frame after the last one.
    next: u64,
    /// That of the last piece.
    number: u64,
    /// The last pieces, of this stretch and those before: each begins where the one before ends.
    pieces: VecDeque<Piece>,
    kept: usize,
}

impl Context {
    /// A context without a stretch.
    pub(super) fn new(coding: ContentCoding, level: u8, now: Moment) -> io::Result<Context> {
        let (begun, used) = (now, now);
        Ok(Context {
            coding,
            encoder: Encoder::new(coding, level)?,
            group: 0,
            begun,
            used,
            left: 0,
            is_awaited: true,
            next: 0,
            number: 0,
            pieces: VecDeque::new(),
            kept: 0,
        })
    }

    /// Whether it belongs to the group.
    pub(super) fn is_of(&self, group: u64) -> bool {
        self.group == group
    }

    /// Whether another group may have it.
    pub(super) fn is_free(&self, now: Moment) -> bool {
        self.used.plus(STRETCH) <= now
    }

    /// Whether the next piece begins a stretch.
    fn begins(&self, now: Moment) -> bool {
        let is_over = self.left == 0 || self.begun.plus(STRETCH) <= now;
        (is_over && self.is_awaited) || self.number % PIECES == PIECES - 1
    }

    /// A stream is outside of the stretch.
    pub(super) fn await_next(&mut self) {
        self.is_awaited = true;
    }

    /// Sees to it that the pieces reach to the end of the batch. `stretches` counts those that have begun.
    pub(super) fn reach(
        &mut self,
        (group, batch): (u64, &Batch),
        compression: &Compression,
        stretches: &mut u64,
        now: Moment,
        chunks: &Chunks,
    ) -> io::Result<()> {
        let frames = batch.frames();
        if !self.is_of(group) || frames.start > self.next {
            self.forget();
            (self.left, self.is_awaited, self.next) = (0, true, frames.start);
        }
        self.used = now;
        if frames.end <= self.next {
            return Ok(());
        }
        // Without a group until there is a piece: after an error there is none.
        self.group = 0;
        let (mut out, is_first) = (Vec::new(), self.begins(now));
        if is_first {
            self.encoder.begin(&mut out)?;
            *stretches += 1;
            (self.begun, self.left, self.is_awaited) = (now, compression.stretch, false);
            self.number = *stretches * PIECES;
        } else {
            self.number += 1;
        }
        let content = batch.from(self.next);
        self.encoder.encode(&content, &mut out)?;
        let frames = self.next..frames.end;
        self.left = self.left.saturating_sub(frames.end - frames.start);
        self.next = frames.end;
        let chunk = chunks.encode(&[out.into()], Coding::Chunked);
        let sum = (self.coding == ContentCoding::Gzip).then(|| SharedSum::of(&content));
        let (number, alone) = (self.number, None);
        let piece = Piece { frames, content, sum, chunk, alone, number, is_first };
        self.kept += piece.memory();
        self.pieces.push_back(piece);
        while self.kept > KEPT && self.pieces.len() > 1 {
            self.kept -= self.pieces.pop_front().map_or(0, |piece| piece.memory());
        }
        self.group = group;
        Ok(())
    }

    /// The pieces from the one on that begins with this frame; none: there is no such piece.
    pub(super) fn from(&mut self, frame: u64) -> impl Iterator<Item = &mut Piece> {
        let at = self.pieces.partition_point(|piece| piece.frames.start < frame);
        let begins = self.pieces.get(at).is_some_and(|piece| piece.frames.start == frame);
        self.pieces.range_mut(if begins { at.. } else { self.pieces.len().. })
    }

    /// Drops the pieces: whoever had not got them will have them stored.
    pub(super) fn forget(&mut self) {
        (self.pieces, self.kept) = (VecDeque::new(), 0);
    }
}
