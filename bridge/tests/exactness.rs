//! Views, joins, disconnects, restarts and little memory, against a plain list: a client always gets its records exactly.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is not the core")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use support::manual_clock::ManualClock;
use support::*;
use tailrace_bridge::*;

const PARTITIONS: usize = 3;

/// One step of a run.
#[derive(Clone, Debug)]
enum Event {
    /// Records are written to Kafka: partition, how many, of which tenant, after a hole.
    Write { partition: usize, count: usize, tenant: usize, hole: u64 },
    /// The bridge ingests what Kafka has of a partition, as one batch or two.
    Ingest { partition: usize, split: bool },
    /// A client reads.
    Read { client: usize, rounds: usize, records: usize },
    /// A client gets its heartbeat.
    Heartbeat { client: usize },
    /// A client is disconnected and comes back; perhaps the frames that were sent last never arrived.
    Cut { client: usize, lost: bool },
    /// The bridge restarts, with heads this many offsets before the ends of the partitions.
    Restart { back: u64 },
    /// Seconds pass, each with a tick: after ten, frames are dropped.
    Pass { seconds: u64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..PARTITIONS, 1..6usize, 0..3usize, 0..3u64)
            .prop_map(|(partition, count, tenant, hole)| Event::Write { partition, count, tenant, hole }),
        4 => (0..PARTITIONS, any::<bool>()).prop_map(|(partition, split)| Event::Ingest { partition, split }),
        6 => (0..2usize, 1..4usize, 1..5usize)
            .prop_map(|(client, rounds, records)| Event::Read { client, rounds, records }),
        1 => (0..2usize).prop_map(|client| Event::Heartbeat { client }),
        2 => (0..2usize, any::<bool>()).prop_map(|(client, lost)| Event::Cut { client, lost }),
        1 => (0..12u64).prop_map(|back| Event::Restart { back }),
        1 => (1..15u64).prop_map(|seconds| Event::Pass { seconds }),
    ];
    prop::collection::vec(event, 1..80)
}

struct Scene {
    clock: ManualClock,
    kafka: Kafka,
    bridge: Bridge,
    memory: usize,
    clients: Vec<(Client, Option<Subscription>)>,
    /// As a writer thread does it: the frames that one client took, for the other one at the same cursor.
    last: LastFrames<Vec<u8>>,
    repeated: usize,
    written: u64,
}

impl Scene {
    fn new(memory: usize) -> Scene {
        let (clock, kafka) = (ManualClock::new(), Kafka::with_partitions(PARTITIONS));
        let bridge = started(memory, &kafka, &clock, &[0; PARTITIONS]);
        let clients = (0..2).map(|_| (Client::default(), None)).collect();
        Scene { clock, kafka, bridge, memory, clients, last: LastFrames::default(), repeated: 0, written: 0 }
    }

    fn play(&mut self, event: &Event) {
        match *event {
            Event::Write { partition, count, tenant, hole } => {
                for number in 0..count {
                    let hole = if number == 0 { hole } else { 0 };
                    let value = format!("{partition}:{}{}", self.written, "x".repeat(900));
                    self.kafka.write(
                        partition,
                        ["acme", "acme", "globex"][tenant],
                        &value,
                        self.written as i64,
                        hole,
                    );
                    self.written += 1;
                }
            }
            Event::Ingest { partition, split } => self.ingest(partition, split),
            Event::Read { client, rounds, records } => self.read(client, rounds, records),
            Event::Heartbeat { client } => self.heartbeat(client),
            Event::Cut { client, lost } => {
                // The frames that were sent last may be lost, with their ids.
                if let Some(mut subscription) = self.clients[client].1.take().filter(|_| lost) {
                    subscription.next(Budget { records: 3, bytes: 4096 });
                }
            }
            Event::Restart { back } => self.restart(back),
            Event::Pass { seconds } => {
                for _ in 0..seconds {
                    self.clock.advance(Duration::from_secs(1));
                    self.bridge.tick();
                }
            }
        }
    }

    fn ingest(&mut self, partition: usize, split: bool) {
        let target = self.bridge.topic("orders").unwrap().partitions()[partition].clone();
        let (facts, end) = {
            let world = self.kafka.0.lock().unwrap();
            let head = target.head().offset;
            let new: Vec<Fact> =
                world.partitions[partition].iter().filter(|fact| fact.offset >= head).cloned().collect();
            (new, world.ends[partition])
        };
        let (first, second) = facts.split_at(if split { facts.len() / 2 } else { 0 });
        for batch in [first, second].into_iter().filter(|batch| !batch.is_empty()) {
            append(&self.bridge, &target, batch);
        }
        self.bridge.advance(&target, end);
    }

