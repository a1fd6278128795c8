//! Topic identities, polled: what is there, what was added, created again or deleted, and why a partition was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tailrace_bridge::{Bridge, GapCode, HistoryRead, Partition, Position, Start, TopicId};
use tokio::sync::oneshot;

use crate::error::{self, KafkaError};
use crate::history::Readers;
use crate::ingest::Command;
use crate::metrics;
use crate::native::{Client, Code, Described, OffsetQuery};
use crate::settings::KafkaSettings;
use crate::status::{TopicStates, Watch};
use crate::truncation;

/// librdkafka does not notice that a topic was created again under it, so we look this often.
const POLL: Duration = Duration::from_secs(1);
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// A topic counts as deleted once it was missing so often in a row: a broker that just started may not know it yet.
const MISSES: u32 = 3;
/// A partition that was lost is looked at again after this time, where the cluster could not say why.
const LOST_RETRY: Duration = Duration::from_millis(500);
/// A stretch of no more records than would fit at this size, in bytes, is warmed without a closer look.
const SMALL_RECORD: u64 = 128;
/// Bytes read for that look.
const PROBE: usize = 64 << 10;
/// Earlier ids of a topic that are remembered, so that a broker that lags behind does not bring one back.
const MAX_RETIRED: usize = 16;

/// What the other threads want to know.
pub(crate) enum Ask {
    /// The list of topics, now.
    Refresh(oneshot::Sender<()>),
    /// The reading of a partition stopped, with librdkafka's words for it.
    Lost(Arc<Partition>, String),
    /// Ends the thread.
    Stop,
}

/// What is known of a topic that the bridge serves.
#[derive(Debug)]
struct Known {
    id: TopicId,
    partitions: usize,
    misses: u32,
    retired: Vec<TopicId>,
}

pub(crate) struct Topics {
    settings: Arc<KafkaSettings>,
    bridge: Bridge,
    admin: Arc<Client>,
    watch: Arc<Watch>,
    readers: Arc<Readers>,
    tail: Sender<Command>,
    known: BTreeMap<String, Known>,
    /// What the tail of one partition may be warmed to, in bytes.
    warm_share: u64,
    /// The topics that were there when Kafka first answered: these are warmed, later ones are read from the start.
    at_start: Option<BTreeSet<String>>,
    lost: Vec<(Arc<Partition>, String)>,
}

impl Topics {
    pub(crate) fn new(
        settings: Arc<KafkaSettings>,
        bridge: Bridge,
        admin: Arc<Client>,
        watch: Arc<Watch>,
        readers: Arc<Readers>,
        tail: Sender<Command>,
    ) -> Topics {
        let (known, lost) = (BTreeMap::new(), Vec::new());
        Topics {
            settings,
            bridge,
            admin,
            watch,
            readers,
            tail,
            known,
            warm_share: u64::MAX,
            at_start: None,
            lost,
        }
    }

