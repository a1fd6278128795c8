//! No broker, missing topics, values of every kind, ids that are damaged or of another place.

mod support;

use std::time::{Duration, Instant};

use support::bridge::{Bridge, get};
use support::kafka::Kafka;
use support::sse::{Event, IdBuffer, Source};

const QUIET: Duration = Duration::from_millis(400);

async fn read(source: &mut Source) -> Vec<Event> {
    let mut connection = source.connect(source.ports[0]).await.expect("the bridge answers");
    assert_eq!(connection.status, 200, "{}", connection.head);
    source.read(&mut connection, usize::MAX, QUIET).await.0
}

fn named<'a>(events: &'a [Event], name: &str) -> Vec<&'a str> {
    events.iter().filter(|event| event.name == name).map(|event| event.data.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_it_starts_says_so_once_and_recovers_by_itself() {
    let mut kafka = Kafka::start().await;
    kafka.create_topic("orders", 2, &[]).await;
    kafka.broker(0).kill();
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "alone", &[]);
    bridge.spawn();
    let health = || async { get(bridge.admin, "/healthz").await };
    support::eventually("it lives", Duration::from_secs(10), async || health().await).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(health().await.expect("it still lives").0, 200);
    let (status, reasons) = get(bridge.admin, "/readyz").await.expect("the admin address answers");
    assert!(status == 503 && reasons.contains("Kafka"), "{status} {reasons}");
    let newcomer = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
    let refused = newcomer.connect(bridge.port).await.expect("the bridge answers");
    assert_eq!(refused.status, 503);
    assert!(refused.head.to_lowercase().contains("retry-after: "), "{}", refused.head);
    let said = bridge.log().lines().filter(|line| line.contains("Kafka does not answer")).count();
    assert_eq!(said, 1, "one line a minute:\n{}", bridge.log());

    kafka.broker(0).spawn();
    bridge.ready().await;
    let mut source = Source::new(bridge.port, "/t/acme/events?from=earliest", IdBuffer::Empty);
    let producer = kafka.producer();
    producer.send("orders", 1, "acme", b"at last");
    producer.flush();
    assert_eq!(named(&read(&mut source).await, ""), ["at last"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_stay_open_through_a_lost_broker_and_go_on() {
    let mut kafka = Kafka::start().await;
    kafka.create_topic("orders", 4, &[]).await;
    let producer = kafka.producer();
    // Of a tenant that nobody has written a status says so.
    producer.send("orders", 0, "acme", b"before");
    producer.flush();
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "lost", &[]);
    bridge.start().await;
    let mut source = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    (0..40).for_each(|n| producer.send("orders", n % 4, "acme", format!("{n}").as_bytes()));
    producer.flush();
    let mut events = source.read(&mut connection, usize::MAX, Duration::from_secs(1)).await.0;
    kafka.broker(0).kill();
    let until = Instant::now() + Duration::from_secs(15);
    while named(&events, "tailrace.status").is_empty() && Instant::now() < until {
        let (more, open) = source.read(&mut connection, usize::MAX, QUIET).await;
        events.extend(more);
        assert!(open, "the stream stays open");
    }
    assert!(named(&events, "tailrace.status")[0].contains("kafka_unavailable"), "{events:?}");
    let (status, text) = get(bridge.admin, "/readyz").await.expect("the admin address answers");
    assert_eq!(status, 200, "a lost broker does not take replicas out of the balancer: {text}");
    kafka.broker(0).spawn();
    kafka.broker(0).answers().await;
    let producer = kafka.producer();
    (40..80).for_each(|n| producer.send("orders", n % 4, "acme", format!("{n}").as_bytes()));
    producer.flush();
    let until = Instant::now() + Duration::from_secs(30);
    while (named(&events, "").len() < 80 || named(&events, "tailrace.status").len() < 2)
        && Instant::now() < until
    {
        let (more, open) = source.read(&mut connection, usize::MAX, QUIET).await;
        events.extend(more);
        assert!(open, "the stream stays open");
    }
    for partition in 0..4 {
        let of_partition = |n: &usize| n % 4 == partition;
        let got: Vec<usize> =
            named(&events, "").iter().filter_map(|data| data.parse().ok()).filter(of_partition).collect();
        assert_eq!(got, (0..80).filter(of_partition).collect::<Vec<_>>());
    }
    assert!(named(&events, "tailrace.status").last().expect("a status").contains(r#""ok""#), "{events:?}");
    assert!(named(&events, "tailrace.gap").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_not_there_is_named_and_served_once_it_exists() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 1, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders,invoices", "missing", &[]);
    bridge.start().await;
    let (_, notes) = get(bridge.admin, "/readyz").await.expect("the admin address answers");
    assert!(notes.contains("invoices"), "{notes}");
    assert!(bridge.log().contains("invoices"), "{}", bridge.log());
    let (status, problem) =
        get(bridge.port, "/t/acme/events?topic=invoices").await.expect("the bridge answers");
    assert!(status == 404 && problem.contains("invoices"), "{status} {problem}");
    let mut source = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    let producer = kafka.producer();
    producer.send("orders", 0, "acme", b"an order");
    producer.flush();
    let events = source.read(&mut connection, usize::MAX, Duration::from_secs(1)).await.0;
    assert_eq!(named(&events, ""), ["an order"]);

    kafka.create_topic("invoices", 2, &[]).await;
    let producer = kafka.producer();
    producer.send("invoices", 1, "acme", b"an invoice");
    producer.flush();
    let mut events = Vec::new();
    let until = Instant::now() + Duration::from_secs(20);
    while named(&events, "").is_empty() && Instant::now() < until {
        events.extend(source.read(&mut connection, usize::MAX, QUIET).await.0);
    }
    assert_eq!(named(&events, ""), ["an invoice"]);
}

/// A value, and what becomes of it under `envelope=none`: the event's name, and its data where that is the value itself.
type Kind = (Option<Vec<u8>>, &'static str, Option<String>);

fn kinds() -> Vec<Kind> {
    let long = "x".repeat(1 << 20);
    vec![
        (Some(b"plain".to_vec()), "", Some("plain".into())),
        (Some(Vec::new()), "", Some(String::new())),
        (Some(b"a\nb".to_vec()), "", Some("a\nb".into())),
        (Some(b"a\rb\r\nc".to_vec()), "", Some("a\nb\nc".into())),
        (Some(b"\n".to_vec()), "", Some("\n".into())),
        (
            Some(b"id: forged\n\nevent: forged\ndata: x".to_vec()),
            "",
            Some("id: forged\n\nevent: forged\ndata: x".into()),
        ),
        (Some(b"a\0b".to_vec()), "", Some("a\0b".into())),
        (Some(b": a comment?".to_vec()), "", Some(": a comment?".into())),
        (Some(vec![0xff, 0xfe, 0x00, b'\n']), "tailrace.binary", None),
        (None, "tailrace.tombstone", None),
        (Some(long.clone().into_bytes()), "", Some(long)),
        (Some("\u{2028}ü\u{1f600}\u{feff}".into()), "", Some("\u{2028}ü\u{1f600}\u{feff}".into())),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_every_kind_never_break_a_stream() {
    let kafka = Kafka::start().await;
    kafka.create_topic("things", 1, &[("max.message.bytes", "4194304")]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "things", "values", &[]);
    bridge.start().await;
    let producer = kafka.producer();
    let kinds = kinds();
    for (value, ..) in &kinds {
        producer.send_record("things", 0, Some("acme"), Some(b"k\xff"), value.as_deref());
    }
    producer.flush();
    let check = |events: &[Event]| {
        let records: Vec<&Event> = events
            .iter()
            .filter(|event| ["", "tailrace.binary", "tailrace.tombstone"].contains(&event.name.as_str()))
            .collect();
        assert_eq!(records.len(), kinds.len());
        for (event, (value, name, data)) in records.iter().zip(&kinds) {
            let shown = value.as_deref().map(|value| String::from_utf8_lossy(&value[..value.len().min(40)]));
            assert_eq!(event.name, *name, "{shown:?}");
            match data {
                Some(data) => assert!(event.data == *data, "{shown:?}"),
                None => {
                    let envelope: serde_json::Value = serde_json::from_str(&event.data).expect("an envelope");
                    assert_eq!(envelope["key"]["base64"], "a/8=");
                    let expected = value
                        .as_ref()
                        .map_or(serde_json::Value::Null, |_| serde_json::json!({ "base64": "//4ACg==" }));
                    assert_eq!(envelope["value"], expected);
                }
            }
        }
    };
    let mut source = Source::new(bridge.port, "/t/acme/events?from=earliest", IdBuffer::Empty);
    let all = read(&mut source).await;
    check(&all);
    // Each of their ids is a place to go on from.
    for (index, event) in all.iter().filter(|event| !event.name.starts_with("tailrace.s")).enumerate() {
        let mut again = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
        again.last_event_id.clone_from(&event.id);
        let rest =
            read(&mut again).await.iter().filter(|event| !event.name.starts_with("tailrace.s")).count();
        assert_eq!(rest, kinds.len() - index - 1);
    }
    // The record envelope is one line of JSON, whatever the value.
    let mut enveloped =
        Source::new(bridge.port, "/t/acme/events?from=earliest&envelope=record", IdBuffer::LastId);
    let events = read(&mut enveloped).await;
    let records: Vec<serde_json::Value> =
        named(&events, "").iter().map(|data| serde_json::from_str(data).expect("JSON")).collect();
    assert_eq!(records.len(), kinds.len());
    for (record, (value, name, _)) in records.iter().zip(&kinds) {
        if let (Some(value), "") = (value, *name) {
            assert!(record["value"] == String::from_utf8_lossy(value).as_ref(), "CR and all as they were");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_leads_nowhere_is_a_gap_and_never_a_4xx() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 2, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "ids", &[]);
    bridge.start().await;
    let producer = kafka.producer();
    (0..10).for_each(|n| producer.send("orders", n % 2, "acme", format!("{n}").as_bytes()));
    producer.flush();
    let mut source = Source::new(bridge.port, "/t/acme/events?from=earliest", IdBuffer::Empty);
    read(&mut source).await;
    let good = source.last_event_id.clone();

    let resumed = |id: String, query: &'static str| {
        let port = bridge.port;
        async move {
            let mut source = Source::new(port, &format!("/t/acme/events{query}"), IdBuffer::LastId);
            source.last_event_id = id;
            read(&mut source).await
        }
    };
    let damaged = [&good[..good.len() - 1], if good.ends_with('A') { "B" } else { "A" }].concat();
    for id in [damaged.as_str(), "garbage", "0", "%00", "AAAA", &"z".repeat(5000)] {
        // Where the id cannot be read, `from` says where to begin, else it is the latest.
        let events = resumed(id.to_owned(), "").await;
        assert!(
            events[0].name == "tailrace.gap" && events[0].data.contains("unknown_id"),
            "{id}: {events:?}"
        );
        assert!(named(&events, "").is_empty(), "{id}: {events:?}");
        let events = resumed(id.to_owned(), "?from=earliest").await;
        assert!(events[0].data.contains("unknown_id") && named(&events, "").len() == 10, "{id}: {events:?}");
    }

    // An id from the future: from a log that went on and was then cut back, as after an unclean election.
    (10..20).for_each(|n| producer.send("orders", n % 2, "acme", format!("{n}").as_bytes()));
    producer.flush();
    let mut ahead = Source::new(bridge.port, "/t/acme/events?from=earliest", IdBuffer::Empty);
    read(&mut ahead).await;
    // An id of another cluster: a topic of the same name, with another identity.
    let elsewhere = Kafka::start().await;
    elsewhere.create_topic("orders", 2, &[]).await;
    let mut other = Bridge::new(&elsewhere.bootstrap(), "orders", "elsewhere", &[]);
    other.start().await;
    let producer = elsewhere.producer();
    (0..4).for_each(|n| producer.send("orders", n % 2, "acme", format!("other {n}").as_bytes()));
    producer.flush();
    let mut foreign = Source::new(other.port, "/t/acme/events", IdBuffer::LastId);
    foreign.last_event_id.clone_from(&ahead.last_event_id);
    let events = read(&mut foreign).await;
    assert_eq!(named(&events, "tailrace.gap").len(), 2, "{events:?}");
    assert!(named(&events, "tailrace.gap").iter().all(|gap| gap.contains("recreated")), "{events:?}");
    assert_eq!(named(&events, "").len(), 4, "{events:?}");

    // The good one has lost nothing by all this.
    assert_eq!(named(&resumed(good, "").await, "").len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_finds_no_tenant_is_answered_with_the_one_that_was_meant_and_what_is_refused_is_logged() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 2, &[]).await;
    let producer = kafka.producer();
    (0..6).for_each(|n| producer.send("orders", n % 2, "acme", b"{\"state\":\"paid\"}"));
    producer.flush();
    let rule = [("TAILRACE_TENANT_FROM", "header:org")];
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "meant", &rule);
    let (said, is_good) = tokio::task::block_in_place(|| bridge.check(&["--json"]));
    let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let outcome = &report["topics"][0]["outcomes"][0];
    assert!(!is_good && report["good"] == false, "{said}");
    assert_eq!((&outcome["records"], &outcome["hint"]), (&6.into(), &"header:tenant".into()), "{said}");

    bridge.start().await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let trace = format!("traceparent: 00-{trace_id}-00f067aa0ba902b7-01\r\nconnection: close\r\n\r\n");
    let ask = format!("GET /t/acme/events?topic=logs&access_token=hidden HTTP/1.1\r\nhost: a\r\n{trace}");
    let answer = support::bridge::exchange(bridge.port, ask.as_bytes()).await.expect("an answer");
    assert!(answer.contains(trace_id) && answer.contains("unknown_topic"), "{answer}");
    let log = bridge.log();
    let line = log.lines().find(|line| line.contains(trace_id)).unwrap_or_else(|| panic!("{log}"));
    for part in ["refused", "unknown_topic", "/t/acme/events", "address=127.0.0.1"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!log.contains("hidden"), "a token is never logged: {log}");
    let mut source = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    let (events, _) = source.read(&mut connection, usize::MAX, QUIET).await;
    assert!(named(&events, "tailrace.status")[0].contains("acme"), "nobody writes this tenant: {events:?}");
    drop(connection);
    let ended = support::eventually("the end is logged", Duration::from_secs(5), async || {
        let log = bridge.log();
        log.lines().find(|line| line.contains("stream ended")).map(str::to_owned)
    })
    .await;
    for part in ["acme", "client", "records=0", "seconds=", "trace_id="] {
        assert!(ended.contains(part), "{part}: {ended}");
    }
}
