//! The core's front: the catalog of topics, the way in for records, and the door for subscriptions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::beginning::{LastRecords, SinceId, at_offsets, lookup};
use crate::budget::Budget;
use crate::catalog::{Partition, Start, Topic};
use crate::coverage::{Coverage, Coverages};
use crate::envelope::Envelope;
use crate::event_id::EventId;
use crate::filter::Filter;
use crate::gap::{Gap, GapCode};
use crate::health::Health;
use crate::history::{History, HistoryError, OffsetsAt, Source};
use crate::metrics;
use crate::position::{Part, Position, TopicId, Vector};
use crate::reconcile::{Change, Pending, Topics, reconcile, strangers};
use crate::record::NewRecord;
use crate::rings::Rings;
use crate::sabotage::{Sabotage, broken, widen};
use crate::seen::SeenTenants;
use crate::start::From;
use crate::subscription::{Beginning, Subscription};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::tails::Tails;
use crate::tenant::{TenantId, TenantRules};
use crate::view::{Shared, View, ViewKey};
use crate::views::Views;

/// The longest id of a client that is repeated to it; a request's headers may take 16 KiB.
const MAX_ID_TEXT: usize = 16 * 1024;

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

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// Whose records.
    pub tenant: TenantId,
    /// Names of topics; empty: all that can yield the tenant.
    pub topics: Vec<String>,
    /// Which of them.
    pub filter: Filter,
    /// How a record is written.
    pub envelope: Envelope,
    /// Where to begin, unless there is a last event id.
    pub from: From,
    /// The last event id that the client saw, as it came; it wins over `from`.
    pub last_event_id: Option<String>,
}

/// Why a subscription cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// No such topic is served, or it cannot yield this tenant.
    #[error("there is no topic {0:?} here")]
    UnknownTopic(String),
    /// The topic is configured and could yield this tenant, but is not served now.
    #[error("the topic {topic:?} {why}")]
    Unserved {
        /// Its name.
        topic: String,
        /// What is in the way.
        why: Unserved,
    },
    /// Kafka had to be asked where to begin, and did not answer.
    #[error("Kafka could not be asked where to begin: {0}")]
    Unavailable(String),
}

/// Why a topic that is configured is not served. Either may pass.
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

/// The core. Clones share it.
#[derive(Clone)]
pub struct Bridge {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) history: Arc<History>,
    rules: Arc<TenantRules>,
    health: Health,
    tails: Arc<Tails>,
    seen: SeenTenants,
    /// Topics and views come and go under this one lock. It is never taken with an ingest lock held.
    structure: Mutex<Structure>,
}

#[derive(Default)]
struct Structure {
    topics: BTreeMap<Arc<str>, Arc<Topic>>,
    views: Views,
    coverages: Coverages,
    /// Topics that are configured and not served, by name. One that was served before stays among the topics, too.
    unserved: BTreeMap<String, Unserved>,
}

/// A reader's hold on a view: the last one that lets go retires it.
pub(crate) struct Hold {
    pub(crate) inner: Arc<Inner>,
    pub(crate) view: Arc<View>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.inner.release(&self.view);
    }
}

impl Bridge {
    /// A core without topics. `source` answers for what only Kafka has.
    pub fn new(config: BridgeConfig, source: Arc<dyn Source>) -> Bridge {
        let budget = Budget::new(config.memory);
        metrics::set_gauge("tailrace_memory_limit_bytes", config.memory as f64);
        let shared = Shared {
            linger: config.linger,
            runtime: tokio::runtime::Handle::try_current().ok(),
            rings: Rings::new(budget.rings(), budget.rings_used().clone()),
            ..Shared::default()
        };
        let tails = Tails::new(budget);
        let inner = Inner {
            shared: Arc::new(shared),
            history: History::new(source, tails.clone()),
            rules: config.rules,
            health: Health::new(),
            tails,
            seen: SeenTenants::default(),
            structure: Mutex::default(),
        };
        let bridge = Bridge { inner: Arc::new(inner) };
        bridge.topics_refreshed();
        bridge
    }

    /// What the process says of itself.
    pub fn health(&self) -> &Health {
        &self.inner.health
    }

