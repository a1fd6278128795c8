//! The least that any server must do: one thread that writes the same bytes to the same number of sockets.

use std::env::current_exe;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write, stdin};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::pace::Pace;
use crate::payload::{now_us, write_event};
use crate::process::Ending;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// Between the last client's connect and the first event.
const CALM: Duration = Duration::from_millis(500);

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Floor {
    #[arg(long)]
    clients: usize,
    #[command(flatten)]
    pace: Pace,
    /// How long to send, in seconds.
    #[arg(long)]
    seconds: u64,
    /// Bytes of one event on the wire, framing included.
    #[arg(long)]
    frame_bytes: usize,
}

/// Says its port, takes the clients, sends, says how many events it sent, and stays until its standard input ends.
pub(crate) fn run(floor: &Floor) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    println!("{}", listener.local_addr().context("read the port")?.port());
    let mut sockets = Vec::with_capacity(floor.clients);
    while sockets.len() < floor.clients {
        sockets.push(accept(&listener).context("take a client")?);
    }
    sleep(CALM);
    println!("{}", send(floor, &sockets)?);
    stdin().read_to_end(&mut Vec::new()).context("wait for the end")?;
    Ok(())
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (mut socket, _) = listener.accept()?;
    // The request is one small write on loopback, so it comes in one piece.
    let _ = socket.read(&mut [0; 4096])?;
    socket.write_all(HEAD)?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn send(floor: &Floor, sockets: &[TcpStream]) -> Result<u64> {
    let end = Instant::now() + Duration::from_secs(floor.seconds);
    let (mut frames, mut sent, mut outcome) = (Vec::new(), 0, Ok(()));
    floor.pace.keep(|| {
        frames.clear();
        for _ in 0..floor.pace.burst {
            frames.extend_from_slice(b"data: ");
            write_event(&mut frames, floor.frame_bytes.saturating_sub(8), now_us());
            frames.extend_from_slice(b"\n\n");
        }
        sent += u64::from(floor.pace.burst);
        outcome = sockets.iter().try_for_each(|socket| write(socket, &frames));
        outcome.is_ok() && Instant::now() < end
    });
    outcome.map(|()| sent)
}

fn write(mut socket: &TcpStream, frames: &[u8]) -> Result<()> {
    match socket.write(frames) {
        Ok(written) => ensure!(written == frames.len(), "a client is too slow for the floor"),
        Err(error) if error.kind() == ErrorKind::WouldBlock => anyhow::bail!("a client does not read"),
        Err(error) => return Err(error).context("write to a client"),
    }
    Ok(())
}

/// The floor as a process of its own.
pub(crate) struct FloorProcess {
    process: Ending,
    said: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl FloorProcess {
    pub(crate) fn start(
        clients: usize,
        pace: Pace,
        seconds: u64,
        frame_bytes: usize,
    ) -> Result<FloorProcess> {
        let mut command = Command::new(current_exe().context("find this program")?);
        command.args(["floor", "--clients", &clients.to_string(), "--seconds", &seconds.to_string()]);
        command.args(["--rate", &pace.rate.to_string(), "--burst", &pace.burst.to_string()]);
        command.args(["--frame-bytes", &frame_bytes.to_string()]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start the floor")?;
        let said = BufReader::new(child.stdout.take().context("the floor's output is piped")?);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut floor = FloorProcess { process: Ending(child), said, address };
        let port = u16::try_from(floor.number()?).context("read the floor's port")?;
        floor.address.set_port(port);
        Ok(floor)
    }

    /// Events that it sent; waits until it has ended sending.
    pub(crate) fn sent(&mut self) -> Result<u64> {
        self.number()
    }

    fn number(&mut self) -> Result<u64> {
        let mut line = String::new();
        self.said.read_line(&mut line).context("read from the floor")?;
        line.trim().parse().with_context(|| format!("the floor said {line:?}"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}
