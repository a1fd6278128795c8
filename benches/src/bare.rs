//! A bare librdkafka consumer: the lower limit of the latency from the producer's call to a program.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::histogram::Histogram;
use crate::payload::{Scan, now_us};
use crate::producer::Topic;

/// The settings of the server's own consumer (`consumer/src/properties.rs`) that affect latency.
const SETTINGS: [(&str, &str); 8] = [
    ("group.id", "tailrace-bench"),
    ("enable.auto.commit", "false"),
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.queue.backoff.ms", "5"),
    ("isolation.level", "read_committed"),
    ("queued.max.messages.kbytes", "65536"),
    ("enable.partition.eof", "true"),
];

const POLL: Duration = Duration::from_millis(50);
/// The timeout until the consumer is at the ends.
const START: Duration = Duration::from_secs(20);

/// Consumes on a thread of its own until it is dropped.
pub(crate) struct Bare {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    go_on: AtomicBool,
    /// Events that were sent before this time, in microseconds, do not count.
    from: AtomicU64,
    latencies: Mutex<Histogram>,
}

/// A consumer with the server's settings, at the ends of all partitions: it reads what is written from now on.
pub(crate) fn consumer(bootstrap: &str, topic: &str, partitions: i32) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (name, value) in SETTINGS {
        config.set(name, value);
    }
    let consumer: BaseConsumer = config.create().context("create a consumer")?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::End).map_err(|error| anyhow!(error))?;
    }
    consumer.assign(&list).context("assign partitions")?;
    let (mut at_end, late) = (HashSet::new(), Instant::now() + START);
    while at_end.len() < partitions as usize {
        ensure!(Instant::now() < late, "a bare consumer is not at the end after {START:?}");
        if let Some(Err(KafkaError::PartitionEOF(partition))) = consumer.poll(POLL) {
            at_end.insert(partition);
        }
    }
    Ok(consumer)
}

impl Bare {
    /// Reads all partitions from their ends.
    pub(crate) fn start(bootstrap: &str, topic: &Topic) -> Result<Bare> {
        let consumer = consumer(bootstrap, &topic.name, topic.partitions)?;
        let shared = Arc::new(Shared {
            go_on: AtomicBool::new(true),
            from: AtomicU64::new(u64::MAX),
            latencies: Mutex::new(Histogram::new()),
        });
        let own = Arc::clone(&shared);
        let thread = Some(std::thread::spawn(move || own.consume(&consumer)));
        Ok(Bare { shared, thread })
    }

    /// Restarts the measurement, with events that are sent after `settle`.
    pub(crate) fn begin(&self, settle: Duration) {
        self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.from.store(now_us() + settle.as_micros() as u64, Ordering::Relaxed);
    }

    /// Median and 99th percentile since [`Bare::begin`], in milliseconds.
    pub(crate) fn quantiles(&self) -> [f64; 2] {
        let latencies = self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        [0.5, 0.99].map(|share| latencies.quantile(share) as f64 / 1e3)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.shared.go_on.store(false, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn consume(&self, consumer: &BaseConsumer) {
        while self.go_on.load(Ordering::Relaxed) {
            let Some(Ok(message)) = consumer.poll(POLL) else { continue };
            let now = now_us();
            Scan::default().feed(message.payload().unwrap_or_default(), |sent| {
                if sent >= self.from.load(Ordering::Relaxed) {
                    let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
                    latencies.add(now.saturating_sub(sent));
                }
            });
        }
    }
}
