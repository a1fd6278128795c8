//! The real `tailrace` as a process.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::process::Ending;

/// The timeout from start to ready.
const START: Duration = Duration::from_secs(60);

/// The timeout from the signal to the end; then the process is killed.
const STOP: Duration = Duration::from_secs(2);

/// A setting's variable and value.
pub(crate) type Setting<'a> = (&'a str, &'a str);

pub(crate) struct Server {
    process: Ending,
    admin: SocketAddr,
    log: NamedTempFile,
    pub(crate) address: SocketAddr,
}

/// A port that was free just now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("bind a port")?;
    Ok(listener.local_addr().context("read the port")?.port())
}

impl Server {
    /// Starts the server for one topic, with tenants by header and the given settings, and waits until it is ready.
    pub(crate) fn start(
        program: &Path,
        bootstrap: &str,
        topic: &str,
        settings: &[Setting<'_>],
    ) -> Result<Server> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let log = NamedTempFile::new().context("create the server's log")?;
        let mut command = Command::new(program);
        // Settings in the environment of this program must not affect the measurement.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"TAILRACE_"))
        {
            command.env_remove(name);
        }
        command.envs([
            ("TAILRACE_KAFKA_BOOTSTRAP_SERVERS", bootstrap),
            ("TAILRACE_TOPICS", topic),
            ("TAILRACE_TENANT_FROM", "header:tenant"),
            ("TAILRACE_AUTH", "none"),
            ("TAILRACE_LISTEN", &address.to_string()),
            ("TAILRACE_ADMIN_LISTEN", &admin.to_string()),
            ("TAILRACE_INSTANCE", topic),
            ("TAILRACE_MAX_STREAMS_PER_TENANT", "0"),
            ("TAILRACE_DRAIN_DELAY", "0s"),
            // The clients here do not react to a drain.
            ("TAILRACE_DRAIN_TIMEOUT", "500ms"),
        ]);
        command.envs(settings.iter().copied());
        let output = log.reopen().context("open the server's log")?;
        command
            .stdout(output.try_clone().context("share the server's log")?)
            .stderr(output)
            .stdin(Stdio::null());
        let process =
            Ending(command.spawn().with_context(|| format!("start {}: is it built?", program.display()))?);
        let mut server = Server { process, admin, log, address };
        server.ready()?;
        Ok(server)
    }

    fn ready(&mut self) -> Result<()> {
        let end = Instant::now() + START;
        while !is_ready(self.admin) {
            let ended = self.process.0.try_wait().context("ask whether the server runs")?;
            if ended.is_some() || Instant::now() > end {
                bail!("the server is not ready, ended: {ended:?}\n{}", self.said());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The sum of a metric over all its labels; zero if the server has no metric of that name.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        self.metric_of(name, "")
    }

    /// As [`Server::metric`], of those with this label, as in `limit="max_streams"`.
    pub(crate) fn metric_of(&self, name: &str, label: &str) -> Result<f64> {
        let answer = get(self.admin, "/metrics").context("ask for the server's metrics")?;
        let lines = answer
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| line.contains(label));
        Ok(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    /// Its log.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Terminates the server, so that it deletes its consumer group in Kafka.
    pub(crate) fn stop(mut self) {
        if let Some(pid) = Pid::from_raw(self.pid().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let end = Instant::now() + STOP;
        while matches!(self.process.0.try_wait(), Ok(None)) && Instant::now() < end {
            sleep(Duration::from_millis(50));
        }
    }
}

fn is_ready(admin: SocketAddr) -> bool {
    get(admin, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Requests an admin endpoint; returns head and body.
fn get(admin: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(admin)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}
