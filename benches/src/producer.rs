//! Writes events to Kafka, at an even pace on a thread of its own, or as fast as possible.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::pace::Pace;
use crate::payload::{EVENT_BYTES, now_us, write_event, write_order};

/// The name of the tenants without their number; a single one is `acme-0`.
pub(crate) const TENANT: &str = "acme";

/// The timeout of requests to Kafka, and of the last events.
const KAFKA: Duration = Duration::from_secs(20);

/// The pause if the queue is full.
const FULL: Duration = Duration::from_millis(2);

/// Waits for a future. Futures of the admin client are woken by its own thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

/// A topic that is deleted when this is dropped.
pub(crate) struct Topic {
    admin: AdminClient<DefaultClientContext>,
    pub(crate) name: String,
    pub(crate) partitions: i32,
}

impl Topic {
    pub(crate) fn create(bootstrap: &str, name: String, partitions: i32) -> Result<Topic> {
        let admin: AdminClient<_> = client(bootstrap).create().context("create an admin client")?;
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let results = block_on(admin.create_topics(&[topic], &options())).context("ask for the topic")?;
        for result in results {
            result.map_err(|(topic, code)| anyhow!("create the topic {topic}: {code}"))?;
        }
        Ok(Topic { admin, name, partitions })
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let _ = block_on(self.admin.delete_topics(&[&self.name], &options()));
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(KAFKA))
}

/// The events that are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) pace: Pace,
    /// The tenants in turn, event by event: this name and a number from 0.
    pub(crate) tenant: &'static str,
    pub(crate) tenants: usize,
    /// The users (a field of the value), likewise in turn.
    pub(crate) users: usize,
    /// Whether events are orders with random ids in place of padding, which compresses to nothing.
    pub(crate) orders: bool,
}

impl Flow {
    /// All events for one tenant.
    pub(crate) const fn one_tenant(pace: Pace) -> Flow {
        Flow { pace, tenant: TENANT, tenants: 1, users: 1, orders: false }
    }
}

/// The name of the tenant with this number.
pub(crate) fn tenant(prefix: &str, number: usize) -> String {
    format!("{prefix}-{number}")
}

/// Sends until it is stopped.
pub(crate) struct Producer {
    go_on: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
    /// When each event was sent, in microseconds, if that is wanted.
    noted: Arc<Mutex<Vec<u64>>>,
}

impl Producer {
    /// Each burst is sent to one partition, in turn.
    pub(crate) fn start(bootstrap: &str, topic: &Topic, flow: Flow) -> Result<Producer> {
        Producer::begin(Sender::new(bootstrap, topic, flow)?)
    }

    /// As [`Producer::start`]; notes when each event was sent.
    pub(crate) fn start_noting(bootstrap: &str, topic: &Topic, flow: Flow) -> Result<Producer> {
        Producer::begin(Sender { is_noting: true, ..Sender::new(bootstrap, topic, flow)? })
    }

