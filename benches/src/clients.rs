//! Clients on one thread: one epoll, non-blocking sockets, one buffer, no allocation per event.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::coded::Coded;
use crate::histogram::Histogram;
use crate::http2;
use crate::payload::{Scan, now_us};
use crate::wire::{Transport, Wire};

/// The most sockets that one call reports.
const EVENTS: usize = 1024;

/// The most bytes of one read; the rest waits for the next round.
const BUFFER: usize = 256 * 1024;

/// The longest wait in epoll, so that the condition is checked again.
const LOOK: Duration = Duration::from_millis(20);

/// New connections per second: ten thousand clients connect within one second.
pub(crate) const CONNECTS: u32 = 10_000;
/// Connections that are begun before those that stand are served: finding a port takes long while most are in TIME-WAIT, and a
/// server closes connections on which no request comes.
const CONNECTS_AT_ONCE: usize = 64;

/// How often those that share connections give a sign of life: a server closes a connection that is silent for long.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// The timeout until all clients have a stream.
const GREETED: Duration = Duration::from_secs(60);

/// See [`Clients::decoding`].
const DECODED: usize = 20;

/// The event at which a stream becomes live. No proper suffix of it is a prefix of it, so it can be searched byte by byte.
const SYNCED: &[u8] = b"tailrace.synced";

pub(crate) struct Clients {
    epoll: OwnedFd,
    address: SocketAddr,
    transport: Transport,
    /// How many clients share a connection, over HTTP/2; 1: none, over HTTP/1.1.
    shared_by: usize,
    /// When those that share connections last gave a sign of life.
    alive: Instant,
    request: Box<dyn Fn(usize) -> String + Send>,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    /// The reads of the first client, while they are wanted.
    capture: Option<Vec<Vec<u8>>>,
    is_tracked: bool,
    /// Whether bodies are compressed.
    is_decoding: bool,
    pub(crate) seen: Seen,
}

/// One client, or several that share a connection.
struct Client {
    socket: TcpStream,
    wire: Wire,
    phase: Phase,
    scan: Scan,
    /// How many bytes of [`SYNCED`] have matched, and how often all of it was found.
    matched: u8,
    synced: u16,
    /// How many share the connection.
    streams: u16,
    /// When the events were sent that it has received, in their order, if that is wanted.
    received: Option<Vec<u64>>,
    /// For a compressed body.
    coded: Option<Box<Coded>>,
    /// For how many clients its deliveries count; zero: they are not looked at.
    weight: u16,
}

#[derive(PartialEq)]
enum Phase {
    Connects,
    /// The request is sent.
    Asks,
    /// The response has the status 200, or the one of a WebSocket.
    Reads,
}

/// What all clients together have received.
pub(crate) struct Seen {
    /// Events, each counted for each client that got it.
    pub(crate) deliveries: u64,
    pub(crate) bytes: u64,
    pub(crate) latencies: Histogram,
    /// Clients with a stream.
    pub(crate) greeted: usize,
    /// Clients whose stream has become live.
    pub(crate) synced: usize,
    /// Clients whose connection goes on with the keys of an earlier one.
    pub(crate) resumed: usize,
}

impl Clients {
    /// No clients yet. `request` returns the path of each client, and additional header lines, if any.
    pub(crate) fn new(
        address: SocketAddr,
        request: impl Fn(usize) -> String + Send + 'static,
    ) -> Result<Clients> {
        Ok(Clients {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("create an epoll")?,
            address,
            transport: Transport::Plain,
            shared_by: 1,
            alive: Instant::now(),
            request: Box::new(request),
            clients: Vec::new(),
            buffer: vec![0; BUFFER],
            capture: None,
            is_tracked: false,
            is_decoding: false,
            seen: Seen {
                deliveries: 0,
                bytes: 0,
                latencies: Histogram::new(),
                greeted: 0,
                synced: 0,
                resumed: 0,
            },
        })
    }

