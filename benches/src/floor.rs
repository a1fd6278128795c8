//! The floor, the least work of any server: one thread that writes the same bytes to the same number of sockets.
//!
//! It accepts connections at any time, and executes commands from its standard input: `frame LENGTH` and that many bytes: what
//! to send for a burst; `greet LENGTH`: what new clients get after the head; `send RATE BURST MILLISECONDS SOCKETS all|each`:
//! sends to all of the first sockets, or to one of them in turn; at the end, it prints the number of events.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write, stdin};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::listen;

use crate::frame::Frame;
use crate::pace::Pace;
use crate::payload::now_us;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// The most connections that wait to be accepted, as many as the server's.
const BACKLOG: i32 = 4096;

struct Floor {
    listener: TcpListener,
    sockets: Vec<TcpStream>,
    greeting: Vec<u8>,
    frame: Frame,
    /// The next socket in turn.
    turn: usize,
}

/// Prints its port, and runs until its standard input ends.
pub(crate) fn run() -> Result<()> {
    crate::process::raise_file_limit()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    listen(&listener, BACKLOG).context("listen with a longer queue")?;
    listener.set_nonblocking(true).context("listen")?;
    println!("{}", listener.local_addr().context("read the port")?.port());
    let (sockets, frame) = (Vec::new(), Frame::default());
    let mut floor = Floor { listener, sockets, greeting: HEAD.to_vec(), frame, turn: 0 };
    // Not `Stdin` itself, whose buffer cannot be inspected.
    let input = stdin().as_fd().try_clone_to_owned().context("open the input")?;
    let mut input = BufReader::new(File::from(input));
    loop {
        let mut ready =
            [PollFd::new(&floor.listener, PollFlags::IN), PollFd::new(input.get_ref(), PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("wait"),
        }
        let [connects, told] = ready.map(|ready| !ready.revents().is_empty());
        if connects {
            floor.take(None)?;
        }
        if told && !floor.obey_all(&mut input)? {
            return Ok(());
        }
    }
}

impl Floor {
    /// Accepts the waiting connections, until the given moment.
    fn take(&mut self, until: Option<Instant>) -> Result<()> {
        while until.is_none_or(|until| Instant::now() < until) {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("take a client"),
            };
            // The request is ignored, so it stays unread.
            socket.write_all(&self.greeting)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            self.sockets.push(socket);
        }
        Ok(())
    }

    /// Executes all commands that are in the buffer, since `poll` does not report buffered input. False: the input has ended.
    fn obey_all(&mut self, input: &mut BufReader<File>) -> Result<bool> {
        while self.obey(input)? {
            if input.buffer().is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Executes one command. False: the input has ended.
    fn obey(&mut self, input: &mut BufReader<File>) -> Result<bool> {
        let mut line = String::new();
        if input.read_line(&mut line).context("read what to do")? == 0 {
            return Ok(false);
        }
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["frame", length] => {
                let mut bytes = vec![0; length.parse()?];
                input.read_exact(&mut bytes).context("read a frame")?;
                self.frame = Frame::new(bytes);
            }
            ["greet", length] => {
                self.greeting.truncate(HEAD.len());
                self.greeting.resize(HEAD.len() + length.parse::<usize>()?, b'\n');
            }
            ["send", rate, burst, millis, sockets, to] => {
                let pace = Pace { rate: rate.parse()?, burst: burst.parse()? };
                let time = Duration::from_millis(millis.parse()?);
                println!("{}", self.send(pace, time, sockets.parse()?, to == "each")?);
            }
            _ => bail!("the floor does not understand {line:?}"),
        }
        Ok(true)
    }

    fn send(&mut self, pace: Pace, time: Duration, sockets: usize, each: bool) -> Result<u64> {
        ensure!(sockets <= self.sockets.len(), "the floor has {} sockets", self.sockets.len());
        let distance = Duration::from_secs_f64(f64::from(pace.burst) / f64::from(pace.rate));
        let (mut next, mut sent) = (Instant::now(), 0);
        let end = next + time;
        while next < end {
            if each {
                for _ in 0..pace.burst {
                    self.frame.stamp(now_us());
                    write(&self.sockets[self.turn % sockets], &self.frame.bytes)?;
                    self.turn += 1;
                }
            } else {
                self.frame.stamp(now_us());
                self.sockets[..sockets].iter().try_for_each(|socket| write(socket, &self.frame.bytes))?;
            }
            sent += u64::from(pace.burst);
            next += distance;
            self.wait(next)?;
        }
        Ok(sent)
    }

    /// Waits, and accepts new connections meanwhile.
    fn wait(&mut self, until: Instant) -> Result<()> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let timeout =
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Ok(()),
                Ok(_) => self.take(Some(until))?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("wait"),
            }
        }
    }
}

fn write(mut socket: &TcpStream, frame: &[u8]) -> Result<()> {
    match socket.write(frame) {
        Ok(written) => ensure!(written == frame.len(), "a client is too slow for the floor"),
        Err(error) if error.kind() == ErrorKind::WouldBlock => bail!("a client does not read"),
        Err(error) => return Err(error).context("write to a client"),
    }
    Ok(())
}
