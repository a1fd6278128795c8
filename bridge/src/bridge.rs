//! The core's interface: it changes the catalog of topics, appends records, and starts subscriptions.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Clock, TokioClock};
use crate::base::meter::Meter;
use crate::base::metrics;
use crate::base::sync::atomic::Ordering;
use crate::core::health::Health;
use crate::core::overview::TopicOverview;
use crate::core::{Inner, Unserved};
use crate::history::source::Source;
use crate::live::traced::Deliveries;
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
use crate::sse::privacy::Privacy;

/// Settings of the core.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Bytes for everything that grows with traffic: the tail, history, and frames.
    pub memory: usize,
    /// Which tenant a record belongs to. The core uses it to decide which topics can have records of a tenant.
    pub rules: Arc<TenantRules>,
    /// How long frames are gathered before readers are woken; zero: they are woken at once.
    pub linger: Duration,
    /// What tenants may see of records and positions.
    pub privacy: Arc<Privacy>,
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
    /// A core without topics, in the current runtime. `source` answers for what only Kafka has.
    pub fn new(config: BridgeConfig, source: Arc<dyn Source>) -> Bridge {
        Bridge::with_clock(config, source, Arc::new(TokioClock::new()))
    }

    /// A core that takes the time from `clock`, and runs its tasks on it, instead of the operating system's clock.
    pub fn with_clock(config: BridgeConfig, source: Arc<dyn Source>, clock: Arc<dyn Clock>) -> Bridge {
        let BridgeConfig { memory, rules, linger, privacy } = config;
        let bridge = Bridge { inner: Arc::new(Inner::new(memory, rules, linger, privacy, clock, source)) };
        bridge.topics_refreshed();
        bridge
    }

    /// Tells `deliveries` from now on of records whose producers sample their traces, and that live streams have got. Only the
    /// first call counts.
    pub fn tell_deliveries(&self, deliveries: Arc<dyn Deliveries>) {
        let _ = self.inner.shared.deliveries.set(deliveries);
    }

    /// What the process reports about itself.
    pub fn health(&self) -> &Health {
        &self.inner.health
    }

    /// Adds a topic that was not known so far, with a start for each of its partitions.
    pub fn add_topic(&self, name: &str, id: TopicId, starts: &[Start]) {
        self.inner.add_topic(name, id, starts);
    }

    /// Adds partitions to a known topic, after its existing ones.
    pub fn grow_topic(&self, name: &str, more: &[Start]) {
        self.inner.grow_topic(name, more);
    }

    /// The topic was deleted and created again: its logs are purged, every view gets the gaps, and reading begins anew.
    pub fn recreate_topic(&self, name: &str, id: TopicId, starts: &[Start]) {
        self.inner.recreate_topic(name, id, starts);
    }

    /// The topic was deleted.
    pub fn remove_topic(&self, name: &str) {
        self.inner.remove_topic(name);
    }

    /// Notes that the list of topics was refreshed now. Ids contain the minute.
    pub fn topics_refreshed(&self) {
        self.inner.topics_refreshed();
    }

    /// Sets which configured topics are not served now: these, and no others.
    pub fn set_unserved(&self, unserved: BTreeMap<String, Unserved>) {
        self.inner.structure.lock().unserved = unserved;
    }

    /// Sets of which topics an index from key to newest record is kept, so that a snapshot reads only what it delivers: these,
    /// whether they exist yet or not, and no others. An index is built when the first snapshot asks for it. Snapshots of other
    /// topics read through their partitions.
    pub fn set_snapshot_topics(&self, names: HashSet<String>) {
        self.inner.set_indexed(names);
    }

    /// A topic by its name.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.inner.structure.lock().topics.get(name).cloned()
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.inner.structure.lock().topics.values().cloned().collect()
    }

    /// Appends a batch of one partition: `records` in offset order, without those of no tenant, and `end`, the next offset
    /// after the whole batch with the leader epoch of its last record. Records below the head are dropped, unless they lie in a
    /// hole: then the log was truncated to the start of the hole, and views get the gap first.
    ///
    /// The order makes joins exact: log, then views, then the head.
    pub fn append(&self, partition: &Partition, records: &[NewRecord<'_>], end: Position) {
        self.inner.append(partition, records, end);
    }

    /// The partition ends at `to` for now: moves the head over offsets without records.
    pub fn advance(&self, partition: &Partition, to: u64) {
        self.inner.advance(partition, to);
    }

    /// Reading continues at `to`: retention removed the offsets before it, or the log was truncated to it. Views get the gap.
    pub fn jump(&self, partition: &Partition, code: GapCode, to: Position) {
        self.inner.jump(partition, code, to);
    }

    /// Whether a record of the tenant has been appended since the core began. It may be true of a few tenants without records.
    pub fn has_seen(&self, tenant: &TenantId) -> bool {
        self.inner.has_seen(tenant)
    }

    /// The served topics that can have records of the tenant and that `wanted` names, by name. It examines a bounded number of
    /// records in memory, about a millisecond's worth, and asks Kafka nothing.
    pub fn overview(&self, tenant: &TenantId, wanted: impl Fn(&str) -> bool) -> Vec<TopicOverview> {
        self.inner.overview(tenant, wanted)
    }

    /// How many partitions a subscription of the tenant to these topics has (to all topics, if none is named), and how many
    /// bytes its ids take as text with the present heads. If there are no more than `few` partitions, and ids are not sealed,
    /// zero bytes.
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
        let seal = self.inner.shared.seal(tenant);
        if partitions <= few && seal.is_none() {
            return (partitions, 0);
        }
        let part = |topic: &Arc<Topic>| Part {
            fingerprint: topic.fingerprint(),
            positions: topic.partitions().iter().map(|partition| partition.head()).collect(),
        };
        let minutes = self.inner.shared.minutes.load(Ordering::Relaxed);
        let vector = Vector { parts: topics.iter().map(part).collect() };
        let mut id = String::new();
        EventId::encode(&mut id, minutes, &vector, seal);
        (partitions, id.len())
    }

    /// Starts a subscription. Cancel-safe.
    ///
    /// # Errors
    /// [`SubscribeError`]: a topic does not exist or is not served, or Kafka was asked where to start and did not answer.
    pub async fn subscribe(&self, request: SubscribeRequest) -> Result<Subscription, SubscribeError> {
        subscribe::subscribe(&self.inner, request, None).await
    }

    /// As [`Bridge::subscribe`], and its replay examines no more bytes a second than `meter` allows, which all subscriptions of
    /// the tenant should share. What counts: each record of the tenant that is compared with the filter, from memory or history,
    /// and what was read from Kafka for it, unless another subscription asked for that first. Cancel-safe.
    ///
    /// # Errors
    /// As [`Bridge::subscribe`].
    pub async fn subscribe_metered(
        &self,
        request: SubscribeRequest,
        meter: Arc<Meter>,
    ) -> Result<Subscription, SubscribeError> {
        subscribe::subscribe(&self.inner, request, Some(meter)).await
    }

    /// Bytes of frames that views keep.
    #[cfg(test)]
    pub(crate) fn rings_used(&self) -> usize {
        self.inner.shared.ring_memory.used()
    }

    /// Bytes of the budget that are in use: by the tail, by history and its running reads, and by frames.
    pub fn memory(&self) -> usize {
        self.inner.memory()
    }

    /// To be called once a second: drops frames that every reader had time to take, and sets gauges.
    pub fn tick(&self) {
        self.inner.tick();
    }
}
