//! The core's front: the catalog of topics, the way in for records, and the door for subscriptions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Clock, TokioClock};
use crate::base::metrics;
use crate::base::sync::atomic::Ordering;
use crate::core::health::Health;
use crate::core::{Inner, Unserved};
use crate::history::source::Source;
use crate::log::partition::{Partition, Start};
use crate::log::topic::Topic;
use crate::position::event_id::EventId;
use crate::position::gap::GapCode;
use crate::position::{Part, Position, TopicId, Vector};
use crate::read::request::{SubscribeError, SubscribeRequest};
use crate::read::subscribe;
use crate::read::subscription::Subscription;
use crate::record::NewRecord;
use crate::record::routing::TenantRules;
use crate::record::tenant::TenantId;

/// Settings of the core.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Bytes for everything that grows with traffic: the tail, history, and frames.
    pub memory: usize,
    /// Which tenant a record belongs to, here for the question which topics can yield a tenant.
    pub rules: Arc<TenantRules>,
    /// How long frames gather before readers are woken; zero: not at all.
    pub linger: Duration,
}

/// Registers the core's metrics with their help texts.
pub fn describe_metrics() {
    metrics::describe(GapCode::ALL.map(GapCode::as_str));
}

/// The core. Clones share it.
#[derive(Clone)]
pub struct Bridge {
    inner: Arc<Inner>,
}

impl Bridge {
    /// A core without topics, in the runtime that this is called in. `source` answers for what only Kafka has.
    pub fn new(config: BridgeConfig, source: Arc<dyn Source>) -> Bridge {
        Bridge::with_clock(config, source, Arc::new(TokioClock::new()))
    }

    /// One that is told the time, and has its tasks run, by another clock than the operating system's.
    pub fn with_clock(config: BridgeConfig, source: Arc<dyn Source>, clock: Arc<dyn Clock>) -> Bridge {
        let BridgeConfig { memory, rules, linger } = config;
        let bridge = Bridge { inner: Arc::new(Inner::new(memory, rules, linger, clock, source)) };
        bridge.topics_refreshed();
        bridge
    }

    /// What the process says of itself.
    pub fn health(&self) -> &Health {
        &self.inner.health
    }

    /// A topic that was not known so far, with a start for each of its partitions.
    pub fn add_topic(&self, name: &str, id: TopicId, starts: &[Start]) {
        self.inner.add_topic(name, id, starts);
    }

    /// Partitions that a known topic got since, after those that are known.
    pub fn grow_topic(&self, name: &str, more: &[Start]) {
        self.inner.grow_topic(name, more);
    }

    /// The topic was deleted and created again: its logs are purged, every view is told, reading begins anew.
    pub fn recreate_topic(&self, name: &str, id: TopicId, starts: &[Start]) {
        self.inner.recreate_topic(name, id, starts);
    }

    /// The topic was deleted.
    pub fn remove_topic(&self, name: &str) {
        self.inner.remove_topic(name);
    }

    /// The list of topics is as fresh as now. Ids carry the minute.
    pub fn topics_refreshed(&self) {
        self.inner.topics_refreshed();
    }

    /// These topics, and no others, are configured and not served now.
    pub fn set_unserved(&self, unserved: BTreeMap<String, Unserved>) {
        self.inner.structure.lock().unserved = unserved;
    }

    /// A topic by its name.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.inner.structure.lock().topics.get(name).cloned()
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.inner.structure.lock().topics.values().cloned().collect()
    }

    /// Appends a batch of one partition: `records` in offset order, those of no tenant left out, and `end`, the next offset
    /// after the whole batch with the leader epoch of its last record. Records below the head are dropped, unless they lie
    /// where there was a hole: then the log was cut back to that, and views get the gap first.
    ///
    /// The order is what makes joins exact: log, then views, then the head.
    pub fn append(&self, partition: &Partition, records: &[NewRecord<'_>], end: Position) {
        self.inner.append(partition, records, end);
    }

    /// The partition ends at `to` for now: the head moves over what holds no records.
    pub fn advance(&self, partition: &Partition, to: u64) {
        self.inner.advance(partition, to);
    }

    /// Reading goes on at `to`: offsets before it were passed by retention, or the log was cut back to it. Views get the gap.
    pub fn jump(&self, partition: &Partition, code: GapCode, to: Position) {
        self.inner.jump(partition, code, to);
    }

    /// Whether a record of the tenant has been appended since the core began. It may say so of a few that have none.
    pub fn has_seen(&self, tenant: &TenantId) -> bool {
        self.inner.has_seen(tenant)
    }

    /// How many partitions a subscription of the tenant to these topics has (all, if none is named), and how many bytes its
    /// ids take as text, now that the heads are where they are. Of partitions that are no more than `few`, zero bytes.
    pub fn id_size(&self, tenant: &TenantId, names: &[String], few: usize) -> (usize, usize) {
        let topics: Vec<Arc<Topic>> = {
            let structure = self.inner.structure.lock();
            let is_meant = |topic: &&Arc<Topic>| {
                (names.is_empty() || names.iter().any(|name| **name == **topic.name()))
                    && self.inner.rules.can_yield(topic.name(), tenant)
            };
            structure.topics.values().filter(is_meant).cloned().collect()
        };
        let partitions: usize = topics.iter().map(|topic| topic.partitions().len()).sum();
        if partitions <= few {
            return (partitions, 0);
        }
        let part = |topic: &Arc<Topic>| Part {
            fingerprint: topic.fingerprint(),
            positions: topic.partitions().iter().map(|partition| partition.head()).collect(),
        };
        let minutes = self.inner.shared.minutes.load(Ordering::Relaxed);
        let id = EventId { minutes, vector: Vector { parts: topics.iter().map(part).collect() } };
        (partitions, id.to_string().len())
    }

    /// Starts a subscription. Cancel-safe.
    ///
    /// # Errors
    /// [`SubscribeError`]: a topic that is not there, or Kafka not answering where only it knows.
    pub async fn subscribe(&self, request: SubscribeRequest) -> Result<Subscription, SubscribeError> {
        subscribe::subscribe(&self.inner, request).await
    }

    /// Bytes of frames that views keep.
    #[cfg(test)]
    pub(crate) fn rings_used(&self) -> usize {
        self.inner.shared.ring_memory.used()
    }

    /// Bytes of the budget that are used: by the tail, by history and what it is read into, and by frames.
    pub fn memory(&self) -> usize {
        self.inner.memory()
    }

    /// To be called once a second: frames that everybody had time to take go, and gauges are set.
    pub fn tick(&self) {
        self.inner.tick();
    }
}
