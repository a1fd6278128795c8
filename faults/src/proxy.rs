//! A TCP proxy between a broker and the clients that come by its second listener: delay, a limit of throughput, stalls,
//! resets in the middle of an answer, and connections that are half open.

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
    let mut broker = TcpStream::connect(("127.0.0.1", target)).await?;
    let number = shared.opened.fetch_add(1, Ordering::Relaxed);
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let (client_end, broker_end) = (client.split(), broker.split());
    let there = Way { number, shared: shared.clone(), is_answer: false };
    let back = Way { number, shared: shared.clone(), is_answer: true };
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
