//! Sealed ids: two replicas whose key files change one after the other, clients that reconnect to either, and nothing lost or
//! repeated; and ids that a client of another tenant, or without the keys, has.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is not the core")]

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use support::manual_clock::ManualClock;
use support::*;
use tailrace_bridge::*;

const PARTITIONS: usize = 2;
const MEMORY: usize = 1 << 20;
const A: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const B: &str = "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100";
/// From no keys to the key A, and from A to B, as the documentation says it. Before each step, every client has come back once.
const STEPS: [&[&str]; 7] = [&[], &["unsealed", A], &[A, "unsealed"], &[A], &[A, B], &[B, A], &[B]];

fn keys(step: usize) -> Option<IdKeys> {
    let lines = STEPS[step];
    (!lines.is_empty()).then(|| IdKeys::parse(&lines.join("\n")).unwrap())
}

fn privacy(step: usize) -> Privacy {
    Privacy { id_keys: keys(step), ..Privacy::default() }
}

struct Fleet {
    clock: ManualClock,
    kafka: Kafka,
    /// Each with the step of its key file.
    replicas: [(Bridge, usize); 2],
    clients: Vec<(Client, Option<Subscription>)>,
    written: u64,
}

impl Fleet {
    fn new(clients: usize) -> Fleet {
        let (clock, kafka) = (ManualClock::new(), Kafka::with_partitions(PARTITIONS));
        let replicas = [(); 2].map(|()| (started(&kafka, &clock, 0), 0));
        let clients = (0..clients).map(|_| Default::default()).collect();
        Fleet { clock, kafka, replicas, clients, written: 0 }
    }

    /// Writes a record, which the replicas read at once.
    fn write(&mut self, partition: usize) {
        let value = format!("{partition}:{}", self.written);
        let fact = self.kafka.write(partition, "acme", &value, self.written as i64, 0);
        self.written += 1;
        for (bridge, _) in &self.replicas {
            append(
                bridge,
                &bridge.topic("orders").unwrap().partitions()[partition].clone(),
                std::slice::from_ref(&fact),
            );
        }
    }

    /// A replica restarts with the next key file, or the same one.
    fn restart(&mut self, which: usize, step: usize) {
        for (_, subscription) in &mut self.clients {
            *subscription = None;
        }
        self.replicas[which] = (started(&self.kafka, &self.clock, step), step);
    }

    /// The client connects to a replica and reads a little, perhaps without its last frames.
    fn connect(&mut self, which: usize, replica: usize, lost: bool) {
        let (bridge, step) = &self.replicas[replica];
        let (client, subscription) = &mut self.clients[which];
        let mut fresh =
            self.clock.block_on(bridge.subscribe(request(client.id.clone(), StartFrom::Earliest))).unwrap();
        client.begin_sealed(&fresh.id(), keys(*step).as_ref());
        if lost {
            fresh.next(Budget { records: 1, bytes: 4096 });
        } else {
            *subscription = Some(fresh);
            self.read(which);
        }
    }

    fn read(&mut self, which: usize) {
        let (client, subscription) = &mut self.clients[which];
        let Some(subscription) = subscription else { return };
        loop {
            match subscription.next(Budget { records: 2, bytes: 4096 }) {
                Next::Frames { bytes, .. } => client.take(&joined(bytes)),
                Next::Wait if subscription.is_live() => break,
                Next::Wait => self.clock.block_on(subscription.changed()),
            }
        }
        if let Some(id) = subscription.progress() {
            client.take(format!("id: {id}\n\n").as_bytes());
        }
    }

    fn expect_exact(&mut self) {
        for which in 0..self.clients.len() {
            self.clients[which].1 = None;
            self.connect(which, which % 2, false);
            let client = &self.clients[which].0;
            assert_eq!(client.gaps, Vec::<String>::new(), "client {which}");
            for partition in 0..PARTITIONS {
                let facts = self.kafka.facts(partition, client.first[&partition], "acme");
                let expected: Vec<&str> = facts.iter().map(|fact| fact.value.as_str()).collect();
                assert_eq!(client.of_partition(partition), expected, "client {which} partition {partition}");
            }
        }
    }
}

fn started(kafka: &Kafka, clock: &ManualClock, step: usize) -> Bridge {
    let bridge = bridge_showing(MEMORY, kafka, Arc::new(clock.clone()), privacy(step));
    let ends = kafka.0.lock().unwrap().ends.clone();
    let starts: Vec<Start> = ends.iter().map(|&offset| Start { offset, epoch: 0, log_start: 0 }).collect();
    bridge.add_topic("orders", TopicId([1; 16]), &starts);
    bridge
}

#[derive(Clone, Debug)]
enum Event {
    Write {
        partition: usize,
    },
    Connect {
        client: usize,
        replica: usize,
        lost: bool,
    },
    Read {
        client: usize,
    },
    /// A replica restarts as it is.
    Restart {
        replica: usize,
    },
    /// The fleet is moved to the next key file, one replica after the other, with these events in between.
    Roll,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..PARTITIONS).prop_map(|partition| Event::Write { partition }),
        4 => (0..3usize, 0..2usize, any::<bool>())
            .prop_map(|(client, replica, lost)| Event::Connect { client, replica, lost }),
        2 => (0..3usize).prop_map(|client| Event::Read { client }),
        1 => (0..2usize).prop_map(|replica| Event::Restart { replica }),
        3 => Just(Event::Roll),
    ];
    prop::collection::vec(event, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_rotation_of_keys_under_reconnects_loses_nothing_and_repeats_nothing(events in events()) {
        let mut fleet = Fleet::new(3);
        for event in events {
            match event {
                Event::Write { partition } => fleet.write(partition),
                Event::Connect { client, replica, lost } => fleet.connect(client, replica, lost),
                Event::Read { client } => fleet.read(client),
                Event::Restart { replica } => fleet.restart(replica, fleet.replicas[replica].1),
                Event::Roll => {
                    // The first replica moves on; the second follows once every client has come back to either.
                    let [first, second] = [0, 1].map(|replica| fleet.replicas[replica].1);
                    match first == second {
                        true if first + 1 < STEPS.len() => {
                            (0..3).for_each(|client| fleet.connect(client, client % 2, false));
                            fleet.restart(0, first + 1);
                        }
                        true => {}
                        false => fleet.restart(1, first),
                    }
                }
            }
        }
        fleet.expect_exact();
    }
}