    /// Connects `count` clients and waits until each of them has its stream.
    pub(crate) fn connect(
        address: SocketAddr,
        count: usize,
        request: impl Fn(usize) -> String + Send + 'static,
    ) -> Result<Clients> {
        Clients::new(address, request)?.greeted(count)
    }

    /// New connections are of that kind.
    pub(crate) fn over(self, transport: Transport) -> Clients {
        Clients { transport, ..self }
    }

    /// The bodies of new connections are compressed. One of [`DECODED`] is decoded, and stands for all of these: decoding all would take
    /// as much CPU as the server does, from the same machine.
    pub(crate) fn decoding(self) -> Clients {
        Clients { is_decoding: true, ..self }
    }

    /// So many clients share a connection over HTTP/2.
    pub(crate) fn sharing(self, shared_by: usize) -> Clients {
        Clients { shared_by, ..self }
    }

    /// Connects `count` clients and waits until each of them has its stream.
    pub(crate) fn greeted(mut self, count: usize) -> Result<Clients> {
        self.add(count)?;
        if !self.run_until(GREETED, |seen| seen.greeted == count)? {
            bail!("{} of {count} clients have a stream after {GREETED:?}", self.seen.greeted);
        }
        Ok(self)
    }

    /// Connects `count` more clients, [`CONNECTS`] per second, and reads meanwhile.
    pub(crate) fn add(&mut self, count: usize) -> Result<()> {
        let count = count / self.shared_by;
        let (begin, old) = (Instant::now(), self.clients.len());
        let mut events = Vec::with_capacity(EVENTS);
        while self.clients.len() < old + count {
            let due = (begin.elapsed().as_secs_f64() * f64::from(CONNECTS)) as usize / self.shared_by + 1;
            let next = self.clients.len() + CONNECTS_AT_ONCE;
            for _ in self.clients.len()..next.min(old + due.min(count)) {
                let index = self.clients.len();
                self.open().with_context(|| format!("connect client {index}"))?;
            }
            self.round(&mut events, Duration::from_millis(1))?;
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len() * self.shared_by
    }

    fn open(&mut self) -> Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match connect(&socket, &self.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let data = epoll::EventData::new_u64(self.clients.len() as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::OUT)?;
        let wire = self.transport.wire()?;
        let (phase, scan) = (Phase::Connects, Scan::default());
        let received = self.is_tracked.then(Vec::new);
        let (matched, synced, streams) = (0, 0, self.shared_by as u16);
        let weight = match self.clients.len() % DECODED {
            _ if !self.is_decoding => 1,
            0 => DECODED as u16,
            _ => 0,
        };
        self.clients.push(Client {
            socket: socket.into(),
            wire,
            phase,
            scan,
            matched,
            synced,
            streams,
            received,
            coded: (weight > 1).then(Box::default),
            weight,
        });
        Ok(())
    }

    /// Notes each event of the clients that connect from now on.
    pub(crate) fn track(&mut self) {
        self.is_tracked = true;
    }

    /// When the events were sent that each client has received, in the order in which it received them.
    pub(crate) fn received(&self) -> impl Iterator<Item = &[u64]> {
        self.clients.iter().map(|client| client.received.as_deref().unwrap_or_default())
    }

    /// From now on, keeps the reads of the first client.
    pub(crate) fn capture(&mut self) {
        self.capture = Some(Vec::new());
    }

    /// The reads of the first client since [`Clients::capture`].
    pub(crate) fn captured(&mut self) -> Vec<Vec<u8>> {
        self.capture.take().unwrap_or_default()
    }

    /// Reads for as long as `time`.
    pub(crate) fn run(&mut self, time: Duration) -> Result<()> {
        self.run_until(time, |_| false).map(drop)
    }

    /// Reads until `done` holds, at most for `limit`. Returns whether it holds.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Seen) -> bool) -> Result<bool> {
        let end = Instant::now() + limit;
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if done(&self.seen) {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
            self.round(&mut events, left.min(LOOK))?;
        }
    }

