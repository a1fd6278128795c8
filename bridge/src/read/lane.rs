//! One partition of a replay, within one chunk: the matches between its position and the target, and how far it was scanned.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::metrics;
use crate::log::packed::Packed;
use crate::log::partition::Partition;
use crate::log::segment::Segment;
use crate::position::Position;
use crate::read::replay::Context;
use crate::read::work;

/// Records that one partition contributes to a chunk at most: a chunk is made without yielding.
pub(crate) const LANE_RECORDS: usize = 256;

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

    /// Collects the matches of one segment, up to the target and to the limits of one chunk. One record at least is examined.
    pub(crate) fn scan(
        &mut self,
        context: &Context<'_>,
        segment: &Arc<Segment>,
        max_bytes: usize,
        bytes: &mut usize,
    ) {
        let (mut read, mut examined, before) = (0, 0, self.scanned);
        let effort = context.filter.effort();
        for &index in segment.of_tenant(context.tenant, self.scanned.offset) {
            let record = segment.record(index);
            if record.offset >= self.to.offset {
                break;
            }
            read += 1;
            examined += work::of_record(&record, effort);
            if context.filter.matches(&record) {
                *bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                self.found.push_back(Match { segment: segment.clone(), index, timestamp: record.timestamp });
            }
            if self.found.len() >= LANE_RECORDS || *bytes >= max_bytes || examined >= self.effort {
                self.scanned = Position { offset: record.offset + 1, epoch: record.epoch };
                return self.note_examined(read, examined);
            }
        }
        self.note_examined(read, examined);
        let end = segment.end();
        let reached = if end.offset >= self.to.offset {
            // Right after a truncation the target's epoch may be later than the segment's; the later one is of the current log.
            Position { epoch: self.to.epoch.max(segment.epoch_below(self.to.offset)), ..self.to }
        } else {
            end
        };
        // Offsets without records have no epoch: that of the last record before them stays.
        let epoch = if reached.epoch >= 0 { reached.epoch } else { before.epoch };
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
