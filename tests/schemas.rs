//! Records of Confluent's own serialisers, by schemas of a real registry: as JSON, exactly once, whatever the registry does.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use support::bridge::Bridge;
use support::kafka::Kafka;
use support::registry::{Gate, Registry, Written};
use support::sse::{Event, IdBuffer, Source};

const WAIT: Duration = Duration::from_secs(30);
const TOPICS: &str = "avro,avro-later,protobuf,json-schema";
const REGISTRY: &str = "TAILRACE_SCHEMA_REGISTRY_URL";

/// Records by topic, partition and offset, each with its event's name and its envelope.
type Seen = BTreeMap<(String, u64, u64), (String, Value)>;

/// The topic of a table's changes, which has an envelope of its own.
const CHANGES: &str = "changes";

/// Adds the records among events. Each may be there once.
fn add(seen: &mut Seen, events: &[Event]) {
    for event in events {
        assert_ne!(event.name, "tailrace.gap", "{event:?}");
        let Ok(envelope) = serde_json::from_str::<Value>(&event.data) else { continue };
        let (Some(topic), Some(offset)) = (envelope["topic"].as_str(), envelope["offset"].as_u64()) else {
            continue;
        };
        let partition = envelope["partition"].as_u64().expect("a partition");
        // Within a partition, the order is Kafka's.
        let later = seen
            .range((topic.to_owned(), partition, offset)..=(topic.to_owned(), partition, u64::MAX))
            .next();
        assert!(later.is_none(), "{topic}[{partition}]@{offset} came after {later:?}");
        seen.insert((topic.to_owned(), partition, offset), (event.name.clone(), envelope));
    }
}

/// Reads until there are so many records in all.
async fn read(bridge: &Bridge, source: &mut Source, seen: &mut Seen, count: usize) {
    let until = Instant::now() + WAIT;
    while seen.len() < count && Instant::now() < until {
        let Some(mut connection) = source.connect(bridge.port).await else { continue };
        while seen.len() < count && Instant::now() < until {
            let (events, is_open) =
                source.read(&mut connection, usize::MAX, Duration::from_millis(100)).await;
            add(seen, &events);
            if !is_open {
                break;
            }
        }
    }
    assert_eq!(seen.len(), count, "{seen:?}");
}

fn stream() -> Source {
    Source::new(0, "/t/acme/events?from=earliest&envelope=record", IdBuffer::Empty)
}

