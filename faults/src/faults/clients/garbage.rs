//! Requests that no client should send.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bridge::get;
use crate::process::cpu_seconds;
use crate::scene::Scene;

/// The number of clients that send garbage at the same time.
const THROWERS: u64 = 8;
/// The timeout of a response; a stream never ends.
const LOOK: Duration = Duration::from_millis(150);
/// The number of requests that begin and do not end.
const UNFINISHED: usize = 100;
/// The program's timeout for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);
const STREAM: &str = "GET /t/tenant-1/events?from=latest HTTP/1.1\r\nHost: localhost\r\n";

/// The expected result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// A refusal, or no response: the connection ends.
    Refusal,
    /// A stream, whatever follows the request.
    Stream,
    /// A response and then a stream, or a refusal.
    Anything,
}

/// Sends all kinds of such requests for a while, from several clients.
pub(super) async fn thrown(scene: &mut Scene) -> Result<()> {
    let until = Instant::now() + scene.breath * 3;
    let mut throwers = JoinSet::new();
    for number in 0..THROWERS {
        let (port, seed) = (scene.bridges[0].port, scene.random.random::<u64>() ^ number);
        throwers.spawn(throw_until(port, seed, until));
    }
    let mut thrown = 0;
    while let Some(done) = throwers.join_next().await {
        let (count, found) = done?;
        thrown += count;
        found.into_iter().for_each(|problem| scene.problem(problem));
    }
    ensure!(thrown > 100, "only {thrown} requests of garbage were answered in time");
    let health = get(scene.bridges[0].admin, "/healthz").await;
    ensure!(health.is_some_and(|(status, _)| status == 200), "the bridge is alive");
    scene.breathe().await;
    Ok(())
}

async fn throw_until(port: u16, seed: u64, until: Instant) -> (u64, Vec<String>) {
    let (mut random, mut count, mut found) = (StdRng::seed_from_u64(seed), 0, Vec::new());
    while Instant::now() < until && found.is_empty() {
        let (request, expected) = request(&mut random);
        let answer = throw(port, &request).await;
        if !is_as_expected(&answer, expected) {
            let (asked, got) = (request.escape_ascii().to_string(), answer.escape_ascii().to_string());
            found.push(format!("{expected:?} expected for {asked:.300}, got {got:.300}"));
        }
        count += 1;
    }
    (count, found)
}

/// Sends the request, and returns what was received within a moment.
async fn throw(port: u16, request: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)).await else { return answer };
    // The bridge need not read a request to its end if it refuses it early.
    let _ = tokio::time::timeout(LOOK, socket.write_all(request)).await;
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = socket.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..count]);
        }
    };
    let _ = tokio::time::timeout(LOOK, read).await;
    // Closes the connection at any point, by a reset.
    let _ = socket.set_zero_linger();
    answer
}

fn is_as_expected(answer: &[u8], expected: Expected) -> bool {
    let text = String::from_utf8_lossy(answer);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse::<u16>().ok());
    let is_refusal = matches!(status, None | Some(400..=499 | 501 | 505));
    let is_stream = status == Some(200) && text.contains("text/event-stream");
    match expected {
        // HTTP/2 begins with binary frames, which have no status line and so count as a refusal.
        Expected::Refusal => is_refusal,
        Expected::Stream => is_stream && !text.contains("\r\n\r\nHTTP/1."),
        Expected::Anything => is_refusal || is_stream,
    }
}

