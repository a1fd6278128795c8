//! One connection: its streams, their windows, and what is to be sent.

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::Request;
use bytes::{Buf as _, Bytes};
use hyper::StatusCode;

use super::budget::Budget;
use super::frame::{
    self, Code, Head, LARGEST, LARGEST_WINDOW, SMALLEST_DATA, WINDOW, flag, kind, setting, u32_of,
};
use super::headers::Block;
use super::hpack::{Decoder, Refused};
use super::input::{Cut, Input};
use super::out::Out;
use super::request::{Asked, Fields, MAX_SIZE, Unfit};
use super::response;
use crate::moment::Moment;

/// The most streams at once.
const MAX_STREAMS: usize = 256;
/// Beyond this, fields are not even decoded to refuse them.
const MAX_DECODED: usize = 16 * MAX_SIZE;
/// Streams that end before they are answered, or that the server must reset, at once and per second (CVE-2023-44487,
/// CVE-2025-8671).
const RESETS: (u32, u32) = (100, 10);
/// Frames that bring nothing, at once and per second. Those of a client that reads are given back with what it reads.
const IDLE_FRAMES: (u32, u32) = (10_000, 1_000);
/// What SETTINGS cost, in frames that bring nothing: each stream's window may change.
const SETTINGS_COST: u32 = 10;
/// How many frames of a client one of DATA gives back: it updates two windows.
const GIVEN_BACK: u32 = 4;
/// The window of the connection is opened again once a client has sent as much of bodies, in bytes.
const RETURN_AT: u32 = 32 * 1024;
/// How long a client may go on with a request that was answered, before its stream is reset.
const REST: Duration = Duration::from_secs(10);
/// Streams that the server has reset last: what a client has sent before it knew is no error.
const REMEMBERED: usize = 16;
/// The payload of the server's pings.
const PING: [u8; 8] = *b"tailrace";

/// `T` is what belongs to a stream.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    input: Input,
    decoder: Decoder,
    block: Option<Box<Block>>,
    /// In the order of their numbers.
    streams: Vec<Stream<T>>,
    /// The last stream that the client has opened.
    last: u32,
    /// What the client still takes, in bytes, and with what each new stream begins.
    window: i32,
    initial_window: i32,
    /// What has come of bodies since the client was last told that there is room for more.
    taken: u32,
    remembered: VecDeque<u32>,
    resets: Budget,
    idle_frames: Budget,
    has_settings: bool,
    /// Whether no new stream is served any more.
    is_leaving: bool,
    out: Out,
    /// When the client, or the time, was last looked at.
    now: Moment,
    /// The stream and the place of the frame of DATA that was put last, while nothing comes after it.
    last_data: Option<(u32, usize)>,
}

#[derive(Debug)]
struct Stream<T> {
    number: u32,
    /// What the client still takes, in bytes. It may be negative (RFC 9113, section 6.9.2).
    window: i32,
    /// Whether the head of the response was put.
    is_answered: bool,
    /// The request's body, until the client has ended it.
    body: Option<Box<Body>>,
    owner: Option<T>,
}

/// What has come of a request's body.
#[derive(Debug, Default)]
struct Body {
    /// In bytes, with padding and without.
    flow: u32,
    size: u64,
    /// The length that the request names.
    length: Option<u64>,
    /// When the response has ended, if it has.
    answered: Option<Moment>,
}

impl<T> Stream<T> {
    /// Whether its response has ended.
    fn is_over(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.answered.is_some())
    }
}

impl Body {
    /// Adds what a frame has. `ends`: it is the last one.
    fn add(&mut self, flow: usize, size: usize, ends: bool) -> Result<(), Code> {
        self.flow += flow as u32;
        self.size += size as u64;
        if self.flow > WINDOW as u32 {
            return Err(Code::FlowControl);
        }
        match self.length {
            Some(length) if self.size > length || (ends && self.size < length) => Err(Code::Protocol),
            _ => Ok(()),
        }
    }
}

/// What a client has done.
#[derive(Debug)]
pub(crate) enum Event<T> {
    /// It asks for something. The stream gets its owner by [`Connection::own`].
    Request(u32, Box<Request<()>>),
    /// A stream has ended, and does not exist any more.
    Gone(T),
    /// There may be room for more of a stream, or of all.
    Room(u32),
    RoomForAll,
}

