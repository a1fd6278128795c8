//! The package for Python, clients/python, on the real binary and the real Kafka: connections are cut, the bridge is killed, and so are the programs that
//! read, which go on from their files. Each has every record once; after a kill of its own, what it had in hand comes once more.

mod support;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::bridge::Bridge;
use support::kafka::Kafka;
use support::relay::Relay;
use support::writer::{PARTITIONS, Writer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// After how many bytes of a connection it is cut, within each run of a program: in the answer's head, in the first frame, later.
const CUTS: [usize; 5] = [40, 450, 2_000, 700, 9_000];
/// How often a program is killed.
const KILLS: usize = 3;
/// Between two records: a reader that stores each position takes some milliseconds for one.
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// A way to read, and what it may have in hand.
struct Way {
    name: &'static str,
    route: &'static str,
    in_hand: usize,
}

const WAYS: [Way; 3] = [
    Way { name: "stream", route: "events", in_hand: 1 },
    Way { name: "astream", route: "events", in_hand: 1 },
    Way { name: "pages", route: "records", in_hand: 20 },
];

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The program, from one kill to the next.
struct Run {
    process: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Run {
    fn start(way: &Way, port: u16, folder: &Path) -> Run {
        let packages = file(".tailrace/python");
        assert!(packages.is_dir(), "{} is not there: run `cargo xtask setup` first", packages.display());
        let paths =
            std::env::join_paths([file("clients/python/src"), packages]).expect("no path has a colon");
        let mut process = Command::new("python3")
            .arg(file("clients/python/tests/exact.py"))
            .args([way.name, &format!("http://127.0.0.1:{port}/t/acme/{}", way.route)])
            .arg(folder.join("orders.pos"))
            .env("PYTHONPATH", paths)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 can be started");
        let lines = BufReader::new(process.stdout.take().expect("the output is piped")).lines();
        Run { process, lines }
    }

    async fn line(&mut self) -> String {
        let next = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        next.expect("no record is missing").expect("the output is text").expect("the program goes on")
    }

    /// SIGKILL. Gives what it had printed before.
    async fn kill(&mut self) -> Vec<String> {
        self.process.kill().await.expect("it runs");
        let mut rest = Vec::new();
        while let Some(line) = self.lines.next_line().await.expect("the output is text") {
            rest.push(line);
        }
        rest
    }
}

/// What came, by partition.
struct Got {
    way: Way,
    records: Vec<Vec<u64>>,
    /// The last lines of the present run, no more than can be in hand.
    latest: VecDeque<String>,
    /// What was in hand when a run before it was killed, and may come once more.
    in_hand: VecDeque<String>,
    repeated: usize,
}

impl Got {
    fn begin_run(&mut self) {
        self.in_hand.append(&mut self.latest);
    }

    fn take(&mut self, line: String) {
        let (partition, number) = line.split_once(':').expect("a partition and a number");
        let partition: usize = partition.parse().expect("a partition");
        let number: u64 = number.parse().expect("a number");
        let records = &mut self.records[partition];
        if records.last().is_none_or(|last| *last < number) {
            records.push(number);
        } else {
            let known = self.in_hand.iter().position(|before| *before == line);
            let known = known.unwrap_or_else(|| panic!("{} gives {line} again", self.way.name));
            self.in_hand.remove(known);
            self.repeated += 1;
        }
        self.latest.push_back(line);
        if self.latest.len() > self.way.in_hand {
            self.latest.pop_front();
        }
    }
}

/// One program, with its file and its connections.
struct Reader {
    relay: Relay,
    folder: tempfile::TempDir,
    got: Got,
    run: Run,
}

impl Reader {
    async fn start(way: Way, port: u16) -> Reader {
        let relay = Relay::start(port, &[]).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = Run::start(&way, relay.port, folder.path());
        let records = vec![Vec::new(); PARTITIONS];
        let got = Got { way, records, latest: VecDeque::new(), in_hand: VecDeque::new(), repeated: 0 };
        Reader { relay, folder, got, run }
    }

    /// Reads while connections are cut, and is killed then, again and again. Records must be written meanwhile.
    async fn suffer(mut self) -> Reader {
        for kill in 0..KILLS {
            self.relay.cut_after(&CUTS);
            let (begin, mut taken) = (Instant::now(), 0);
            while taken < 20 || self.relay.left() > 0 {
                let left = self.relay.left();
                assert!(begin.elapsed() < PATIENCE, "{}: {left} cuts are still to come", self.got.way.name);
                self.got.take(self.run.line().await);
                taken += 1;
            }
            // At once, when the record is in hand still; and later, when another may be.
            tokio::time::sleep(kill as u32 * Duration::from_millis(7)).await;
            for line in self.run.kill().await {
                self.got.take(line);
            }
            self.got.begin_run();
            self.run = Run::start(&self.got.way, self.relay.port, self.folder.path());
        }
        self
    }

    /// Reads the rest of what was sent. Gives how many records came twice.
    async fn finish(mut self, sent: &[Vec<u64>]) -> usize {
        while self.got.records != sent {
            self.got.take(self.run.line().await);
        }
        let more = tokio::time::timeout(Duration::from_secs(1), self.run.line()).await;
        assert!(more.is_err(), "{}: {more:?} after everything", self.got.way.name);
        self.got.repeated
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_once_over_cuts_and_kills_of_both_sides() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "python", &[]);
    bridge.start().await;
    let port = bridge.port;
    let writer = Writer::start(&kafka, "orders", PAUSE);
    let readers = WAYS.map(|way| tokio::spawn(async move { Reader::start(way, port).await.suffer().await }));
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        bridge.kill();
        bridge.start().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        bridge.terminate().await;
        bridge.start().await;
    }
    let mut survivors = Vec::new();
    for reader in readers {
        survivors.push(reader.await.expect("the reader goes on"));
    }
    let sent = writer.stop();
    let count: usize = sent.iter().map(Vec::len).sum();
    assert!(count > 500, "too few for a verdict: {count}");
    for reader in survivors {
        let name = reader.got.way.name;
        let repeated = reader.finish(&sent).await;
        let cuts = KILLS * CUTS.len();
        println!("{name}: {count} records, {repeated} of them again, over {KILLS} kills and {cuts} cuts");
    }
}