    /// A topic that was not known so far, with a start for each of its partitions.
    pub fn add_topic(&self, name: &str, id: TopicId, starts: &[Start]) {
        let mut structure = self.inner.structure.lock();
        let Structure { topics, views, coverages, .. } = &mut *structure;
        let topic = Topic::new(name, id, starts);
        topics.insert(topic.name().clone(), topic.clone());
        for view in views.iter() {
            if self.inner.covers(view.key(), name) {
                let listed = Some((topic.clone(), topic.partitions()));
                attach(view, coverages.with(&view.coverage(), name, listed), slice::from_ref(&topic));
            }
        }
        self.inner.list_partitions(&structure);
    }

    /// Partitions that a known topic got since, after those that are known.
    pub fn grow_topic(&self, name: &str, more: &[Start]) {
        let mut structure = self.inner.structure.lock();
        let Structure { topics, coverages, .. } = &mut *structure;
        let Some(topic) = topics.get(name) else { return };
        let more = topic.prepare(more);
        let all = [topic.partitions(), more.clone()].concat();
        for view in topic.views().all() {
            view.expect(coverages.with(&view.coverage(), name, Some((topic.clone(), all.clone()))));
            more.iter().for_each(|partition| view.register(partition));
            view.settle();
        }
        topic.publish(more);
        self.inner.list_partitions(&structure);
    }

    /// The topic was deleted and created again: its logs are purged, every view is told, reading begins anew.
    pub fn recreate_topic(&self, name: &str, id: TopicId, starts: &[Start]) {
        if broken(Sabotage::KeepRecreated) {
            return;
        }
        let new = Topic::new(name, id, starts);
        self.replace_topic(name, Some(new));
    }

    /// The topic was deleted.
    pub fn remove_topic(&self, name: &str) {
        self.replace_topic(name, None);
    }

    fn replace_topic(&self, name: &str, new: Option<Arc<Topic>>) {
        let mut structure = self.inner.structure.lock();
        let old = match &new {
            Some(topic) => structure.topics.insert(topic.name().clone(), topic.clone()),
            None => structure.topics.remove(name),
        };
        let Some(old) = old else { return };
        let gaps: Vec<Gap> = old.partitions().iter().map(|gone| gap_of_gone(gone, new.as_ref())).collect();
        for partition in old.partitions() {
            partition.ingest.lock().retired = true;
        }
        for view in old.views().all() {
            if let Some(topic) = &new {
                topic.views().insert(&view);
            }
            let listed = new.as_ref().map(|topic| (topic.clone(), topic.partitions()));
            let coverage = structure.coverages.with(&view.coverage(), name, listed);
            view.replace_topic(&old, new.as_ref(), coverage, &gaps);
        }
        for partition in old.partitions() {
            let freed = partition.log.write().reset(partition.head());
            self.inner.tails.budget.charge(-(freed as isize));
        }
        self.inner.list_partitions(&structure);
    }

    /// The list of topics is as fresh as now. Ids carry the minute.
    pub fn topics_refreshed(&self) {
        let minutes = metrics::unix_millis() / 60_000;
        self.inner.shared.minutes.store(minutes as u32, Ordering::Relaxed);
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
        let ingest = partition.ingest.lock();
        let before = partition.head_and_hole();
        if !ingest.retired
            && let Some(cut) = before.cut_in_hole(records, end)
        {
            drop(ingest);
            self.jump(partition, GapCode::Truncated, cut);
            return self.append(partition, records, end);
        }
        let head = before.position;
        let take_below = broken(Sabotage::TakeBelowHead);
        if ingest.retired || (end.offset <= head.offset && !take_below) {
            return;
        }
        let new = records.partition_point(|record| record.offset < head.offset);
        let records = if take_below { records } else { &records[new..] };
        let segment_size = self.inner.tails.segment_size();
        if broken(Sabotage::HeadBeforeFrames) {
            partition.set_head(end);
            widen(&[Sabotage::HeadBeforeFrames]);
        }
        let open = |room| self.inner.tails.budget.next_segment(room);
        records.iter().for_each(|record| self.inner.seen.note(&record.tenant));
        let (runs, growth) = partition.log.write().append(records, end, segment_size, open);
        let mut rest = records;
        let mut framed = Vec::new();
        for (segment, run) in &runs {
            let (these, others) = rest.split_at(run.len());
            rest = others;
            frame_run(partition, segment, run.start, these, &mut framed);
        }
        widen(&[Sabotage::IdWithoutView, Sabotage::RegisterWithoutWaiting]);
        partition.set_head(end);
        framed.iter().for_each(|view| view.announce());
        // Before the next batch: a run that is still held would make it begin a new segment.
        drop(runs);
        drop(ingest);
        self.inner.tails.budget.charge(growth);
        self.inner.tails.evict();
        self.inner.history.give_way();
    }

