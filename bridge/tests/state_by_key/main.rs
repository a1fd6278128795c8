//! Snapshots and conflation against a ledger: when a page is told that it is live, it has the newest record of each key below
//! its position, and after a snapshot everything, whatever happened. Two replicas with memories of their own serve the pages,
//! which are cut at any frame.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is not the core")]

mod cases;
mod ledger;
mod page;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Kafka, Log, record};
use page::{Kind, Page};
use proptest::prelude::*;
use support::joined;
use support::manual_clock::ManualClock;
use tailrace_bridge::*;

const PARTITIONS: usize = 2;
const REPLICAS: usize = 2;
const KINDS: [Kind; 5] = [
    Kind { from_snapshot: true, conflate: false, group: None },
    Kind { from_snapshot: true, conflate: true, group: None },
    Kind { from_snapshot: false, conflate: true, group: None },
    Kind { from_snapshot: true, conflate: false, group: Some(1) },
    Kind { from_snapshot: true, conflate: true, group: Some(1) },
];

/// A record to write.
#[derive(Clone)]
struct New {
    tenant: &'static str,
    key: Option<u8>,
    group: Option<u8>,
}

/// On one line: there are many.
impl std::fmt::Debug for New {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let New { tenant, key, group } = self;
        write!(f, "{tenant}/{}={}", key.map_or(-1, i32::from), group.map_or(-1, i32::from))
    }
}

/// One step of a run.
#[derive(Clone, Debug)]
enum Event {
    Write {
        partition: usize,
        records: Vec<New>,
    },
    /// A replica ingests what Kafka has of a partition.
    Ingest {
        replica: usize,
        partition: usize,
    },
    Read {
        page: usize,
        rounds: usize,
        records: usize,
    },
    Heartbeat {
        page: usize,
    },
    /// A page is cut, perhaps with the frames that were sent last, and comes back to a replica.
    Cut {
        page: usize,
        lost: bool,
        replica: usize,
    },
    /// A replica restarts, with its memory so far behind the end.
    Restart {
        replica: usize,
        back: u64,
    },
    Compact {
        partition: usize,
        eighths: u64,
        tombstones: bool,
    },
    Retain {
        partition: usize,
        eighths: u64,
    },
    /// Replicas that do not notice it at once do so when they ingest.
    Truncate {
        partition: usize,
        back: u64,
        noticed: [bool; REPLICAS],
    },
    Recreate,
    Pass {
        seconds: u64,
    },
}

fn new_record() -> impl Strategy<Value = New> {
    let tenant = prop_oneof![4 => Just("acme"), 1 => Just("globex")];
    let key = prop_oneof![12 => (0..6u8).prop_map(Some), 1 => Just(None)];
    let group = prop_oneof![6 => (0..2u8).prop_map(Some), 1 => Just(None)];
    (tenant, key, group).prop_map(|(tenant, key, group)| New { tenant, key, group })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let (page, replica, partition) = (0..KINDS.len(), 0..REPLICAS, 0..PARTITIONS);
    let event = prop_oneof![
        6 => (partition.clone(), prop::collection::vec(new_record(), 1..30))
            .prop_map(|(partition, records)| Event::Write { partition, records }),
        6 => (replica.clone(), partition.clone())
            .prop_map(|(replica, partition)| Event::Ingest { replica, partition }),
        14 => (page.clone(), 1..6usize, 1..6usize)
            .prop_map(|(page, rounds, records)| Event::Read { page, rounds, records }),
        1 => page.clone().prop_map(|page| Event::Heartbeat { page }),
        5 => (page, any::<bool>(), replica.clone())
            .prop_map(|(page, lost, replica)| Event::Cut { page, lost, replica }),
        1 => (replica, 0..60u64).prop_map(|(replica, back)| Event::Restart { replica, back }),
        2 => (partition.clone(), 1..9u64, any::<bool>())
            .prop_map(|(partition, eighths, tombstones)| Event::Compact { partition, eighths, tombstones }),
        1 => (partition.clone(), 1..5u64).prop_map(|(partition, eighths)| Event::Retain { partition, eighths }),
        1 => (partition, 0..20u64, any::<[bool; REPLICAS]>())
            .prop_map(|(partition, back, noticed)| Event::Truncate { partition, back, noticed }),
        1 => Just(Event::Recreate),
        2 => (1..30u64).prop_map(|seconds| Event::Pass { seconds }),
    ];
    prop::collection::vec(event, 20..140)
}

/// Of a replica.
#[derive(Clone, Copy, Debug)]
struct Setup {
    memory: usize,
    is_indexed: bool,
}

struct Scene {
    clock: ManualClock,
    kafka: Kafka,
    topic: TopicId,
    setups: [Setup; REPLICAS],
    replicas: Vec<Bridge>,
    pages: Vec<(Page, usize)>,
    /// How often a page's state was compared with the ledger, by key.
    checked: usize,
}

