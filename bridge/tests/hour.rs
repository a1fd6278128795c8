//! An hour of a replica in less than a second: joins, disconnects, heartbeats, retention and truncations. The test moves the
//! clock, so that nothing waits for time to pass.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is not the core")]

mod support;

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use proptest::prelude::*;
use support::manual_clock::ManualClock;
use support::{blocks, joined, request};
use tailrace_bridge::*;

const HOUR: Duration = Duration::from_secs(3600);
const HEARTBEAT: u64 = 15;
const PARTITIONS: usize = 2;
const CLIENTS: usize = 3;
const MEMORY: usize = 512 * 1024;

/// A record of Kafka.
#[derive(Clone, Debug)]
struct Fact {
    offset: u64,
    epoch: i32,
    tenant: &'static str,
    value: String,
    timestamp: i64,
    /// The log was truncated below it: Kafka does not have it any more.
    is_cut: bool,
}

/// The log of one partition at its leader.
#[derive(Debug, Default)]
struct Log {
    /// All that was ever written, in the order of writing.
    written: Vec<Fact>,
    start: u64,
    end: u64,
    epoch: i32,
}

impl Log {
    fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.written.iter().filter(|fact| !fact.is_cut && fact.offset >= self.start)
    }

    fn write(&mut self, partition: usize, tenant: &'static str, timestamp: i64) {
        let (offset, epoch) = (self.end, self.epoch);
        let value = format!("{partition}:{offset}:{epoch}:{}", "x".repeat(700));
        self.written.push(Fact { offset, epoch, tenant, value, timestamp, is_cut: false });
        self.end += 1;
    }

    /// A new leader lacks the end of the log.
    fn cut(&mut self, back: u64) {
        self.end = self.end.saturating_sub(back).max(self.start);
        self.epoch += 1;
        for fact in self.written.iter_mut().filter(|fact| fact.offset >= self.end) {
            fact.is_cut = true;
        }
    }

    /// Where records of leaders up to this epoch end (KIP-320).
    fn end_of(&self, epoch: i32) -> u64 {
        self.facts().find(|fact| fact.epoch > epoch).map_or(self.end, |fact| fact.offset)
    }

    /// As the consumer checks what a leader has confirmed. The record below must not be of a later leader than the position; if the
    /// record above is of an earlier leader than the position, it must be that leader's first.
    fn may_follow(&self, read: &HistoryRead) -> bool {
        let first = self.facts().find(|fact| fact.offset >= read.from).map(|fact| fact.epoch);
        let below = self.facts().take_while(|fact| fact.offset < read.from).last().map(|fact| fact.epoch);
        let latest = first.map_or(read.epoch, |first| read.epoch.min(first - 1));
        first == Some(read.epoch) || below.is_none_or(|below| below <= latest)
    }

    fn read(&self, read: &HistoryRead) -> Result<Segment, HistoryError> {
        let (start, end) = (self.start, self.end);
        if read.from < start || (read.epoch < 0 && read.from > end) {
            return Err(HistoryError::OutOfRange { start, end });
        }
        let confirmed = self.end_of(read.epoch);
        if read.epoch >= 0 && confirmed < read.from {
            return Err(HistoryError::Truncated { end: confirmed, epoch: self.epoch });
        }
        if read.epoch >= 0 && !self.may_follow(read) {
            return Err(HistoryError::Cut);
        }
        let mut builder = SegmentBuilder::new(read.from);
        let mut to = Position { offset: read.from, epoch: -1 };
        for fact in self.facts().filter(|fact| fact.offset >= read.from) {
            if fact.offset >= read.until || builder.bytes() > read.max_bytes {
                break;
            }
            builder.push(&record(fact));
            to = Position { offset: fact.offset + 1, epoch: fact.epoch };
        }
        Ok(builder.finish(to))
    }
}

fn record(fact: &Fact) -> NewRecord<'_> {
    NewRecord {
        offset: fact.offset,
        epoch: fact.epoch,
        timestamp: fact.timestamp,
        key: None,
        value: Some(fact.value.as_bytes()),
        headers: Headers::default(),
        tenant: TenantId::new(fact.tenant).unwrap(),
        event_type: None,
        form: tailrace_bridge::Form::default(),
    }
}

#[derive(Clone, Default)]
struct Kafka(Arc<Mutex<Vec<Log>>>);