    /// Whether a record of the tenant has been appended since the core began. It may say so of a few that have none.
    pub fn has_seen(&self, tenant: &TenantId) -> bool {
        self.inner.seen.has(tenant)
    }

    /// The partition ends at `to` for now: the head moves over what holds no records.
    pub fn advance(&self, partition: &Partition, to: u64) {
        let ingest = partition.ingest.lock();
        let head = partition.head();
        if ingest.retired || to <= head.offset {
            return;
        }
        let end = Position { offset: to, ..head };
        partition.log.write().move_end(end);
        partition.set_head_in_hole(end);
    }

    /// Reading goes on at `to`: offsets before it were passed by retention, or the log was cut back to it. Views get the gap.
    pub fn jump(&self, partition: &Partition, code: GapCode, to: Position) {
        let ingest = partition.ingest.lock();
        if ingest.retired {
            return;
        }
        let gap = Gap::of_partition(code, partition.topic_name(), partition.index(), 0, to.offset);
        let tell = || partition.views().all().iter().for_each(|view| view.gap(partition, &gap, to));
        // An id must not pass the gap before it is announced: a head that rises comes after the views, one that falls before.
        let rises = to.offset > partition.head().offset;
        // Before the cut is counted: who asks after it must not find what was read of the log before.
        self.inner.history.forget(partition);
        if rises {
            tell();
        } else {
            partition.count_truncation();
            partition.set_head(to);
        }
        let freed = partition.log.write().reset(to);
        if rises {
            partition.set_head(to);
            partition.set_log_start(to.offset);
        } else {
            tell();
        }
        drop(ingest);
        self.inner.tails.budget.charge(-(freed as isize));
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

    /// Begins a subscription. Cancel-safe.
    ///
    /// # Errors
    /// [`SubscribeError`]: a topic that is not there, or Kafka not answering where only it knows.
    pub async fn subscribe(&self, request: SubscribeRequest) -> Result<Subscription, SubscribeError> {
        self.inner.check_topics(&request)?;
        let came_with = request.last_event_id.filter(|text| !text.is_empty());
        let parsed = came_with.as_deref().map(str::parse::<EventId>);
        let from = match (&parsed, request.from) {
            (Some(Ok(id)), _) => From::Id(id.clone()),
            (_, from) => from,
        };
        if let From::Id(id) = &from {
            self.inner.see_parts_of(id).await;
        }
        let topics = sorted(request.topics);
        let hold = self.inner.hold(ViewKey::new(request.tenant, topics, request.filter, request.envelope));
        let unknown = matches!(parsed, Some(Err(_)));
        let came_with = came_with.map(|text| printable(text, unknown));
        begin(hold, from, came_with, unknown).await
    }

    /// Bytes of frames that views keep.
    #[cfg(test)]
    pub(crate) fn rings_used(&self) -> usize {
        self.inner.shared.rings.used()
    }

    /// Bytes of the budget that are used: by the tail, by history and what it is read into, and by frames.
    pub fn memory(&self) -> usize {
        self.inner.tails.budget.tail_used() + self.inner.history.memory() + self.inner.shared.rings.used()
    }

    /// To be called once a second: frames that everybody had time to take go, and gauges are set.
    pub fn tick(&self) {
        self.inner.shared.rings.drop_old(Instant::now());
        self.inner.history.give_way();
        self.inner.history.dispatch();
        self.inner.set_gauges();
    }
}

impl Inner {
    fn covers(&self, key: &ViewKey, topic: &str) -> bool {
        key.names(topic) && self.rules.can_yield(topic, &key.tenant)
    }

