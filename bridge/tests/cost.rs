//! What one request can cost: the figures of docs/operations.md, "What a request can cost". And what an event costs that ten of very many
//! filters match.
//!
//! `cargo test --release -p tailrace-bridge --test cost -- --ignored --nocapture`

#![allow(clippy::disallowed_methods, reason = "a test is not the core")]

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tailrace_bridge::*;

const RECORDS: u64 = 10_000;

/// How long this thread has been on a processor: other programs do not count.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// A Kafka that has nothing but what is in memory.
struct Nothing;

impl Source for Nothing {
    fn read(&self, _: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        async { Err(HistoryError::Gone) }.boxed()
    }

    fn offsets_at(&self, _: &str, _: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        async { Ok(vec![0]) }.boxed()
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

/// A bridge with one topic of one partition.
fn bridge() -> Bridge {
    let rules = Arc::new("header:tenant".parse().unwrap());
    let config = BridgeConfig { memory: 256 << 20, rules, linger: Duration::ZERO, privacy: Arc::default() };
    let bridge = Bridge::new(config, Arc::new(Nothing));
    bridge.add_topic("orders", TopicId([7; 16]), &[Start { offset: 0, epoch: 0, log_start: 0 }]);
    bridge
}

fn append(bridge: &Bridge, from: u64, count: u64, value: &str) {
    let partition = bridge.topic("orders").unwrap().partitions()[0].clone();
    for offset in from..from + count {
        let record = NewRecord {
            offset,
            epoch: 0,
            timestamp: 1_700_000_000_000,
            key: Some(b"user-17"),
            value: Some(value.as_bytes()),
            headers: Headers::default(),
            tenant: tenant(),
            event_type: None,
            form: tailrace_bridge::Form::default(),
        };
        bridge.append(&partition, &[record], Position { offset: offset + 1, epoch: 0 });
    }
}

fn request(wheres: &[String], from: StartFrom) -> SubscribeRequest {
    SubscribeRequest {
        tenant: tenant(),
        topics: Vec::new(),
        filter: Filter::parse(&[], &[], wheres).unwrap(),
        framing: Framing::Sse,
        event_name: Default::default(),
        envelope: Envelope::None,
        from,
        last_event_id: None,
        unmasked: false,
        conflate: false,
    }
}

/// 1 KiB of an order.
fn flat() -> String {
    let fields: Vec<String> = (0..32).map(|n| format!("\"field{n:02}\":\"value of field {n:02}\"")).collect();
    format!("{{{}}}", fields.join(","))
}

/// 1 KiB that nests.
fn deep() -> String {
    let levels = 120; // of the 128 that are searched
    let inner = format!("\"{}\"", "x".repeat(1024 - levels * 7));
    (0..levels).fold(inner, |inner, _| format!("{{\"a\":{inner}}}"))
}

/// 32 conditions that all hold, but for the last: each has to be looked at.
fn heavy(path: impl Fn(usize) -> String) -> Vec<String> {
    let condition = |n: usize| match n {
        31 => format!("value.{}=none", path(n)),
        _ => {
            format!("value.{}!={}", path(n), (0..256).map(|v| format!("no{v}")).collect::<Vec<_>>().join(","))
        }
    };
    (0..32).map(condition).collect()
}

async fn until_live(bridge: &Bridge, wheres: &[String], from: StartFrom) -> (Duration, Duration) {
    let begin = cpu();
    let mut subscription = bridge.subscribe(request(wheres, from)).await.unwrap();
    let mut longest = Duration::ZERO;
    while !subscription.is_live() {
        let call = cpu();
        let next = subscription.next(Budget { records: 256, bytes: 64 * 1024 });
        longest = longest.max(cpu() - call);
        if matches!(next, Next::Wait) {
            subscription.changed().await;
        }
    }
    (cpu() - begin, longest)
}

async fn replays(name: &str, value: &str, wheres: &[String]) {
    let bridge = bridge();
    append(&bridge, 0, RECORDS, value);
    let mebibytes = RECORDS as f64 * value.len() as f64 / 1048576.0;
    for (how, from) in [("from=earliest", StartFrom::Earliest), ("from=-100", StartFrom::Last(100))] {
        let (took, longest) = until_live(&bridge, wheres, from).await;
        println!(
            "{name}, {how}: {:.1} ms a MiB in memory, {:.2} µs a record; the longest call {longest:?}",
            took.as_secs_f64() * 1e3 / mebibytes,
            took.as_secs_f64() * 1e6 / RECORDS as f64,
        );
    }
}

async fn views(count: usize, name: &str, value: &str, wheres: impl Fn(usize) -> Vec<String>) {
    let bridge = bridge();
    let mut all = Vec::new();
    for n in 0..count {
        all.push(bridge.subscribe(request(&wheres(n), StartFrom::Latest)).await.unwrap());
    }
    let records = 20;
    let begin = cpu();
    append(&bridge, 0, records, value);
    println!(
        "{count} views, {name}: {:.0} µs a record",
        (cpu() - begin).as_secs_f64() * 1e6 / records as f64
    );
}

#[tokio::test]
#[ignore = "a measurement"]
async fn what_a_request_can_cost() {
    let flat = flat();
    replays("one condition that nothing matches", &flat, &["value.field31=none".to_owned()]).await;
    replays("32 conditions of 256 values", &flat, &heavy(|n| format!("field{n:02}"))).await;
    let steps = vec!["a"; 31].join(".");
    replays("32 conditions of 31 steps, deep JSON", &deep(), &heavy(|_| steps.clone())).await;
    for count in [100, 1_000] {
        views(count, "each field=user", &flat, |n| vec![format!("value.field00=user{n}")]).await;
        views(count, "each field>number", &flat, |n| vec![format!("value.field31>w{n}")]).await;
        views(count, "each field^=text", &flat, |n| vec![format!("value.field31^=w{n}")]).await;
        views(count, "each field!=text", &flat, |n| vec![format!("value.field31!=value of field 31,{n}")])
            .await;
        views(count, "each a field of its own", &flat, |n| vec![format!("value.none{n}>1")]).await;
        views(count, "each 32 conditions", &flat, |n| {
            [&heavy(|n| format!("field{n:02}"))[..31], &[format!("value.field31!=value of field 31,{n}")]]
                .concat()
        })
        .await;
    }
}

/// A value that has a text and a number to be found by.
const ORDER: &str = r#"{"id":1000000017,"status":"shipped","user":"user-00017","total":9.5,"tags":["a","b"],"pad":"xxxxxxxxxxxxxxxxxxxxxxxx"}"#;
/// Appends in a row on one bridge, before the other has its turn.
const TURN: u64 = 1_000;
const TURNS: u64 = 21;

/// A bridge with so many views; the first ten match the order.
struct Side {
    bridge: Bridge,
    _views: Vec<Subscription>,
}

impl Side {
    async fn new(count: usize, wheres: fn(usize) -> Vec<String>) -> Side {
        let bridge = bridge();
        let mut views = Vec::new();
        for n in 0..count {
            views.push(bridge.subscribe(request(&wheres(n), StartFrom::Latest)).await.unwrap());
        }
        Side { bridge, _views: views }
    }

    /// Microseconds that an event costs.
    fn turn(&self, number: u64) -> f64 {
        let begin = cpu();
        append(&self.bridge, number * TURN, TURN, ORDER);
        (cpu() - begin).as_secs_f64() * 1e6 / TURN as f64
    }
}

/// Ten views that match, among ten and among ten thousand.
async fn ten_among(name: &str, wheres: fn(usize) -> Vec<String>) {
    let (few, many) = (Side::new(10, wheres).await, Side::new(10_000, wheres).await);
    let mut turns: Vec<(f64, f64)> = (0..TURNS).map(|n| (few.turn(n), many.turn(n))).collect();
    turns.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (few, many) = turns[turns.len() / 2];
    println!("{name}: {few:.2} µs among 10, {many:.2} µs among 10,000: {:.3} ×", many / few);
}

#[tokio::test]
#[ignore = "a measurement"]
async fn what_an_event_costs_that_ten_of_ten_thousand_filters_match() {
    ten_among("value.total>N", |n| vec![format!("value.total>{n}")]).await;
    ten_among("value.user^=P", |n| match n {
        ..10 => vec![format!("value.user^={}", &"user-00017"[..=n])],
        _ => vec![format!("value.user^=user-{n}-")],
    })
    .await;
    ten_among("alternatives of a bound, a value and a prefix", |n| {
        vec![format!("(value.total>{n}|value.user={n}|value.user^={n}-)")]
    })
    .await;
    ten_among("a value and a bound", |n| vec!["value.status=shipped".to_owned(), format!("value.total>{n}")])
        .await;
}
