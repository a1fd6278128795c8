//! The offsets at which a stream starts: the first record, a time, or the last N matching records.

use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use crate::base::meter::Meter;
use crate::base::metrics;
use crate::history::History;
use crate::history::job::Asker;
use crate::history::source::{HistoryError, OffsetsAt};
use crate::log::partition::Partition;
use crate::log::partition_log::Found;
use crate::log::segment::Segment;
use crate::log::topic::Topic;
use crate::log::topic::Topics;
use crate::position::{Part, Position, Vector};
use crate::read::work::{self, Searching};
use crate::record::filter::Filter;
use crate::record::tenant::TenantId;

/// How many offsets before those in memory are searched for `from=-N`, per partition.
pub(crate) const LAST_HISTORY: u64 = 10_000;

/// For each topic name, an offset for each of its partitions.
pub(crate) type Offsets = HashMap<Arc<str>, Vec<u64>>;

/// The first offset of each partition with at least this timestamp: from memory if memory reaches back that far.
pub(crate) async fn offsets_since(
    history: &History,
    topic: &Topic,
    partitions: &[Arc<Partition>],
    millis: i64,
) -> Result<Vec<u64>, HistoryError> {
    let in_memory: Option<Vec<u64>> =
        partitions.iter().map(|partition| offset_in_memory(history, partition, millis)).collect();
    match in_memory {
        Some(offsets) => Ok(offsets),
        None => history.source().offsets_at(topic.name(), OffsetsAt::Time(millis)).await,
    }
}

fn offset_in_memory(history: &History, partition: &Partition, millis: i64) -> Option<u64> {
    let log = partition.log.read();
    let (oldest, _) = log.time_span().unwrap_or((i64::MAX, i64::MAX));
    if oldest > millis && log.oldest() > partition.log_start() {
        return None;
    }
    let (segments, end) = (log.newest_first(), log.end().offset);
    drop(log);
    let Some(held) = segments.iter().rev().find(|held| held.newest() >= millis) else { return Some(end) };
    history.opened_anyway(partition, held)?.first_since(millis)
}

/// A vector with these offsets.
pub(crate) fn at_offsets(topics: &Topics, offsets: &Offsets) -> Vector {
    let part = |(topic, partitions): &(Arc<Topic>, Vec<Arc<Partition>>)| {
        let given = offsets.get(topic.name());
        let position = |partition: &Arc<Partition>| {
            let offset = given.and_then(|offsets| offsets.get(partition.index() as usize)).copied();
            Position { offset: offset.unwrap_or_else(|| partition.log_start()), epoch: -1 }
        };
        Part { fingerprint: topic.fingerprint(), positions: partitions.iter().map(position).collect() }
    };
    Vector { parts: topics.iter().map(part).collect() }
}

/// The offsets of all topics for `at`.
pub(crate) async fn lookup(
    history: &History,
    topics: &Topics,
    at: OffsetsAt,
) -> Result<Offsets, HistoryError> {
    let mut all = Offsets::new();
    for (topic, partitions) in topics {
        let offsets = match at {
            OffsetsAt::Time(millis) => offsets_since(history, topic, partitions, millis).await?,
            _ => history.source().offsets_at(topic.name(), at).await?,
        };
        all.insert(topic.name().clone(), offsets);
    }
    Ok(all)
}

/// The search for the last `count` matching records.
pub(crate) struct LastRecords<'a> {
    pub(crate) history: &'a Arc<History>,
    pub(crate) tenant: &'a TenantId,
    pub(crate) meter: Option<&'a Arc<Meter>>,
    pub(crate) filter: &'a Filter,
    pub(crate) count: usize,
}

/// Matches of one partition, newest last: timestamp and offset.
type Matches = Vec<(i64, u64)>;

