//! `/openapi.json` and `/asyncapi.json` of real servers: a linter has nothing to complain about, every answer is as they say, and
//! the server keeps to them whatever it is asked.

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::bridge::{Bridge, get};
use support::demo::Demo;
use support::kafka::Kafka;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const SECRET: &str = "a secret that is long enough for HS256";
const LINTER: &str = "tests/description/node_modules/@stoplight/spectral-cli/dist/index.js";
const DOCUMENTS: [&str; 2] = ["openapi.json", "asyncapi.json"];
/// The events that each server is to send: together all that there are.
const OF_THE_DEMO: [&str; 7] = [
    "tailrace.gap",
    "tailrace.synced",
    "tailrace.status",
    "tailrace.heartbeat",
    "tailrace.left",
    "tailrace.error",
    "tailrace.drain",
];
const OF_RECORDS: [&str; 4] =
    ["tailrace.binary", "tailrace.tombstone", "tailrace.masked", "tailrace.undecodable"];
const PATIENCE: Duration = Duration::from_secs(60);
/// Fewer requests than this, and the run has not looked at what it is to look at.
const FEWEST_REQUESTS: u64 = 500;

fn file(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.exists(), "{} is not there: run `cargo xtask setup` first", path.display());
    path
}

/// A program in Python, with the packages of these tests and of the clients.
fn python(script: &Path) -> Command {
    let packages = [".tailrace/description", ".tailrace/clients"].map(file);
    let packages = std::env::join_paths(packages).expect("no colon in a path");
    let mut command = Command::new("python3");
    command
        .arg(script)
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn with_tokens() -> [&'static str; 10] {
    let tokens = ["--auth", "jwt", "--jwt-secret", SECRET, "--jwt-cookie", "session"];
    let [a, b, c, d, e, f] = tokens;
    [a, b, c, d, e, f, "--console", "on", "--envelope", "record"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_linter_has_nothing_to_say() {
    let (open, closed) = (Demo::start(&[]).await, Demo::start(&with_tokens()).await);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut documents = Vec::new();
    for port in [open.port, closed.port] {
        for name in DOCUMENTS {
            let (status, document) = get(port, &format!("/{name}")).await.expect("an answer");
            assert_eq!(status, 200, "{document}");
            let path = folder.path().join(format!("{port}-{name}"));
            std::fs::write(&path, document).expect("a file can be written");
            documents.push(path);
        }
    }
    let linted = Command::new("node")
        .arg(file(LINTER))
        .args(["lint", "--fail-severity", "warn", "--ruleset"])
        .arg(file("tests/description/spectral.yaml"))
        .args(documents)
        .output();
    let output = linted.await.expect("node can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("No results with a severity of 'warn' or higher found"), "{said}");
    open.stop().await;
    closed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_the_demo_is_as_described_to_the_last_block() {
    let demo = Demo::start(&["--max-streams-per-tenant", "8"]).await;
    let mut answers =
        Answers::start(demo.port, &[&["--of-the-demo", "--until-drain"][..], &OF_THE_DEMO].concat()).await;
    assert_eq!(answers.line().await, "stop");
    demo.stop().await;
    answers.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_no_text_or_no_json_are_as_described() {
    let kafka = Kafka::start().await;
    for topic in ["orders", "secrets"] {
        kafka.create_topic(topic, 1, &[]).await;
    }
    let settings = [("TAILRACE_MASK", "secrets=/name:redact"), ("TAILRACE_VALUE_FORMAT", "auto,broken=json")];
    kafka.create_topic("broken", 1, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders,secrets,broken", "described", &settings);
    bridge.start().await;
    let producer = kafka.producer();
    producer.send_record("orders", 0, Some("acme"), Some(b"\xff"), Some(b"\xfe"));
    producer.send_record("orders", 0, Some("acme"), None, None);
    producer.send("orders", 0, "acme", b"{\"a\":1}");
    producer.send("secrets", 0, "acme", b"no JSON");
    producer.send("broken", 0, "acme", b"{");
    producer.flush();
    support::eventually("all records", Duration::from_secs(20), async || {
        let (_, page) = get(bridge.port, "/t/acme/records?from=earliest").await?;
        let page: Value = serde_json::from_str(&page).ok()?;
        (page["records"].as_array()?.len() == 5).then_some(())
    })
    .await;
    Answers::start(bridge.port, &OF_RECORDS).await.end().await;
}

/// The script that compares answers with what is described.
struct Answers {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Answers {
    async fn start(port: u16, arguments: &[&str]) -> Answers {
        ready(port, "").await;
        let mut process = python(&file("tests/description/answers.py"))
            .arg(format!("http://127.0.0.1:{port}"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 can be started");
        let lines = BufReader::new(process.stdout.take().expect("the output is piped")).lines();
        Answers { process, lines }
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("the script goes on").expect("the output is text").expect("the script has said why")
    }

    async fn end(mut self) {
        println!("{}", self.line().await);
        assert!(self.process.wait().await.expect("a child can be waited for").success());
    }
}

/// Waits until a page has records.
async fn ready(port: u16, token: &str) {
    support::eventually("the first records", PATIENCE, async || {
        let (status, page) = get(port, &format!("/t/acme/records?from=earliest{token}")).await?;
        (status == 200 && page.contains("\"offset\"")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_keeps_to_its_description_whatever_it_is_asked() {
    let demo = Demo::start(&with_tokens()).await;
    let until = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 3600;
    let claims = json!({ "tenant_id": "acme", "scope": "event:read:acme", "exp": until });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::default(), &claims, &key).expect("claims are JSON");
    ready(demo.port, &format!("&access_token={token}")).await;
    let server = format!("http://127.0.0.1:{}", demo.port);
    let kept = tempfile::tempdir().expect("a temporary folder");
    let run = python(&file(".tailrace/description/bin/schemathesis"))
        .arg("--config-file")
        .arg(file("tests/description/schemathesis.toml"))
        .args([
            "run",
            "--header",
            &format!("Authorization: Bearer {token}"),
            &format!("{server}/openapi.json"),
        ])
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("HYPOTHESIS_STORAGE_DIRECTORY", kept.path())
        .env("SERVER", &server)
        .env("TOKEN", &token)
        .current_dir(file("tests/description"))
        .output();
    let output = run.await.expect("python3 can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(requests(&said) >= FEWEST_REQUESTS, "too few requests for a verdict");
    demo.stop().await;
}

/// How many requests were made, as the run says at its end.
fn requests(said: &str) -> u64 {
    let line = said.lines().find(|line| line.contains(" generated, ")).expect("a count of requests");
    let number = line.split_whitespace().find_map(|word| word.replace(',', "").parse().ok());
    number.expect("a number")
}
