//! Who follows a page: a folder, a shell with what was exported so far, what runs on, and a browser.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::page::Step;
use crate::running::Running;
use crate::support::bridge::{binary, get};
use crate::support::script::Script;
use crate::support::{eventually, free_port};

const PATIENCE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The tools of Kafka that the pages use, and their classes.
const KAFKA_TOOLS: [(&str, &str); 2] = [
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-console-producer.sh", "org.apache.kafka.tools.ConsoleProducer"),
];

pub(crate) struct Reader {
    folder: TempDir,
    /// Each port of the pages, and the one that stands for it here.
    ports: Vec<(&'static str, u16)>,
    exports: String,
    running: Vec<Running>,
    browser: Option<Script>,
}

impl Reader {
    /// With the port of a Kafka, for pages that need one.
    pub(crate) fn new(kafka: Option<u16>) -> Reader {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // nginx's workers may be of another user.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("a folder can be opened");
        symlink(root().join("deploy"), folder.path().join("deploy")).expect("a link can be made");
        let ports = [
            ("8080", free_port()),
            ("9464", free_port()),
            ("8000", free_port()),
            ("8081", free_port()),
            ("9092", kafka.unwrap_or(1)),
        ];
        let reader = Reader {
            folder,
            ports: ports.into(),
            exports: String::new(),
            running: Vec::new(),
            browser: None,
        };
        reader.install();
        reader
    }

