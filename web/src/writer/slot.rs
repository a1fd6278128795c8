//! One stream with its socket. The only bytes buffered here are the rest of a write that the socket did not take.

use std::io::{self, ErrorKind};

use bytes::Bytes;
use smallvec::SmallVec;
use tailrace_bridge::{Framing, LastFrames, Wanted};
use tokio::time::{Duration, Instant};

use super::batch::Batch;
use super::chunk::Coding;
use super::compress::{Body, Compressed, Compressor, padding};
use super::connection::Connections;
use super::way::Way;
use super::wheel::Tick;
use super::wire::Bench;
use crate::coding::ContentCoding;
use crate::end::End;
use crate::http2::SMALLEST_DATA;
use crate::moment::Moment;
use crate::news::TAKE_TIMEOUT;
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
    pub(super) way: Way,
    /// Its group, and its place there.
    pub(super) group: u32,
    pub(super) at: u32,
    /// Distinguishes the stream from earlier ones with the same key.
    pub(super) serial: u32,
    coding: Coding,
    /// `None`: its bytes are sent as they are.
    body: Option<Box<Body>>,
    phase: Phase,
    _permit: Option<ConnectionPermit>,
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
    pub(super) last: &'a mut LastFrames<Batch>,
    pub(super) compressor: &'a mut Compressor,
    /// That of the stream's group.
    pub(super) compressed: &'a mut Compressed,
    pub(super) bench: Bench<'a>,
    pub(super) connections: &'a mut Connections,
    /// Bytes that sockets took (over TLS: before they were encrypted), and records that streams read.
    pub(super) written: &'a mut u64,
    pub(super) records: &'a mut u64,
}

