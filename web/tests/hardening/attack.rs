//! What the attacks of this folder share: producers that write any bytes, a browser by the letter of the standard, tokens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tailrace_bridge::{
    EventId, EventTypeRule, Headers, NewRecord, Position, RawRecord, Start, TenantNames, TenantRules,
    TopicId, put_header,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, SECRET, Server};

/// Nothing that a test waits for may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A record as a producer writes it. The tenant rule and the type rule of a test decide what becomes of it.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Written {
    /// A record of the tenant acme by its header.
    pub(crate) fn value(value: impl AsRef<[u8]>) -> Written {
        Written {
            key: Some(b"k".to_vec()),
            value: Some(value.as_ref().to_vec()),
            headers: vec![("tenant".to_owned(), Some(b"acme".to_vec()))],
        }
    }

    pub(crate) fn of(tenant: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Written {
        let headers = vec![("tenant".to_owned(), Some(tenant.as_ref().to_vec()))];
        Written { headers, ..Written::value(value) }
    }

    pub(crate) fn tombstone() -> Written {
        Written { value: None, ..Written::value("") }
    }

    pub(crate) fn key(self, key: impl AsRef<[u8]>) -> Written {
        Written { key: Some(key.as_ref().to_vec()), ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: Option<&[u8]>) -> Written {
        self.headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }

    pub(crate) fn event_type(self, event_type: impl AsRef<[u8]>) -> Written {
        self.header("type", Some(event_type.as_ref()))
    }
}

/// The rules by which records come in.
pub(crate) struct Rules {
    tenant: TenantRules,
    event_type: EventTypeRule,
}

impl Rules {
    pub(crate) fn new(tenant: &str, event_type: &str) -> Rules {
        Rules { tenant: tenant.parse().unwrap(), event_type: event_type.parse().unwrap() }
    }

    /// Tenant and event type by headers.
    pub(crate) fn headers() -> Rules {
        Rules::new("header:tenant", "header:type")
    }

    /// Takes a record in as the consumer does; its offset, or why it has no tenant.
    pub(crate) fn produce(&self, server: &Server, topic: &str, written: &Written) -> Result<u64, String> {
        let topic = server.bridge.topic(topic).unwrap();
        let partition = topic.partitions()[0].clone();
        let mut bytes = Vec::new();
        for (name, value) in &written.headers {
            put_header(&mut bytes, name, value.as_deref());
        }
        let headers = Headers::written(&bytes);
        let (key, value) = (written.key.as_deref(), written.value.as_deref());
        let raw = RawRecord { key, value, headers, flaw: None };
        let offset = partition.head().offset;
        let tenant = self.tenant.tenant_of(topic.name(), &raw, &mut TenantNames::default());
        let tenant = tenant.map_err(|why| why.reason().to_owned())?;
        let event_type = self.event_type.event_type_of(topic.name(), &raw).unwrap_or(None);
        let record = NewRecord {
            offset,
            epoch: 0,
            timestamp: 1_700_000_000_000,
            key: raw.key,
            value: raw.value,
            headers,
            tenant,
            event_type: event_type.map(Into::into),
            form: tailrace_bridge::Form::default(),
        };
        server.bridge.append(&partition, &[record], Position { offset: offset + 1, epoch: 0 });
        Ok(offset)
    }
}

/// Adds an empty topic of one partition.
pub(crate) fn add_topic(server: &Server, name: &str, id: u8) {
    server.bridge.add_topic(name, TopicId([id; 16]), &[Start { offset: 0, epoch: 0, log_start: 0 }]);
}

/// An event as a browser dispatches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
    /// The last event id at that moment.
    pub(crate) id: String,
}

/// An event stream as the standard has it: HTML, 9.2.5 (parsing) and 9.2.6 (interpretation), byte by byte.
#[derive(Debug, Default)]
pub(crate) struct EventStream {
    line: Vec<u8>,
    has_begun: bool,
    after_cr: bool,
    data: String,
    event_type: String,
    id_buffer: String,
    pub(crate) last_event_id: String,
    pub(crate) events: Vec<Event>,
    /// Every id that was set, also by blocks without data.
    pub(crate) ids: Vec<String>,
    /// Every reconnection time that was set.
    pub(crate) retries: Vec<u64>,
    /// Fields that the standard does not know: it ignores them, and the server sends none.
    pub(crate) unknown: Vec<String>,
}

impl EventStream {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    self.end_line();
                }
                byte => {
                    self.after_cr = false;
                    self.line.push(byte);
                }
            }
        }
    }

    fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8(bytes).expect("a stream is UTF-8 in every line");
        let line = match line.strip_prefix('\u{feff}') {
            Some(rest) if !self.has_begun => rest,
            _ => &line,
        };
        self.has_begun = true;
        if line.is_empty() {
            return self.dispatch();
        }
        match line.find(':') {
            Some(0) => {}
            Some(at) => self.field(&line[..at], line[at + 1..].strip_prefix(' ').unwrap_or(&line[at + 1..])),
            None => self.field(line, ""),
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => self.event_type = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => {
                self.id_buffer = value.to_owned();
                self.ids.push(value.to_owned());
            }
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retries.push(value.parse().unwrap());
            }
            _ => self.unknown.push(format!("{name}:{value}")),
        }
    }

    fn dispatch(&mut self) {
        self.last_event_id = self.id_buffer.clone();
        let (mut data, name) = (std::mem::take(&mut self.data), std::mem::take(&mut self.event_type));
        if data.is_empty() {
            return;
        }
        data.pop();
        let name = if name.is_empty() { "message".to_owned() } else { name };
        self.events.push(Event { name, data, id: self.last_event_id.clone() });
    }
}

