//! History that was read is packed, and so is the tail if history needs its memory: clients get the same records, memory stays
//! within its budget, and the tail reaches as far back as ever.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is not the core")]

mod support;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::*;
use tailrace_bridge::*;

const PARTITIONS: usize = 3;
const MEMORY: usize = 2 << 20;

/// What values consist of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Json,
    /// Cannot be compressed.
    Noise,
}

struct Scene {
    kafka: Kafka,
    bridge: Bridge,
    random: StdRng,
    kind: Kind,
    written: u64,
}

impl Scene {
    /// So many records of each partition are in Kafka, and none in memory.
    fn new(seed: u64, kind: Kind, records: usize) -> Scene {
        let kafka = Kafka::with_partitions(PARTITIONS);
        let bridge = bridge(MEMORY, &kafka);
        let mut scene = Scene { kafka, bridge, random: StdRng::seed_from_u64(seed), kind, written: 0 };
        (0..PARTITIONS).for_each(|partition| scene.write(partition, records));
        let ends = scene.kafka.0.lock().unwrap().ends.clone();
        let starts: Vec<Start> =
            ends.iter().map(|&offset| Start { offset, epoch: 0, log_start: 0 }).collect();
        scene.bridge.add_topic("orders", TopicId([1; 16]), &starts);
        scene
    }

    fn write(&mut self, partition: usize, count: usize) {
        for _ in 0..count {
            let tenant = ["acme", "acme", "globex"][self.random.random_range(0..3)];
            let hole = if self.random.random_ratio(1, 10) { 2 } else { 0 };
            let noise = if self.kind == Kind::Noise { 260 } else { 50 };
            let noise: String =
                (0..noise).map(|_| char::from(self.random.random_range(b'!'..b'~'))).collect();
            let filler = match self.kind {
                Kind::Json => format!("{{\"id\":\"{noise}\",\"cities\":[{}]}}", "\"Berlin\",".repeat(20)),
                Kind::Noise => noise,
            };
            let value = format!("{partition}:{}{filler}", self.written);
            self.kafka.write(partition, tenant, &value, self.written as i64, hole);
            self.written += 1;
        }
    }

    /// Writes so many more records to Kafka, and ingests them.
    fn ingest(&mut self, partition: usize, count: usize) {
        let target = self.bridge.topic("orders").unwrap().partitions()[partition].clone();
        let head = target.head().offset;
        self.write(partition, count);
        let facts: Vec<Fact> = {
            let world = self.kafka.0.lock().unwrap();
            world.partitions[partition].iter().filter(|fact| fact.offset >= head).cloned().collect()
        };
        for batch in facts.chunks(16) {
            append(&self.bridge, &target, batch);
        }
    }

    fn oldest(&self) -> Vec<u64> {
        self.bridge.topic("orders").unwrap().partitions().iter().map(|partition| partition.oldest()).collect()
    }

    fn reads(&self) -> usize {
        self.kafka.0.lock().unwrap().reads
    }

    fn expect_exact(&self, client: &Client, last: bool) {
        assert!(client.gaps.is_empty(), "{:?}", client.gaps);
        for partition in 0..PARTITIONS {
            let facts = self.kafka.facts(partition, 0, "acme");
            let expected: Vec<&str> = facts.iter().map(|fact| fact.value.as_str()).collect();
            let got = client.of_partition(partition);
            assert_eq!(got, expected[..got.len()], "partition {partition}");
            assert!(!last || got.len() == expected.len(), "partition {partition} is not read to its end");
        }
    }
}

#[derive(Default)]
struct Reader {
    client: Client,
    subscription: Option<Subscription>,
}

impl Reader {
    /// Makes so many steps on its stream, from the beginning or from its id on; returns whether it is live.
    async fn read(&mut self, bridge: &Bridge, looks: usize) -> bool {
        if self.subscription.is_none() {
            let request = request(self.client.id.clone(), StartFrom::Earliest);
            self.subscription = Some(bridge.subscribe(request).await.unwrap());
        }
        let Some(subscription) = &mut self.subscription else { return false };
        for _ in 0..looks {
            match subscription.next(Budget { records: 40, bytes: 8 * 1024 }) {
                Next::Frames { bytes, .. } => self.client.take(&joined(bytes)),
                Next::Wait if subscription.is_live() => return true,
                Next::Wait => {
                    let wait = std::time::Duration::from_millis(20);
                    let _ = tokio::time::timeout(wait, subscription.changed()).await;
                }
            }
        }
        false
    }

    async fn read_all(&mut self, bridge: &Bridge) {
        while !self.read(bridge, 16).await {
            assert!(bridge.memory() <= MEMORY, "{} bytes are used", bridge.memory());
        }
    }
}

