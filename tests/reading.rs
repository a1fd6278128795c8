//! Nothing but the brokers can stop the reading, and no topic another: what changes while the process is not there, clusters
//! that are set up again, a second process of the same name, topics that may not be read.

mod support;

use std::time::Duration;

use support::bridge::{Bridge, get};
use support::eventually;
use support::kafka::{CREDENTIALS, Kafka};
use support::sse::{Connection, Event, IdBuffer, Source};

/// From a change to what it must lead to.
const SOON: Duration = Duration::from_secs(5);

fn send(kafka: &Kafka, topic: &str, partitions: i32, round: &str) {
    let producer = kafka.producer();
    for partition in 0..partitions {
        producer.send(topic, partition, "acme", format!("{round}/{topic}/{partition}").as_bytes());
    }
    producer.flush();
}

async fn open(bridge: &Bridge, path: &str) -> (Source, Connection) {
    let source = Source::new(bridge.port, path, IdBuffer::Empty);
    let connection = source.connect(bridge.port).await.expect("the bridge answers");
    assert_eq!(connection.status, 200);
    (source, connection)
}

/// Reads until there are `count` records, or for [`SOON`].
async fn records(
    source: &mut Source,
    connection: &mut Connection,
    count: usize,
) -> (Vec<String>, Vec<Event>) {
    let (mut got, mut all) = (Vec::new(), Vec::new());
    let until = std::time::Instant::now() + SOON;
    while got.len() < count && std::time::Instant::now() < until {
        let (events, _) = source.read(connection, usize::MAX, Duration::from_millis(100)).await;
        let of_records = events.iter().filter(|event| !event.name.starts_with("tailrace."));
        got.extend(of_records.map(|event| event.data.clone()));
        all.extend(events);
    }
    got.sort();
    (got, all)
}

async fn readyz(bridge: &Bridge) -> (u16, String) {
    get(bridge.admin, "/readyz").await.expect("the admin address answers")
}

