//! Waits for a connection's first bytes without reading them. Until a whole request, or the first record of a TLS handshake,
//! has come, a connection holds nothing but its socket: what the client has sent stays in the kernel, and thousands that send
//! half a request take no turn from those that have sent a whole one.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The most bytes of request line and headers: ids of 1,000 partitions take 7 KiB, so 14 KiB if sent by header and by
/// parameter; the rest is for cookies.
pub(super) const MAX_HEAD: usize = 32 * 1024;
/// How much is looked at first; only longer heads take a buffer.
const GLANCE: usize = 2048;
/// The first byte of a TLS handshake: the type of its record (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;
/// The bytes of a record before its content.
const RECORD_HEAD: usize = 5;

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    Http,
    Tls,
}

impl Begins {
    /// Whether the bytes are enough to go on: no more of them is needed, or nothing that follows can make them valid.
    pub(super) fn is_whole(self, bytes: &[u8]) -> bool {
        match self {
            Begins::Http => has_head(bytes),
            Begins::Tls => has_record(bytes),
        }
    }
}

/// Whether enough has come, or the connection is over. Does not wait.
pub(super) fn have_come(socket: &std::net::TcpStream, begins: Begins) -> bool {
    peek(socket, begins).unwrap_or_else(|error| error.kind() != ErrorKind::WouldBlock)
}

/// Waits until enough has come.
///
/// # Errors
/// If the connection is over before that.
pub(super) async fn come(socket: &TcpStream, begins: Begins) -> io::Result<()> {
    loop {
        let ready = socket.ready(Interest::READABLE).await?;
        // Where this is not enough, the socket counts as unreadable until more comes.
        let look = || match peek(socket, begins)? {
            true => Ok(()),
            false => Err(ErrorKind::WouldBlock.into()),
        };
        match socket.try_io(Interest::READABLE, look) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
        if ready.is_read_closed() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

/// What the first byte of a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstByte {
    /// A TLS handshake.
    Handshake,
    /// A request as it is.
    Method,
    Other,
}

/// Looks at the first byte, which must have come.
pub(super) fn first(socket: &TcpStream) -> FirstByte {
    let mut first = [0; 1];
    match peek_into(socket, &mut first) {
        Ok(_) if first[0] == HANDSHAKE_RECORD => FirstByte::Handshake,
        Ok(_) if may_begin_method(first[0]) => FirstByte::Method,
        _ => FirstByte::Other,
    }
}

/// Whether the client begins with the preface of HTTP/2 (RFC 9113, section 3.4), which must have come: no method of HTTP/1.1
/// begins with these bytes.
pub(super) fn speaks_http2(socket: &TcpStream) -> bool {
    let mut begin = [0; 3];
    peek_into(socket, &mut begin).is_ok() && begin == *b"PRI"
}

fn peek(socket: &impl AsFd, begins: Begins) -> io::Result<bool> {
    let mut glance = [0; GLANCE];
    let count = peek_into(socket, &mut glance)?;
    if count < GLANCE || begins.is_whole(&glance) {
        return Ok(begins.is_whole(&glance[..count]));
    }
    // On the heap, and only for this look.
    let mut long = vec![0; MAX_HEAD];
    let count = peek_into(socket, &mut long)?;
    Ok(count == MAX_HEAD || begins.is_whole(&long[..count]))
}

fn peek_into(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    match recv(socket, buffer, RecvFlags::PEEK)?.0 {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

/// Whether the bytes have the end of a request's head, or cannot be the beginning of a request. Like hyper, it passes over
/// empty lines before the request, and takes line ends without CR.
fn has_head(bytes: &[u8]) -> bool {
    let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let Some(head) = begin.map(|begin| &bytes[begin..]) else { return false };
    !may_begin_method(head[0]) || ends_head(head)
}

/// Whether a method may begin with the byte (RFC 9110, section 5.6.2).
fn may_begin_method(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether there is an empty line.
fn ends_head(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| matches!(bytes[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// Whether the bytes have the first record of a handshake, or are none.
fn has_record(bytes: &[u8]) -> bool {
    match bytes {
        [HANDSHAKE_RECORD, _, _, high, low, ..] => {
            bytes.len() >= RECORD_HEAD + usize::from(u16::from_be_bytes([*high, *low]))
        }
        [first, ..] => *first != HANDSHAKE_RECORD,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{Ipv4Addr, Shutdown};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_request_has_come_with_its_empty_line_and_not_before() {
        let whole: [&[u8]; 8] = [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\n\n",
            b"GET / HTTP/1.1\nHost: a\n\r\nmore",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            // No request: hyper refuses it at once.
            b"\x16\x03\x01",
            b"\0",
        ];
        for bytes in whole {
            assert!(Begins::Http.is_whole(bytes), "{:?}", String::from_utf8_lossy(bytes));
        }
        let half: [&[u8]; 8] = [
            b"",
            b"\r\n",
            b"\r\n\r\n",
            b"G",
            b"!",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"GET / HTTP/1.1\r\n\r",
            b"PRI",
        ];
        for bytes in half {
            assert!(!Begins::Http.is_whole(bytes), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_handshake_has_begun_with_its_whole_first_record() {
        for (bytes, is_whole) in [
            (&b"\x16\x03\x01\x00\x02\x01\x00"[..], true),
            (b"\x16\x03\x01\x00\x02\x01", false),
            (b"\x16\x03\x01\x00", false),
            (b"\x16", false),
            (b"", false),
            (b"GET", true),
            (b"\x80\x2e", true),
        ] {
            assert_eq!(Begins::Tls.is_whole(bytes), is_whole, "{bytes:?}");
        }
    }

    async fn sockets() -> (std::net::TcpStream, TcpStream) {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn it_waits_until_all_has_come_and_takes_nothing() {
        for padding in [0, GLANCE - 20, GLANCE, 20_000] {
            let (mut client, socket) = sockets().await;
            let request = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(padding));
            let mut coming = tokio::spawn(async move {
                come(&socket, Begins::Http).await.unwrap();
                socket
            });
            let (most, last) = request.as_bytes().split_at(request.len() - 1);
            for part in most.chunks(most.len().div_ceil(7)) {
                client.write_all(part).unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(tokio::time::timeout(Duration::from_millis(50), &mut coming).await.is_err(), "too early");
            client.write_all(last).unwrap();
            let socket =
                tokio::time::timeout(Duration::from_secs(5), coming).await.expect("it has come").unwrap();
            let mut read = vec![0; request.len()];
            tokio::io::AsyncReadExt::read_exact(&mut { socket }, &mut read).await.unwrap();
            assert_eq!(read, request.as_bytes());
        }
    }

    #[tokio::test]
    async fn who_hangs_up_within_a_request_is_gone_at_once() {
        for by_half in [true, false] {
            let (mut client, socket) = sockets().await;
            client.write_all(b"GET / HT").unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            let kept = if by_half {
                client.shutdown(Shutdown::Write).unwrap();
                Some(client)
            } else {
                drop(client);
                None
            };
            let end = tokio::time::timeout(Duration::from_secs(5), come(&socket, Begins::Http)).await;
            assert!(end.expect("it is noticed").is_err());
            drop(kept);
        }
    }

    #[tokio::test]
    async fn a_head_larger_than_is_accepted_is_left_to_hyper() {
        let (mut client, socket) = sockets().await;
        std::thread::spawn(move || client.write_all(&vec![b'G'; 2 * MAX_HEAD]).map(|()| client).unwrap());
        tokio::time::timeout(Duration::from_secs(5), come(&socket, Begins::Http)).await.unwrap().unwrap();
    }
}
