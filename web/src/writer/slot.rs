//! One stream with its socket. The only bytes buffered here are the rest of a write that the socket did not take.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use smallvec::SmallVec;
use tailrace_bridge::{LastFrames, Wanted};
use tokio::time::{Duration, Instant};

use super::chunk::{Chunks, Coding};
use super::wheel::Tick;
use crate::end::End;
use crate::moment::Moment;
use crate::pace::SMALL_READ;
use crate::permit::ConnectionPermit;
use crate::stream::{Said, Stream, World};

/// The most turns of one stream before other streams are served.
const TURNS: usize = 8;
/// The most reads of what a client sends after its request, before other streams are served.
const READS: usize = 16;
/// The timeout for a client to read the last block.
const LAST_WORD: Duration = Duration::from_secs(30);
/// The timeout for the client to close the connection after that.
const LINGER: Duration = Duration::from_secs(2);

pub(super) struct Slot {
    pub(super) socket: TcpStream,
    /// Its group, and its place there.
    pub(super) group: u32,
    pub(super) at: u32,
    /// Distinguishes the stream from earlier ones with the same key.
    pub(super) serial: u32,
    coding: Coding,
    phase: Phase,
    /// What the socket did not take.
    rest: Option<Box<Rest>>,
    _permit: ConnectionPermit,
    /// The tick for which the stream is in the wheel.
    pub(super) armed: Option<Tick>,
    /// Whether the stream waits for history, or for its turn to read it, so that news is ignored.
    pub(super) reads: bool,
    /// Whether the stream is in the thread's lists of streams that wait for history, have a turn, or have more to read.
    pub(super) is_listed: bool,
    pub(super) has_turn: bool,
    pub(super) is_unheard: bool,
    pub(super) closed: bool,
}

enum Phase {
    Streams(Stream),
    /// The last block and the end of the body are ready to be written.
    Ends(Box<Ends>),
    /// Everything has been written: the client has until then to read it and to close the connection.
    Lingers(Moment),
}

struct Ends {
    stream: Stream,
    /// The deadline by which the client must read the rest.
    until: Moment,
}

struct Rest {
    bytes: Bytes,
    /// When the socket last took any bytes.
    since: Moment,
}

/// What the slot waits for, after it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// News, the socket, or its deadline.
    Waits,
    /// As `Waits`, or this moment.
    WaitsUntil(Moment),
    /// A read of history, or this moment.
    Reads(Moment),
    /// This moment, and no news before it.
    Sleeps(Moment),
    /// Another turn.
    Again,
    /// The stream must be closed.
    Over(End),
}

/// What a thread passes to all of its streams.
pub(super) struct Hands<'a> {
    pub(super) world: World<'a>,
    pub(super) last: &'a mut LastFrames<Bytes>,
    pub(super) chunks: &'a Chunks,
    /// Bytes that sockets took, and records that streams read.
    pub(super) written: &'a mut u64,
    pub(super) records: &'a mut u64,
}

impl Slot {
    pub(super) fn new(
        socket: TcpStream,
        coding: Coding,
        stream: Stream,
        permit: ConnectionPermit,
        group: u32,
        serial: u32,
    ) -> Slot {
        Slot {
            socket,
            group,
            at: 0,
            serial,
            coding,
            phase: Phase::Streams(stream),
            rest: None,
            _permit: permit,
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
            Phase::Streams(stream) => Some(stream),
            Phase::Ends(ends) => Some(&ends.stream),
            Phase::Lingers(_) => None,
        }
    }

    /// When to serve the slot again, whatever happens.
    pub(super) fn due(&self) -> Option<Moment> {
        match &self.phase {
            // Until the socket takes the rest, only the last block can be added.
            Phase::Streams(stream) if self.rest.is_some() => stream.ends_at(),
            Phase::Streams(stream) => Some(stream.due()),
            Phase::Ends(ends) => Some(ends.until),
            Phase::Lingers(until) => Some(*until),
        }
    }

    /// What the stream does when its view has news.
    pub(super) fn hears(&self) -> Hears {
        // It is served once the socket is writable, or the read of history has ended.
        if self.rest.is_some() || self.reads {
            return Hears::Nothing;
        }
        match &self.phase {
            Phase::Streams(stream) if stream.subscription.is_live() => Hears::News,
            Phase::Streams(_) => Hears::Later,
            Phase::Ends(_) | Phase::Lingers(_) => Hears::Nothing,
        }
    }

    /// Since when the socket has taken nothing, if something is left to write.
    pub(super) fn blocked(&self) -> Option<Moment> {
        self.rest.as_ref().map(|rest| rest.since)
    }

    /// Drops what the socket did not take: the stream is closed.
    pub(super) fn forget_rest(&mut self) {
        self.rest = None;
    }

    /// Writes the head of the response, with what the first turns return.
    pub(super) fn open(&mut self, head: Bytes, hands: &mut Hands<'_>) -> Outcome {
        self.say(&mut Pieces::of(head), hands)
    }

    /// Writes what the stream has, until there is nothing more, the socket is full, or other streams must be served.
    pub(super) fn serve(&mut self, hands: &mut Hands<'_>) -> Outcome {
        let now = hands.world.now;
        match &self.phase {
            Phase::Streams(_) => {}
            Phase::Ends(ends) if now < ends.until => {}
            Phase::Lingers(until) if now < *until => return Outcome::Waits,
            Phase::Ends(_) | Phase::Lingers(_) => return Outcome::Over(End::Client),
        }
        match self.flush(now, hands.written) {
            Ok(true) => {}
            Ok(false) => {
                self.end_blocked(hands);
                return Outcome::Waits;
            }
            Err(error) => return Outcome::Over(End::of(&error)),
        }
        self.say(&mut Pieces::default(), hands)
    }