impl Source for Kafka {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        let kafka = self.clone();
        Box::pin(async move { kafka.0.lock().unwrap()[read.partition as usize].read(&read) })
    }

    fn offsets_at(&self, _: &str, at: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        let offset = |log: &Log| match at {
            OffsetsAt::Earliest => log.start,
            OffsetsAt::Latest => log.end,
            OffsetsAt::Time(time) => {
                log.facts().find(|fact| fact.timestamp >= time).map_or(log.end, |fact| fact.offset)
            }
        };
        let offsets = self.0.lock().unwrap().iter().map(offset).collect();
        Box::pin(async move { Ok(offsets) })
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// What a client got, in order.
#[derive(Clone, Debug)]
enum Seen {
    Record { partition: usize, offset: u64, epoch: i32 },
    Gap { partition: usize, code: String, from: u64, to: u64 },
}

#[derive(Default)]
struct Client {
    id: Option<String>,
    /// The positions of its first id.
    first: Vec<u64>,
    seen: Vec<Seen>,
    subscription: Option<Subscription>,
}

impl Client {
    fn take(&mut self, bytes: &[u8]) {
        for block in blocks(bytes) {
            self.id = block.id.or(self.id.take());
            let Some(data) = block.data else { continue };
            match block.event.as_str() {
                "" => self.seen.push(seen_record(&data)),
                "tailrace.gap" => self.seen.push(seen_gap(&data)),
                "tailrace.synced" => {}
                other => panic!("an unexpected event: {other}"),
            }
        }
    }
}

fn seen_record(value: &str) -> Seen {
    let mut parts = value.split(':');
    let mut number = || parts.next().unwrap().parse::<u64>().unwrap();
    Seen::Record { partition: number() as usize, offset: number(), epoch: number() as i32 }
}

fn seen_gap(data: &str) -> Seen {
    let gap: serde_json::Value = serde_json::from_str(data).unwrap();
    let number = |name: &str| gap[name].as_u64();
    Seen::Gap {
        partition: number("partition").unwrap() as usize,
        code: gap["code"].as_str().unwrap().to_owned(),
        from: number("from").unwrap(),
        to: number("to").or(number("next")).unwrap(),
    }
}

/// One step of a run.
#[derive(Clone, Debug)]
enum Event {
    /// Records are written to Kafka, of one tenant.
    Write { partition: usize, count: usize, tenant: &'static str },
    /// The replica ingests what Kafka has of a partition.
    Ingest { partition: usize },
    /// A client reads; it connects first if it is not connected.
    Read { client: usize, rounds: usize, records: usize },
    /// A client loses its connection, and perhaps the frames that were sent last.
    Disconnect { client: usize, lost: bool },
    /// Retention removes this share of the log, in eighths.
    Retain { partition: usize, eighths: u64 },
    /// A new leader lacks so many records.
    Cut { partition: usize, back: u64 },
    /// The replica is started again. It goes on so many records before the end.
    Restart { back: u64 },
    /// Seconds in which nothing else happens.
    Pass { seconds: u64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..PARTITIONS, 1..40usize, prop_oneof![2 => Just("acme"), 1 => Just("globex")])
            .prop_map(|(partition, count, tenant)| Event::Write { partition, count, tenant }),
        5 => (0..PARTITIONS).prop_map(|partition| Event::Ingest { partition }),
        6 => (0..CLIENTS, 1..6usize, 1..30usize)
            .prop_map(|(client, rounds, records)| Event::Read { client, rounds, records }),
        2 => (0..CLIENTS, any::<bool>()).prop_map(|(client, lost)| Event::Disconnect { client, lost }),
        1 => (0..PARTITIONS, 1..8u64).prop_map(|(partition, eighths)| Event::Retain { partition, eighths }),
        1 => (0..PARTITIONS, 0..60u64).prop_map(|(partition, back)| Event::Cut { partition, back }),
        1 => (0..60u64).prop_map(|back| Event::Restart { back }),
        3 => (1..90u64).prop_map(|seconds| Event::Pass { seconds }),
    ];
    prop::collection::vec(event, 1..200)
}

/// A replica that begins so many records before the ends, as the consumer begins: only at the end of a log is it told an epoch.
fn replica(clock: &ManualClock, kafka: &Kafka, back: u64) -> Bridge {
    let config = BridgeConfig {
        memory: MEMORY,
        rules: Arc::new("header:tenant".parse().unwrap()),
        linger: Duration::from_millis(5),
        privacy: Arc::default(),
    };
    let start = |log: &Log| {
        let offset = log.end.saturating_sub(back).max(log.start);
        let epoch = if offset == log.end { log.epoch } else { -1 };
        Start { offset, epoch, log_start: log.start }
    };
    let starts: Vec<Start> = kafka.0.lock().unwrap().iter().map(start).collect();
    let bridge = Bridge::with_clock(config, Arc::new(kafka.clone()), Arc::new(clock.clone()));
    bridge.add_topic("orders", TopicId([1; 16]), &starts);
    bridge
}

struct Scene {
    clock: ManualClock,
    kafka: Kafka,
    bridge: Bridge,
    clients: Vec<Client>,
}

impl Scene {
    fn new() -> Scene {
        let (clock, kafka) = (ManualClock::new(), Kafka::default());
        kafka.0.lock().unwrap().resize_with(PARTITIONS, Log::default);
        let bridge = replica(&clock, &kafka, u64::MAX);
        Scene { clock, kafka, bridge, clients: (0..CLIENTS).map(|_| Client::default()).collect() }
    }

    fn play(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match *event {
            Event::Write { partition, count, tenant } => {
                let log = &mut self.kafka.0.lock().unwrap()[partition];
                (0..count).for_each(|_| log.write(partition, tenant, self.clock.unix_millis()));
            }
            Event::Ingest { partition } => self.ingest(partition),
            Event::Read { client, rounds, records } => self.read(client, rounds, records),
            Event::Disconnect { client, lost } => {
                if let Some(mut subscription) = self.clients[client].subscription.take().filter(|_| lost) {
                    subscription.next(Budget { records: 3, bytes: 4096 });
                }
            }
            Event::Retain { partition, eighths } => {
                let log = &mut self.kafka.0.lock().unwrap()[partition];
                log.start += (log.end - log.start) * eighths / 8;
            }
            Event::Cut { partition, back } => self.kafka.0.lock().unwrap()[partition].cut(back),
            Event::Restart { back } => {
                self.clients.iter_mut().for_each(|client| client.subscription = None);
                self.bridge = replica(&self.clock, &self.kafka, back);
            }
            Event::Pass { seconds } => return self.pass(seconds),
        }
        Ok(())
    }

    /// As the consumer does it: a gap for what Kafka no longer has comes first.
    fn ingest(&mut self, partition: usize) {
        let target = self.bridge.topic("orders").unwrap().partitions()[partition].clone();
        let log = &self.kafka.0.lock().unwrap()[partition];
        let head = target.head();
        if head.offset < log.start {
            let epoch = if log.start == log.end { log.epoch } else { -1 };
            self.bridge.jump(&target, GapCode::Retention, Position { offset: log.start, epoch });
        } else if head.epoch >= 0 && log.end_of(head.epoch) < head.offset {
            let to = Position { offset: log.end_of(head.epoch), epoch: log.epoch };
            self.bridge.jump(&target, GapCode::Truncated, to);
        } else if head.epoch < 0 && head.offset > log.end {
            self.bridge.jump(&target, GapCode::Truncated, Position { offset: log.end, epoch: log.epoch });
        }
        let head = target.head().offset;
        let records: Vec<NewRecord<'_>> =
            log.facts().filter(|fact| fact.offset >= head).map(record).collect();
        if let Some(last) = records.last() {
            let end = Position { offset: last.offset + 1, epoch: last.epoch };
            self.bridge.append(&target, &records, end);
        }
    }

    fn read(&mut self, which: usize, rounds: usize, records: usize) {
        let client = &mut self.clients[which];
        let mut subscription = client.subscription.take().unwrap_or_else(|| {
            let from = if which == 0 { StartFrom::Latest } else { StartFrom::Earliest };
            let request = request(client.id.clone(), from);
            let mut fresh = self.clock.block_on(self.bridge.subscribe(request)).unwrap();
            let id = fresh.id();
            if client.id.is_none() {
                let positions = id.parse::<EventId>().unwrap().vector.parts.remove(0).positions;
                client.first = positions.iter().map(|position| position.offset).collect();
            }
            client.id = Some(id);
            fresh
        });
        for _ in 0..rounds {
            match subscription.next(Budget { records, bytes: 16 * 1024 }) {
                Next::Frames { bytes, .. } => client.take(&joined(bytes)),
                Next::Wait if subscription.is_live() => break,
                Next::Wait => self.clock.block_on(subscription.changed()),
            }
        }
        client.subscription = Some(subscription);
    }

    /// Time passes: clients get heartbeats, and the replica its ticks.
    fn pass(&mut self, seconds: u64) -> Result<(), TestCaseError> {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            self.bridge.tick();
            let used = self.bridge.memory();
            prop_assert!(used <= MEMORY, "{} bytes are used", used);
            if self.clock.passed().as_secs().is_multiple_of(HEARTBEAT) {
                for client in &mut self.clients {
                    if let Some(id) = client.subscription.as_mut().and_then(Subscription::progress) {
                        client.id = Some(id);
                    }
                }
            }
        }
        Ok(())
    }

    /// Ingests and reads everything to the end. Another record comes to each log: a replica that has not read any knows no epoch.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for partition in 0..PARTITIONS {
            self.ingest(partition);
            self.kafka.0.lock().unwrap()[partition].write(partition, "globex", self.clock.unix_millis());
            self.ingest(partition);
        }
        for which in 0..CLIENTS {
            let is_settled = (0..200).any(|_| {
                let before = self.clients[which].seen.len();
                self.read(which, 8, 64);
                let client = &self.clients[which];
                client.subscription.as_ref().is_some_and(Subscription::is_live) && client.seen.len() == before
            });
            prop_assert!(is_settled, "client {} does not get to the end", which);
        }
        Ok(())
    }

    fn expect_exact(&self) -> Result<(), TestCaseError> {
        for (which, client) in self.clients.iter().enumerate() {
            for (partition, log) in self.kafka.0.lock().unwrap().iter().enumerate() {
                let told = Told::of(client, partition, log);
                told.map_err(|why| {
                    TestCaseError::fail(format!("client {which} partition {partition}: {why}"))
                })?;
            }
        }
        Ok(())
    }
}