fn expected(topic: &str, partitions: i32, round: &str) -> Vec<String> {
    (0..partitions).map(|partition| format!("{round}/{topic}/{partition}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_while_the_process_was_dead_is_served() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 3, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "^(orders|added-.*),later", "killed", &[]);
    bridge.start().await;
    send(&kafka, "orders", 3, "first");
    let (mut source, mut connection) = open(&bridge, "/t/acme/events").await;
    let _ = source.read(&mut connection, usize::MAX, Duration::from_millis(500)).await;
    bridge.kill();
    drop(connection);
    // More partitions, a topic that the pattern matches, one that was missing; then one more in the setting itself.
    kafka.add_partitions("orders", 5).await;
    kafka.create_topic("added-a", 2, &[]).await;
    kafka.create_topic("later", 1, &[]).await;
    kafka.create_topic("extra", 1, &[]).await;
    bridge.set("TAILRACE_TOPICS", "^(orders|added-.*),later,extra");
    let began = std::time::Instant::now();
    bridge.start().await;
    assert!(began.elapsed() < Duration::from_secs(10), "ready after {:?}", began.elapsed());
    for (topic, partitions) in [("orders", 5), ("added-a", 2), ("later", 1), ("extra", 1)] {
        send(&kafka, topic, partitions, "second");
    }
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    let (got, _) = records(&mut source, &mut connection, 9).await;
    let mut all = expected("orders", 5, "second");
    all.extend(expected("added-a", 2, "second"));
    all.extend(expected("later", 1, "second"));
    all.extend(expected("extra", 1, "second"));
    all.sort();
    assert_eq!(got, all);
    // Created again with more partitions, under SIGKILL.
    bridge.kill();
    kafka.delete_topic("orders").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    kafka.create_topic("orders", 7, &[]).await;
    bridge.start().await;
    send(&kafka, "orders", 7, "third");
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    let (got, events) = records(&mut source, &mut connection, 7).await;
    assert_eq!(got, expected("orders", 7, "third"), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_wiped_and_set_up_again_is_read_on() {
    let mut kafka = Kafka::start().await;
    kafka.create_topic("orders", 3, &[]).await;
    // Leaders of a later epoch than those that a new cluster begins with.
    kafka.broker(0).stop();
    kafka.broker(0).spawn();
    kafka.broker(0).answers().await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "wiped", &[]);
    bridge.start().await;
    send(&kafka, "orders", 3, "before");
    let (mut source, mut connection) = open(&bridge, "/t/acme/events").await;
    for as_another in [false, true] {
        let _ = source.read(&mut connection, usize::MAX, Duration::from_millis(500)).await;
        kafka.wipe(as_another).await;
        kafka.create_topic("orders", 3, &[]).await;
        send(&kafka, "orders", 3, "after");
        let (got, events) = records(&mut source, &mut connection, 3).await;
        assert_eq!(got, expected("orders", 3, "after"), "{events:?}\n{}", bridge.log());
        let gaps = events.iter().filter(|event| event.name == "tailrace.gap").count();
        assert_eq!(gaps, 3, "{events:?}");
        let (mut newcomer, mut other) = open(&bridge, "/t/acme/events?from=earliest").await;
        let (got, events) = records(&mut newcomer, &mut other, 3).await;
        assert_eq!(got, expected("orders", 3, "after"), "{events:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_of_the_same_name_stops_nothing() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 3, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "twin", &[]);
    bridge.start().await;
    let (mut source, mut connection) = open(&bridge, "/t/acme/events").await;
    let mut other = Bridge::new(&kafka.bootstrap(), "orders", "twin", &[]);
    for (round, kill) in [("one", true), ("two", false)] {
        other.start().await;
        for turn in 0..8 {
            let round = format!("{round}-{turn}");
            send(&kafka, "orders", 3, &round);
            let (got, _) = records(&mut source, &mut connection, 3).await;
            assert_eq!(got, expected("orders", 3, &round));
        }
        match kill {
            true => other.kill(),
            false => assert!(other.terminate().await.success()),
        }
        let round = format!("{round}-after");
        send(&kafka, "orders", 3, &round);
        let (got, _) = records(&mut source, &mut connection, 3).await;
        assert_eq!(got, expected("orders", 3, &round));
    }
    assert_eq!(readyz(&bridge).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_topic_keeps_no_other_from_being_served() {
    let kafka = Kafka::secured().await;
    kafka.create_topic("orders", 2, &[]).await;
    kafka.create_topic("secret", 2, &[]).await;
    let (orders, secret) = (["--topic", "orders"], ["--topic", "secret"]);
    kafka.allow(&["Describe", "Read"], &orders);
    kafka.allow(&["Describe"], &secret);
    send(&kafka, "secret", 2, "hidden");
    let mut bridge = Bridge::new(&kafka.proxied_bootstrap(), "orders,secret", "acl", &CREDENTIALS);
    bridge.start().await;
    let (_, text) = readyz(&bridge).await;
    assert!(text.contains("forbidden topics: secret: "), "{text}");
    assert!(bridge.log().contains("not served"), "{}", bridge.log());
    let (status, problem) = get(bridge.port, "/t/acme/events?topic=secret").await.expect("an answer");
    assert!(status == 403 && problem.contains("forbidden_topic"), "{status} {problem}");
    let (checked, is_good) = tokio::task::block_in_place(|| bridge.check(&[]));
    assert!(!is_good && checked.contains("\nsecret\n  forbidden: "), "{checked}");
    assert!(checked.contains("\norders\n  served\n"), "{checked}");
    let (mut source, mut connection) = open(&bridge, "/t/acme/events?from=earliest").await;
    send(&kafka, "orders", 2, "one");
    let (got, events) = records(&mut source, &mut connection, 2).await;
    assert_eq!(got, expected("orders", 2, "one"), "{events:?}");
    // Allowed while it runs.
    kafka.allow(&["Read"], &secret);
    eventually("the topic is served", SOON, async || {
        let (_, text) = readyz(&bridge).await;
        (!text.contains("forbidden")).then_some(())
    })
    .await;
    let (got, events) = records(&mut source, &mut connection, 2).await;
    assert_eq!(got, expected("secret", 2, "hidden"), "what was written in the last two minutes: {events:?}");
    // Taken away, given back: nothing of it is lost or comes twice, and the other topic goes on.
    kafka.disallow(&["Read"], &secret);
    eventually("the topic is known to be forbidden", SOON, async || {
        let (_, text) = readyz(&bridge).await;
        text.contains("forbidden topics: secret").then_some(())
    })
    .await;
    send(&kafka, "secret", 2, "withheld");
    send(&kafka, "orders", 2, "two");
    let (got, events) = records(&mut source, &mut connection, 2).await;
    assert_eq!(got, expected("orders", 2, "two"), "{events:?}");
    kafka.allow(&["Read"], &secret);
    let (got, events) = records(&mut source, &mut connection, 2).await;
    assert_eq!(got, expected("secret", 2, "withheld"), "{events:?}");
    assert!(events.iter().all(|event| event.name != "tailrace.gap"), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_may_not_be_joined_is_a_note_and_nothing_else() {
    let kafka = Kafka::secured().await;
    kafka.create_topic("orders", 2, &[]).await;
    kafka.allow(&["Describe", "Read"], &["--topic", "orders"]);
    let mut env = CREDENTIALS.to_vec();
    env.push(("TAILRACE_GROUP_PREFIX", "other"));
    let mut bridge = Bridge::new(&kafka.proxied_bootstrap(), "orders", "stranger", &env);
    bridge.start().await;
    let (mut source, mut connection) = open(&bridge, "/t/acme/events").await;
    send(&kafka, "orders", 2, "one");
    let (got, _) = records(&mut source, &mut connection, 2).await;
    assert_eq!(got, expected("orders", 2, "one"));
    eventually("it is said", SOON, async || {
        let (_, text) = readyz(&bridge).await;
        text.contains("the consumer group other-stranger does not show this replica").then_some(())
    })
    .await;
    assert!(bridge.terminate().await.success());
}