async fn create(kafka: &Kafka) {
    for topic in TOPICS.split(',').chain(["plain", CHANGES]) {
        kafka.create_topic(topic, 1, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_confluents_serialisers_write_comes_as_json() {
    let (kafka, registry) = tokio::join!(Kafka::start(), Registry::start());
    create(&kafka).await;
    let (changes, written): (Vec<_>, Vec<_>) =
        registry.serialize().into_iter().partition(|one| one.topic == CHANGES);
    let producer = kafka.producer();
    let mut offsets: BTreeMap<&str, u64> = BTreeMap::new();
    let mut expected: BTreeMap<(String, u64, u64), &Value> = BTreeMap::new();
    for one in &written {
        producer.send(&one.topic, 0, "acme", &one.bytes());
        let offset = offsets.entry(&one.topic).or_default();
        expected.insert((one.topic.clone(), 0, *offset), &one.seen);
        *offset += 1;
    }
    assert!(offsets.len() == 4 && written.len() >= 10, "{offsets:?}");
    // What has no frame stands as it is; what names a schema that is nowhere, or does not fit, is said.
    producer.send("plain", 0, "acme", b"as it is");
    producer.send("plain", 0, "acme", b"\0\0\x0f\x42\x40 no such schema");
    let mut damaged = written[0].bytes();
    damaged.truncate(damaged.len() - 3);
    producer.send("plain", 0, "acme", &damaged);
    for one in &changes {
        producer.send_record(CHANGES, 0, Some("acme"), Some(&one.key()), Some(&one.bytes()));
    }
    producer.send_record(CHANGES, 0, Some("acme"), Some(&changes[0].key()), None);
    producer.flush();

    let topics = format!("{TOPICS},plain");
    let mut bridge = Bridge::new(&kafka.bootstrap(), &topics, "schemas", &[(REGISTRY, &registry.url())]);
    bridge.start().await;
    let (mut source, mut seen) = (stream(), Seen::new());
    read(&bridge, &mut source, &mut seen, written.len() + 3).await;
    for (place, value) in expected {
        let (name, envelope) = &seen[&place];
        assert_eq!((name.as_str(), &envelope["value"]), ("", value), "{place:?}");
    }
    let plain = |offset| &seen[&("plain".to_owned(), 0, offset)];
    assert_eq!(plain(0).1["value"], "as it is");
    for (offset, code) in [(1, "unknown_schema"), (2, "mismatch")] {
        let (name, envelope) = plain(offset);
        assert_eq!((name.as_str(), &envelope["code"]), ("tailrace.undecodable", &json!(code)));
        assert_eq!(envelope["value_kind"], "binary");
    }
    assert!(bridge.metric_of("tailrace_records_undecodable_total", "unknown_schema").await >= 1.0);

    let (report, is_good) = bridge.check(&[]);
    for line in [
        "keys auto, values auto",
        "3 of 3 values by schema 1 (avro-value version 1)",
        "1 of 3 records undecodable, unknown_schema (value): the registry has no schema 1000000 (such as [0]@1)",
        "1 of 3 records undecodable, mismatch (value)",
        "a value: {\"orderId\":1,",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }
    assert!(is_good, "what cannot be decoded is served, too: {report}");

    // Rules and filters see the fields.
    let rules = [
        (REGISTRY, registry.url()),
        ("TAILRACE_TENANT_FROM", format!("{CHANGES}=header:tenant,json:/state")),
        ("TAILRACE_VALUE_POINTER", format!("{CHANGES}=/after")),
    ];
    let rules: Vec<(&str, &str)> = rules.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut other = Bridge::new(&kafka.bootstrap(), "avro,avro-later,changes", "fields", &rules);
    other.start().await;
    found(&other, "/t/PAID/events?from=earliest&envelope=record&where=value.tags.a%3E=1", 2).await;

    // A row's changes, by the recipe of docs/data.md.
    let rows = found(&other, "/t/acme/events?from=earliest&envelope=record", 4).await;
    for ((name, envelope), one) in rows.values().zip(&changes) {
        assert_eq!(
            (name.as_str(), &envelope["key"], &envelope["value"]),
            ("", &json!("{\"id\":7}"), &one.seen)
        );
    }
    let kinds: Vec<&Value> = rows.values().map(|(_, envelope)| &envelope["value_kind"]).collect();
    assert_eq!(kinds, [&Value::Null, &Value::Null, &json!("tombstone"), &json!("tombstone")]);
    found(&other, "/t/acme/events?from=earliest&envelope=record&where=value.state=PAID", 1).await;
}

/// The records of a path.
async fn found(bridge: &Bridge, path: &str, count: usize) -> Seen {
    let (mut source, mut seen) = (Source::new(0, path, IdBuffer::Empty), Seen::new());
    read(bridge, &mut source, &mut seen, count).await;
    seen
}

/// What a replica shows of each record, in the bytes of its events.
async fn all(bridge: &Bridge, count: usize) -> Seen {
    let (mut source, mut seen) = (stream(), Seen::new());
    read(bridge, &mut source, &mut seen, count).await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_away_holds_back_its_partitions_alone_and_streams_resume_exactly() {
    let (kafka, registry) = tokio::join!(Kafka::start(), Registry::start());
    create(&kafka).await;
    let written: Vec<Written> = registry.serialize().into_iter().filter(|one| one.topic != CHANGES).collect();
    let gate = Gate::start(registry.port).await;
    let (first, second): (Vec<&Written>, Vec<&Written>) =
        written.iter().partition(|one| one.topic != "avro-later");
    let topics = format!("{TOPICS},plain");
    let cold = [(REGISTRY, gate.url())];
    let cold: Vec<(&str, &str)> = cold.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut bridge = Bridge::new(&kafka.bootstrap(), &topics, "gated", &cold);
    bridge.start().await;

    // Nothing of the registry is known, and it is away.
    let producer = kafka.producer();
    let (mut source, mut seen, mut count) = (stream(), Seen::new(), 0);
    first.iter().for_each(|one| producer.send(&one.topic, 0, "acme", &one.bytes()));
    (0..20).for_each(|number| producer.send("plain", 0, "acme", format!("{number}").as_bytes()));
    producer.flush();
    count += 20;
    read(&bridge, &mut source, &mut seen, count).await;
    support::eventually("it is said what is held back", WAIT, async || {
        let (_, text) = support::bridge::get(bridge.admin, "/readyz").await?;
        (text.contains("held back") && text.contains("avro[0]@0")).then_some(())
    })
    .await;
    let (status, _) = support::bridge::get(bridge.admin, "/readyz").await.expect("it answers");
    assert_eq!(status, 200, "readiness stays");
    assert_eq!(bridge.metric_of("tailrace_partitions_held_back", "topic=\"avro\"").await, 1.0);

    // A restart meanwhile changes nothing: the stream goes on where it was.
    bridge.kill();
    bridge.start().await;
    producer.send("plain", 0, "acme", b"20");
    producer.flush();
    count += 1;
    read(&bridge, &mut source, &mut seen, count).await;

    // It comes, and the records with it. Cuts anywhere lose and repeat nothing.
    gate.open();
    count += first.len();
    let mut random = StdRng::seed_from_u64(support::seed());
    let until = Instant::now() + WAIT;
    while seen.len() < count && Instant::now() < until {
        let Some(mut connection) = source.connect(bridge.port).await else { continue };
        let limit = random.random_range(100..3_000);
        let (events, _) = source.read(&mut connection, limit, Duration::from_millis(200)).await;
        add(&mut seen, &events);
    }
    assert_eq!(seen.len(), count);

    // It hangs: what is known is decoded on, and what is new waits.
    registry.freeze();
    second.iter().for_each(|one| producer.send(&one.topic, 0, "acme", &one.bytes()));
    first.iter().for_each(|one| producer.send(&one.topic, 0, "acme", &one.bytes()));
    producer.flush();
    count += first.len();
    read(&bridge, &mut source, &mut seen, count).await;
    let (report, is_good) = bridge.check(&[]);
    let why = format!("the schema registry at 127.0.0.1:{} did not answer within 10 s", gate.port);
    assert!(report.contains("held back: schema ") && report.contains(&why), "no {why:?} in {report}");
    assert!(!is_good, "{report}");
    registry.thaw();
    count += second.len();
    read(&bridge, &mut source, &mut seen, count).await;

    // Another replica, which reads all of it later and from history, shows the same.
    let mut later = Bridge::new(&kafka.bootstrap(), &topics, "later", &cold);
    later.set("TAILRACE_CACHE_WARMUP", "0s");
    later.start().await;
    assert_eq!(all(&later, count).await, seen);
    assert!(later.metric("tailrace_history_bytes_read_total").await >= 1.0);
    bridge.kill();
    bridge.start().await;
    assert_eq!(all(&bridge, count).await, seen);
}
