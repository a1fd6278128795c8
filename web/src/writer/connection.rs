//! The HTTP/2 connections of a thread. What their streams have to say is gathered, and written once a round for each connection.

use std::io;

use bytes::{Buf as _, Bytes};
use slab::Slab;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Duration;

use super::answer::Service;
use super::way::Shared;
use super::wheel::Tick;
use super::wire::{Bench, Wire};
use crate::http2::{self, Code};
use crate::moment::Moment;
use crate::news::TAKE_TIMEOUT;
use crate::permit::ConnectionPermit;

/// What is gathered is written once there is as much as this, even within a round.
const WRITE_AT: usize = 64 * 1024;
/// Of responses that are no streams, no more than this is gathered, in bytes: what a socket does not take of it is kept a second time,
/// and counts against the budget for unread output.
const REPLIES_AT: usize = 16 * 1024;
/// How long a connection may be without a stream.
const IDLE: Duration = Duration::from_secs(10);
/// A client that has sent nothing for so long is asked for a sign of life, and counts as gone without one.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the client of a connection that was ended may take to close it, and how much it may send meanwhile, in bytes: a socket
/// that is closed with unread bytes is reset, and the client may lose what it was sent last.
const LINGER: Duration = Duration::from_secs(2);
const READ_AT_END: usize = 64 * 1024;

pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) http2: http2::Connection<Owner>,
    /// Answers its requests.
    pub(super) service: Service,
    /// Distinguishes the connection from earlier ones with the same key.
    pub(super) serial: u32,
    pub(super) armed: Option<Tick>,
    phase: Phase,
    /// Since when it has no stream, if it has none.
    idle: Option<Moment>,
    /// When the client last sent anything, and whether it was asked to since.
    heard: Moment,
    is_pinged: bool,
    /// When to look at requests that go on after their answer.
    rest: Option<Moment>,
    /// What was read of the client after the end, in bytes.
    read_at_end: usize,
    /// Whether a response has more that could be sent once what was gathered is written.
    has_more: bool,
    /// With which of its streams the next pass over all begins.
    turn: usize,
    /// Whether a write has failed.
    is_broken: bool,
    /// Whether it is in the lists of those that have something to write, and that have more to read.
    is_dirty: bool,
    pub(super) is_unheard: bool,
    pub(super) is_closed: bool,
    _permit: ConnectionPermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// No new stream is served; it ends with its last one.
    Leaves,
    /// It ends once everything is written.
    Ends,
    /// Everything has been written: the client has until then to close the connection.
    Lingers(Moment),
}

/// What a stream of a connection belongs to.
#[derive(Debug)]
pub(super) enum Owner {
    /// A request that is being answered.
    Asked(AbortHandle),
    /// A response that is no stream of events.
    Reply(Box<Reply>),
    /// The slot with this key.
    Slot(u32),
}

/// A response that comes piece by piece.
#[derive(Debug)]
pub(super) struct Reply {
    rest: Bytes,
    /// When the client last took any of it.
    since: Moment,
    /// Told once the piece is taken.
    taken: Option<oneshot::Sender<()>>,
    has_all: bool,
}

impl Reply {
    pub(super) fn new(now: Moment) -> Reply {
        Reply { rest: Bytes::new(), since: now, taken: None, has_all: false }
    }

    /// Takes the next piece; `None`: the last one has come.
    pub(super) fn put(&mut self, piece: Option<(Bytes, oneshot::Sender<()>)>, now: Moment) {
        match piece {
            Some((piece, taken)) => (self.rest, self.taken, self.since) = (piece, Some(taken), now),
            None => self.has_all = true,
        }
    }

    fn is_blocked(&self) -> bool {
        !self.rest.is_empty()
    }
}

/// What a connection must have done at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// It ends, in an orderly way.
    End,
    /// It is closed: its client is gone.
    Close,
}

impl Connection {
    pub(super) fn new(
        wire: Wire,
        service: Service,
        permit: ConnectionPermit,
        serial: u32,
        now: Moment,
    ) -> Connection {
        let http2 = http2::Connection::new(wire.is_tls(), now);
        Connection {
            wire,
            http2,
            service,
            serial,
            armed: None,
            phase: Phase::Open,
            idle: Some(now),
            heard: now,
            is_pinged: false,
            rest: None,
            read_at_end: 0,
            has_more: false,
            turn: 0,
            is_broken: false,
            is_dirty: false,
            is_unheard: false,
            is_closed: false,
            _permit: permit,
        }
    }

