//! A server over a core without Kafka, and a client that shares no code with the product: raw sockets, and a small
//! parser of HTTP/1.1 and of event streams.
// Each test is a program of its own and uses a part of this.
#![allow(dead_code)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Parser;
use futures::FutureExt;
use futures::future::BoxFuture;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tailrace_bridge::{
    Bridge, BridgeConfig, Headers, HistoryError, HistoryRead, NewRecord, OffsetsAt, Position, Segment,
    SegmentBuilder, Source, Start, TenantId, TenantRules, TopicId,
};
use tailrace_web::{Args, Reload, Web, WebSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

pub(crate) const SECRET: &str = "a secret that is long enough for HS256";

/// A Kafka that has nothing but what is in memory.
struct Nothing;

impl Source for Nothing {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        async move { Ok(SegmentBuilder::new(read.from).finish(Position { offset: read.from, epoch: read.epoch })) }.boxed()
    }

    fn offsets_at(&self, _: &str, _: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        async { Ok(vec![0]) }.boxed()
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

#[derive(Parser)]
#[command(args_override_self = true)]
struct Cli {
    #[command(flatten)]
    web: Args,
}

pub(crate) fn args(flags: &[&str]) -> Args {
    Cli::parse_from(["tailrace"].iter().chain(flags)).web
}

fn settings(flags: &[&str]) -> WebSettings {
    let local = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--drain-delay", "200ms"];
    args(&[&local[..], flags].concat()).settings().unwrap()
}

fn prometheus() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap()).clone()
}

pub(crate) struct Server {
    pub(crate) bridge: Bridge,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) reload: Reload,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) running: tokio::task::JoinHandle<()>,
    offset: u64,
}

impl Server {
    /// Ready, with one topic `orders` of one partition, tenants from the header `tenant`.
    pub(crate) async fn start(flags: &[&str]) -> Server {
        let server = Server::cold("header:tenant", flags).await;
        server.bridge.health().set_ready();
        server
    }

    pub(crate) async fn open(flags: &[&str]) -> Server {
        Server::start(&[&["--auth", "none"], flags].concat()).await
    }

    pub(crate) async fn cold(rules: &str, flags: &[&str]) -> Server {
        Server::over(Arc::new(Nothing), &[0], rules, flags).await
    }

    /// Over a Kafka whose records below these offsets, one for each partition, are not in memory.
    pub(crate) async fn over(source: Arc<dyn Source>, heads: &[u64], rules: &str, flags: &[&str]) -> Server {
        Server::with(settings(flags), source, heads, rules).await
    }

    /// Open to everybody, with this many bytes for what clients have not read yet.
    pub(crate) async fn with_unread(bytes: usize, flags: &[&str]) -> Server {
        let mut settings = settings(&[&["--auth", "none"], flags].concat());
        settings.set_unread(bytes);
        let server = Server::with(settings, Arc::new(Nothing), &[0], "header:tenant").await;
        server.bridge.health().set_ready();
        server
    }

    async fn with(settings: WebSettings, source: Arc<dyn Source>, heads: &[u64], rules: &str) -> Server {
        let handle = prometheus();
        tailrace_web::describe_metrics();
        let rules: Arc<TenantRules> = Arc::new(rules.parse().unwrap());
        let (linger, privacy) = (Duration::ZERO, settings.privacy());
        let config = BridgeConfig { memory: 16 << 20, rules: Arc::clone(&rules), linger, privacy };
        let bridge = Bridge::new(config, source);
        let starts: Vec<Start> =
            heads.iter().map(|offset| Start { offset: *offset, epoch: 0, log_start: 0 }).collect();
        bridge.add_topic("orders", TopicId([7; 16]), &starts);
        let web = Web::bind(settings, bridge.clone(), rules, handle).await.unwrap();
        let (address, admin, reload) = (web.address(), web.admin_address(), web.reload());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(web.run(async move {
            let _ = stopped.await;
        }));
        Server { bridge, address, admin, reload, stop: Some(stop), running, offset: heads[0] }
    }

    pub(crate) fn append(&mut self, tenant: &str, value: &str) {
        let topic = self.bridge.topic("orders").unwrap();
        let partition = topic.partitions()[0].clone();
        let record = NewRecord {
            offset: self.offset,
            epoch: 0,
            timestamp: 1_700_000_000_000,
            key: Some(b"k"),
            value: Some(value.as_bytes()),
            headers: Headers::default(),
            tenant: TenantId::new(tenant).unwrap(),
            event_type: None,
            form: tailrace_bridge::Form::default(),
        };
        self.offset += 1;
        self.bridge.append(&partition, &[record], Position { offset: self.offset, epoch: 0 });
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub(crate) async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Client {
        Client::request(self.address, "GET", target, headers).await
    }

    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let body = Client::request(self.admin, "GET", "/metrics", &[]).await.body().await;
        let found =
            body.lines().find_map(|l| l.strip_prefix(line)).unwrap_or_else(|| panic!("no {line} in {body}"));
        found.trim().parse().unwrap()
    }
}

