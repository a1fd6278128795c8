//! The topics that this replica knows.

use std::sync::Arc;
use std::sync::atomic::AtomicU64 as Counter;

use crate::base::sync::RwLock;
use crate::base::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::log::memory::Account;
use crate::log::partition::{Partition, Start};
use crate::position::{Fingerprint, TopicId};

/// Not an atomic of the model checker's: no decision depends on it.
static NEXT_KEY: Counter = Counter::new(1);

/// Some topics, by name, each with some of its partitions from 0 on.
pub(crate) type Topics = [TopicPartitions];

/// A topic with some of its partitions.
pub(crate) type TopicPartitions = (Arc<Topic>, Vec<Arc<Partition>>);

/// One incarnation of a topic: if it is created again under the same name, that is another `Topic`.
#[derive(Debug)]
pub struct Topic {
    name: Arc<str>,
    id: TopicId,
    /// Distinguishes it from every other topic in this process's life, other incarnations included.
    key: u64,
    fingerprint: Fingerprint,
    partitions: RwLock<Vec<Arc<Partition>>>,
    /// How often a head of its partitions has moved.
    moves: Arc<AtomicU64>,
    /// The account that its partitions' logs are charged to.
    account: Account,
    /// Whether indexes of its keys are kept.
    is_indexed: AtomicBool,
}

impl Topic {
    pub(crate) fn new(name: &str, id: TopicId, starts: &[Start], account: Account) -> Arc<Topic> {
        let topic = Topic {
            name: name.into(),
            id,
            key: NEXT_KEY.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            fingerprint: Fingerprint::new(name, id),
            partitions: RwLock::new(Vec::new()),
            moves: Arc::default(),
            account,
            is_indexed: AtomicBool::new(false),
        };
        topic.publish(topic.prepare(starts));
        Arc::new(topic)
    }

    /// The topic's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its Kafka topic id (KIP-516); zero if the broker has none.
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// Its partitions, in order.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().clone()
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// How often the heads of its partitions have moved.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Acquire)
    }

    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// Whether indexes of its keys are kept, once a snapshot has asked for them.
    pub(crate) fn is_indexed(&self) -> bool {
        self.is_indexed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_indexed(&self, is_indexed: bool) {
        self.is_indexed.store(is_indexed, Ordering::Relaxed);
    }

    /// Makes partitions that follow the existing ones. They are not visible before [`Topic::publish`].
    pub(crate) fn prepare(&self, starts: &[Start]) -> Vec<Arc<Partition>> {
        let first = self.partitions.read().len() as u32;
        (first..).zip(starts).map(|(index, start)| self.new_partition(index, *start)).collect()
    }

    fn new_partition(&self, index: u32, start: Start) -> Arc<Partition> {
        Arc::new(Partition::new(self, self.moves.clone(), self.account.clone(), index, start))
    }

    /// Adds partitions after the existing ones. Views must have registered them before: a batch may come at once.
    pub(crate) fn publish(&self, more: Vec<Arc<Partition>>) {
        self.partitions.write().extend(more);
    }
}