    /// Whether its socket takes nothing.
    pub(super) fn is_blocked(&self) -> bool {
        self.wire.rest().is_some()
    }

    /// Since when the socket has taken nothing, if something is left to write.
    pub(super) fn blocked(&self) -> Option<Moment> {
        self.wire.rest().map(|rest| rest.since)
    }

    /// Whether what the client sends is still looked at.
    pub(super) fn is_heard(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Leaves)
    }

    /// The client has sent something after the end. False: it was too much.
    pub(super) fn pass_over(&mut self, bytes: usize) -> bool {
        self.read_at_end += bytes;
        self.read_at_end <= READ_AT_END
    }

    /// The client has sent something.
    pub(super) fn hear(&mut self, now: Moment) {
        (self.heard, self.is_pinged) = (now, false);
    }

    /// Serves no new stream, and ends with the last one.
    pub(super) fn leave(&mut self) {
        if self.phase == Phase::Open {
            self.http2.go_away(Code::NoError);
            self.phase = Phase::Leaves;
        }
    }

    /// Ends once everything is written.
    pub(super) fn end(&mut self) {
        if self.is_heard() {
            self.phase = Phase::Ends;
        }
    }

    /// Writes what was gathered. True: everything was written. Once it has failed, it always fails.
    pub(super) fn flush(&mut self, now: Moment, bench: &mut Bench<'_>) -> io::Result<bool> {
        if self.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.write(now, bench).inspect_err(|_| self.is_broken = true)
    }

    fn write(&mut self, now: Moment, bench: &mut Bench<'_>) -> io::Result<bool> {
        if !self.wire.flush(now, &mut 0, bench)? {
            return Ok(false);
        }
        if self.http2.unsent() > 0 {
            let pieces = self.http2.out().take();
            let size: usize = pieces.iter().map(Bytes::len).sum();
            let taken = self.wire.write(&pieces, bench)?;
            if taken < size || self.wire.has_unsent() {
                self.wire.block(bench.chunks.rest(&pieces, taken), now);
                return Ok(false);
            }
        }
        if self.phase == Phase::Ends {
            if !self.wire.finish(bench)? {
                self.wire.block(Bytes::new(), now);
                return Ok(false);
            }
            self.phase = Phase::Lingers(now.plus(LINGER));
        }
        Ok(true)
    }

    /// Does what is due.
    pub(super) fn look(&mut self, now: Moment) -> Due {
        self.idle = if self.http2.is_idle() { self.idle.or(Some(now)) } else { None };
        match self.phase {
            Phase::Lingers(until) => return if until <= now { Due::Close } else { Due::Nothing },
            // The timeout of TCP is for those that take nothing.
            Phase::Ends => return Due::Nothing,
            Phase::Leaves if self.idle.is_some() => return Due::End,
            Phase::Open | Phase::Leaves => {}
        }
        if self.idle.is_some_and(|idle| idle.plus(IDLE) <= now) {
            self.leave();
            return Due::End;
        }
        if self.heard.plus(PING_EVERY + PING_TIMEOUT) <= now {
            return Due::Close;
        }
        if !self.is_pinged && self.heard.plus(PING_EVERY) <= now {
            self.is_pinged = true;
            self.http2.ping();
        }
        for number in self.untaken(now) {
            self.http2.reset(number, Code::Cancel);
        }
        self.rest = self.http2.look(now);
        Due::Nothing
    }

    /// The responses of which the client has taken nothing for too long.
    fn untaken(&self, now: Moment) -> Vec<u32> {
        let is_untaken = |owner: &Owner| matches!(owner, Owner::Reply(reply) if reply.is_blocked() && reply.since.plus(TAKE_TIMEOUT) <= now);
        self.http2.owners().filter(|(_, owner)| is_untaken(owner)).map(|(number, _)| number).collect()
    }

    /// Whether something is to be written, or its end.
    pub(super) fn has_work(&self) -> bool {
        !self.is_blocked() && (self.http2.unsent() > 0 || self.phase == Phase::Ends)
    }

    /// When to look at it again.
    pub(super) fn due(&self) -> Option<Moment> {
        match self.phase {
            Phase::Lingers(until) => return Some(until),
            Phase::Ends => return None,
            Phase::Open | Phase::Leaves => {}
        }
        let ping = self.heard.plus(if self.is_pinged { PING_EVERY + PING_TIMEOUT } else { PING_EVERY });
        let idle = self.idle.map(|idle| idle.plus(IDLE));
        let replies = self.http2.owners().filter_map(|(_, owner)| match owner {
            Owner::Reply(reply) if reply.is_blocked() => Some(reply.since.plus(TAKE_TIMEOUT)),
            _ => None,
        });
        replies.chain(idle).chain(self.rest).chain([ping]).min()
    }

    /// Whether its responses are to be looked at again, as what was gathered is written.
    pub(super) fn takes_more(&mut self) -> bool {
        std::mem::take(&mut self.has_more)
    }

    /// The streams in the order of this pass: the next one begins with another, so that none has the window to itself.
    pub(super) fn pass(&mut self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.http2.owners().map(|(number, _)| number).collect();
        if !numbers.is_empty() {
            self.turn = (self.turn + 1) % numbers.len();
            numbers.rotate_left(self.turn);
        }
        numbers
    }

    /// Sends what there is of a reply, as far as it is taken.
    fn serve_reply(&mut self, number: u32, now: Moment) {
        if self.is_blocked() {
            return;
        }
        if self.http2.unsent() >= REPLIES_AT {
            self.has_more = true;
            return;
        }
        let Some(Owner::Reply(reply)) = self.http2.owner_mut(number) else { return };
        let mut rest = std::mem::take(&mut reply.rest);
        let part = rest.slice(..rest.len().min(REPLIES_AT));
        let taken = self.http2.send(number, std::slice::from_ref(&part));
        rest.advance(taken);
        // Where a window ends it, the client tells when there is more of it.
        self.has_more |= !rest.is_empty() && taken == part.len();
        let Some(Owner::Reply(reply)) = self.http2.owner_mut(number) else { return };
        reply.since = if taken > 0 { now } else { reply.since };
        if !rest.is_empty() {
            reply.rest = rest;
            return;
        }
        if let Some(taken) = reply.taken.take() {
            // Fails if the response has gone; then its end has come, or comes.
            let _ = taken.send(());
        }
        if reply.has_all {
            self.http2.end(number);
        }
    }
}

