//! An `EventSource` over a socket, written from the WHATWG standard ("server-sent events", parsing an event stream), which may also
//! read the same stream in [another way](Way).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::decoder::Decoder;
use crate::http2::{self, Frames};
use crate::way::{Objects, Way};
use crate::wire::Wire;

/// What browsers accept over HTTPS.
pub const BROWSERS: &str = "gzip, deflate, br, zstd";

/// The content of a new connection's id buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdBuffer {
    /// Empty, as in the standard: a blank line before the first id erases the last event id.
    Empty,
    /// The last id, as some browsers do.
    LastId,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub data: String,
    pub id: String,
}

/// The state that an `EventSource` keeps across its connections.
#[derive(Debug)]
pub struct Source {
    pub ports: Vec<u16>,
    pub path: String,
    pub last_event_id: String,
    pub retry: Option<u64>,
    /// The token of the next request, if it needs one.
    pub token: Option<String>,
    /// How the next connection is asked for.
    pub way: Way,
    /// The codings that the next request accepts; those of browsers in the beginning.
    pub accepts: &'static str,
    kind: IdBuffer,
}

/// One connection of a [`Source`].
pub struct Connection {
    socket: Wire,
    raw: Vec<u8>,
    /// What came of the body together with its head, over HTTP/2.
    body: Vec<u8>,
    coding: Coding,
    decoder: Decoder,
    /// The length of the body, if the head states it: a response of one block, after which the connection stays open.
    length: Option<usize>,
    pub status: u16,
    pub head: String,
    parser: Form,
    /// Bytes of the body that were received, whether it was cut or not.
    pub received: usize,
    /// Whether the body ended with its last chunk, not by a cut or a reset.
    pub ended_cleanly: bool,
}

/// How the body is framed.
enum Coding {
    /// By the end of the connection, by its length, or by what is in it.
    Plain,
    Chunked(Chunks),
    Http2(Frames),
}

impl Coding {
    fn decode(&mut self, raw: Vec<u8>) -> Vec<u8> {
        match self {
            Coding::Plain => raw,
            Coding::Chunked(chunks) => chunks.decode(&raw),
            Coding::Http2(frames) => frames.decode(&raw),
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Coding::Plain => false,
            Coding::Chunked(chunks) => chunks.ended,
            Coding::Http2(frames) => frames.ended,
        }
    }
}

/// How the body is read.
enum Form {
    Blocks(Box<Parser>),
    Objects(Objects),
}

impl Form {
    fn feed(&mut self, bytes: &[u8], source: &mut Source, events: &mut Vec<Event>) {
        match self {
            Form::Blocks(parser) => parser.feed(bytes, source, events),
            Form::Objects(objects) => {
                let said = objects.feed(bytes);
                source.retry = said.retry.or(source.retry);
                source.last_event_id = said.id.unwrap_or_else(|| std::mem::take(&mut source.last_event_id));
                events.extend(said.events);
            }
        }
    }
}

impl Source {
    pub fn new(port: u16, path: &str, kind: IdBuffer) -> Source {
        let (path, last_event_id) = (path.to_owned(), String::new());
        let (way, accepts) = (Way::Sse, BROWSERS);
        Source { ports: vec![port], path, last_event_id, retry: None, token: None, way, accepts, kind }
    }

    /// Connects to a port, with the last event id if there is one. `None`: no response.
    pub async fn connect(&self, port: u16) -> Option<Connection> {
        self.connect_over(TcpStream::connect(("127.0.0.1", port)).await.ok()?).await
    }

