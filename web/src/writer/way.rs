//! How a stream's bytes get to its client: through a socket of its own, or as one of the streams of an HTTP/2 connection.

use std::io;

use bytes::{Buf as _, Bytes};

use super::connection::Connections;
use super::incoming::Incoming;
use super::wire::{Bench, Rest, Wire};
use crate::moment::Moment;

pub(super) enum Way {
    Socket(Wire),
    Shared(Shared),
}

/// A stream of an HTTP/2 connection.
pub(super) struct Shared {
    /// The key of its connection.
    pub(super) connection: u32,
    /// Its number there.
    pub(super) number: u32,
    /// What the client, or the connection, did not take.
    rest: Option<Box<Rest>>,
}

impl Shared {
    pub(super) fn new(connection: u32, number: u32) -> Shared {
        Shared { connection, number, rest: None }
    }
}

impl Way {
    pub(super) fn rest(&self) -> Option<&Rest> {
        match self {
            Way::Socket(wire) => wire.rest(),
            Way::Shared(shared) => shared.rest.as_deref(),
        }
    }

    pub(super) fn rest_mut(&mut self) -> Option<&mut Rest> {
        match self {
            Way::Socket(wire) => wire.rest_mut(),
            Way::Shared(shared) => shared.rest.as_deref_mut(),
        }
    }

    /// Keeps the bytes until more is taken.
    pub(super) fn block(&mut self, bytes: Bytes, since: Moment) {
        match self {
            Way::Socket(wire) => wire.block(bytes, since),
            Way::Shared(shared) => shared.rest = Some(Box::new(Rest { bytes, since })),
        }
    }

    /// Drops what was not sent: the stream is closed.
    pub(super) fn forget_rest(&mut self) {
        match self {
            Way::Socket(wire) => wire.forget_rest(),
            Way::Shared(shared) => shared.rest = None,
        }
    }

    /// Whether encrypted bytes must be sent before anything else.
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Way::Socket(wire) => wire.has_unsent(),
            Way::Shared(_) => false,
        }
    }

    /// The wire, if it is the stream's own.
    pub(super) fn socket(&mut self) -> Option<&mut Wire> {
        match self {
            Way::Socket(wire) => Some(wire),
            Way::Shared(_) => None,
        }
    }

    /// What has to be answered over a WebSocket.
    pub(super) fn incoming(&mut self) -> Option<&mut Incoming> {
        self.socket()?.incoming()
    }

    /// Writes the pieces in order; returns how many of their bytes need not be given again.
    pub(super) fn write(
        &mut self,
        pieces: &[Bytes],
        now: Moment,
        bench: &mut Bench<'_>,
        connections: &mut Connections,
    ) -> io::Result<usize> {
        match self {
            Way::Socket(wire) => wire.write(pieces, bench),
            Way::Shared(shared) => Ok(connections.send(shared, pieces, now, bench)),
        }
    }

    /// Sends the rest. `written` counts what need not be given again. True: everything was sent.
    pub(super) fn flush(
        &mut self,
        now: Moment,
        written: &mut u64,
        bench: &mut Bench<'_>,
        connections: &mut Connections,
    ) -> io::Result<bool> {
        let shared = match self {
            Way::Socket(wire) => return wire.flush(now, written, bench),
            Way::Shared(shared) => shared,
        };
        let Some(mut rest) = shared.rest.take() else { return Ok(true) };
        let taken = connections.send(shared, std::slice::from_ref(&rest.bytes), now, bench);
        *written += taken as u64;
        rest.bytes.advance(taken);
        if rest.bytes.is_empty() {
            return Ok(true);
        }
        rest.since = if taken > 0 { now } else { rest.since };
        shared.rest = Some(rest);
        Ok(false)
    }

    /// Says that nothing follows. False: not everything before it was taken.
    pub(super) fn finish(
        &mut self,
        bench: &mut Bench<'_>,
        connections: &mut Connections,
    ) -> io::Result<bool> {
        match self {
            Way::Socket(wire) => wire.finish(bench),
            Way::Shared(shared) => {
                connections.end(shared);
                Ok(true)
            }
        }
    }
}
