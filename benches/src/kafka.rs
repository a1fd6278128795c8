//! A real Kafka broker (KRaft) in a directory of its own, unless a running one is given.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

use crate::process::Ending;
use crate::server::free_port;

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// The timeout from the start to the first answer.
const START: Duration = Duration::from_secs(90);

/// A broker, and its address.
pub(crate) struct Kafka {
    own: Option<Own>,
    pub(crate) bootstrap: String,
}

/// A broker that was started here. Its process ends before its directory is deleted: fields are dropped in this order.
struct Own {
    _process: Ending,
    directory: TempDir,
    libs: Box<Path>,
    /// The port of its management beans.
    beans: u16,
}

impl Kafka {
    /// Formats and starts a broker, and waits until it answers.
    pub(crate) fn start(libs: &Path) -> Result<Kafka> {
        ensure!(
            libs.is_dir(),
            "{} is not there: run `cargo xtask setup`, or give --bootstrap",
            libs.display()
        );
        let directory = tempfile::tempdir().context("create a directory for Kafka")?;
        let (port, beans) = (free_port()?, free_port()?);
        let (config, log) = (directory.path().join("server.properties"), directory.path().join("kafka.log"));
        fs::write(&config, properties(port, free_port()?, &directory.path().join("data")))
            .context("write Kafka's configuration")?;
        let mut format = java(libs, &log, "-Xmx256m")?;
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(&config);
        let formatted = format.status().context("start java")?;
        ensure!(formatted.success(), "Kafka's storage was not formatted:\n{}", read(&log));
        let mut broker = java(libs, &log, "-Xmx512m")?;
        let process = broker.args(management(beans)).arg("kafka.Kafka").arg(&config).spawn();
        let process = Ending(process.context("start Kafka")?);
        let bootstrap = format!("127.0.0.1:{port}");
        answers(&bootstrap).with_context(|| read(&log))?;
        Ok(Kafka { own: Some(Own { _process: process, directory, libs: libs.into(), beans }), bootstrap })
    }

    /// A broker that is already running.
    pub(crate) fn given(bootstrap: &str) -> Kafka {
        Kafka { own: None, bootstrap: bootstrap.to_owned() }
    }

    /// Bytes that the broker has sent to consumers of a topic, by its own count; zero if it has sent none. `None` for a broker
    /// that was not started here.
    pub(crate) fn bytes_out(&self, topic: &str) -> Result<Option<u64>> {
        let Some(own) = &self.own else { return Ok(None) };
        let bean = format!("kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec,topic={topic}");
        let address = format!("service:jmx:rmi:///jndi/rmi://127.0.0.1:{}/jmxrmi", own.beans);
        let mut tool = java(&own.libs, &own.directory.path().join("tool.log"), "-Xmx128m")?;
        tool.args(["org.apache.kafka.tools.JmxTool", "--one-time", "--report-format", "properties"]);
        tool.args(["--object-name", &bean, "--attributes", "Count", "--jmx-url", &address]);
        let output = tool.stdout(Stdio::piped()).output().context("ask for Kafka's counters")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let count = text.lines().find_map(|line| line.split_once(":Count=")).map_or("0", |(_, count)| count);
        Ok(Some(count.trim().parse().with_context(|| format!("Kafka's counters are {text:?}"))?))
    }
}

fn properties(port: u16, controller: u16, data: &Path) -> String {
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n",
        data.display()
    )
}

/// Opens the management beans to this machine.
fn management(port: u16) -> [String; 6] {
    let options = [
        &format!("port={port}"),
        &format!("rmi.port={port}"),
        "host=127.0.0.1",
        "authenticate=false",
        "ssl=false",
        "local.only=true",
    ];
    options.map(|option| format!("-Dcom.sun.management.jmxremote.{option}"))
}

fn java(libs: &Path, log: &Path, heap: &str) -> Result<Command> {
    let log = fs::File::options().create(true).append(true).open(log).context("open Kafka's log")?;
    let mut command = Command::new("java");
    command.arg(heap).arg("-cp").arg(libs.join("*")).arg("-Dlog4j2.level=WARN");
    command.stdout(log.try_clone().context("share Kafka's log")?).stderr(log).stdin(Stdio::null());
    Ok(command)
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

fn answers(bootstrap: &str) -> Result<()> {
    // Connections that are refused during the start are not logged.
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("log_level", "0");
    let probe: BaseConsumer = config.create().context("create a consumer")?;
    let end = Instant::now() + START;
    while probe.fetch_metadata(None, Duration::from_secs(1)).is_err() {
        if Instant::now() > end {
            bail!("Kafka does not answer within {START:?}");
        }
        sleep(Duration::from_millis(200));
    }
    Ok(())
}
