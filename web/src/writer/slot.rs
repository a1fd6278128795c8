//! One stream with its socket. Nothing waits here but the rest of a write that the socket did not take.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use tailrace_bridge::{Lookaside, Wanted};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, Instant};

use super::chunk;
use crate::stream::{Said, Stream, World};

/// Turns of one stream before others have theirs.
const TURNS: usize = 8;
/// Reads of what a client sends after its request, before others have their turn.
const READS: usize = 16;
/// A client has so long to take the last block.
const LAST_WORD: Duration = Duration::from_secs(30);
/// It has so long to close then.
const LINGER: Duration = Duration::from_secs(2);

pub(super) struct Slot {
    pub(super) socket: TcpStream,
    phase: Phase,
    /// What the socket did not take.
    rest: Option<Box<Bytes>>,
    _place: OwnedSemaphorePermit,
    /// Its group, and its place there.
    pub(super) group: u32,
    pub(super) at: u32,
    /// Tells it from others with the same key.
    pub(super) serial: u32,
    /// The tick for which it stands in the wheel.
    pub(super) armed: Option<u64>,
    /// Whether it waits for history, so that news is of no use.
    pub(super) reads: bool,
    /// Whether it is in the thread's lists of those that wait for history, have a turn, or have more to say.
    pub(super) is_listed: bool,
    pub(super) has_turn: bool,
    pub(super) is_unheard: bool,
    pub(super) closed: bool,
}

/// Nearly all slots stream: a box for the large variant would cost each of them an allocation.
#[allow(clippy::large_enum_variant)]
enum Phase {
    Streams(Stream),
    /// The last block is given, and the end of the body with it. The client has until then to take it.
    Ends(Stream, Instant),
    /// Everything has been written: the client reads it and closes, or has had its time.
    Lingers(Instant),
}

/// What a slot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// News, the socket, or its deadline.
    Waits,
    /// As that, or this moment.
    WaitsUntil(Instant),
    /// A read of history, or this moment.
    Reads(Instant),
    /// Another turn.
    Again,
    /// It is to be closed.
    Over,
}

/// What all streams of a thread are served with.
pub(super) struct Hands<'a> {
    pub(super) world: World<'a>,
    pub(super) lookaside: &'a mut Lookaside,
    /// The chunk of what is in the lookaside.
    pub(super) chunk: &'a mut Bytes,
    /// Bytes that sockets took.
    pub(super) written: &'a mut u64,
}

impl Slot {
    pub(super) fn new(
        socket: TcpStream,
        stream: Stream,
        place: OwnedSemaphorePermit,
        group: u32,
        serial: u32,
    ) -> Slot {
        Slot {
            socket,
            phase: Phase::Streams(stream),
            rest: None,
            _place: place,
            group,
            at: 0,
            serial,
            armed: None,
            reads: false,
            is_listed: false,
            has_turn: false,
            is_unheard: false,
            closed: false,
        }
    }

    pub(super) fn stream(&self) -> Option<&Stream> {
        match &self.phase {
            Phase::Streams(stream) | Phase::Ends(stream, _) => Some(stream),
            Phase::Lingers(_) => None,
        }
    }

