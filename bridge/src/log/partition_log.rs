//! The in-memory copy of a range of one partition, in segments: Kafka is the disk, this is the page cache.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::log::lineage::Epochs;
use crate::log::memory::{Account, Charge};
use crate::log::packed::{Held, Packed};
use crate::log::segment::{Buffers, Capacity, Segment};
use crate::position::Position;
use crate::record::NewRecord;

/// Segments with rising, adjoining offsets. The last one is appended to while no reader holds it.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    /// Segments older than `segments`, packed if that was worthwhile.
    older: VecDeque<Older>,
    segments: VecDeque<Stored>,
    end: Position,
    epochs: Epochs,
    /// The account that its segments are charged to.
    account: Account,
}

#[derive(Debug)]
struct Stored {
    segment: Arc<Segment>,
    charge: Charge,
    /// Its number in the order of all partitions' segments: the lowest is evicted first.
    born: u64,
}

#[derive(Debug)]
struct Older {
    held: Held,
    _charge: Charge,
    born: u64,
}

/// What memory has at an offset.
#[derive(Debug)]
pub(crate) enum Found {
    /// The segment that covers the offset.
    Held(Held),
    /// The offset is below what memory holds: history has it.
    Before,
    /// Nothing was appended there yet.
    AtEnd,
}

/// A run of records that one append added to a segment: the segment and the records' indexes in it.
pub(crate) type Run = (Arc<Segment>, Range<u32>);

impl PartitionLog {
    pub(crate) fn new(start: Position, account: Account) -> PartitionLog {
        PartitionLog {
            older: VecDeque::new(),
            segments: VecDeque::new(),
            end: start,
            epochs: Epochs::default(),
            account,
        }
    }

    /// The next offset after everything appended.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// The lowest offset in memory; the end if memory is empty.
    pub(crate) fn oldest(&self) -> u64 {
        let older = self.older.front().map(|older| older.held.base());
        older.or_else(|| Some(self.segments.front()?.segment.base())).unwrap_or(self.end.offset)
    }

    /// Appends records in offset order, then moves the end to `end`. Returns the runs that were added. `begin` is called for
    /// each new segment: it returns the segment's number in the order of all, and buffers, reused ones if some have that
    /// capacity.
    pub(crate) fn append(
        &mut self,
        records: &[NewRecord<'_>],
        end: Position,
        segment_size: usize,
        mut begin: impl FnMut(Capacity) -> (u64, Buffers),
    ) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut rest = records;
        while !rest.is_empty() {
            let (taken, run) = self.append_to_one(rest, segment_size, &mut begin);
            rest = &rest[taken..];
            runs.push(run);
        }
        self.move_end(end);
        runs
    }

