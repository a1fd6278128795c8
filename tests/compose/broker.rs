//! The compose file's Kafka and its scripts, run from Kafka's own jars with nothing but the addresses changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use regex::{Captures, Regex};
use serde_norway::Value;

use super::files::{read, root, strings};
use super::support::{eventually, free_port};

/// Where the image keeps Kafka's tools, and what each of them is.
const BIN: &str = "/opt/kafka/bin/";
const TOOLS: [(&str, &str); 3] = [
    ("kafka-broker-api-versions.sh", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("kafka-console-producer.sh", "org.apache.kafka.tools.ConsoleProducer"),
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
];

/// A command that ends by itself even when the tests are killed and nobody is left to end it.
fn bounded(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["300", program]);
    command
}

fn libs() -> PathBuf {
    let libs = root().join(".tailrace/kafka/libs");
    assert!(libs.is_dir(), "{} is not there: run `cargo xtask setup` first", libs.display());
    libs
}

pub(crate) struct Broker {
    /// As the other containers reach it.
    pub(crate) inside: String,
    /// As programs on the host reach it.
    pub(crate) outside: String,
    _process: Group,
    _directory: tempfile::TempDir,
}

impl Broker {
    /// Starts Kafka with a service's environment, and waits until its health check says that it is well.
    pub(crate) async fn start(environment: &BTreeMap<String, String>, healthcheck: &Value) -> Broker {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ports = Ports::of(&environment["KAFKA_LISTENERS"]);
        let mut properties = String::new();
        for (name, value) in environment.iter().filter(|(name, _)| *name != "KAFKA_HEAP_OPTS") {
            // As the image does it.
            let name =
                name.strip_prefix("KAFKA_").expect("a setting of Kafka's").to_lowercase().replace('_', ".");
            let value = match name.as_str() {
                "log.dirs" => directory.path().join("data").display().to_string(),
                _ => ports.moved(value),
            };
            properties.push_str(&format!("{name}={value}\n"));
        }
        let config = directory.path().join("server.properties");
        fs::write(&config, properties).expect("the configuration can be written");
        let tools = Tools::new();
        let formatted = tools
            .java("kafka.tools.StorageTool")
            .args(["format", "-t", "5L6g3nShT-eMCtK--X86sw", "-c"])
            .arg(&config)
            .output()
            .expect("java can be started");
        assert!(formatted.status.success(), "the broker's settings are refused: {formatted:?}");
        let log = directory.path().join("log");
        let mut command = tools.java("kafka.Kafka");
        command.arg(&config).stdout(fs::File::create(&log).expect("a log")).stderr(Stdio::null());
        let mut process = Group::spawn(command);

        let check = ports.moved(&tools.own(&strings(&healthcheck["test"])[1]));
        eventually("Kafka is well", Duration::from_secs(90), async || {
            if let Ok(Some(status)) = process.0.try_wait() {
                panic!("Kafka ended with {status}: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            Command::new("sh").arg("-c").arg(&check).status().ok()?.success().then_some(())
        })
        .await;
        let advertised = ports.moved(&environment["KAFKA_ADVERTISED_LISTENERS"]);
        let of = |name: &str| {
            let mut all = advertised.split(',').filter_map(|one| one.split_once("://"));
            all.find(|(known, _)| *known == name).expect("a listener").1.to_owned()
        };
        Broker { inside: of("INSIDE"), outside: of("HOST"), _process: process, _directory: directory }
    }
}

/// Free ports of this machine for those of the containers.
struct Ports(BTreeMap<String, u16>);

impl Ports {
    fn of(listeners: &str) -> Ports {
        let port = Regex::new(r":(\d+)").expect("a pattern");
        Ports(port.captures_iter(listeners).map(|found| (found[1].to_owned(), free_port())).collect())
    }

    fn moved(&self, text: &str) -> String {
        let address = Regex::new(r"(?:0\.0\.0\.0|kafka|localhost):(\d+)").expect("a pattern");
        let moved = |found: &Captures<'_>| format!("127.0.0.1:{}", self.0[&found[1]]);
        address.replace_all(text, moved).into_owned()
    }
}

/// Kafka's command line tools under another path.
pub(crate) struct Tools(tempfile::TempDir);

impl Tools {
    pub(crate) fn new() -> Tools {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, class) in TOOLS {
            let path = directory.path().join(name);
            let libs = libs();
            let script = format!("#!/bin/sh\nexec java -Xmx128m -cp '{}/*' {class} \"$@\"\n", libs.display());
            fs::write(&path, script).expect("a script can be written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be made to run");
        }
        Tools(directory)
    }

    fn java(&self, class: &str) -> Command {
        let mut command = bounded("java");
        command.args(["-Xmx512m", "-Dlog4j2.level=WARN", "-cp"]).arg(libs().join("*")).arg(class);
        command.stdin(Stdio::null());
        command
    }

    /// A script's text with the tools where they are here.
    fn own(&self, script: &str) -> String {
        let used = Regex::new(r"/opt/kafka/bin/([a-z-]+\.sh)").expect("a pattern");
        for tool in used.captures_iter(script) {
            assert!(TOOLS.iter().any(|(name, _)| *name == &tool[1]), "{} is no tool known here", &tool[1]);
        }
        script.replace(BIN, &format!("{}/", self.0.path().display()))
    }

    /// One of the demo's scripts, as its container would run it.
    pub(crate) fn script(&self, path: &str, bootstrap: &str) -> Command {
        let mut command = bounded("sh");
        command.arg("-c").arg(self.own(&read(path)));
        command.env("BOOTSTRAP", bootstrap).env("PAUSE", "0.02").stdin(Stdio::null());
        command
    }

    pub(crate) fn keep_running(&self, path: &str, bootstrap: &str) -> Group {
        Group::spawn(self.script(path, bootstrap))
    }
}

/// A process and all that it starts; they end when this is dropped.
pub(crate) struct Group(Child);

impl Group {
    fn spawn(mut command: Command) -> Group {
        Group(command.process_group(0).spawn().expect("it can be started"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        // It may have ended by itself.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}