impl Slot {
    pub(super) fn new(
        way: Way,
        coding: Coding,
        stream: Stream,
        permit: Option<ConnectionPermit>,
        group: u32,
        serial: u32,
    ) -> Slot {
        Slot {
            way,
            group,
            at: 0,
            serial,
            coding,
            body: stream.coding().map(|coding| Box::new(Body::new(coding))),
            phase: Phase::Streams(stream),
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

    /// How its body is compressed.
    pub(super) fn coding(&self) -> Option<ContentCoding> {
        self.body.as_ref().map(|body| body.coding())
    }

    /// When to serve the slot again, whatever happens.
    pub(super) fn due(&self) -> Option<Moment> {
        match &self.phase {
            // Until the socket takes the rest, only the last block can be added.
            Phase::Streams(stream) if self.way.rest().is_some() => {
                stream.ends_at().into_iter().chain(self.untaken_at()).min()
            }
            Phase::Streams(stream) => Some(stream.due()),
            Phase::Ends(ends) => Some(ends.until),
            Phase::Lingers(until) => Some(*until),
        }
    }

    /// When it is closed unless its client takes something. For a socket, that is the timeout of TCP.
    fn untaken_at(&self) -> Option<Moment> {
        let Way::Shared(_) = &self.way else { return None };
        self.way.rest().map(|rest| rest.since.plus(TAKE_TIMEOUT))
    }

    /// What the stream does when its view has news.
    pub(super) fn hears(&self) -> Hears {
        // It is served once the socket is writable, or the read of history has ended.
        if self.way.rest().is_some() || self.reads {
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
        self.way.rest().map(|rest| rest.since)
    }

    /// Writes the head of the response, with what the first turns return.
    pub(super) fn open(&mut self, head: Bytes, hands: &mut Hands<'_>) -> Outcome {
        let mut out = Pieces::default();
        match &self.way {
            Way::Socket(_) => out.push(head),
            Way::Shared(shared) => hands.connections.begin(shared, &head),
        }
        if let Some(body) = &self.body {
            out.push(hands.bench.chunks.encode(&[body.begin()], self.coding));
            out.begun = out.pieces.len();
        }
        self.say(&mut out, hands)
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
        match self.way.flush(now, hands.written, &mut hands.bench, hands.connections) {
            Ok(true) => {}
            Ok(false) if self.untaken_at().is_some_and(|at| at <= now) => {
                return Outcome::Over(End::Timeout);
            }
            Ok(false) => {
                self.end_blocked(hands);
                return Outcome::Waits;
            }
            Err(error) => return Outcome::Over(End::of(&error)),
        }
        let mut out = Pieces::default();
        self.answer(&mut out, hands);
        self.say(&mut out, hands)
    }

    /// Takes turns, and writes `out` with what they return.
    fn say(&mut self, out: &mut Pieces, hands: &mut Hands<'_>) -> Outcome {
        let outcome = self.gather(out, hands);
        match self.send(out, hands) {
            Ok(false) => Outcome::Waits,
            Err(error) => Outcome::Over(End::of(&error)),
            // The last block has been written.
            Ok(true) if matches!(self.phase, Phase::Ends(_)) => self.linger(hands),
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
                Said::Repeated(records) => {
                    *hands.records += records as u64;
                    self.put_batch(out, hands);
                    // There is nothing more for now; later records are announced as news.
                    return Outcome::Waits;
                }
                Said::Block(block) if stream.is_ended() => {
                    let last = self.last(block);
                    out.push(hands.bench.chunks.end(&[], last, self.coding));
                    self.end(hands.world.now.plus(LAST_WORD));
                }
                Said::Block(block) => self.put_own(out, &[block], hands),
                Said::Frames(frames, records) => {
                    *hands.records += records as u64;
                    match hands.last.fresh() {
                        Some(fresh) => {
                            hands.last.set_encoded(Batch::new(fresh, frames));
                            self.put_batch(out, hands);
                        }
                        None => self.put_own(out, &frames, hands),
                    }
                }
            }
            if out.bytes >= SMALL_READ {
                break;
            }
        }
        Outcome::Again
    }

    /// Adds what only this stream has for its client.
    fn put_own(&mut self, out: &mut Pieces, slices: &[Bytes], hands: &mut Hands<'_>) {
        let chunks = hands.bench.chunks;
        out.push(match &mut self.body {
            None => chunks.encode(slices, self.coding),
            Some(body) => self.coding.of(hands.compressor.own(body, slices, chunks)),
        });
    }

    /// Adds the frames that were read last, which others of its group get, too.
    fn put_batch(&mut self, out: &mut Pieces, hands: &mut Hands<'_>) {
        let chunks = hands.bench.chunks;
        let Some(batch) = hands.last.encoded() else {
            debug_assert!(false, "they were encoded before they were read again");
            return;
        };
        let Some(body) = &mut self.body else { return out.push(self.coding.of(batch.plain(chunks))) };
        let shared = hands.compressor.shared(body, hands.compressed, batch, hands.world.now, chunks);
        shared.into_iter().for_each(|chunk| out.push(self.coding.of(chunk)));
    }

    /// The last block as the body has it.
    fn last(&mut self, block: Bytes) -> Bytes {
        match &mut self.body {
            None => block,
            Some(body) => body.end(block),
        }
    }

    /// If a stream has come to its end while its client reads nothing, appends the last block to the rest, so that the stream
    /// is closed as soon as others.
    fn end_blocked(&mut self, hands: &mut Hands<'_>) {
        let now = hands.world.now;
        let (Phase::Streams(stream), Some(_)) = (&mut self.phase, self.way.rest()) else { return };
        if stream.ends_at().is_none_or(|at| at > now) {
            return;
        }
        let Said::Block(block) = stream.turn(&hands.world, hands.last) else { return };
        let last = self.last(block);
        if let Some(rest) = self.way.rest_mut() {
            rest.bytes = hands.bench.chunks.end(&rest.bytes, last, self.coding);
        }
        self.end(now.plus(LAST_WORD));
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
    fn linger(&mut self, hands: &mut Hands<'_>) -> Outcome {
        let now = hands.world.now;
        match self.way.finish(&mut hands.bench, hands.connections) {
            Ok(true) if self.way.socket().is_none() => return Outcome::Over(End::Client),
            Ok(true) => {}
            Ok(false) => {
                self.way.block(Bytes::new(), now);
                return Outcome::Waits;
            }
            Err(_) => return Outcome::Over(End::Client),
        }
        let until = now.plus(LINGER);
        self.phase = Phase::Lingers(until);
        Outcome::WaitsUntil(until)
    }

    /// Writes `out` and keeps what the socket did not take as the rest. True: the socket took everything.
    fn send(&mut self, out: &mut Pieces, hands: &mut Hands<'_>) -> io::Result<bool> {
        if let (Way::Shared(_), Some(stream)) = (&self.way, self.stream()) {
            out.pad(stream.subscription.framing(), stream.coding());
        }
        let taken = self.way.write(&out.pieces, hands.world.now, &mut hands.bench, hands.connections)?;
        *hands.written += taken as u64;
        let done = taken == out.bytes && !self.way.has_unsent();
        if !done {
            let bytes = hands.bench.chunks.rest(&out.pieces, taken);
            self.way.block(bytes, hands.world.now);
        }
        Ok(done)
    }

    /// Adds what a client of a WebSocket is to be answered. Until the socket takes more, it waits.
    fn answer(&mut self, out: &mut Pieces, hands: &mut Hands<'_>) {
        let Some(incoming) = self.way.incoming() else { return };
        if let Some(pong) = incoming.pong() {
            out.push(hands.bench.chunks.copy(&pong));
        }
        let close = incoming.close();
        if let Some(wire) = self.way.socket() {
            wire.answered();
        }
        let (Some(close), Phase::Streams(stream)) = (close, &mut self.phase) else { return };
        stream.leave(&hands.world);
        self.end(hands.world.now.plus(LAST_WORD));
        out.push(hands.bench.chunks.copy(&close));
    }

    /// Reads what the client sends after its request, to detect that the client closes the connection. Nothing of it has a
    /// meaning, except over a WebSocket.
    pub(super) fn hear(&mut self, scratch: &mut [u8], hands: &mut Hands<'_>) -> Heard {
        let heard = self.read_all(scratch, hands);
        if self.way.rest().is_none() && self.way.has_unsent() {
            // The socket did not take an answer of TLS.
            self.way.block(Bytes::new(), hands.world.now);
        }
        if heard == Heard::End || self.way.rest().is_some() || self.way.incoming().is_none() {
            return heard;
        }
        let mut out = Pieces::default();
        self.answer(&mut out, hands);
        if out.pieces.is_empty() {
            return heard;
        }
        match (self.send(&mut out, hands), &self.phase) {
            (Err(_), _) => Heard::End,
            (Ok(true), Phase::Ends(_)) => Heard::Answered(self.linger(hands)),
            (Ok(_), Phase::Ends(_)) => Heard::Answered(Outcome::Waits),
            (Ok(_), _) => heard,
        }
    }

    fn read_all(&mut self, scratch: &mut [u8], hands: &mut Hands<'_>) -> Heard {
        let Way::Socket(wire) = &mut self.way else { return Heard::Nothing };
        for _ in 0..READS {
            match wire.read(scratch, &mut hands.bench) {
                Ok(Some(bytes)) => {
                    if self.coding == Coding::Messages && matches!(self.phase, Phase::Streams(_)) {
                        wire.hear(bytes);
                    }
                }
                Ok(None) => return Heard::End,
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
    /// The client was answered, and this comes next; there may be more to read.
    Answered(Outcome),
    /// The client has closed its side of the connection, and counts as gone: a client that only half-closes cannot be
    /// distinguished from one that is gone.
    End,
}

/// The pieces of one write.
#[derive(Default)]
struct Pieces {
    pieces: SmallVec<[Bytes; 1]>,
    bytes: usize,
    /// How many of the pieces begin a coded body.
    begun: usize,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Puts so much before events that they are no smaller than a frame of DATA should be.
    fn pad(&mut self, framing: Framing, coding: Option<ContentCoding>) {
        let missing = SMALLEST_DATA.saturating_sub(self.bytes);
        if self.bytes == 0 || missing == 0 {
            return;
        }
        let padding = match coding {
            None => passed_over(missing, framing),
            Some(coding) => SmallVec::from_iter([padding(coding, missing)]),
        };
        self.bytes += padding.iter().map(Bytes::len).sum::<usize>();
        self.pieces.insert_many(self.begun, padding);
    }
}

/// What clients pass over, of this size or a little more.
fn passed_over(size: usize, framing: Framing) -> SmallVec<[Bytes; 3]> {
    match framing {
        // A comment, to be the first line of a block: after the last block, it would be a block of its own.
        Framing::Sse => {
            const SPACES: &[u8] = &[b' '; SMALLEST_DATA];
            let spaces = size.saturating_sub(b":\n".len());
            [Bytes::from_static(b":"), Bytes::from_static(&SPACES[..spaces]), Bytes::from_static(b"\n")]
                .into()
        }
        // Empty lines.
        Framing::Ndjson | Framing::WebSocket => {
            const LINES: &[u8] = &[b'\n'; SMALLEST_DATA];
            SmallVec::from_iter([Bytes::from_static(&LINES[..size])])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_are_too_small_for_a_frame_come_after_what_clients_pass_over() {
        for (size, framing) in (1..300).flat_map(|size| [(size, Framing::Sse), (size, Framing::Ndjson)]) {
            let mut pieces = Pieces::default();
            pieces.push(vec![b'x'; size].into());
            pieces.pad(framing, None);
            let bytes = pieces.pieces.concat();
            assert_eq!(bytes.len(), pieces.bytes);
            assert!(bytes.len() >= SMALLEST_DATA && bytes.len() <= SMALLEST_DATA.max(size) + 1, "{size}");
            let before = &bytes[..bytes.len() - size];
            let is_passed_over = match framing {
                Framing::Sse => {
                    before.is_empty()
                        || (before[0] == b':'
                            && before.iter().filter(|byte| **byte == b'\n').count() == 1
                            && before.ends_with(b"\n"))
                }
                _ => before.iter().all(|byte| *byte == b'\n'),
            };
            assert!(is_passed_over, "{size}");
        }
    }
}