/// One block of an event stream, as a browser sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Block {
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<u64>,
    pub(crate) comments: usize,
}

impl Block {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.data.as_deref().unwrap()).unwrap()
    }

    pub(crate) fn is(&self, event: &str) -> bool {
        self.event.as_deref() == Some(event)
    }
}

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    raw: Vec<u8>,
    text: String,
    pub(crate) ended: bool,
}

impl Client {
    pub(crate) async fn request(
        address: SocketAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Client {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        Client::answer(socket).await
    }

    pub(crate) async fn answer(socket: TcpStream) -> Client {
        let mut client = Client {
            socket,
            status: 0,
            headers: HashMap::new(),
            raw: Vec::new(),
            text: String::new(),
            ended: false,
        };
        let end = loop {
            if let Some(at) = client.raw.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            assert!(client.fill().await, "closed before an answer");
        };
        let head = String::from_utf8(client.raw[..end].to_vec()).unwrap();
        client.raw.drain(..end + 4);
        let mut lines = head.lines();
        client.status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            client.headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        client
    }

    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(20), self.socket.read(&mut buffer));
        let n = read.await.expect("no answer within 20 s").unwrap_or(0);
        self.raw.extend_from_slice(&buffer[..n]);
        n > 0
    }

    /// Takes one chunk out of `raw`; false at the end.
    async fn chunk(&mut self) -> bool {
        loop {
            if let Some(at) = self.raw.windows(2).position(|w| w == b"\r\n") {
                let size = usize::from_str_radix(std::str::from_utf8(&self.raw[..at]).unwrap(), 16).unwrap();
                if self.raw.len() >= at + 2 + size + 2 {
                    self.text.push_str(std::str::from_utf8(&self.raw[at + 2..at + 2 + size]).unwrap());
                    self.raw.drain(..at + 2 + size + 2);
                    self.ended = size == 0;
                    return size > 0;
                }
            }
            if !self.fill().await {
                return false;
            }
        }
    }

    /// The whole body of a short answer.
    pub(crate) async fn body(&mut self) -> String {
        if let Some(length) = self.headers.get("content-length") {
            let length: usize = length.parse().unwrap();
            while self.raw.len() < length && self.fill().await {}
            return String::from_utf8(self.raw[..length].to_vec()).unwrap();
        }
        while self.chunk().await {}
        std::mem::take(&mut self.text)
    }

    pub(crate) async fn json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.body().await).unwrap()
    }

    /// The next block; `None` at the end, be it clean (`ended`) or not.
    pub(crate) async fn next(&mut self) -> Option<Block> {
        loop {
            if let Some(at) = self.text.find("\n\n") {
                let block: String = self.text.drain(..at + 2).collect();
                return Some(parse(&block));
            }
            let whole = self.headers.contains_key("content-length");
            if whole && self.text.is_empty() && !self.ended {
                self.text = self.body().await;
                self.ended = true;
            } else if self.ended || !self.chunk().await {
                return None;
            }
        }
    }

    pub(crate) async fn next_is(&mut self, event: &str) -> Block {
        loop {
            let block = self.next().await.unwrap_or_else(|| panic!("the stream ended before {event}"));
            if block.is(event) {
                return block;
            }
        }
    }

    pub(crate) async fn next_record(&mut self) -> Block {
        loop {
            let block = self.next().await.expect("the stream ended before a record");
            if block.data.is_some() && block.event.is_none() {
                return block;
            }
        }
    }
}

pub(crate) fn parse(text: &str) -> Block {
    let mut block = Block::default();
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            // What fills up a small frame of HTTP/2 is no heartbeat.
            "" if line.len() > 1 && line[1..].bytes().all(|byte| byte == b' ') => {}
            "" if !line.is_empty() => block.comments += 1,
            "" => {}
            "event" => block.event = Some(value),
            "data" => match &mut block.data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => block.data = Some(value),
            },
            "id" => block.id = Some(value),
            "retry" => block.retry = Some(value.parse().unwrap()),
            other => panic!("unknown field {other}"),
        }
    }
    block
}
