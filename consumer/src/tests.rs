//! All of it together, on librdkafka's mock broker and a registry that does what a test tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tailrace_bridge::{
    Bridge, BridgeConfig, Budget, Envelope, Filter, Framing, HistoryError, HistoryRead, Next, Partition,
    StartFrom, SubscribeRequest, Subscription, TenantId,
};
use tailrace_formats::confluent::VALUE_HEADER;

use crate::native::Mock;
use crate::registry::server::{Server, UNKNOWN, found, json};
use crate::{Args, Kafka, Running};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// A broker with the topic `orders` of two partitions, and a bridge that reads it.
struct Scene {
    bridge: Bridge,
    kafka: Kafka,
    running: Running,
    producer: BaseProducer,
    _broker: Mock,
}

impl Scene {
    /// `more`: settings, as flags.
    fn start(more: &[&str]) -> Scene {
        let broker = Mock::new().expect("a broker");
        broker.create_topic("orders", 2).expect("a topic");
        let servers = broker.bootstrap_servers();
        let least = [
            "x",
            "--kafka-bootstrap-servers",
            &servers,
            "--topics",
            "orders",
            "--tenant-from",
            "header:tenant",
        ];
        let line = [&least[..], more].concat();
        let line = <Line as clap::Parser>::try_parse_from(line).expect("flags");
        let settings = line.args.settings([], "test").expect("settings");
        let rules = settings.rules.clone();
        let kafka = Kafka::new(settings).expect("clients");
        let config =
            BridgeConfig { memory: 64 << 20, rules, linger: Duration::ZERO, privacy: Arc::default() };
        let bridge = Bridge::new(config, kafka.source());
        let running = kafka.start(bridge.clone());
        let producer = ClientConfig::new().set("bootstrap.servers", &servers).set("linger.ms", "5").create();
        Scene { bridge, kafka, running, producer: producer.expect("a producer"), _broker: broker }
    }

    fn partition(&self, index: usize) -> Arc<Partition> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(topic) = self.bridge.topic("orders") {
                return topic.partitions()[index].clone();
            }
            assert!(Instant::now() < until, "the topic is found");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn send(&self, partition: i32, value: &[u8]) {
        self.send_with(partition, value, None);
    }

    fn send_with(&self, partition: i32, value: &[u8], schema: Option<&[u8]>) {
        self.send_all(partition, b"", value, schema);
    }

    fn send_all(&self, partition: i32, key: &[u8], value: &[u8], schema: Option<&[u8]>) {
        let headers = OwnedHeaders::new().insert(Header { key: "tenant", value: Some("acme") });
        let headers = match schema {
            Some(schema) => headers.insert(Header { key: VALUE_HEADER, value: Some(schema) }),
            None => headers,
        };
        let record =
            BaseRecord::<[u8], [u8]>::to("orders").partition(partition).headers(headers).payload(value);
        let record = if key.is_empty() { record } else { record.key(key) };
        self.producer.send(record).map_err(|(error, _)| error).expect("there is room");
        self.producer.flush(PATIENCE).expect("it is written");
    }

    /// Waits until a partition's head is there.
    fn reach(&self, partition: usize, offset: u64) {
        let (partition, until) = (self.partition(partition), Instant::now() + PATIENCE);
        while partition.head().offset < offset {
            assert!(Instant::now() < until, "{} of {offset}", partition.head().offset);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(partition.head().offset, offset);
    }

    async fn read(&self, partition: u32, from: u64) -> Result<(u64, usize), HistoryError> {
        let topic = "orders".into();
        let (until, max_bytes) = (u64::MAX, 1 << 20);
        let read = HistoryRead { topic, partition, from, epoch: -1, began: Vec::new(), until, max_bytes };
        let segment = self.kafka.source().read(read).await?;
        Ok((segment.end().offset, segment.len()))
    }

    async fn subscribe(&self) -> Subscription {
        self.subscribe_as(Envelope::None).await
    }

    async fn subscribe_as(&self, envelope: Envelope) -> Subscription {
        let request = SubscribeRequest {
            tenant: TenantId::new("acme").expect("a name"),
            topics: vec!["orders".to_owned()],
            filter: Filter::default(),
            framing: Framing::Sse,
            event_name: Default::default(),
            envelope,
            unmasked: false,
            conflate: false,
            from: StartFrom::Earliest,
            last_event_id: None,
        };
        self.bridge.subscribe(request).await.expect("subscribed")
    }
}

/// Names and data of the next events, `message` where there is no name.
async fn events(subscription: &mut Subscription, count: usize) -> Vec<(String, String)> {
    let (mut found, until) = (Vec::new(), Instant::now() + PATIENCE);
    while found.len() < count && Instant::now() < until {
        match subscription.next(Budget { records: 100, bytes: 1 << 20 }) {
            Next::Frames { bytes, .. } => {
                let text = String::from_utf8(bytes.concat()).expect("UTF-8");
                found.extend(
                    text.split("\n\n").filter_map(event).filter(|(name, _)| name != "tailrace.synced"),
                );
            }
            Next::Wait => {
                let _ = tokio::time::timeout(Duration::from_millis(100), subscription.changed()).await;
            }
        }
    }
    found
}

fn event(block: &str) -> Option<(String, String)> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    Some((field("event: ").unwrap_or("message").to_owned(), field("data: ")?.to_owned()))
}