impl LastRecords<'_> {
    /// The vector from which a replay emits the last `count` matching records before `end`. It searches memory, and, if that
    /// has too few, the [`LAST_HISTORY`] offsets before it.
    pub(crate) async fn find(&self, topics: &Topics, end: &Vector) -> Vector {
        let mut vector = end.clone();
        let mut lanes = Vec::new();
        for (topic, partitions) in topics {
            let Some(part) = end.part_of(topic.fingerprint()) else { continue };
            for partition in partitions {
                let until = end.parts[part].positions[partition.index() as usize].offset;
                lanes.push((part, partition.clone(), self.in_memory(partition, until).await));
            }
        }
        if lanes.iter().map(|(_, _, matches)| matches.len()).sum::<usize>() < self.count {
            for (_, partition, matches) in &mut lanes {
                let mut older = self.in_history(partition).await;
                older.append(matches);
                *matches = older;
            }
        }
        for _ in 0..self.count {
            let newest = lanes.iter_mut().filter(|(_, _, matches)| !matches.is_empty());
            let Some((part, partition, matches)) =
                newest.max_by_key(|(_, _, matches)| matches.last().map(|found| found.0))
            else {
                break;
            };
            let Some((_, offset)) = matches.pop() else { break };
            vector.parts[*part].positions[partition.index() as usize] = Position { offset, epoch: -1 };
        }
        vector
    }

    async fn in_memory(&self, partition: &Partition, until: u64) -> Matches {
        let segments = partition.log.read().newest_first();
        let mut newest: Matches = Vec::new();
        for held in segments {
            if newest.len() == self.count {
                break;
            }
            let Some(segment) = self.history.opened_anyway(partition, &held) else { continue };
            for &(timestamp, offset) in self.of_segment(&segment, 0, until).await.iter().rev() {
                if newest.len() == self.count {
                    break;
                }
                newest.push((timestamp, offset));
            }
        }
        newest.reverse();
        newest
    }

    /// The matches of one segment. Others get their turn after every few records, and a request that is given up ends here.
    async fn of_segment(&self, segment: &Segment, from: u64, until: u64) -> Matches {
        let (mut matches, mut searching) = (Matches::new(), Searching::of(self.meter));
        let (effort, mut indices) = (self.filter.effort(), segment.of_tenant(self.tenant, from).iter());
        loop {
            self.await_turn(&mut searching).await;
            let (mut examined, before) = (0, indices.len());
            while examined < work::CALL
                && let Some(&index) = indices.next()
            {
                let record = segment.record(index);
                examined += work::of_record(&record, effort);
                if record.offset < until && self.filter.matches(&record) {
                    matches.push((record.timestamp, record.offset));
                }
            }
            metrics::count_replay_records((before - indices.len()) as u64);
            searching.examined(examined, self.history.clock().now());
            if indices.len() == 0 {
                return matches;
            }
        }
    }

    /// Waits until the rate of the tenant allows more, or yields.
    async fn await_turn(&self, searching: &mut Searching<'_>) {
        match searching.wait(self.history.clock().now()) {
            Some(turn) => self.history.clock().sleep_until(turn).await,
            None => tokio::task::yield_now().await,
        }
    }

    /// Searches a limited number of offsets before memory. What Kafka cannot deliver now is left out (best effort).
    async fn in_history(&self, partition: &Arc<Partition>) -> Matches {
        let oldest = partition.oldest();
        let mut at = oldest.saturating_sub(LAST_HISTORY).max(partition.log_start());
        let mut matches = BinaryHeap::new();
        while at < oldest {
            let Some(segment) = self.segment_at(partition, at, oldest).await else { break };
            for (timestamp, offset) in self.of_segment(&segment, at, oldest).await {
                matches.push(std::cmp::Reverse((offset, timestamp)));
                if matches.len() > self.count {
                    matches.pop();
                }
            }
            if segment.end().offset <= at {
                break;
            }
            at = segment.end().offset;
        }
        let mut sorted: Matches =
            matches.into_iter().map(|std::cmp::Reverse((offset, timestamp))| (timestamp, offset)).collect();
        sorted.sort_by_key(|&(_, offset)| offset);
        sorted
    }

    async fn segment_at(&self, partition: &Arc<Partition>, at: u64, until: u64) -> Option<Arc<Segment>> {
        if let Found::Held(held) = partition.find(at) {
            return self.history.opened_anyway(partition, &held);
        }
        if let Some(held) = self.history.find(partition, at) {
            return self.history.opened_anyway(partition, &held);
        }
        let from = Position { offset: at, epoch: -1 };
        let asker = Asker { tenant: self.tenant, meter: self.meter };
        let job = self.history.request(asker, partition, from, until, self.history.read_size());
        job.finished().await;
        let held = self.history.find(partition, at)?;
        self.history.opened_anyway(partition, &held)
    }
}
