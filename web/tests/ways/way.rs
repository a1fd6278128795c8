//! Clients of each way: raw sockets for HTTP/1, the `h2` crate for HTTP/2, both also over tokio-rustls. Strict: a wrong byte of the framing, or a byte
//! after its end, is a failure.

// Each test is a program of its own and uses a part of this.
#![allow(dead_code)]

#[path = "../support/decoder.rs"]
mod decoder;

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use decoder::Decoder;
use rustls::version::TLS13;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use socket2::SockRef;
use tailrace_bridge::Source;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::{Authority, Files};
use crate::support::{Block, Server, parse};

/// Nothing that a test waits for may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client's receive buffer at the least, and its segments, in bytes.
const LEAST_BUFFER: u32 = 32 * 1024;
const SEGMENT: u32 = 1448;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// HTTP/1.1.
    Writer,
    Http10,
    Http2,
    /// HTTP/1.1 over TLS, by a writer thread.
    Tls,
    Http2Tls,
    /// JSON a line, over HTTP/1.1.
    Lines,
    /// Compressed, over HTTP/1.1 and HTTP/2.
    Gzip,
    Zstd,
    /// A WebSocket, and one over TLS.
    WebSocket,
    WebSocketTls,
}

impl Way {
    pub(crate) fn is_raw(self) -> bool {
        !matches!(self, Way::Http2 | Way::Http2Tls | Way::Zstd)
    }

    fn is_tls(self) -> bool {
        matches!(self, Way::Tls | Way::Http2Tls | Way::WebSocketTls)
    }

    /// What the client accepts.
    fn coding(self) -> Option<&'static str> {
        match self {
            Way::Gzip => Some("gzip"),
            Way::Zstd => Some("zstd"),
            _ => None,
        }
    }

    fn is_web_socket(self) -> bool {
        matches!(self, Way::WebSocket | Way::WebSocketTls)
    }

    /// The way of HTTP/1.1 to the same server.
    pub(crate) fn beside(self) -> Way {
        if self.is_tls() { Way::Tls } else { Way::Writer }
    }

    /// What a server that is reached this way is started with.
    pub(crate) fn flags(self) -> Vec<String> {
        if self.is_tls() { FILES.flags() } else { Vec::new() }
    }

    /// A server that is reached this way, whose tenants are open to everybody.
    pub(crate) async fn server(self, flags: &[&str]) -> Server {
        let tls = self.flags();
        let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
        Server::open(&[&tls[..], flags].concat()).await
    }

    /// The same over a Kafka of the test's.
    pub(crate) async fn server_over(self, source: Arc<dyn Source>, heads: &[u64], flags: &[&str]) -> Server {
        let tls = self.flags();
        let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
        let flags = [&["--auth", "none"], &tls[..], flags].concat();
        Server::over(source, heads, "header:tenant", &flags).await
    }
}

pub(crate) static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);
static FILES: LazyLock<Files> = LazyLock::new(|| Files::of(&AUTHORITY.issue()));

/// A client's connection.
pub(crate) enum Wired {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wired {
    /// A connection on which nothing has been sent yet.
    pub(crate) async fn open(way: Way, ask: &Ask, address: SocketAddr) -> Wired {
        match way {
            Way::Tls | Way::WebSocketTls => Wired::tls(ask, address, b"http/1.1").await,
            Way::Http2Tls => Wired::tls(ask, address, b"h2").await,
            _ => Wired::plain(ask, address).await,
        }
    }

    async fn plain(ask: &Ask, address: SocketAddr) -> Wired {
        Wired::Plain(ask.connect(address).await)
    }

