//! The catalog of topics and of the views that read them, which change under one lock, and the holds of readers on views.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use tailrace_bridge::*;
//! # fn fill(source: Arc<dyn Source>) -> Result<(), Box<dyn std::error::Error>> {
//! let rules = Arc::new("header:tenant".parse()?);
//! let (linger, privacy) = (Duration::ZERO, Arc::default());
//! let bridge = Bridge::new(BridgeConfig { memory: 64 << 20, rules, linger, privacy }, source);
//! bridge.add_topic("orders", TopicId([7; 16]), &[Start { offset: 0, epoch: -1, log_start: 0 }]);
//!
//! let partition = bridge.topic("orders").expect("it was added").partitions()[0].clone();
//! let record = NewRecord {
//!     offset: 0,
//!     epoch: 0,
//!     timestamp: 1_700_000_000_000,
//!     key: None,
//!     value: Some(b"{}"),
//!     headers: Headers::default(),
//!     tenant: TenantId::new("acme")?,
//!     event_type: None,
//!     form: Form::default(),
//! };
//! // Views have it by now, and the partition's head is behind it.
//! bridge.append(&partition, &[record], Position { offset: 1, epoch: 0 });
//! assert_eq!(partition.head().offset, 1);
//! # Ok(())
//! # }
//! # struct Nothing;
//! # impl Source for Nothing {
//! #     fn read(&self, _: HistoryRead) -> futures::future::BoxFuture<'static, Result<Segment, HistoryError>> {
//! #         Box::pin(async { Err(HistoryError::Gone) })
//! #     }
//! #     fn offsets_at(&self, _: &str, _: OffsetsAt) -> futures::future::BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
//! #         Box::pin(async { Err(HistoryError::Gone) })
//! #     }
//! #     fn refresh(&self) -> futures::future::BoxFuture<'static, ()> {
//! #         Box::pin(async {})
//! #     }
//! # }
//! # fill(Arc::new(Nothing)).unwrap();
//! ```

mod append;
pub(crate) mod health;
pub(crate) mod overview;
mod seen;
mod topics;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::lock_order::Rank;
use crate::base::metrics;
use crate::base::sync::Mutex;
use crate::base::sync::atomic::Ordering;
use crate::core::health::Health;
use crate::core::seen::SeenTenants;
use crate::history::History;
use crate::history::source::Source;
use crate::live::fan_out::FanOut;
use crate::live::ring_memory::RingMemory;
use crate::live::view::{Shared, View};
use crate::live::view_key::ViewKey;
use crate::live::views::Views;
use crate::log::coverage::{Coverage, Coverages};
use crate::log::memory::Budget;
use crate::log::tails::Tails;
use crate::log::topic::Topic;
use crate::record::routing::TenantRules;
use crate::record::tenant::TenantId;
use crate::sse::privacy::Privacy;

/// Why a configured topic is not served. Both reasons may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// Kafka has no such topic (yet).
    Missing,
    /// Kafka does not allow this process to read it.
    Forbidden,
}

impl std::fmt::Display for Unserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unserved::Missing => "does not exist in Kafka now; it is served once it does",
            Unserved::Forbidden => {
                "may not be read with this server's Kafka credentials; it is served once it may"
            }
        })
    }
}

/// What the clones of a bridge share.
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) history: Arc<History>,
    pub(crate) rules: Arc<TenantRules>,
    pub(crate) health: Health,
    pub(crate) tails: Arc<Tails>,
    fan_out: FanOut,
    seen: SeenTenants,
    /// Topics of whose keys indexes are kept, by name.
    indexed: Mutex<HashSet<String>>,
    /// Topics and views are added and removed under this one lock.
    pub(crate) structure: Mutex<Structure, { Rank::Structure as u8 }>,
}

#[derive(Default)]
pub(crate) struct Structure {
    pub(crate) topics: BTreeMap<Arc<str>, Arc<Topic>>,
    views: Views,
    coverages: Coverages,
    /// Configured topics that are not served, by name. One that was served before is still in `topics`, too.
    pub(crate) unserved: BTreeMap<String, Unserved>,
}

/// A reader's hold on a view: dropping the last one retires the view.
pub(crate) struct Hold {
    pub(crate) inner: Arc<Inner>,
    pub(crate) view: Arc<View>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.inner.release(&self.view);
    }
}

impl Inner {
    /// A core without topics. `memory`: bytes for everything that grows with traffic; `linger`: how long frames are gathered
    /// before readers are woken.
    pub(crate) fn new(
        memory: usize,
        rules: Arc<TenantRules>,
        linger: Duration,
        privacy: Arc<Privacy>,
        clock: Arc<dyn Clock>,
        source: Arc<dyn Source>,
    ) -> Inner {
        let budget = Budget::new(memory);
        metrics::set_gauge("tailrace_memory_limit_bytes", memory as f64);
        let ring_memory = RingMemory::new(budget.rings_limit(), budget.rings.clone());
        let tails = Tails::new(budget);
        let history = History::new(clock.clone(), source, tails.clone());
        Inner {
            shared: Shared::new(ring_memory, linger, clock, privacy),
            history,
            rules,
            health: Health::new(),
            tails,
            fan_out: FanOut::default(),
            seen: SeenTenants::default(),
            indexed: Mutex::default(),
            structure: Mutex::default(),
        }
    }