impl Scene {
    fn new(setups: [Setup; REPLICAS]) -> Scene {
        let (clock, kafka, topic) = (ManualClock::new(), Kafka::default(), TopicId([1; 16]));
        kafka.0.lock().unwrap().resize_with(PARTITIONS, Log::default);
        let pages = KINDS.map(|kind| (Page::new(kind), 0)).into();
        let mut scene = Scene { clock, kafka, topic, setups, replicas: Vec::new(), pages, checked: 0 };
        scene.replicas = (0..REPLICAS).map(|replica| scene.started(replica, 0)).collect();
        scene
    }

    /// A replica whose memory begins so far behind the ends of the logs. Only at the end of a log is it told an epoch.
    fn started(&self, replica: usize, back: u64) -> Bridge {
        let Setup { memory, is_indexed } = self.setups[replica];
        let config = BridgeConfig {
            memory,
            rules: Arc::new("header:tenant".parse().unwrap()),
            linger: Duration::ZERO,
            privacy: Arc::default(),
        };
        let bridge = Bridge::with_clock(config, Arc::new(self.kafka.clone()), Arc::new(self.clock.clone()));
        if is_indexed {
            bridge.set_snapshot_topics(HashSet::from(["orders".to_owned()]));
        }
        let logs = self.kafka.0.lock().unwrap();
        let start = |log: &Log| {
            let offset = log.end.saturating_sub(back).max(log.start);
            let epoch = if offset == log.end { log.epoch } else { -1 };
            Start { offset, epoch, log_start: log.start }
        };
        bridge.add_topic("orders", self.topic, &logs.iter().map(start).collect::<Vec<_>>());
        bridge
    }

