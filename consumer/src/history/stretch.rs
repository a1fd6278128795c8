//! The records of one read, as they come from a reader's queue.

use tailrace_bridge::{HistoryRead, NewRecord, Position, Segment, SegmentBuilder};

use super::reader::{Lost, Reader, Seen, seen};
use crate::native::Message;

/// What a record counts beside its bytes, for the bound of a read.
const RECORD_OVERHEAD: usize = 64;
/// A read ends once it has taken so much memory, if that is more than four times what it may read, in bytes.
const MAX_DECODED: usize = 8 << 20;

/// A read in progress.
pub(super) struct Stretch {
    builder: SegmentBuilder,
    /// The offset after what was taken so far, and the leader epoch of the last record before it.
    end: Position,
    /// The same of what was decoded of it.
    decoded: Position,
    bytes: usize,
    max_bytes: usize,
}

impl Stretch {
    pub(super) fn new(read: &HistoryRead) -> Stretch {
        let end = Position { offset: read.from, epoch: -1 };
        let builder = SegmentBuilder::new(read.from);
        Stretch { builder, end, decoded: end, bytes: 0, max_bytes: read.max_bytes }
    }

    /// Takes what the reader holds, and appends its records to `taken`. True: the stretch is read.
    pub(super) fn take(
        &mut self,
        reader: &mut Reader,
        read: &HistoryRead,
        taken: &mut Vec<Message>,
    ) -> Result<bool, Lost> {
        while let Some(message) = reader.next() {
            match seen(&message, read) {
                Seen::Record if message.offset() < self.end.offset => {}
                Seen::Record if message.offset() >= read.until => {
                    // What lies in between is a hole, which the segment covers.
                    self.move_end(message.offset());
                    // No read goes on here: memory has what follows.
                    reader.forget();
                    return Ok(true);
                }
                Seen::Record => {
                    self.bytes += RECORD_OVERHEAD + message.value().map_or(0, <[u8]>::len);
                    self.end = Position { offset: message.offset() + 1, epoch: message.leader_epoch() };
                    taken.push(message);
                    if self.end.offset >= read.until {
                        reader.forget();
                        return Ok(true);
                    }
                    if self.bytes >= read.max_bytes {
                        reader.stand_at(read, self.end.offset);
                        return Ok(true);
                    }
                }
                Seen::End => {
                    self.move_end(message.offset());
                    // librdkafka reports an end only once, so the next read needs a new assignment; and there is nothing to fetch.
                    reader.forget();
                    return Ok(true);
                }
                Seen::Lost(lost) => return Err(lost),
                Seen::Other => {}
            }
        }
        Ok(false)
    }

    fn move_end(&mut self, offset: u64) {
        if offset > self.end.offset {
            self.end = Position { offset, epoch: -1 };
        }
    }

    /// Adds what was decoded of the records that were taken, up to `last`. False: that is enough for one read. Decoded, a few bytes
    /// can be very many.
    pub(super) fn push(&mut self, records: &[NewRecord<'_>], last: &Message) -> bool {
        records.iter().for_each(|record| self.builder.push(record));
        self.decoded = Position { offset: last.offset() + 1, epoch: last.leader_epoch() };
        !self.is_full()
    }

    /// Whether that is enough for one read.
    pub(super) fn is_full(&self) -> bool {
        self.builder.bytes() >= MAX_DECODED.max(4usize.saturating_mul(self.max_bytes))
    }

    /// The offset after what was decoded so far.
    pub(super) fn next_decoded(&self) -> u64 {
        self.decoded.offset
    }

    /// Ends before the first record that was taken and not decoded.
    pub(super) fn cut(&mut self) {
        self.end = self.decoded;
    }

    /// The offset that the next record comes at or after.
    pub(super) fn next(&self) -> u64 {
        self.end.offset
    }

    pub(super) fn finish(self) -> Segment {
        self.builder.finish(self.end)
    }
}