    async fn tls(ask: &Ask, address: SocketAddr, protocol: &[u8]) -> Wired {
        let mut config = AUTHORITY.client(&[&TLS13], None);
        config.alpn_protocols = vec![protocol.to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let socket = ask.connect(address).await;
        let stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        Wired::Tls(Box::new(stream))
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Wired::Plain(socket) => SockRef::from(socket),
            Wired::Tls(tls) => SockRef::from(tls.get_ref().0),
        }
    }
}

impl AsyncRead for Wired {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wired::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Wired::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wired {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wired::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Wired::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wired::Plain(socket) => Pin::new(socket).poll_flush(context),
            Wired::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wired::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Wired::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

/// How a client asks.
#[derive(Clone, Default)]
pub(crate) struct Ask {
    target: String,
    last_event_id: Option<String>,
    /// What the client can take without reading: the socket's buffer, or HTTP/2's window.
    room: Option<u32>,
    /// The client's address.
    from: Option<Ipv4Addr>,
    /// Bytes that come with the request, after it.
    after: Vec<u8>,
}

impl Ask {
    pub(crate) fn of(tenant: &str) -> Ask {
        Ask { target: format!("/t/{tenant}/events"), ..Ask::default() }
    }

    pub(crate) fn query(mut self, query: &str) -> Ask {
        self.target = format!("{}?{query}", self.target);
        self
    }

    pub(crate) fn room(mut self, room: u32) -> Ask {
        self.room = Some(room);
        self
    }

    pub(crate) fn from(mut self, address: Ipv4Addr) -> Ask {
        self.from = Some(address);
        self
    }

    pub(crate) fn after(mut self, after: &[u8]) -> Ask {
        self.after = after.to_vec();
        self
    }

    pub(crate) fn last_event_id(mut self, id: &str) -> Ask {
        self.last_event_id = Some(id.to_owned());
        self
    }

    /// The opening handshake of a WebSocket, with the key of the example of RFC 6455.
    fn handshake(&self) -> Vec<u8> {
        let id = self.last_event_id.as_ref().map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let target = self.target.replacen("/events", "/ws", 1);
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: tailrace\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{id}\r\n"
        );
        [head.as_bytes(), &self.after].concat()
    }

    fn head_for_lines(&self) -> Vec<u8> {
        let head = self.head("1.1");
        let line_end = head.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        [&head[..line_end], b"Accept: application/x-ndjson\r\n", &head[line_end..]].concat()
    }

    fn head_for(&self, coding: &str) -> Vec<u8> {
        let head = self.head("1.1");
        let line_end = head.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let accepted = format!("Accept-Encoding: {coding}\r\n");
        [&head[..line_end], accepted.as_bytes(), &head[line_end..]].concat()
    }

    fn head(&self, version: &str) -> Vec<u8> {
        let id = self.last_event_id.as_ref().map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let head = format!("GET {} HTTP/{version}\r\nHost: tailrace\r\n{id}\r\n", self.target);
        [head.as_bytes(), &self.after].concat()
    }

