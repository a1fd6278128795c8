//! Traces: the spans of requests and of batches, as a collector written for the test gets them, and a collector that is no help.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use support::bridge::Bridge;
use support::kafka::Kafka;

const WAIT: Duration = Duration::from_secs(20);
const PRODUCERS: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENTS: &str = "0af7651916cd43dd8448eb211c80319c";

/// What a collector does with the spans.
#[derive(Clone, Copy)]
enum Manner {
    Takes,
    /// Says something that is not HTTP.
    Babbles,
    /// Accepts connections, and never answers.
    Hangs,
}

struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start(manner: Manner) -> Collector {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let spans = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&spans);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for socket in listener.incoming().flatten() {
                match manner {
                    Manner::Hangs => held.push(socket),
                    Manner::Babbles => drop((&socket).write_all(b"\0\x01 what?\r\n\r\n")),
                    Manner::Takes => {
                        let taken = Arc::clone(&taken);
                        std::thread::spawn(move || while take(&socket, &taken).is_some() {});
                    }
                }
            }
        });
        Collector { port, spans }
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The spans whose names begin so.
    fn named(&self, name: &str) -> Vec<Span> {
        let spans = self.spans.lock().expect("nobody panics");
        spans.iter().filter(|span| span.name.starts_with(name)).cloned().collect()
    }
}

/// One request of a connection that is kept.
fn take(mut socket: &TcpStream, spans: &Mutex<Vec<Span>>) -> Option<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_lowercase();
    assert!(head.starts_with("post /v1/traces ") && head.contains("application/x-protobuf"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    socket.read_exact(&mut body).ok()?;
    let request = ExportTraceServiceRequest::decode(&body[..]).expect("OTLP");
    let all = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    spans.lock().expect("nobody panics").extend(all.flat_map(|scope| scope.spans));
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the record soon.
fn put(producer: &BaseProducer, traceparent: &str, value: &str) {
    let header = |key, value| Header { key, value: Some(value) };
    let headers =
        OwnedHeaders::new().insert(header("tenant", "acme")).insert(header("traceparent", traceparent));
    let record = BaseRecord::<(), str>::to("orders").partition(0).headers(headers).payload(value);
    producer.send(record).map_err(|(error, _)| error).expect("there is room");
}

/// Writes the record, and all that were put before it.
fn send(producer: &BaseProducer, traceparent: &str, value: &str) {
    put(producer, traceparent, value);
    producer.flush(WAIT).expect("it is written");
}

/// A stream that is read.
struct Reader {
    socket: TcpStream,
    answer: String,
}

impl Reader {
    fn open(port: u16, traceparent: &str) -> Reader {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server accepts");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let path = "/t/acme/events?from=earliest&envelope=cloudevents";
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\ntraceparent: {traceparent}\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("the request is sent");
        Reader { socket, answer: String::new() }
    }

    /// Reads until the stream has had this text.
    fn until(&mut self, text: &str) {
        let (mut part, until) = ([0; 4096], Instant::now() + WAIT);
        while !self.answer.contains(text) {
            assert!(Instant::now() < until, "{text} is not in {}", self.answer);
            if let Ok(read) = self.socket.read(&mut part) {
                self.answer.push_str(&String::from_utf8_lossy(&part[..read]));
            }
        }
    }
}

async fn started(kafka: &Kafka, endpoint: &str, more: &[(&str, &str)]) -> Bridge {
    let env =
        [&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "100")], more].concat();
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "traces", &env);
    bridge.start().await;
    bridge
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_of_a_record_is_followed_from_its_producer_to_the_stream() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 1, &[]).await;
    let collector = Collector::start(Manner::Takes);
    let mut bridge =
        started(&kafka, &collector.endpoint(), &[("OTEL_TRACES_SAMPLER", "parentbased_always_off")]).await;
    let producer: BaseProducer = kafka.client().create().expect("a producer");
    let sampled = format!("00-{PRODUCERS}-00f067aa0ba902b7-01");
    let mut reader = Reader::open(bridge.port, &format!("00-{CLIENTS}-b7ad6b7169203331-01"));
    reader.until("tailrace.synced");
    send(&producer, "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "unsampled");
    reader.until("unsampled");
    send(&producer, &sampled, "sampled");
    reader.until(&format!("\"traceparent\":\"{sampled}\""));
    let exported = async || {
        let names = ["process orders", "send orders", "GET"];
        names.iter().all(|name| !collector.named(name).is_empty()).then_some(())
    };
    support::eventually("the spans are there", WAIT, exported).await;
    bridge.terminate().await;
    let (batches, requests) = (collector.named("process orders"), collector.named("GET /t/{tenant}/events"));
    let links = |spans: &[Span]| -> Vec<(String, String)> {
        let links = spans.iter().flat_map(|span| &span.links);
        links.map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect()
    };
    let producer = [(PRODUCERS.to_owned(), "00f067aa0ba902b7".to_owned())];
    assert_eq!(links(&batches), producer, "{batches:?}");
    // One stream has got the record: one span leads to its socket.
    let sent = collector.named("send orders");
    assert_eq!(links(&sent), producer, "{sent:?}");
    // What nobody samples is not sampled here.
    assert_eq!(batches.len(), 1, "{batches:?}");
    let request = requests.iter().find(|span| hex(&span.trace_id) == CLIENTS).expect("the request's span");
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    assert!(request.end_time_unix_nano - request.start_time_unix_nano < 10_000_000_000, "{request:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampler_of_nothing_exports_nothing() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 1, &[]).await;
    let collector = Collector::start(Manner::Takes);
    let settings = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")];
    let mut bridge = started(&kafka, &collector.endpoint(), &settings).await;
    let producer: BaseProducer = kafka.client().create().expect("a producer");
    let traceparent = format!("00-{PRODUCERS}-00f067aa0ba902b7-01");
    send(&producer, &traceparent, "sampled");
    Reader::open(bridge.port, &traceparent).until("\"sampled\"");
    bridge.terminate().await;
    assert!(collector.named("").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_no_help_harms_nobody() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 1, &[]).await;
    let producer: BaseProducer = kafka.client().create().expect("a producer");
    let traceparent = format!("00-{PRODUCERS}-00f067aa0ba902b7-01");
    let (babbles, hangs) = (Collector::start(Manner::Babbles), Collector::start(Manner::Hangs));
    let nobody = format!("http://127.0.0.1:{}", support::free_port());
    for endpoint in [nobody, babbles.endpoint(), hangs.endpoint()] {
        let mut bridge = started(&kafka, &endpoint, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "500")]).await;
        for _ in 0..100 {
            put(&producer, &traceparent, "x");
        }
        send(&producer, &traceparent, &endpoint);
        Reader::open(bridge.port, &traceparent).until(&endpoint);
        support::eventually("the failure is counted", WAIT, async || {
            (bridge.metric_of("tailrace_trace_spans_total", "failed").await > 0.0).then_some(())
        })
        .await;
        let begun = Instant::now();
        let exit = bridge.terminate().await;
        assert!(
            exit.success() && begun.elapsed() < Duration::from_secs(6),
            "{endpoint}: {exit} after {:?}",
            begun.elapsed()
        );
        let lines = bridge.log().matches("the collector of traces takes no spans").count();
        assert_eq!(lines, 1, "{endpoint}: {}", bridge.log());
    }
}
