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
mod tests {
    use proptest::prelude::*;

    use super::super::frame::{PREFACE, put, put_head, put_reset, put_settings, put_window_update};
    use super::*;

    /// A client with its connection.
    struct Lab {
        connection: Connection<u32>,
        now: Moment,
        events: Vec<Event<u32>>,
    }

    /// A frame that the server has sent.
    #[derive(Debug, PartialEq, Eq)]
    struct Sent {
        kind: u8,
        flags: u8,
        stream: u32,
        payload: Vec<u8>,
    }

    const GET: &[u8] = b"\x82\x86\x84\x01\x01a";

    impl Lab {
        fn new() -> Lab {
            let now = Moment::now();
            let mut lab = Lab { connection: Connection::new(false, now), now, events: Vec::new() };
            assert!(lab.receive(PREFACE) && lab.say(|out| put_settings(out, &[])));
            lab.sent();
            lab
        }

        fn receive(&mut self, bytes: &[u8]) -> bool {
            self.connection.receive(bytes, self.now, &mut self.events)
        }

        fn say(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> bool {
            let mut bytes = Vec::new();
            put(&mut bytes);
            self.receive(&bytes)
        }

        fn get(&mut self, stream: u32) -> bool {
            let said =
                self.say(|out| put(out, kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, GET));
            if let Some(Event::Request(..)) = self.events.last() {
                let _ = self.connection.own(stream, stream);
            }
            said
        }

        fn sent(&mut self) -> Vec<Sent> {
            let bytes = self.connection.out().take().concat();
            let (mut left, mut all) = (&bytes[..], Vec::new());
            while let Some((head, rest)) = left.split_first_chunk::<9>() {
                let Head { length, kind, flags, stream } = Head::read(head);
                let (payload, rest) = rest.split_at(length);
                all.push(Sent { kind, flags, stream, payload: payload.to_vec() });
                left = rest;
            }
            assert!(left.is_empty());
            all
        }

        /// The code with which the connection has ended.
        fn end(&mut self) -> Option<u8> {
            let sent = self.sent();
            sent.iter().find(|sent| sent.kind == kind::GOAWAY).map(|sent| sent.payload[7])
        }

        fn resets(&mut self) -> Vec<(u32, u8)> {
            let sent = self.sent();
            let resets = sent.iter().filter(|sent| sent.kind == kind::RST_STREAM);
            resets.map(|sent| (sent.stream, sent.payload[3])).collect()
        }

        fn data(&mut self) -> Vec<(u32, usize, bool)> {
            let sent = self.sent();
            let data = sent.iter().filter(|sent| sent.kind == kind::DATA);
            data.map(|sent| (sent.stream, sent.payload.len(), sent.flags & flag::END_STREAM != 0)).collect()
        }
    }

    fn bytes(size: usize) -> Bytes {
        vec![b'x'; size].into()
    }

    #[test]
    fn a_request_is_answered_and_its_end_is_on_the_last_frame() {
        let mut lab = Lab::new();
        assert!(lab.get(1));
        let Some(Event::Request(1, request)) = lab.events.pop() else { panic!("no request") };
        assert_eq!((request.uri().path(), request.method().as_str()), ("/", "GET"));
        lab.connection.begin(1, b"\x88", false);
        assert_eq!(lab.connection.send(1, &[bytes(300), bytes(2000)]), 2300);
        lab.connection.end(1);
        let sent = lab.sent();
        assert_eq!(
            (sent[0].kind, sent[0].flags, &sent[0].payload[..]),
            (kind::HEADERS, flag::END_HEADERS, &b"\x88"[..])
        );
        assert_eq!(
            (sent[1].kind, sent[1].flags, sent[1].payload.len()),
            (kind::DATA, flag::END_STREAM, 2300)
        );
        assert!(sent.len() == 2 && lab.connection.is_idle());
        // Where another stream has spoken since, the end is a frame of its own.
        assert!(lab.get(3) && lab.get(5));
        lab.connection.send(3, &[bytes(300)]);
        lab.connection.send(5, &[bytes(300)]);
        lab.connection.end(3);
        assert_eq!(lab.data(), [(3, 300, false), (5, 300, false), (3, 0, true)]);
    }