    async fn connect(&self, address: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(room) = self.room {
            socket.set_recv_buffer_size(room.max(LEAST_BUFFER)).unwrap();
            // Loopback's segments of 64 KiB do not fit into a small buffer: they would be dropped, and sent again much later.
            SockRef::from(&socket).set_tcp_mss(SEGMENT).unwrap();
        }
        if let Some(from) = self.from {
            socket.bind((from, 0).into()).unwrap();
        }
        let socket = socket.connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }
}

/// An object of a line or a message; an empty line is a comment.
fn object(text: &str) -> Block {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Object {
        event: Option<String>,
        id: Option<String>,
        retry: Option<u64>,
        #[serde(default, deserialize_with = "present")]
        data: Option<Box<RawValue>>,
    }
    if text.is_empty() {
        return Block { comments: 1, ..Block::default() };
    }
    let Object { event, id, retry, data } =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let data = data.map(|data| serde_json::from_str(data.get()).unwrap_or_else(|_| data.get().to_owned()));
    Block { event, id, retry, data, comments: 0 }
}

/// A `null` that is there is a value.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(value).map(Some)
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As the protocol has it.
    Clean,
    /// In any other way.
    Cut(String),
}

/// One stream, as its client sees it.
pub(crate) struct Reader {
    wire: Wire,
    way: Way,
    decoder: Decoder,
    text: Vec<u8>,
    /// How many bytes the body had so far, as they were sent.
    pub(crate) coded: usize,
    /// In `text` there is no end of a block before this.
    searched: usize,
    /// The code with which a WebSocket was closed.
    pub(crate) closed: Option<u16>,
    /// How many bytes are read at a time.
    pub(crate) part: usize,
    pub(crate) end: Option<End>,
}

enum Wire {
    Http1(Http1),
    Http2(Box<Http2>),
}

struct Http1 {
    socket: Wired,
    raw: Vec<u8>,
    /// What comes next of the chunked coding; `None`: the body goes to the connection's end.
    chunk: Option<Chunk>,
}

enum Chunk {
    Size,
    Data(usize),
    DataEnd,
    LastEnd,
    Done,
}

struct Http2 {
    body: h2::RecvStream,
    _sender: h2::client::SendRequest<Bytes>,
    driver: JoinHandle<()>,
    socket: std::net::TcpStream,
    unpaid: usize,
}

impl Reader {
    /// Asks, and reads the head of a stream's answer.
    pub(crate) async fn open(way: Way, address: SocketAddr, ask: &Ask) -> Reader {
        Reader::try_open(way, address, ask).await.unwrap_or_else(|status| panic!("{way:?}: {status}"))
    }

    /// The status, where it is not 200.
    pub(crate) async fn try_open(way: Way, address: SocketAddr, ask: &Ask) -> Result<Reader, u16> {
        let mut wire = match way {
            Way::Writer | Way::Tls => {
                let socket = Wired::open(way, ask, address).await;
                let (http1, head) = Http1::open(socket, &ask.head("1.1")).await?;
                assert!(head.contains("connection: close\r\n"), "{head}");
                Wire::Http1(http1)
            }
            Way::Gzip => {
                let socket = Wired::open(way, ask, address).await;
                let (http1, head) = Http1::open(socket, &ask.head_for("gzip")).await?;
                assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
                assert!(head.contains("vary: accept-encoding\r\n"), "{head}");
                Wire::Http1(http1)
            }
            Way::Lines => {
                let socket = Wired::open(way, ask, address).await;
                let (http1, head) = Http1::open(socket, &ask.head_for_lines()).await?;
                assert!(head.contains("content-type: application/x-ndjson\r\n"), "{head}");
                Wire::Http1(http1)
            }
            Way::WebSocket | Way::WebSocketTls => {
                let socket = Wired::open(way, ask, address).await;
                let (http1, head) = Http1::open(socket, &ask.handshake()).await?;
                assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
                assert!(
                    head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"),
                    "{head}"
                );
                assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
                Wire::Http1(http1)
            }
            Way::Http10 => {
                Wire::Http1(Http1::open(Wired::plain(ask, address).await, &ask.head("1.0")).await?.0)
            }
            Way::Http2 | Way::Zstd => {
                Wire::Http2(Http2::open(way, Wired::plain(ask, address).await, ask).await?)
            }
            Way::Http2Tls => Wire::Http2(Http2::open(way, Wired::tls(ask, address, b"h2").await, ask).await?),
        };
        let (mut body, mut text) = (Vec::new(), Vec::new());
        if let Wire::Http1(wire) = &mut wire {
            // What came with the head.
            wire.take(&mut body);
        }
        let mut decoder = Decoder::new(way.coding().unwrap_or_default());
        decoder.take(&body, &mut text);
        let (coded, part) = (body.len(), 64 * 1024);
        Ok(Reader { wire, way, decoder, text, coded, searched: 0, closed: None, part, end: None })
    }

