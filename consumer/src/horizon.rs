//! How far back Kafka itself reaches: the age of each partition's first record, asked for a few partitions at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tailrace_bridge::Partition;

use crate::error::KafkaError;
use crate::metrics;
use crate::native::Client;

/// A broker reads from its log to answer, so each look asks about one in so many of the partitions.
const SHARE: usize = 30;

/// What is known of the first records.
#[derive(Default)]
pub(crate) struct Horizon {
    next: usize,
    /// When the first record of each partition was written, in milliseconds since the Unix epoch.
    firsts: HashMap<(Arc<str>, u32), i64>,
}

impl Horizon {
    /// Asks for the next few of these partitions, and tells every topic's age as of now, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Kafka does not answer; the ages that are known are told all the same.
    pub(crate) fn look(
        &mut self,
        admin: &Client,
        partitions: &[Arc<Partition>],
        timeout: Duration,
        now: i64,
    ) -> Result<(), KafkaError> {
        let count = partitions.len().div_ceil(SHARE);
        let first = if self.next < partitions.len() { self.next } else { 0 };
        self.next = first + count;
        let some = &partitions[first..self.next.min(partitions.len())];
        let places: Vec<_> = some.iter().map(|one| (&**one.topic_name(), one.index() as i32)).collect();
        let asked = admin.first_times(&places, timeout).map(|times| {
            for (partition, time) in some.iter().zip(times) {
                self.note(partition, time.ok().flatten());
            }
        });
        let known = partitions.iter().filter_map(|one| {
            let time = *self.firsts.get(&(one.topic_name().clone(), one.index()))?;
            Some((one.topic_name(), one.log_start() > 0, time))
        });
        for (topic, time) in oldest_by_topic(known) {
            metrics::oldest_resumable(topic, Duration::from_millis(now.saturating_sub(time).max(0) as u64));
        }
        asked
    }

    fn note(&mut self, partition: &Partition, time: Option<i64>) {
        let key = (partition.topic_name().clone(), partition.index());
        match time {
            Some(time) if time > 0 => drop(self.firsts.insert(key, time)),
            _ => drop(self.firsts.remove(&key)),
        }
    }
}

/// From when on all that was written to a topic is still there. `firsts`: of each partition the topic, whether retention has
/// deleted the beginning of its log, and when its first record was written. Where nothing was deleted: the first record of all.
fn oldest_by_topic<'a>(
    firsts: impl Iterator<Item = (&'a Arc<str>, bool, i64)>,
) -> BTreeMap<&'a Arc<str>, i64> {
    let mut topics: BTreeMap<_, (bool, i64)> = BTreeMap::new();
    for (topic, is_cut, time) in firsts {
        let known = topics.entry(topic).or_insert((is_cut, time));
        *known = match (known.0, is_cut) {
            (true, true) => (true, known.1.max(time)),
            (false, false) => (false, known.1.min(time)),
            (true, false) => *known,
            (false, true) => (true, time),
        };
    }
    topics.into_iter().map(|(topic, (_, time))| (topic, time)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_that_lost_most_tells_how_far_back_a_topic_reaches() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let firsts = [
            (&a, false, 10),
            (&a, true, 50),
            (&a, true, 70),
            (&a, false, 90),
            (&b, false, 40),
            (&b, false, 30),
        ];
        let oldest: Vec<_> = oldest_by_topic(firsts.into_iter()).into_iter().collect();
        assert_eq!(oldest, [(&a, 70), (&b, 30)]);
    }
}
