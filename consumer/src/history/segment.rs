//! One read, from the assignment to the segment: whether what came is of the log that the read asks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tailrace_bridge::{HistoryError, HistoryRead, Segment};

use super::cause;
use super::reader::{Lost, PATIENCE, Reader};
use super::stretch::Stretch;
use crate::admin::Admin;
use crate::decode::{Awaited, Decoder, Scratch, Tell};
use crate::error::{HeldBack, Unanswered};
use crate::native::Message;
use crate::registry::Registry;
use crate::truncation::first_after;

/// How long a read waits for a schema that is being asked for. Meanwhile it takes a reader from others.
const MOMENT: Duration = Duration::from_millis(250);
/// Partitions remembered whose reads wait for schemas.
const MAX_HELD: usize = 10_000;

/// By topic and partition, where a read begins and what it waits for.
type Held = HashMap<(Arc<str>, u32), (u64, Awaited)>;

/// The latest epoch that the record below a position of this epoch may have, given the epoch of the first record after it.
///
/// A position after a truncation has the epoch of the leader that told of it. Where another leader came before that one, the first
/// record is of that other leader, and of an earlier epoch than the position; then it begins an epoch.
fn latest_below(epoch: i32, first: Option<i32>) -> i32 {
    first.map_or(epoch, |first| epoch.min(first - 1))
}

/// Makes segments of what readers bring.
pub(super) struct Segments {
    decoder: Arc<Decoder>,
    admin: Arc<Admin>,
    /// The reads that wait for schemas: where they begin, and for what they wait.
    held: Mutex<Held>,
}

impl Segments {
    pub(super) fn new(decoder: Arc<Decoder>, admin: Arc<Admin>) -> Segments {
        Segments { decoder, admin, held: Mutex::default() }
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
        if reader.may_follow(read, latest_below(read.epoch, first))? {
            return Ok(segment);
        }
        if first.is_some_and(|first| first < read.epoch) {
            self.find_epoch(reader, read)?;
            return Ok(segment);
        }
        tracing::warn!(
            offset = read.from,
            epoch = read.epoch,
            "the leader confirmed a position that its log contradicts; it is asked again"
        );
        Err(HistoryError::unanswered(read, Unanswered::Contradiction))
    }

    /// The leader has confirmed a position, and what follows there is of an earlier epoch, which did not begin there. Either the position is
    /// one after a truncation: then the log has its epoch, further on. Or the log has records of the earlier epoch where that of the
    /// position had those of later ones: then the leader confirms it all the same, since the earlier epoch reaches further.
    ///
    /// # Errors
    /// [`HistoryError::Truncated`] in the second case: to where those later epochs began, if that is known; else to where the earlier one
    /// begins, since both logs are the same only as far as that for certain.
    fn find_epoch(&self, reader: &mut Reader, read: &HistoryRead) -> Result<(), HistoryError> {
        let found = reader.end_of_epoch(read, read.epoch)?;
        if found.epoch == read.epoch {
            return Ok(());
        }
        let differs = match first_after(&read.began, found.epoch) {
            Some(began) => began,
            None => reader.end_of_epoch(read, found.epoch - 1)?.offset,
        };
        tracing::warn!(
            offset = read.from,
            epoch = read.epoch,
            found = found.epoch,
            "the log has records of an earlier leader where that of a position had those of later ones"
        );
        Err(cause::of_difference(&self.admin, read, differs))
    }

    /// Whether the log, which the leader says was truncated to `end`, has no record from there up to the read: then no record
    /// was lost. The control record of a transaction may be of a later leader epoch than the records before it.
    fn is_hole(&self, reader: &mut Reader, read: &HistoryRead, end: u64) -> Result<bool, HistoryError> {
        let stretch = HistoryRead { from: end, epoch: -1, until: read.from, max_bytes: 1, ..read.clone() };
        let (segment, first) = self.read_stretch(reader, &stretch)?;
        Ok(first.is_none() && segment.end().offset >= read.from)
    }

    /// Decodes what was taken, and leaves what is not: because its schema is not known, which is waited for for a moment, or because
    /// it is enough.
    fn decode(
        &self,
        read: &HistoryRead,
        taken: &mut Vec<Message>,
        scratch: &mut Scratch,
        stretch: &mut Stretch,
    ) -> Option<Awaited> {
        let until = Instant::now() + MOMENT;
        loop {
            let answers = self.decoder.registry().map_or(0, Registry::answers);
            let done = self.decoder.batch(&read.topic, taken, scratch, Tell::Silently, |records, last| {
                stretch.push(records, last)
            });
            taken.drain(..done.count);
            let awaited = done.held?;
            let left = until.saturating_duration_since(Instant::now());
            let registry = self.decoder.registry().filter(|registry| !registry.has_failed(awaited.schema));
            match registry {
                // Nothing was found yet: else that is read first.
                Some(registry) if !left.is_zero() && stretch.next_decoded() == read.from => {
                    registry.wait(answers, left)
                }
                _ => return Some(awaited),
            }
        }
    }

    /// Remembers what the read waits for, so that the next try does not read before it is there.
    fn hold(&self, read: &HistoryRead, awaited: Awaited) -> HistoryError {
        let mut held = self.held.lock();
        if held.len() < MAX_HELD {
            held.insert((read.topic.clone(), read.partition), (read.from, awaited));
        }
        HistoryError::unanswered(read, HeldBack(self.decoder.why(awaited)))
    }

    /// Refuses a read whose first record still waits for its schema.
    ///
    /// # Errors
    /// It does.
    pub(super) fn check_held(&self, read: &HistoryRead) -> Result<(), HistoryError> {
        let place = (read.topic.clone(), read.partition);
        let held = self.held.lock().get(&place).copied();
        match held {
            Some((from, awaited)) if from == read.from && self.decoder.is_awaited(awaited) => {
                Err(HistoryError::unanswered(read, HeldBack(self.decoder.why(awaited))))
            }
            Some((from, _)) if from == read.from => {
                self.held.lock().remove(&place);
                Ok(())
            }
            _ => Ok(()),
        }
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
                let held = self.decode(read, &mut taken, &mut reader.scratch, &mut stretch);
                if !taken.is_empty() {
                    taken.clear();
                    // What was fetched is gone with it.
                    reader.forget();
                    stretch.cut();
                    return match held {
                        Some(awaited) if stretch.next() == read.from => Err(self.hold(read, awaited)),
                        // What came so far is as good as a shorter read.
                        _ => Ok((stretch.finish(), first)),
                    };
                }
                if stretch.is_full() && !stop {
                    reader.stand_at(read, stretch.next());
                    return Ok((stretch.finish(), first));
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_leader_than_the_position_begins_an_epoch() {
        assert_eq!([None, Some(5), Some(6), Some(9)].map(|first| latest_below(6, first)), [6, 4, 5, 6]);
    }
}