    /// Whoever comes back may go on with what a topic has in memory though Kafka does not allow to read it any more.
    fn check_topics(&self, request: &SubscribeRequest) -> Result<(), SubscribeError> {
        let structure = self.structure.lock();
        let comes_back = request.last_event_id.as_ref().is_some_and(|id| !id.is_empty());
        for name in &request.topics {
            if !self.rules.can_yield(name, &request.tenant) {
                return Err(SubscribeError::UnknownTopic(name.clone()));
            }
            let is_known = structure.topics.contains_key(name.as_str());
            match structure.unserved.get(name) {
                Some(_) if is_known && comes_back => {}
                Some(why) => return Err(SubscribeError::Unserved { topic: name.clone(), why: *why }),
                None if is_known => {}
                None => return Err(SubscribeError::UnknownTopic(name.clone())),
            }
        }
        Ok(())
    }

    /// Refreshes the list of topics if the id speaks of some that are not known here.
    async fn see_parts_of(&self, id: &EventId) {
        let all_seen = {
            let structure = self.structure.lock();
            id.vector.parts.iter().all(|part| {
                structure.topics.values().any(|topic| {
                    part.fingerprint.matches(topic.fingerprint())
                        && part.positions.len() <= topic.partitions().len()
                })
            })
        };
        if !all_seen {
            self.history.source().refresh().await;
        }
    }

    /// The view of this key, registered with all its partitions, and a hold on it.
    fn hold(self: &Arc<Self>, key: ViewKey) -> Hold {
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
        attach(&view, coverage, &covered);
        views.insert(view.clone());
        Hold { inner: self.clone(), view }
    }

    fn release(&self, view: &Arc<View>) {
        let mut structure = self.structure.lock();
        if view.leave() > 0 {
            return;
        }
        structure.views.remove(view);
        view.coverage().topics().iter().for_each(|(topic, _)| topic.views().remove(view));
    }

    fn list_partitions(&self, structure: &Structure) {
        let all: Vec<_> = structure.topics.values().flat_map(|topic| topic.partitions()).collect();
        let keys: HashSet<u64> = all.iter().map(|partition| partition.key()).collect();
        self.tails.set_partitions(all);
        self.history.retain(&keys);
    }