/// One step of a run.
#[derive(Clone, Debug)]
enum Event {
    Read { reader: usize, looks: usize },
    Cut { reader: usize },
    Ingest { partition: usize, count: usize },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => (0..3usize, 1..60usize).prop_map(|(reader, looks)| Event::Read { reader, looks }),
        1 => (0..3usize).prop_map(|reader| Event::Cut { reader }),
        2 => (0..PARTITIONS, 1..900usize).prop_map(|(partition, count)| Event::Ingest { partition, count }),
    ];
    prop::collection::vec(event, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_packed_a_replay_gives_the_same_and_memory_keeps_to_its_budget(
        seed in any::<u64>(),
        kind in prop_oneof![3 => Just(Kind::Json), 1 => Just(Kind::Noise)],
        events in events(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut scene = Scene::new(seed, kind, 700);
            let mut readers: [Reader; 3] = Default::default();
            for event in events {
                match event {
                    Event::Read { reader, looks } => {
                        readers[reader].read(&scene.bridge, looks).await;
                        scene.expect_exact(&readers[reader].client, false);
                    }
                    Event::Cut { reader } => readers[reader].subscription = None,
                    Event::Ingest { partition, count } => scene.ingest(partition, count),
                }
                assert!(scene.bridge.memory() <= MEMORY, "{} bytes are used", scene.bridge.memory());
            }
            for reader in &mut readers {
                reader.read_all(&scene.bridge).await;
                scene.expect_exact(&reader.client, true);
            }
        });
    }
}

#[tokio::test]
async fn history_that_fits_when_it_is_packed_is_read_once() {
    let mut scene = Scene::new(1, Kind::Json, 1200);
    (0..PARTITIONS).for_each(|partition| scene.ingest(partition, 400));
    Reader::default().read_all(&scene.bridge).await;
    let once = scene.reads();
    for _ in 0..3 {
        let mut reader = Reader::default();
        reader.read_all(&scene.bridge).await;
        scene.expect_exact(&reader.client, true);
    }
    let more = scene.reads() - once;
    assert!(more <= once / 10, "{more} reads after {once}");
}

#[tokio::test]
async fn noise_is_not_packed_and_leaves_the_tail_as_it_is() {
    let mut scene = Scene::new(1, Kind::Noise, 1200);
    (0..PARTITIONS).for_each(|partition| scene.ingest(partition, 400));
    let before = scene.oldest();
    for _ in 0..2 {
        let mut reader = Reader::default();
        reader.read_all(&scene.bridge).await;
        scene.expect_exact(&reader.client, true);
    }
    assert_eq!(scene.oldest(), before);
}

#[tokio::test]
async fn history_never_shortens_the_tail() {
    let mut quiet = Scene::new(7, Kind::Json, 4000);
    let mut busy = Scene::new(7, Kind::Json, 4000);
    for _ in 0..5 {
        for partition in 0..PARTITIONS {
            quiet.ingest(partition, 600);
            busy.ingest(partition, 600);
        }
        let mut reader = Reader::default();
        reader.read_all(&busy.bridge).await;
        busy.expect_exact(&reader.client, true);
        let tails = quiet.oldest().into_iter().zip(busy.oldest());
        tails.for_each(|(without, with)| assert!(with <= without, "{with} is after {without}"));
    }
    // Packed segments take less memory, so the tail reaches further back.
    assert!(busy.oldest().iter().sum::<u64>() < quiet.oldest().iter().sum::<u64>());
}

#[tokio::test]
async fn what_was_packed_before_a_truncation_is_gone_after_it() {
    let mut scene = Scene::new(3, Kind::Json, 1200);
    (0..PARTITIONS).for_each(|partition| scene.ingest(partition, 400));
    Reader::default().read_all(&scene.bridge).await;
    {
        let mut world = scene.kafka.0.lock().unwrap();
        world.partitions[0].retain(|fact| fact.offset < 100);
        world.ends[0] = 100;
    }
    let target = scene.bridge.topic("orders").unwrap().partitions()[0].clone();
    scene.bridge.jump(&target, GapCode::Truncated, Position { offset: 100, epoch: -1 });
    scene.ingest(0, 500);
    let mut reader = Reader::default();
    reader.read_all(&scene.bridge).await;
    scene.expect_exact(&reader.client, true);
}

#[tokio::test]
async fn the_last_records_and_those_since_a_time_are_found_in_what_is_packed() {
    let mut scene = Scene::new(5, Kind::Json, 1200);
    (0..PARTITIONS).for_each(|partition| scene.ingest(partition, 400));
    let heads = [StartFrom::Last(900), StartFrom::Time(3 * 1200 + 100)];
    let mut begins = Vec::new();
    for from in heads.clone() {
        begins.push(scene.bridge.subscribe(request(None, from)).await.unwrap().id());
    }
    Reader::default().read_all(&scene.bridge).await;
    for (from, begin) in heads.into_iter().zip(begins) {
        assert_eq!(scene.bridge.subscribe(request(None, from)).await.unwrap().id(), begin);
    }
}