    #[test]
    fn nothing_is_sent_beyond_a_window_and_no_frame_is_small() {
        let mut lab = Lab::new();
        assert!(lab.get(1) && lab.get(3));
        assert_eq!(lab.connection.send(1, &[bytes(40_000)]), 40_000);
        // That of the connection ends first.
        assert_eq!(lab.connection.send(3, &[bytes(40_000)]), 25_535);
        assert_eq!(lab.connection.send(3, &[bytes(10)]), 0);
        let frames = lab.data();
        assert!(frames.iter().all(|(_, size, _)| *size >= SMALLEST_DATA && *size <= LARGEST), "{frames:?}");
        assert_eq!(frames.iter().map(|(_, size, _)| size).sum::<usize>(), 65_535);
        lab.events.clear();
        assert!(lab.say(|out| put_window_update(out, 0, 1000)));
        assert!(matches!(lab.events[..], [Event::RoomForAll]));
        assert_eq!(lab.connection.send(3, &[bytes(2000)]), 1000);
        // A window may become negative, and is none then.
        assert!(lab.say(|out| put_settings(out, &[(setting::INITIAL_WINDOW_SIZE, 0)])));
        assert!(lab.say(|out| put_window_update(out, 0, 1_000_000)));
        assert_eq!(lab.connection.send(1, &[bytes(2000)]), 0);
        assert!(lab.say(|out| put_window_update(out, 1, 40_100)));
        assert_eq!(lab.connection.send(1, &[bytes(2000)]), 100);
        // 16,384 and then 10 would be a small frame.
        assert!(lab.say(|out| put_window_update(out, 1, 100_000)));
        lab.sent();
        lab.connection.send(1, &[bytes(LARGEST + 10)]);
        assert_eq!(lab.data(), [(1, LARGEST - SMALLEST_DATA, false), (1, SMALLEST_DATA + 10, false)]);
    }

    #[test]
    fn what_a_client_resets_is_gone_and_too_much_of_it_ends_the_connection() {
        let mut lab = Lab::new();
        for stream in (1..2_001).step_by(2) {
            assert!(lab.get(stream));
            lab.connection.begin(stream, b"\x88", false);
            lab.events.clear();
            assert!(
                lab.say(|out| put_reset(out, stream, Code::Cancel)),
                "an answered one costs nothing: {stream}"
            );
            assert!(matches!(lab.events[..], [Event::Gone(gone)] if gone == stream));
        }
        let ended = (2_001..9_001)
            .step_by(2)
            .position(|stream| !(lab.get(stream) && lab.say(|out| put_reset(out, stream, Code::Cancel))));
        assert_eq!((ended, lab.end()), (Some(RESETS.0 as usize), Some(Code::EnhanceYourCalm as u8)));
    }

    #[test]
    fn frames_that_bring_nothing_are_limited_unless_the_client_reads() {
        let mut lab = Lab::new();
        let ended = (0..20_000).position(|_| !lab.say(|out| put(out, kind::PING, flag::ACK, 0, &PING)));
        assert!(ended.is_some_and(|at| at > 9_000), "{ended:?}");
        assert_eq!(lab.end(), Some(Code::EnhanceYourCalm as u8));
        let mut lab = Lab::new();
        assert!(lab.get(1));
        for _ in 0..20_000 {
            assert_eq!(lab.connection.send(1, &[bytes(300)]), 300);
            assert!(
                lab.say(|out| put_window_update(out, 0, 300))
                    && lab.say(|out| put_window_update(out, 1, 300))
            );
            lab.events.clear();
        }
    }

    #[test]
    fn streams_beyond_the_most_are_refused() {
        let mut lab = Lab::new();
        for stream in (1..=2 * MAX_STREAMS as u32 + 1).step_by(2) {
            assert!(lab.get(stream));
        }
        assert_eq!(lab.resets(), [(2 * MAX_STREAMS as u32 + 1, Code::RefusedStream as u8)]);
        assert_eq!(lab.connection.owners().count(), MAX_STREAMS);
    }

