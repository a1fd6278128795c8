//! The topics and partitions that views read, and their heads as one vector, shared by all views that read the same partitions.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::base::lock_order::Rank;
use crate::base::sync::Mutex;
use crate::log::partition::Partition;
use crate::log::topic::{TopicPartitions, Topics};
use crate::position::{Part, Vector};

/// A list of topics, by name, each with some of its partitions from 0 on.
#[derive(Debug)]
pub(crate) struct Coverage {
    topics: Arc<Topics>,
    heads: Mutex<Heads, { Rank::Heads as u8 }>,
}

/// The heads as last read, and how often heads had moved before that.
#[derive(Debug)]
struct Heads {
    moves: u64,
    vector: Arc<Vector>,
}

impl Coverage {
    fn new(topics: Vec<TopicPartitions>) -> Coverage {
        let topics: Arc<Topics> = topics.into();
        let heads = Heads { moves: moves(&topics), vector: Arc::new(read_heads(&topics)) };
        Coverage { topics, heads: Mutex::new(heads) }
    }

    pub(crate) fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// The heads, including all that were published before this call. Idle views share one vector in this way, and the heads
    /// are read once for a batch that a thousand views frame.
    pub(crate) fn heads(&self) -> Arc<Vector> {
        let mut heads = self.heads.lock();
        // Counted before the heads are read: a head that moves meanwhile is read by the next call.
        let moves = moves(&self.topics);
        if moves != heads.moves {
            *heads = Heads { moves, vector: Arc::new(read_heads(&self.topics)) };
        }
        heads.vector.clone()
    }

    /// The index of a topic, by its name.
    pub(crate) fn topic_at(&self, name: &str) -> Option<usize> {
        self.topics.binary_search_by(|(topic, _)| topic.name().as_ref().cmp(name)).ok()
    }

    /// The indexes of a partition's topic and of the partition in it, if it is of this incarnation.
    pub(crate) fn place(&self, partition: &Partition) -> Option<(usize, usize)> {
        let at = self.topic_at(partition.topic_name())?;
        let index = partition.index() as usize;
        (self.topics[at].1.get(index)?.key() == partition.key()).then_some((at, index))
    }
}

/// How often heads of the topics have moved. Each count only rises, so the sum is unchanged only if all counts are.
fn moves(topics: &Topics) -> u64 {
    topics.iter().fold(0, |sum, (topic, _)| sum.wrapping_add(topic.moves()))
}

fn read_heads(topics: &Topics) -> Vector {
    let part = |(topic, partitions): &TopicPartitions| Part {
        fingerprint: topic.fingerprint(),
        positions: partitions.iter().map(|partition| partition.head()).collect(),
    };
    Vector { parts: topics.iter().map(part).collect() }
}

/// The coverages that are in use.
#[derive(Debug, Default)]
pub(crate) struct Coverages {
    known: HashMap<CoverageKey, Weak<Coverage>>,
    /// At this many entries, those that are no longer in use are dropped.
    sweep_at: usize,
}

/// Addresses of topics and numbers of partitions. A coverage keeps its topics alive, so no other topic can get their addresses.
type CoverageKey = Vec<(usize, usize)>;

impl Coverages {
    /// The coverage of exactly these topics and partitions, which are sorted by the topics' names.
    pub(crate) fn of(&mut self, topics: Vec<TopicPartitions>) -> Arc<Coverage> {
        let key: CoverageKey = topics
            .iter()
            .map(|(topic, partitions)| (Arc::as_ptr(topic) as usize, partitions.len()))
            .collect();
        if let Some(coverage) = self.known.get(&key).and_then(Weak::upgrade) {
            return coverage;
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, coverage| coverage.strong_count() > 0);
            self.sweep_at = (2 * self.known.len()).max(16);
        }
        let coverage = Arc::new(Coverage::new(topics));
        self.known.insert(key, Arc::downgrade(&coverage));
        coverage
    }

    /// The coverage `before` with `topic` added, or in place of the topic of that name; `None` removes the topic of that name.
    pub(crate) fn with(
        &mut self,
        before: &Coverage,
        name: &str,
        topic: Option<TopicPartitions>,
    ) -> Arc<Coverage> {
        let others = before.topics.iter().filter(|(other, _)| other.name().as_ref() != name).cloned();
        let mut topics: Vec<TopicPartitions> = others.chain(topic).collect();
        topics.sort_by(|(a, _), (b, _)| a.name().cmp(b.name()));
        self.of(topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::Account;
    use crate::log::partition::Start;
    use crate::log::topic::Topic;
    use crate::position::{Position, TopicId};

    fn topic(name: &str) -> Arc<Topic> {
        Topic::new(
            name,
            TopicId([1; 16]),
            &[Start { offset: 5, epoch: -1, log_start: 0 }; 2],
            Account::default(),
        )
    }

    fn offsets(vector: &Vector) -> Vec<u64> {
        vector.parts.iter().flat_map(|part| &part.positions).map(|position| position.offset).collect()
    }

    #[test]
    fn heads_are_seen_when_they_rise_and_when_they_fall() {
        let (a, b) = (topic("a"), topic("b"));
        let coverage =
            Coverages::default().of(vec![(a.clone(), a.partitions()), (b.clone(), b.partitions())]);
        assert_eq!(offsets(&coverage.heads()), [5, 5, 5, 5]);
        b.partitions()[1].set_head(Position { offset: 9, epoch: 0 });
        assert_eq!(offsets(&coverage.heads()), [5, 5, 5, 9]);
        b.partitions()[1].set_head(Position { offset: 7, epoch: 0 });
        assert_eq!(offsets(&coverage.heads()), [5, 5, 5, 7]);
        assert!(Arc::ptr_eq(&coverage.heads(), &coverage.heads()));
    }

    #[test]
    fn the_same_topics_are_one_coverage_as_long_as_somebody_holds_it() {
        let (a, b, mut coverages) = (topic("a"), topic("b"), Coverages::default());
        let one = coverages.of(vec![(a.clone(), a.partitions())]);
        let both = coverages.with(&one, "b", Some((b.clone(), b.partitions())));
        assert!(Arc::ptr_eq(
            &both,
            &coverages.of(vec![(a.clone(), a.partitions()), (b.clone(), b.partitions())])
        ));
        assert!(Arc::ptr_eq(&one, &coverages.with(&both, "b", None)));
        drop((one, both));
        for _ in 0..100 {
            let again = topic("a");
            coverages.of(vec![(again.clone(), again.partitions())]);
        }
        assert!(coverages.known.len() <= 16, "{}", coverages.known.len());
    }
}
