//! A tenant that tries ten times what it may, on a thread of its own: it opens streams, lets them replay for nothing, reads them
//! slowly, and comes back at once, whatever it was told.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::net::sockopt::set_socket_recv_buffer_size;

/// Streams that it wants to have open.
pub(crate) const STREAMS: usize = 200;
/// Attempts to open one, per second.
pub(crate) const CONNECTS: u32 = 50;
/// How often sockets are looked at.
const LOOK: Duration = Duration::from_millis(5);
/// The receive buffer of a stream that is read slowly, and how much of it is read in one look, in bytes.
const SMALL: usize = 4_096;
const SIP: usize = 8;
/// The most bytes of an answer that are looked through for an error.
const ANSWER: usize = 4_096;

/// A stream's behavior, by the number of its place.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Replays everything with a filter that matches nothing.
    ReplaysForNothing,
    /// Replays everything, and hardly reads.
    ReadsSlowly,
    /// Ends its stream at the first byte, and comes back at once with the last id that it knows.
    ComesBack,
    /// Reads what comes.
    Reads,
}

const KINDS: [Kind; 4] = [Kind::ReplaysForNothing, Kind::ReadsSlowly, Kind::ComesBack, Kind::Reads];

/// What it tried, and what it got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tried {
    pub(crate) attempts: u64,
    /// Attempts that were answered with 429.
    pub(crate) refused: u64,
    /// Attempts and streams that were ended by a `tailrace.error`.
    pub(crate) ended: u64,
    /// Attempts that gave a stream.
    pub(crate) opened: u64,
    /// The most streams at a time.
    pub(crate) most: u64,
    pub(crate) bytes: u64,
}

/// Attacks until it is stopped.
pub(crate) struct Hostile {
    go_on: Arc<AtomicBool>,
    thread: JoinHandle<Result<Tried>>,
}

impl Hostile {
    pub(crate) fn start(address: SocketAddr, tenant: String) -> Hostile {
        let go_on = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&go_on);
        let thread = std::thread::spawn(move || attack(address, &tenant, &flag));
        Hostile { go_on, thread }
    }

    /// Ends its streams.
    pub(crate) fn end(self) -> Result<Tried> {
        self.go_on.store(false, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the hostile tenant's thread has panicked"))?
    }
}

/// A place for a stream.
#[derive(Default)]
struct Place {
    socket: Option<TcpStream>,
    /// The beginning of the answer.
    answer: Vec<u8>,
    is_open: bool,
    last_id: String,
}

fn attack(address: SocketAddr, tenant: &str, go_on: &AtomicBool) -> Result<Tried> {
    let mut places: Vec<Place> = (0..STREAMS).map(|_| Place::default()).collect();
    let (mut tried, mut next, began) = (Tried::default(), 0, Instant::now());
    let mut buffer = vec![0; 64 * 1024];
    while go_on.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * f64::from(CONNECTS)) as u64;
        while tried.attempts < due && places.iter().any(|place| place.socket.is_none()) {
            while places[next % STREAMS].socket.is_some() {
                next += 1;
            }
            places[next % STREAMS].open(kind(next), address, tenant).context("attack")?;
            tried.attempts += 1;
            next += 1;
        }
        for (number, place) in places.iter_mut().enumerate() {
            place.look(kind(number), &mut buffer, &mut tried);
        }
        tried.most = tried.most.max(places.iter().filter(|place| place.is_open).count() as u64);
        sleep(LOOK);
    }
    Ok(tried)
}

fn kind(number: usize) -> Kind {
    KINDS[number % STREAMS % KINDS.len()]
}

impl Place {
    fn open(&mut self, kind: Kind, address: SocketAddr, tenant: &str) -> Result<()> {
        let mut socket = TcpStream::connect(address).context("connect")?;
        if kind == Kind::ReadsSlowly {
            set_socket_recv_buffer_size(&socket, SMALL).context("make a buffer small")?;
        }
        let query = match kind {
            Kind::ReplaysForNothing => "?from=earliest&where=value.user=nobody",
            Kind::ReadsSlowly => "?from=earliest",
            Kind::ComesBack | Kind::Reads => "",
        };
        let id = match &self.last_id[..] {
            "" => String::new(),
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        let request = format!("GET /t/{tenant}/events{query} HTTP/1.1\r\nHost: {address}\r\n{id}\r\n");
        socket.write_all(request.as_bytes()).context("ask for a stream")?;
        socket.set_nonblocking(true).context("do not wait for a socket")?;
        (self.socket, self.is_open) = (Some(socket), false);
        self.answer.clear();
        Ok(())
    }

    /// Reads what is there, as far as this kind reads.
    fn look(&mut self, kind: Kind, buffer: &mut [u8], tried: &mut Tried) {
        let Some(socket) = &mut self.socket else { return };
        let most = if kind == Kind::ReadsSlowly && self.is_open { SIP } else { buffer.len() };
        let count = match socket.read(&mut buffer[..most]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Ok(0) | Err(_) => return self.close(),
            Ok(count) => count,
        };
        tried.bytes += count as u64;
        if self.answer.len() < ANSWER {
            self.answer.extend_from_slice(&buffer[..count]);
        }
        let text = String::from_utf8_lossy(&self.answer);
        if text.starts_with("HTTP/1.1 429") {
            tried.refused += 1;
            return self.close();
        }
        if text.contains("event: tailrace.error") || contains(&buffer[..count], b"event: tailrace.error") {
            tried.ended += 1;
            return self.close();
        }
        let is_first_block = text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.contains("\nid: "));
        if !self.is_open && is_first_block {
            self.is_open = true;
            tried.opened += 1;
            if kind == Kind::ComesBack {
                let id = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap_or_default();
                self.last_id = id.trim_end().to_owned();
                self.close();
            }
        }
    }

    fn close(&mut self) {
        (self.socket, self.is_open) = (None, false);
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}
