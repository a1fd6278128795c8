//! A real browser on the real binary: the console across cuts, and a plain `EventSource` across restarts.
//!
//! Both were seen to fail as they should, with a bridge that resumes one offset late and with one whose ids forget
//! partitions: `TAILRACE_SABOTAGE=off_by_one cargo test --features sabotage --test browser`, and the same with
//! `ids_without_other_partitions`.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use support::bridge::Bridge;
use support::kafka::{Kafka, Producer};
use support::pages::Pages;
use support::relay::Relay;
use support::script::{Browser, Script};
use support::writer::{PARTITIONS, Writer};

/// Between two records: 200 a second, so that a cut of the console, 300 ms, misses dozens.
const PAUSE: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_loses_and_repeats_nothing_across_five_cuts() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "console", &[]);
    bridge.start().await;
    let mut script = Script::start("console.mjs", bridge.port);

    assert_eq!(script.line().await, "live");
    let writer = Writer::start(&kafka, "orders", PAUSE);
    assert_eq!(script.line().await, "cut");
    let sent: usize = writer.stop().iter().map(Vec::len).sum();
    let shown: serde_json::Value = serde_json::from_str(&script.line().await).expect("a line of JSON");
    script.end().await;

    println!("{sent} records sent; the console shows {shown}");
    // Not only "lost 0": a console that compared nothing would say so too.
    assert!(sent > 200, "too few for a verdict: {sent}");
    let expected = json!({
        "events": sent, "verified": sent, "lost": 0, "repeated": 0, "cuts": 5, "complaints": [],
    });
    assert_eq!(shown, expected);
}

/// Rows that the console keeps.
const ROWS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_shows_each_event_once_with_every_field_filled() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let types = [("TAILRACE_EVENT_TYPE_FROM", "header:tenant")];
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "fields", &types);
    bridge.start().await;
    let mut script = Script::start("fields.mjs", bridge.port);

    assert_eq!(script.line().await, "live");
    let writer = Writer::start(&kafka, "orders", PAUSE);
    assert_eq!(script.line().await, "on");
    let sent: usize = writer.stop().iter().map(Vec::len).sum();
    let shown: serde_json::Value = serde_json::from_str(&script.line().await).expect("a line of JSON");
    script.end().await;

    println!("{sent} records sent; the console shows {shown}");
    let expected = json!({
        "events": sent, "lost": 0, "repeated": 0, "drawn": sent.min(ROWS), "heldStill": true, "refusal": "Refused",
        "complaints": [],
    });
    assert_eq!(shown, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_event_source_survives_a_restart_of_the_bridge() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "plain", &[]);
    bridge.start().await;
    let mut pages = Pages::open(Browser::Chromium, "plain.mjs", bridge.port, &["plain"]).await;

    // From here on every record is the page's: its position was fixed before the stream opened.
    let writer = Writer::start(&kafka, "orders", PAUSE);
    pages.listen_for(200).await;
    bridge.kill();
    bridge.start().await;
    pages.listen_past_an_open(200).await;
    assert!(bridge.terminate().await.success());
    bridge.start().await;
    pages.listen_past_an_open(200).await;
    let heard = &pages.end(&writer.stop()).await["plain"];
    assert!(heard.opened >= 3, "{} connections for two restarts", heard.opened);
}

/// Keys of the table, in as many partitions.
const KEYS: u64 = 100_000;
const TABLE_PARTITIONS: u64 = 4;
/// Where the snapshot is cut: after so many bytes of a connection. All of it are about thirty million.
const CUTS: [usize; 3] = [700_000, 5_000_000, 9_000_000];
/// How long the page has to show what was written last: more than a reconnect takes.
const SETTLES: Duration = Duration::from_secs(30);

/// What the page says that it shows.
#[derive(serde::Deserialize)]
struct Shown {
    count: usize,
    drawn: usize,
    rows: BTreeMap<String, u64>,
}

/// Writes a key's row, or ends it.
fn put(producer: &Producer, table: &mut BTreeMap<String, u64>, key: u64, number: u64) {
    let (name, partition) = (format!("price-{key}"), (key % TABLE_PARTITIONS) as i32);
    let value = (!number.is_multiple_of(50)).then(|| format!(r#"{{"n":{number},"pad":"{:0100}"}}"#, key));
    producer.send_record(
        "prices",
        partition,
        Some("acme"),
        Some(name.as_bytes()),
        value.as_ref().map(String::as_bytes),
    );
    match value {
        Some(_) => drop(table.insert(name, number)),
        None => drop(table.remove(&name)),
    }
}

/// As docs/protocol.md has such a page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_a_hundred_thousand_keys_is_shown_across_five_cuts() {
    let kafka = Kafka::start().await;
    kafka.create_topic("prices", TABLE_PARTITIONS as i32, &[("cleanup.policy", "compact")]).await;
    let (producer, mut table) = (kafka.producer(), BTreeMap::new());
    tokio::task::block_in_place(|| {
        (1..=KEYS).for_each(|number| put(&producer, &mut table, number, number));
        // A third of them once more.
        (1..=KEYS / 3).for_each(|number| put(&producer, &mut table, number * 3, KEYS + number));
        producer.flush();
    });
    let mut bridge = Bridge::new(&kafka.bootstrap(), "prices", "table", &[("TAILRACE_CACHE_WARMUP", "0s")]);
    bridge.start().await;
    let relay = Relay::start(bridge.port, &CUTS).await;
    let mut script = Script::start("table.mjs", relay.port);
    let mut opened = 0;
    // The snapshot, in four connections.
    loop {
        match script.line().await.as_str() {
            "open" => opened += 1,
            "synced" => break,
            other => panic!("the page says: {other}"),
        }
    }
    assert_eq!((opened, relay.left()), (CUTS.len() + 1, 0), "connections for the snapshot");
    // Two cuts while it is live.
    let mut number = 2 * KEYS;
    for _ in 0..2 {
        relay.cut();
        while relay.left() > 0 {
            number += 1;
            put(&producer, &mut table, number * 7919 % KEYS, number);
            producer.flush();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Written while the page is away.
        (0..500).for_each(|_| {
            number += 1;
            put(&producer, &mut table, number * 7919 % KEYS, number);
        });
        producer.flush();
        loop {
            match script.line().await.as_str() {
                "open" => break,
                "synced" => {}
                other => panic!("the page says: {other}"),
            }
        }
        opened += 1;
    }
    assert_eq!(opened, CUTS.len() + 3);
    let until = tokio::time::Instant::now() + SETTLES;
    let shown = loop {
        script.tell("show").await;
        let line = loop {
            match script.line().await {
                line if line.starts_with('{') => break line,
                line => assert_eq!(line, "synced"),
            }
        };
        let shown: Shown = serde_json::from_str(&line).expect("a line of JSON");
        if (shown.rows == table && shown.count == table.len()) || tokio::time::Instant::now() > until {
            break shown;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    script.end().await;
    println!("{} rows are shown, {} are due", shown.rows.len(), table.len());
    assert!(table.len() > KEYS as usize * 9 / 10, "too few for a verdict: {}", table.len());
    let differs = table.iter().find(|(key, number)| shown.rows.get(*key) != Some(number));
    assert_eq!(differs, None, "the page shows {:?}", differs.and_then(|(key, _)| shown.rows.get(key)));
    assert_eq!((shown.rows.len(), shown.count, shown.drawn), (table.len(), table.len(), 100));
}
