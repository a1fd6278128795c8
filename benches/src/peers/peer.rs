//! One of the servers: how it is started, gets events, and is read.

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
use crate::wire::Transport;

/// Partitions of the topics that the peers with Kafka read.
pub(crate) const PARTITIONS: i32 = 12;

/// The timeout from a server's start until it accepts connections.
const START: Duration = Duration::from_secs(60);

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// What its name does not show: its guarantees, and its configuration.
    pub(crate) note: &'static str,
    /// The most clients that it can be measured with.
    pub(crate) most_clients: usize,
    /// Whether it has a line in the plot, and figures of memory.
    pub(crate) curve: bool,
    pub(crate) start: fn(&Stage) -> Result<Running>,
    /// The folder that `cargo xtask peers` has filled, if the server must be installed.
    pub(crate) folder: Option<&'static str>,
}

impl Peer {
    /// The installed version, or why the server cannot be measured.
    pub(crate) fn version(&self, stage: &Stage) -> Result<String, String> {
        let Some(folder) = self.folder else { return Ok(env!("CARGO_PKG_VERSION").to_owned()) };
        let file = stage.installed(folder).join("VERSION");
        let missing =
            |_| format!("not installed in {}: `cargo xtask peers`", stage.installed(folder).display());
        fs::read_to_string(file).map(|version| version.trim().to_owned()).map_err(missing)
    }
}

/// What all servers share.
pub(crate) struct Stage {
    pub(crate) kafka: Kafka,
    /// Tailrace's binary.
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) topics: Cell<u32>,
    /// Tailrace's bytes for a delivery of a single event, and of one in a burst.
    pub(crate) frame_bytes: Cell<[usize; 2]>,
}

impl Stage {
    pub(crate) fn installed(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new name for a topic.
    pub(crate) fn topic_name(&self) -> String {
        self.topics.set(self.topics.get() + 1);
        format!("tailrace-peers-{}-{}", std::process::id(), self.topics.get())
    }
}

/// A running server. What it needs is dropped after it: fields are dropped in this order.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// How clients connect to it.
    pub(crate) transport: Transport,
    /// The path of its stream.
    pub(crate) path: String,
    pub(crate) publish: Box<dyn Publish>,
    /// Deleted from Kafka when the server has ended.
    pub(crate) _topic: Option<crate::producer::Topic>,
    pub(crate) place: Option<Place>,
}

pub(crate) enum Process {
    Tree(Tree),
    Ours(Server),
    /// The proxy, and ours behind it.
    Behind(Tree, Server),
}

impl Running {
    /// The roots of all its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        match &self.process {
            Process::Tree(tree) => vec![tree.0.id()],
            Process::Ours(server) => vec![server.pid()],
            Process::Behind(proxy, server) => vec![proxy.0.id(), server.pid()],
        }
    }

    /// Its log.
    pub(crate) fn said(&self) -> String {
        match (&self.process, &self.place) {
            (Process::Ours(server), _) => server.said(),
            (Process::Behind(_, server), Some(place)) => format!("{}\n{}", server.said(), place.said()),
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

    /// Starts a server with its output in a log, and waits until it listens.
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