    /// A body is not read, and bounded by the window of its stream; where it is longer or shorter than it says, it is an error.
    #[test]
    fn bodies_are_dropped_and_must_be_what_they_say() {
        let post = |lab: &mut Lab, stream, length: &str| {
            let more = [&b"\x0f\x0d"[..], &[length.len() as u8], length.as_bytes()].concat();
            lab.say(|out| put(out, kind::HEADERS, flag::END_HEADERS, stream, &[GET, &more].concat()))
        };
        let data = |lab: &mut Lab, stream, size: usize, ends| {
            let payload = vec![0; size];
            lab.say(|out| put(out, kind::DATA, if ends { flag::END_STREAM } else { 0 }, stream, &payload))
        };
        let mut lab = Lab::new();
        assert!(post(&mut lab, 1, "5") && data(&mut lab, 1, 5, true));
        assert!(post(&mut lab, 3, "5") && data(&mut lab, 3, 4, true));
        assert!(post(&mut lab, 5, "5") && data(&mut lab, 5, 6, false));
        assert_eq!(lab.resets(), [(3, Code::Protocol as u8), (5, Code::Protocol as u8)]);
        // After its end, and more than its window.
        assert!(data(&mut lab, 1, 1, false));
        assert!(post(&mut lab, 7, "1000000") && (0..5).all(|_| data(&mut lab, 7, 16_000, false)));
        assert_eq!(lab.resets(), [(1, Code::StreamClosed as u8), (7, Code::FlowControl as u8)]);
        // What comes for a stream that was reset is dropped, as it may have been sent before.
        assert!(data(&mut lab, 7, 100, true) && lab.resets().is_empty());
        // An answer before the end of the request, which may go on for a while, and not for ever.
        for stream in [9, 11] {
            assert!(post(&mut lab, stream, "1000"));
            lab.connection.begin(stream, b"\x88", true);
        }
        assert!(lab.connection.is_idle() && !lab.connection.has(9));
        assert!(data(&mut lab, 9, 1000, true) && lab.resets().is_empty());
        assert_eq!(lab.connection.look(lab.now), Some(lab.now.plus(REST)));
        assert_eq!(lab.connection.look(lab.now.plus(REST)), None);
        assert_eq!(lab.resets(), [(11, Code::NoError as u8)]);
        // Of nothing.
        assert!(!data(&mut lab, 13, 1, false));
        assert_eq!(lab.end(), Some(Code::Protocol as u8));
    }

    #[test]
    fn after_a_goodbye_nothing_new_is_served_and_the_rest_goes_on() {
        let mut lab = Lab::new();
        assert!(lab.get(1));
        lab.connection.go_away(Code::NoError);
        assert_eq!(lab.end(), Some(0));
        lab.events.clear();
        assert!(lab.get(3) && lab.events.is_empty());
        assert_eq!(lab.connection.send(1, &[bytes(300)]), 300);
        lab.connection.end(1);
        assert_eq!(lab.data(), [(1, 300, true)]);
        assert!(lab.connection.is_idle());
    }

    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let payload = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            Just(GET.to_vec()),
            any::<u32>().prop_map(|number| number.to_be_bytes().to_vec()),
            any::<[u8; 6]>().prop_map(|setting| setting.to_vec()),
        ];
        (0_u8..11, any::<u8>(), 0_u32..12, payload).prop_map(|(kind, flags, stream, payload)| {
            let mut out = Vec::new();
            put(&mut out, kind, flags, stream, &payload);
            out
        })
    }

    proptest! {
        /// Whatever a client sends, and however it comes: the connection goes on or ends with a reason; each stream is told of
        /// once; and what is sent are whole frames within the windows.
        #[test]
        fn any_frames_are_served_or_refused(
            frames in prop::collection::vec(any_frame(), 0..60), cut in 1_usize..50
        ) {
            let mut lab = Lab::new();
            let mut there = std::collections::BTreeSet::new();
            for part in frames.concat().chunks(cut) {
                let goes_on = lab.receive(part);
                for event in std::mem::take(&mut lab.events) {
                    match event {
                        Event::Request(number, _) => {
                            prop_assert!(there.insert(number));
                            if lab.connection.own(number, number).is_err() {
                                there.remove(&number);
                            }
                        }
                        Event::Gone(number) => prop_assert!(there.remove(&number)),
                        Event::Room(_) | Event::RoomForAll => {}
                    }
                }
                let owners: Vec<u32> = lab.connection.owners().map(|(number, _)| number).collect();
                prop_assert_eq!(&owners, &there.iter().copied().collect::<Vec<_>>());
                for number in owners {
                    lab.connection.send(number, &[bytes(500)]);
                }
                if !goes_on {
                    prop_assert!(lab.end().is_some());
                    break;
                }
                lab.sent();
            }
        }
    }

    #[test]
    fn a_large_head_is_refused_and_a_larger_one_ends_the_connection() {
        let mut lab = Lab::new();
        let kept = [GET, b"\x40\x01x\x7f\xa1\x1e", &[b'y'; 4000]].concat();
        let say = |lab: &mut Lab, stream, block: &[u8]| {
            lab.say(|out| {
                put_head(out, block.len(), kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream);
                out.extend_from_slice(block);
            })
        };
        assert!(say(&mut lab, 1, &kept));
        assert!(say(&mut lab, 3, &[GET, &[0xbe; 9]].concat()));
        let sent = lab.sent();
        assert_eq!((sent[0].stream, &sent[0].payload[..], lab.events.len()), (3, &b"\x08\x03431"[..], 1));
        assert!(!say(&mut lab, 5, &[GET, &[0xbe; 16_000]].concat()));
        assert_eq!(lab.end(), Some(Code::EnhanceYourCalm as u8));
    }
}
