//! A keep-alive connection that publishes: several requests in one write, then their responses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// The timeout of a response.
const ANSWER: Duration = Duration::from_secs(20);

pub(crate) struct Http {
    socket: TcpStream,
    /// Bytes that were read after the last response.
    rest: Vec<u8>,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Result<Http> {
        let socket = TcpStream::connect(address).context("connect to publish")?;
        socket.set_nodelay(true).context("set up the publishing socket")?;
        socket.set_read_timeout(Some(ANSWER)).context("set up the publishing socket")?;
        Ok(Http { socket, rest: Vec::new() })
    }

    /// Sends `count` requests, and reads as many responses: each must be a success.
    pub(crate) fn exchange(&mut self, requests: &[u8], count: u32) -> Result<()> {
        self.socket.write_all(requests).context("publish")?;
        for _ in 0..count {
            self.answer()?;
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<()> {
        loop {
            if let Some(bytes) = answer_length(&self.rest)? {
                self.rest.drain(..bytes);
                return Ok(());
            }
            let mut piece = [0; 4096];
            let count = self.socket.read(&mut piece).context("read an answer")?;
            ensure!(count > 0, "the server has closed the connection that publishes");
            self.rest.extend_from_slice(&piece[..count]);
        }
    }
}

/// The length of the response at the beginning of `bytes`; `None` until it is complete. An error unless it is a success.
fn answer_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 2"), "publishing was refused: {}", String::from_utf8_lossy(bytes));
    if head.contains("transfer-encoding:") {
        bail!("an answer of unknown length: {head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(Ok(0), |length| length.trim().parse::<usize>()).context("read a length")?;
    let all = end + 4 + length;
    Ok((bytes.len() >= all).then_some(all))
}

/// Appends one request.
pub(crate) fn request(out: &mut Vec<u8>, line: &str, headers: &str, body: &[u8]) {
    let head =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelined_answers_are_told_apart() {
        let two = b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 204 No Content\r\n\r\n";
        let first = answer_length(two).expect("a success");
        assert_eq!(first, Some(46));
        assert_eq!(answer_length(&two[46..]).expect("a success"), Some(two.len() - 46));
        assert_eq!(answer_length(&two[..45]).expect("not yet whole"), None);
    }

    #[test]
    fn a_refusal_is_an_error() {
        assert!(answer_length(b"HTTP/1.1 403 Forbidden\r\n\r\n").is_err());
    }
}