/// The connections of a thread, by their keys.
#[derive(Default)]
pub(super) struct Connections {
    pub(super) all: Slab<Connection>,
    /// Those that have something to write; each is in the list once.
    dirty: Vec<u32>,
}

impl Connections {
    /// The connection, if it is this one and open.
    pub(super) fn get(&mut self, key: u32, serial: u32) -> Option<&mut Connection> {
        let connection = self.all.get_mut(key as usize)?;
        (connection.serial == serial && !connection.is_closed).then_some(connection)
    }

    /// Has it written at the end of this part of the round.
    pub(super) fn mark(&mut self, key: u32) {
        let connection = &mut self.all[key as usize];
        if !connection.is_closed && !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(key);
        }
    }

    /// Those that have something to write, each of which is to be flushed.
    pub(super) fn take_dirty(&mut self) -> Option<u32> {
        let key = self.dirty.pop()?;
        self.all[key as usize].is_dirty = false;
        Some(key)
    }

    /// Begins the response of a stream with this header block.
    pub(super) fn begin(&mut self, shared: &Shared, block: &[u8]) {
        self.all[shared.connection as usize].http2.begin(shared.number, block, false);
        self.mark(shared.connection);
    }

    /// Takes as much of the pieces as there is room for; returns how many bytes.
    pub(super) fn send(
        &mut self,
        shared: &Shared,
        pieces: &[Bytes],
        now: Moment,
        bench: &mut Bench<'_>,
    ) -> usize {
        self.mark(shared.connection);
        let connection = &mut self.all[shared.connection as usize];
        let is_full = connection.http2.unsent() >= WRITE_AT;
        // Where it fails, the connection is closed when it is flushed again.
        if connection.is_blocked() || (is_full && !connection.flush(now, bench).unwrap_or(false)) {
            return 0;
        }
        connection.http2.send(shared.number, pieces)
    }

    /// Ends the response of a stream.
    pub(super) fn end(&mut self, shared: &Shared) {
        self.all[shared.connection as usize].http2.end(shared.number);
        self.mark(shared.connection);
    }

    /// A stream is closed: if it has not ended, it is reset.
    pub(super) fn close_stream(&mut self, shared: &Shared) {
        let connection = &mut self.all[shared.connection as usize];
        if !connection.is_closed && connection.http2.has(shared.number) {
            connection.http2.reset(shared.number, Code::Cancel);
        }
        self.mark(shared.connection);
    }

    pub(super) fn serve_reply(&mut self, key: u32, number: u32, now: Moment) {
        self.all[key as usize].serve_reply(number, now);
        self.mark(key);
    }
}
