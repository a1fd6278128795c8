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
    let taken = tokio::time::timeout(HEADER_TIMEOUT, take_whole(socket)).await;
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