#[test]
fn a_quiet_client_that_comes_back_gets_its_id_under_the_new_key() {
    let mut fleet = Fleet::new(1);
    fleet.write(0);
    fleet.connect(0, 0, false);
    for step in 1..STEPS.len() {
        fleet.restart(0, step);
        fleet.connect(0, 0, false);
        let id = fleet.clients[0].0.id.clone().unwrap();
        // It is an id that the next step still reads.
        assert!(
            EventId::read(&id, "acme", keys((step + 1).min(STEPS.len() - 1)).as_ref()).is_ok(),
            "step {step}: {id}"
        );
    }
    assert_eq!(fleet.clients[0].0.gaps, Vec::<String>::new());
    assert_eq!(fleet.clients[0].0.values, ["0:0"]);
}

#[test]
fn a_key_that_is_taken_away_too_early_is_a_gap_and_no_silence() {
    let mut fleet = Fleet::new(1);
    fleet.write(0);
    fleet.restart(0, 3);
    fleet.connect(0, 0, false);
    fleet.restart(0, 6);
    fleet.connect(0, 0, false);
    assert_eq!(fleet.clients[0].0.gaps, [r#"{"code":"unknown_id"}"#]);
}

/// Subscribes with this id; returns the first frames.
fn answer(bridge: &Bridge, clock: &ManualClock, tenant: &str, id: &str) -> String {
    let tenant = TenantId::new(tenant).unwrap();
    let request = SubscribeRequest { tenant, ..request(Some(id.to_owned()), StartFrom::Latest) };
    let mut subscription = clock.block_on(bridge.subscribe(request)).unwrap();
    match subscription.next(Budget { records: 1, bytes: 4096 }) {
        Next::Frames { bytes, .. } => String::from_utf8(joined(bytes)).unwrap(),
        Next::Wait => String::new(),
    }
}

#[test]
fn an_attack_by_an_id_of_another_tenant_or_key_or_by_a_forged_one_is_an_unknown_id() {
    let mut fleet = Fleet::new(1);
    fleet.write(0);
    fleet.restart(0, 3);
    fleet.connect(0, 0, false);
    let (bridge, clock) = (&fleet.replicas[0].0, &fleet.clock);
    let own = fleet.clients[0].0.id.clone().unwrap();
    assert!(!answer(bridge, clock, "acme", &own).contains("unknown_id"));
    let opened = EventId::read(&own, "acme", keys(3).as_ref()).unwrap();
    let mut foreign = String::new();
    EventId::encode(&mut foreign, opened.minutes, &opened.vector, keys(6).unwrap().seal("acme"));
    let middle = own.len() / 2;
    let other = if own.as_bytes()[middle] == b'x' { "y" } else { "x" };
    let altered = format!("{}{other}{}", &own[..middle], &own[middle + 1..]);
    for (tenant, id) in [
        ("globex", &*own),
        ("acme", &foreign),
        ("acme", &opened.to_string()),
        ("acme", &own[..own.len() - 1]),
        ("acme", &altered),
        ("acme", "AgAA"),
        ("acme", "Ag"),
    ] {
        let frames = answer(bridge, clock, tenant, id);
        assert!(frames.contains("unknown_id"), "{tenant} {id}: {frames}");
    }
}

#[test]
fn a_place_to_start_at_is_refused_where_its_id_cannot_be_opened() {
    let mut fleet = Fleet::new(1);
    fleet.restart(0, 3);
    fleet.connect(0, 0, false);
    let own = fleet.clients[0].0.id.clone().unwrap();
    let opened = EventId::read(&own, "acme", keys(3).as_ref()).unwrap();
    let begin = |tenant: &str, from: &str| {
        let tenant = TenantId::new(tenant).unwrap();
        let request = SubscribeRequest { tenant, ..request(None, from.parse().unwrap()) };
        fleet.clock.block_on(fleet.replicas[0].0.subscribe(request)).map(|_| ())
    };
    assert!(begin("acme", &own).is_ok());
    assert!(matches!(begin("globex", &own), Err(SubscribeError::BadId(EventIdError::Sealed))));
    assert!(matches!(begin("acme", &opened.to_string()), Err(SubscribeError::BadId(EventIdError::Unsealed))));
}

#[test]
fn the_size_of_ids_counts_the_seal() {
    let fleet = Fleet::new(0);
    let acme = TenantId::new("acme").unwrap();
    let size = |step| started(&fleet.kafka, &fleet.clock, step).id_size(&acme, &[], 0).1;
    let sealed = started(&fleet.kafka, &fleet.clock, 3);
    let id = fleet.clock.block_on(sealed.subscribe(request(None, StartFrom::Latest))).unwrap().id();
    assert_eq!(size(3), id.len());
    assert!(size(3) > size(0) + 20);
    assert_eq!(sealed.id_size(&acme, &[], 100), (PARTITIONS, id.len()));
}