    /// The next block; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Block> {
        loop {
            let found = match self.way {
                Way::Lines => self.line(),
                way if way.is_web_socket() => self.message(),
                _ => self.block(),
            };
            if found.is_some() {
                return found;
            }
            if !self.more(self.part).await {
                assert!(self.text.is_empty() || self.end != Some(End::Clean), "half a block before the end");
                if self.way.is_web_socket() && self.closed.is_none() && self.end == Some(End::Clean) {
                    self.end = Some(End::Cut("no close before the end".to_owned()));
                }
                return None;
            }
        }
    }

    fn block(&mut self) -> Option<Block> {
        let from = self.searched.saturating_sub(1);
        let Some(at) = self.text[from..].windows(2).position(|two| two == b"\n\n") else {
            self.searched = self.text.len();
            return None;
        };
        let block: Vec<u8> = self.text.drain(..from + at + 2).collect();
        self.searched = 0;
        Some(parse(std::str::from_utf8(&block).unwrap()))
    }

    fn line(&mut self) -> Option<Block> {
        let Some(at) = self.text[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.text.len();
            return None;
        };
        let line: Vec<u8> = self.text.drain(..self.searched + at + 1).collect();
        self.searched = 0;
        Some(object(std::str::from_utf8(&line).unwrap().trim_end_matches('\n')))
    }

    /// The next message, or a ping as a comment. A close is no block.
    fn message(&mut self) -> Option<Block> {
        let [first, second, rest @ ..] = &self.text[..] else { return None };
        assert!(self.closed.is_none(), "a frame after the close");
        assert!(first & 0x70 == 0 && first & 0x80 != 0 && second & 0x80 == 0, "{first:x} {second:x}");
        let (header, size) = match second {
            126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
            size => (2, u64::from(*size)),
        };
        assert!(
            size >= [(4, 126), (10, 1 << 16)]
                .into_iter()
                .find(|(of, _)| *of == header)
                .map_or(0, |(_, least)| least)
        );
        let data = self.text.get(header..header + size as usize)?.to_vec();
        let opcode = first & 0x0f;
        self.text.drain(..header + size as usize);
        match opcode {
            1 => Some(object(std::str::from_utf8(&data).unwrap())),
            9 => Some(Block { comments: 1, ..Block::default() }),
            8 => {
                self.closed = Some(u16::from_be_bytes([data[0], data[1]]));
                None
            }
            10 => Some(Block {
                event: Some("pong".to_owned()),
                data: Some(String::from_utf8(data).unwrap()),
                ..Block::default()
            }),
            other => panic!("opcode {other}"),
        }
    }

    pub(crate) async fn next_record(&mut self) -> Block {
        loop {
            let block = self.next().await.unwrap_or_else(|| panic!("no record, but {:?}", self.end));
            if block.data.is_some() && block.event.is_none() {
                return block;
            }
        }
    }

    pub(crate) async fn next_is(&mut self, event: &str) -> Block {
        loop {
            let block = self.next().await.unwrap_or_else(|| panic!("no {event}, but {:?}", self.end));
            if block.is(event) {
                return block;
            }
        }
    }

    /// Everything up to the end.
    pub(crate) async fn rest(&mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        while let Some(block) = self.next().await {
            blocks.push(block);
        }
        blocks
    }

    /// Reads once, up to `most` bytes; false at the end.
    pub(crate) async fn more(&mut self, most: usize) -> bool {
        if self.end.is_some() {
            return false;
        }
        let (wire, mut body) = (&mut self.wire, Vec::new());
        let reading = async {
            match wire {
                Wire::Http1(wire) => wire.more(most, &mut body).await,
                Wire::Http2(wire) => wire.more(most, &mut body).await,
            }
        };
        self.end = tokio::time::timeout(PATIENCE, reading).await.expect("nothing comes, and no end");
        self.coded += body.len();
        self.decoder.take(&body, &mut self.text);
        if self.end == Some(End::Clean) && !self.decoder.may_end() {
            self.end = Some(End::Cut("the compressed body has no end".to_owned()));
        }
        self.end.is_none()
    }

