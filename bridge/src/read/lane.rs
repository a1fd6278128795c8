//! One partition of a replay, within one chunk: the matches between its position and the target, and how far it was scanned.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::metrics;
use crate::history::window::Window;
use crate::live::view_key::Told;
use crate::log::packed::Packed;
use crate::log::partition::Partition;
use crate::log::segment::Segment;
use crate::position::Position;
use crate::read::replay::Context;
use crate::read::work;
use crate::record::RecordRef;

/// Records that one partition contributes to a chunk at most: a chunk is made without yielding.
pub(crate) const LANE_RECORDS: usize = 256;

/// Offsets without a record to deliver that are worth passing over without reading them: about as many as one read of history.
/// Fewer are read, since then all readers read from the same offsets on, and share the reads.
const LEAP: u64 = 1024;

/// A partition between its position and the target.
pub(crate) struct Lane {
    pub(crate) part: usize,
    pub(crate) index: usize,
    pub(crate) partition: Arc<Partition>,
    /// How often its log had been truncated when the position was confirmed.
    pub(crate) cuts: u32,
    pub(crate) found: VecDeque<Match>,
    /// All records below this position were scanned.
    pub(crate) scanned: Position,
    pub(crate) to: Position,
    /// Whether an index of the topic's keys is kept.
    pub(crate) is_indexed: bool,
    /// If only the newest record of each key is delivered: which these are, and whether the client had nothing before.
    kept: Option<(Arc<Window>, bool)>,
    /// Its records are not available yet, and the merge does not wait for them.
    pub(crate) must_wait: bool,
    /// The packed segment to be opened next, and whether it is the tail's.
    pub(crate) packed: Option<(Arc<Packed>, bool)>,
    /// Bytes of the segment that it scans, unless that segment is open in the tail anyway.
    pub(crate) open: usize,
    /// Bytes of records that were examined for this chunk, and that may still be.
    pub(crate) examined: usize,
    pub(crate) effort: usize,
}

pub(crate) struct Match {
    pub(crate) segment: Arc<Segment>,
    pub(crate) index: u32,
    pub(crate) told: Told,
    pub(crate) timestamp: i64,
}

impl Lane {
    pub(crate) fn new(
        part: usize,
        index: usize,
        partition: Arc<Partition>,
        cuts: u32,
        from: Position,
        to: Position,
    ) -> Lane {
        Lane {
            part,
            index,
            partition,
            cuts,
            found: VecDeque::new(),
            scanned: from,
            to,
            is_indexed: false,
            kept: None,
            must_wait: false,
            packed: None,
            open: 0,
            examined: 0,
            effort: work::CALL,
        }
    }

    /// Whether the log was truncated since the position was confirmed: records found now may not follow that position.
    pub(crate) fn was_cut(&self) -> bool {
        self.partition.lineage().cuts() != self.cuts
    }

    /// Only the newest records of their keys are delivered, as far as the window says which these are. `from_nothing`: the client
    /// had nothing before, so that it is not told of keys that have ended.
    pub(crate) fn keep(&mut self, window: Arc<Window>, from_nothing: bool) {
        self.kept = Some((window, from_nothing));
    }

    /// Where this chunk ends at the latest: at the target, or where it is not known yet which records are the newest.
    pub(crate) fn until(&self) -> Position {
        match &self.kept {
            Some((window, _)) if window.to().offset < self.to.offset => window.to(),
            _ => self.to,
        }
    }

    /// The next offset to read. The offsets before it need not be read.
    pub(crate) fn at(&self) -> u64 {
        let at = self.scanned.offset;
        let Some((window, _)) = &self.kept else { return at };
        match window.next_from(at) {
            // The last one is read in any case: it says which epoch the position behind it has.
            next if next >= at + LEAP => next.min(self.until().offset - 1),
            _ => at,
        }
    }

    /// What the client is told of a record.
    fn told_of(&self, context: &Context<'_>, record: &RecordRef<'_>) -> Option<Told> {
        let told = context.key.told_of(record)?;
        let ends = told == Told::Left || (record.key.is_some() && record.value.is_none());
        match &self.kept {
            Some((_, true)) if ends => None,
            _ => Some(told),
        }
    }

    /// Collects the matches of one segment, up to the target and to the limits of one chunk. One record at least is examined.
    pub(crate) fn scan(
        &mut self,
        context: &Context<'_>,
        segment: &Arc<Segment>,
        max_bytes: usize,
        bytes: &mut usize,
    ) {
        let (mut read, mut examined, before) = (0, 0, self.scanned);
        let (effort, until) = (context.filter.effort(), self.until());
        for &index in segment.of_tenant(context.tenant, self.scanned.offset) {
            let record = segment.record(index);
            if record.offset >= until.offset {
                break;
            }
            read += 1;
            if self.kept.as_ref().is_none_or(|(window, _)| window.has(&record)) {
                examined += work::of_record(&record, effort);
                if let Some(told) = self.told_of(context, &record) {
                    *bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                    let (segment, timestamp) = (segment.clone(), record.timestamp);
                    self.found.push_back(Match { segment, index, told, timestamp });
                }
            } else {
                examined += work::SKIPPED;
            }
            if self.found.len() >= LANE_RECORDS || *bytes >= max_bytes || examined >= self.effort {
                self.scanned = Position { offset: record.offset + 1, epoch: record.epoch };
                return self.note_examined(read, examined);
            }
        }
        self.note_examined(read, examined);
        let end = segment.end();
        let reached = if end.offset >= until.offset {
            // Right after a truncation the target's epoch may be later than the segment's; the later one is of the current log.
            Position { epoch: until.epoch.max(segment.epoch_below(until.offset)), ..until }
        } else {
            end
        };
        // Offsets without records have no epoch: that of the last record before them stays, unless others were passed over unread,
        // which may be of later leaders.
        let was_read = segment.base() <= before.offset;
        let epoch = if reached.epoch < 0 && was_read { before.epoch } else { reached.epoch };
        self.scanned = Position { epoch, ..reached };
    }

    fn note_examined(&mut self, records: u64, bytes: usize) {
        metrics::count_replay_records(records);
        self.examined += bytes;
        self.effort = self.effort.saturating_sub(bytes);
    }

    /// Whether there may be further matches.
    pub(crate) fn is_open(&self) -> bool {
        self.scanned.offset < self.to.offset
    }
}
