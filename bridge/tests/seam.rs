//! The seam between replay and live, under every interleaving that a model checker tries: the seven rules of the design. Each
//! rule is also broken on purpose, and the model must catch that.
//!
//! `cargo test -p tailrace-bridge --features shuttle --test seam`
#![cfg(feature = "shuttle")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use support::*;
use tailrace_bridge::*;

/// Schedules under which each model is run.
const SCHEDULES: usize = 1_500;
/// Rounds of schedules in the search for a defect.
const ROUNDS: usize = 50;
const RECORDS: usize = 6;

fn subscribe(bridge: &Bridge, client: &mut Client) -> Subscription {
    let request = request(client.id.clone(), StartFrom::Latest);
    let mut subscription = shuttle::future::block_on(bridge.subscribe(request)).unwrap();
    let id = subscription.id();
    client.begin(&id);
    subscription
}

/// Reads what there is, a little at a time, with heartbeats in between.
fn read(subscription: &mut Subscription, client: &mut Client, rounds: usize) {
    for _ in 0..rounds {
        let budget = Budget { records: thread_rng().gen_range(1..4), bytes: 64 };
        match subscription.next(budget) {
            Next::Frames { bytes, .. } => client.take(&joined(bytes)),
            Next::Wait => thread::yield_now(),
        }
        if thread_rng().gen_bool(0.3)
            && let Some(id) = subscription.progress()
        {
            client.take(format!("id: {id}\n\n").as_bytes());
        }
    }
}

fn produce(bridge: &Bridge, kafka: &Kafka, partition: Arc<Partition>) {
    let index = partition.index() as usize;
    let mut written = Vec::new();
    for number in 0..RECORDS {
        let tenant = if number % 5 == 2 { "globex" } else { "acme" };
        written.push(kafka.write(index, tenant, &format!("{index}:{number}"), number as i64, 0));
        // Sometimes two records are in one batch, and sometimes records that were already appended come again.
        let again = thread_rng().gen_range(0..2);
        if number % 2 == 1 {
            let from = written.len().saturating_sub(2 + again);
            append(bridge, &partition, &written[from..]);
        } else if number == 0 {
            append(bridge, &partition, &written);
        }
        thread::yield_now();
    }
    append(bridge, &partition, &written[RECORDS - 1..]);
}

fn expect_exact(client: &Client, kafka: &Kafka, partitions: usize) {
    for partition in 0..partitions {
        let from = client.first.get(&partition).copied().unwrap_or(0);
        let expected: Vec<String> =
            kafka.facts(partition, from, "acme").into_iter().map(|fact| fact.value).collect();
        assert_eq!(client.of_partition(partition), expected, "partition {partition} from {from}");
    }
}

/// Two partitions are written while a client reads, is disconnected, and comes back.
fn live_and_cut() {
    let kafka = Kafka::with_partitions(2);
    let bridge = bridge(1 << 20, &kafka);
    let start = Start { offset: 0, epoch: -1, log_start: 0 };
    bridge.add_topic("orders", TopicId([1; 16]), &[start, start]);
    let topic = bridge.topic("orders").unwrap();
    let producers: Vec<_> = topic
        .partitions()
        .into_iter()
        .map(|partition| {
            let (bridge, kafka) = (bridge.clone(), kafka.clone());
            thread::spawn(move || produce(&bridge, &kafka, partition))
        })
        .collect();
    let reader = {
        let bridge = bridge.clone();
        thread::spawn(move || {
            let mut client = Client::default();
            for _ in 0..3 {
                let mut subscription = subscribe(&bridge, &mut client);
                read(&mut subscription, &mut client, 4);
            }
            client
        })
    };
    for producer in producers {
        producer.join().unwrap();
    }
    let mut client = reader.join().unwrap();
    let mut subscription = subscribe(&bridge, &mut client);
    read(&mut subscription, &mut client, 24);
    expect_exact(&client, &kafka, 2);
}

/// A topic is created again while a client reads: it gets the gap, then every record of the new topic, none twice.
fn recreated() {
    let kafka = Kafka::with_partitions(1);
    let bridge = bridge(1 << 20, &kafka);
    let start = Start { offset: 0, epoch: -1, log_start: 0 };
    bridge.add_topic("orders", TopicId([1; 16]), &[start]);
    let old = bridge.topic("orders").unwrap().partitions()[0].clone();
    append(&bridge, &old, &[kafka.write(0, "acme", "0:old", 0, 0)]);
    let late = kafka.write(0, "acme", "0:late", 0, 0);
    let producer = {
        let (bridge, old) = (bridge.clone(), old.clone());
        thread::spawn(move || append(&bridge, &old, &[late]))
    };
    let keeper = {
        let bridge = bridge.clone();
        thread::spawn(move || {
            bridge.recreate_topic("orders", TopicId([2; 16]), &[start]);
            let new = Kafka::with_partitions(1);
            let partition = bridge.topic("orders").unwrap().partitions()[0].clone();
            let facts = [new.write(0, "acme", "0:new0", 0, 0), new.write(0, "acme", "0:new1", 0, 0)];
            append(&bridge, &partition, &facts);
        })
    };
    let mut client = Client::default();
    for _ in 0..2 {
        let mut subscription = subscribe(&bridge, &mut client);
        read(&mut subscription, &mut client, 3);
    }
    producer.join().unwrap();
    keeper.join().unwrap();
    let mut subscription = subscribe(&bridge, &mut client);
    read(&mut subscription, &mut client, 16);
    let came_before = client.values.contains(&"0:new0".to_owned());
    let began_after = client.gaps.is_empty() && client.first[&0] > 0 && !came_before;
    if client.gaps.is_empty() {
        // Only a client that began with the new topic gets no gap.
        assert!(!client.values.contains(&"0:old".to_owned()) || began_after);
    } else {
        assert_eq!(client.gaps.len(), 1, "{:?}", client.gaps);
        assert!(client.gaps[0].contains("recreated"), "{:?}", client.gaps);
        let new: Vec<_> = client.values.iter().filter(|value| value.contains("new")).collect();
        assert_eq!(new, ["0:new0", "0:new1"]);
    }
    let topic_id_now = Fingerprint::new("orders", TopicId([2; 16]));
    let parsed: EventId = client.id.clone().unwrap().parse().unwrap();
    assert_eq!(parsed.vector.parts[0].fingerprint, topic_id_now, "the id speaks of the old topic");
}