    pub(crate) fn covers(&self, key: &ViewKey, topic: &str) -> bool {
        key.names(topic) && self.rules.can_yield(topic, &key.tenant)
    }

    /// Whether a record of the tenant has been appended since the core began. It may be true of a few tenants without records.
    pub(crate) fn has_seen(&self, tenant: &TenantId) -> bool {
        self.seen.has(tenant)
    }

    /// Notes that the list of topics was refreshed now.
    pub(crate) fn topics_refreshed(&self) {
        let minutes = self.shared.clock.unix_millis() / 60_000;
        self.shared.minutes.store(minutes as u32, Ordering::Relaxed);
    }

    /// Bytes of the budget that are in use.
    pub(crate) fn memory(&self) -> usize {
        let budget = &self.tails.budget;
        let keys = budget.keys.used() + budget.windows.used();
        budget.tail.used() + keys + self.history.memory() + self.shared.ring_memory.used()
    }

    /// Drops frames that every reader had time to take, takes lent memory back, begins waiting reads, and sets gauges.
    pub(crate) fn tick(&self) {
        self.shared.ring_memory.drop_old(self.shared.clock.now());
        self.history.give_back();
        self.history.drop_old_windows();
        self.history.dispatch();
        self.set_gauges();
    }

    /// A hold on the view of this key, which is registered with all its partitions.
    pub(crate) fn hold(self: &Arc<Self>, key: ViewKey) -> Hold {
        let mut structure = self.structure.lock();
        if let Some(view) = structure.views.get(&key) {
            view.enter();
            return Hold { inner: self.clone(), view: view.clone() };
        }
        let Structure { topics, views, coverages, .. } = &mut *structure;
        let covered = topics.values().filter(|topic| self.covers(&key, topic.name()));
        let covered: Vec<Arc<Topic>> = covered.cloned().collect();
        let coverage =
            coverages.of(covered.iter().map(|topic| (topic.clone(), topic.partitions())).collect());
        let view = View::new(key, self.shared.clone(), coverages.of(Vec::new()));
        view.enter();
        self.attach(&view, coverage, &covered);
        views.insert(view.clone());
        Hold { inner: self.clone(), view }
    }

    fn release(&self, view: &Arc<View>) {
        let mut structure = self.structure.lock();
        if view.leave() > 0 {
            return;
        }
        structure.views.remove(view);
        view.coverage().topics().iter().for_each(|(topic, _)| self.fan_out.of(topic.key()).remove(view));
    }

    /// Makes a view read the topics `new`, which are all that `coverage` adds. Batches that are framed from now on find the
    /// view, but it only takes records of partitions that are registered, each from its head on.
    fn attach(&self, view: &Arc<View>, coverage: Arc<Coverage>, new: &[Arc<Topic>]) {
        new.iter().for_each(|topic| self.fan_out.of(topic.key()).insert(view));
        view.extend(coverage, new.iter().flat_map(|topic| topic.partitions()));
    }

    fn list_partitions(&self, structure: &Structure) {
        let all: Vec<_> = structure.topics.values().flat_map(|topic| topic.partitions()).collect();
        let keys: HashSet<u64> = all.iter().map(|partition| partition.key()).collect();
        self.tails.set_partitions(all);
        self.history.retain(&keys);
        let topics: HashSet<u64> = structure.topics.values().map(|topic| topic.key()).collect();
        self.fan_out.retain(|key| topics.contains(&key));
    }

    fn set_gauges(&self) {
        let history = self.history.load();
        metrics::set_gauge("tailrace_replays_waiting", history.waiting as f64);
        metrics::set_gauge("tailrace_history_reads_running", history.running as f64);
        metrics::set_gauge("tailrace_history_memory_bytes", history.bytes as f64);
        metrics::set_gauge("tailrace_log_memory_bytes", self.tails.budget.tail.used() as f64);
        metrics::set_gauge("tailrace_snapshot_index_memory_bytes", self.tails.budget.keys.used() as f64);
        metrics::set_gauge("tailrace_ring_memory_bytes", self.shared.ring_memory.used() as f64);
        let structure = self.structure.lock();
        metrics::set_gauge("tailrace_views", structure.views.len() as f64);
        let topics: Vec<Arc<Topic>> = structure.topics.values().cloned().collect();
        drop(structure);
        for topic in topics {
            set_topic_gauges(&topic);
        }
    }
}

/// Sets how far back the memory of a topic reaches, and what is indexed of it.
fn set_topic_gauges(topic: &Topic) {
    let partitions = topic.partitions();
    let spans = partitions.iter().filter_map(|partition| partition.time_span());
    let span = spans.map(|(oldest, newest)| newest - oldest).max().unwrap_or(0);
    metrics::set_topic_gauge("tailrace_tail_span_seconds", topic.name(), span as f64 / 1000.0);
    if topic.is_indexed() {
        let keys: usize = partitions.iter().map(|partition| partition.keys.keys()).sum();
        let too_large = partitions.iter().filter(|partition| partition.keys.is_too_large()).count();
        metrics::set_topic_gauge("tailrace_snapshot_index_keys", topic.name(), keys as f64);
        metrics::set_topic_gauge("tailrace_snapshot_index_too_large", topic.name(), too_large as f64);
    }
}