    /// Forgets what has been read; how much it was.
    pub(crate) fn drop_text(&mut self) -> usize {
        self.searched = 0;
        let size = self.text.len();
        self.text.clear();
        size
    }

    /// Says that nothing will be sent any more.
    pub(crate) fn half_close(&self) {
        match &self.wire {
            Wire::Http1(wire) => wire.socket.socket().shutdown(Shutdown::Write).unwrap(),
            Wire::Http2(wire) => wire.socket.shutdown(Shutdown::Write).unwrap(),
        }
    }

    pub(crate) async fn close(self) {
        if let Wire::Http2(wire) = self.wire {
            wire.driver.abort();
            let _ = wire.driver.await;
        }
    }

    /// Replaces the keys of TLS, and asks the other side to do so.
    pub(crate) async fn replace_keys(&mut self) {
        let Wire::Http1(wire) = &mut self.wire else { panic!("not on this way") };
        let Wired::Tls(tls) = &mut wire.socket else { panic!("not on this way") };
        tls.get_mut().1.refresh_traffic_keys().unwrap();
        tls.flush().await.unwrap();
    }

    /// Closes with a reset of the connection.
    pub(crate) async fn reset(self) {
        match &self.wire {
            Wire::Http1(wire) => wire.socket.socket().set_linger(Some(Duration::ZERO)).unwrap(),
            Wire::Http2(wire) => SockRef::from(&wire.socket).set_linger(Some(Duration::ZERO)).unwrap(),
        }
        self.close().await;
    }

    /// Sends what the socket takes at once of `bytes`, and goes on until nothing was taken for `quiet`; how much it took.
    pub(crate) async fn send(&mut self, bytes: &[u8], quiet: Duration) -> usize {
        let Wire::Http1(wire) = &mut self.wire else { panic!("HTTP/2 has frames") };
        let mut sent = 0;
        while sent < bytes.len() {
            match tokio::time::timeout(quiet, wire.socket.write(&bytes[sent..])).await {
                Ok(Ok(count)) => sent += count,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        // TLS may have taken more than the socket.
        let _ = tokio::time::timeout(quiet, wire.socket.flush()).await;
        sent
    }
}

impl Http1 {
    async fn open(socket: Wired, request: &[u8]) -> Result<(Http1, String), u16> {
        let mut http1 = Http1 { socket, raw: Vec::new(), chunk: None };
        http1.socket.write_all(request).await.unwrap();
        http1.socket.flush().await.unwrap();
        let head = http1.head().await;
        match status(&head) {
            101 => Ok((http1, head)),
            200 => {
                http1.take_head(&head);
                Ok((http1, head))
            }
            other => Err(other),
        }
    }

    async fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.raw.windows(4).position(|four| four == b"\r\n\r\n") {
                return String::from_utf8(self.raw.drain(..at + 4).collect()).unwrap();
            }
            assert!(self.fill(64 * 1024).await.unwrap() > 0, "closed before an answer");
        }
    }

    fn take_head(&mut self, head: &str) {
        let is_lines = head.contains("content-type: application/x-ndjson\r\n");
        assert!(is_lines || head.contains("content-type: text/event-stream\r\n"), "{head}");
        if head.contains("transfer-encoding: chunked\r\n") {
            self.chunk = Some(Chunk::Size);
        } else {
            assert!(head.starts_with("HTTP/1.0 "), "{head}");
        }
    }