/// What a client got of one partition so far.
struct Told<'a> {
    log: &'a Log,
    next: u64,
    /// Records that the client believes to be in the log.
    believed: Vec<(u64, i32)>,
    /// Ranges in which, as the client believes, there are no other records for it.
    passed: Vec<Range<u64>>,
}

impl Told<'_> {
    fn of(client: &Client, of: usize, log: &Log) -> Result<(), String> {
        let mut told = Told { log, next: client.first[of], believed: Vec::new(), passed: Vec::new() };
        for seen in &client.seen {
            match seen {
                Seen::Record { partition, offset, epoch } if *partition == of => {
                    told.record(*offset, *epoch)?
                }
                Seen::Gap { partition, code, from, to } if *partition == of => told.gap(code, *from, *to)?,
                _ => {}
            }
        }
        told.passed.push(told.next..log.end);
        let is_missed = |fact: &&Fact| {
            fact.tenant == "acme" && told.passed.iter().any(|passed| passed.contains(&fact.offset))
        };
        if let Some(fact) = log.facts().find(is_missed) {
            return Err(format!("{} of epoch {} is lost", fact.offset, fact.epoch));
        }
        // If retention has removed the place of a truncation too, no leader knows of that truncation any more.
        let is_known = |fact: &&(u64, i32)| fact.0 >= log.start && told.is_cut(**fact);
        match told.believed.iter().find(is_known) {
            Some(fact) => Err(format!("{fact:?} was cut, and it was not told")),
            None => Ok(()),
        }
    }

    fn record(&mut self, offset: u64, epoch: i32) -> Result<(), String> {
        if offset < self.next {
            return Err(format!("{offset} comes again, after {}", self.next));
        }
        self.passed.push(self.next..offset);
        self.believed.push((offset, epoch));
        self.next = offset + 1;
        match self.log.written.iter().any(|fact| (fact.offset, fact.epoch) == (offset, epoch)) {
            true => Ok(()),
            false => Err(format!("{offset} of epoch {epoch} was never written")),
        }
    }

    fn gap(&mut self, code: &str, from: u64, to: u64) -> Result<(), String> {
        self.passed.push(self.next..from);
        self.next = to;
        match code {
            "retention" if from < to && to <= self.log.start => self.believed.clear(),
            "truncated" => {
                let (kept, gone): (Vec<_>, Vec<_>) =
                    self.believed.iter().partition(|(offset, _)| *offset < to);
                self.believed = kept;
                self.passed.iter_mut().for_each(|passed| passed.end = passed.end.min(to));
                if let Some(fact) = gone.into_iter().find(|fact| !self.is_cut(*fact)) {
                    return Err(format!("{fact:?} is told to be cut back to {to}, and is not"));
                }
            }
            _ => return Err(format!("a gap that nothing explains: {code} from {from} to {to}")),
        }
        Ok(())
    }

    fn is_cut(&self, (offset, epoch): (u64, i32)) -> bool {
        self.log.written.iter().any(|fact| (fact.offset, fact.epoch) == (offset, epoch) && fact.is_cut)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn an_hour_of_joins_cuts_retention_and_heartbeats_is_exact(events in events()) {
        let mut scene = Scene::new();
        for event in &events {
            scene.play(event)?;
        }
        let left = HOUR.saturating_sub(scene.clock.passed());
        scene.pass(left.as_secs())?;
        scene.settle()?;
        prop_assert!(scene.clock.passed() >= Duration::from_secs(3599));
        scene.expect_exact()?;
    }
}
