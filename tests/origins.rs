//! Where a plain `EventSource` comes back by itself and where it ends for good, in Chromium and in Firefox, from the bridge's
//! own origin and from another; and that the client module comes back from all of it.

mod support;

use std::time::Duration;

use futures::future::join_all;
use support::bridge::Bridge;
use support::kafka::Kafka;
use support::pages::Pages;
use support::script::Browser;
use support::writer::{PARTITIONS, Writer};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Between two records: 50 a second. Each goes to every source of both browsers.
const PAUSE: Duration = Duration::from_millis(20);
/// Records that come to each source between two cuts.
const BETWEEN: usize = 30;
/// From the signal to stop to the next start: the drain takes a second of it, the process is gone for three. Streams that were
/// closed first come back 5 s after the signal, and not before (`TAILRACE_DRAIN_RETRY`).
const STOPPED: Duration = Duration::from_millis(4200);
/// Longer than the longest `retry:`, which is 3 s (`TAILRACE_RETRY`): by then, all have tried to come back.
const PAST_RETRY: Duration = Duration::from_millis(3500);
/// The times are the defaults, which the documentation speaks of; other tests have shorter ones.
const SETTINGS: [(&str, &str); 3] = [
    ("TAILRACE_RETRY", "2s"),
    ("TAILRACE_DRAIN_RETRY", "5s"),
    ("TAILRACE_CORS_ORIGINS", "http://127.0.0.1:*"),
];

/// Two browsers are enough for the processors.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_firefox_gives_up_across_origins_where_nobody_listens_and_anywhere_while_offline() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let kafka = Kafka::start().await;
    let mut bridge = start(&kafka, "origins").await;
    let mut all = open("origins.mjs", bridge.port, &["same", "other", "module"]).await;
    // From here on every record is for every source: its position was fixed before the stream opened.
    let writer = Writer::start(&kafka, "orders", PAUSE);
    join_all(all.iter_mut().map(|pages| pages.listen_for(BETWEEN))).await;

    for away in [Duration::ZERO, STOPPED] {
        let start = Instant::now() + away;
        assert!(bridge.terminate().await.success());
        come_back(&mut bridge, start, &mut all).await;
        assert_gave_up(&all, [&[], &[]], &format!("stopped, and back after {away:?}"));
    }
    for (away, by_firefox) in [(Duration::ZERO, &[][..]), (PAST_RETRY, &["other"])] {
        bridge.kill();
        come_back(&mut bridge, Instant::now() + away, &mut all).await;
        assert_gave_up(&all, [&[], by_firefox], &format!("killed, and back after {away:?}"));
    }
    go_offline(&mut bridge, &mut all).await;
    assert_gave_up(&all, [&[], &["other", "same"]], "cut, and offline for longer than retry");
    end(all, writer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxys_502_ends_a_plain_event_source_and_the_module_in_a_shared_worker_comes_back() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let kafka = Kafka::start().await;
    let mut bridge = start(&kafka, "proxied").await;
    let mut all = open("proxied.mjs", bridge.port, &["plain", "worker"]).await;
    let writer = Writer::start(&kafka, "orders", PAUSE);
    join_all(all.iter_mut().map(|pages| pages.listen_for(BETWEEN))).await;

    for (away, by_each) in [(Duration::ZERO, &[][..]), (PAST_RETRY, &["plain"])] {
        bridge.kill();
        come_back(&mut bridge, Instant::now() + away, &mut all).await;
        assert_gave_up(&all, [by_each, by_each], &format!("killed, and back after {away:?}"));
    }
    end(all, writer).await;
}

async fn start(kafka: &Kafka, instance: &str) -> Bridge {
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", instance, &SETTINGS);
    bridge.start().await;
    bridge
}

/// The script's pages in every browser.
async fn open(script: &str, port: u16, sources: &[&'static str]) -> Vec<Pages> {
    join_all(Browser::ALL.map(|browser| Pages::open(browser, script, port, sources))).await
}

/// Starts the bridge at this time, and waits until all sources that come back have done so.
async fn come_back(bridge: &mut Bridge, start: Instant, all: &mut [Pages]) {
    tokio::time::sleep_until(start).await;
    bridge.start().await;
    join_all(all.iter_mut().map(|pages| pages.listen_past_an_open(BETWEEN))).await;
}

/// Cuts all sources, and takes the network from them for longer than any waits before it tries to come back.
async fn go_offline(bridge: &mut Bridge, all: &mut [Pages]) {
    join_all(all.iter_mut().map(|pages| pages.set_network(false))).await;
    bridge.kill();
    let on = Instant::now() + PAST_RETRY;
    bridge.start().await;
    tokio::time::sleep_until(on).await;
    join_all(all.iter_mut().map(|pages| pages.set_network(true))).await;
    join_all(all.iter_mut().map(|pages| pages.listen_past_an_open(BETWEEN))).await;
}

/// In each of [`Browser::ALL`].
fn assert_gave_up(all: &[Pages], expected: [&[&str]; 2], what: &str) {
    for (pages, expected) in all.iter().zip(expected) {
        assert_eq!(pages.gave_up(), expected, "{:?}: {what}", pages.browser);
    }
}

async fn end(all: Vec<Pages>, writer: Writer) {
    let sent = writer.stop();
    join_all(all.into_iter().map(|pages| pages.end(&sent))).await;
}