/// A stream over HTTP/1.0, whose body is not framed: every byte that comes is the stream's.
pub(crate) struct Browser {
    socket: TcpStream,
    pub(crate) head: String,
    pub(crate) stream: EventStream,
}

impl Browser {
    pub(crate) async fn open(server: &Server, target: &str) -> Browser {
        Browser::with(server, target, &[]).await
    }

    pub(crate) async fn with(server: &Server, target: &str, headers: &[(&str, &str)]) -> Browser {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        socket.write_all(format!("GET {target} HTTP/1.0\r\n{lines}\r\n").as_bytes()).await.unwrap();
        let mut browser = Browser { socket, head: String::new(), stream: EventStream::default() };
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            assert!(browser.read(&mut bytes).await, "closed before an answer");
        };
        browser.head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        browser.stream.feed(&bytes[end + 4..]);
        browser
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn read(&mut self, into: &mut Vec<u8>) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.socket.read_buf(into));
        match read.await {
            Ok(read) => read.unwrap_or(0) > 0,
            Err(_) => panic!("nothing within {PATIENCE:?}; so far: {:.2000?}", self.stream.events),
        }
    }

    /// Reads until one of the events is this.
    pub(crate) async fn until(&mut self, is_it: impl Fn(&Event) -> bool) {
        let mut seen = 0;
        loop {
            if self.stream.events[seen..].iter().any(&is_it) {
                return;
            }
            seen = self.stream.events.len();
            let mut bytes = Vec::with_capacity(1 << 16);
            assert!(self.read(&mut bytes).await, "the stream ended: {:.2000?}", self.stream.events);
            self.stream.feed(&bytes);
        }
    }

    pub(crate) async fn until_synced(&mut self) {
        self.until(|event| event.name == "tailrace.synced").await;
    }

    /// Names and data of all events so far.
    pub(crate) fn events(&self) -> Vec<(&str, &str)> {
        self.stream.events.iter().map(|event| (&*event.name, &*event.data)).collect()
    }
}

/// The offset that an id without a seal continues at, in the first partition of its only topic.
pub(crate) fn offset_of(id: &str) -> u64 {
    let id: EventId = id.parse().unwrap_or_else(|why| panic!("{id:?} is not the server's: {why}"));
    assert_eq!(id.vector.parts.len(), 1);
    id.vector.parts[0].positions[0].offset
}

/// Claims of a token for that tenant, with scopes for all of its topics.
pub(crate) fn claims(tenant: &str) -> Value {
    json!({"tenant_id": tenant, "scope": format!("event:read:{tenant}"), "sub": "ann", "exp": 4_000_000_000_u32})
}

pub(crate) fn signed(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

pub(crate) fn bearer(claims: &Value) -> String {
    format!("Bearer {}", signed(claims))
}

/// A server that asks for tokens.
pub(crate) async fn with_tokens(flags: &[&str]) -> Server {
    Server::start(&[&["--auth", "jwt", "--jwt-secret", SECRET], flags].concat()).await
}

/// An answer that is no stream: its status, its headers without the date, and its body without what differs in every answer.
pub(crate) async fn answer(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> (u16, BTreeMap<String, String>, Value) {
    let mut client = Client::request(address, method, target, headers).await;
    let mut kept: BTreeMap<String, String> = client.headers.clone().into_iter().collect();
    kept.remove("date");
    let has_body = method != "HEAD" && kept.get("content-length").is_some_and(|length| length != "0");
    let mut body = if has_body { client.json().await } else { Value::Null };
    if let Some(document) = body.as_object_mut() {
        document.remove("trace_id");
    }
    (client.status, kept, body)
}

/// How many streams the operators' list has.
pub(crate) async fn listed(server: &Server) -> usize {
    let (_, _, streams) = answer(server.admin, "GET", "/streams", &[]).await;
    streams.as_array().unwrap().len()
}

/// Waits until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// For a test that looks at what all of the process shares, its metrics or its log: runs it once more in a process of its own.
/// `None`: this is that process.
pub(crate) fn in_a_process_of_its_own(test: &str) -> Option<Output> {
    const ALONE: &str = "TAILRACE_TEST_ALONE";
    if std::env::var(ALONE).is_ok_and(|alone| alone == test) {
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", test, "--nocapture"]).env(ALONE, test).output().unwrap();
    let said =
        || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", said());
    assert!(said().contains("1 passed"), "{test} is not the name of a test: {}", said());
    Some(output)
}

/// Characters of a tenant's name that a path has escaped.
pub(crate) fn in_path(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