/// A request of a random kind.
fn request(random: &mut StdRng) -> (Vec<u8>, Expected) {
    use Expected::{Anything, Refusal, Stream};
    let bytes =
        |random: &mut StdRng, count: usize| -> Vec<u8> { (0..count).map(|_| random.random()).collect() };
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
    };
    match random.random_range(0..20) {
        0 => {
            let count = random.random_range(1..3_000);
            (bytes(random, count), Refusal)
        }
        // Bytes after the request, which a stream ignores.
        1 => {
            let count = random.random_range(1..30_000);
            ([get("/t/tenant-1/events", ""), bytes(random, count)].concat(), Stream)
        }
        2 => ([get("/t/tenant-1/events", ""), get("/t/tenant-2/events?from=earliest", "")].concat(), Stream),
        3 => ([get("/nowhere", ""), get("/t/tenant-1/events", "")].concat(), Anything),
        4 => (get("/t/tenant-1/events", &format!("Cookie: {}\r\n", "c".repeat(100_000))), Refusal),
        5 => (get(&format!("/t/tenant-1/events?type={}", "t".repeat(70_000)), ""), Refusal),
        6 => (get("/t/%ff%fe/events", ""), Refusal),
        7 => (get("/t/tenant-1%00/events", ""), Refusal),
        // A lone percent sign stands for itself, as in browsers.
        8 => (get("/t/%/events", ""), Anything),
        9 => ([b"GET /t/\xff\xfe/events HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()].concat(), Refusal),
        10 => (get("/t/tenant-1/events?from=%ff%fe", ""), Refusal),
        11 => (b"BREW /t/tenant-1/events HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Refusal),
        12 => (b"GET /t/tenant-1/events HTTP/9.9\r\nHost: localhost\r\n\r\n".to_vec(), Refusal),
        13 => {
            let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
            ([get("/t/tenant-1/events", both), b"zz\r\n".to_vec()].concat(), Anything)
        }
        14 => {
            let count = random.random_range(0..400);
            ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), bytes(random, count)].concat(), Refusal)
        }
        15 => (b"PRI * HTT".to_vec(), Refusal),
        16 => (get("/t/tenant-1/events", "no colon\r\n"), Refusal),
        17 => (get("/t/tenant-1/events", &"A: b\r\n".repeat(2_000)), Refusal),
        // A bad id is never an error.
        18 => {
            let mut id = bytes(random, 40);
            id.iter_mut().filter(|byte| **byte < 0x20 || **byte == 0x7f).for_each(|byte| *byte = b'x');
            ([STREAM.as_bytes(), b"Last-Event-ID: ", &id, b"\r\n\r\n"].concat(), Stream)
        }
        _ => (get("/t/tenant-1/events?last_event_id=%F0%9F%A6%80%0A%0Aevent:%20x", ""), Stream),
    }
}

/// Requests whose heads are sent a byte at a time, or never completed. Each is closed after ten seconds, and takes little
/// processor time.
pub(super) async fn unfinished(scene: &mut Scene) -> Result<()> {
    let (pid, port) = (scene.bridges[0].pid(), scene.bridges[0].port);
    let mut connections = JoinSet::new();
    let cpu = cpu_seconds(pid);
    let began = Instant::now();
    for number in 0..UNFINISHED {
        connections.spawn(async move { drip(port, number).await });
    }
    scene.mark(true);
    let mut longest = Duration::ZERO;
    while let Some(time) = connections.join_next().await {
        longest = longest.max(time?);
    }
    ensure!(longest < HEAD_TIME * 2, "a request without an end was let stand for {longest:?}");
    let (used, took) = (cpu_seconds(pid).zip(cpu).map_or(0.0, |(now, then)| now - then), began.elapsed());
    ensure!(used < took.as_secs_f64() * 0.5, "{used:.1} s of processor time in {took:?}");
    Ok(())
}

/// Sends until the other side closes the connection; returns how long that took.
async fn drip(port: u16, number: usize) -> Duration {
    let began = Instant::now();
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)).await else { return Duration::ZERO };
    let begin = ["", "P", "PRI * HTTP/2.0\r\n", STREAM][number % 4];
    let _ = socket.write_all(begin.as_bytes()).await;
    let mut buffer = [0; 4096];
    while began.elapsed() < HEAD_TIME * 3 {
        match tokio::time::timeout(Duration::from_millis(200), socket.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => {}
            Err(_) if number % 4 == 3 && socket.write_all(b"X").await.is_err() => break,
            Err(_) => {}
        }
    }
    began.elapsed()
}
