//! All clients on one thread: one epoll, non-blocking sockets, one buffer, no allocation for an event.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::histogram::Histogram;
use crate::payload::{Scan, now_us};

/// Sockets told of by one call.
const EVENTS: usize = 1024;

/// Bytes read by one call; more waits for the next round.
const BUFFER: usize = 256 * 1024;

/// Longest wait in epoll, so that what is waited for is looked at again.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Clients {
    epoll: OwnedFd,
    clients: Vec<Client>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    pub(crate) seen: Seen,
}

struct Client {
    socket: TcpStream,
    greeted: bool,
    scan: Scan,
}

/// What all clients together have received.
pub(crate) struct Seen {
    /// Events, each counted for each client that got it.
    pub(crate) deliveries: u64,
    pub(crate) bytes: u64,
    pub(crate) latencies: Histogram,
    /// Clients that were answered with 200.
    greeted: usize,
}

impl Clients {
    /// Connects `count` clients and waits until each of them has its stream.
    pub(crate) fn connect(address: SocketAddr, path: &str, count: usize) -> Result<Clients> {
        let seen = Seen { deliveries: 0, bytes: 0, latencies: Histogram::new(), greeted: 0 };
        let mut all = Clients {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("create an epoll")?,
            clients: Vec::with_capacity(count),
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; BUFFER],
            seen,
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
        for index in 0..count {
            all.add(address, request.as_bytes()).with_context(|| format!("connect client {index}"))?;
        }
        if !all.run_until(Duration::from_secs(60), |seen| seen.greeted == count)? {
            bail!("{} of {count} clients have a stream after 60 s", all.seen.greeted);
        }
        Ok(all)
    }

    fn add(&mut self, address: SocketAddr, request: &[u8]) -> Result<()> {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(request)?;
        socket.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(self.clients.len() as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        self.clients.push(Client { socket, greeted: false, scan: Scan::default() });
        Ok(())
    }

    /// Reads for as long as `time`.
    pub(crate) fn run(&mut self, time: Duration) -> Result<()> {
        self.run_until(time, |_| false).map(drop)
    }

    /// Reads until `done` holds, at most for `limit`. Gives whether it holds.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Seen) -> bool) -> Result<bool> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if done(&self.seen) {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
            self.round(left.min(LOOK))?;
        }
    }

    fn round(&mut self, wait: Duration) -> Result<()> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for sockets"),
        }
        for event in &self.events {
            let index = event.data.u64() as usize;
            self.clients[index].read(&mut self.buffer, &mut self.seen)?;
        }
        Ok(())
    }
}

impl Client {
    fn read(&mut self, buffer: &mut [u8], seen: &mut Seen) -> Result<()> {
        let bytes = match self.socket.read(buffer) {
            Ok(0) => bail!("the server has closed a stream"),
            Ok(count) => &buffer[..count],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(error).context("read a stream"),
        };
        if !self.greeted {
            if !bytes.starts_with(b"HTTP/1.1 200") {
                bail!("a client got no stream: {}", String::from_utf8_lossy(bytes));
            }
            self.greeted = true;
            seen.greeted += 1;
        }
        seen.bytes += bytes.len() as u64;
        // Once for a read: what came together has arrived together.
        let now = now_us();
        self.scan.feed(bytes, |sent| {
            seen.deliveries += 1;
            seen.latencies.add(now.saturating_sub(sent));
        });
        Ok(())
    }
}
