//! A TCP proxy between a broker and the clients of its second listener: delays, a limit of throughput, stalls, resets in the
//! middle of a response, and half-open connections.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, sleep_until};

/// The most bytes of one piece.
const PIECE: usize = 16 * 1024;
/// The most pieces under way, in each direction of each connection: with the size of a piece, this limits the memory that a
/// delay needs.
const UNDER_WAY: usize = 256;
/// How many milliseconds a lost piece takes until it is sent again.
const RESENT: std::ops::Range<u64> = 200..1_000;
/// How long a half-open connection is held.
const HELD: Duration = Duration::from_secs(600);

/// The state of the network. The default lets everything through.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// The delay of each piece, in each direction.
    pub delay: Duration,
    /// Bytes per second, in each direction of each connection.
    pub rate: Option<u64>,
    /// How many of 1,000 pieces are lost and sent again: the pieces after them wait.
    pub loss: u32,
    /// A connection is reset after a random number of response bytes, at most this many.
    pub reset_within: Option<u64>,
    /// Requests with these API keys get no response; all others do.
    pub mutes: &'static [u16],
    /// New connections are closed at once.
    pub is_shut: bool,
    /// Metadata responses name no broker, like those of a broker that has fenced itself for a moment.
    pub hides_brokers: bool,
}

/// The API key of a fetch.
pub const FETCH: &[u16] = &[1];
/// The API keys of all requests to a group's coordinator: commit and fetch offsets, find the coordinator, join, heartbeat,
/// leave, sync, describe, delete.
pub const GROUPS: &[u16] = &[8, 9, 10, 11, 12, 13, 14, 15, 42];

/// The API key of a metadata request, and the version from which on lengths are varints.
const METADATA: u16 = 3;
const FLEXIBLE: u16 = 9;

/// The metadata requests of one connection, by correlation id.
type Asked = Arc<Mutex<HashSet<[u8; 4]>>>;

/// Separates requests: each begins with its length in four bytes, its API key and version in two bytes each, and its
/// correlation id in four.
#[derive(Debug, Default)]
struct Requests {
    /// The bytes of a request whose head is not complete yet.
    head: Vec<u8>,
    /// The bytes that remain of the current request.
    left: usize,
    is_dropped: bool,
    asked: Asked,
}

impl Requests {
    /// The bytes of a piece to forward, without the requests with these API keys.
    fn pass(&mut self, piece: &[u8], dropped: &[u16]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        let mut rest = piece;
        while !rest.is_empty() {
            if self.left == 0 {
                let missing = HEAD.saturating_sub(self.head.len()).min(rest.len());
                self.head.extend_from_slice(&rest[..missing]);
                rest = &rest[missing..];
                let Ok([l0, l1, l2, l3, n0, n1, v0, v1, id @ ..]) = <[u8; HEAD]>::try_from(&*self.head)
                else {
                    continue;
                };
                self.left = u32::from_be_bytes([l0, l1, l2, l3]) as usize + 4 - HEAD;
                let (number, version) = (u16::from_be_bytes([n0, n1]), u16::from_be_bytes([v0, v1]));
                self.is_dropped = dropped.contains(&number);
                if number == METADATA && version >= FLEXIBLE {
                    self.asked.lock().insert(id);
                }
                if !self.is_dropped {
                    out.extend_from_slice(&self.head);
                }
                self.head.clear();
            }
            let count = self.left.min(rest.len());
            if !self.is_dropped {
                out.extend_from_slice(&rest[..count]);
            }
            self.left -= count;
            rest = &rest[count..];
        }
        out
    }
}

/// The bytes of a request that are parsed.
const HEAD: usize = 12;

/// Separates responses: each begins with its length in four bytes, then its correlation id.
#[derive(Debug, Default)]
struct Answers {
    held: Vec<u8>,
    asked: Asked,
}

impl Answers {
    /// The bytes to forward: whole responses; if brokers are hidden, metadata responses without their brokers.
    fn pass(&mut self, piece: &[u8], hides_brokers: bool) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let mut out = Vec::new();
        while let Some(length) = self.held.first_chunk::<4>() {
            let end = 4 + u32::from_be_bytes(*length) as usize;
            if self.held.len() < end {
                break;
            }
            let rest = self.held.split_off(end);
            let answer = std::mem::replace(&mut self.held, rest);
            let is_of_cluster = answer[4..].first_chunk::<4>().is_some_and(|id| self.asked.lock().remove(id));
            let hidden = (is_of_cluster && hides_brokers).then(|| without_brokers(&answer)).flatten();
            out.extend(hidden.unwrap_or(answer));
        }
        out
    }
}

