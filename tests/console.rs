//! The console in a real browser: every field and every button at three widths, a server that asks for tokens, the demo as the
//! documentation tells it; and, on a server in the place of this one, what a real one does seldom.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use support::bridge::Bridge;
use support::demo::Demo;
use support::kafka::Kafka;
use support::script::Script;

const PARTITIONS: u64 = 8;
/// Between two records: about 300 a second, of which the console is to get a quarter.
const PAUSE: Duration = Duration::from_millis(3);
/// Each in a browser of its own.
const WIDTHS: [u64; 3] = [1400, 768, 390];
const CUTS: u64 = 2;
/// Those of the demo.
const TOPICS: [&str; 4] = ["logs", "metrics", "notifications", "orders"];
/// In the order of the console's links.
const TOPICS_AS_BOARDS: [&str; 4] = ["orders", "metrics", "logs", "notifications"];
/// tests/browser/token.mjs signs with the same.
const SECRET: &str = "a secret that is long enough for HS256";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_and_every_button_does_what_it_says_at_every_width() {
    let kafka = Kafka::start().await;
    let records = Records::default();
    for topic in &records.topics {
        kafka.create_topic(topic, PARTITIONS as i32, &[]).await;
    }
    let types = [("TAILRACE_EVENT_TYPE_FROM", "json:/kind")];
    let mut bridge = Bridge::new(&kafka.bootstrap(), &records.topics.join(","), "widths", &types);
    bridge.start().await;
    for width in WIDTHS {
        let mut script = Script::start("widths.mjs", bridge.port);
        script.tell(&width.to_string()).await;
        assert_eq!(script.line().await, "live");
        let writer = Writer::start(&kafka, records.clone());
        assert_eq!(script.line().await, "done");
        let wanted = writer.stop();
        let shown = json_line(&mut script).await;
        println!("{width} pixels: {wanted} records are meant for it");
        let expected = json!({
            "width": width, "events": wanted, "verified": wanted, "lost": 0, "repeated": 0, "cuts": CUTS,
            "complaints": [],
        });
        script.end().await;
        assert_eq!(shown, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_tokens_are_asked_for_the_console_learns_names_with_the_token_alone() {
    let demo = Demo::start(&["--auth", "jwt", "--jwt-secret", SECRET, "--console", "on"]).await;
    let mut script = Script::start("token.mjs", demo.port);
    let seen = json_line(&mut script).await;
    script.end().await;
    demo.stop().await;
    let expected = json!({
        "asks": true, "again": "Start", "offered": 0, "topics": TOPICS, "positions": TOPICS, "heard": ["orders"],
        "hidden": true, "complaints": [],
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_module_renews_its_token_before_the_stream_ends() {
    let jwt = ["--auth", "jwt", "--jwt-secret", SECRET, "--console", "on"];
    let demo = Demo::start(&[&jwt[..], &["--jwt-leeway", "0s", "--token-notice", "3s"]].concat()).await;
    let mut script = Script::start("renew.mjs", demo.port);
    let seen = json_line(&mut script).await;
    script.end().await;
    demo.stop().await;
    // Each token lasts for about three seconds until the notice: it is renewed twice at least, and at most once a second.
    let issued = seen["issued"].as_u64().expect("a count");
    assert!((3..=10).contains(&issued), "{seen}");
    let expected = json!({ "same": true, "issued": issued, "states": ["connecting", "open", "closed"], "complaints": [] });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_is_as_the_documentation_tells() {
    let demo = Demo::start(&[]).await;
    let mut script = Script::start("demo.mjs", demo.port);
    let seen = json_line(&mut script).await;
    script.end().await;
    demo.stop().await;
    let boards = TOPICS_AS_BOARDS.map(|board| format!("demo/{board}"));
    let expected = json!({
        "soon": true, "tenants": ["acme", "globex", "initech"], "offered": TOPICS, "boards": boards, "topics": TOPICS,
        "only": ["orders"], "heard": { "curl": true, "module": true, "socket": true },
        "lost": 0, "repeated": 0, "cuts": 3, "complaints": [],
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_every_kind_are_shown_searched_filtered_and_copied_as_text() {
    nothing_is_wrong("records.mjs", "", 105).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_a_stream_is_told_and_a_flood_does_not_stop_the_page() {
    nothing_is_wrong("happenings.mjs", "", 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_is_usable_by_keyboard_and_has_no_finding_of_axe() {
    for (what, at_least) in [("light", 20), ("dark", 20), ("keyboard", 60)] {
        nothing_is_wrong("access.mjs", what, at_least).await;
    }
}

/// Runs a script with a server of its own in the place of this one, and tells it what to look at. It says how many things it looked at,
/// and what was wrong.
async fn nothing_is_wrong(script: &str, what: &str, at_least: u64) {
    let mut script = Script::start(script, 0);
    script.tell(what).await;
    let seen = json_line(&mut script).await;
    script.end().await;
    let checked = seen["checked"].as_u64().expect("a count");
    assert!(checked >= at_least, "only {checked} things were looked at: {seen}");
    assert_eq!(seen["complaints"], json!([]));
}

async fn json_line(script: &mut Script) -> Value {
    serde_json::from_str(&script.line().await).expect("a line of JSON")
}

/// What is written, with names as long as they may be: of these records the console is to get a part.
#[derive(Clone)]
struct Records {
    topics: [String; 3],
    tenants: [String; 2],
}

impl Default for Records {
    fn default() -> Records {
        let long = format!("long-{}", "y".repeat(244));
        Records {
            topics: ["orders".to_owned(), long, "noise".to_owned()],
            tenants: [format!("acme-{}", "x".repeat(123)), "globex".to_owned()],
        }
    }
}

/// A record by its number: each of its properties changes with another prime, so that all combinations come.
struct Record<'a> {
    topic: &'a str,
    partition: i32,
    tenant: &'a str,
    kind: &'static str,
    total: u64,
}

impl Records {
    fn record(&self, number: u64) -> Record<'_> {
        const KINDS: [&str; 3] = ["order.paid", "order.created", "order.lost"];
        Record {
            topic: &self.topics[(number / 7 % 5 % 3) as usize],
            partition: (number % PARTITIONS) as i32,
            tenant: &self.tenants[usize::from(number.is_multiple_of(5))],
            kind: KINDS[(number / 11 % 3) as usize],
            total: number % 19,
        }
    }

    /// Whether the form of tests/browser/widths.mjs asks for it.
    fn is_wanted(&self, record: &Record<'_>) -> bool {
        record.topic != self.topics[2]
            && record.tenant == self.tenants[0]
            && record.kind != "order.lost"
            && record.total >= 10
    }
}

/// Writes records until it is stopped.
struct Writer {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Writer {
    fn start(kafka: &Kafka, records: Records) -> Writer {
        let stopped = Arc::new(AtomicBool::new(false));
        let (producer, stop) = (kafka.producer(), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            let mut wanted = 0;
            for number in 1u64.. {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let record = records.record(number);
                let value = json!({"kind": record.kind, "total": record.total, "text": "some words of it"});
                producer.send(record.topic, record.partition, record.tenant, value.to_string().as_bytes());
                wanted += usize::from(records.is_wanted(&record));
                std::thread::sleep(PAUSE);
            }
            producer.flush();
            wanted
        });
        Writer { stopped, thread }
    }

    /// Gives how many records the console is to have got, once Kafka has them all.
    fn stop(self) -> usize {
        self.stopped.store(true, Ordering::Release);
        self.thread.join().expect("the producer's thread ends well")
    }
}
