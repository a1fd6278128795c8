//! Finds partitions that are stuck: Kafka answers, has records of them beyond the head, and none come. Whatever the cause may
//! be in librdkafka, such a partition is assigned anew, and where that does not help everything is read by a new client.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tailrace_bridge::{Partition, Sabotage, broken};

use crate::requests::Command;
use crate::{metrics, span};

/// A partition that has further records and does not move for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before that, the client is asked whether it has lost all brokers.
const PROBE_AFTER: Duration = Duration::from_secs(1);
/// The pause between tries doubles with each, up to this.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// What to do about a stuck partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// Assign it anew.
    Partition,
    /// Make the client anew.
    Client,
}

/// A partition with further records that has not moved.
#[derive(Clone, Copy, Debug)]
struct Still {
    head: u64,
    since: Instant,
    tries: u32,
    tried: Instant,
}

/// Partitions with further records, and what was tried.
pub(crate) struct Watchdog {
    tail: Sender<Command>,
    still: HashMap<(Arc<str>, u32), Still>,
    /// When a new client was last asked for.
    renewed: Option<Instant>,
    /// When the client was last asked for its brokers.
    probed: Option<Instant>,
    /// The sum of all heads, and when it last changed.
    moved: Option<(u64, Instant)>,
}

impl Watchdog {
    pub(crate) fn new(tail: Sender<Command>) -> Watchdog {
        Watchdog { tail, still: HashMap::new(), renewed: None, probed: None, moved: None }
    }

    /// Looks at one partition: its end as Kafka just told; none where Kafka did not tell, or where nothing is to be read.
    pub(crate) fn look(&mut self, partition: &Arc<Partition>, end: Option<u64>, now: Instant) {
        let key = (partition.topic_name().clone(), partition.index());
        let head = partition.head().offset;
        if end.is_none_or(|end| end <= head) {
            self.still.remove(&key);
            return;
        }
        let new = Still { head, since: now, tries: 0, tried: now };
        let still = self.still.entry(key).or_insert(new);
        if still.head != head {
            *still = new;
        }
        let remedy = still.remedy(now);
        let is_still = now.saturating_duration_since(still.since) >= PROBE_AFTER;
        if is_still && self.probed.is_none_or(|at| now.duration_since(at) >= PATIENCE) {
            self.probed = Some(now);
            self.command(Command::Probe);
        }
        match remedy {
            Some(_) if broken(Sabotage::KeepClient) => {}
            Some(Remedy::Partition) => {
                metrics::reader_restarted("partition_stuck");
                say(partition, head, end, "nothing comes of a partition that has news; it is assigned anew");
                self.command(Command::Resume(partition.clone()));
            }
            // One new client for all partitions that are stuck.
            Some(Remedy::Client) if self.renewed.is_none_or(|at| now.duration_since(at) >= PATIENCE) => {
                metrics::reader_restarted("client_stuck");
                say(partition, head, end, "nothing comes of it even so; a new client reads everything");
                self.renewed = Some(now);
                self.command(Command::Renew);
            }
            Some(Remedy::Client) | None => {}
        }
    }

    /// What is stuck though a new client was tried, where this replica reads nothing at all; else nothing. `sum`: of all heads.
    pub(crate) fn blocked(&mut self, sum: u64, now: Instant) -> Vec<(Arc<str>, u32)> {
        if self.moved.is_none_or(|(before, _)| before != sum) {
            self.moved = Some((sum, now));
        }
        let (_, since) = self.moved.unwrap_or((sum, now));
        if now.saturating_duration_since(since) < PATIENCE {
            return Vec::new();
        }
        let is_tried =
            |still: &Still| still.tries >= 2 && now.saturating_duration_since(still.tried) >= PATIENCE / 2;
        self.still
            .iter()
            .filter(|(_, still)| still.tries > 2 || is_tried(still))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Partitions that are gone are not looked at any more.
    pub(crate) fn keep(&mut self, is_there: impl Fn(&(Arc<str>, u32)) -> bool) {
        self.still.retain(|key, _| is_there(key));
    }

    fn command(&self, command: Command) {
        // The tail is gone only when everything stops.
        let _ = self.tail.send(command);
    }
}

impl Still {
    /// What is due now, if anything is.
    fn remedy(&mut self, now: Instant) -> Option<Remedy> {
        let pause = (PATIENCE * 2_u32.pow(self.tries.min(8))).min(MAX_PAUSE);
        // The first try waits from when it stood still, later ones from the try before.
        let from = if self.tries == 0 { self.since } else { self.tried };
        if now.saturating_duration_since(from) < if self.tries <= 1 { PATIENCE } else { pause } {
            return None;
        }
        self.tries += 1;
        self.tried = now;
        Some(if self.tries == 1 { Remedy::Partition } else { Remedy::Client })
    }
}

fn say(partition: &Partition, head: u64, end: Option<u64>, what: &'static str) {
    let span = span::of_partition(partition.topic_name(), partition.index());
    span.in_scope(|| tracing::warn!(head, end = end.unwrap_or(head), "{what}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_stands_still_is_assigned_anew_and_then_the_client_is_ever_less_often() {
        let start = Instant::now();
        let mut still = Still { head: 7, since: start, tries: 0, tried: start };
        let due: Vec<(u64, Remedy)> = (0..200)
            .filter_map(|second| Some((second, still.remedy(start + Duration::from_secs(second))?)))
            .collect();
        let (partition, client) = (Remedy::Partition, Remedy::Client);
        assert_eq!(due, [(10, partition), (20, client), (60, client), (120, client), (180, client)]);
    }
}
