//! Resumes that need more than memory, or more than one partition: quiet partitions, cold resumes, gaps, growth.

mod support;

use std::time::{Duration, Instant};

use support::bridge::Bridge;
use support::kafka::Kafka;
use support::sse::{Event, IdBuffer, Source};

/// Reads until `enough` says so, reconnecting when the connection ends.
async fn read_until(source: &mut Source, what: &str, enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let mut all = Vec::new();
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        let Some(mut connection) = source.connect(source.ports[0]).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        assert_eq!(connection.status, 200, "{}", connection.head);
        loop {
            let (events, open) = source.read(&mut connection, usize::MAX, Duration::from_millis(50)).await;
            all.extend(events);
            if enough(&all) {
                return all;
            }
            if !open || Instant::now() > until {
                break;
            }
        }
    }
    panic!("not in time: {what}; got {} events, the last {:?}", all.len(), all.last());
}

fn data_of(events: &[Event]) -> Vec<&str> {
    events.iter().filter(|event| event.name.is_empty()).map(|event| event.data.as_str()).collect()
}

fn named<'a>(events: &'a [Event], name: &str) -> Vec<&'a str> {
    events.iter().filter(|event| event.name == name).map(|event| event.data.as_str()).collect()
}

fn synced(events: &[Event]) -> bool {
    events.iter().any(|event| event.name == "tailrace.synced")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_partition_is_not_lost_on_resume() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 12, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "quiet", &[]);
    bridge.start().await;
    let producer = kafka.producer();

    let mut source = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    let (_, open) = source.read(&mut connection, usize::MAX, Duration::from_millis(300)).await;
    assert!(open);
    producer.send("orders", 3, "acme", b"three");
    producer.flush();
    let (events, _) = source.read(&mut connection, usize::MAX, Duration::from_millis(500)).await;
    assert_eq!(data_of(&events), ["three"]);
    // Cut before anything of partition 7 came; its next record is written while the client is away.
    drop(connection);
    producer.send("orders", 7, "acme", b"seven");
    producer.flush();
    bridge.kill();
    bridge.start().await;
    let events = read_until(&mut source, "partition 7's record", synced).await;
    assert_eq!(data_of(&events), ["seven"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_resume_is_exact_and_memory_stays_within_the_budget() {
    const BUDGET: u64 = 16 << 20;
    const RECORDS: usize = 200_000;
    /// Eight clients of librdkafka while history is read, and what one segment is packed in.
    const READING: u64 = 10 << 20;
    let kafka = Kafka::start().await;
    kafka.create_topic("metrics", 12, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "metrics", "cold", &[("TAILRACE_CACHE_SIZE", "16MiB")]);
    bridge.start().await;
    let base = support::resident(bridge.pid());

    let mut source = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    source.read(&mut connection, usize::MAX, Duration::from_millis(300)).await;
    drop(connection);

    // 200 MiB pass by; the client's own records are every nineteenth, and so in every partition.
    let producer = kafka.producer();
    let padding = "x".repeat(1000);
    let mut expected = 0;
    for number in 0..RECORDS {
        let tenant = if number % 19 == 0 { "acme" } else { "globex" };
        expected += usize::from(tenant == "acme");
        let partition = number % 12;
        producer.send(
            "metrics",
            partition as i32,
            tenant,
            format!("{partition}:{number}:{padding}").as_bytes(),
        );
    }
    producer.flush();
    let lag = || async { bridge.metric("tailrace_consumer_lag_records").await };
    support::eventually("the bridge has caught up", Duration::from_secs(60), async || {
        (lag().await == 0.0).then_some(())
    })
    .await;
    let caught_up = support::resident(bridge.pid());

    let started = Instant::now();
    let events =
        read_until(&mut source, "all records", |all| data_of(all).len() >= expected && synced(all)).await;
    let cold = support::most_resident(bridge.pid());
    println!(
        "{expected} records in {:?}; resident: base {} MiB, after 200 MiB {} MiB, at the most {} MiB",
        started.elapsed(),
        base >> 20,
        caught_up >> 20,
        cold >> 20
    );
    let assigned = bridge.metric("tailrace_history_assignments_total").await;
    let read = bridge.metric("tailrace_history_bytes_read_total").await;
    println!("{assigned} assignments of readers, {} MiB of history read", read as u64 >> 20);
    assert!(named(&events, "tailrace.gap").is_empty());
    let mut last = [-1i64; 12];
    for data in data_of(&events) {
        let mut fields = data.split(':');
        let partition: usize = fields.next().and_then(|text| text.parse().ok()).expect("a partition");
        let number: i64 = fields.next().and_then(|text| text.parse().ok()).expect("a number");
        // 19 times 12: no number of a partition is passed over.
        assert!(
            last[partition] < 0 || number == last[partition] + 228,
            "{partition}: {} {number}",
            last[partition]
        );
        last[partition] = number;
    }
    assert_eq!(data_of(&events).len(), expected);
    assert!(last.iter().all(|number| *number >= 0), "a partition gave nothing: {last:?}");
    let most = base + READING + BUDGET * 3 / 2;
    assert!(caught_up <= most && cold <= most, "base {base}, then {caught_up} and {cold}, allowed {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_created_again_is_announced_and_read_from_its_first_record() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 3, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "again", &[]);
    bridge.start().await;
    let producer = kafka.producer();
    (0..30).for_each(|n| producer.send("orders", n % 3, "acme", format!("old {n}").as_bytes()));
    producer.flush();

    let mut away = Source::new(bridge.port, "/t/acme/events?from=earliest", IdBuffer::Empty);
    read_until(&mut away, "the old records", |all| data_of(all).len() == 30).await;
    let mut connected = Source::new(bridge.port, "/t/acme/events?from=earliest", IdBuffer::LastId);
    let mut connection = connected.connect(bridge.port).await.expect("the bridge answers");
    let (events, _) = connected.read(&mut connection, usize::MAX, Duration::from_millis(700)).await;
    assert_eq!(data_of(&events).len(), 30);

    // At once, so that the bridge sees one topic become another; a name is free again a moment after its deletion.
    kafka.delete_topic("orders").await;
    kafka.create_topic("orders", 3, &[]).await;
    // librdkafka's producer must learn of the new topic too.
    let producer = kafka.producer();
    (0..60).for_each(|n| producer.send("orders", n % 3, "acme", format!("new {n}").as_bytes()));
    producer.flush();

    let mut live = Vec::new();
    let until = Instant::now() + Duration::from_secs(30);
    let new = |events: &[Event]| data_of(events).iter().filter(|data| data.starts_with("new")).count();
    while new(&live) < 60 && Instant::now() < until {
        let (events, open) = connected.read(&mut connection, usize::MAX, Duration::from_millis(100)).await;
        live.extend(events);
        assert!(open, "the stream stays open");
    }
    let back = read_until(&mut away, "the new records", |all| new(all) == 60).await;
    for (who, events) in [("connected", &live), ("away", &back)] {
        let gaps = named(events, "tailrace.gap");
        let recreated = gaps.iter().filter(|gap| gap.contains("recreated")).count();
        assert_eq!((recreated, gaps.len()), (3, 3), "{who}: {gaps:?}");
        for partition in 0..3 {
            // Within the second that it takes to notice, records of the new topic may come as if they were of the old one.
            // After the gap they come again, from the first.
            let after =
                events.iter().rposition(|event| event.name == "tailrace.gap").expect("there are gaps");
            let got: Vec<i32> = data_of(&events[after..])
                .iter()
                .filter_map(|data| data.strip_prefix("new ")?.parse().ok())
                .filter(|n| n % 3 == partition)
                .collect();
            let expected: Vec<i32> = (0..60).filter(|n| n % 3 == partition).collect();
            assert_eq!(got, expected, "{who}, partition {partition}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_has_passed_is_one_gap() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 1, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "gone", &[("TAILRACE_CACHE_WARMUP", "0s")]);
    bridge.start().await;
    let producer = kafka.producer();
    (0..100).for_each(|n| producer.send("orders", 0, "acme", format!("{n}").as_bytes()));
    producer.flush();
    let mut source = Source::new(bridge.port, "/t/acme/events?from=earliest", IdBuffer::Empty);
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    // Cut somewhere in the midst.
    let (events, _) = source.read(&mut connection, 1500, Duration::from_millis(500)).await;
    let seen = data_of(&events).len();
    assert!(seen < 50, "cut too late: {seen}");
    drop(connection);
    bridge.kill();
    kafka.delete_records("orders", 0, 60).await;
    bridge.start().await;
    let events = read_until(&mut source, "the rest", synced).await;
    let gap = format!(r#"{{"code":"retention","from":{seen},"partition":0,"to":60,"topic":"orders"}}"#);
    let told: Vec<serde_json::Value> =
        named(&events, "tailrace.gap").iter().map(|gap| serde_json::from_str(gap).expect("JSON")).collect();
    assert_eq!(told, [serde_json::from_str::<serde_json::Value>(&gap).expect("JSON")]);
    let expected: Vec<String> = (60..100).map(|n| n.to_string()).collect();
    assert_eq!(data_of(&events), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_partitions_and_new_topics_are_read_from_their_first_record() {
    let kafka = Kafka::start().await;
    kafka.create_topic("log-a", 2, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "^log-.*", "growth", &[]);
    bridge.start().await;
    let mut source = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    source.read(&mut connection, usize::MAX, Duration::from_millis(300)).await;

    kafka.add_partitions("log-a", 4).await;
    kafka.create_topic("log-b", 1, &[]).await;
    let producer = kafka.producer();
    for n in 0..20 {
        producer.send("log-a", 3, "acme", format!("a3 {n}").as_bytes());
        producer.send("log-b", 0, "acme", format!("b0 {n}").as_bytes());
    }
    producer.flush();
    let mut events = Vec::new();
    let until = Instant::now() + Duration::from_secs(30);
    while data_of(&events).len() < 40 && Instant::now() < until {
        events.extend(source.read(&mut connection, usize::MAX, Duration::from_millis(100)).await.0);
    }
    for prefix in ["a3", "b0"] {
        let got: Vec<&str> = data_of(&events).into_iter().filter(|data| data.starts_with(prefix)).collect();
        let expected: Vec<String> = (0..20).map(|n| format!("{prefix} {n}")).collect();
        assert_eq!(got, expected);
    }
    assert!(named(&events, "tailrace.gap").is_empty());
}

/// A topic that appears is assigned beside those that are read: nothing happens to these.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_topic_disturbs_no_partition_that_was_at_its_end() {
    let kafka = Kafka::start().await;
    kafka.create_topic("log-a", 12, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "^log-.*", "beside", &[]);
    bridge.start().await;
    let producer = kafka.producer();
    let mut source = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    let mut events = source.read(&mut connection, usize::MAX, Duration::from_millis(300)).await.0;
    for round in 1..=2 {
        let name = format!("log-b{round}");
        kafka.create_topic(&name, 1, &[]).await;
        support::eventually("the new topic is found", Duration::from_secs(30), async || {
            bridge.log().contains(&format!("topic found topic=\"{name}\"")).then_some(())
        })
        .await;
        for partition in 0..12 {
            producer.send("log-a", partition, "acme", format!("{partition} of {round}").as_bytes());
        }
        producer.flush();
        let until = Instant::now() + Duration::from_secs(10);
        while data_of(&events).len() < round * 12 && Instant::now() < until {
            events.extend(source.read(&mut connection, usize::MAX, Duration::from_millis(100)).await.0);
        }
        let mut got: Vec<&str> = data_of(&events).split_off((round - 1) * 12);
        got.sort_unstable();
        let mut expected: Vec<String> = (0..12).map(|partition| format!("{partition} of {round}")).collect();
        expected.sort_unstable();
        assert_eq!(got, expected);
    }
    assert!(named(&events, "tailrace.gap").is_empty());
}

/// The id of a client that has seen nothing of a partition still says of which leader's log its end was, and later leaders
/// confirm that, whatever leader wrote the last record below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_quiet_partition_is_confirmed_under_later_leaders() {
    let mut kafka = Kafka::start().await;
    kafka.create_topic("orders", 2, &[]).await;
    let producer = kafka.producer();
    producer.send("orders", 1, "acme", b"long ago");
    producer.flush();
    let cold = [("TAILRACE_CACHE_WARMUP", "0s")];
    let mut id = String::new();
    for round in 0..3 {
        // The same broker is another leader after a restart.
        kafka.broker(0).stop();
        kafka.broker(0).spawn();
        kafka.broker(0).answers().await;
        let env = if round < 2 { &cold[..] } else { &[] };
        let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", &format!("quiet-{round}"), env);
        bridge.start().await;
        let mut source = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
        source.last_event_id = id;
        let events = read_until(&mut source, "synced", synced).await;
        assert_eq!((data_of(&events), named(&events, "tailrace.gap")), (vec![], vec![]), "round {round}");
        let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
        producer.send("orders", 0, "acme", b"now");
        producer.flush();
        let mut events = Vec::new();
        while data_of(&events).is_empty() {
            events.extend(source.read(&mut connection, usize::MAX, Duration::from_millis(500)).await.0);
        }
        id = source.last_event_id;
        let vector = id.parse::<tailrace_bridge::EventId>().expect("an id").vector;
        let end = vector.parts[0].positions[1];
        // One that has the record in memory tells its own leader.
        assert_eq!((end.offset, end.epoch > 0), (1, round < 2), "{end:?} in round {round}");
        assert!(end.epoch >= 0);
    }
}