/// The metadata response without brokers, for a version with varints: length, correlation id, no tags, throttle time in four
/// bytes; the brokers (id, host, port, rack, tags), the cluster's id, and the controller in four bytes.
fn without_brokers(answer: &[u8]) -> Option<Vec<u8>> {
    const BEFORE: usize = 4 + 4 + 1 + 4;
    let mut rest = answer.get(BEFORE..)?;
    let count = varint(&mut rest)?.checked_sub(1)?;
    for _ in 0..count {
        rest = rest.get(4..)?;
        skip_text(&mut rest)?;
        rest = rest.get(4..)?;
        skip_text(&mut rest)?;
        (varint(&mut rest)? == 0).then_some(())?;
    }
    let cluster = rest;
    skip_text(&mut rest)?;
    let name = &cluster[..cluster.len() - rest.len()];
    let nobody = (-1_i32).to_be_bytes();
    let body = [&answer[4..BEFORE], &[1], name, &nobody, rest.get(4..)?].concat();
    Some([&(body.len() as u32).to_be_bytes()[..], &body].concat())
}

/// Kafka's unsigned varint: seven bits per byte, the lowest first.
fn varint(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let (byte, more) = rest.split_first()?;
        *rest = more;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A text: its length plus one, or zero for null; then its bytes.
fn skip_text(rest: &mut &[u8]) -> Option<()> {
    let length = varint(rest)?.saturating_sub(1);
    *rest = rest.get(length..)?;
    Some(())
}

/// Listens in place of a broker.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    weather: Mutex<Weather>,
    /// Connections with a lower number are half-open.
    dead: AtomicU64,
    opened: AtomicU64,
    resets: AtomicU64,
}

