//! Pages that keep the state of a compacted topic, on the real Kafka, with its cleaner running: they are cut at random bytes,
//! and replicas are killed.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use support::bridge::Bridge;
use support::kafka::Kafka;
use support::sse::{Event, IdBuffer, Source};

const TOPIC: &str = "prices";
const PARTITIONS: usize = 4;
const KEYS: usize = 500;
/// A cleaner that runs all the time.
const COMPACTED: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "500"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("max.compaction.lag.ms", "1000"),
];

/// The newest value of each key; `None`: it was ended.
type Table = BTreeMap<String, Option<u64>>;

/// Writes `records` records of random keys, or until it is told to stop.
fn write(kafka: &Kafka, seed: u64, records: u64, stop: &AtomicBool) -> Table {
    let (producer, mut random, mut table) = (kafka.producer(), StdRng::seed_from_u64(seed), Table::new());
    for number in 0..records {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // Kafka compacts by the key alone, whoever's it is.
        let tenant = if random.random_range(0..4) == 0 { "globex" } else { "acme" };
        let place = random.random_range(0..KEYS);
        let key = format!("{tenant}-{place}");
        let ends = random.random_range(0..12) == 0;
        let value = format!(r#"{{"n":{number},"x":"{}"}}"#, "x".repeat(random.random_range(0..200)));
        let value = (!ends).then_some(value);
        let partition = (place % PARTITIONS) as i32;
        producer.send_record(
            TOPIC,
            partition,
            Some(tenant),
            Some(key.as_bytes()),
            value.as_ref().map(String::as_bytes),
        );
        if tenant == "acme" {
            table.insert(key, (!ends).then_some(number));
        }
        if records == u64::MAX && number % 20 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    producer.flush();
    table
}

/// A page, as the documentation has it.
struct Page {
    source: Source,
    rows: BTreeMap<String, u64>,
    syncs: usize,
    connections: usize,
}

impl Page {
    fn new(query: &str) -> Page {
        let path = format!("/t/acme/events?envelope=record&{query}");
        Page {
            source: Source::new(0, &path, IdBuffer::Empty),
            rows: BTreeMap::new(),
            syncs: 0,
            connections: 0,
        }
    }

    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            let data: Value = serde_json::from_str(&event.data).expect("data is JSON");
            let key = || data["key"].as_str().expect("every record has a key").to_owned();
            match event.name.as_str() {
                "" if data["value_kind"] == "tombstone" => drop(self.rows.remove(&key())),
                "" => drop(self.rows.insert(key(), data["value"]["n"].as_u64().expect("a number"))),
                "tailrace.synced" => self.syncs += 1,
                "tailrace.status" | "tailrace.drain" | "tailrace.error" => {}
                other => panic!("an unexpected event: {other} {}", event.data),
            }
        }
    }

    /// One connection, of at most so many bytes.
    async fn read(&mut self, port: u16, bytes: usize, quiet: Duration) {
        let Some(mut connection) = self.source.connect(port).await else {
            return tokio::time::sleep(Duration::from_millis(50)).await;
        };
        if connection.status != 200 {
            return tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.connections += 1;
        let (events, _) = self.source.read(&mut connection, bytes, quiet).await;
        self.take(events);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_has_the_state_of_a_compacted_topic_over_cuts_and_kills() {
    let seed = support::seed();
    let kafka = Kafka::start().await;
    kafka.create_topic(TOPIC, PARTITIONS as i32, &COMPACTED).await;
    let never = AtomicBool::new(false);
    let mut table = tokio::task::block_in_place(|| write(&kafka, seed, 20_000, &never));
    let mut bridges: Vec<Bridge> = ["one", "two"]
        .map(|name| Bridge::new(&kafka.bootstrap(), TOPIC, name, &[("TAILRACE_CACHE_WARMUP", "0s")]))
        .into();
    for bridge in &mut bridges {
        bridge.start().await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let kafka = Arc::new(kafka);
    let writer = std::thread::spawn({
        let (kafka, stop) = (kafka.clone(), stop.clone());
        move || write(&kafka, seed ^ 1, u64::MAX, &stop)
    });

    let mut pages =
        ["from=snapshot", "from=snapshot&conflate=key", "from=earliest&conflate=key"].map(Page::new);
    let mut random = StdRng::seed_from_u64(seed);
    let until = Instant::now() + Duration::from_secs(12);
    let mut kills = 0_u64;
    while Instant::now() < until {
        for page in &mut pages {
            let bytes = [300, 5_000, 60_000][random.random_range(0..3)];
            let port = bridges[random.random_range(0..2)].port;
            page.read(port, random.random_range(0..bytes), Duration::from_millis(100)).await;
        }
        if until - Instant::now().min(until) < Duration::from_secs(8 - 4 * kills) && kills < 2 {
            let bridge = &mut bridges[kills as usize];
            bridge.kill();
            bridge.start().await;
            kills += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    table.extend(writer.join().expect("the writer ends"));

    let shown: BTreeMap<String, u64> =
        table.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    for (page, port) in pages.iter_mut().zip([bridges[0].port, bridges[1].port, bridges[0].port]) {
        page.read(port, usize::MAX, Duration::from_secs(3)).await;
        assert!(page.syncs > 0 && page.connections > 10, "{} connections", page.connections);
        let path = &page.source.path;
        assert_eq!(page.rows, shown, "{path}, with the seed {seed}");
    }
    // A page that opens now reads what the index says.
    let mut late = Page::new("from=snapshot");
    late.read(bridges[0].port, usize::MAX, Duration::from_secs(2)).await;
    assert_eq!(late.rows, shown);
    let keys = bridges[0].metric_of("tailrace_snapshot_index_keys", r#"topic="prices""#).await;
    assert!(keys >= KEYS as f64, "{keys} keys");
}
