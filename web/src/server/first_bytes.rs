//! Waits for a connection's first bytes without reading them. Until a whole request, or the first record of a TLS handshake,
//! has come, a connection holds nothing but its socket: what the client has sent stays in the kernel, and thousands that send
//! half a request take no turn from those that have sent a whole one.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::connection::MAX_HEAD;

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
