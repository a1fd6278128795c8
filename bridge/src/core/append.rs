//! How a batch is appended: to the log, then to the views of its tenants, then the head is moved.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::sabotage::{Sabotage, broken, widen};
use crate::core::Inner;
use crate::live::view::View;
use crate::log::partition::Partition;
use crate::log::segment::Segment;
use crate::position::Position;
use crate::position::gap::{Gap, GapCode};
use crate::record::NewRecord;
use crate::record::tenant::TenantId;

impl Inner {
    /// Appends a batch of one partition: `records` in offset order, without those of no tenant, and `end`, the next offset
    /// after the whole batch with the leader epoch of its last record. Records below the head are dropped, unless they lie in a
    /// hole: then the log was truncated to the start of the hole, and views get the gap first.
    ///
    /// The order makes joins exact: log, then views, then the head.
    pub(crate) fn append(&self, partition: &Partition, records: &[NewRecord<'_>], end: Position) {
        let ingest = loop {
            let ingest = partition.ingest.lock();
            let cut = partition.head_and_hole().cut_in_hole(records, end).filter(|_| !ingest.retired);
            let Some(cut) = cut else { break ingest };
            drop(ingest);
            self.jump(partition, GapCode::Truncated, cut);
        };
        let head = partition.head();
        let take_below = broken(Sabotage::TakeBelowHead);
        if ingest.retired || (end.offset <= head.offset && !take_below) {
            return;
        }
        if head.epoch < 0 && end.epoch >= 0 && partition.log_start() < head.offset {
            // Until now a cut below the head would not have been noticed.
            self.note_cut(partition);
        }
        let new = records.partition_point(|record| record.offset < head.offset);
        let records = if take_below { records } else { &records[new..] };
        let segment_size = self.tails.segment_size();
        if broken(Sabotage::HeadBeforeFrames) {
            partition.set_head(end);
            widen(&[Sabotage::HeadBeforeFrames]);
        }
        let begin = |capacity| self.tails.new_segments.begin(capacity);
        records.iter().for_each(|record| self.seen.note(&record.tenant));
        let runs = partition.log.write().append(records, end, segment_size, begin);
        partition.keys.appended(records, end);
        let mut rest = records;
        let mut framed = Vec::new();
        for (segment, run) in &runs {
            let (these, others) = rest.split_at(run.len());
            rest = others;
            self.frame_run(partition, segment, run.start, these, &mut framed);
        }
        widen(&[Sabotage::IdWithoutView, Sabotage::RegisterWithoutWaiting]);
        partition.set_head(end);
        framed.iter().for_each(|view| view.announce());
        // Before the next batch: while a run is held, the next batch has to begin a new segment.
        drop(runs);
        drop(ingest);
        self.tails.evict();
        self.history.give_back();
    }

    /// The partition ends at `to` for now: moves the head over offsets without records.
    pub(crate) fn advance(&self, partition: &Partition, to: u64) {
        let ingest = partition.ingest.lock();
        let head = partition.head();
        if ingest.retired || to <= head.offset {
            return;
        }
        let end = Position { offset: to, ..head };
        partition.log.write().move_end(end);
        partition.keys.move_end(end);
        partition.set_head_in_hole(end);
    }

    /// Reading continues at `to`: retention removed the offsets before it, or the log was truncated to it. Views get the gap.
    pub(crate) fn jump(&self, partition: &Partition, code: GapCode, to: Position) {
        let ingest = partition.ingest.lock();
        if ingest.retired {
            return;
        }
        let gap = Gap::of_partition(code, partition.topic_name(), partition.index(), 0, to.offset);
        let views = self.fan_out.of(partition.topic_key());
        let tell = || views.all().iter().for_each(|view| view.gap(partition, &gap, to));
        match to.offset > partition.head().offset {
            true => {
                self.history.forget(partition);
                rise_over_gap(partition, to, tell);
            }
            false => {
                self.note_cut(partition);
                fall_to_cut(partition, to, tell);
            }
        }
    }

    /// The log was cut, or may have been: all that is known of it below the head is void.
    fn note_cut(&self, partition: &Partition) {
        // Before the cut is counted: a replay that asks after it must not find what was read of the log before.
        self.history.forget(partition);
        partition.keys.reset();
        partition.lineage().note_cut();
    }

    /// Frames one run of appended records into the views of their tenants, and adds the views that have a match to `framed`.
    fn frame_run(
        &self,
        partition: &Partition,
        segment: &Segment,
        first: u32,
        records: &[NewRecord<'_>],
        framed: &mut Vec<Arc<View>>,
    ) {
        let views = self.fan_out.of(partition.topic_key());
        if views.is_empty() {
            return;
        }
        let mut by_tenant: HashMap<&TenantId, Vec<u32>> = HashMap::new();
        for (index, record) in (first..).zip(records) {
            by_tenant.entry(&record.tenant).or_default().push(index);
        }
        for (tenant, indexes) in by_tenant {
            let numbered = indexes.iter().map(|&index| (index, segment.record(index)));
            let concerned = views.concerned(tenant, numbered);
            let mut frame = |view: Arc<View>, indexes: &[u32]| {
                if view.frame(partition, indexes.iter().map(|&index| segment.record(index))) {
                    framed.push(view);
                }
            };
            concerned.all.into_iter().for_each(|view| frame(view, &indexes));
            concerned.some.into_iter().for_each(|(view, some)| frame(view, &some));
        }
    }
}

/// The head rises: retention removed the offsets before `to`. Views get the gap before the head is set, or an id could pass the
/// gap before it is announced.
fn rise_over_gap(partition: &Partition, to: Position, tell: impl FnOnce()) {
    tell();
    partition.log.write().reset(to);
    partition.keys.move_end(to);
    partition.set_head(to);
    partition.set_log_start(to.offset);
}

/// The head falls: the log was truncated to `to`. The head is set before views get the gap, or they could rise to the old head.
fn fall_to_cut(partition: &Partition, to: Position, tell: impl FnOnce()) {
    partition.set_head(to);
    partition.log.write().reset(to);
    // Counted again: what was found out since the first count may be of the log before.
    partition.keys.reset();
    partition.lineage().note_cut();
    tell();
}
