//! How a stream's bytes get into its socket: as they are, or over TLS as records.
//!
//! Over TLS each client has its own keys, so the same chunk is encrypted for each, into one buffer of the thread. Only what the
//! socket does not take is kept for the stream; the bytes after it are encrypted once the socket has taken that.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use rustls::server::ServerConnection;
use smallvec::SmallVec;

use super::chunk::Chunks;
use crate::tls::{Received, RecordLayer};

/// The most plain bytes of one record (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;
/// Encrypted bytes are written once there are as many as this. It bounds what a client that does not read can hold of its own.
const WRITE_AT: usize = 32 * 1024;

/// A socket, and over TLS the state of its connection.
pub(super) struct Wire {
    pub(super) socket: TcpStream,
    tls: Option<Box<Tls<ServerConnection>>>,
}

/// What a thread passes to all of its sockets.
pub(super) struct Bench<'a> {
    /// For encrypted bytes. Emptied before each use: one connection's bytes must never get into another.
    pub(super) sealed: &'a mut Vec<u8>,
    pub(super) chunks: &'a Chunks,
}

/// The state of a TLS connection.
struct Tls<L> {
    layer: L,
    /// Encrypted bytes that the socket did not take. They precede everything else.
    unsent: Bytes,
}

impl Wire {
    pub(super) fn new(socket: TcpStream, tls: Option<Box<ServerConnection>>) -> Wire {
        let tls = tls.map(|layer| Box::new(Tls { layer: *layer, unsent: Bytes::new() }));
        Wire { socket, tls }
    }

    /// Whether encrypted bytes must be sent before anything else.
    pub(super) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.unsent.is_empty())
    }

    /// Writes the pieces in order; returns how many of their bytes need not be given again: the socket took them, or they are
    /// encrypted, and among the unsent bytes.
    pub(super) fn write(&mut self, pieces: &[Bytes], bench: &mut Bench<'_>) -> io::Result<usize> {
        match (&mut self.tls, pieces) {
            (Some(tls), _) => tls.write(&mut self.socket, pieces, bench),
            (None, [piece]) => write(&mut self.socket, piece),
            (None, pieces) => write_all_of(&mut self.socket, pieces),
        }
    }

    /// Sends the unsent bytes; returns how many of them the socket took.
    pub(super) fn flush(&mut self) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.flush(&mut self.socket),
            None => Ok(0),
        }
    }

    /// Says that nothing follows. False: the socket did not take everything that precedes.
    pub(super) fn finish(&mut self, bench: &mut Bench<'_>) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            bench.sealed.clear();
            tls.layer.close(bench.sealed);
            if !tls.put(&mut self.socket, bench)? {
                return Ok(false);
            }
        }
        self.socket.shutdown(Shutdown::Write)?;
        // What still comes from the client is dropped without being decrypted.
        self.tls = None;
        Ok(true)
    }

    /// Reads once what the client sends after its request, and drops it. `None`: the connection is over.
    pub(super) fn read(&mut self, scratch: &mut [u8], bench: &mut Bench<'_>) -> io::Result<Option<()>> {
        let bytes = match self.socket.read(scratch)? {
            0 => return Ok(None),
            count => &scratch[..count],
        };
        let Some(tls) = &mut self.tls else { return Ok(Some(())) };
        bench.sealed.clear();
        let received = tls.layer.receive(bytes, bench.sealed);
        tls.answer(&mut self.socket, bench)?;
        Ok((received == Received::Open).then_some(()))
    }

    /// Drops the unsent bytes: the stream is closed.
    pub(super) fn forget_unsent(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.unsent = Bytes::new();
        }
    }
}

impl<L: RecordLayer> Tls<L> {
    fn write(
        &mut self,
        socket: &mut impl Write,
        pieces: &[Bytes],
        bench: &mut Bench<'_>,
    ) -> io::Result<usize> {
        debug_assert!(self.unsent.is_empty(), "records are sent in the order of their numbers");
        bench.sealed.clear();
        let mut taken = 0;
        for part in pieces.iter().flat_map(|piece| piece.chunks(RECORD)) {
            self.layer.seal(part, bench.sealed)?;
            taken += part.len();
            if bench.sealed.len() >= WRITE_AT && !self.put(socket, bench)? {
                return Ok(taken);
            }
        }
        self.put(socket, bench)?;
        Ok(taken)
    }

    /// Writes what was encrypted, and keeps what the socket does not take. True: it took everything.
    fn put(&mut self, socket: &mut impl Write, bench: &mut Bench<'_>) -> io::Result<bool> {
        let taken = write(socket, bench.sealed);
        let rest = taken.as_ref().map(|taken| &bench.sealed[*taken..]).unwrap_or_default();
        if !rest.is_empty() {
            self.unsent = bench.chunks.copy(rest);
        }
        bench.sealed.clear();
        taken.map(|_| self.unsent.is_empty())
    }

    /// Sends what TLS answers, after what is unsent.
    fn answer(&mut self, socket: &mut impl Write, bench: &mut Bench<'_>) -> io::Result<()> {
        if self.unsent.is_empty() {
            return self.put(socket, bench).map(|_| ());
        }
        if !bench.sealed.is_empty() {
            self.unsent = bench.chunks.copy(&[&self.unsent[..], &bench.sealed[..]].concat());
            bench.sealed.clear();
        }
        Ok(())
    }

    fn flush(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        let taken = write(socket, &self.unsent)?;
        self.unsent.advance(taken);
        if self.unsent.is_empty() {
            // An empty part would keep the memory of the whole.
            self.unsent = Bytes::new();
        }
        Ok(taken)
    }
}

/// Writes the pieces in order; returns how many bytes the socket took.
fn write_all_of(socket: &mut TcpStream, pieces: &[Bytes]) -> io::Result<usize> {
    let mut slices: SmallVec<[IoSlice<'_>; 4]> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let (mut left, mut taken) = (&mut slices[..], 0);
    while !left.is_empty() {
        match socket.write_vectored(left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                taken += count;
                IoSlice::advance_slices(&mut left, count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// Writes the bytes; returns how many of them the socket took.
fn write(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match socket.write(&bytes[taken..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