    /// Puts what a page takes for granted on the path.
    fn install(&self) {
        let bin = self.path("bin");
        fs::create_dir(&bin).expect("a folder can be made");
        symlink(binary(), bin.join("tailrace")).expect("a link can be made");
        let tool = |name: &str, script: String| {
            let path = bin.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file can be written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be made a program");
        };
        let libs = root().join(".tailrace/kafka/libs");
        for (name, class) in KAFKA_TOOLS {
            let options = "-Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1";
            tool(name, format!("exec java {options} -cp '{}/*' {class} \"$@\"", libs.display()));
        }
        // Helm's own packages, in a program that takes files of values without `--values`.
        let helm = root().join(".tailrace/helm/helm");
        tool(
            "helm",
            format!("test \"$1 $3\" = 'lint --values' && exec {} lint \"$2\" \"$4\"", helm.display()),
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn port(&self, which: &str) -> u16 {
        self.ports.iter().find(|(known, _)| *known == which).expect("a port of the pages").1
    }

    /// A text of the page, with the ports of this run.
    fn here(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (port, other)| {
            let port = Regex::new(&format!(r"\b{port}\b")).expect("a pattern");
            port.replace_all(&text, other.to_string()).into_owned()
        })
    }

    pub(crate) async fn follow(&mut self, step: Step) {
        println!("--- {step:?}");
        match step {
            Step::Run(script) => self.run(&script).await,
            Step::Shown(command, expected) => self.shows(&command, &expected).await,
            Step::Until(script, part) => self.until(&script, &part).await,
            Step::RunsOn(command, url) => self.start(&command, &url).await,
            Step::File(name, text) => {
                fs::write(self.path(&name), self.here(&text)).expect("a file can be written")
            }
            Step::NotRun(why) => assert!(why.len() > 10, "{why:?} is no reason"),
            Step::Stop(program) => self.stop(&program),
            Step::Has { url, count, or_more, selector } => {
                let what = json!({ "url": self.here(&url), "selector": selector, "count": count, "orMore": or_more });
                self.look(what).await
            }
            Step::Reloads { url, selector } => {
                self.look(json!({ "url": self.here(&url), "selector": selector })).await
            }
        }
    }

    async fn run(&mut self, script: &str) {
        let (status, output) = self.ended(script).await;
        assert!(status.success(), "{script} ended with {status}:\n{output}");
        // What one block exports, the next ones have.
        for line in script.lines().filter(|line| line.starts_with("export ")) {
            self.exports.push_str(&format!("{line}\n"));
        }
    }

    /// How commands end, and what they print.
    async fn ended(&self, script: &str) -> (ExitStatus, String) {
        let mut running = self.spawn(script);
        let status = eventually("the commands end", PATIENCE, async || running.status()).await;
        (status, running.output())
    }

    /// A reader who is early tries again: metrics come a moment after the start.
    async fn shows(&self, command: &str, expected: &str) {
        let pattern = pattern(&self.here(expected));
        let until = Instant::now() + MOMENT;
        loop {
            let (status, said) = self.ended(command).await;
            if status.success() && pattern.is_match(&said.replace('\r', "")) {
                return;
            }
            assert!(
                Instant::now() < until,
                "{command} is shown to print\n{expected}and ended with {status}:\n{said}"
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn until(&self, script: &str, part: &str) {
        let mut running = self.spawn(script);
        eventually(&format!("{part:?} comes"), PATIENCE, async || {
            let output = running.output();
            let ended = running.status();
            assert!(ended.is_none(), "{script} ended before {part:?} came: {ended:?}\n{output}");
            output.contains(part).then_some(())
        })
        .await;
    }

    async fn start(&mut self, command: &str, url: &str) {
        let url = self.here(url);
        let address = url.trim_start_matches("http://");
        let (host, path) = address.split_at(address.find('/').expect("a path"));
        let port = host.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let mut running = self.spawn(command);
        eventually(&format!("{url} answers"), PATIENCE, async || {
            let ended = running.status();
            assert!(ended.is_none(), "{command} ended: {ended:?}\n{}", running.output());
            get(port, path).await.filter(|(status, _)| *status == 200)
        })
        .await;
        self.running.push(running);
    }

    /// As Ctrl-C.
    fn stop(&mut self, program: &str) {
        let at = self.running.iter().position(|running| running.script.starts_with(program));
        drop(self.running.remove(at.unwrap_or_else(|| panic!("{program} does not run"))));
    }

    fn spawn(&self, script: &str) -> Running {
        let all = format!("set -euo pipefail\n{}{script}", self.exports);
        let mut bash = Command::new("bash");
        bash.args(["-c", &self.here(&all)]).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TAILRACE_") {
                bash.env_remove(name);
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        bash.env("PATH", format!("{}:{path}:/usr/sbin", self.path("bin").display()));
        bash.env("TAILRACE_LISTEN", format!("127.0.0.1:{}", self.port("8080")));
        bash.env("TAILRACE_ADMIN_LISTEN", format!("127.0.0.1:{}", self.port("9464")));
        Running::start(script, bash)
    }

    /// A browser looks at a page, which stays open.
    async fn look(&mut self, what: Value) {
        let port = self.port("8080");
        let browser = self.browser.get_or_insert_with(|| Script::start("tutorials.mjs", port));
        browser.tell(&what.to_string()).await;
        let seen: Value = serde_json::from_str(&browser.line().await).expect("a line of JSON");
        assert_eq!(seen, json!({ "complaints": [] }), "{what}");
    }
}

/// What matches a text in which `…` is anything, and a line of it any lines.
fn pattern(text: &str) -> Regex {
    let line = |line| match line {
        "…" => "(?:.*\n)*?".to_owned(),
        line => regex::escape(line).replace('…', ".*") + "\n",
    };
    let lines: String = text.lines().map(line).collect();
    Regex::new(&format!("^{lines}$")).expect("a pattern")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn what_is_shown_is_compared() {
    let shown = pattern("a\n…\n{…\"b\":…}\n");
    assert!(shown.is_match("a\nx\ny\n{\"b\":1}\n"));
    assert!(shown.is_match("a\n{\"c\":2,\"b\":1}\n"));
    for other in ["a\n", "a\n{\"c\":1}\n", "x\na\n{\"b\":1}\n", "a\n{\"b\":1}\nx\n"] {
        assert!(!shown.is_match(other), "{other}");
    }
}
