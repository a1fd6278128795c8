//! One read, from the assignment to the segment: whether what came is of the log that the read asks for.

use std::sync::Arc;
use std::time::Instant;

use tailrace_bridge::{HistoryError, HistoryRead, Segment};

use super::cause;
use super::reader::{Lost, PATIENCE, Reader};
use super::stretch::Stretch;
use crate::admin::Admin;
use crate::decode::{Decoder, Tell};
use crate::error::Unanswered;

/// Makes segments of what readers bring.
pub(super) struct Segments {
    decoder: Arc<Decoder>,
    admin: Arc<Admin>,
}

impl Segments {
    pub(super) fn new(decoder: Arc<Decoder>, admin: Arc<Admin>) -> Segments {
        Segments { decoder, admin }
    }

    pub(super) fn read(&self, reader: &mut Reader, read: &HistoryRead) -> Result<Segment, HistoryError> {
        let stretch = self.read_stretch(reader, read);
        if let Err(HistoryError::Truncated { end, .. }) = &stretch
            && self.is_hole(reader, read, *end)?
        {
            let (segment, _) = self.read_stretch(reader, &HistoryRead { epoch: -1, ..read.clone() })?;
            return Ok(segment);
        }
        let (segment, first) = stretch?;
        // A first record of the same epoch was written by the same leader, after the position that is confirmed.
        if read.epoch < 0 || read.from == 0 || first == Some(read.epoch) {
            return Ok(segment);
        }
        if first.is_none_or(|first| first > read.epoch) && reader.may_follow(read)? {
            return Ok(segment);
        }
        tracing::warn!(
            offset = read.from,
            epoch = read.epoch,
            "the leader confirmed a position that its log contradicts; it is asked again"
        );
        Err(HistoryError::unanswered(read, Unanswered::Contradiction))
    }

    /// Whether the log, which the leader says was truncated to `end`, has no record from there up to the read: then no record
    /// was lost. The control record of a transaction may be of a later leader epoch than the records before it.
    fn is_hole(&self, reader: &mut Reader, read: &HistoryRead, end: u64) -> Result<bool, HistoryError> {
        let stretch = HistoryRead { from: end, epoch: -1, until: read.from, max_bytes: 1, ..read.clone() };
        let (segment, first) = self.read_stretch(reader, &stretch)?;
        Ok(first.is_none() && segment.end().offset >= read.from)
    }

    /// The stretch, and the leader epoch of its first record, whatever tenant that is of.
    fn read_stretch(
        &self,
        reader: &mut Reader,
        read: &HistoryRead,
    ) -> Result<(Segment, Option<i32>), HistoryError> {
        let mut first = None;
        if !reader.stands_at(read) {
            reader.assign(read).map_err(|error| HistoryError::unanswered(read, error))?;
        }
        let (mut stretch, mut taken) = (Stretch::new(read), Vec::new());
        let mut last_news = Instant::now();
        loop {
            let stop = stretch.take(reader, read, &mut taken).map_err(|lost| match lost {
                Lost::OutOfRange(error) => cause::of_loss(&self.admin, read, &error),
                Lost::Error(error) => error,
            })?;
            if let Some(message) = taken.first() {
                first = first.or(Some(message.leader_epoch()));
                last_news = Instant::now();
                self.decoder.batch(&read.topic, &mut taken, &mut reader.scratch, Tell::Silently, |records| {
                    stretch.push(records);
                });
                taken.clear();
            }
            if stop {
                return Ok((stretch.finish(), first));
            }
            if last_news.elapsed() >= PATIENCE {
                // What came so far is as good as a shorter read.
                if stretch.next() > read.from {
                    reader.stand_at(read, stretch.next());
                    return Ok((stretch.finish(), first));
                }
                return Err(cause::of_silence(&self.admin, reader, read));
            }
            reader.poll();
        }
    }
}