    fn read(&mut self, which: usize, rounds: usize, records: usize) {
        let (client, subscription) = &mut self.clients[which];
        let subscription = match subscription {
            Some(subscription) => subscription,
            None => {
                let from = if which == 0 { StartFrom::Latest } else { StartFrom::Earliest };
                let request = request(client.id.clone(), from);
                let mut fresh = self.clock.block_on(self.bridge.subscribe(request)).unwrap();
                let id = fresh.id();
                client.begin(&id);
                subscription.insert(fresh)
            }
        };
        for _ in 0..rounds {
            let budget = Budget { records, bytes: 4096 };
            if subscription.repeat(budget, &mut self.last) {
                client.take(self.last.encoded().unwrap());
                self.repeated += 1;
                continue;
            }
            match subscription.next_keeping(budget, &mut self.last) {
                Next::Frames { bytes, .. } => {
                    let bytes = joined(bytes);
                    client.take(&bytes);
                    if self.last.fresh().is_some() {
                        self.last.set_encoded(bytes);
                    }
                }
                Next::Wait if subscription.is_live() => break,
                Next::Wait => self.clock.block_on(subscription.changed()),
            }
        }
    }

    fn heartbeat(&mut self, which: usize) {
        let (client, subscription) = &mut self.clients[which];
        if let Some(id) = subscription.as_mut().and_then(Subscription::progress) {
            client.take(format!("id: {id}\n\n").as_bytes());
        }
    }

    fn restart(&mut self, back: u64) {
        self.clients.iter_mut().for_each(|(_, subscription)| *subscription = None);
        let heads: Vec<u64> =
            self.kafka.0.lock().unwrap().ends.iter().map(|end| end.saturating_sub(back)).collect();
        self.bridge = started(self.memory, &self.kafka, &self.clock, &heads);
    }

    /// Ingests and reads everything to the end.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        (0..PARTITIONS).for_each(|partition| self.ingest(partition, false));
        for which in 0..self.clients.len() {
            let mut settled = false;
            for _ in 0..500 {
                let before = self.clients[which].0.values.len();
                self.bridge.tick();
                self.read(which, 4, 64);
                let live = self.clients[which].1.as_ref().is_some_and(Subscription::is_live);
                if live && self.clients[which].0.values.len() == before {
                    settled = true;
                    break;
                }
            }
            let state = (&self.clients[which].1, &self.clients[which].0.id, &self.clients[which].0.gaps);
            prop_assert!(settled, "client {} does not get to the end: {:?}", which, state);
        }
        Ok(())
    }

    fn expect_exact(&self) -> Result<(), TestCaseError> {
        for (which, (client, _)) in self.clients.iter().enumerate() {
            prop_assert!(client.gaps.is_empty(), "client {} got gaps {:?}", which, client.gaps);
            for partition in 0..PARTITIONS {
                let facts = self.kafka.facts(partition, client.first[&partition], "acme");
                let expected: Vec<&str> = facts.iter().map(|fact| fact.value.as_str()).collect();
                prop_assert_eq!(
                    client.of_partition(partition),
                    expected,
                    "client {} partition {}",
                    which,
                    partition
                );
            }
        }
        Ok(())
    }
}

fn started(memory: usize, kafka: &Kafka, clock: &ManualClock, heads: &[u64]) -> Bridge {
    let bridge = bridge_at(memory, kafka, Arc::new(clock.clone()));
    // As the consumer begins: where there is nothing to read, it is told the leader's epoch.
    let start = |(&offset, &end)| Start { offset, epoch: if offset == end { 0 } else { -1 }, log_start: 0 };
    let starts: Vec<Start> = heads.iter().zip(&kafka.0.lock().unwrap().ends).map(start).collect();
    bridge.add_topic("orders", TopicId([1; 16]), &starts);
    bridge
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_client_gets_its_records_exactly(
        events in events(),
        memory in prop_oneof![Just(64 * 1024), Just(512 * 1024), Just(16 << 20)],
    ) {
        let mut scene = Scene::new(memory);
        for event in &events {
            scene.play(event);
        }
        scene.settle()?;
        scene.expect_exact()?;
    }
}

#[test]
fn who_stands_where_another_stood_repeats_what_it_was_given() {
    let mut scene = Scene::new(16 << 20);
    for client in 0..2 {
        scene.read(client, 8, 64);
    }
    for _ in 0..3 {
        scene.play(&Event::Write { partition: 1, count: 2, tenant: 0, hole: 0 });
        scene.ingest(1, false);
        for client in 0..2 {
            scene.read(client, 1, 64);
        }
    }
    assert_eq!(scene.repeated, 3);
    scene.settle().unwrap();
    scene.expect_exact().unwrap();
}

/// With little memory, the answer to a question that nobody asks any more would be kept, and the others would wait for its memory.
#[test]
fn a_question_that_the_tail_answers_meanwhile_holds_up_no_other() {
    let mut scene = Scene::new(64 * 1024);
    let write = |partition, count, hole| Event::Write { partition, count, tenant: 0, hole };
    let read = |client, rounds| Event::Read { client, rounds, records: 1 };
    let events = [
        write(1, 1, 1),
        write(0, 3, 0),
        Event::Ingest { partition: 1, split: false },
        read(0, 1),
        Event::Restart { back: 1 },
        write(0, 2, 1),
        read(0, 1),
        read(1, 3),
        write(2, 4, 0),
        read(1, 1),
        read(1, 3),
        Event::Restart { back: 2 },
        read(0, 1),
        write(1, 1, 0),
        read(1, 1),
    ];
    events.iter().for_each(|event| scene.play(event));
    scene.settle().unwrap();
    scene.expect_exact().unwrap();
}
