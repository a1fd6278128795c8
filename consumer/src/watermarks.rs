//! Where each partition's log begins and ends, polled: what replays may still read, and the tail's lag.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tailrace_bridge::{Bridge, Partition};

use crate::error::KafkaError;
use crate::metrics;
use crate::native::{Client, OffsetQuery};
use crate::status::Watch;

const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// Ends remembered per partition: at one in two seconds, lag is told to two minutes.
const MAX_ENDS: usize = 64;

pub(crate) struct Watermarks {
    pub(crate) bridge: Bridge,
    pub(crate) admin: Arc<Client>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) committed: bool,
    pub(crate) ends: HashMap<(Arc<str>, u32), Ends>,
}

impl Watermarks {
    /// Asks once for all partitions.
    pub(crate) fn look(&mut self) {
        let partitions: Vec<Arc<Partition>> =
            self.bridge.topics().iter().flat_map(|topic| topic.partitions()).collect();
        if let Err(error) = self.log_starts(&partitions).and_then(|()| self.lags(&partitions)) {
            tracing::debug!(%error, "the ends of the logs are not known");
        }
    }

    fn log_starts(&self, partitions: &[Arc<Partition>]) -> Result<(), KafkaError> {
        let starts =
            self.admin.list_offsets(&places(partitions), OffsetQuery::Earliest, false, ASK_TIMEOUT)?;
        for (partition, start) in partitions.iter().zip(starts) {
            if let Ok(Some(start)) = start {
                partition.set_log_start(start);
            }
        }
        Ok(())
    }

    fn lags(&mut self, partitions: &[Arc<Partition>]) -> Result<(), KafkaError> {
        let ends =
            self.admin.list_offsets(&places(partitions), OffsetQuery::Latest, self.committed, ASK_TIMEOUT)?;
        let now = Instant::now();
        let mut worst: Option<(f64, String)> = None;
        let mut seen = HashMap::with_capacity(partitions.len());
        for (partition, end) in partitions.iter().zip(ends) {
            let key = (partition.topic_name().clone(), partition.index());
            let mut known = self.ends.remove(&key).unwrap_or_default();
            let head = partition.head().offset;
            if let Ok(Some(end)) = end {
                known.note(end, now);
            }
            let seconds = known.behind(head, now).as_secs_f64();
            metrics::lag(&key.0, key.1, known.last().saturating_sub(head), seconds);
            if worst.as_ref().is_none_or(|(most, _)| seconds > *most) {
                worst = Some((seconds, format!("{}[{}]", key.0, key.1)));
            }
            seen.insert(key, known);
        }
        self.ends = seen;
        self.watch.set_lag(worst);
        Ok(())
    }
}

fn places(partitions: &[Arc<Partition>]) -> Vec<(&str, i32)> {
    partitions.iter().map(|partition| (&**partition.topic_name(), partition.index() as i32)).collect()
}

/// The ends of one partition as they were seen, those first that the tail has not reached.
#[derive(Debug, Default)]
pub(crate) struct Ends(VecDeque<(Instant, u64)>);

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