    /// Takes turns, and writes `out` with what they return.
    fn say(&mut self, out: &mut Pieces, hands: &mut Hands<'_>) -> Outcome {
        let outcome = self.gather(out, hands);
        match self.send(out, hands) {
            Ok(false) => Outcome::Waits,
            Err(error) => Outcome::Over(End::of(&error)),
            // The last block has been written.
            Ok(true) if matches!(self.phase, Phase::Ends(_)) => self.linger(hands.world.now),
            Ok(true) => outcome,
        }
    }

    /// Takes some turns: until there is nothing more, other streams must be served, or there is enough for one write.
    fn gather(&mut self, out: &mut Pieces, hands: &mut Hands<'_>) -> Outcome {
        for _ in 0..TURNS {
            let Phase::Streams(stream) = &mut self.phase else { return Outcome::Waits };
            match stream.turn(&hands.world, hands.last) {
                Said::Nothing => return self.wanted(),
                Said::Ended => return Outcome::Over(End::Client),
                Said::Repeated(chunk, records) => {
                    *hands.records += records as u64;
                    out.push(self.coding.of(chunk));
                    // There is nothing more for now; later records are announced as news.
                    return Outcome::Waits;
                }
                Said::Block(block) if stream.is_ended() => {
                    self.end(hands.world.now.plus(LAST_WORD));
                    out.push(hands.chunks.end(&[], block, self.coding));
                }
                Said::Block(block) => out.push(hands.chunks.encode(&[block], self.coding)),
                Said::Frames(frames, records) => {
                    *hands.records += records as u64;
                    let chunk = hands.chunks.encode(&frames, Coding::Chunked);
                    hands.last.set_encoded(|| chunk.clone());
                    out.push(self.coding.of(chunk));
                }
            }
            if out.bytes >= SMALL_READ {
                break;
            }
        }
        Outcome::Again
    }

    /// If a stream has come to its end while its client reads nothing, appends the last block to the rest, so that the stream
    /// is closed as soon as others.
    fn end_blocked(&mut self, hands: &mut Hands<'_>) {
        let now = hands.world.now;
        let (Phase::Streams(stream), Some(rest)) = (&mut self.phase, &mut self.rest) else { return };
        if stream.ends_at().is_none_or(|at| at > now) {
            return;
        }
        if let Said::Block(block) = stream.turn(&hands.world, hands.last) {
            rest.bytes = hands.chunks.end(&rest.bytes, block, self.coding);
            self.end(now.plus(LAST_WORD));
        }
    }

    fn end(&mut self, until: Moment) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Lingers(until)) {
            Phase::Streams(stream) => Phase::Ends(Box::new(Ends { stream, until })),
            other => other,
        };
    }

    fn wanted(&self) -> Outcome {
        match self.stream() {
            Some(stream) if !stream.waits_for_its_pace() => match stream.subscription.wanted() {
                Wanted::News => Outcome::Waits,
                Wanted::NewsUntil(until) => Outcome::WaitsUntil(Moment::past(Instant::from_std(until))),
                Wanted::History(until) => Outcome::Reads(Moment::past(Instant::from_std(until))),
                Wanted::Time(until) => Outcome::Sleeps(Moment::past(Instant::from_std(until))),
                Wanted::Turn => Outcome::Again,
            },
            _ => Outcome::Waits,
        }
    }

    /// Shuts down the writing side, and frees the stream's place. If the socket were closed at once with unread bytes from the
    /// client, it would be reset, and the last block would be lost.
    fn linger(&mut self, now: Moment) -> Outcome {
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return Outcome::Over(End::Client);
        }
        let until = now.plus(LINGER);
        self.phase = Phase::Lingers(until);
        Outcome::WaitsUntil(until)
    }

    /// Writes `out` and keeps what the socket did not take as the rest. True: the socket took everything.
    fn send(&mut self, out: &Pieces, hands: &mut Hands<'_>) -> io::Result<bool> {
        let taken = match &out.pieces[..] {
            [piece] => write(&mut self.socket, piece)?,
            pieces => write_all_of(&mut self.socket, pieces)?,
        };
        *hands.written += taken as u64;
        let done = taken == out.bytes;
        if !done {
            let bytes = hands.chunks.rest(&out.pieces, taken);
            self.rest = Some(Box::new(Rest { bytes, since: hands.world.now }));
        }
        Ok(done)
    }

    fn flush(&mut self, now: Moment, written: &mut u64) -> io::Result<bool> {
        let Some(rest) = &mut self.rest else { return Ok(true) };
        let taken = write(&mut self.socket, &rest.bytes)?;
        *written += taken as u64;
        if taken < rest.bytes.len() {
            rest.bytes.advance(taken);
            if taken > 0 {
                rest.since = now;
            }
            return Ok(false);
        }
        self.rest = None;
        Ok(true)
    }

    /// Reads and drops what the client sends after its request, to detect that the client closes the connection.
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

/// Whether a stream is served when its view has news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hears {
    /// At once.
    News,
    /// Later, in its turn.
    Later,
    /// Not at all: it waits for something else.
    Nothing,
}

/// What was read from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// There is more to read.
    More,
    /// The client has closed its side of the connection, and counts as gone: a client that only half-closes cannot be
    /// distinguished from one that is gone.
    End,
}

/// The pieces of one write.
#[derive(Default)]
struct Pieces {
    pieces: SmallVec<[Bytes; 1]>,
    bytes: usize,
}

impl Pieces {
    fn of(piece: Bytes) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.push(piece);
        pieces
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push(piece);
        }
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
fn write(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
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
