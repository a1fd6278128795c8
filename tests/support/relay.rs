//! A relay in front of a bridge that resets connections in the middle of a response.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The responses to cut: after how many bytes of one connection, in this order.
type Cuts = Arc<Mutex<VecDeque<usize>>>;

pub struct Relay {
    pub port: u16,
    cuts: Cuts,
    all: Arc<Notify>,
}

impl Relay {
    /// Listens on a port of its own, and forwards to `target`.
    pub async fn start(target: u16, cuts: &[usize]) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let cuts: Cuts = Arc::new(Mutex::new(cuts.iter().copied().collect()));
        let all = Arc::new(Notify::new());
        let (of_all, notified) = (Arc::clone(&cuts), Arc::clone(&all));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, target, Arc::clone(&of_all), Arc::clone(&notified)));
            }
        });
        Relay { port, cuts, all }
    }

    /// Cuts the connection that carries the next byte of a response.
    pub fn cut(&self) {
        self.cuts.lock().expect("nobody has panicked").push_back(1);
    }

    /// Cuts every connection that there is.
    pub fn cut_all(&self) {
        self.all.notify_waiters();
    }

    /// Cuts connections after so many bytes of a response, in this order.
    pub fn cut_after(&self, bytes: &[usize]) {
        self.cuts.lock().expect("nobody has panicked").extend(bytes);
    }

    /// How many cuts are still to come.
    pub fn left(&self) -> usize {
        self.cuts.lock().expect("nobody has panicked").len()
    }
}

async fn relay(mut client: TcpStream, target: u16, cuts: Cuts, all: Arc<Notify>) -> io::Result<()> {
    let mut bridge = TcpStream::connect(("127.0.0.1", target)).await?;
    let (mut answers, mut asks) = bridge.split();
    let (mut from_client, mut to_client) = client.split();
    let is_cut = tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut asks) => false,
        is_cut = carry(&mut answers, &mut to_client, &cuts) => is_cut?,
        () = all.notified() => true,
    };
    if is_cut {
        client.set_zero_linger()?;
        bridge.set_zero_linger()?;
    }
    Ok(())
}

/// Forwards a response. Returns whether it is to be cut.
async fn carry(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    cuts: &Cuts,
) -> io::Result<bool> {
    let (mut piece, mut carried) = (vec![0; 16 * 1024], 0);
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(false);
        }
        let due = {
            let mut cuts = cuts.lock().expect("nobody has panicked");
            let is_due = cuts.front().is_some_and(|at| *at <= carried + count);
            if is_due { cuts.pop_front() } else { None }
        };
        let count = due.map_or(count, |at| at.saturating_sub(carried).clamp(1, count));
        to.write_all(&piece[..count]).await?;
        carried += count;
        if due.is_some() {
            return Ok(true);
        }
    }
}