/// A replica that is behind: the client's id is ahead of what the replica has ingested.
fn behind() {
    let kafka = Kafka::with_partitions(2);
    let start = Start { offset: 0, epoch: -1, log_start: 0 };
    let ahead = bridge(1 << 20, &kafka);
    ahead.add_topic("orders", TopicId([1; 16]), &[start, start]);
    let mut client = Client::default();
    let mut subscription = subscribe(&ahead, &mut client);
    let facts: Vec<Fact> =
        (0..3).map(|number| kafka.write(0, "acme", &format!("0:{number}"), 0, 0)).collect();
    append(&ahead, &ahead.topic("orders").unwrap().partitions()[0], &facts);
    read(&mut subscription, &mut client, 6);
    drop(subscription);

    let late = bridge(1 << 20, &kafka);
    late.add_topic("orders", TopicId([1; 16]), &[start, start]);
    let partitions = late.topic("orders").unwrap().partitions();
    let producers: Vec<_> = partitions
        .into_iter()
        .map(|partition| {
            let (late, kafka) = (late.clone(), kafka.clone());
            let mine = match partition.index() {
                0 => facts.clone(),
                _ => vec![kafka.write(1, "acme", "1:0", 0, 0), kafka.write(1, "acme", "1:1", 0, 0)],
            };
            thread::spawn(move || {
                mine.iter().for_each(|fact| append(&late, &partition, std::slice::from_ref(fact)))
            })
        })
        .collect();
    let mut subscription = shuttle::future::block_on(late.subscribe(resuming(&client))).unwrap();
    read(&mut subscription, &mut client, 4);
    for producer in producers {
        producer.join().unwrap();
    }
    read(&mut subscription, &mut client, 24);
    expect_exact(&client, &kafka, 2);
}

fn resuming(client: &Client) -> SubscribeRequest {
    request(client.id.clone(), StartFrom::Latest)
}

/// Whether some schedule shows the defect. The first one that does ends the search, so the bound may be far higher than needed.
/// There are two ways of choosing schedules, since each finds some defects sooner than the other.
fn noticed(rule: Sabotage, model: fn()) -> bool {
    let broken = move || {
        sabotage(Some(rule));
        model();
    };
    let fails = |search: &dyn Fn()| catch_unwind(AssertUnwindSafe(search)).is_err();
    (0..ROUNDS).any(|_| {
        fails(&|| shuttle::check_random(broken, SCHEDULES))
            || fails(&|| shuttle::check_pct(broken, SCHEDULES, 3))
    })
}

fn holds(model: fn()) {
    shuttle::check_random(
        move || {
            sabotage(None);
            model();
        },
        SCHEDULES,
    );
    shuttle::check_pct(
        move || {
            sabotage(None);
            model();
        },
        SCHEDULES,
        3,
    );
}

#[test]
fn live_and_cut_is_exact_under_every_schedule() {
    holds(live_and_cut);
}

#[test]
fn a_recreated_topic_is_exact_under_every_schedule() {
    holds(recreated);
}

#[test]
fn a_replica_that_is_behind_is_exact_under_every_schedule() {
    holds(behind);
}

#[test]
fn rule_1_a_head_before_its_frames_is_noticed() {
    assert!(noticed(Sabotage::HeadBeforeFrames, live_and_cut));
}

#[test]
fn rule_2_an_id_without_the_view_is_noticed() {
    assert!(noticed(Sabotage::IdWithoutView, live_and_cut));
}

#[test]
fn rule_3_a_registration_that_does_not_wait_is_noticed() {
    assert!(noticed(Sabotage::RegisterWithoutWaiting, live_and_cut));
}

#[test]
fn rule_4_progress_away_from_the_views_end_is_noticed() {
    assert!(noticed(Sabotage::ProgressAnywhere, live_and_cut));
}

#[test]
fn rule_5_a_cursor_that_leaves_mid_frame_is_noticed() {
    assert!(noticed(Sabotage::LeaveMidFrame, live_and_cut));
}

#[test]
fn rule_6_a_record_taken_below_the_head_is_noticed() {
    assert!(noticed(Sabotage::TakeBelowHead, live_and_cut));
}

#[test]
fn rule_7_a_recreated_topic_that_goes_on_is_noticed() {
    assert!(noticed(Sabotage::KeepRecreated, recreated));
}

#[test]
fn a_join_ahead_of_the_view_is_noticed() {
    assert!(noticed(Sabotage::JoinAhead, behind));
}
