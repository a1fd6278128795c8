//! The floor as a peer: one thread that writes its input to every socket, each burst in one write.

use std::env::current_exe;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write, stdin};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, Result, ensure};

use super::peer::{Peer, Process, Running, Stage};
use super::publish::Publish;
use super::tree::Tree;
use crate::payload::{now_us, write_event};
use crate::wire::Transport;

pub(crate) const PEER: Peer = Peer {
    name: "the floor",
    note: "one thread that writes the same bytes as Tailrace, and does nothing else",
    most_clients: usize::MAX,
    curve: true,
    start,
    folder: None,
};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

fn start(stage: &Stage) -> Result<Running> {
    let mut command = Command::new(current_exe().context("find this program")?);
    command.arg("peer-floor").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut tree = Tree(command.spawn().context("start the floor")?);
    let input = tree.0.stdin.take().context("the floor's input is piped")?;
    let mut port = String::new();
    let said = tree.0.stdout.take().context("the floor's output is piped")?;
    BufReader::new(said).read_line(&mut port).context("read the floor's port")?;
    let port = port.trim().parse::<u16>().context("read the floor's port")?;
    Ok(Running {
        transport: Transport::Plain,
        process: Process::Tree(tree),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        path: "/".to_owned(),
        publish: Box::new(Frames { input, bytes: stage.frame_bytes.get() }),
        _topic: None,
        place: None,
    })
}

/// Frames as long as those of Tailrace, each after a line with its length.
struct Frames {
    input: ChildStdin,
    bytes: [usize; 2],
}

impl Publish for Frames {
    fn burst(&mut self, events: u32) -> Result<()> {
        let [single, in_burst] = self.bytes;
        let bytes = if events > 1 { in_burst } else { single };
        let mut frames = Vec::new();
        for _ in 0..events {
            frames.extend_from_slice(b"data: ");
            write_event(&mut frames, bytes.saturating_sub(8), 0, now_us());
            frames.extend_from_slice(b"\n\n");
        }
        let mut order = format!("{}\n", frames.len()).into_bytes();
        order.extend_from_slice(&frames);
        self.input.write_all(&order).context("give the floor its frames")
    }
}

/// Prints its port, and writes to all connections until its standard input ends.
pub(crate) fn run() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    println!("{}", listener.local_addr().context("read the port")?.port());
    #[allow(clippy::disallowed_methods, reason = "as many as there are clients")]
    let (sender, arrived) = channel();
    // This thread sleeps once all clients are connected.
    std::thread::spawn(move || {
        while let Ok(socket) = accept(&listener) {
            if sender.send(socket).is_err() {
                return;
            }
        }
    });
    write_all(&arrived)
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (mut socket, _) = listener.accept()?;
    // The request is one small write on loopback, so one read gets all of it.
    let _ = socket.read(&mut [0; 4096])?;
    socket.write_all(HEAD)?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn write_all(arrived: &Receiver<TcpStream>) -> Result<()> {
    let mut orders = BufReader::with_capacity(64 * 1024, stdin().lock());
    let (mut sockets, mut line, mut frames) = (Vec::new(), String::new(), Vec::new());
    loop {
        line.clear();
        if orders.read_line(&mut line).context("read an order")? == 0 {
            return Ok(());
        }
        frames.resize(line.trim().parse().context("read a length")?, 0);
        orders.read_exact(&mut frames).context("read frames")?;
        sockets.extend(arrived.try_iter());
        let mut outcome = Ok(());
        sockets.retain(|socket| {
            write(socket, &frames).unwrap_or_else(|error| {
                outcome = Err(error);
                false
            })
        });
        outcome?;
    }
}

/// Writes to a client; returns whether it is still connected.
fn write(mut socket: &TcpStream, frames: &[u8]) -> Result<bool> {
    match socket.write(frames) {
        Ok(written) => ensure!(written == frames.len(), "a client is too slow for the floor"),
        Err(error) if error.kind() == ErrorKind::WouldBlock => anyhow::bail!("a client does not read"),
        Err(_) => return Ok(false),
    }
    Ok(true)
}