    async fn fill(&mut self, most: usize) -> std::io::Result<usize> {
        let mut buffer = vec![0; most];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut buffer));
        let count = read.await.expect("nothing comes, and no end")?;
        self.raw.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    async fn more(&mut self, most: usize, text: &mut Vec<u8>) -> Option<End> {
        let count = match self.fill(most).await {
            Ok(count) => count,
            Err(error) => return Some(End::Cut(error.to_string())),
        };
        self.take(text);
        match (&self.chunk, count) {
            (Some(Chunk::Done), _) if !self.raw.is_empty() => {
                Some(End::Cut("bytes after the end".to_owned()))
            }
            (Some(Chunk::Done) | None, 0) => Some(End::Clean),
            (_, 0) => Some(End::Cut("closed before the last chunk".to_owned())),
            _ => None,
        }
    }

    /// Takes what has been read out of its coding.
    fn take(&mut self, text: &mut Vec<u8>) {
        match &mut self.chunk {
            Some(chunk) => {
                let taken = chunk.take(&self.raw, text);
                self.raw.drain(..taken);
            }
            None => text.append(&mut self.raw),
        }
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

impl Chunk {
    /// Moves on over what there is of the chunked coding; how many bytes it took.
    fn take(&mut self, raw: &[u8], text: &mut Vec<u8>) -> usize {
        let mut at = 0;
        loop {
            let left = &raw[at..];
            match self {
                Chunk::Size => {
                    let Some(end) = left.windows(2).position(|two| two == b"\r\n") else { return at };
                    let size = std::str::from_utf8(&left[..end]).unwrap();
                    let size = usize::from_str_radix(size, 16)
                        .unwrap_or_else(|_| panic!("{size:?} is no size of a chunk"));
                    at += end + 2;
                    *self = if size == 0 { Chunk::LastEnd } else { Chunk::Data(size) };
                }
                Chunk::Data(size) => {
                    let count = left.len().min(*size);
                    text.extend_from_slice(&left[..count]);
                    at += count;
                    if count < *size {
                        *size -= count;
                        return at;
                    }
                    *self = Chunk::DataEnd;
                }
                Chunk::DataEnd | Chunk::LastEnd if left.len() < 2 => return at,
                Chunk::DataEnd | Chunk::LastEnd => {
                    assert_eq!(&left[..2], b"\r\n", "a chunk's end");
                    at += 2;
                    *self = if matches!(self, Chunk::LastEnd) { Chunk::Done } else { Chunk::Size };
                }
                Chunk::Done => return at,
            }
        }
    }
}

impl Http2 {
    async fn open(way: Way, socket: Wired, ask: &Ask) -> Result<Box<Http2>, u16> {
        let handle = std::net::TcpStream::from(socket.socket().try_clone().unwrap());
        let mut builder = h2::client::Builder::new();
        if let Some(room) = ask.room {
            builder.initial_window_size(room);
        }
        let (sender, connection) = builder.handshake::<_, Bytes>(socket).await.unwrap();
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        let mut sender = sender.ready().await.unwrap();
        let mut request = hyper::Request::get(format!("http://tailrace{}", ask.target));
        if let Some(id) = &ask.last_event_id {
            request = request.header("last-event-id", id);
        }
        if let Some(coding) = way.coding() {
            request = request.header("accept-encoding", coding);
        }
        let (answer, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("no answer").unwrap();
        match answer.status().as_u16() {
            200 => {
                let coding = answer.headers().get("content-encoding").map(|value| value.to_str().unwrap());
                assert_eq!(coding, way.coding());
                let body = answer.into_body();
                Ok(Box::new(Http2 { body, _sender: sender, driver, socket: handle, unpaid: 0 }))
            }
            other => Err(other),
        }
    }

    /// Gives back room for `most` bytes at a time, as a socket would that is read so.
    async fn more(&mut self, most: usize, text: &mut Vec<u8>) -> Option<End> {
        let pay = self.unpaid.min(most);
        self.unpaid -= pay;
        let _ = self.body.flow_control().release_capacity(pay);
        if self.unpaid > 0 && self.body.flow_control().available_capacity() <= 0 {
            return None;
        }
        match poll_fn(|context| self.body.poll_data(context)).await {
            Some(Ok(bytes)) => {
                self.unpaid += bytes.len();
                text.extend_from_slice(&bytes);
                None
            }
            Some(Err(error)) => Some(End::Cut(error.to_string())),
            None => Some(End::Clean),
        }
    }
}
