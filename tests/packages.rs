//! The npm package on the real binary and the real Kafka, in Node and in browsers: it is cut, the bridge is killed, processes
//! restart, tabs close and pages reload, and each record comes once, in the order of its partition.

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use support::bridge::Bridge;
use support::kafka::Kafka;
use support::pages::Pages;
use support::relay::Relay;
use support::script::{Browser, Script};
use support::writer::{PARTITIONS, Writer};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Ways of reading in Node, as clients/js/test/exact.mjs has them, and after how many bytes of a connection each is cut.
const MODES: [(&str, &[usize]); 5] = [
    ("handlers", &[40, 400, 2_000, 700, 9_000, 450, 3_000]),
    ("websocket", &[40, 400, 2_000, 700, 9_000, 450, 3_000]),
    ("pages", &[40, 2_000, 700]),
    ("loop", &[400, 2_000, 700, 5_000]),
    ("restarts", &[400, 2_000]),
];
/// Between two records: 200 a second.
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);
/// What would come twice comes within this.
const REPEATS: Duration = Duration::from_secs(2);
/// Records that come to each page between two cuts.
const BETWEEN: usize = 40;
/// One Kafka, or one browser, is enough for the processors.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

fn package() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js");
    assert!(
        folder.join("dist").is_dir(),
        "{}/dist is not there: run `cargo xtask setup` first",
        folder.display()
    );
    folder
}

async fn start(kafka: &Kafka) -> Bridge {
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let settings = [("TAILRACE_CORS_ORIGINS", "http://127.0.0.1:*")];
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "packages", &settings);
    bridge.start().await;
    bridge
}

/// A program in Node that prints the data of records, and what it has printed.
struct Reader {
    mode: &'static str,
    relay: Relay,
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    got: Vec<Vec<u64>>,
}

impl Reader {
    async fn start(mode: &'static str, bridge: u16, folder: &Path) -> Reader {
        let relay = Relay::start(bridge, &[]).await;
        let url = format!("http://127.0.0.1:{}/t/acme/events?topic=orders", relay.port);
        let mut process = Command::new("node")
            .arg(package().join("test/exact.mjs"))
            .args([&url, mode])
            .arg(folder.join(mode))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node can be started");
        let lines = BufReader::new(process.stdout.take().expect("the output is piped")).lines();
        Reader { mode, relay, _process: process, lines, got: vec![Vec::new(); PARTITIONS] }
    }

    fn count(&self) -> usize {
        self.got.iter().map(Vec::len).sum()
    }

    async fn take(&mut self) {
        let line = self.lines.next_line().await.expect("the output is text").expect("the program goes on");
        let (partition, number) = line.split_once(':').unwrap_or_else(|| panic!("{}: {line}", self.mode));
        let partition: usize = partition.parse().expect("a partition");
        self.got[partition].push(number.parse().expect("a number"));
    }

    async fn take_until(&mut self, is_enough: impl Fn(&Reader) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_enough(self) {
            let taken = tokio::time::timeout_at(until, self.take()).await;
            assert!(
                taken.is_ok(),
                "{}: {} records, {} cuts to come",
                self.mode,
                self.count(),
                self.relay.left()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_reading_in_node() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let kafka = Kafka::start().await;
    let mut bridge = start(&kafka).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let writer = Writer::start(&kafka, "orders", PAUSE);
    let readers = MODES.map(|(mode, _)| Reader::start(mode, bridge.port, folder.path()));
    let mut readers = join_all(readers).await;
    for _ in 0..2 {
        let more = readers.iter_mut().map(|reader| {
            let enough = reader.count() + BETWEEN;
            reader.take_until(move |reader| reader.count() >= enough)
        });
        join_all(more).await;
        bridge.kill();
        bridge.start().await;
    }
    for (reader, (_, cuts)) in readers.iter().zip(MODES) {
        reader.relay.cut_after(cuts);
    }
    join_all(readers.iter_mut().map(|reader| reader.take_until(|reader| reader.relay.left() == 0))).await;
    let sent = writer.stop();
    let all = sent.iter().map(Vec::len).sum();
    join_all(readers.iter_mut().map(|reader| reader.take_until(move |reader| reader.count() >= all))).await;
    let until = Instant::now() + REPEATS;
    join_all(readers.iter_mut().map(
        async |reader| {
            while tokio::time::timeout_at(until, reader.take()).await.is_ok() {}
        },
    ))
    .await;
    println!("{all} records");
    assert!(all > 300, "too few for a verdict: {all}");
    for reader in readers {
        assert_eq!(reader.got, sent, "{}", reader.mode);
    }
}

/// From the folder of the other scripts.
const FOLDER: &str = "../../clients/js/test/browser";
/// What pages.mjs opens there: three tabs with a SharedWorker, three without one, a page that is reloaded, a component.
const SOURCES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "reloaded", "component"];
/// One for each three tabs, one for each other page.
const CONNECTIONS: f64 = 4.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_that_share_pages_that_reload_and_components_in_chromium() {
    records_come_once_in(Browser::Chromium).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_that_share_pages_that_reload_and_components_in_firefox() {
    records_come_once_in(Browser::Firefox).await;
}

async fn records_come_once_in(browser: Browser) {
    package();
    let _alone = ONE_AT_A_TIME.lock().await;
    let kafka = Kafka::start().await;
    let mut bridge = start(&kafka).await;
    let relay = Relay::start(bridge.port, &[]).await;
    let mut pages = Pages::open(browser, &format!("{FOLDER}/pages.mjs"), relay.port, &SOURCES).await;
    // From here on every record is for every page: its position was fixed before the stream opened.
    let writer = Writer::start(&kafka, "orders", PAUSE);
    pages.listen_for(BETWEEN).await;
    relay.cut_all();
    pages.listen_past_an_open(BETWEEN).await;
    bridge.kill();
    bridge.start().await;
    pages.listen_past_an_open(BETWEEN).await;
    let until = Instant::now() + PATIENCE;
    loop {
        let connections = bridge.metric("tailrace_streams").await;
        if connections == CONNECTIONS {
            break;
        }
        assert!(Instant::now() < until, "there are {connections} connections");
        tokio::time::sleep(PAUSE).await;
    }
    pages.end(&writer.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_in_chromium() {
    nothing_goes_wrong_for_good_in(Browser::Chromium).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_in_firefox() {
    nothing_goes_wrong_for_good_in(Browser::Firefox).await;
}

/// On a scripted server in the place of the bridge.
async fn nothing_goes_wrong_for_good_in(browser: Browser) {
    package();
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut script = Script::start_with(browser, &format!("{FOLDER}/troubles.mjs"), 0);
    assert_eq!(script.line().await, "done");
    script.end().await;
}