/// What is wrong: with a stream, which is reset, or with the connection, which ends.
enum Wrong {
    Stream(u32, Code),
    Connection(Code),
}

impl From<Code> for Wrong {
    fn from(code: Code) -> Wrong {
        Wrong::Connection(code)
    }
}

impl<T> Connection<T> {
    /// `copies`: whether what is to be sent must lie together.
    pub(crate) fn new(copies: bool, now: Moment) -> Connection<T> {
        let mut out = Out::new(copies);
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, MAX_STREAMS as u32),
            (setting::MAX_HEADER_LIST_SIZE, MAX_SIZE as u32),
        ];
        frame::put_settings(&mut out.bytes, &settings);
        Connection {
            input: Input::default(),
            decoder: Decoder::new(),
            block: None,
            streams: Vec::new(),
            last: 0,
            window: WINDOW,
            initial_window: WINDOW,
            taken: 0,
            remembered: VecDeque::new(),
            resets: Budget::new(RESETS.0, RESETS.1, now),
            idle_frames: Budget::new(IDLE_FRAMES.0, IDLE_FRAMES.1, now),
            has_settings: false,
            is_leaving: false,
            out,
            now,
            last_data: None,
        }
    }

    /// Takes what the client has sent. False: the connection ends; what there is to send says why, and is the last of it.
    pub(crate) fn receive(&mut self, mut bytes: &[u8], now: Moment, events: &mut Vec<Event<T>>) -> bool {
        self.now = now;
        loop {
            let mut whole = Vec::new();
            let done = match self.input.cut(&mut bytes, &mut whole) {
                Ok(Cut::Nothing) => return true,
                Ok(Cut::Frame(head, payload)) => self.take(head, payload, now, events),
                Err(code) => Err(code.into()),
            };
            let code = match done {
                Ok(()) => continue,
                Err(Wrong::Stream(number, code)) => match self.give_up(number, code, now, events) {
                    Ok(()) => continue,
                    Err(code) => code,
                },
                Err(Wrong::Connection(code)) => code,
            };
            self.go_away(code);
            return false;
        }
    }

    fn take(
        &mut self,
        head: Head,
        payload: &[u8],
        now: Moment,
        events: &mut Vec<Event<T>>,
    ) -> Result<(), Wrong> {
        if !std::mem::replace(&mut self.has_settings, true) && head.kind != kind::SETTINGS {
            return Err(Code::Protocol.into());
        }
        let is_next = |block: &Block| head.kind == kind::CONTINUATION && head.stream == block.stream;
        if self.block.as_ref().is_some_and(|block| !is_next(block)) {
            return Err(Code::Protocol.into());
        }
        let cost = match head.kind {
            kind::HEADERS => 0,
            kind::SETTINGS => SETTINGS_COST,
            _ => 1,
        };
        if !self.idle_frames.take(cost, now) {
            return Err(Code::EnhanceYourCalm.into());
        }
        match head.kind {
            kind::DATA => self.data(&head, payload),
            kind::HEADERS => self.headers(&head, payload, now, events),
            kind::CONTINUATION => self.continuation(&head, payload, now, events),
            kind::PRIORITY => priority(&head, payload),
            kind::RST_STREAM => self.reset_by_client(&head, payload, now, events),
            kind::SETTINGS => self.settings(&head, payload, events),
            kind::PUSH_PROMISE => Err(Code::Protocol.into()),
            kind::PING => self.ping_by_client(&head, payload),
            kind::GOAWAY => self.go_away_by_client(&head, payload),
            kind::WINDOW_UPDATE => self.window_update(&head, payload, events),
            // Extensions (section 5.5).
            _ => Ok(()),
        }
    }

    /// A part of a body, which nothing here reads. `payload` has at most its first byte.
    fn data(&mut self, head: &Head, payload: &[u8]) -> Result<(), Wrong> {
        if head.stream == 0 || self.is_unopened(head.stream) {
            return Err(Code::Protocol.into());
        }
        let padding = match head.has(flag::PADDED) {
            true => 1 + payload.first().map_or(usize::MAX / 2, |length| usize::from(*length)),
            false => 0,
        };
        let size = head.length.checked_sub(padding).ok_or(Code::Protocol)?;
        self.taken += head.length as u32;
        if self.taken >= RETURN_AT {
            frame::put_window_update(&mut self.out.bytes, 0, std::mem::take(&mut self.taken));
            self.last_data = None;
        }
        let wrong = |code| Err(Wrong::Stream(head.stream, code));
        let Some(stream) = self.stream_mut(head.stream) else {
            return if self.remembered.contains(&head.stream) { Ok(()) } else { wrong(Code::StreamClosed) };
        };
        let Some(body) = &mut stream.body else { return wrong(Code::StreamClosed) };
        let ends = head.has(flag::END_STREAM);
        body.add(head.length, size, ends).or_else(wrong)?;
        if ends {
            self.ends_request(head.stream);
        }
        Ok(())
    }

    fn headers(
        &mut self,
        head: &Head,
        payload: &[u8],
        now: Moment,
        events: &mut Vec<Event<T>>,
    ) -> Result<(), Wrong> {
        if head.stream.is_multiple_of(2) {
            return Err(Code::Protocol.into());
        }
        let mut fragment = frame::without_padding(head, payload).ok_or(Code::Protocol)?;
        if head.has(flag::PRIORITY) {
            let (on, rest) = fragment.split_at_checked(5).ok_or(Code::FrameSize)?;
            if depends_on(on) == Some(head.stream) {
                return Err(Code::Protocol.into());
            }
            fragment = rest;
        }
        self.block = Some(Box::new(Block::new(head, fragment)));
        self.end_block(head, now, events)
    }

    fn continuation(
        &mut self,
        head: &Head,
        payload: &[u8],
        now: Moment,
        events: &mut Vec<Event<T>>,
    ) -> Result<(), Wrong> {
        let block = self.block.as_mut().ok_or(Code::Protocol)?;
        block.add(payload)?;
        self.end_block(head, now, events)
    }

    /// Reads the block, if this frame was its last one.
    fn end_block(&mut self, head: &Head, now: Moment, events: &mut Vec<Event<T>>) -> Result<(), Wrong> {
        if !head.has(flag::END_HEADERS) {
            return Ok(());
        }
        let Some(block) = self.block.take() else { return Ok(()) };
        let mut fields = Fields::default();
        let decoded =
            self.decoder.decode(&block.bytes, MAX_DECODED, |name, value, size| fields.add(name, value, size));
        decoded.map_err(|refused| match refused {
            Refused::Wrong => Code::Compression,
            Refused::TooLarge => Code::EnhanceYourCalm,
        })?;
        if self.stream_mut(block.stream).is_some() {
            return self.trailers(&block, &fields);
        }
        if block.stream > self.last {
            self.last = block.stream;
            return self.open(&block, fields, now, events);
        }
        match block.stream == self.last {
            _ if self.remembered.contains(&block.stream) => Ok(()),
            true => Err(Code::StreamClosed.into()),
            // Numbers only grow (section 5.1.1).
            false => Err(Code::Protocol.into()),
        }
    }

    fn open(
        &mut self,
        block: &Block,
        fields: Fields,
        now: Moment,
        events: &mut Vec<Event<T>>,
    ) -> Result<(), Wrong> {
        if self.is_leaving {
            // Its number is beyond the last one that was said to be served.
            self.remember(block.stream);
            return Ok(());
        }
        if self.streams.len() >= MAX_STREAMS {
            return Err(Wrong::Stream(block.stream, Code::RefusedStream));
        }
        let (stream, is_asked) = (block.stream, block.ends_stream);
        let (asked, length) = match fields.into_request(is_asked) {
            Ok(Asked { request, length }) => (Some(request), length),
            Err(Unfit::Malformed) => return Err(Wrong::Stream(stream, Code::Protocol)),
            Err(Unfit::TooLarge) => (None, None),
        };
        self.streams.push(Stream {
            number: stream,
            window: self.initial_window,
            is_answered: false,
            body: (!is_asked).then(|| Box::new(Body { length, ..Body::default() })),
            owner: None,
        });
        match asked {
            Some(request) => events.push(Event::Request(stream, Box::new(request))),
            None if !self.resets.take(1, now) => return Err(Code::EnhanceYourCalm.into()),
            None => {
                self.begin(
                    stream,
                    &response::encode_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
                    true,
                );
            }
        }
        Ok(())
    }

    fn trailers(&mut self, block: &Block, fields: &Fields) -> Result<(), Wrong> {
        let wrong = |code| Err(Wrong::Stream(block.stream, code));
        let Some(stream) = self.stream_mut(block.stream) else { return Ok(()) };
        let Some(body) = &mut stream.body else { return wrong(Code::StreamClosed) };
        if !block.ends_stream || !fields.are_trailers() {
            return wrong(Code::Protocol);
        }
        body.add(0, 0, true).or_else(wrong)?;
        self.ends_request(block.stream);
        Ok(())
    }

    /// The client has ended its side of a stream, which goes on unless it was answered.
    fn ends_request(&mut self, number: u32) {
        let Some(stream) = self.stream_mut(number) else { return };
        let body = stream.body.take();
        if body.is_some_and(|body| body.answered.is_some()) {
            self.remove(number);
        }
    }

    fn reset_by_client(
        &mut self,
        head: &Head,
        payload: &[u8],
        now: Moment,
        events: &mut Vec<Event<T>>,
    ) -> Result<(), Wrong> {
        if head.stream == 0 || self.is_unopened(head.stream) {
            return Err(Code::Protocol.into());
        }
        if payload.len() != 4 {
            return Err(Code::FrameSize.into());
        }
        let Some(stream) = self.remove(head.stream) else { return Ok(()) };
        let is_answered = stream.is_answered;
        events.extend(stream.owner.map(Event::Gone));
        if !is_answered && !self.resets.take(1, now) {
            return Err(Code::EnhanceYourCalm.into());
        }
        Ok(())
    }

    fn settings(&mut self, head: &Head, payload: &[u8], events: &mut Vec<Event<T>>) -> Result<(), Wrong> {
        if head.stream != 0 {
            return Err(Code::Protocol.into());
        }
        if head.has(flag::ACK) {
            return if payload.is_empty() { Ok(()) } else { Err(Code::FrameSize.into()) };
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Code::FrameSize.into());
        }
        for [a, b, value @ ..] in settings {
            self.set(u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value), events)?;
        }
        frame::put(&mut self.out.bytes, kind::SETTINGS, flag::ACK, 0, &[]);
        self.last_data = None;
        Ok(())
    }

    fn set(&mut self, name: u16, value: u32, events: &mut Vec<Event<T>>) -> Result<(), Code> {
        match name {
            setting::ENABLE_PUSH if value > 1 => return Err(Code::Protocol),
            setting::INITIAL_WINDOW_SIZE => {
                let new = i32::try_from(value).map_err(|_| Code::FlowControl)?;
                let more = i64::from(new) - i64::from(self.initial_window);
                self.initial_window = new;
                for stream in &mut self.streams {
                    stream.window =
                        i32::try_from(i64::from(stream.window) + more).map_err(|_| Code::FlowControl)?;
                }
                if more > 0 {
                    events.push(Event::RoomForAll);
                }
            }
            // Larger frames than the least would only delay the other streams.
            setting::MAX_FRAME_SIZE if !(LARGEST as u32..1 << 24).contains(&value) => {
                return Err(Code::Protocol);
            }
            _ => {}
        }
        Ok(())
    }

    fn ping_by_client(&mut self, head: &Head, payload: &[u8]) -> Result<(), Wrong> {
        if head.stream != 0 {
            return Err(Code::Protocol.into());
        }
        if payload.len() != PING.len() {
            return Err(Code::FrameSize.into());
        }
        if !head.has(flag::ACK) {
            frame::put(&mut self.out.bytes, kind::PING, flag::ACK, 0, payload);
            self.last_data = None;
        }
        Ok(())
    }

    fn go_away_by_client(&mut self, head: &Head, payload: &[u8]) -> Result<(), Wrong> {
        if head.stream != 0 {
            return Err(Code::Protocol.into());
        }
        // The client opens nothing any more. What it has opened goes on.
        if payload.len() < 8 { Err(Code::FrameSize.into()) } else { Ok(()) }
    }

    fn window_update(
        &mut self,
        head: &Head,
        payload: &[u8],
        events: &mut Vec<Event<T>>,
    ) -> Result<(), Wrong> {
        let more = u32_of(payload).ok_or(Code::FrameSize)? & LARGEST_WINDOW;
        let wider = |window: i32| window.checked_add(more as i32);
        if head.stream == 0 {
            let wider = wider(self.window).ok_or(Code::FlowControl)?;
            self.window = if more == 0 { Err(Code::Protocol)? } else { wider };
            events.push(Event::RoomForAll);
            return Ok(());
        }
        if self.is_unopened(head.stream) {
            return Err(Code::Protocol.into());
        }
        let Some(stream) = self.stream_mut(head.stream) else { return Ok(()) };
        if more == 0 {
            return Err(Wrong::Stream(head.stream, Code::Protocol));
        }
        stream.window = wider(stream.window).ok_or(Wrong::Stream(head.stream, Code::FlowControl))?;
        events.push(Event::Room(head.stream));
        Ok(())
    }

    /// Resets a stream for what its client did.
    fn give_up(
        &mut self,
        number: u32,
        code: Code,
        now: Moment,
        events: &mut Vec<Event<T>>,
    ) -> Result<(), Code> {
        let owner = self.reset(number, code);
        events.extend(owner.map(Event::Gone));
        if self.resets.take(1, now) { Ok(()) } else { Err(Code::EnhanceYourCalm) }
    }

    /// Whether the client has not opened this stream, and may still.
    fn is_unopened(&self, number: u32) -> bool {
        number > self.last || number.is_multiple_of(2)
    }

    fn place(&self, number: u32) -> Option<usize> {
        self.streams.binary_search_by_key(&number, |stream| stream.number).ok()
    }

    fn stream_mut(&mut self, number: u32) -> Option<&mut Stream<T>> {
        let place = self.place(number)?;
        self.streams.get_mut(place)
    }

    fn remove(&mut self, number: u32) -> Option<Stream<T>> {
        let place = self.place(number)?;
        let stream = self.streams.remove(place);
        if self.streams.is_empty() {
            self.streams = Vec::new();
        }
        Some(stream)
    }

    fn remember(&mut self, number: u32) {
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(number);
    }

    /// Names what belongs to a stream. It is given back if the stream does not exist any more.
    pub(crate) fn own(&mut self, number: u32, owner: T) -> Result<Option<T>, T> {
        match self.stream_mut(number) {
            Some(stream) if !stream.is_over() => Ok(stream.owner.replace(owner)),
            _ => Err(owner),
        }
    }

    pub(crate) fn owner_mut(&mut self, number: u32) -> Option<&mut T> {
        self.stream_mut(number)?.owner.as_mut()
    }

    /// The streams with their owners.
    pub(crate) fn owners(&self) -> impl DoubleEndedIterator<Item = (u32, &T)> {
        self.streams.iter().filter_map(|stream| Some((stream.number, stream.owner.as_ref()?)))
    }

    /// Whether the stream exists, and its response has not ended.
    pub(crate) fn has(&self, number: u32) -> bool {
        self.place(number).is_some_and(|place| !self.streams[place].is_over())
    }

    /// How much is kept of what the client has not sent whole, in bytes.
    pub(super) fn kept(&self) -> usize {
        self.input.kept() + self.block.as_ref().map_or(0, |block| block.bytes.len())
    }

    /// Whether there is no stream whose response has not ended.
    pub(crate) fn is_idle(&self) -> bool {
        self.streams.iter().all(Stream::is_over)
    }

    /// Resets streams whose clients have gone on for too long after the answer: the rest of the request is not wanted (section 8.1).
    /// Returns when to look again.
    pub(crate) fn look(&mut self, now: Moment) -> Option<Moment> {
        self.now = now;
        let mut next: Option<Moment> = None;
        for at in (0..self.streams.len()).rev() {
            let answered = self.streams[at].body.as_ref().and_then(|body| body.answered);
            let Some(due) = answered.map(|answered| answered.plus(REST)) else { continue };
            if due <= now {
                self.reset(self.streams[at].number, Code::NoError);
            } else {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        next
    }

    /// What is to be sent. Only what is taken out of it here is sent.
    pub(crate) fn out(&mut self) -> &mut Out {
        self.last_data = None;
        &mut self.out
    }

    /// How much there is to send, in bytes.
    pub(crate) fn unsent(&self) -> usize {
        self.out.size()
    }

    /// Begins the response of a stream: its head, which [`response::encode`] has made. `ends`: it has nothing else.
    pub(crate) fn begin(&mut self, number: u32, block: &[u8], ends: bool) {
        let Some(stream) = self.stream_mut(number) else { return };
        stream.is_answered = true;
        let mut kind = kind::HEADERS;
        let mut parts = block.chunks(LARGEST).peekable();
        while let Some(part) = parts.next() {
            let mut flags = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
            if ends && kind == kind::HEADERS {
                flags |= flag::END_STREAM;
            }
            frame::put(&mut self.out.bytes, kind, flags, number, part);
            kind = kind::CONTINUATION;
        }
        self.last_data = None;
        if ends {
            self.finish(number);
        }
    }

    /// Sends as much as there is room for of the pieces, which are one text; returns how many bytes.
    pub(crate) fn send(&mut self, number: u32, pieces: &[Bytes]) -> usize {
        let window = self.window;
        let Some(stream) = self.stream_mut(number) else { return 0 };
        let room = usize::try_from(stream.window.min(window)).unwrap_or(0);
        let size = pieces.iter().map(Bytes::len).sum::<usize>().min(room);
        stream.window -= size as i32;
        self.window -= size as i32;
        let (mut left, mut pieces, mut piece) = (size, pieces.iter(), Bytes::new());
        while left > 0 {
            let mut length = left.min(LARGEST);
            // What is left of a large text would be a small frame.
            if left > length && left - length < SMALLEST_DATA {
                length -= SMALLEST_DATA;
            }
            left -= length;
            self.last_data = Some((number, self.out.bytes.len()));
            frame::put_head(&mut self.out.bytes, length, kind::DATA, 0, number);
            self.idle_frames.give(GIVEN_BACK);
            while length > 0 {
                if piece.is_empty() {
                    let Some(next) = pieces.next() else { break };
                    piece = next.clone();
                }
                let part = piece.len().min(length);
                self.out.put(piece.slice(..part));
                piece.advance(part);
                length -= part;
            }
        }
        size
    }

    /// Ends the response of a stream, which does not exist any more then.
    pub(crate) fn end(&mut self, number: u32) {
        match self.last_data {
            // The flags of a frame are its fifth byte.
            Some((last, at)) if last == number => self.out.bytes[at + 4] |= flag::END_STREAM,
            _ => frame::put(&mut self.out.bytes, kind::DATA, flag::END_STREAM, number, &[]),
        }
        self.last_data = None;
        self.finish(number);
    }

    /// The response of a stream has ended. It is forgotten once the request has, too.
    fn finish(&mut self, number: u32) {
        let now = self.now;
        let Some(stream) = self.stream_mut(number) else { return };
        stream.owner = None;
        match &mut stream.body {
            Some(body) => body.answered = Some(now),
            None => drop(self.remove(number)),
        }
    }

    /// Resets a stream; returns what belonged to it.
    pub(crate) fn reset(&mut self, number: u32, code: Code) -> Option<T> {
        frame::put_reset(&mut self.out.bytes, number, code);
        self.last_data = None;
        self.remember(number);
        self.remove(number)?.owner
    }

    /// Drops all streams: the connection is closed. Returns what belonged to them.
    pub(crate) fn close(&mut self) -> Vec<T> {
        std::mem::take(&mut self.streams).into_iter().filter_map(|stream| stream.owner).collect()
    }

    pub(crate) fn ping(&mut self) {
        frame::put(&mut self.out.bytes, kind::PING, 0, 0, &PING);
        self.last_data = None;
    }

    /// Says that no new stream is served any more. Those that there are go on.
    pub(crate) fn go_away(&mut self, code: Code) {
        self.is_leaving = true;
        frame::put_go_away(&mut self.out.bytes, self.last, code);
        self.last_data = None;
    }
}

fn priority(head: &Head, payload: &[u8]) -> Result<(), Wrong> {
    if head.stream == 0 || depends_on(payload) == Some(head.stream) {
        return Err(Code::Protocol.into());
    }
    if payload.len() != 5 { Err(Code::FrameSize.into()) } else { Ok(()) }
}

/// The stream on which another one depends, without the bit that says how.
fn depends_on(priority: &[u8]) -> Option<u32> {
    u32_of(priority.get(..4)?).map(|stream| stream & 0x7fff_ffff)
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