    /// Reads once from each socket that is ready. The events are a parameter, since the kernel fills them through pointers: the
    /// clients could not move to another thread with them.
    fn round(&mut self, events: &mut Vec<epoll::Event>, wait: Duration) -> Result<()> {
        if self.shared_by > 1 && self.alive.elapsed() >= ALIVE_EVERY {
            self.alive = Instant::now();
            let connected = self.clients.iter_mut().filter(|client| client.phase != Phase::Connects);
            for client in connected {
                client.wire.ask(&mut client.socket, http2::ALIVE).context("give a sign of life")?;
            }
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for sockets"),
        }
        for event in events.drain(..) {
            let index = event.data.u64() as usize;
            let client = &mut self.clients[index];
            if client.phase == Phase::Connects {
                if self.shared_by > 1 {
                    let requests = (index * self.shared_by..).take(self.shared_by).map(&self.request);
                    client.send(&http2::ask(&self.address.to_string(), requests))?;
                } else {
                    client.ask(&(self.request)(index), self.address)?;
                }
                epoll::modify(&self.epoll, &client.socket, event.data, epoll::EventFlags::IN)?;
                continue;
            }
            let bytes = client.read(&mut self.buffer, &mut self.seen)?;
            if let Some(capture) = self.capture.as_mut().filter(|_| index == 0 && !bytes.is_empty()) {
                capture.push(bytes.to_vec());
            }
        }
        Ok(())
    }
}

impl Client {
    fn ask(&mut self, request: &str, address: SocketAddr) -> Result<()> {
        let (path, headers) = request.split_once('\n').unwrap_or((request, ""));
        let text =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n{headers}\r\n");
        self.send(text.as_bytes())
    }

    fn send(&mut self, request: &[u8]) -> Result<()> {
        if let Some(error) = self.socket.take_error().context("look at a connection")? {
            return Err(error).context("connect");
        }
        self.wire.ask(&mut self.socket, request).context("ask for a stream")?;
        self.phase = Phase::Asks;
        Ok(())
    }

    /// Reads once; returns the bytes.
    fn read<'a>(&mut self, buffer: &'a mut [u8], seen: &mut Seen) -> Result<&'a [u8]> {
        let bytes = match self.wire.read(&mut self.socket, buffer) {
            Ok(0) => bail!("the server has closed a stream"),
            Ok(count) => &buffer[..count],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(&[]);
            }
            Err(error) => return Err(error).context("read a stream"),
        };
        let is_shared = self.streams > 1;
        if self.phase == Phase::Asks && !is_shared {
            if !bytes.starts_with(b"HTTP/1.1 200") && !bytes.starts_with(b"HTTP/1.1 101") {
                bail!("a client got no stream: {}", String::from_utf8_lossy(bytes));
            }
            self.phase = Phase::Reads;
            seen.greeted += 1;
            seen.resumed += usize::from(self.wire.is_resumed());
        }
        seen.bytes += bytes.len() as u64;
        if self.weight == 0 {
            return Ok(bytes);
        }
        // One time for the whole read: its events have arrived together.
        let now = now_us();
        let content = self.coded.as_mut().map_or(bytes, |coded| coded.take(bytes));
        self.scan.feed(content, |sent| {
            seen.deliveries += u64::from(self.weight);
            seen.latencies.add(now.saturating_sub(sent));
            if let Some(received) = &mut self.received {
                received.push(sent);
            }
        });
        if self.synced < self.streams {
            let new = newly_synced(&mut self.matched, &mut self.synced, content);
            seen.synced += new;
            // What comes before is not read: that all are live says that all have a stream.
            seen.greeted += if is_shared { new } else { 0 };
        }
        Ok(bytes)
    }
}

/// How many of the streams have become live with these bytes.
fn newly_synced(matched: &mut u8, synced: &mut u16, bytes: &[u8]) -> usize {
    let before = *synced;
    for byte in bytes {
        let next = if *byte == SYNCED[usize::from(*matched)] { *matched + 1 } else { 0 };
        *matched = if next == 0 { u8::from(*byte == SYNCED[0]) } else { next };
        if usize::from(*matched) == SYNCED.len() {
            (*matched, *synced) = (0, *synced + 1);
        }
    }
    usize::from(*synced - before)
}
