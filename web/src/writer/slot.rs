//! One stream with its socket. Nothing waits here but the rest of a write that the socket did not take.

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
    /// Its group, and its place there.
    pub(super) group: u32,
    pub(super) at: u32,
    /// Tells it from others with the same key.
    pub(super) serial: u32,
    coding: Coding,
    phase: Phase,
    /// What the socket did not take.
    rest: Option<Box<Rest>>,
    _permit: ConnectionPermit,
    /// The tick for which it stands in the wheel.
    pub(super) armed: Option<Tick>,
    /// Whether it waits for history, so that news is of no use.
    pub(super) reads: bool,
    /// Whether it is in the thread's lists of those that wait for history, have a turn, or have more to say.
    pub(super) is_listed: bool,
    pub(super) has_turn: bool,
    pub(super) is_unheard: bool,
    pub(super) closed: bool,
}

enum Phase {
    Streams(Stream),
    /// The last block is given, and the end of the body with it.
    Ends(Box<Ends>),
    /// Everything has been written: the client reads it and closes, or has had its time.
    Lingers(Moment),
}

struct Ends {
    stream: Stream,
    /// The client has until then to take what is left.
    until: Moment,
}

struct Rest {
    bytes: Bytes,
    /// When the socket last took something.
    since: Moment,
}

/// What a slot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// News, the socket, or its deadline.
    Waits,
    /// As that, or this moment.
    WaitsUntil(Moment),
    /// A read of history, or this moment.
    Reads(Moment),
    /// Another turn.
    Again,
    /// It is to be closed.
    Over(End),
}

/// What all streams of a thread are served with.
pub(super) struct Hands<'a> {
    pub(super) world: World<'a>,
    pub(super) last: &'a mut LastFrames<Bytes>,
    pub(super) chunks: &'a Chunks,
    /// Bytes that sockets took, and records in what they were given.
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

    /// When to look at it again, whatever happens.
    pub(super) fn due(&self) -> Option<Moment> {
        match &self.phase {
            // Nothing can be said before the socket takes what is left, but the last word.
            Phase::Streams(stream) if self.rest.is_some() => stream.ends_at(),
            Phase::Streams(stream) => Some(stream.due()),
            Phase::Ends(ends) => Some(ends.until),
            Phase::Lingers(until) => Some(*until),
        }
    }

    /// What it does where its view has something new.
    pub(super) fn hears(&self) -> Hears {
        // The socket will tell, or the end of the read.
        if self.rest.is_some() || self.reads {
            return Hears::Nothing;
        }
        match &self.phase {
            Phase::Streams(stream) if stream.subscription.is_live() => Hears::News,
            Phase::Streams(_) => Hears::Later,
            Phase::Ends(_) | Phase::Lingers(_) => Hears::Nothing,
        }
    }

    /// Since when the socket has taken nothing, if there is something for it.
    pub(super) fn blocked(&self) -> Option<Moment> {
        self.rest.as_ref().map(|rest| rest.since)
    }

    /// Lets go of what the socket did not take: it is closed.
    pub(super) fn forget_rest(&mut self) {
        self.rest = None;
    }

    /// The head of the response, with what the first turns bring.
    pub(super) fn open(&mut self, head: Bytes, hands: &mut Hands<'_>) -> Outcome {
        self.say(&mut Pieces::of(head), hands)
    }

    /// Writes what there is, until there is nothing, the socket is full, or others should have their turn.
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

    /// Takes turns, and writes what they bring after what is there.
    fn say(&mut self, out: &mut Pieces, hands: &mut Hands<'_>) -> Outcome {
        let outcome = self.gather(out, hands);
        match self.send(out, hands) {
            Ok(false) => Outcome::Waits,
            Err(error) => Outcome::Over(End::of(&error)),
            // Everything of it has been written.
            Ok(true) if matches!(self.phase, Phase::Ends(_)) => self.linger(hands.world.now),
            Ok(true) => outcome,
        }
    }

    /// Some turns, one after the other: until there is nothing, others should have theirs, or it is enough for one write.
    fn gather(&mut self, out: &mut Pieces, hands: &mut Hands<'_>) -> Outcome {
        for _ in 0..TURNS {
            let Phase::Streams(stream) = &mut self.phase else { return Outcome::Waits };
            match stream.turn(&hands.world, hands.last) {
                Said::Nothing => return self.wanted(),
                Said::Ended => return Outcome::Over(End::Client),
                Said::Repeated(chunk, records) => {
                    *hands.records += records as u64;
                    out.push(self.coding.of(chunk));
                    // All that there is; what comes later is told.
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

    /// A stream that has come to its end while its client takes nothing has its last word behind what is left: it may not
    /// stay for longer than others.
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
                Wanted::Turn => Outcome::Again,
            },
            _ => Outcome::Waits,
        }
    }

    /// Ends this direction, and gives the stream's place back. Closed at once, with bytes of the client's unread, the socket
    /// would be reset, and the last block lost.
    fn linger(&mut self, now: Moment) -> Outcome {
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return Outcome::Over(End::Client);
        }
        let until = now.plus(LINGER);
        self.phase = Phase::Lingers(until);
        Outcome::WaitsUntil(until)
    }

    /// Writes; whether the socket took all. What it did not take is the rest.
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

/// Whether a stream takes part where its view has something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hears {
    /// At once.
    News,
    /// When it is its turn.
    Later,
    /// It waits for something else.
    Nothing,
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

/// What is written at once.
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

/// How many bytes the socket took of the pieces, one after the other.
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

/// How many bytes the socket took.
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
