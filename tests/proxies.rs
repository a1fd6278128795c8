//! The blocks of docs/proxies.md in front of the real server: each event once, as an event stream, as JSON lines and by a WebSocket, through
//! restarts and a reload of the proxy, with its compression on, and no later than direct ones.

#[path = "proxies/kind.rs"]
mod kind;
#[path = "proxies/proxy.rs"]
mod proxy;
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kind::{Kind, Upstream};
use proxy::Proxy;
use support::bridge::{Bridge, get};
use support::kafka::{Kafka, Producer};
use support::sse::{IdBuffer, Source};
use tailrace_faults::way::Way;
use tokio::task::JoinHandle;

const EVENTS: usize = 450;
const PARTITIONS: usize = 3;
/// Plain `EventSource`s behind the proxy.
const CLIENTS: usize = 4;
const PATH: &str = "/t/acme/events";
/// What the standard leaves to browsers before a server has said anything.
const RETRY: Duration = Duration::from_millis(500);
/// The most that a proxy may add at the median.
const ADDED: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(40);

/// What a client has heard: each event with its time, and why it ended for good.
#[derive(Default)]
struct Heard {
    events: Vec<(usize, Instant)>,
    opened: usize,
    closed: Option<String>,
}

/// A client that comes back after a cut. A plain `EventSource` ends for good by any answer that is no stream; the others are programs, and
/// come back after those, too.
struct Client {
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Client {
    fn start(port: u16, way: Way) -> Client {
        let heard = Arc::<Mutex<Heard>>::default();
        let task = tokio::spawn(listen(port, way, heard.clone()));
        Client { heard, task }
    }

    fn count(&self) -> usize {
        self.heard.lock().unwrap().events.len()
    }

    fn is_open(&self) -> bool {
        self.heard.lock().unwrap().opened > 0
    }

    /// When each event came first, by its number.
    fn times(&self) -> BTreeMap<usize, Instant> {
        self.heard.lock().unwrap().events.iter().rev().copied().collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the answer has that is a stream.
fn stream_head(way: Way) -> &'static str {
    match way {
        Way::Lines => "content-type: application/x-ndjson",
        Way::WebSocket => "upgrade: websocket",
        Way::Sse | Way::Http2 => "content-type: text/event-stream",
    }
}

async fn listen(port: u16, way: Way, heard: Arc<Mutex<Heard>>) {
    let mut source = Source::new(port, PATH, IdBuffer::Empty);
    source.way = way;
    loop {
        if let Some(mut connection) = source.connect(port).await {
            let head = connection.head.to_ascii_lowercase();
            let mut open = connection.status == 200 && head.contains(stream_head(way));
            if open {
                heard.lock().unwrap().opened += 1;
            } else if way == Way::Sse {
                heard.lock().unwrap().closed = Some(connection.head);
                return;
            }
            while open {
                let (events, still) =
                    source.read(&mut connection, usize::MAX, Duration::from_millis(1)).await;
                let now = Instant::now();
                let records = events.iter().filter(|event| event.name.is_empty());
                let numbers = records.map(|event| (event.data.parse().expect("a number"), now));
                heard.lock().unwrap().events.extend(numbers);
                open = still;
            }
        }
        tokio::time::sleep(source.retry.map_or(RETRY, Duration::from_millis)).await;
    }
}

/// Writes the events that are numbered so, one every few milliseconds.
async fn write(producer: &Producer, numbers: std::ops::Range<usize>) {
    for number in numbers {
        producer.send("orders", (number % PARTITIONS) as i32, "acme", number.to_string().as_bytes());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    producer.flush();
}

async fn all_have(clients: &[&Client], count: usize) {
    support::eventually("every client has every event", PATIENCE, async || {
        let closed = clients.iter().find_map(|client| client.heard.lock().unwrap().closed.clone());
        assert!(closed.is_none(), "a client ended for good: {}", closed.unwrap_or_default());
        clients.iter().all(|client| client.count() >= count).then_some(())
    })
    .await;
}

/// How much later events came to `client` than to `direct`, at the median.
fn added(client: &Client, direct: &Client) -> Duration {
    let (times, direct) = (client.times(), direct.times());
    let mut later: Vec<Duration> =
        times.iter().map(|(number, at)| at.saturating_duration_since(direct[number])).collect();
    later.sort_unstable();
    later[later.len() / 2]
}

/// What the README's routes answer behind the proxy: the server's own pages, and its own refusals where a stream cannot be.
async fn assert_routes(port: u16) {
    let routes = [
        ("/", 200, "<title>"),
        ("/tailrace.js", 200, "export class Tailrace"),
        ("/events", 400, "bad_tenant"),
        ("/t/acme/events?topic=other", 404, "unknown_topic"),
        ("/t/a%2Fb/events?topic=other", 404, "unknown_topic"),
    ];
    for (path, status, part) in routes {
        let (got, body) = get(port, path).await.expect("the proxy answers");
        assert_eq!(got, status, "{path}: {body}");
        assert!(body.contains(part), "{path} has no {part:?}: {body}");
    }
}

async fn everything_comes_once(kind: Kind, speaks: Upstream) {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let env = [("TAILRACE_DRAIN_DELAY", "0s"), ("TAILRACE_DRAIN_RETRY", "500ms")];
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", kind.name(), &env);
    bridge.start().await;
    let mut proxy = Proxy::start(kind, bridge.port, speaks).await;
    assert_routes(proxy.port).await;
    let direct = Client::start(bridge.port, Way::Sse);
    // A WebSocket begins with HTTP/1.1.
    let web_socket = (speaks == Upstream::Http1).then_some(Way::WebSocket);
    let ways = [Way::Sse; CLIENTS].into_iter().chain([Way::Lines]).chain(web_socket);
    let clients: Vec<Client> = ways.map(|way| Client::start(proxy.port, way)).collect();
    let all: Vec<&Client> = clients.iter().chain([&direct]).collect();
    support::eventually("every client is open", PATIENCE, async || {
        all.iter().all(|client| client.is_open()).then_some(())
    })
    .await;

    let producer = kafka.producer();
    write(&producer, 0..150).await;
    all_have(&all, 150).await;
    let added = clients.iter().map(|client| added(client, &direct)).max().expect("there are clients");

    // Events go on while nobody answers.
    assert!(bridge.terminate().await.success());
    write(&producer, 150..220).await;
    tokio::time::sleep(kind.away()).await;
    bridge.start().await;
    write(&producer, 220..270).await;
    proxy.reload().await;
    write(&producer, 270..330).await;
    bridge.kill();
    write(&producer, 330..400).await;
    bridge.start().await;
    write(&producer, 400..EVENTS).await;
    all_have(&all, EVENTS).await;
    // For what would come twice.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let opened: Vec<usize> = all.iter().map(|client| client.heard.lock().unwrap().opened).collect();
    println!("{}: {added:?} later at the median; connections {opened:?}", kind.name());
    for client in &all {
        let heard = client.heard.lock().unwrap();
        for partition in 0..PARTITIONS {
            let of_it =
                heard.events.iter().map(|(number, _)| *number).filter(|n| n % PARTITIONS == partition);
            let expected: Vec<usize> = (partition..EVENTS).step_by(PARTITIONS).collect();
            assert_eq!(of_it.collect::<Vec<_>>(), expected, "partition {partition}");
        }
        assert!(heard.opened >= 3, "{} connections for two restarts", heard.opened);
    }
    assert!(added <= ADDED, "{added:?} later than direct ones");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_each_event_comes_once_and_in_time() {
    everything_comes_once(Kind::Nginx, Upstream::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_each_event_comes_once_and_in_time() {
    everything_comes_once(Kind::Haproxy, Upstream::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_caddy_each_event_comes_once_and_in_time() {
    everything_comes_once(Kind::Caddy, Upstream::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_envoy_each_event_comes_once_and_in_time() {
    everything_comes_once(Kind::Envoy, Upstream::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_traefik_each_event_comes_once_and_in_time() {
    everything_comes_once(Kind::Traefik, Upstream::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2_behind_haproxy_each_event_comes_once_and_in_time() {
    everything_comes_once(Kind::Haproxy, Upstream::Http2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2_behind_caddy_each_event_comes_once_and_in_time() {
    everything_comes_once(Kind::Caddy, Upstream::Http2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2_behind_envoy_each_event_comes_once_and_in_time() {
    everything_comes_once(Kind::Envoy, Upstream::Http2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2_behind_traefik_each_event_comes_once_and_in_time() {
    everything_comes_once(Kind::Traefik, Upstream::Http2).await;
}
