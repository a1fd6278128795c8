//! Clients of WebSockets, of HTTP/2 and of compressed streams that others wrote, on the real binary and the real Kafka: each is cut again and again, and
//! gets each record once, in the order of its partition.
//!
//! All four were seen to fail as they should, with a bridge that resumes one offset late:
//! `TAILRACE_SABOTAGE=off_by_one cargo test --workspace --features sabotage --test clients`.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::bridge::Bridge;
use support::kafka::Kafka;
use support::relay::Relay;
use support::script::{Browser, Script};
use support::writer::{PARTITIONS, Writer};
use tailrace_faults::pki::Pki;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// After how many bytes of a connection it is cut, one after the other: within the handshake's answer, the first message, later.
const CUTS: [usize; 9] = [40, 400, 2_000, 700, 9_000, 450, 30_000, 3_000, 1_200];
/// Between two records.
const PAUSE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of a client.
trait Lines {
    async fn line(&mut self) -> String;
}

impl Lines for Script {
    async fn line(&mut self) -> String {
        Script::line(self).await
    }
}

struct Program {
    _process: tokio::process::Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Program {
    fn start(command: &mut Command) -> Program {
        let mut process =
            command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the client can be started");
        let lines = BufReader::new(process.stdout.take().expect("the output is piped")).lines();
        Program { _process: process, lines }
    }
}

impl Lines for Program {
    async fn line(&mut self) -> String {
        let next = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        next.expect("records come").expect("the output is text").expect("the client goes on")
    }
}

fn file(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

/// Writes while the client is cut, and compares what it got.
async fn gets_each_record_once<C: Lines>(start: impl AsyncFnOnce(u16) -> C) {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "clients", &[]);
    bridge.start().await;
    let relay = Relay::start(bridge.port, &[]).await;
    let mut client = start(relay.port).await;
    let writer = Writer::start(&kafka, "orders", PAUSE);
    let mut got: Vec<Vec<u64>> = vec![Vec::new(); PARTITIONS];
    let mut take = |line: &str| {
        if let Some((partition, number)) = line.split_once(':') {
            let partition: usize = partition.parse().expect("a partition");
            got[partition].push(number.parse().expect("a number"));
        }
    };
    let begin = Instant::now();
    take(&client.line().await);
    relay.cut_after(&CUTS);
    while relay.left() > 0 {
        assert!(begin.elapsed() < PATIENCE, "{} cuts are still to come", relay.left());
        take(&client.line().await);
    }
    let sent = writer.stop();
    let last = sent[0].last().copied().expect("something was written");
    loop {
        let line = client.line().await;
        take(&line);
        if line == format!("0:{last}") {
            break;
        }
    }
    // Quiet partitions may come after it.
    let until = Instant::now() + Duration::from_secs(2);
    while let Ok(line) = tokio::time::timeout_at(until.into(), client.line()).await {
        take(&line);
    }
    let count: usize = got.iter().map(Vec::len).sum();
    println!("{count} records over {} cuts", CUTS.len());
    assert!(count > 300, "too few for a verdict: {count}");
    assert_eq!(got, sent);
}

/// A program in Python, with the packages of the tests.
fn python(script: &str) -> Command {
    let packages = file(".tailrace/clients");
    assert!(Path::new(&packages).is_dir(), "{packages} is not there: run `cargo xtask setup` first");
    let mut command = Command::new("python3");
    command.arg(file(script)).env("PYTHONPATH", packages);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_package_websockets_of_python() {
    gets_each_record_once(async |port| {
        let url = format!("ws://127.0.0.1:{port}/t/acme/ws?topic=orders&from=earliest");
        Program::start(python("tests/clients/web_socket.py").arg(url))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_package_h2_of_python() {
    gets_each_record_once(async |port| {
        let path = "/t/acme/events?topic=orders&from=earliest";
        Program::start(python("tests/clients/http2.py").arg(port.to_string()).arg(path))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_package_ws_of_node() {
    gets_each_record_once(async |port| {
        let url = format!("ws://127.0.0.1:{port}/t/acme/ws?topic=orders&from=earliest");
        Program::start(Command::new("node").arg(file("tests/browser/ws.mjs")).arg(url))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fetch_of_node_with_gzip() {
    gets_each_record_once(async |port| {
        let url = format!("http://127.0.0.1:{port}/t/acme/events?topic=orders&from=earliest");
        Program::start(Command::new("node").arg(file("tests/browser/fetch.mjs")).arg(url))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium() {
    gets_each_record_once(async |port| {
        let mut script = Script::start_with(Browser::Chromium, "socket.mjs", port);
        assert_eq!(script.line().await, "open");
        script
    })
    .await;
}

/// A bridge that serves over TLS, with its Kafka and its certificate.
async fn over_tls() -> (Kafka, Pki, Bridge) {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let pki = Pki::new().expect("a certificate can be made");
    let settings = pki.settings();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "clients", &settings);
    bridge.start().await;
    (kafka, pki, bridge)
}

/// A browser opens six connections to a server at most, so with HTTP/1.1 fourteen of these streams would wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_streams_of_one_page_over_http_2() {
    const RECORDS: usize = 200;
    let (kafka, _pki, bridge) = over_tls().await;
    for browser in Browser::ALL {
        let mut page = Script::start_with(browser, "twenty.mjs", bridge.port);
        for _ in 0..20 {
            assert_eq!(page.line().await, "open");
        }
        let producer = kafka.producer();
        for number in 0..RECORDS {
            producer.send("orders", (number % PARTITIONS) as i32, "acme", number.to_string().as_bytes());
        }
        producer.flush();
        let (mut got, all) = (BTreeMap::<String, Vec<usize>>::new(), 20 * RECORDS);
        for _ in 0..all {
            let line = page.line().await;
            let (stream, number) = line.split_once(' ').expect("a stream and a record");
            got.entry(stream.to_owned()).or_default().push(number.parse().expect("a number"));
        }
        assert_eq!(got.len(), 20);
        for (stream, mut numbers) in got {
            numbers.sort_unstable();
            assert_eq!(numbers, (0..RECORDS).collect::<Vec<_>>(), "stream {stream} of {browser:?}");
        }
        page.tell_end();
        assert_eq!(page.line().await, "protocol h2", "{browser:?}");
        page.end().await;
    }
}

/// When each record came to a stream of a page, in milliseconds.
type Arrivals = BTreeMap<String, BTreeMap<usize, f64>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_what_is_compressed_as_soon_as_what_is_not() {
    const RECORDS: usize = 100;
    const LATER: f64 = 50.0;
    let (kafka, _pki, mut bridge) = over_tls().await;
    let mut plain = bridge.twin();
    plain.set("TAILRACE_INSTANCE", "plain");
    plain.set("TAILRACE_CORS_ORIGINS", "*");
    plain.set("TAILRACE_COMPRESSION", "off");
    plain.start().await;
    for coding in ["zstd", "gzip"] {
        bridge.terminate().await;
        bridge.set("TAILRACE_COMPRESSION", coding);
        bridge.start().await;
        for browser in Browser::ALL {
            let before = compressed(&bridge, coding).await;
            let mut page = Script::start_with(browser, "compressed.mjs", bridge.port);
            page.tell(&format!("https://127.0.0.1:{}/", plain.port)).await;
            for _ in 0..3 {
                assert_eq!(page.line().await, "open");
            }
            let producer = kafka.producer();
            for number in 0..RECORDS {
                let value = format!("{number}/the-same-words-again-and-again-which-become-small");
                producer.send("orders", (number % PARTITIONS) as i32, "acme", value.as_bytes());
                producer.flush();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let mut arrivals = Arrivals::new();
            for _ in 0..3 * RECORDS {
                let line = page.line().await;
                let mut words = line.split(' ');
                let [stream, data, at] = [(); 3].map(|()| words.next().expect("three words"));
                let number = data.split('/').next().expect("a number").parse().expect("a number");
                let at = at.parse().expect("a time");
                let again = arrivals.entry(stream.to_owned()).or_default().insert(number, at);
                assert_eq!(again, None, "{line}");
            }
            page.end().await;
            let delays = |stream: &str| {
                let plain = &arrivals["plain"];
                arrivals[stream].iter().map(|(number, at)| at - plain[number]).fold(f64::MIN, f64::max)
            };
            let [first, second] = ["first", "second"].map(delays);
            let after = compressed(&bridge, coding).await;
            let (size, of) = (after.1 - before.1, after.0 - before.0);
            println!("{browser:?}, {coding}: at most {first} and {second} ms later; {size} of {of} bytes");
            assert!(first < LATER && second < LATER, "{browser:?}, {coding}: {first} and {second} ms later");
            assert!(size < of * 2.0 / 3.0, "it was compressed: {size} of {of}");
        }
    }
}

/// Bytes before and after compression.
async fn compressed(bridge: &Bridge, coding: &str) -> (f64, f64) {
    let label = format!("coding=\"{coding}\"");
    let before = bridge.metric_of("tailrace_compression_in_bytes_total", &label).await;
    (before, bridge.metric_of("tailrace_compression_out_bytes_total", &label).await)
}

/// The conformance suite of HTTP/2, over TLS: as it is, a port that also speaks HTTP/1.1 may take a wrong preface for a request of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2spec_finds_nothing() {
    let program = file(".tailrace/h2spec/h2spec");
    assert!(Path::new(&program).is_file(), "{program} is not there: run `cargo xtask setup` first");
    let (_kafka, _pki, bridge) = over_tls().await;
    let port = bridge.port.to_string();
    let run =
        Command::new(program).args(["-t", "-k", "-h", "localhost", "-P", "/nothing", "-p", &port]).output();
    let output = run.await.expect("h2spec can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("0 skipped, 0 failed"), "{said}");
}