    /// When to look at it again, whatever happens.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.phase {
            // Nothing can be said before the socket takes what is left.
            Phase::Streams(_) if self.rest.is_some() => None,
            Phase::Streams(stream) => Some(stream.due()),
            Phase::Ends(_, until) | Phase::Lingers(until) => Some(*until),
        }
    }

    /// The head of the response, with the first block.
    pub(super) fn open(&mut self, head: &[u8], hands: &mut Hands<'_>) -> Outcome {
        let Phase::Streams(stream) = &mut self.phase else { return Outcome::Over };
        let Said::Block(block) = stream.turn(&hands.world, hands.lookaside) else { return Outcome::Over };
        let first = chunk::encode(head, &[block]);
        match self.send(first, hands) {
            // What it has missed is read when it is its turn: thousands may arrive at once.
            Ok(true) => Outcome::Again,
            Ok(false) => Outcome::Waits,
            Err(_) => Outcome::Over,
        }
    }

    /// Writes what there is, until there is nothing, the socket is full, or others should have their turn.
    pub(super) fn serve(&mut self, hands: &mut Hands<'_>) -> Outcome {
        match self.phase {
            Phase::Ends(_, until) | Phase::Lingers(until) if hands.world.now >= until => {
                return Outcome::Over;
            }
            Phase::Lingers(_) => return Outcome::Waits,
            Phase::Streams(_) | Phase::Ends(..) => {}
        }
        match self.flush(hands) {
            Ok(true) => {}
            Ok(false) => return Outcome::Waits,
            Err(_) => return Outcome::Over,
        }
        for _ in 0..TURNS {
            // Everything of it has been written.
            let Phase::Streams(stream) = &mut self.phase else { return self.linger(hands.world.now) };
            let before = hands.lookaside.kept();
            let (bytes, more) = match stream.turn(&hands.world, hands.lookaside) {
                Said::Nothing => return self.wanted(),
                Said::Ended => return Outcome::Over,
                Said::Block(block) if stream.is_ended() => {
                    let last =
                        [chunk::encode(&[], &[block]), Bytes::from_static(chunk::LAST)].concat().into();
                    self.end(hands.world.now + LAST_WORD);
                    (last, true)
                }
                Said::Block(block) => (chunk::encode(&[], &[block]), true),
                Said::Repeated => (hands.chunk.clone(), false),
                Said::Frames(frames) => {
                    let bytes = chunk::encode(&[], &frames);
                    if hands.lookaside.kept() != before {
                        hands.chunk.clone_from(&bytes);
                    }
                    (bytes, true)
                }
            };
            match self.send(bytes, hands) {
                Ok(true) if more => {}
                // All that there is; what comes later is told.
                Ok(_) => return Outcome::Waits,
                Err(_) => return Outcome::Over,
            }
        }
        Outcome::Again
    }

    fn end(&mut self, until: Instant) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Lingers(until)) {
            Phase::Streams(stream) => Phase::Ends(stream, until),
            other => other,
        };
    }

    fn wanted(&self) -> Outcome {
        match self.stream() {
            Some(stream) if !stream.waits_for_its_pace() => match stream.subscription.wanted() {
                Wanted::News => Outcome::Waits,
                Wanted::NewsUntil(until) => Outcome::WaitsUntil(until.into()),
                Wanted::History(until) => Outcome::Reads(until.into()),
                Wanted::Turn => Outcome::Again,
            },
            _ => Outcome::Waits,
        }
    }

    /// Ends this direction, and gives the stream's place back. Closed at once, with bytes of the client's unread, the socket
    /// would be reset, and the last block lost.
    fn linger(&mut self, now: Instant) -> Outcome {
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return Outcome::Over;
        }
        let until = now + LINGER;
        self.phase = Phase::Lingers(until);
        Outcome::WaitsUntil(until)
    }

    /// Writes; whether the socket took all. What it did not take is the rest.
    fn send(&mut self, mut bytes: Bytes, hands: &mut Hands<'_>) -> io::Result<bool> {
        let done = write(&mut self.socket, &mut bytes, hands.written)?;
        if !done {
            self.rest = Some(Box::new(bytes));
        }
        Ok(done)
    }

    fn flush(&mut self, hands: &mut Hands<'_>) -> io::Result<bool> {
        let Some(rest) = &mut self.rest else { return Ok(true) };
        if !write(&mut self.socket, rest, hands.written)? {
            return Ok(false);
        }
        self.rest = None;
        Ok(true)
    }

    /// Reads what the client sends after its request, which nobody wants, to see that it goes. False: it has gone.
    pub(super) fn hear(&mut self, scratch: &mut [u8]) -> Heard {
        for _ in 0..READS {
            match self.socket.read(scratch) {
                Ok(0) => return Heard::End,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Heard::End,
            }
        }
        Heard::More
    }
}

/// What a client had to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// There is more of it.
    More,
    /// It will say nothing any more: it has gone, for a stream's client that half-closes cannot be told from one.
    End,
}

fn write(socket: &mut TcpStream, bytes: &mut Bytes, written: &mut u64) -> io::Result<bool> {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes.advance(count);
                *written += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
