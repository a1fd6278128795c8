//! A real browser on the real binary: the console across cuts, and a plain `EventSource` across restarts.
//!
//! Both were seen to fail as they should, with a bridge that resumes one offset late and with one whose ids forget
//! partitions: `TAILRACE_SABOTAGE=off_by_one cargo test --features sabotage --test browser`, and the same with
//! `ids_without_other_partitions`.

mod support;

use std::time::Duration;

use serde_json::json;
use support::bridge::Bridge;
use support::kafka::Kafka;
use support::pages::Pages;
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
