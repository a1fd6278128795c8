//! A TCP proxy between a broker and the clients that come by its second listener: delay, a limit of throughput, stalls,
//! resets in the middle of an answer, and connections that are half open.

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

/// The most bytes that travel as one piece.
const PIECE: usize = 16 * 1024;
/// Pieces under way, each way of each connection: with the pieces' size, what a delay cannot make grow.
const UNDER_WAY: usize = 256;
/// How long a lost piece takes to be sent again.
const RESENT: std::ops::Range<u64> = 200..1_000;
/// A connection that nothing goes through any more is held for so long.
const HELD: Duration = Duration::from_secs(600);

/// What the way is like. The default lets everything through.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// What each piece takes longer, each way.
    pub delay: Duration,
    /// Bytes a second, each way of each connection.
    pub rate: Option<u64>,
    /// How many of 1,000 pieces are lost, and sent again: what follows waits for them.
    pub loss: u32,
    /// A connection is reset after so many bytes of answers, at random, at the most.
    pub reset_within: Option<u64>,
    /// Requests of these numbers get no answer; all others do.
    pub mutes: &'static [u16],
    /// New connections are closed at once.
    pub is_shut: bool,
    /// Answers about the cluster name no broker, as those of one that has fenced itself for a moment.
    pub hides_brokers: bool,
}

/// The number of a fetch among Kafka's requests.
pub const FETCH: &[u16] = &[1];
/// The numbers of all that a group's coordinator is asked: commits, offsets, where it is, to join, heartbeats, to leave, to
/// sync, descriptions, to delete.
pub const GROUPS: &[u16] = &[8, 9, 10, 11, 12, 13, 14, 15, 42];

/// The number of a question about the cluster among them, and the version from which on lengths are varints.
const METADATA: u16 = 3;
const FLEXIBLE: u16 = 9;

/// The questions about the cluster of one connection, by the number that their answers repeat.
type Asked = Arc<Mutex<HashSet<[u8; 4]>>>;

/// Tells requests apart: each is its length in four bytes, its number and its version in two each, and the number that its answer
/// repeats in four.
#[derive(Debug, Default)]
struct Requests {
    /// The beginning of a request that is not known yet.
    head: Vec<u8>,
    /// Bytes that are left of the request that is passing.
    left: usize,
    is_dropped: bool,
    asked: Asked,
}

impl Requests {
    /// What of a piece goes on, where requests of these numbers are dropped.
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

/// What is read of a request.
const HEAD: usize = 12;

/// Tells answers apart: each is its length in four bytes, then the number of its request.
#[derive(Debug, Default)]
struct Answers {
    held: Vec<u8>,
    asked: Asked,
}

impl Answers {
    /// What of a piece goes on: whole answers, those about the cluster without its brokers if they are to be hidden.
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

/// An answer about the cluster that names no broker, of a version with varints: length, number, no tags, throttling in four
/// bytes; the brokers (number, name, port, rack, tags), the cluster's name, and who controls it, in four bytes.
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

/// Kafka's unsigned varint: seven bits a byte, the lowest first.
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

/// Its length and one, or zero where there is none; then the text.
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
    /// Connections that were opened before the one of this number are half open.
    dead: AtomicU64,
    opened: AtomicU64,
    resets: AtomicU64,
}

impl Proxy {
    /// Listens on a port of its own, and leads to `target`.
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

    /// All connections that are open now take bytes and pass none on, and nobody is told. New ones are well.
    pub fn half_open(&self) {
        self.shared.dead.store(self.shared.opened.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// How many connections were reset so far.
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
    /// Until one side ends, or until it is reset: then an error.
    async fn carry(self, from: impl AsyncReadExt + Unpin, to: impl AsyncWriteExt + Unpin) -> io::Result<()> {
        let (sender, receiver) = channel(UNDER_WAY);
        let writing = self.write(receiver, to);
        tokio::pin!(writing);
        tokio::select! {
            ended = &mut writing => ended,
            // What was read before the end goes on.
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
        // Nobody takes pieces any more after a reset.
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
            // The second was not asked for.
            assert_eq!(passed, [&other[..], &hidden, &answer].concat(), "in pieces of {size}");
        }
    }
}
