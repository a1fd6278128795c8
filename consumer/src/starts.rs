//! Where the reading of partitions begins that were not read before: at their first records, or a while back from their ends.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tailrace_bridge::{HistoryRead, Position, Start};

use crate::admin::Admin;
use crate::clock::now_millis;
use crate::error::KafkaError;
use crate::history::Readers;
use crate::native::{self, Code, OffsetQuery};

const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// A stretch of no more records than would fit at this size, in bytes, is warmed without a closer look.
const SMALL_RECORD: u64 = 128;
/// Bytes read for that look.
const PROBE: usize = 64 << 10;

/// Asks Kafka where reading begins.
pub(crate) struct Starts {
    admin: Arc<Admin>,
    readers: Arc<Readers>,
    /// What the tail of one partition may be warmed to, in bytes.
    warm_share: u64,
}

/// Of several topics, by name: of those of which Kafka tells.
pub(crate) type OfTopics = Vec<(String, Vec<Start>)>;

impl Starts {
    /// Without a bound by memory: see [`Starts::share`].
    pub(crate) fn new(admin: Arc<Admin>, readers: Arc<Readers>) -> Starts {
        Starts { admin, readers, warm_share: u64::MAX }
    }

    /// Shares `memory`, in bytes, among so many partitions that are warmed.
    pub(crate) fn share(&mut self, memory: usize, partitions: usize) {
        self.warm_share = memory as u64 / partitions.max(1) as u64;
    }

    /// The first records of some partitions of a topic.
    pub(crate) fn first(&self, name: &str, partitions: Range<usize>) -> Result<Vec<Start>, KafkaError> {
        let places: Vec<(&str, i32)> = partitions.map(|index| (name, index as i32)).collect();
        let found = self.admin.client().list_offsets(&places, OffsetQuery::Earliest, false, ASK_TIMEOUT)?;
        found.into_iter().map(|at| at.map(first_record).map_err(native::list_error)).collect()
    }

    /// As [`Starts::first`], of whole topics.
    pub(crate) fn first_of(&self, topics: &[(&str, usize)]) -> Result<OfTopics, KafkaError> {
        let places = places(topics);
        let found = self.admin.client().list_offsets(&places, OffsetQuery::Earliest, false, ASK_TIMEOUT)?;
        let mut found = found.into_iter();
        let mut starts = Vec::new();
        for (name, count) in topics {
            let of_topic: Result<Vec<Start>, Code> =
                found.by_ref().take(*count).map(|at| at.map(first_record)).collect();
            if let Ok(of_topic) = of_topic {
                starts.push(((*name).to_owned(), of_topic));
            }
        }
        Ok(starts)
    }

    /// So far back from the ends of whole topics, as far as memory reaches.
    pub(crate) fn back_from_ends(
        &self,
        topics: &[(&str, usize)],
        back: Duration,
    ) -> Result<OfTopics, KafkaError> {
        let places = places(topics);
        let ask = |at| self.admin.client().list_positions(&places, at, false, ASK_TIMEOUT);
        let since = now_millis().saturating_sub(back.as_millis().try_into().unwrap_or(i64::MAX));
        let (first, ends) = (ask(OffsetQuery::Earliest)?, ask(OffsetQuery::Latest)?);
        // Without an offset for a time, either no record is that young, or the broker cannot search by time; then it finds none
        // for time 0 either.
        let (since, any) = (ask(OffsetQuery::Time(since))?, ask(OffsetQuery::Time(0))?);
        let known = |index: usize| -> Result<(Start, u64), Code> {
            let none = Position { offset: 0, epoch: -1 };
            let (first, end) = (first[index]?.unwrap_or(none), ends[index]?.unwrap_or(none));
            // An error counts as no offset: ends and beginnings have told already whether the partition can be read.
            let by_time = |found: &Result<Option<Position>, Code>| found.ok().flatten();
            let at = match (by_time(&since[index]), by_time(&any[index])) {
                (Some(at), _) => at,
                (None, Some(_)) => end,
                (None, None) => first,
            };
            let offset = at.offset.clamp(first.offset, end.offset.max(first.offset));
            // With the epoch, a truncation between now and the first record is noticed. Where nothing is read, the leader's own
            // is all that tells of which log the end is.
            let told = [end, at, first].into_iter().find(|told| told.offset == offset);
            let epoch = told.map_or(-1, |told| told.epoch);
            Ok((Start { offset, epoch, log_start: first.offset }, end.offset))
        };
        let (mut starts, mut index) = (Vec::new(), 0);
        for (name, count) in topics {
            let of_topic: Result<Vec<(Start, u64)>, Code> = (index..index + count).map(known).collect();
            index += count;
            if let Ok(of_topic) = of_topic {
                let (mut of_topic, ends): (Vec<Start>, Vec<u64>) = of_topic.into_iter().unzip();
                self.bound(name, &mut of_topic, &ends);
                starts.push(((*name).to_owned(), of_topic));
            }
        }
        Ok(starts)
    }

    /// What would not fit into memory need not be read. How large records are is estimated from a few of the longest stretch.
    fn bound(&self, name: &str, starts: &mut [Start], end: &[u64]) {
        let span = |index: usize| end[index].saturating_sub(starts[index].offset);
        let Some(longest) = (0..starts.len()).max_by_key(|&index| span(index)) else { return };
        if span(longest) <= self.warm_share / SMALL_RECORD {
            return;
        }
        let probe = HistoryRead {
            topic: name.into(),
            partition: longest as u32,
            from: starts[longest].offset,
            epoch: -1,
            began: Vec::new(),
            until: u64::MAX,
            max_bytes: PROBE,
        };
        let Ok(segment) = self.readers.read(&probe) else { return };
        let records = segment.end().offset.saturating_sub(segment.base()).max(1);
        let size = (segment.size() as u64 / records).max(1);
        let most = self.warm_share / size;
        for (start, end) in starts.iter_mut().zip(end) {
            let latest = end.saturating_sub(most);
            if start.offset < latest {
                *start = Start { offset: latest, epoch: -1, ..*start };
            }
        }
        tracing::debug!(
            topic = name,
            record_bytes = size,
            records = most,
            "the warm-up is bounded by memory"
        );
    }
}

fn first_record(offset: Option<u64>) -> Start {
    let offset = offset.unwrap_or(0);
    Start { offset, epoch: -1, log_start: offset }
}

/// All partitions of these topics, in their order.
fn places<'a>(topics: &[(&'a str, usize)]) -> Vec<(&'a str, i32)> {
    let of_topic = |(name, count): &(&'a str, usize)| {
        let name = *name;
        (0..*count).map(move |index| (name, index as i32))
    };
    topics.iter().flat_map(of_topic).collect()
}
