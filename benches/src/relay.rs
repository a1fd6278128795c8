//! The floor of latency: a librdkafka consumer that writes its records to all sockets itself, on one thread, and does nothing
//! else. It is a process of its own, which first accepts the given number of clients.

use std::env::current_exe;
use std::io::{BufRead, BufReader, Read, Write, stdin};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use rdkafka::Message;
use rdkafka::consumer::BaseConsumer;

use crate::bare;
use crate::process::Ending;
use crate::producer::Topic;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const POLL: Duration = Duration::from_millis(50);
/// The most bytes that are collected before they are written.
const GATHERED: usize = 64 * 1024;
/// An id as long as one of 12 partitions.
const ID: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What it is told.
#[derive(Args)]
pub(crate) struct Relay {
    bootstrap: String,
    topic: String,
    partitions: i32,
    clients: usize,
}

/// The relay's process, for the program that started it.
pub(crate) struct RelayProcess {
    process: Ending,
    /// The relay runs until this is closed.
    _told: ChildStdin,
    pub(crate) address: SocketAddr,
}

impl RelayProcess {
    pub(crate) fn start(bootstrap: &str, topic: &Topic, clients: usize) -> Result<RelayProcess> {
        let mut command = Command::new(current_exe().context("find this program")?);
        command
            .args(["relay", bootstrap, &topic.name])
            .args([topic.partitions.to_string(), clients.to_string()]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start the relay")?;
        let told = child.stdin.take().context("the relay's input is piped")?;
        let said = child.stdout.take().context("the relay's output is piped")?;
        let process = Ending(child);
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).context("read from the relay")?;
        let port: u16 = line.trim().parse().with_context(|| format!("the relay said {line:?}"))?;
        Ok(RelayProcess { process, _told: told, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// Prints its port, and runs until its standard input ends.
pub(crate) fn run(relay: &Relay) -> Result<()> {
    let consumer = bare::consumer(&relay.bootstrap, &relay.topic, relay.partitions)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    println!("{}", listener.local_addr().context("read the port")?.port());
    let sockets: Vec<TcpStream> =
        (0..relay.clients).map(|_| take(&listener)).collect::<Result<_>>().context("take a client")?;
    let go_on = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = stdin().read(&mut [0]);
            go_on.store(false, Ordering::Relaxed);
        });
        let mut bytes = Vec::new();
        while go_on.load(Ordering::Relaxed) {
            gather(&consumer, &mut bytes);
            for mut socket in &sockets {
                if socket.write_all(&bytes).is_err() {
                    // The clients have closed their connections, so this is the end.
                    return;
                }
            }
        }
    });
    Ok(())
}

fn take(listener: &TcpListener) -> Result<TcpStream> {
    let (mut socket, _) = listener.accept()?;
    // The request is ignored, so it stays unread.
    socket.write_all(HEAD)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Waits for a record, and takes all others that have arrived.
fn gather(consumer: &BaseConsumer, bytes: &mut Vec<u8>) {
    bytes.clear();
    let mut wait = POLL;
    while bytes.len() < GATHERED {
        let Some(next) = consumer.poll(std::mem::take(&mut wait)) else { return };
        // The end of a partition is reported as an error.
        let Ok(message) = next else { continue };
        let payload = message.payload().unwrap_or_default();
        bytes.extend_from_slice(b"fd\r\ndata: ");
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(b"\nid: ");
        bytes.extend_from_slice(ID.as_bytes());
        bytes.extend_from_slice(b"\n\n\r\n");
    }
}