    /// Fills the last segment, or a new one, with as many records as fit (at least one).
    fn append_to_one(
        &mut self,
        records: &[NewRecord<'_>],
        segment_size: usize,
        begin: &mut impl FnMut(Capacity) -> (u64, Buffers),
    ) -> (usize, Run) {
        self.open_segment(segment_size, begin);
        for record in records {
            self.epochs.note(record.offset, record.epoch);
        }
        let stored = self.segments.back_mut().expect("a segment was just opened");
        let segment = Arc::get_mut(&mut stored.segment).expect("an open segment is not shared");
        let first = segment.len() as u32;
        let mut taken = 0;
        for record in records {
            if taken > 0 && segment.used() >= segment_size {
                break;
            }
            segment.push(record);
            taken += 1;
        }
        stored.charge.set(segment.size());
        self.end = segment.end();
        let run = first..first + taken as u32;
        (taken, (stored.segment.clone(), run))
    }

    /// Makes the last segment writable: if it is full, or a reader holds it, a new segment is begun. After a full segment, the
    /// new one gets as much memory at once, since it will be filled too.
    fn open_segment(&mut self, segment_size: usize, begin: &mut impl FnMut(Capacity) -> (u64, Buffers)) {
        let mut capacity = Capacity::default();
        if let Some(stored) = self.segments.back_mut() {
            let is_full = stored.segment.used() >= segment_size;
            if is_full {
                capacity = stored.segment.filled();
            }
            match Arc::get_mut(&mut stored.segment) {
                Some(_) if !is_full => return,
                Some(segment) => {
                    segment.seal();
                    stored.charge.set(segment.size());
                }
                None => {}
            }
        }
        let (born, buffers) = begin(capacity);
        self.store(Segment::with_capacity(self.end, capacity, buffers), born);
    }

    /// Adds a segment. It is charged later, for the records that are appended to it.
    fn store(&mut self, segment: Segment, born: u64) {
        let charge = self.account.charge(0);
        self.segments.push_back(Stored { segment: Arc::new(segment), charge, born });
    }

    /// Moves the end over offsets without a record of a tenant.
    pub(crate) fn move_end(&mut self, end: Position) {
        if end.offset < self.end.offset {
            return;
        }
        if end.offset > 0 {
            self.epochs.note(end.offset - 1, end.epoch);
        }
        if let Some(stored) = self.segments.back_mut() {
            match Arc::get_mut(&mut stored.segment) {
                Some(segment) => segment.close(end),
                None => {
                    // A reader holds it: the offsets without records get a segment of their own.
                    let born = stored.born;
                    let mut segment = Segment::new(self.end);
                    segment.close(end);
                    if end.offset > self.end.offset {
                        self.store(segment, born);
                    }
                }
            }
        }
        self.end = end;
    }

    /// Whether it holds the record below the position. After a cut, a position may have the epoch of the record that follows.
    pub(crate) fn confirms(&self, position: Position) -> bool {
        let Position { offset, epoch } = position;
        let known = epoch < 0
            || self.epochs.below(offset) == Some(epoch)
            || self.epochs.starting_at(offset) == Some(epoch);
        offset <= self.end.offset && known
    }

    pub(crate) fn find(&self, offset: u64) -> Found {
        if offset >= self.end.offset {
            return Found::AtEnd;
        }
        if offset < self.oldest() {
            return Found::Before;
        }
        let after = self.segments.partition_point(|stored| stored.segment.base() <= offset);
        Found::Held(match after.checked_sub(1) {
            Some(at) => Held::Open(self.segments[at].segment.clone()),
            None => {
                let after = self.older.partition_point(|older| older.held.base() <= offset);
                self.older[after - 1].held.clone()
            }
        })
    }

    /// All segments, newest first.
    pub(crate) fn newest_first(&self) -> Vec<Held> {
        let open = self.segments.iter().rev().map(|stored| Held::Open(stored.segment.clone()));
        open.chain(self.older.iter().rev().map(|older| older.held.clone())).collect()
    }

    /// The number of the oldest segment in the order of all segments.
    pub(crate) fn front_born(&self) -> Option<u64> {
        let older = self.older.front().map(|older| older.born);
        older.or_else(|| Some(self.segments.front()?.born))
    }

    /// Drops the oldest segment, and returns it so that its buffers can be reused.
    pub(crate) fn evict_front(&mut self) -> Option<Held> {
        let older = self.older.pop_front().map(|older| older.held);
        older.or_else(|| Some(Held::Open(self.segments.pop_front()?.segment)))
    }

    /// The oldest segment that was not tried for packing yet, with its number. The last one is left out: it is still written.
    pub(crate) fn oldest_open(&self) -> Option<(u64, Arc<Segment>)> {
        let stored = self.segments.front().filter(|_| self.segments.len() > 1)?;
        Some((stored.born, stored.segment.clone()))
    }

    /// Replaces the oldest open segment by its packed form (`None`: it stays open), unless it was evicted meanwhile.
    pub(crate) fn pack(&mut self, segment: &Arc<Segment>, packed: Option<Arc<Packed>>) {
        if !self.segments.front().is_some_and(|stored| Arc::ptr_eq(&stored.segment, segment)) {
            return;
        }
        let Some(Stored { segment, mut charge, born }) = self.segments.pop_front() else { return };
        let held = match packed {
            Some(packed) => {
                charge.set(packed.size());
                Held::Packed(packed)
            }
            None => Held::Open(segment),
        };
        self.older.push_back(Older { held, _charge: charge, born });
    }

    pub(crate) fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Drops all segments: the next offset is `start`. Epoch starts below it are kept.
    pub(crate) fn reset(&mut self, start: Position) {
        self.older.clear();
        self.segments.clear();
        self.epochs.cut_to(start.offset);
        self.end = start;
    }

    /// The timestamps of the oldest and the newest record in memory, in milliseconds.
    pub(crate) fn time_span(&self) -> Option<(i64, i64)> {
        let older = || self.older.iter().filter_map(|older| older.held.time_span());
        let open = || self.segments.iter().filter_map(|stored| stored.segment.time_span());
        let oldest = older().chain(open()).next()?.0;
        let newest = open().next_back().or_else(|| older().next_back())?.1;
        Some((oldest, newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::new_segments::NewSegments;
    use crate::record::Headers;
    use crate::record::tenant::TenantId;

    const SEGMENT: usize = 16 * 1024;

    fn append(log: &mut PartitionLog, new: &NewSegments, records: u64) {
        let tenant = TenantId::new("acme").unwrap();
        for _ in 0..records {
            let offset = log.end().offset;
            let record = NewRecord {
                offset,
                epoch: 1,
                timestamp: offset as i64,
                key: None,
                value: Some(&[b'x'; 200]),
                headers: Headers::default(),
                tenant: tenant.clone(),
                event_type: None,
                form: crate::record::form::Form::default(),
            };
            let end = Position { offset: offset + 1, epoch: 1 };
            log.append(&[record], end, SEGMENT, |capacity| new.begin(capacity));
        }
    }

    fn begun() -> (PartitionLog, NewSegments) {
        (PartitionLog::new(Position { offset: 0, epoch: -1 }, Account::default()), NewSegments::default())
    }

    fn evict(log: &mut PartitionLog) -> Arc<Segment> {
        match log.evict_front() {
            Some(Held::Open(segment)) => segment,
            other => panic!("{other:?} is not an open segment"),
        }
    }

    fn memory(log: &PartitionLog) -> usize {
        log.segments.iter().map(|stored| stored.segment.size()).sum()
    }

    #[test]
    fn a_segment_after_a_full_one_lies_in_the_memory_of_the_evicted_one() {
        let (mut log, new) = begun();
        append(&mut log, &new, 1000);
        let used = log.account.used();
        let evicted = evict(&mut log);
        let (records, at) = (evicted.len(), evicted.record(0).value.unwrap().as_ptr());
        assert_eq!(used - log.account.used(), evicted.size());
        new.recycle(evicted);
        let segments = log.segments.len();
        while log.segments.len() == segments {
            append(&mut log, &new, 1);
        }
        let newest = &log.segments.back().unwrap().segment;
        assert_eq!(newest.record(0).value.unwrap().as_ptr(), at);
        append(&mut log, &new, records as u64 - 1);
        let newest = &log.segments.back().unwrap().segment;
        assert_eq!((newest.len(), newest.record(0).value.unwrap().as_ptr()), (records, at));
        assert_eq!(newest.record(records as u32 - 1).value, Some(&[b'x'; 200][..]));
    }

    #[test]
    fn memory_that_is_not_used_yet_is_charged_too() {
        let (mut log, new) = begun();
        for _ in 0..300 {
            append(&mut log, &new, 1);
            assert_eq!(log.account.used(), memory(&log));
        }
    }

    #[test]
    fn memory_that_a_reader_holds_is_not_written_again() {
        let (mut log, new) = begun();
        append(&mut log, &new, 200);
        let held = evict(&mut log);
        new.recycle(held.clone());
        append(&mut log, &new, 200);
        let offsets: Vec<u64> = (0..held.len() as u32).map(|index| held.record(index).offset).collect();
        assert_eq!(offsets, (0..held.len() as u64).collect::<Vec<_>>());
    }
}