    fn set_gauges(&self) {
        let history = self.history.load();
        metrics::set_gauge("tailrace_replays_waiting", history.waiting as f64);
        metrics::set_gauge("tailrace_history_reads_running", history.running as f64);
        metrics::set_gauge("tailrace_history_memory_bytes", history.bytes as f64);
        metrics::set_gauge("tailrace_log_memory_bytes", self.tails.budget.tail_used() as f64);
        metrics::set_gauge("tailrace_ring_memory_bytes", self.shared.rings.used() as f64);
        let structure = self.structure.lock();
        metrics::set_gauge("tailrace_views", structure.views.len() as f64);
        let topics: Vec<Arc<Topic>> = structure.topics.values().cloned().collect();
        drop(structure);
        for topic in topics {
            set_topic_gauges(&topic);
        }
    }
}

/// How far back the memory of a topic reaches.
fn set_topic_gauges(topic: &Topic) {
    let partitions = topic.partitions();
    let spans = partitions.iter().filter_map(|partition| partition.time_span());
    let span = spans.map(|(oldest, newest)| newest - oldest).max().unwrap_or(0);
    metrics::set_topic_gauge("tailrace_tail_span_seconds", topic.name(), span as f64 / 1000.0);
}

/// Makes a view read the topics `new`, all that its coverage lacks. Batches that are framed from now on find the view, but
/// only partitions that are registered count, each from its head on.
fn attach(view: &Arc<View>, coverage: Arc<Coverage>, new: &[Arc<Topic>]) {
    view.expect(coverage);
    for topic in new {
        topic.views().insert(view);
        topic.partitions().iter().for_each(|partition| view.register(partition));
    }
    view.settle();
}

fn gap_of_gone(partition: &Partition, new: Option<&Arc<Topic>>) -> Gap {
    let successor = new.and_then(|topic| topic.partitions().get(partition.index() as usize).cloned());
    Gap {
        code: if successor.is_some() { GapCode::Recreated } else { GapCode::Deleted },
        topic: Some(partition.topic_name().clone()),
        partition: Some(partition.index()),
        from: None,
        to: None,
        next: successor.map(|partition| partition.origin().offset),
    }
}

/// Frames one run of appended records into the views of their tenants; `framed` gets those that match any.
fn frame_run(
    partition: &Partition,
    segment: &crate::segment::Segment,
    first: u32,
    records: &[NewRecord<'_>],
    framed: &mut Vec<Arc<View>>,
) {
    if partition.views().is_empty() {
        return;
    }
    let mut by_tenant: HashMap<&TenantId, Vec<u32>> = HashMap::new();
    for (index, record) in (first..).zip(records) {
        by_tenant.entry(&record.tenant).or_default().push(index);
    }
    for (tenant, indexes) in by_tenant {
        let numbered = indexes.iter().map(|&index| (index, segment.record(index)));
        let concerned = partition.views().concerned(tenant, numbered);
        let mut frame = |view: Arc<View>, indexes: &[u32]| {
            if view.frame(partition, indexes.iter().map(|&index| segment.record(index))) {
                framed.push(view);
            }
        };
        concerned.all.into_iter().for_each(|view| frame(view, &indexes));
        concerned.some.into_iter().for_each(|(view, some)| frame(view, &some));
    }
}

async fn begin(
    hold: Hold,
    from: From,
    came_with: Option<String>,
    unknown: bool,
) -> Result<Subscription, SubscribeError> {
    let (shape, topics) = hold.view.topics();
    let history = hold.inner.history.clone();
    let resumed = came_with.is_some() && !unknown;
    let mut beginning = Beginning {
        vector: Vector::default(),
        carried: Vec::new(),
        pending: Vec::new(),
        came_with,
        resumed,
        topics,
        shape,
    };
    if unknown {
        beginning.pending.push(Pending { gap: Gap::unknown_id(), change: Change::Nothing });
    }
    let topics: &Topics = &beginning.topics.clone();
    let unavailable = |error: HistoryError| SubscribeError::Unavailable(error.to_string());
    let at = |at| lookup(&history, topics, at);
    beginning.vector = match from {
        From::Latest => return Ok(Subscription::latest(hold, beginning)),
        From::Earliest => at_offsets(topics, &at(OffsetsAt::Earliest).await.map_err(unavailable)?),
        From::Time(millis) => at_offsets(topics, &at(OffsetsAt::Time(millis)).await.map_err(unavailable)?),
        From::Ago(ago) => {
            let millis = metrics::unix_millis() - ago.as_millis() as i64;
            at_offsets(topics, &at(OffsetsAt::Time(millis)).await.map_err(unavailable)?)
        }
        From::Last(count) => {
            let key = hold.view.key();
            let (tenant, filter) = (&key.tenant, key.filter());
            let last = LastRecords { history: &history, tenant, filter, count: count as usize };
            last.find(topics, &hold.view.snapshot().vector).await
        }
        From::Id(id) => return resume(hold, id, beginning).await,
    };
    Ok(Subscription::replaying(hold, beginning))
}

/// Goes on at an id: holds it against the topics as they are now.
async fn resume(hold: Hold, id: EventId, mut beginning: Beginning) -> Result<Subscription, SubscribeError> {
    let topics = beginning.topics.clone();
    let mut vector = id.vector;
    if broken(Sabotage::OffByOne) {
        let positions = vector.parts.iter_mut().flat_map(|part| &mut part.positions);
        positions.filter(|position| position.is_known()).for_each(|position| position.offset += 1);
    }
    let since = SinceId::of(&hold.inner.history, &vector, id.minutes, &topics)
        .await
        .map_err(|error| SubscribeError::Unavailable(error.to_string()))?;
    beginning.pending.extend(reconcile(&mut vector, &mut beginning.carried, &topics, &since));
    let unseen = strangers(&mut vector, &topics);
    if !hold.view.key().names_topics() {
        beginning.carried.extend(unseen.into_iter().filter(|part| !hold.inner.is_seen(part)));
    }
    beginning.vector = vector;
    Ok(Subscription::replaying(hold, beginning))
}

impl Inner {
    /// Whether the part is of a topic that is known here, though it may not be one of the subscription's.
    fn is_seen(&self, part: &Part) -> bool {
        let structure = self.structure.lock();
        structure.topics.values().any(|topic| topic.fingerprint().name == part.fingerprint.name)
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

/// The client's id as it may be repeated: an unreadable one only if it is harmless text.
fn printable(text: String, unknown: bool) -> String {
    let harmless = text.len() <= MAX_ID_TEXT && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !unknown || harmless { text } else { "unknown".to_owned() }
}
