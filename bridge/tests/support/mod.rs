//! A fake Kafka and a plain parser of SSE blocks, for tests of the core.
// Each test is a program of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is not the core")]

pub mod manual_clock;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use tailrace_bridge::*;

/// A record of the fake Kafka, with enough to identify it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub offset: u64,
    pub timestamp: i64,
    pub tenant: String,
    pub value: String,
}

/// A topic's partitions: what was written, and where each log starts and ends.
#[derive(Debug, Default)]
pub struct World {
    pub partitions: Vec<Vec<Fact>>,
    pub starts: Vec<u64>,
    pub ends: Vec<u64>,
    pub reads: usize,
}

#[derive(Clone, Default)]
pub struct Kafka(pub Arc<Mutex<World>>);

impl Kafka {
    pub fn with_partitions(count: usize) -> Kafka {
        let world = World {
            partitions: vec![Vec::new(); count],
            starts: vec![0; count],
            ends: vec![0; count],
            reads: 0,
        };
        Kafka(Arc::new(Mutex::new(world)))
    }

    /// Writes a record, after a hole of so many offsets.
    pub fn write(&self, partition: usize, tenant: &str, value: &str, timestamp: i64, hole: u64) -> Fact {
        let mut world = self.0.lock().unwrap();
        let offset = world.ends[partition] + hole;
        let fact = Fact { offset, timestamp, tenant: tenant.to_owned(), value: value.to_owned() };
        world.partitions[partition].push(fact.clone());
        world.ends[partition] = offset + 1;
        fact
    }

    pub fn facts(&self, partition: usize, from: u64, tenant: &str) -> Vec<Fact> {
        let world = self.0.lock().unwrap();
        let facts = world.partitions[partition].iter();
        facts.filter(|fact| fact.offset >= from && fact.tenant == tenant).cloned().collect()
    }

    fn read_now(&self, read: &HistoryRead) -> Result<Segment, HistoryError> {
        let mut world = self.0.lock().unwrap();
        world.reads += 1;
        let index = read.partition as usize;
        let (start, end) = (world.starts[index], world.ends[index]);
        if read.from < start || read.from > end {
            return Err(HistoryError::OutOfRange { start, end });
        }
        let mut builder = SegmentBuilder::new(read.from);
        let mut reached = end;
        for fact in world.partitions[index].iter().filter(|fact| fact.offset >= read.from) {
            if fact.offset >= read.until || builder.bytes() > read.max_bytes {
                reached = fact.offset;
                break;
            }
            with_record(fact, |record| builder.push(record));
        }
        Ok(builder.finish(Position { offset: reached, epoch: -1 }))
    }
}

