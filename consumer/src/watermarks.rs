//! Where each partition's log begins and ends, polled: what replays may still read, and the tail's lag.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tailrace_bridge::{Bridge, Partition};

use crate::admin::Admin;
use crate::clock::now_millis;
use crate::error::KafkaError;
use crate::findings::Findings;
use crate::fleet;
use crate::horizon::Horizon;
use crate::native::OffsetQuery;
use crate::requests::Command;
use crate::settings::KafkaSettings;
use crate::shared::Shared;
use crate::watchdog::Watchdog;
use crate::{metrics, properties};

const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// Ends remembered per partition: at one in two seconds, lag is exact up to two minutes.
const MAX_ENDS: usize = 64;

/// The logs' beginnings are asked for once in so many looks: they only tell how far back a replay may go, and a replay that
/// begins further back is told so by Kafka.
const STARTS_EVERY: u32 = 5;
/// How often other replicas are asked about where this one is stuck.
const ASK_OTHERS: Duration = Duration::from_secs(10);

/// Asks once in a while where the logs begin and end.
pub(crate) struct Watermarks {
    bridge: Bridge,
    admin: Arc<Admin>,
    findings: Arc<Findings>,
    settings: Arc<KafkaSettings>,
    /// Whether a log ends where its open transactions begin.
    committed: bool,
    watchdog: Watchdog,
    horizon: Horizon,
    ends: HashMap<(Arc<str>, u32), Ends>,
    /// How often the ends were asked for.
    looks: u32,
    /// When other replicas were last asked about.
    asked_others: Option<Instant>,
}

impl Watermarks {
    /// `tail`: where the reading is begun anew of partitions that are stuck.
    pub(crate) fn new(shared: &Shared, tail: Sender<Command>) -> Watermarks {
        Watermarks {
            bridge: shared.bridge.clone(),
            admin: shared.admin.clone(),
            findings: shared.findings.clone(),
            settings: shared.settings.clone(),
            committed: properties::reads_committed(&shared.settings),
            watchdog: Watchdog::new(tail),
            horizon: Horizon::default(),
            ends: HashMap::new(),
            looks: 0,
            asked_others: None,
        }
    }

    /// Asks once for all partitions.
    pub(crate) fn look(&mut self) {
        let topics = self.bridge.topics();
        let topics = topics.iter().filter(|topic| !self.findings.is_leaderless(topic.name()));
        let partitions: Vec<Arc<Partition>> = topics.flat_map(|topic| topic.partitions()).collect();
        let starts =
            if self.looks.is_multiple_of(STARTS_EVERY) { self.log_starts(&partitions) } else { Ok(()) };
        self.looks += 1;
        if let Err(error) = starts.and_then(|()| self.lags(&partitions)) {
            tracing::debug!(%error, "the ends of the logs are not known");
            return;
        }
        if let Err(error) = self.horizon.look(&self.admin.client(), &partitions, ASK_TIMEOUT, now_millis()) {
            tracing::debug!(%error, "the age of first records is not known");
        }
        self.look_for_others(&partitions);
    }

    /// Where Kafka answers and nothing comes, whatever was tried: finds out whether that is so for this replica alone.
    fn look_for_others(&mut self, partitions: &[Arc<Partition>]) {
        let now = Instant::now();
        let sum = partitions.iter().fold(0, |sum: u64, one| sum.wrapping_add(one.head().offset));
        let blocked: HashSet<_> = self.watchdog.blocked(sum, now).into_iter().collect();
        if blocked.is_empty() {
            self.asked_others = None;
            self.findings.set_blocked(None);
            return;
        }
        if self.asked_others.is_some_and(|at| now.duration_since(at) < ASK_OTHERS) {
            return;
        }
        self.asked_others = Some(now);
        let is_blocked = |one: &&Arc<Partition>| blocked.contains(&(one.topic_name().clone(), one.index()));
        let stuck: Vec<_> = partitions.iter().filter(is_blocked).cloned().collect();
        match fleet::ahead(&self.settings, &self.admin.client(), &stuck) {
            Ok(ahead) => self.findings.set_blocked(ahead.map(|group| {
                format!("nothing can be read from Kafka here, though it answers, and another replica ({group}) reads on")
            })),
            // What is not known stays as it was.
            Err(error) => tracing::debug!(%error, "it is not known whether another replica reads"),
        }
    }

    fn log_starts(&self, partitions: &[Arc<Partition>]) -> Result<(), KafkaError> {
        let starts = self.admin.client().list_offsets(
            &places(partitions),
            OffsetQuery::Earliest,
            false,
            ASK_TIMEOUT,
        )?;
        for (partition, start) in partitions.iter().zip(starts) {
            if let Ok(Some(start)) = start {
                partition.set_log_start(start);
            }
        }
        Ok(())
    }

