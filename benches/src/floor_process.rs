//! The floor as a process of its own, so that its CPU time can be measured.

use std::env::current_exe;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::pace::Pace;
use crate::process::Ending;

pub(crate) struct FloorProcess {
    process: Ending,
    told: ChildStdin,
    said: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

/// The clients that get an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum To {
    /// All of the first clients, of this number.
    All(usize),
    /// One of them, in turn.
    Each(usize),
}

impl To {
    /// The deliveries of one event.
    pub(crate) fn copies(self) -> u64 {
        match self {
            To::All(clients) => clients as u64,
            To::Each(_) => 1,
        }
    }
}

impl FloorProcess {
    pub(crate) fn start() -> Result<FloorProcess> {
        let mut command = Command::new(current_exe().context("find this program")?);
        let mut child = command
            .arg("floor")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the floor")?;
        let told = child.stdin.take().context("the floor's input is piped")?;
        let said = BufReader::new(child.stdout.take().context("the floor's output is piped")?);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut floor = FloorProcess { process: Ending(child), told, said, address };
        let port = u16::try_from(floor.number()?).context("read the floor's port")?;
        floor.address.set_port(port);
        Ok(floor)
    }

    /// Sets the bytes that the floor sends for a burst.
    pub(crate) fn frame(&mut self, bytes: &[u8]) -> Result<()> {
        let line = format!("frame {}\n", bytes.len());
        self.tell(&[line.as_bytes(), bytes].concat())
    }

    /// Sets how many bytes the floor sends to each new client.
    pub(crate) fn greet(&mut self, bytes: usize) -> Result<()> {
        self.tell(format!("greet {bytes}\n").as_bytes())
    }

    /// Begins to send.
    pub(crate) fn send(&mut self, pace: Pace, to: To, time: Duration) -> Result<()> {
        let Pace { rate, burst } = pace;
        let (sockets, word) = match to {
            To::All(sockets) => (sockets, "all"),
            To::Each(sockets) => (sockets, "each"),
        };
        self.tell(format!("send {rate} {burst} {} {sockets} {word}\n", time.as_millis()).as_bytes())
    }

    /// Whether the floor has sent everything.
    pub(crate) fn has_sent(&self) -> Result<bool> {
        // The floor prints one number for each command, so the buffer is empty before.
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(self.said.get_ref(), PollFlags::IN)], Some(&now));
        Ok(ready.context("look whether the floor has said something")? > 0)
    }

    /// Waits until the floor has sent everything. Returns the number of events.
    pub(crate) fn sent(&mut self) -> Result<u64> {
        self.number()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    fn tell(&mut self, bytes: &[u8]) -> Result<()> {
        self.told.write_all(bytes).and_then(|()| self.told.flush()).context("tell the floor")
    }

    fn number(&mut self) -> Result<u64> {
        let mut line = String::new();
        self.said.read_line(&mut line).context("read from the floor")?;
        line.trim().parse().with_context(|| format!("the floor said {line:?}"))
    }
}