impl Proxy {
    /// Listens on a port of its own, and forwards to `target`.
    pub async fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared::default());
        tokio::spawn(accept(listener, target, shared.clone()));
        Proxy { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, weather: Weather) {
        *self.shared.weather.lock() = weather;
    }

    /// From now on, all open connections accept bytes but do not forward them, and neither side gets an error. New connections
    /// work.
    pub fn half_open(&self) {
        self.shared.dead.store(self.shared.opened.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The number of connections that were reset so far.
    pub fn resets(&self) -> u64 {
        self.shared.resets.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, target: u16, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(connect(client, target, shared.clone()));
    }
}

async fn connect(mut client: TcpStream, target: u16, shared: Arc<Shared>) -> io::Result<()> {
    if shared.weather.lock().is_shut {
        return Ok(());
    }
    let mut broker = TcpStream::connect(("127.0.0.1", target)).await?;
    let number = shared.opened.fetch_add(1, Ordering::Relaxed);
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let (client_end, broker_end) = (client.split(), broker.split());
    let asked = Asked::default();
    let there = Way { number, shared: shared.clone(), is_answer: false, asked: asked.clone() };
    let back = Way { number, shared: shared.clone(), is_answer: true, asked };
    let ended = tokio::select! {
        ended = there.carry(client_end.0, broker_end.1) => ended,
        ended = back.carry(broker_end.0, client_end.1) => ended,
    };
    if ended.is_err() {
        shared.resets.fetch_add(1, Ordering::Relaxed);
        let _ = (client.set_zero_linger(), broker.set_zero_linger());
    }
    Ok(())
}

/// One direction of one connection.
struct Way {
    number: u64,
    shared: Arc<Shared>,
    is_answer: bool,
    asked: Asked,
}

impl Way {
    /// Forwards until one side closes the connection; a reset is an error.
    async fn carry(self, from: impl AsyncReadExt + Unpin, to: impl AsyncWriteExt + Unpin) -> io::Result<()> {
        let (sender, receiver) = channel(UNDER_WAY);
        let writing = self.write(receiver, to);
        tokio::pin!(writing);
        tokio::select! {
            ended = &mut writing => ended,
            // Bytes that were read before the end are still forwarded.
            ended = read(from, sender) => writing.await.and(ended),
        }
    }

    async fn write(
        &self,
        mut pieces: Receiver<(Instant, Vec<u8>)>,
        mut to: impl AsyncWriteExt + Unpin,
    ) -> io::Result<()> {
        let mut random = StdRng::seed_from_u64(self.number * 2 + u64::from(self.is_answer));
        let mut left: Option<u64> = None;
        let mut requests = Requests { asked: self.asked.clone(), ..Requests::default() };
        let mut answers = Answers { asked: self.asked.clone(), ..Answers::default() };
        while let Some((came, mut piece)) = pieces.recv().await {
            let weather = self.shared.weather.lock().clone();
            sleep_until(came + weather.delay).await;
            if random.random_range(0..1_000) < weather.loss {
                sleep(Duration::from_millis(random.random_range(RESENT))).await;
            }
            if let Some(rate) = weather.rate {
                sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64)).await;
            }
            if self.number < self.shared.dead.load(Ordering::Relaxed) {
                sleep(HELD).await;
                return Ok(());
            }
            piece = match self.is_answer {
                true => answers.pass(&piece, weather.hides_brokers),
                false => requests.pass(&piece, weather.mutes),
            };
            if let (Some(within), true) = (weather.reset_within, self.is_answer) {
                let rest = left.get_or_insert_with(|| random.random_range(1..within));
                if (piece.len() as u64) < *rest {
                    *rest -= piece.len() as u64;
                } else {
                    piece.truncate(*rest as usize);
                    to.write_all(&piece).await?;
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
            to.write_all(&piece).await?;
        }
        Ok(())
    }
}

async fn read(mut from: impl AsyncReadExt + Unpin, sender: Sender<(Instant, Vec<u8>)>) -> io::Result<()> {
    loop {
        let mut piece = vec![0; PIECE];
        let count = from.read(&mut piece).await?;
        piece.truncate(count);
        // After a reset, the pieces have no receiver.
        if count == 0 || sender.send((Instant::now(), piece)).await.is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fetches_are_dropped_wherever_pieces_end() {
        let request = |number: u8, body: &[u8]| {
            let mut bytes = (body.len() as u32 + 2).to_be_bytes().to_vec();
            bytes[3] += 6;
            bytes.extend([0, number, 0, 9, 0, 0, 0, number]);
            bytes.extend(body);
            bytes
        };
        let all = [
            request(3, b"metadata"),
            request(1, b"fetch"),
            request(2, b""),
            request(1, b""),
            request(18, b"x"),
        ];
        let kept = [all[0].clone(), all[2].clone(), all[4].clone()].concat();
        for size in 1..20 {
            let mut requests = Requests::default();
            let passed: Vec<u8> =
                all.concat().chunks(size).flat_map(|piece| requests.pass(piece, FETCH)).collect();
            assert_eq!(passed, kept, "in pieces of {size}");
        }
    }

    #[test]
    fn an_answer_about_the_cluster_loses_its_brokers_and_keeps_the_rest() {
        let head = [0, 0, 0, 7, 0, 0, 0, 0, 0];
        let broker = [&[0, 0, 0, 1, 3][..], b"ab", &[0, 0, 35, 132, 0, 0]].concat();
        let rest = [&[3][..], b"id", &[0, 0, 0, 1], b"topics"].concat();
        let framed = |body: Vec<u8>| [&(body.len() as u32).to_be_bytes()[..], &body].concat();
        let answer = framed([&head[..], &[3], &broker, &broker, &rest].concat());
        let hidden = framed([&head[..], &[1, 3], b"id", &[255; 4], b"topics"].concat());
        let other = framed(vec![0, 0, 0, 8, 1, 2, 3]);
        for size in 1..20 {
            let mut answers = Answers::default();
            answers.asked.lock().insert([0, 0, 0, 7]);
            let stream = [&other[..], &answer, &answer].concat();
            let passed: Vec<u8> = stream.chunks(size).flat_map(|piece| answers.pass(piece, true)).collect();
            // The second response belongs to no request.
            assert_eq!(passed, [&other[..], &hidden, &answer].concat(), "in pieces of {size}");
        }
    }
}
