//! Many clients that replay the same history, each starting after the one before, with memory for a small part of it: how much
//! is read from Kafka.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tailrace_bridge::*;

const PARTITIONS: usize = 12;
const VALUE: usize = 200;
const RECORDS: u64 = 4_000;
const CLIENTS: usize = 25;
/// Memory for everything: an eighth of it is for history, which is a tenth of what is replayed.
const MEMORY: usize = 8 << 20;
/// Steps with frames of all clients together, between two arrivals: a sixth of what one client alone needs.
const BETWEEN: usize = 40;

/// A topic whose records are computed from their offsets.
#[derive(Clone)]
struct Kafka {
    bytes: Arc<AtomicUsize>,
    value: fn(u64) -> [u8; VALUE],
}

/// A value that cannot be packed.
fn noise(offset: u64) -> [u8; VALUE] {
    let mut value = [0; VALUE];
    StdRng::seed_from_u64(offset).fill(&mut value[..]);
    value.map(|byte| b' ' + byte % 95)
}

/// A value that packs like the JSON of a topic, to about a quarter.
fn order(offset: u64) -> [u8; VALUE] {
    let mut value = [b'x'; VALUE];
    value[..VALUE / 4].copy_from_slice(&noise(offset)[..VALUE / 4]);
    value
}

impl Source for Kafka {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        let mut builder = SegmentBuilder::new(read.from);
        let mut at = read.from;
        while at < RECORDS.min(read.until) && builder.bytes() < read.max_bytes {
            builder.push(&record(at, &(self.value)(at)));
            at += 1;
        }
        self.bytes.fetch_add((at - read.from) as usize * VALUE, Ordering::Relaxed);
        let segment = builder.finish(Position { offset: at, epoch: 0 });
        async move { Ok(segment) }.boxed()
    }

    fn offsets_at(&self, _: &str, _: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        async { Ok(vec![0; PARTITIONS]) }.boxed()
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

fn record(offset: u64, value: &[u8]) -> NewRecord<'_> {
    NewRecord {
        offset,
        epoch: 0,
        timestamp: offset as i64,
        key: None,
        value: Some(value),
        headers: Headers::default(),
        tenant: TenantId::new("acme").unwrap(),
        event_type: None,
        form: tailrace_bridge::Form::default(),
    }
}

fn bridge(kafka: &Kafka) -> Bridge {
    let config = BridgeConfig {
        memory: MEMORY,
        rules: Arc::new("header:tenant".parse::<TenantRules>().unwrap()),
        linger: std::time::Duration::ZERO,
        privacy: Arc::default(),
    };
    let bridge = Bridge::new(config, Arc::new(kafka.clone()));
    let start = Start { offset: RECORDS, epoch: 0, log_start: 0 };
    bridge.add_topic("orders", TopicId([1; 16]), &[start; PARTITIONS]);
    bridge
}

async fn subscribe(bridge: &Bridge) -> Subscription {
    let request = SubscribeRequest {
        tenant: TenantId::new("acme").unwrap(),
        topics: Vec::new(),
        filter: Filter::default(),
        framing: Framing::Sse,
        event_name: Default::default(),
        envelope: Envelope::None,
        unmasked: false,
        conflate: false,
        from: StartFrom::Earliest,
        last_event_id: None,
    };
    bridge.subscribe(request).await.unwrap()
}

#[tokio::test]
async fn twenty_five_staggered_replays_read_kafka_a_few_times() {
    let times = replays(noise).await;
    assert!(times <= 2.5, "{times:.2} times what one client reads");
}

#[tokio::test]
async fn twenty_five_staggered_replays_read_once_what_fits_when_it_is_packed() {
    let times = replays(order).await;
    assert!(times <= 1.2, "{times:.2} times what one client reads");
}

/// How many times as much is read from Kafka as one client reads.
async fn replays(value: fn(u64) -> [u8; VALUE]) -> f64 {
    let kafka = Kafka { bytes: Arc::default(), value };
    let bridge = bridge(&kafka);
    let mut streams = VecDeque::from([(subscribe(&bridge).await, 0)]);
    let (mut came, mut ended, mut looks) = (1, 0, 0);
    while ended < CLIENTS {
        if came < CLIENTS && (looks >= came * BETWEEN || streams.is_empty()) {
            streams.push_back((subscribe(&bridge).await, 0));
            came += 1;
        }
        let Some((mut stream, mut got)) = streams.pop_front() else { continue };
        match stream.next(Budget { records: 1000, bytes: 64 * 1024 }) {
            Next::Frames { records, .. } => {
                got += records;
                looks += 1;
            }
            Next::Wait if stream.is_live() => {
                assert_eq!(got as u64, RECORDS * PARTITIONS as u64);
                ended += 1;
                continue;
            }
            Next::Wait => tokio::task::yield_now().await,
        }
        streams.push_back((stream, got));
    }
    let once = RECORDS as usize * PARTITIONS * VALUE;
    let times = kafka.bytes.load(Ordering::Relaxed) as f64 / once as f64;
    println!("{times:.2} times what one client reads");
    times
}