impl Source for Kafka {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        let result = self.read_now(&read);
        Box::pin(async move { result })
    }

    fn offsets_at(&self, _: &str, at: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        let world = self.0.lock().unwrap();
        let offsets = match at {
            OffsetsAt::Earliest => world.starts.clone(),
            OffsetsAt::Latest => world.ends.clone(),
            OffsetsAt::Time(time) => (0..world.ends.len())
                .map(|p| {
                    let found = world.partitions[p].iter().find(|fact| fact.timestamp >= time);
                    found.map_or(world.ends[p], |fact| fact.offset)
                })
                .collect(),
        };
        Box::pin(async move { Ok(offsets) })
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

pub fn with_record<R>(fact: &Fact, use_it: impl FnOnce(&NewRecord<'_>) -> R) -> R {
    use_it(&NewRecord {
        offset: fact.offset,
        epoch: 0,
        timestamp: fact.timestamp,
        key: None,
        value: Some(fact.value.as_bytes()),
        headers: Headers::default(),
        tenant: TenantId::new(&fact.tenant).unwrap(),
        event_type: None,
        form: tailrace_bridge::Form::default(),
    })
}

/// Appends the facts as one batch.
pub fn append(bridge: &Bridge, partition: &Partition, facts: &[Fact]) {
    let records: Vec<NewRecord<'_>> = facts
        .iter()
        .map(|fact| NewRecord {
            offset: fact.offset,
            epoch: 0,
            timestamp: fact.timestamp,
            key: None,
            value: Some(fact.value.as_bytes()),
            headers: Headers::default(),
            tenant: TenantId::new(&fact.tenant).unwrap(),
            event_type: None,
            form: tailrace_bridge::Form::default(),
        })
        .collect();
    let end = facts.last().map_or(0, |fact| fact.offset + 1);
    bridge.append(partition, &records, Position { offset: end, epoch: 0 });
}

pub fn bridge(memory: usize, kafka: &Kafka) -> Bridge {
    bridge_at(memory, kafka, clock())
}

/// One that is told the time by this clock.
pub fn bridge_at(memory: usize, kafka: &Kafka, clock: Arc<dyn Clock>) -> Bridge {
    bridge_showing(memory, kafka, clock, Privacy::default())
}

/// One that shows its tenants so much.
pub fn bridge_showing(memory: usize, kafka: &Kafka, clock: Arc<dyn Clock>, privacy: Privacy) -> Bridge {
    let config = BridgeConfig {
        memory,
        rules: Arc::new("header:tenant".parse::<TenantRules>().unwrap()),
        linger: std::time::Duration::ZERO,
        privacy: Arc::new(privacy),
    };
    Bridge::with_clock(config, Arc::new(kafka.clone()), clock)
}

#[cfg(not(feature = "shuttle"))]
fn clock() -> Arc<dyn Clock> {
    Arc::new(TokioClock::new())
}

#[cfg(feature = "shuttle")]
fn clock() -> Arc<dyn Clock> {
    Arc::new(ModelClock)
}

/// The model schedules tasks, and no time passes in it: what a timer would do must also be done by the next step of a reader.
#[cfg(feature = "shuttle")]
#[derive(Debug)]
struct ModelClock;

#[cfg(feature = "shuttle")]
impl Clock for ModelClock {
    fn now(&self) -> std::time::Instant {
        TokioClock::default().now()
    }

    fn unix_millis(&self) -> i64 {
        TokioClock::default().unix_millis()
    }

    fn sleep_until(&self, _: std::time::Instant) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        shuttle::future::spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        work();
        Box::pin(std::future::ready(()))
    }
}

pub fn request(last_event_id: Option<String>, from: StartFrom) -> SubscribeRequest {
    SubscribeRequest {
        tenant: TenantId::new("acme").unwrap(),
        topics: Vec::new(),
        filter: Filter::default(),
        framing: Framing::Sse,
        event_name: Default::default(),
        envelope: Envelope::None,
        unmasked: false,
        conflate: false,
        from,
        last_event_id,
    }
}

/// One SSE block, as a browser parses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    pub event: String,
    pub data: Option<String>,
    pub id: Option<String>,
}

/// The whole blocks of a stream. Panics on a broken one.
pub fn blocks(bytes: &[u8]) -> Vec<Block> {
    let text = std::str::from_utf8(bytes).expect("a stream is UTF-8");
    assert!(text.is_empty() || text.ends_with("\n\n"), "a block is cut: {text:?}");
    let parse = |block: &str| {
        let mut parsed = Block::default();
        for line in block.lines() {
            match line.split_once(": ").unwrap_or((line, "")) {
                ("event", value) => parsed.event = value.to_owned(),
                ("data", value) => {
                    let data = parsed.data.get_or_insert_default();
                    data.push_str(value);
                }
                ("id", value) => parsed.id = Some(value.to_owned()),
                other => panic!("an unknown line: {other:?}"),
            }
        }
        parsed
    };
    text.split("\n\n").filter(|block| !block.is_empty()).map(parse).collect()
}

/// What a client has: its id, and the values it got, in order.
#[derive(Debug, Default)]
pub struct Client {
    pub id: Option<String>,
    pub first: BTreeMap<usize, u64>,
    pub values: Vec<String>,
    pub gaps: Vec<String>,
}

impl Client {
    /// Takes whole blocks.
    pub fn take(&mut self, bytes: &[u8]) {
        for block in blocks(bytes) {
            if let Some(id) = block.id {
                self.id = Some(id);
            }
            match (block.event.as_str(), block.data) {
                ("", Some(data)) => self.values.push(data),
                ("tailrace.gap", Some(data)) => self.gaps.push(data),
                _ => {}
            }
        }
    }

    /// Notes the positions of the first id: every record from there on must come.
    pub fn begin(&mut self, id: &str) {
        self.begin_sealed(id, None);
    }

    /// The same for an id that may be sealed with these keys.
    pub fn begin_sealed(&mut self, id: &str, keys: Option<&IdKeys>) {
        if self.id.is_none() {
            let parsed = EventId::read(id, "acme", keys).unwrap();
            for (index, position) in parsed.vector.parts.iter().flat_map(|p| &p.positions).enumerate() {
                self.first.insert(index, position.offset);
            }
        }
        self.id = Some(id.to_owned());
    }

    /// The values of one partition, in the order in which they came. A value begins with `<partition>:`.
    pub fn of_partition(&self, partition: usize) -> Vec<&str> {
        let prefix = format!("{partition}:");
        self.values.iter().filter(|value| value.starts_with(&prefix)).map(String::as_str).collect()
    }
}

pub fn joined(bytes: Vec<bytes::Bytes>) -> Vec<u8> {
    bytes.concat()
}