/// A value of Confluent's frame.
fn framed(id: u32, json: &str) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), json.as_bytes()].concat()
}

fn messages(values: &[&str]) -> Vec<(String, String)> {
    values.iter().map(|value| ("message".to_owned(), (*value).to_owned())).collect()
}

/// A registry whose schema 2 is there once the switch is set.
fn with_a_switch() -> (Server, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let seen = switch.clone();
    let server = Server::start(move |request| match request.path.contains("/ids/2?") {
        true if !seen.load(Ordering::Acquire) => json(503, "{}"),
        _ => found(),
    });
    (server, switch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_waits_for_a_schema_holds_up_no_other_and_goes_on_where_it_was() {
    let (server, switch) = with_a_switch();
    let scene = Scene::start(&["--schema-registry-url", &server.url()]);
    for (partition, id, json) in [(0, 1, "10"), (0, 2, "20"), (0, 1, "30"), (1, 1, "11")] {
        scene.send(partition, &framed(id, json));
    }
    scene.send(1, b"as it is");
    scene.reach(0, 1);
    scene.reach(1, 2);
    let mut subscription = scene.subscribe().await;
    assert_eq!(events(&mut subscription, 3).await.len(), 3);
    // By now it was let go; its end moves nothing past what waits.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    scene.send(0, &framed(1, "40"));
    scene.send(1, &framed(1, "21"));
    scene.reach(1, 3);
    scene.reach(0, 1);
    assert_eq!(events(&mut subscription, 1).await, messages(&["21"]));
    let notes = scene.bridge.health().readiness().notes;
    let note = notes.iter().find(|note| note.starts_with("held back"));
    let note = note.unwrap_or_else(|| panic!("{notes:?}"));
    assert!(note.contains("orders[0]@1: schema 2 is not known") && note.contains("status 503"), "{note}");
    // History ends before it, and a read from there waits.
    assert_eq!(scene.read(0, 0).await.expect("read"), (1, 1));
    let error = scene.read(0, 1).await.expect_err("it waits");
    assert!(error.to_string().contains("records are held back: schema 2"), "{error}");

    switch.store(true, Ordering::Release);
    scene.reach(0, 4);
    assert_eq!(events(&mut subscription, 3).await, messages(&["20", "30", "40"]));
    assert_eq!(scene.read(0, 0).await.expect("read"), (4, 4));
    let notes = scene.bridge.health().readiness().notes;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let notes_now = scene.bridge.health().readiness().notes;
    assert!(!notes_now.iter().any(|note| note.starts_with("held back")), "{notes:?} {notes_now:?}");
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_for_a_moment_keeps_its_headers_and_its_order() {
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(150));
        found()
    });
    let scene = Scene::start(&["--schema-registry-url", &server.url()]);
    scene.partition(0);
    for number in 0..20 {
        scene.send(0, &framed(1 + number % 3, &number.to_string()));
    }
    scene.reach(0, 20);
    let numbers: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    assert_eq!(events(&mut scene.subscribe().await, 20).await, messages(&numbers));
    assert_eq!(server.asked().len(), 3);
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_registry_has_is_undecodable_and_the_stream_goes_on() {
    let server =
        Server::start(|request| if request.path.contains("/7?") { json(404, UNKNOWN) } else { found() });
    let scene = Scene::start(&["--schema-registry-url", &server.url()]);
    scene.send(0, &framed(1, "10"));
    scene.send(0, &framed(7, "20"));
    scene.send(0, &framed(1, "no JSON"));
    scene.send(0, &framed(1, "30"));
    let begun = Instant::now();
    let mut subscription = scene.subscribe().await;
    let all = events(&mut subscription, 4).await;
    assert!(begun.elapsed() >= Duration::from_secs(8), "{:?}", begun.elapsed());
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["message", "tailrace.undecodable", "tailrace.undecodable", "message"], "{all:?}");
    let data = |index: usize| serde_json::from_str::<serde_json::Value>(&all[index].1).expect("JSON");
    assert_eq!((&data(1)["code"], &data(1)["field"]), (&"unknown_schema".into(), &"value".into()));
    assert_eq!(data(1)["value"]["base64"], "AAAAAAcyMA==");
    assert_eq!(data(2)["code"], "mismatch");
    // A read of history says the same, though the registry is not asked again.
    let asked = server.asked().len();
    assert_eq!(scene.read(0, 0).await.expect("read"), (4, 4));
    assert_eq!(server.asked().len(), asked);
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_says_the_schema_of_a_bare_value() {
    let server = Server::start(|_| found());
    let scene = Scene::start(&["--schema-registry-url", &server.url()]);
    let guid = [&[1][..], &[0xab; 16]].concat();
    scene.send_with(0, br#"{"a":1}"#, Some(&guid));
    scene.send_with(0, br#"{"a":2}"#, Some(b"?"));
    let all = events(&mut scene.subscribe().await, 2).await;
    assert_eq!(all[..1], messages(&[r#"{"a":1}"#]));
    assert!(all[1].0 == "tailrace.undecodable" && all[1].1.contains("mismatch"), "{all:?}");
    assert!(server.asked()[0].ends_with("/schemas/guids/abababab-abab-abab-abab-abababababab"));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_value_becomes_the_value_and_null_a_tombstone() {
    let scene = Scene::start(&["--value-pointer", "/after", "--value-format", "json"]);
    for value in [r#"{"after": {"a": 1}, "b": 2}"#, r#"{"after":null}"#, r#"{"before":1}"#, "no JSON"] {
        scene.send(0, value.as_bytes());
    }
    let all = events(&mut scene.subscribe().await, 4).await;
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["message", "tailrace.tombstone", "tailrace.undecodable", "tailrace.undecodable"],
        "{all:?}"
    );
    assert_eq!(all[0].1, r#"{"a": 1}"#);
    assert!(all[2].1.contains(r#""code":"no_part""#) && all[3].1.contains(r#""code":"mismatch""#), "{all:?}");
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_registry_everything_is_as_it_always_was() {
    let scene = Scene::start(&[]);
    for value in [&framed(17, "10")[..], br#"{"a":1}"#, b"\xff"] {
        scene.send_with(0, value, Some(b"\x01"));
    }
    let all = events(&mut scene.subscribe().await, 3).await;
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    // The first is text: all its bytes are below 128.
    assert_eq!(names, ["message", "message", "tailrace.binary"], "{all:?}");
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_values_have_formats_of_their_own() {
    let server = Server::start(|_| found());
    let settings = ["--schema-registry-url", &server.url(), "--key-format", "msgpack"];
    let scene = Scene::start(&settings);
    scene.partition(0);
    // `k` as MessagePack.
    let key: &[u8] = &[0xa1, b'k'];
    for value in [&framed(1, r#"{"a":1}"#)[..], b"as it is", &framed(1, "no JSON"), b"\xff"] {
        scene.send_all(0, key, value, None);
    }
    scene.send_all(0, b"\xa1", b"1", None);
    scene.reach(0, 5);
    let all = events(&mut scene.subscribe_as(Envelope::Record).await, 5).await;
    let data = |index: usize| serde_json::from_str::<serde_json::Value>(&all[index].1).expect("JSON");
    assert_eq!((&data(0)["key"], &data(0)["value"]), (&"k".into(), &serde_json::json!({"a": 1})));
    assert_eq!((&data(1)["key"], &data(1)["value"]), (&"k".into(), &"as it is".into()));
    assert_eq!((&data(2)["code"], &data(2)["field"]), (&"mismatch".into(), &"value".into()));
    assert_eq!((&data(3)["key"], &data(3)["value_kind"]), (&"k".into(), &"binary".into()));
    assert_eq!((&data(4)["code"], &data(4)["field"]), (&"mismatch".into(), &"key".into()));
    scene.running.stop().await;
}
