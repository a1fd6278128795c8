//! One client that reads 1 KiB a second beside a hundred that read all: they are not delayed, memory does not grow, and
//! the slow one is exact in the end.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::bridge::Bridge;
use support::kafka::{Kafka, Producer};
use support::sse::{Event, IdBuffer, Source};
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

const READERS: usize = 100;
const PARTITIONS: usize = 4;
/// Records a second while the delay is measured.
const RATE: u64 = 100;
const MEASURED: Duration = Duration::from_secs(8);
/// What passes by the slow one meanwhile: more than the kernel's buffers and the cache hold together.
const BULK: usize = 40_000;
const CACHE: u64 = 8 << 20;

/// Delays are told apart from the noise of a shared machine only above this.
const FLOOR: Duration = Duration::from_millis(10);

/// Writes numbered records with the time at which they were written, until told to stop.
struct Writer {
    producer: Producer,
    next: usize,
    started: Instant,
}

impl Writer {
    fn write(&mut self, padding: &str) {
        let partition = self.next % PARTITIONS;
        let sent = self.started.elapsed().as_micros();
        let value = format!("{partition}:{}:{sent}:{padding}", self.next);
        self.producer.send("metrics", partition as i32, "acme", value.as_bytes());
        self.next += 1;
    }
}

fn fields(event: &Event) -> Option<(usize, usize, u128)> {
    let mut fields = event.data.split(':');
    let mut number = || fields.next()?.parse::<u128>().ok();
    let (partition, number, sent) = (number()?, number()?, number()?);
    event.name.is_empty().then_some((partition as usize, number as usize, sent))
}

/// The 99th percentile of the time from a record's writing to its arrival, over all readers.
async fn measure(port: u16, writer: &mut Writer) -> Duration {
    let stop = Arc::new(AtomicBool::new(false));
    let started = writer.started;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut source = Source::new(port, "/t/acme/events", IdBuffer::Empty);
        let mut connection = source.connect(port).await.expect("the bridge answers");
        let stop = stop.clone();
        readers.push(tokio::spawn(async move {
            let mut delays = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                // One read at a time: the clock is looked at when bytes come.
                let (events, open) = source.read(&mut connection, usize::MAX, Duration::from_millis(1)).await;
                let now = started.elapsed().as_micros();
                assert!(open, "the stream stays open");
                delays.extend(events.iter().filter_map(fields).map(|(_, _, sent)| now.saturating_sub(sent)));
            }
            delays
        }));
    }
    let until = Instant::now() + MEASURED;
    let mut tick = tokio::time::interval(Duration::from_millis(1000 / RATE));
    let mut written = 0;
    while Instant::now() < until {
        tick.tick().await;
        writer.write(&"x".repeat(200));
        written += 1;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    let mut delays = Vec::new();
    for reader in readers {
        let of_one = reader.await.expect("a reader does not panic");
        assert_eq!(of_one.len(), written, "a reader that reads all gets all");
        delays.extend(of_one);
    }
    delays.sort_unstable();
    Duration::from_micros(delays[delays.len() * 99 / 100] as u64)
}

/// A client that reads 1 KiB a second until it is told how many records there are in all, then the rest of them.
async fn read_slowly(port: u16, in_all: Arc<AtomicUsize>) -> Vec<Event> {
    let mut source = Source::new(port, "/t/acme/events", IdBuffer::Empty);
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let socket = socket.connect(([127, 0, 0, 1], port).into()).await.expect("the bridge answers");
    let mut connection = source.connect_over(socket).await.expect("the bridge answers");
    let mut events = Vec::new();
    let mut buffer = vec![0; 1024];
    while in_all.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut raw = connection.take_raw();
        // Heartbeats and a priming frame may be all that there is.
        let read = connection.socket().read(&mut buffer);
        if let Ok(count) = tokio::time::timeout(Duration::from_millis(100), read).await {
            raw.extend_from_slice(&buffer[..count.expect("the stream stays open")]);
        }
        events.extend(connection.feed(&raw, &mut source));
    }
    let until = Instant::now() + Duration::from_secs(60);
    while records(&events) < in_all.load(Ordering::Relaxed) && Instant::now() < until {
        let (more, open) = source.read(&mut connection, usize::MAX, Duration::from_millis(200)).await;
        assert!(open, "the stream stays open");
        events.extend(more);
    }
    events
}

fn records(events: &[Event]) -> usize {
    events.iter().filter(|event| event.name.is_empty()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_delays_nobody_and_is_exact_in_the_end() {
    let kafka = Kafka::start().await;
    kafka.create_topic("metrics", PARTITIONS as i32, &[]).await;
    let cache = CACHE.to_string();
    let mut bridge =
        Bridge::new(&kafka.bootstrap(), "metrics", "slow", &[("TAILRACE_CACHE_SIZE", cache.as_str())]);
    bridge.start().await;
    let mut writer = Writer { producer: kafka.producer(), next: 0, started: Instant::now() };
    // Once to warm up, once that counts.
    measure(bridge.port, &mut writer).await;
    let without = measure(bridge.port, &mut writer).await;
    let before = support::resident(bridge.pid());
    let first = writer.next;

    let in_all = Arc::new(AtomicUsize::new(0));
    let reader = tokio::spawn(read_slowly(bridge.port, in_all.clone()));
    support::eventually("the slow one is there", Duration::from_secs(10), async || {
        (bridge.metric("tailrace_streams").await as usize == 1).then_some(())
    })
    .await;
    let padding = "x".repeat(1000);
    (0..BULK).for_each(|_| writer.write(&padding));
    writer.producer.flush();
    support::eventually("the bridge has read all", Duration::from_secs(60), async || {
        (bridge.metric("tailrace_records_consumed_total").await as usize == writer.next).then_some(())
    })
    .await;
    let with = measure(bridge.port, &mut writer).await;
    let most = support::most_resident(bridge.pid());
    writer.producer.flush();
    in_all.store(writer.next - first, Ordering::Relaxed);
    let events = reader.await.expect("the slow one does not panic");
    println!(
        "p99 without {without:?}, with {with:?}; resident before {} MiB, at the most {} MiB",
        before >> 20,
        most >> 20
    );

    assert!(events.iter().all(|event| event.name != "tailrace.gap"), "{:?}", events.last());
    let mut got = vec![Vec::new(); PARTITIONS];
    for (partition, number, _) in events.iter().filter_map(fields) {
        got[partition].push(number);
    }
    for (partition, got) in got.iter().enumerate() {
        let expected: Vec<usize> = (first..writer.next).filter(|n| n % PARTITIONS == partition).collect();
        assert!(*got == expected, "partition {partition}: {} of {}", got.len(), expected.len());
    }
    assert!(with <= without * 2 + FLOOR, "delayed: p99 {with:?}, and {without:?} without the slow one");
    assert!(most <= before + CACHE * 3 / 2, "memory grew from {before} to {most}");
}