    fn begin(sender: Sender) -> Result<Producer> {
        let noted = Arc::clone(&sender.noted);
        let go_on = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&go_on);
        let thread = std::thread::spawn(move || sender.keep(&flag));
        Ok(Producer { go_on, thread, noted })
    }

    /// Requests the end, without waiting; returns whether the thread has ended.
    pub(crate) fn stop(&self) -> bool {
        self.go_on.store(false, Ordering::Relaxed);
        self.thread.is_finished()
    }

    /// Stops. Returns how many events were sent.
    pub(crate) fn end(self) -> Result<u64> {
        self.stop();
        self.thread.join().map_err(|_| anyhow!("the producer's thread has panicked"))?
    }

    /// As [`Producer::end`]. Returns when each event was sent, in microseconds, in the order of sending.
    pub(crate) fn end_noting(self) -> Result<Vec<u64>> {
        let noted = Arc::clone(&self.noted);
        self.end()?;
        Ok(std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Sends this many orders of this size, as fast as Kafka accepts them, over all partitions.
pub(crate) fn fill(bootstrap: &str, topic: &Topic, flow: Flow, events: u64, bytes: usize) -> Result<()> {
    fill_with(bootstrap, topic, flow, events, |number, out| write_order(out, bytes, number, now_us()))
}

/// Sends this many events as `put` appends them, as fast as Kafka accepts them, over all partitions.
pub(crate) fn fill_with(
    bootstrap: &str,
    topic: &Topic,
    flow: Flow,
    events: u64,
    put: impl Fn(u64, &mut Vec<u8>),
) -> Result<()> {
    let mut sender = Sender::new(bootstrap, topic, flow)?;
    for number in 0..events {
        sender.event.clear();
        put(number, &mut sender.event);
        sender.send_event()?;
        sender.partition = (sender.partition + 1) % sender.partitions;
    }
    sender.producer.flush(KAFKA).context("wait until Kafka has all events")
}

/// Sends `rounds` orders of this size of each of `keys` keys, as fast as Kafka accepts them: the keys belong to the tenants in
/// turn, and those of a tenant are in all partitions.
pub(crate) fn fill_keys(
    bootstrap: &str,
    topic: &Topic,
    tenants: usize,
    keys: u64,
    rounds: u64,
    bytes: usize,
) -> Result<()> {
    let flow = Flow { tenants, ..Flow::one_tenant(Pace { rate: 1, burst: 2 }) };
    let mut sender = Sender::new(bootstrap, topic, flow)?;
    for number in 0..keys * rounds {
        let key = number % keys;
        sender.event.clear();
        write_order(&mut sender.event, bytes, number, now_us());
        sender.partition = (key / tenants as u64 % sender.partitions as u64) as i32;
        sender.sent = key;
        sender.key = Some(format!("order-{key}"));
        sender.send_event()?;
    }
    sender.producer.flush(KAFKA).context("wait until Kafka has all events")
}

struct Sender {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    partitions: i32,
    partition: i32,
    flow: Flow,
    key: Option<String>,
    names: Vec<String>,
    event: Vec<u8>,
    sent: u64,
    is_noting: bool,
    noted: Arc<Mutex<Vec<u64>>>,
}

impl Sender {
    fn new(bootstrap: &str, topic: &Topic, flow: Flow) -> Result<Sender> {
        let mut config = client(bootstrap);
        // A burst must be one batch; a single event must not wait.
        config.set("socket.nagle.disable", "true");
        config.set("linger.ms", if flow.pace.burst > 1 { "1" } else { "0" });
        Ok(Sender {
            producer: config.create().context("create a producer")?,
            topic: topic.name.clone(),
            partitions: topic.partitions,
            partition: 0,
            flow,
            key: None,
            names: (0..flow.tenants).map(|number| tenant(flow.tenant, number)).collect(),
            event: Vec::new(),
            sent: 0,
            is_noting: false,
            noted: Arc::default(),
        })
    }

    fn keep(mut self, go_on: &AtomicBool) -> Result<u64> {
        let mut outcome = Ok(());
        let pace = self.flow.pace;
        let burst = || {
            outcome = (0..pace.burst).try_for_each(|_| self.send());
            self.partition = (self.partition + 1) % self.partitions;
            outcome.is_ok() && go_on.load(Ordering::Relaxed)
        };
        pace.keep(burst, |next| sleep(next.saturating_duration_since(Instant::now())));
        outcome?;
        self.producer.flush(KAFKA).context("wait until Kafka has all events")?;
        Ok(self.sent)
    }

    fn send(&mut self) -> Result<()> {
        let (turn, now) = (self.sent as usize, now_us());
        self.event.clear();
        if self.flow.orders {
            // None is the same as one before, in this slice or another.
            write_order(&mut self.event, EVENT_BYTES, (now << 8) | (self.sent % 256), now);
        } else {
            write_event(&mut self.event, EVENT_BYTES, turn % self.flow.users, now);
        }
        if self.is_noting {
            self.noted.lock().unwrap_or_else(PoisonError::into_inner).push(now);
        }
        self.send_event()
    }

    fn send_event(&mut self) -> Result<()> {
        let turn = self.sent as usize;
        let tenant = Header { key: "tenant", value: Some(&self.names[turn % self.names.len()]) };
        let mut record = BaseRecord::<str, [u8]>::to(&self.topic)
            .partition(self.partition)
            .headers(OwnedHeaders::new().insert(tenant))
            .payload(&self.event);
        record.key = self.key.as_deref();
        loop {
            record = match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => record,
                Err((error, _)) => return Err(error).context("hand an event to the producer"),
            };
            sleep(FULL);
        }
        self.sent += 1;
        Ok(())
    }
}
