//! A real browser on the real binary: the console across cuts, and a plain `EventSource` across restarts.
//!
//! Both were seen to fail as they should, with a bridge that resumes one offset late and with one whose ids forget
//! partitions: `TAILRACE_SABOTAGE=off_by_one cargo test --features sabotage --test browser`, and the same with
//! `ids_without_other_partitions`.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use support::bridge::Bridge;
use support::kafka::Kafka;
use support::script::Script;

const PARTITIONS: usize = 8;
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
    let writer = Writer::start(&kafka, "orders");
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
    let writer = Writer::start(&kafka, "orders");
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
    let mut script = Script::start("plain.mjs", bridge.port);
    let mut heard = Heard::default();

    heard.listen_until(&mut script, |heard| heard.opened > 0).await;
    // From here on every record is the page's: its position was fixed before the stream opened.
    let writer = Writer::start(&kafka, "orders");
    heard.listen_for(&mut script, 200).await;
    bridge.kill();
    bridge.start().await;
    heard.listen_past_an_open(&mut script, 200).await;
    assert!(bridge.terminate().await.success());
    bridge.start().await;
    heard.listen_past_an_open(&mut script, 200).await;
    let sent = writer.stop();
    heard.listen_to_the_end(&mut script, sent.iter().map(Vec::len).sum()).await;
    script.end().await;

    println!("{} records heard, over {} connections", heard.records(), heard.opened);
    assert!(heard.opened >= 3, "{} connections for two restarts", heard.opened);
    assert_eq!(heard.gaps, [""; 0]);
    for (partition, (got, sent)) in heard.by_partition.iter().zip(&sent).enumerate() {
        assert_eq!(got, sent, "partition {partition}");
    }
}

/// Writes to all partitions until it is stopped: to each half as often as to the one before, so that some are quiet.
struct Writer {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u64>>>,
}

impl Writer {
    fn start(kafka: &Kafka, topic: &'static str) -> Writer {
        let stopped = Arc::new(AtomicBool::new(false));
        let (producer, stop) = (kafka.producer(), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            let mut sent = vec![Vec::new(); PARTITIONS];
            for number in 1u64.. {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let partition = (number.trailing_zeros() as usize).min(PARTITIONS - 1);
                producer.send(topic, partition as i32, "acme", format!("{partition}:{number}").as_bytes());
                sent[partition].push(number);
                std::thread::sleep(PAUSE);
            }
            producer.flush();
            sent
        });
        Writer { stopped, thread }
    }

    /// Gives the numbers of each partition's records, once Kafka has them all.
    fn stop(self) -> Vec<Vec<u64>> {
        self.stopped.store(true, Ordering::Release);
        self.thread.join().expect("the producer's thread ends well")
    }
}

/// What the page of `plain.mjs` has heard.
struct Heard {
    opened: usize,
    by_partition: Vec<Vec<u64>>,
    gaps: Vec<String>,
}

impl Default for Heard {
    fn default() -> Heard {
        Heard { opened: 0, by_partition: vec![Vec::new(); PARTITIONS], gaps: Vec::new() }
    }
}

impl Heard {
    fn records(&self) -> usize {
        self.by_partition.iter().map(Vec::len).sum()
    }

    fn take(&mut self, line: &str) {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("open", _) => self.opened += 1,
            ("gap", data) => self.gaps.push(data.to_owned()),
            // A bridge that just started has nothing to serve from yet; the browser comes back.
            ("error", data) => assert!(data.contains(r#""code":"not_ready""#), "{data}"),
            ("data", data) => {
                let (partition, number) = data.split_once(':').expect("partition:number");
                let partition: usize = partition.parse().expect("a partition");
                self.by_partition[partition].push(number.parse().expect("a number"));
            }
            _ => panic!("the EventSource gave up, or more: {line:?}"),
        }
    }

    async fn listen_until(&mut self, script: &mut Script, enough: impl Fn(&Heard) -> bool) {
        while !enough(self) {
            self.take(&script.line().await);
        }
    }

    /// Until so many more records came.
    async fn listen_for(&mut self, script: &mut Script, more: usize) {
        let enough = self.records() + more;
        self.listen_until(script, |heard| heard.records() >= enough).await;
    }

    /// Until so many more records came over a connection that was opened after what is heard already.
    async fn listen_past_an_open(&mut self, script: &mut Script, more: usize) {
        let opened = self.opened;
        self.listen_until(script, |heard| heard.opened > opened).await;
        self.listen_for(script, more).await;
    }

    /// Until all records came, or long enough not to be waiting for a reconnect; and then for what comes twice.
    async fn listen_to_the_end(&mut self, script: &mut Script, all: usize) {
        const RECONNECT: Duration = Duration::from_secs(20);
        const REPEATS: Duration = Duration::from_secs(2);
        let _ =
            tokio::time::timeout(RECONNECT, self.listen_until(script, |heard| heard.records() >= all)).await;
        while let Ok(line) = tokio::time::timeout(REPEATS, script.line()).await {
            self.take(&line);
        }
    }
}