    fn lags(&mut self, partitions: &[Arc<Partition>]) -> Result<(), KafkaError> {
        let ends = self.admin.client().list_offsets(
            &places(partitions),
            OffsetQuery::Latest,
            self.committed,
            ASK_TIMEOUT,
        )?;
        let now = Instant::now();
        let mut worst: Option<(f64, String)> = None;
        let mut seen = HashMap::with_capacity(partitions.len());
        let mut topics: BTreeMap<Arc<str>, Lag> = BTreeMap::new();
        for (partition, end) in partitions.iter().zip(ends) {
            let key = (partition.topic_name().clone(), partition.index());
            let mut known = self.ends.remove(&key).unwrap_or_default();
            let head = partition.head().offset;
            let end = end.ok().flatten();
            if let Some(end) = end {
                known.note(end, now);
            }
            let (records, seconds) =
                (known.last().saturating_sub(head), known.behind(head, now).as_secs_f64());
            let is_forbidden = topics.get(&key.0).map(|lag| lag.is_forbidden);
            let is_forbidden = is_forbidden.unwrap_or_else(|| self.findings.is_forbidden(&key.0));
            let lag = topics.entry(key.0.clone()).or_insert(Lag { is_forbidden, ..Lag::default() });
            lag.add(records, seconds);
            if self.settings.lag_by_partition {
                metrics::partition_lag(&key.0, key.1, records, seconds);
            }
            if !is_forbidden && worst.as_ref().is_none_or(|(most, _)| seconds > *most) {
                worst = Some((seconds, format!("{}[{}]", key.0, key.1)));
            }
            let is_read = !is_forbidden && !self.findings.is_held(&key.0, key.1);
            self.watchdog.look(partition, end.filter(|_| is_read), now);
            seen.insert(key, known);
        }
        topics.iter().for_each(|(topic, lag)| metrics::lag(topic, lag.records, lag.most, lag.seconds));
        self.watchdog.keep(|key| seen.contains_key(key));
        self.ends = seen;
        self.findings.set_lag(worst);
        Ok(())
    }
}

/// Of one topic's partitions: all their lag, and the most of any.
#[derive(Clone, Copy, Debug, Default)]
struct Lag {
    is_forbidden: bool,
    records: u64,
    most: u64,
    seconds: f64,
}

impl Lag {
    fn add(&mut self, records: u64, seconds: f64) {
        self.records += records;
        self.most = self.most.max(records);
        self.seconds = self.seconds.max(seconds);
    }
}

fn places(partitions: &[Arc<Partition>]) -> Vec<(&str, i32)> {
    partitions.iter().map(|partition| (&**partition.topic_name(), partition.index() as i32)).collect()
}

/// The ends of one partition as they were seen, those first that the tail has not reached.
#[derive(Debug, Default)]
struct Ends(VecDeque<(Instant, u64)>);

impl Ends {
    fn note(&mut self, end: u64, now: Instant) {
        // An end that falls is another log (created again, truncated): what was seen before means nothing.
        if self.0.back().is_some_and(|(_, last)| *last > end) {
            self.0.clear();
        }
        let full = self.0.len() >= MAX_ENDS;
        match self.0.back_mut() {
            Some((_, last)) if *last == end => {}
            // The newest entry stands for all later ones then.
            Some((_, last)) if full => *last = end,
            _ => self.0.push_back((now, end)),
        }
    }

    /// For how long the head has not reached an end that was seen.
    fn behind(&mut self, head: u64, now: Instant) -> Duration {
        while self.0.len() > 1 && self.0.front().is_some_and(|(_, end)| *end <= head) {
            self.0.pop_front();
        }
        match self.0.front() {
            Some((seen, end)) if *end > head => now.saturating_duration_since(*seen),
            _ => Duration::ZERO,
        }
    }

    fn last(&self) -> u64 {
        self.0.back().map_or(0, |(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_time_since_an_end_that_was_not_reached_was_seen() {
        let (mut ends, start) = (Ends::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        ends.note(10, at(0));
        ends.note(20, at(2));
        assert_eq!(ends.behind(5, at(4)), Duration::from_secs(4));
        assert_eq!(ends.behind(10, at(4)), Duration::from_secs(2));
        assert_eq!(ends.behind(20, at(4)), Duration::ZERO);
        assert_eq!(ends.behind(25, at(4)), Duration::ZERO);
    }

    #[test]
    fn a_log_that_begins_anew_has_no_old_lag() {
        let (mut ends, start) = (Ends::default(), Instant::now());
        ends.note(1000, start);
        ends.note(3, start + Duration::from_secs(60));
        assert_eq!(ends.behind(0, start + Duration::from_secs(61)), Duration::from_secs(1));
        assert_eq!(ends.last(), 3);
    }
}
