//! Connections that send half of something and then nothing, by the thousand: whoever comes beside them has its first byte
//! within 200 ms, over TLS and without.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::alone;
use crate::handshake::client_hello;
use crate::pki::Files;
use crate::support::Server;
use crate::way::{AUTHORITY, Ask, Reader, Way};

const BOUND: Duration = Duration::from_millis(200);
const NEWCOMERS: usize = 40;
/// Their address, which is not that of the crowd.
const NEWCOMER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

static CROWDS: AtomicU8 = AtomicU8::new(1);

/// A process that holds the connections: this one could not hold both ends of each.
struct Crowd(Child);

impl Crowd {
    fn of(count: usize, address: SocketAddr, bytes: &[u8]) -> Crowd {
        // An address of its own: ports of an earlier crowd may still be taken.
        let source = Ipv4Addr::new(127, 0, 1, CROWDS.fetch_add(1, Ordering::Relaxed));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crowd::holds_connections", "--ignored", "--nocapture"])
            .envs([
                ("CROWD", count.to_string()),
                ("ADDRESS", address.to_string()),
                ("BYTES", hex),
                ("SOURCE", source.to_string()),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut said, mut output) = (String::new(), child.stdout.take().unwrap());
        while !said.contains("all there") {
            let mut part = [0; 1000];
            let count = output.read(&mut part).unwrap();
            assert!(count > 0, "the crowd did not come: {said}");
            said.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        Crowd(child)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The crowd's process.
#[test]
#[ignore = "run by the tests of this file, in a process of its own"]
fn holds_connections() {
    let env = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (count, address): (usize, SocketAddr) =
        (env("CROWD").parse().unwrap(), env("ADDRESS").parse().unwrap());
    let (hex, source): (String, Ipv4Addr) = (env("BYTES"), env("SOURCE").parse().unwrap());
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    let sockets: Vec<_> = (0..count)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
            socket.connect(&address.into()).unwrap();
            let mut socket = std::net::TcpStream::from(socket);
            socket.write_all(&bytes).unwrap();
            socket
        })
        .collect();
    println!("all there");
    // Until the parent goes.
    let _ = std::io::stdin().read(&mut [0; 1]);
    drop(sockets);
}

/// How long newcomers wait for a first block while the crowd comes and once it is there, each sorted.
async fn waits(way: Way, server: &Server, count: usize, bytes: &[u8]) -> [Vec<Duration>; 2] {
    let (address, bytes) = (server.address, bytes.to_vec());
    let crowd = tokio::task::spawn_blocking(move || Crowd::of(count, address, &bytes));
    let (mut while_it_comes, mut once_there) = (Vec::new(), Vec::new());
    while !crowd.is_finished() || while_it_comes.is_empty() {
        while_it_comes.push(wait_for_a_first_block(way, address).await);
    }
    let _crowd = crowd.await.unwrap();
    for _ in 0..NEWCOMERS {
        once_there.push(wait_for_a_first_block(way, address).await);
    }
    while_it_comes.sort_unstable();
    once_there.sort_unstable();
    [while_it_comes, once_there]
}

/// The median and the longest.
fn figures(waits: &[Duration]) -> (Duration, Duration) {
    (waits[waits.len() / 2], waits[waits.len() - 1])
}

async fn wait_for_a_first_block(way: Way, address: SocketAddr) -> Duration {
    let begun = Instant::now();
    let mut reader = Reader::open(way, address, &Ask::of("acme").from(NEWCOMER)).await;
    reader.next().await.unwrap();
    begun.elapsed()
}

async fn nobody_is_delayed(way: Way, count: usize, what: &str, bytes: &[u8]) {
    let _alone = alone().await;
    let files = Files::of(&AUTHORITY.issue());
    let server = match way {
        Way::Tls => crate::serve(&files, &[]).await,
        _ => Server::open(&[]).await,
    };
    let [while_it_comes, once_there] = waits(way, &server, count, bytes).await;
    let (comes, there) = (figures(&while_it_comes), figures(&once_there));
    println!(
        "{way:?}, beside {count} with {what}, median and longest: {comes:?} while they come, then {there:?}"
    );
    // The median: whoever is behind a queue waits, and a busy machine delays some.
    assert!(comes.0 < BOUND && there.0 < BOUND, "{way:?}, beside {count} with {what}: {comes:?}, {there:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifteen_thousand_that_have_sent_half_a_request_delay_nobody() {
    nobody_is_delayed(Way::Writer, 15_000, "half a request", b"GET /t/acme/events HTTP/1.1\r\nHost: a\r\n")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifteen_thousand_empty_lines_before_a_request_delay_nobody() {
    nobody_is_delayed(Way::Writer, 15_000, "empty lines", b"\r\n\r\n\r\n").await;
}

/// Each could keep its turn for a request, which it then does not send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifteen_thousand_prefaces_of_http_2_without_a_request_delay_nobody() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    nobody_is_delayed(Way::Writer, 15_000, "a preface", preface).await;
}

/// Each could keep its turn after its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifteen_thousand_that_have_their_answer_and_stay_delay_nobody() {
    nobody_is_delayed(Way::Writer, 15_000, "a request", b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifteen_thousand_silent_connections_delay_no_handshake() {
    nobody_is_delayed(Way::Tls, 15_000, "nothing", b"").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifteen_thousand_half_hellos_delay_no_handshake() {
    let hello = client_hello(&AUTHORITY);
    nobody_is_delayed(Way::Tls, 15_000, "half a hello", &hello[..hello.len() / 2]).await;
}

/// The server has computed its part of each of these, and waits for the client's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifteen_thousand_half_handshakes_delay_no_handshake() {
    nobody_is_delayed(Way::Tls, 15_000, "a hello", &client_hello(&AUTHORITY)).await;
}

/// The first newcomer right after three thousand that came at once: were a turn taken by each of them, it would wait for a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_right_after_three_thousand_half_requests_does_not_wait_for_their_turns() {
    const COUNT: usize = 3_000;
    let _alone = alone().await;
    for begin in [&b"GET /t/acme/events HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let server = Server::open(&[]).await;
        let address = server.address;
        let crowd = tokio::task::spawn_blocking(move || {
            let connect = |_| {
                let mut socket = std::net::TcpStream::connect(address).unwrap();
                socket.write_all(begin).unwrap();
                socket
            };
            (0..COUNT).map(connect).collect::<Vec<_>>()
        });
        let crowd = crowd.await.unwrap();
        let waited = wait_for_a_first_block(Way::Writer, address).await;
        println!("right after {COUNT}: {waited:?}");
        assert!(waited < 2 * BOUND, "{}: {waited:?}", String::from_utf8_lossy(begin));
        drop(crowd);
    }
}