    /// As [`Source::connect`], over a connection that is there: TCP's, or one of TLS after its handshake.
    pub async fn connect_over(&self, wire: impl Into<Wire>) -> Option<Connection> {
        let mut socket = wire.into();
        // A proxy in between may use the accepted codings, too.
        let mut lines =
            format!("Host: localhost\r\n{}Accept-Encoding: {}\r\n", self.way.headers(), self.accepts);
        if !self.last_event_id.is_empty() {
            lines.push_str(&format!("Last-Event-ID: {}\r\n", self.last_event_id));
        }
        if let Some(token) = &self.token {
            lines.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        let target = self.way.target(&self.path);
        let (head, raw, body, frames) = if self.way == Way::Http2 {
            let mut frames = Frames::default();
            let body = over_http2(&mut socket, &http2::ask(&target, &lines), &mut frames).await?;
            (frames.head.clone()?, Vec::new(), body, Some(frames))
        } else {
            let request = format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
            let (head, raw) = over_http1(&mut socket, request.as_bytes()).await?;
            (head, raw, Vec::new(), None)
        };
        let status = head.split([' ', '\r']).nth(1)?.parse().ok()?;
        // What a WebSocket has in its place.
        let status = if status == 101 { 200 } else { status };
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (own, value) = line.split_once(':')?;
                own.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let length = field("content-length").and_then(|length| length.parse().ok());
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let coding = match frames {
            Some(frames) => Coding::Http2(frames),
            None if is_chunked => Coding::Chunked(Chunks::default()),
            None => Coding::Plain,
        };
        let buffer = match self.kind {
            IdBuffer::Empty => String::new(),
            IdBuffer::LastId => self.last_event_id.clone(),
        };
        Some(Connection {
            socket,
            raw,
            body,
            coding,
            decoder: Decoder::new(&field("content-encoding").unwrap_or_default()),
            length,
            status,
            head,
            parser: match self.way {
                Way::Sse | Way::Http2 => {
                    Form::Blocks(Box::new(Parser { id_buffer: buffer, ..Parser::default() }))
                }
                way => Form::Objects(Objects::new(way)),
            },
            received: 0,
            ended_cleanly: false,
        })
    }

    /// Reads events until `limit` bytes of the body were received (the rest is dropped, as by a cut), the connection ends, or
    /// `quiet` passes without a byte. Returns the events, and whether the connection is still open.
    pub async fn read(
        &mut self,
        connection: &mut Connection,
        limit: usize,
        quiet: Duration,
    ) -> (Vec<Event>, bool) {
        self.read_until(connection, limit, || Instant::now() + quiet).await
    }

    /// As [`Source::read`], but for at most `time` in all.
    pub async fn read_for(
        &mut self,
        connection: &mut Connection,
        limit: usize,
        time: Duration,
    ) -> (Vec<Event>, bool) {
        let until = Instant::now() + time;
        self.read_until(connection, limit, || until).await
    }

    async fn read_until(
        &mut self,
        connection: &mut Connection,
        limit: usize,
        until: impl Fn() -> Instant,
    ) -> (Vec<Event>, bool) {
        let mut events = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let raw = std::mem::take(&mut connection.raw);
            let mut body = connection.unframe(raw);
            connection.pay().await;
            body.truncate(limit.saturating_sub(connection.received));
            connection.take(&body, self, &mut events);
            if connection.received >= limit {
                return (events, false);
            }
            if connection.has_ended() {
                connection.ended_cleanly = true;
                return (events, false);
            }
            if connection.is_broken() {
                return (events, false);
            }
            match tokio::time::timeout_at(until(), connection.socket.read(&mut buffer)).await {
                Err(_) => return (events, true),
                Ok(Ok(0) | Err(_)) => return (events, false),
                Ok(Ok(count)) => connection.raw.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Reads once, at most `most` bytes.
    pub async fn sip(
        &mut self,
        connection: &mut Connection,
        most: usize,
        quiet: Duration,
    ) -> (Vec<Event>, bool) {
        let mut raw = connection.take_raw();
        if raw.is_empty() && connection.body.is_empty() {
            raw.resize(most, 0);
            match tokio::time::timeout(quiet, connection.socket.read(&mut raw)).await {
                Err(_) => return (Vec::new(), true),
                Ok(Ok(0) | Err(_)) => return (Vec::new(), false),
                Ok(Ok(count)) => raw.truncate(count),
            }
        }
        let events = connection.feed(&raw, self);
        connection.pay().await;
        (events, !connection.has_ended() && !connection.is_broken())
    }
}

impl Connection {
    /// Whether the whole body was received.
    fn has_ended(&self) -> bool {
        self.coding.has_ended()
            || self.length.is_some_and(|length| self.received >= length)
            || matches!(&self.parser, Form::Objects(objects) if objects.is_closed)
    }

    /// The next part of the body, as it was sent.
    fn unframe(&mut self, raw: Vec<u8>) -> Vec<u8> {
        [std::mem::take(&mut self.body), self.coding.decode(raw)].concat()
    }

    /// Takes a part of the body.
    fn take(&mut self, body: &[u8], source: &mut Source, events: &mut Vec<Event>) {
        self.received += body.len();
        let mut content = Vec::new();
        self.decoder.take(body, &mut content);
        self.parser.feed(&content, source, events);
    }

    /// Whether the stream was ended otherwise than by its end.
    fn is_broken(&self) -> bool {
        matches!(&self.coding, Coding::Http2(frames) if frames.is_broken)
    }

    /// Sends what the server must be answered.
    async fn pay(&mut self) {
        if let Coding::Http2(frames) = &mut self.coding
            && !frames.owed.is_empty()
        {
            // Reading shows whether the connection is over.
            let _ = self.socket.write_all(&std::mem::take(&mut frames.owed)).await;
        }
    }

    /// The socket of the connection, to be read or shut down directly.
    pub fn socket(&mut self) -> &mut Wire {
        &mut self.socket
    }

    /// Parses bytes that were read directly from the socket.
    pub fn feed(&mut self, raw: &[u8], source: &mut Source) -> Vec<Event> {
        let (body, mut events) = (self.unframe(raw.to_vec()), Vec::new());
        self.take(&body, source, &mut events);
        events
    }

    pub fn take_raw(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.raw)
    }
}

/// Sends the request; returns the head of the answer, and what came after it.
async fn over_http1(socket: &mut Wire, request: &[u8]) -> Option<(String, Vec<u8>)> {
    socket.write_all(request).await.ok()?;
    let mut raw = Vec::new();
    let end = loop {
        if let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let mut buffer = [0; 4096];
        let count = socket.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        raw.extend_from_slice(&buffer[..count]);
    };
    let rest = raw.split_off(end);
    Some((String::from_utf8_lossy(&raw).into_owned(), rest))
}

/// Sends the request, and reads until the head of the answer has come; returns what came of the body.
async fn over_http2(socket: &mut Wire, request: &[u8], frames: &mut Frames) -> Option<Vec<u8>> {
    socket.write_all(request).await.ok()?;
    let mut body = Vec::new();
    while frames.head.is_none() && !frames.is_broken {
        let mut buffer = [0; 4096];
        let count = socket.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        body.extend(frames.decode(&buffer[..count]));
    }
    Some(body)
}

/// HTTP/1.1's chunked coding (RFC 9112, section 7.1).
#[derive(Default)]
struct Chunks {
    pending: Vec<u8>,
    left: usize,
    pub ended: bool,
}

impl Chunks {
    fn decode(&mut self, raw: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(raw);
        let mut body = Vec::new();
        let mut at = 0;
        while at < self.pending.len() && !self.ended {
            if self.left > 2 {
                // The last two bytes of `left` are the line end after the chunk.
                let count = (self.left - 2).min(self.pending.len() - at);
                body.extend_from_slice(&self.pending[at..at + count]);
                at += count;
                self.left -= count;
            } else if self.left > 0 {
                at += 1;
                self.left -= 1;
            } else {
                let Some(end) = self.pending[at..].windows(2).position(|two| two == b"\r\n") else { break };
                let line = std::str::from_utf8(&self.pending[at..at + end]).expect("a chunk's size is text");
                let size = usize::from_str_radix(line.split(';').next().unwrap_or(line).trim(), 16)
                    .expect("a chunk's size is hexadecimal");
                at += end + 2;
                self.ended = size == 0;
                self.left = size + 2;
            }
        }
        self.pending.drain(..at);
        body
    }
}

/// The standard's parser: buffers for data, type and id, dispatch on a blank line.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    data: String,
    has_data: bool,
    event: String,
    id_buffer: String,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8], source: &mut Source, events: &mut Vec<Event>) {
        for &byte in bytes {
            let skip = std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
            match byte {
                b'\n' if skip => {}
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    let line = String::from_utf8(line).expect("an event stream is UTF-8");
                    self.line_ended(&line, source, events);
                }
                _ => self.line.push(byte),
            }
        }
    }

    fn line_ended(&mut self, line: &str, source: &mut Source, events: &mut Vec<Event>) {
        if line.is_empty() {
            return self.dispatch(source, events);
        }
        if line.starts_with(':') {
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.id_buffer = value.to_owned(),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => source.retry = value.parse().ok(),
            _ => {}
        }
    }

    fn dispatch(&mut self, source: &mut Source, events: &mut Vec<Event>) {
        source.last_event_id.clone_from(&self.id_buffer);
        let name = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        if !std::mem::replace(&mut self.has_data, false) {
            return;
        }
        data.pop();
        events.push(Event { name, data, id: source.last_event_id.clone() });
    }
}
