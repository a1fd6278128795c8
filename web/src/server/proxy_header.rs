//! Takes the header of the PROXY protocol from the beginning of a connection: exactly its bytes, whatever follows them.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::peer::{HeaderError, MAX_HEADER, ProxyHeader, Source, read_header};

/// The time for the whole header: balancers send it at once, and the specification asks for at least 3 s, in which TCP repeats
/// a packet that was lost.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Room for the headers that are usual, in bytes.
const USUAL: usize = 256;

/// Why a connection that must begin with the header is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("its header of the PROXY protocol did not come within {HEADER_TIMEOUT:?}")]
    Timeout,
    #[error("it was closed within the header of the PROXY protocol")]
    Closed,
    /// A look at whether the port is open, as balancers have it.
    #[error("it was closed before the first byte")]
    Unused,
}

impl Refused {
    /// The label of the metric; `None`: it is neither counted nor logged.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Refused::Header(HeaderError::Missing) => Some("missing"),
            Refused::Header(HeaderError::Malformed(_)) => Some("malformed"),
            Refused::Header(HeaderError::TooLong) => Some("too_long"),
            Refused::Timeout => Some("timeout"),
            Refused::Closed => Some("closed"),
            Refused::Unused => None,
        }
    }
}

/// Reads the header, and says whose connection it is.
pub(super) async fn take(socket: &mut TcpStream) -> Result<Source, Refused> {
    take_within(HEADER_TIMEOUT, socket).await
}

async fn take_within(time: Duration, socket: &mut TcpStream) -> Result<Source, Refused> {
    let taken = tokio::time::timeout(time, take_whole(socket)).await;
    Ok(taken.map_err(|_| Refused::Timeout)??.source)
}

async fn take_whole(socket: &mut TcpStream) -> Result<ProxyHeader, Refused> {
    let mut bytes = vec![0; USUAL];
    let mut taken = 0;
    loop {
        // Only looked at: what follows the header is not ours.
        let seen = taken + socket.peek(&mut bytes[taken..]).await.unwrap_or(0);
        if seen == taken {
            return Err(if taken == 0 { Refused::Unused } else { Refused::Closed });
        }
        let header = read_header(&bytes[..seen])?;
        // A header that is not whole is longer than what was seen, so all of that belongs to it. It is taken now, or its bytes
        // would wake this loop again and again.
        let end = header.map_or(seen, |header| header.length);
        consume(socket, &mut bytes[taken..end]).await.map_err(|_| Refused::Closed)?;
        taken = end;
        match header {
            Some(header) => return Ok(header),
            None if taken == bytes.len() => bytes.resize((2 * taken).min(MAX_HEADER), 0),
            None => {}
        }
    }
}

/// Takes bytes that are there.
async fn consume(socket: &mut TcpStream, bytes: &mut [u8]) -> io::Result<()> {
    socket.read_exact(bytes).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    //! Trouble: a header in many pieces; half of one, and then nothing, or the end; no byte at all; what follows it in the same
    //! packet; a header that is longer than the first look.

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const LINE: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n";
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n";

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let balancer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        balancer.set_nodelay(true).unwrap();
        (balancer, listener.accept().await.unwrap().0)
    }

    fn client() -> Source {
        Source::Client("203.0.113.9:4711".parse().unwrap())
    }

    /// A header of version 2 of that client, with as many bytes of type-length-values.
    fn binary(more: usize) -> Vec<u8> {
        let length = u16::try_from(12 + more).unwrap().to_be_bytes();
        let fixed = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &length].concat();
        [&fixed[..], &[203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 1, 0xBB], &vec![7; more]].concat()
    }

    /// What is left for the protocol behind the header.
    async fn rest(socket: &mut TcpStream) -> Vec<u8> {
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        rest
    }

    #[tokio::test]
    async fn exactly_the_header_is_taken_from_a_packet() {
        for header in [LINE.to_vec(), binary(0), binary(300), binary(MAX_HEADER - 28)] {
            let (mut balancer, mut socket) = pair().await;
            balancer.write_all(&[&header, REQUEST].concat()).await.unwrap();
            balancer.shutdown().await.unwrap();
            assert_eq!(take(&mut socket).await.unwrap(), client());
            assert_eq!(rest(&mut socket).await, REQUEST, "{} bytes", header.len());
        }
    }

    #[tokio::test]
    async fn a_header_that_comes_byte_by_byte_is_waited_for() {
        for header in [LINE.to_vec(), binary(300)] {
            let (mut balancer, mut socket) = pair().await;
            let sending = tokio::spawn(async move {
                for byte in [&header, REQUEST].concat() {
                    balancer.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            assert_eq!(take(&mut socket).await.unwrap(), client());
            assert_eq!(rest(&mut socket).await, REQUEST);
            sending.await.unwrap();
        }
    }

    #[tokio::test]
    async fn half_a_header_and_no_header_are_not_waited_for_without_end() {
        for half in [&b""[..], b"P", &LINE[..30], &binary(0)[..14], &binary(300)[..290]] {
            let (mut balancer, mut socket) = pair().await;
            balancer.write_all(half).await.unwrap();
            let taking = take_within(Duration::from_millis(50), &mut socket);
            let refused = tokio::time::timeout(HEADER_TIMEOUT, taking).await.expect("it ends").unwrap_err();
            assert_eq!(refused.reason(), Some("timeout"));
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_within_the_header_is_counted_and_a_look_at_the_port_is_not() {
        for (sent, reason) in [(&LINE[..30], Some("closed")), (&b"P"[..], Some("closed")), (b"", None)] {
            let (mut balancer, mut socket) = pair().await;
            balancer.write_all(sent).await.unwrap();
            drop(balancer);
            assert_eq!(take(&mut socket).await.unwrap_err().reason(), reason);
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_without_waiting_for_more() {
        for (sent, reason) in [
            (&b"G"[..], "missing"),
            (b"PROXY TCP4 x\r\n", "malformed"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF", "too_long"),
        ] {
            let (mut balancer, mut socket) = pair().await;
            balancer.write_all(sent).await.unwrap();
            assert_eq!(take(&mut socket).await.unwrap_err().reason(), Some(reason));
            drop(balancer);
        }
    }
}
