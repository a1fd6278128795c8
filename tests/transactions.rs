//! Transactions: streams show what was committed, move over what was not, and wait for nobody else's.

mod support;

use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use support::bridge::Bridge;
use support::kafka::Kafka;
use support::sse::{Event, IdBuffer, Source};

const WAIT: Duration = Duration::from_secs(20);

fn transactional(kafka: &Kafka, id: &str) -> BaseProducer {
    let mut config = kafka.client();
    config.set("transactional.id", id).set("linger.ms", "0");
    let producer: BaseProducer = config.create().expect("a producer");
    producer.init_transactions(WAIT).expect("transactions are there");
    producer
}

fn send(producer: &BaseProducer, partition: i32, value: &str) {
    let headers = rdkafka::message::OwnedHeaders::new()
        .insert(rdkafka::message::Header { key: "tenant", value: Some("acme") });
    let record = BaseRecord::<(), str>::to("orders").partition(partition).headers(headers).payload(value);
    producer.send(record).map_err(|(error, _)| error).expect("there is room");
    producer.poll(Duration::ZERO);
}

async fn read_more(
    source: &mut Source,
    connection: &mut support::sse::Connection,
    all: &mut Vec<Event>,
    count: usize,
) {
    let until = Instant::now() + WAIT;
    loop {
        let (events, open) = source.read(connection, usize::MAX, Duration::from_millis(300)).await;
        all.extend(events);
        assert!(open, "the stream stays open");
        if records(all).len() >= count || Instant::now() > until {
            return;
        }
    }
}

fn records(events: &[Event]) -> Vec<&str> {
    events.iter().filter(|event| event.name.is_empty()).map(|event| event.data.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_committed_comes_without_a_gap_and_without_a_stall() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 2, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "transactions", &[]);
    bridge.start().await;
    let mut source = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    let mut events = Vec::new();

    let (one, two) = (transactional(&kafka, "one"), transactional(&kafka, "two"));
    for (round, commit) in [(0, true), (1, false), (2, true), (3, false)] {
        one.begin_transaction().expect("a transaction begins");
        (0..10).for_each(|n| send(&one, 0, &format!("{round}.{n}")));
        if commit {
            one.commit_transaction(WAIT).expect("it is committed");
        } else {
            one.flush(WAIT).expect("it is written");
            one.abort_transaction(WAIT).expect("it is aborted");
        }
    }
    let expected: Vec<String> =
        [0, 2].iter().flat_map(|round| (0..10).map(move |n| format!("{round}.{n}"))).collect();
    read_more(&mut source, &mut connection, &mut events, 20).await;
    assert_eq!(records(&events), expected);

    // The partition ends with an aborted transaction: there is no lag behind it, and an id is beyond it.
    support::eventually("no lag is left", WAIT, async || {
        (bridge.metric("tailrace_consumer_lag_records").await == 0.0).then_some(())
    })
    .await;

    // While a transaction is open, its partition waits, as it does for every consumer; others go on.
    two.begin_transaction().expect("a transaction begins");
    send(&two, 0, "open");
    two.flush(WAIT).expect("it is written");
    let plain = kafka.producer();
    plain.send("orders", 0, "acme", b"behind it");
    plain.send("orders", 1, "acme", b"elsewhere");
    plain.flush();
    read_more(&mut source, &mut connection, &mut events, 21).await;
    assert_eq!(records(&events)[20..], ["elsewhere"]);
    let paused = source.last_event_id.clone();
    two.abort_transaction(WAIT).expect("it is aborted");
    read_more(&mut source, &mut connection, &mut events, 22).await;
    assert_eq!(records(&events)[21..], ["behind it"]);

    // From Kafka it is the same as it was live: the other replica has nothing of it in memory.
    let cold = [("TAILRACE_CACHE_WARMUP", "0s")];
    let mut other = Bridge::new(&kafka.bootstrap(), "orders", "cold", &cold);
    other.start().await;
    let mut again = Source::new(other.port, "/t/acme/events?from=earliest", IdBuffer::Empty);
    let mut all = Vec::new();
    let mut connection = again.connect(other.port).await.expect("the bridge answers");
    read_more(&mut again, &mut connection, &mut all, 22).await;
    let of_0 = |events: &[Event]| -> Vec<String> {
        records(events).into_iter().filter(|data| *data != "elsewhere").map(str::to_owned).collect()
    };
    assert_eq!(of_0(&all), of_0(&events));
    let mut resumed = Source::new(other.port, "/t/acme/events", IdBuffer::Empty);
    resumed.last_event_id = paused;
    let mut rest = Vec::new();
    let mut connection = resumed.connect(other.port).await.expect("the bridge answers");
    read_more(&mut resumed, &mut connection, &mut rest, 1).await;
    assert_eq!(records(&rest), ["behind it"]);
    for events in [&events, &all, &rest] {
        assert!(events.iter().all(|event| event.name != "tailrace.gap"), "{events:?}");
    }
}

/// The epoch of the record before a mark ends before the mark then: the leader says of a position after it that the log was
/// cut, and it was not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_over_two_leaders_is_no_gap() {
    let mut kafka = Kafka::start().await;
    kafka.create_topic("orders", 2, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "transactions", &[]);
    bridge.start().await;
    let mut source = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
    let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
    let mut events = Vec::new();

    let producer = transactional(&kafka, "over two");
    producer.begin_transaction().expect("a transaction begins");
    send(&producer, 0, "before");
    producer.flush(WAIT).expect("it is written");
    // The same broker is another leader after a restart.
    kafka.broker(0).stop();
    kafka.broker(0).spawn();
    kafka.broker(0).answers().await;
    support::eventually("it is committed", WAIT, async || producer.commit_transaction(WAIT).ok()).await;
    read_more(&mut source, &mut connection, &mut events, 1).await;
    // The id of another partition's record says how far this one was read.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let plain = kafka.producer();
    plain.send("orders", 1, "acme", b"elsewhere");
    plain.flush();
    read_more(&mut source, &mut connection, &mut events, 2).await;
    assert_eq!(records(&events), ["before", "elsewhere"]);
    let id: tailrace_bridge::EventId = source.last_event_id.parse().expect("an id");
    let position = id.vector.parts[0].positions[0];
    assert_eq!(position.offset, 2, "it is after the mark");
    assert!(position.epoch >= 0, "{position:?} tells the leader");

    plain.send("orders", 0, "acme", b"after");
    plain.flush();
    // One replica that has it in memory, and one that must ask.
    for (name, env) in [("warm", &[][..]), ("cold", &[("TAILRACE_CACHE_WARMUP", "0s")])] {
        let mut other = Bridge::new(&kafka.bootstrap(), "orders", name, env);
        other.start().await;
        let mut resumed = Source::new(other.port, "/t/acme/events", IdBuffer::Empty);
        resumed.last_event_id = source.last_event_id.clone();
        let mut rest = Vec::new();
        let mut connection = resumed.connect(other.port).await.expect("the bridge answers");
        read_more(&mut resumed, &mut connection, &mut rest, 1).await;
        assert_eq!(records(&rest), ["after"], "{name}");
        assert!(rest.iter().all(|event| event.name != "tailrace.gap"), "{name}: {rest:?}");
    }
}
