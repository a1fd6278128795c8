//! A server beside others: how it is started, fed and read.

use std::cell::Cell;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::publish::Publish;
use super::tree::Tree;
use crate::kafka::Kafka;
use crate::server::{Server, free_port};

/// Partitions of the topics that Kafka's peers read.
pub(crate) const PARTITIONS: i32 = 12;

/// From a server's start until it takes connections.
const START: Duration = Duration::from_secs(60);

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// What is not plain from its name: its guarantees, how it is set up.
    pub(crate) note: &'static str,
    /// The most clients that it is given.
    pub(crate) most_clients: usize,
    /// Whether it has a line in the plot, and memory of its own.
    pub(crate) curve: bool,
    pub(crate) start: fn(&Stage) -> Result<Running>,
    /// The folder that `cargo xtask peers` has filled, if it is one that must be installed.
    pub(crate) folder: Option<&'static str>,
}

impl Peer {
    /// What was installed, or why it cannot be measured.
    pub(crate) fn version(&self, stage: &Stage) -> Result<String, String> {
        let Some(folder) = self.folder else { return Ok(env!("CARGO_PKG_VERSION").to_owned()) };
        let file = stage.installed(folder).join("VERSION");
        let missing =
            |_| format!("not installed in {}: `cargo xtask peers`", stage.installed(folder).display());
        fs::read_to_string(file).map(|version| version.trim().to_owned()).map_err(missing)
    }
}

/// What all of them are given.
pub(crate) struct Stage {
    pub(crate) kafka: Kafka,
    /// Ours.
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) topics: Cell<u32>,
    /// Bytes of ours for a delivery of one event at a time, and of one in a burst.
    pub(crate) frame_bytes: Cell<[usize; 2]>,
}

impl Stage {
    pub(crate) fn installed(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A name that no topic has had.
    pub(crate) fn topic_name(&self) -> String {
        self.topics.set(self.topics.get() + 1);
        format!("tailrace-peers-{}-{}", std::process::id(), self.topics.get())
    }
}

/// A server that runs. What it needs goes after it: fields are dropped in this order.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// Where its stream is.
    pub(crate) path: String,
    pub(crate) publish: Box<dyn Publish>,
    /// Goes from Kafka when the server has ended.
    pub(crate) _topic: Option<crate::producer::Topic>,
    pub(crate) place: Option<Place>,
}

pub(crate) enum Process {
    Tree(Tree),
    Ours(Server),
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        match &self.process {
            Process::Tree(tree) => tree.0.id(),
            Process::Ours(server) => server.pid(),
        }
    }

    /// Its log.
    pub(crate) fn said(&self) -> String {
        match (&self.process, &self.place) {
            (Process::Ours(server), _) => server.said(),
            (_, Some(place)) => place.said(),
            _ => String::new(),
        }
    }
}

/// A directory and a port for a server.
pub(crate) struct Place {
    directory: TempDir,
    pub(crate) address: SocketAddr,
}

impl Place {
    pub(crate) fn new() -> Result<Place> {
        let directory = tempfile::tempdir().context("create a directory for a server")?;
        Ok(Place { directory, address: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)) })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    fn log(&self) -> PathBuf {
        self.path().join("log")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Starts it with its output in a log, and waits until it listens.
    pub(crate) fn start(&self, command: &mut Command) -> Result<Tree> {
        let log = fs::File::create(self.log()).context("create a log")?;
        command.stdout(log.try_clone().context("share the log")?).stderr(log).stdin(Stdio::null());
        let name =
            Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut tree = Tree(command.spawn().with_context(|| format!("start {name}"))?);
        let end = Instant::now() + START;
        while let Err(error) = TcpStream::connect(self.address) {
            let ended = tree.0.try_wait().with_context(|| format!("ask whether {name} runs"))?;
            if ended.is_some() || Instant::now() > end {
                bail!("{name} takes no connections ({error}), ended: {ended:?}; it said:\n{}", self.said());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(tree)
    }
}
