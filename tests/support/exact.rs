//! Clients that are cut at random bytes, a producer, and the verdict: a comparison with a bare consumer's reading.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::bare::read_all;
use super::kafka::Kafka;
use super::sse::{Event, IdBuffer, Source};

pub const PARTITIONS: usize = 12;
pub const TENANTS: usize = 8;
/// A replica that is stopped accepts connections and says nothing: then another is tried.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a client got: per partition the sequence numbers, in the order in which they came.
#[derive(Debug, Default)]
pub struct Got {
    pub by_partition: Vec<Vec<u64>>,
    pub foreign: usize,
    pub gaps: Vec<String>,
    pub connections: usize,
    /// Connections that were cut inside of their first block.
    pub cut_in_first_block: usize,
}

/// `{"p":3,"t":"tenant-1","n":42,…}`
fn fields(data: &str) -> (usize, String, u64) {
    let value: serde_json::Value = serde_json::from_str(data).expect("the producer writes JSON");
    let text = |name: &str| value[name].as_str().expect("a string").to_owned();
    (value["p"].as_u64().expect("a number") as usize, text("t"), value["n"].as_u64().expect("a number"))
}

fn take(got: &mut Got, tenant: &str, events: &[Event]) {
    for event in events {
        match event.name.as_str() {
            "" => {
                let (partition, owner, number) = fields(&event.data);
                got.by_partition[partition].push(number);
                got.foreign += usize::from(owner != tenant);
            }
            "tailrace.gap" => got.gaps.push(event.data.clone()),
            _ => {}
        }
    }
}

/// How many bytes of the body a connection gets: often less than the first frame, often none of the events.
fn cut_after(random: &mut StdRng) -> usize {
    match random.random_range(0..10) {
        0..=2 => random.random_range(0..150),
        3..=5 => random.random_range(0..4_000),
        6..=8 => random.random_range(0..120_000),
        _ => random.random_range(0..1_000_000),
    }
}

/// Reads, is cut, and comes back to any of the ports, until everything expected is there and one calm connection more.
pub async fn client(
    which: usize,
    seed: u64,
    ports: Vec<u16>,
    expected: Arc<OnceLock<Vec<Vec<u64>>>>,
    deadline: Instant,
) -> Got {
    let tenant = format!("tenant-{}", which % TENANTS);
    let kind = if which.is_multiple_of(2) { IdBuffer::Empty } else { IdBuffer::LastId };
    let mut random = StdRng::seed_from_u64(seed ^ (which as u64) << 32);
    let mut source = Source::new(ports[0], &format!("/t/{tenant}/events?from=earliest&heartbeat=1s"), kind);
    let mut got = Got { by_partition: vec![Vec::new(); PARTITIONS], ..Got::default() };
    while Instant::now() < deadline {
        let count: usize = got.by_partition.iter().map(Vec::len).sum();
        let complete = expected.get().is_some_and(|all| count >= all.iter().map(Vec::len).sum());
        let port = ports[random.random_range(0..ports.len())];
        let Ok(Some(mut connection)) = tokio::time::timeout(PATIENCE, source.connect(port)).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if connection.status != 200 {
            // Not ready yet, and there is no id that would make it a reconnect.
            assert_eq!(connection.status, 503, "{}", connection.head);
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        got.connections += 1;
        // Once everything is there, one calm connection shows that nothing comes twice.
        let limit = if complete { usize::MAX } else { cut_after(&mut random) };
        let life = if complete { 1_500 } else { random.random_range(5..3_000) };
        let ends = Instant::now() + Duration::from_millis(life);
        while Instant::now() < ends {
            let (events, open) = source.read(&mut connection, limit, Duration::from_millis(100)).await;
            take(&mut got, &tenant, &events);
            if !open {
                break;
            }
        }
        // A priming block is never shorter than this: `retry:`, `id:` and the ids of twelve partitions.
        got.cut_in_first_block += usize::from(connection.received < 50);
        if complete {
            break;
        }
        drop(connection);
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
    }
    got
}

/// The differences between what a client got and what it should have got.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub deliveries: usize,
    pub lost: usize,
    pub repeated: usize,
    pub out_of_order: usize,
    pub foreign: usize,
    pub gaps: usize,
}

pub fn judge(verdict: &mut Verdict, got: &Got, expected: &[Vec<u64>]) {
    for (got, expected) in got.by_partition.iter().zip(expected) {
        let unique: std::collections::HashSet<_> = got.iter().collect();
        verdict.deliveries += got.len();
        verdict.lost += expected.iter().filter(|number| !unique.contains(number)).count();
        verdict.repeated += got.len() - unique.len();
        verdict.out_of_order += got.windows(2).filter(|pair| pair[0] > pair[1]).count();
    }
    verdict.foreign += got.foreign;
    verdict.gaps += got.gaps.len();
}

/// Writes records of random partitions and tenants, evenly over a time.
pub fn produce(kafka: &Kafka, topic: &str, records: usize, during: Duration, seed: u64, done: &AtomicBool) {
    let producer = kafka.producer();
    let mut random = StdRng::seed_from_u64(seed);
    let started = Instant::now();
    for number in 0..records as u64 {
        let (partition, tenant) = (random.random_range(0..PARTITIONS), random.random_range(0..TENANTS));
        let padding = "x".repeat(random.random_range(0..200));
        let value = format!(r#"{{"p":{partition},"t":"tenant-{tenant}","n":{number},"x":"{padding}"}}"#);
        producer.send(topic, partition as i32, &format!("tenant-{tenant}"), value.as_bytes());
        let due = during.mul_f64(number as f64 / records as f64);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
    }
    producer.flush();
    done.store(true, Ordering::Release);
}

/// Per tenant and partition, the numbers of its records as a bare consumer reads them.
pub fn expectation(kafka: &Kafka, topic: &str) -> Vec<Vec<Vec<u64>>> {
    let mut all = vec![vec![Vec::new(); PARTITIONS]; TENANTS];
    for (partition, reads) in read_all(kafka, topic).into_iter().enumerate() {
        for read in reads {
            let value = String::from_utf8(read.value.expect("a value")).expect("text");
            let (_, tenant, number) = fields(&value);
            let tenant: usize = tenant.trim_start_matches("tenant-").parse().expect("a number");
            all[tenant][partition].push(number);
        }
    }
    all
}

/// Waits for the clients, and judges each by its tenant's records.
pub async fn verdict(
    clients: Vec<tokio::task::JoinHandle<Got>>,
    all: &[Vec<Vec<u64>>],
) -> (Verdict, Connections) {
    let mut verdict = Verdict::default();
    let (mut connections, mut early) = (0, 0);
    for (which, client) in clients.into_iter().enumerate() {
        let got = client.await.expect("a client does not panic");
        judge(&mut verdict, &got, &all[which % TENANTS]);
        connections += got.connections;
        early += got.cut_in_first_block;
    }
    println!("{verdict:?}, {connections} connections, {early} of them cut in their first block");
    (verdict, Connections { all: connections, cut_in_first_block: early })
}

/// How often the clients came back.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    pub all: usize,
    pub cut_in_first_block: usize,
}
