//! A client that sends any bytes, and takes apart what comes back as answers of HTTP/1.1, strictly.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::support::{Client, Server};
use crate::way::{Ask, Reader, Way, Wired};

/// Who gets its events while others attack has them within this time.
pub(crate) const SOON: Duration = Duration::from_secs(2);
/// After this time without a byte, an answer counts as complete.
const QUIET: Duration = Duration::from_millis(400);
/// Its address, which is not that of the attack.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Memory and time are the process's: a test that looks at them runs alone.
static PROCESS: RwLock<()> = RwLock::const_new(());

pub(crate) async fn beside_others() -> RwLockReadGuard<'static, ()> {
    PROCESS.read().await
}

pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    PROCESS.write().await
}

/// A test for both doors of HTTP/1.1, with the same body.
macro_rules! on_both_doors {
    ($($name:ident, $proof:path;)*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn plain() {
                $proof($crate::way::Way::Writer).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_tls() {
                $proof($crate::way::Way::Tls).await;
            }
        }
    )*};
}
pub(crate) use on_both_doors;

/// A connection on which anything can be sent.
pub(crate) struct Raw {
    socket: Wired,
    pub(crate) got: Vec<u8>,
    pub(crate) ended: bool,
}

impl Raw {
    pub(crate) async fn open(way: Way, server: &Server) -> Raw {
        let socket = Wired::open(way, &Ask::of("nobody"), server.address).await;
        Raw { socket, got: Vec::new(), ended: false }
    }

    /// False: the connection is over, or nothing is taken any more.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.send_within(bytes, Duration::from_secs(5)).await
    }

    pub(crate) async fn send_within(&mut self, bytes: &[u8], time: Duration) -> bool {
        let sending = async {
            self.socket.write_all(bytes).await?;
            self.socket.flush().await
        };
        matches!(tokio::time::timeout(time, sending).await, Ok(Ok(())))
    }

    /// Reads once; false: nothing came within the time, or it is the end.
    pub(crate) async fn more(&mut self, within: Duration) -> bool {
        let mut part = vec![0; 64 * 1024];
        match tokio::time::timeout(within, self.socket.read(&mut part)).await {
            Err(_) => false,
            Ok(Ok(count)) if count > 0 => {
                self.got.extend_from_slice(&part[..count]);
                true
            }
            Ok(_) => {
                self.ended = true;
                false
            }
        }
    }

    /// Reads until nothing comes any more.
    pub(crate) async fn settle(&mut self) {
        // The first answer of a busy machine may take longer.
        if self.got.is_empty() && !self.more(Duration::from_secs(5)).await {
            return;
        }
        while self.more(QUIET).await {}
    }

    /// Reads until these bytes have come.
    pub(crate) async fn until(&mut self, wanted: &str) {
        while !self.text().contains(wanted) {
            assert!(self.more(Duration::from_secs(10)).await, "no {wanted:?} in {:?}", self.text());
        }
    }

    /// How long it takes until the connection is over.
    pub(crate) async fn end_within(&mut self, most: Duration) -> Duration {
        let begun = Instant::now();
        while !self.ended {
            let left = most.checked_sub(begun.elapsed());
            let left = left.unwrap_or_else(|| panic!("still open after {most:?}: {:?}", self.text()));
            self.more(left).await;
        }
        begun.elapsed()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.got).into_owned()
    }

    /// What has come as answers; whatever is none is a failure.
    pub(crate) fn answers(&self) -> Vec<Answer> {
        let (mut left, mut answers) = (&self.got[..], Vec::new());
        while !left.is_empty() {
            answers.push(Answer::take(&mut left));
        }
        answers
    }

    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.answers().iter().map(|answer| answer.status).collect()
    }
}

/// Sends the bytes on a connection of their own, and reads until nothing comes any more.
pub(crate) async fn exchange(way: Way, server: &Server, bytes: &[u8]) -> Raw {
    let mut raw = Raw::open(way, server).await;
    raw.send(bytes).await;
    raw.settle().await;
    raw
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn take(left: &mut &[u8]) -> Answer {
        let end = left.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(left)));
        let head = std::str::from_utf8(&left[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap();
        assert!(first.starts_with("HTTP/1."), "no answer begins so: {first:?}");
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line:?}"));
            assert!(!value.contains(['\r', '\n']), "{line:?}");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let mut answer = Answer { status, headers: lines.map(header).collect(), body: String::new() };
        *left = &left[end + 4..];
        answer.take_body(left);
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A stream takes what there is.
    fn take_body(&mut self, left: &mut &[u8]) {
        if let Some(length) = self.header("content-length") {
            let length = length.parse::<usize>().unwrap();
            assert!(left.len() >= length, "the body of {self:?} is cut");
            self.body = String::from_utf8_lossy(&left[..length]).into_owned();
            *left = &left[length..];
        } else if self.header("transfer-encoding") == Some("chunked") {
            while let Some(end) = left.windows(2).position(|two| two == b"\r\n") {
                let size = std::str::from_utf8(&left[..end])
                    .ok()
                    .and_then(|size| usize::from_str_radix(size, 16).ok());
                let size = size.unwrap_or_else(|| panic!("no chunk: {:?}", String::from_utf8_lossy(left)));
                assert!(left.len() >= end + 2 + size + 2, "half a chunk");
                self.body.push_str(&String::from_utf8_lossy(&left[end + 2..end + 2 + size]));
                *left = &left[end + 2 + size + 2..];
                if size == 0 {
                    return;
                }
            }
        } else if self.status == 200 {
            self.body = String::from_utf8_lossy(left).into_owned();
            *left = &[];
        }
    }
}

/// A client that does nothing wrong.
pub(crate) struct Neighbour(Reader);

impl Neighbour {
    pub(crate) async fn open(way: Way, server: &Server) -> Neighbour {
        let mut reader = Reader::open(way, server.address, &Ask::of("calm").from(NEIGHBOUR)).await;
        reader.next().await.unwrap();
        Neighbour(reader)
    }

    /// It gets an event soon, and nobody else's.
    pub(crate) async fn is_served(&mut self, server: &mut Server) {
        let begun = Instant::now();
        server.append("calm", "for the neighbour");
        let record = self.0.next_record().await;
        assert_eq!(record.data.as_deref(), Some("for the neighbour"));
        assert!(begun.elapsed() < SOON, "the neighbour waited for {:?}", begun.elapsed());
    }
}

/// Whoever comes now is served.
pub(crate) async fn a_newcomer_is_served(way: Way, server: &mut Server) {
    let begun = Instant::now();
    let mut newcomer = Neighbour::open(way, server).await;
    assert!(begun.elapsed() < SOON, "the newcomer waited for {:?}", begun.elapsed());
    newcomer.is_served(server).await;
}

/// How many streams are open.
pub(crate) async fn streams(server: &Server) -> usize {
    Client::request(server.admin, "GET", "/streams?limit=1000", &[])
        .await
        .json()
        .await
        .as_array()
        .unwrap()
        .len()
}

/// Waits until there are so many streams.
pub(crate) async fn streams_become(server: &Server, count: usize) {
    let begun = Instant::now();
    loop {
        let now = streams(server).await;
        if now == count {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{now} streams, not {count}, after 20 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The memory of the process, in bytes.
pub(crate) fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