    fn play(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Write { partition, records } => {
                let log = &mut self.kafka.0.lock().unwrap()[*partition];
                for new in records {
                    let key = new.key.map(|key| format!("k{key}"));
                    log.write(new.tenant, key, new.group, self.clock.unix_millis());
                }
            }
            Event::Ingest { replica, partition } => self.ingest(*replica, *partition),
            Event::Read { page, rounds, records } => return self.read(*page, *rounds, *records),
            Event::Heartbeat { page } => {
                let page = &mut self.pages[*page].0;
                if let Some(id) = page.subscription.as_mut().and_then(Subscription::progress) {
                    page.id = Some(id);
                }
            }
            Event::Cut { page, lost, replica } => {
                let (page, at) = &mut self.pages[*page];
                if let Some(mut subscription) = page.subscription.take().filter(|_| *lost) {
                    subscription.next(Budget { records: 3, bytes: 4096 });
                }
                *at = *replica;
            }
            Event::Restart { replica, back } => {
                let of_replica = self.pages.iter_mut().filter(|(_, at)| at == replica);
                of_replica.for_each(|(page, _)| page.subscription = None);
                self.replicas[*replica] = self.started(*replica, *back);
            }
            Event::Compact { partition, eighths, tombstones } => {
                let log = &mut self.kafka.0.lock().unwrap()[*partition];
                log.compact(log.end * eighths / 8, *tombstones);
            }
            Event::Retain { partition, eighths } => {
                let log = &mut self.kafka.0.lock().unwrap()[*partition];
                log.retain_from(log.start + (log.end - log.start) * eighths / 8);
            }
            Event::Truncate { partition, back, noticed } => self.truncate(*partition, *back, *noticed),
            Event::Recreate => self.recreate(),
            Event::Pass { seconds } => {
                for _ in 0..*seconds {
                    self.clock.advance(Duration::from_secs(1));
                    self.replicas.iter().for_each(Bridge::tick);
                }
            }
        }
        Ok(())
    }

    /// Both replicas have read as far as the log went.
    fn truncate(&self, partition: usize, back: u64, noticed: [bool; REPLICAS]) {
        (0..REPLICAS).for_each(|replica| self.ingest(replica, partition));
        {
            let log = &mut self.kafka.0.lock().unwrap()[partition];
            log.cut(back);
            // Without a key, so that compaction leaves a record of the new leader.
            log.write("acme", None, Some(0), self.clock.unix_millis());
        }
        (0..REPLICAS).filter(|replica| noticed[*replica]).for_each(|replica| self.ingest(replica, partition));
    }

    fn recreate(&mut self) {
        self.topic = TopicId([self.topic.0[0] + 1; 16]);
        *self.kafka.0.lock().unwrap() = (0..PARTITIONS).map(|_| Log::default()).collect();
        let start = Start { offset: 0, epoch: -1, log_start: 0 };
        for replica in &self.replicas {
            replica.recreate_topic("orders", self.topic, &[start; PARTITIONS]);
        }
    }

    /// As the consumer does it: a gap for what Kafka no longer has, or for a truncation, comes first.
    fn ingest(&self, replica: usize, partition: usize) {
        let bridge = &self.replicas[replica];
        let target = bridge.topic("orders").unwrap().partitions()[partition].clone();
        let log = &self.kafka.0.lock().unwrap()[partition];
        let head = target.head();
        if head.offset < log.start {
            bridge.jump(&target, GapCode::Retention, Position { offset: log.start, epoch: -1 });
        } else if let Some(to) = log.truncated_below(head) {
            bridge.jump(&target, GapCode::Truncated, to);
        }
        let head = target.head().offset;
        let records: Vec<NewRecord<'_>> =
            log.facts().filter(|fact| fact.offset >= head).map(record).collect();
        for batch in records.chunks(7) {
            let last = batch.last().expect("a chunk is not empty");
            bridge.append(&target, batch, Position { offset: last.offset + 1, epoch: last.epoch });
        }
        bridge.advance(&target, log.end);
    }

    fn read(&mut self, which: usize, rounds: usize, records: usize) -> Result<(), String> {
        let (page, replica) = &mut self.pages[which];
        let mut subscription = match page.subscription.take() {
            Some(subscription) => subscription,
            None => {
                let subscribed = self.replicas[*replica].subscribe(page.request());
                let mut fresh = self.clock.block_on(subscribed).map_err(|error| error.to_string())?;
                page.id = Some(fresh.id());
                fresh
            }
        };
        for _ in 0..rounds {
            match subscription.next(Budget { records, bytes: 4096 }) {
                Next::Frames { bytes, .. } => {
                    if page.take(&joined(bytes))?
                        && let Some(topic) = self.replicas[*replica].topic("orders")
                    {
                        let id = subscription.id();
                        let logs = self.kafka.0.lock().unwrap();
                        let heads = topic.partitions().into_iter().map(|partition| partition.head());
                        // What it has of a log that was truncated since is told by a gap, later.
                        let is_stale =
                            heads.zip(logs.iter()).any(|(head, log)| log.truncated_below(head).is_some());
                        // It may not know yet that the topic was created again.
                        if let Some(positions) = positions(&id, self.topic).filter(|_| !is_stale) {
                            self.checked += page.expect_newest(&logs, &positions)?;
                            if page.kind.from_snapshot && !page.kind.conflate {
                                page.synced_at.get_or_insert(positions);
                            }
                        }
                    }
                    if page.is_void {
                        *page = Page::new(page.kind);
                        return Ok(());
                    }
                }
                Next::Wait if subscription.is_live() => break,
                Next::Wait => self.clock.block_on(subscription.changed()),
            }
        }
        page.subscription = Some(subscription);
        Ok(())
    }

    /// Ingests and reads everything to the end, and compares.
    fn settle(&mut self) -> Result<(), String> {
        for partition in 0..PARTITIONS {
            (0..REPLICAS).for_each(|replica| self.ingest(replica, partition));
            // A replica that has not read any record knows no epoch.
            self.kafka.0.lock().unwrap()[partition].write("globex", None, Some(0), self.clock.unix_millis());
            (0..REPLICAS).for_each(|replica| self.ingest(replica, partition));
        }
        for which in 0..self.pages.len() {
            let mut is_settled = false;
            for _ in 0..400 {
                let before = self.pages[which].0.came.values().map(Vec::len).sum::<usize>();
                self.read(which, 4, 64)?;
                let page = &self.pages[which].0;
                let is_live = page.subscription.as_ref().is_some_and(Subscription::is_live);
                if is_live && page.came.values().map(Vec::len).sum::<usize>() == before {
                    is_settled = true;
                    break;
                }
            }
            let (page, replica) = &self.pages[which];
            let id = page.id.as_deref().map(|id| positions(id, self.topic));
            if !is_settled {
                return Err(format!("{:?} at {replica} does not get to the end: {id:?}", page.kind));
            }
            let logs = self.kafka.0.lock().unwrap();
            let ends: Vec<u64> = logs.iter().map(|log| log.end).collect();
            self.checked += page.expect_newest(&logs, &ends)?;
            page.expect_everything(&logs)?;
            page.expect_keyless(&logs)?;
        }
        Ok(())
    }
}

/// The offsets of an id in this incarnation of the topic.
fn positions(id: &str, topic: TopicId) -> Option<Vec<u64>> {
    let id: EventId = id.parse().unwrap();
    let now = Fingerprint::new("orders", topic);
    let part = id.vector.parts.iter().find(|part| part.fingerprint == now)?;
    Some(part.positions.iter().map(|position| position.offset).collect())
}

fn setup() -> impl Strategy<Value = Setup> {
    let memory = prop_oneof![Just(64 * 1024), Just(512 * 1024), Just(16 << 20)];
    (memory, any::<bool>()).prop_map(|(memory, is_indexed)| Setup { memory, is_indexed })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_page_has_the_newest_record_of_each_key(
        events in events(),
        setups in [setup(), setup()],
    ) {
        let mut scene = Scene::new(setups);
        for event in &events {
            scene.play(event).map_err(TestCaseError::fail)?;
        }
        scene.settle().map_err(TestCaseError::fail)?;
    }
}