    /// Polls until [`Ask::Stop`].
    pub(crate) fn run(mut self, asks: &Receiver<Ask>) {
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        loop {
            let started = Instant::now();
            self.poll();
            for answer in waiting.drain(..) {
                // Whoever waited may have gone since.
                let _ = answer.send(());
            }
            let pause = if self.lost.is_empty() { POLL } else { LOST_RETRY };
            match asks.recv_timeout(pause.saturating_sub(started.elapsed())) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) | Ok(Ask::Stop) => return,
                Ok(ask) => self.note(ask, &mut waiting),
            }
            while let Ok(ask) = asks.try_recv() {
                match ask {
                    Ask::Stop => return,
                    ask => self.note(ask, &mut waiting),
                }
            }
        }
    }

    fn note(&mut self, ask: Ask, waiting: &mut Vec<oneshot::Sender<()>>) {
        match ask {
            Ask::Refresh(answer) => waiting.push(answer),
            Ask::Lost(partition, why) => self.lost.push((partition, why)),
            Ask::Stop => {}
        }
    }

    fn poll(&mut self) {
        self.admin.serve();
        match self.describe() {
            Ok(described) => {
                let states = self.take(described);
                if states.pending.is_empty() {
                    self.bridge.topics_refreshed();
                }
                self.admin.clear_error();
                self.watch.answered(states);
                self.find_lost();
            }
            Err(error) => {
                let text = self.admin.last_error().unwrap_or_else(|| error.to_string());
                self.watch.failed(text);
            }
        }
    }

    fn describe(&self) -> Result<Vec<Described>, KafkaError> {
        let selection = &self.settings.topics;
        let mut names: BTreeSet<String> = selection.names().iter().cloned().collect();
        if selection.has_patterns() {
            let all = self.admin.topic_names(ASK_TIMEOUT)?;
            names.extend(all.into_iter().filter(|name| selection.selects(name)));
            // A topic that a pattern found, and that is not listed any more, must be missed by name.
            names.extend(self.known.keys().cloned());
        }
        let names: Vec<String> = names.into_iter().collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.admin.describe_topics(&names, ASK_TIMEOUT)
    }

    /// Compares what is there with what is known, and tells the bridge and the tail.
    fn take(&mut self, described: Vec<Described>) -> TopicStates {
        let mut states = TopicStates::default();
        let first = self.at_start.is_none();
        let there =
            || described.iter().filter(|topic| topic.state.is_ok()).map(|topic| topic.name.clone()).collect();
        if first {
            let partitions: usize = described.iter().filter_map(|topic| Some(topic.state.ok()?.1)).sum();
            self.warm_share = self.settings.memory as u64 / partitions.max(1) as u64;
        }
        self.at_start.get_or_insert_with(there);
        let (mut names_changed, mut changed) = (first, false);
        for Described { name, state } in described {
            match state {
                Ok((id, partitions)) => match self.take_one(&name, id, partitions) {
                    Ok(Change::None) => {}
                    Ok(Change::Added) => names_changed = true,
                    Ok(Change::Moved) => changed = true,
                    Err(error) => {
                        tracing::debug!(topic = name, %error, "offsets are not known yet");
                        states.pending.push(name);
                    }
                },
                Err(code) if error::is_denied(code) => states.denied.push(name),
                Err(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => {
                    names_changed |= self.miss(&name);
                    if self.settings.topics.names().contains(&name) {
                        states.missing.push(name);
                    }
                }
                // Such as a leader that is being elected: nothing new is known.
                Err(_) if self.known.contains_key(&name) => {}
                Err(_) => states.pending.push(name),
            }
        }
        if names_changed {
            self.command(Command::Subscribe(self.known.keys().cloned().collect()));
        } else if changed {
            self.command(Command::Sync);
        }
        states
    }

    fn take_one(&mut self, name: &str, id: TopicId, partitions: usize) -> Result<Change, KafkaError> {
        let Some(known) = self.known.get(name) else {
            let warm = self.at_start.as_ref().is_some_and(|names| names.contains(name));
            let starts = if warm {
                self.warm_starts(name, partitions)?
            } else {
                self.first_records(name, 0..partitions)?
            };
            tracing::info!(topic = name, %id, partitions, "topic found");
            metrics::topic_found(name);
            self.bridge.add_topic(name, id, &starts);
            self.known.insert(name.to_owned(), Known { id, partitions, misses: 0, retired: Vec::new() });
            return Ok(Change::Added);
        };
        let count = known.partitions;
        let another = id != known.id && !id.is_zero() && !known.id.is_zero();
        if another && !known.retired.contains(&id) {
            let starts = self.first_records(name, 0..partitions)?;
            tracing::warn!(topic = name, old = %known.id, new = %id, "topic was created again");
            // Before, for what was held so far, and after, for what came in between.
            self.readers.forget();
            self.bridge.recreate_topic(name, id, &starts);
            self.readers.forget();
            self.forget_start(name);
            if let Some(known) = self.known.get_mut(name) {
                known.retire(id, partitions);
            }
            return Ok(Change::Moved);
        }
        let grown = !another && partitions > count;
        if grown {
            let starts = self.first_records(name, count..partitions)?;
            tracing::info!(topic = name, from = count, to = partitions, "partitions added");
            self.bridge.grow_topic(name, &starts);
        }
        if let Some(known) = self.known.get_mut(name) {
            known.misses = 0;
            known.partitions = known.partitions.max(if grown { partitions } else { 0 });
        }
        Ok(if grown { Change::Moved } else { Change::None })
    }

    /// A topic that is known and was not there. True once it counts as deleted.
    fn miss(&mut self, name: &str) -> bool {
        let Some(known) = self.known.get_mut(name) else { return false };
        known.misses += 1;
        if known.misses < MISSES {
            return false;
        }
        tracing::warn!(topic = name, "topic was deleted");
        self.known.remove(name);
        self.forget_start(name);
        self.bridge.remove_topic(name);
        self.readers.forget();
        true
    }

    fn forget_start(&mut self, name: &str) {
        if let Some(names) = &mut self.at_start {
            names.remove(name);
        }
    }

    /// What is new is read from its first record.
    fn first_records(
        &self,
        name: &str,
        partitions: std::ops::Range<usize>,
    ) -> Result<Vec<Start>, KafkaError> {
        let starts = self.offsets(name, partitions, OffsetQuery::Earliest)?;
        Ok(starts.into_iter().map(|offset| Start { offset, epoch: -1, log_start: offset }).collect())
    }

    /// What was there when the process started is read from a while back.
    fn warm_starts(&self, name: &str, count: usize) -> Result<Vec<Start>, KafkaError> {
        let first = self.offsets(name, 0..count, OffsetQuery::Earliest)?;
        let ends = self.positions(name, 0..count, OffsetQuery::Latest)?;
        let end: Vec<u64> = ends.iter().map(|end| end.offset).collect();
        let since =
            now_millis().saturating_sub(self.settings.warmup.as_millis().try_into().unwrap_or(i64::MAX));
        let since = self.offsets_or_none(name, count, OffsetQuery::Time(since))?;
        // No record that young, or a broker that cannot tell by time: such a one finds no record of any time.
        let any = self.offsets_or_none(name, count, OffsetQuery::Time(0))?;
        let offset = |index: usize| match (since[index], any[index]) {
            (Some(offset), _) => offset,
            (None, Some(_)) => end[index],
            (None, None) => first[index],
        };
        let start = |index: usize| {
            let offset = offset(index).clamp(first[index], end[index].max(first[index]));
            // Where nothing is read, the leader's epoch is all that tells of which log the end is.
            let epoch = if offset == end[index] { ends[index].epoch } else { -1 };
            Start { offset, epoch, log_start: first[index] }
        };
        let mut starts: Vec<Start> = (0..count).map(start).collect();
        self.bound_warm_up(name, &mut starts, &end);
        Ok(starts)
    }

    /// What would not fit into memory need not be read. How large records are is told by a few of the longest stretch.
    fn bound_warm_up(&self, name: &str, starts: &mut [Start], end: &[u64]) {
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
            until: u64::MAX,
            max_bytes: PROBE,
        };
        let Ok(segment) = self.readers.read(&probe) else { return };
        let records = segment.end().offset.saturating_sub(segment.base()).max(1);
        let size = (segment.size() as u64 / records).max(1);
        let most = self.warm_share / size;
        for (start, end) in starts.iter_mut().zip(end) {
            start.offset = start.offset.max(end.saturating_sub(most));
        }
        tracing::debug!(
            topic = name,
            record_bytes = size,
            records = most,
            "the warm-up is bounded by memory"
        );
    }

    fn offsets(
        &self,
        name: &str,
        partitions: std::ops::Range<usize>,
        at: OffsetQuery,
    ) -> Result<Vec<u64>, KafkaError> {
        Ok(self.positions(name, partitions, at)?.into_iter().map(|position| position.offset).collect())
    }

    /// Offsets with what Kafka tells of their leader epochs; 0 where there is no such offset.
    fn positions(
        &self,
        name: &str,
        partitions: std::ops::Range<usize>,
        at: OffsetQuery,
    ) -> Result<Vec<Position>, KafkaError> {
        let places: Vec<(&str, i32)> = partitions.map(|index| (name, index as i32)).collect();
        let found = self.admin.list_positions(&places, at, false, ASK_TIMEOUT)?;
        let none = Position { offset: 0, epoch: -1 };
        found
            .into_iter()
            .map(|position| position.map(|found| found.unwrap_or(none)).map_err(KafkaError::of_offsets))
            .collect()
    }

    fn offsets_or_none(
        &self,
        name: &str,
        count: usize,
        at: OffsetQuery,
    ) -> Result<Vec<Option<u64>>, KafkaError> {
        let places: Vec<(&str, i32)> = (0..count).map(|index| (name, index as i32)).collect();
        let found = self.admin.list_offsets(&places, at, false, ASK_TIMEOUT)?;
        // An error is no answer by time; ends and beginnings have told already whether the partition can be read.
        Ok(found.into_iter().map(|offset| offset.unwrap_or_default()).collect())
    }

    /// Finds out where reading goes on that stopped. A topic that was created again has been taken care of before.
    fn find_lost(&mut self) {
        for (partition, why) in std::mem::take(&mut self.lost) {
            match self.where_next(&partition, &why) {
                Ok(Some((code, to))) => {
                    let (topic, index) = (partition.topic_name().clone(), partition.index());
                    tracing::warn!(%topic, partition = index, code = code.as_str(), to = to.offset, why, "offsets are gone");
                    // Readers hold what they have fetched ahead, of the log as it was.
                    self.readers.forget();
                    self.command(Command::Jump(partition, code, to));
                }
                Ok(None) => self.command(Command::Resume(partition)),
                Err(error) => {
                    tracing::debug!(%error, why, "it is not known yet where reading goes on");
                    self.lost.push((partition, why));
                }
            }
        }
    }

    fn where_next(
        &self,
        partition: &Partition,
        why: &str,
    ) -> Result<Option<(GapCode, Position)>, KafkaError> {
        let name = partition.topic_name();
        let is_current = self.known.get(&**name).is_some_and(|known| known.id == partition.topic_id());
        if !is_current {
            return Ok(None);
        }
        let index = partition.index() as usize;
        let start = self.offsets(name, index..index + 1, OffsetQuery::Earliest)?[0];
        let place = [(&**name, index as i32)];
        let ends = self.admin.list_positions(&place, OffsetQuery::Latest, false, ASK_TIMEOUT)?;
        let end = ends.first().copied().unwrap_or(Ok(None)).map_err(KafkaError::of_offsets)?;
        let end = end.unwrap_or(Position { offset: start, epoch: -1 });
        // Another topic of the same name looks like a log that was cut. Asked last, so that all of the above is of this one.
        let described = self.admin.describe_topics(&[name.to_string()], ASK_TIMEOUT)?;
        let id = described.first().and_then(|topic| topic.state.ok()).map(|(id, _)| id);
        if id != Some(partition.topic_id()) {
            return Err(KafkaError::of_offsets(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART));
        }
        let from = partition.reading_position();
        if from.offset < start && start <= partition.head().offset {
            // What retention has passed is a hole.
            partition.set_log_start(start);
            return Ok(None);
        }
        Ok(truncation::next(from, start, end, why))
    }

    fn command(&self, command: Command) {
        // The tail is gone only when everything stops.
        let _ = self.tail.send(command);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Added,
    Moved,
}

impl Known {
    fn retire(&mut self, id: TopicId, partitions: usize) {
        if self.retired.len() == MAX_RETIRED {
            self.retired.remove(0);
        }
        self.retired.push(std::mem::replace(&mut self.id, id));
        self.partitions = partitions;
        self.misses = 0;
    }
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(i64::MAX)
}
