//! Continuous production: records of random partitions and tenants, entered into the ledger, at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use crate::ledger::{Fate, Ledger, scaled_value, tenant_name};
use crate::schemas::InUse;

/// Tenants of a trial.
pub const TENANTS: u32 = 8;
/// How often records are sent.
const TICK: Duration = Duration::from_millis(10);
/// If no record is acknowledged for this long while some wait, the producer is checked.
const SILENCE: Duration = Duration::from_secs(2);
/// The time in which a healthy broker answers.
const ANSWER: Duration = Duration::from_secs(1);
/// The longest wait for acknowledgements.
const FLUSH: Duration = Duration::from_secs(90);

/// A topic that is written to.
#[derive(Clone, Debug)]
pub struct Target {
    pub topic: Arc<str>,
    pub partitions: u32,
    pub generation: u32,
    /// Nothing is written to a topic that is not active.
    pub is_active: bool,
    /// The number of different keys; 0: records have no key.
    pub keys: u64,
    /// Timestamps are up to this many milliseconds in the past, in no order.
    pub disorder: i64,
    /// Factor for the padding in a value.
    pub scale: u32,
    /// The schemas of the values, if they are Avro; their padding is not scaled.
    pub schemas: Option<InUse>,
}

impl Target {
    /// An active target, without keys, with current timestamps.
    pub fn new(topic: &str, partitions: u32) -> Target {
        let topic = topic.into();
        Target {
            topic,
            partitions,
            generation: 0,
            is_active: true,
            keys: 0,
            disorder: 0,
            scale: 1,
            schemas: None,
        }
    }
}

/// A thread that writes until it is stopped.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    ledger: Ledger,
    config: ClientConfig,
    /// Records a second.
    rate: AtomicU64,
    is_stopped: AtomicBool,
    /// Locked while the records of a tick are sent: while another thread holds the lock, nothing is being sent.
    state: Mutex<State>,
}

struct State {
    targets: Vec<Target>,
    producer: ThreadedProducer<Book>,
}

/// Writes acknowledgements into the ledger.
#[derive(Clone)]
pub(crate) struct Book {
    ledger: Ledger,
    /// Acknowledgements and failures so far.
    answers: Arc<AtomicU64>,
}

impl Book {
    pub(crate) fn new(ledger: Ledger) -> Book {
        Book { ledger, answers: Arc::default() }
    }
}

impl ClientContext for Book {}

impl ProducerContext for Book {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        if let Ok(message) = result {
            self.ledger.acknowledge(number as u64, message.offset() as u64);
        }
    }
}

impl Writer {
    /// Starts to write. `config` may be that of any producer; unless it says otherwise, no record is given up or written twice.
    pub fn start(
        config: &ClientConfig,
        ledger: Ledger,
        targets: Vec<Target>,
        rate: u64,
        seed: u64,
    ) -> Writer {
        let producer = create(config, &ledger);
        let state = Mutex::new(State { targets, producer });
        let (rate, is_stopped) = (AtomicU64::new(rate), AtomicBool::new(false));
        let shared = Arc::new(Shared { ledger, config: config.clone(), rate, is_stopped, state });
        let own = shared.clone();
        let thread = std::thread::spawn(move || write(&own, StdRng::seed_from_u64(seed)));
        Writer { shared, thread: Some(thread) }
    }

    /// Stops writing to a topic, and waits until all of its records are acknowledged.
    pub fn pause(&self, topic: &str) {
        self.change(topic, |target| target.is_active = false);
        self.flush();
    }

    /// Continues to write to a topic.
    pub fn resume(&self, topic: &str) {
        self.change(topic, |target| target.is_active = true);
    }

    /// Changes a target between two ticks.
    pub fn change(&self, topic: &str, change: impl FnOnce(&mut Target)) {
        let mut state = self.shared.state.lock();
        let target = state.targets.iter_mut().find(|target| &*target.topic == topic);
        change(target.expect("the topic is written to"));
    }

    /// Begins to write to one more topic.
    pub fn add(&self, target: Target) {
        self.shared.state.lock().targets.push(target);
    }

    /// Creates a new producer: the old one remembers topics that were replaced.
    pub fn renew(&self) {
        self.flush();
        self.shared.state.lock().producer = create(&self.shared.config, &self.shared.ledger);
    }

    /// Records a second from now on, over all topics.
    pub fn set_rate(&self, rate: u64) {
        self.shared.rate.store(rate, Ordering::Relaxed);
    }

    /// From now on, values have `scale` times the usual size, which is 150 bytes on average.
    pub fn set_scale(&self, scale: u32) {
        self.shared.state.lock().targets.iter_mut().for_each(|target| target.scale = scale);
    }

    /// How many records the present producer knows to be acknowledged or given up.
    pub fn answered(&self) -> u64 {
        self.shared.state.lock().producer.context().answers.load(Ordering::Relaxed)
    }

    /// Waits until all records that were sent are acknowledged or given up.
    pub fn flush(&self) {
        let producer = &self.shared.state.lock().producer;
        // Records that are not acknowledged by then stay unsure.
        let _ = producer.flush(FLUSH);
    }

    /// Stops writing, and waits until all records are acknowledged or given up.
    pub fn stop(mut self) {
        self.end();
        self.flush();
    }

    fn end(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the writer ends");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
    }
}

fn create(config: &ClientConfig, ledger: &Ledger) -> ThreadedProducer<Book> {
    let mut all = ClientConfig::new();
    for (name, value) in [
        ("enable.idempotence", "true"),
        ("message.timeout.ms", "0"),
        ("linger.ms", "5"),
        ("reconnect.backoff.max.ms", "500"),
        ("retry.backoff.max.ms", "200"),
        ("queue.buffering.max.kbytes", "262144"),
        ("topic.metadata.refresh.interval.ms", "1000"),
        ("log_level", "2"),
    ] {
        all.set(name, value);
    }
    config.config_map().iter().for_each(|(name, value)| {
        all.set(*name, *value);
    });
    all.create_with_context(Book::new(ledger.clone())).expect("a producer")
}

fn write(shared: &Shared, mut random: StdRng) {
    let (mut due, mut last, mut silence) = (0.0, Instant::now(), Silence::new());
    while !shared.is_stopped.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        due += shared.rate.load(Ordering::Relaxed) as f64 * last.elapsed().as_secs_f64();
        last = Instant::now();
        let mut state = shared.state.lock();
        if let Some((_, why)) = state.producer.client().fatal_error() {
            // The producer can write nothing any more. Records without an acknowledgement stay unsure.
            eprintln!("the writer begins anew: {why}");
            state.producer = create(&shared.config, &shared.ledger);
        }
        if silence.is_long(&state.producer) && has_lost_all_brokers(&shared.config, &state.producer) {
            // A producer that got metadata without any broker, from a broker that was stopped for a moment, never finds one
            // again (librdkafka's issue 5301).
            eprintln!("the writer begins anew: its producer has lost all brokers");
            state.producer = create(&shared.config, &shared.ledger);
        }
        while due >= 1.0 {
            due -= 1.0;
            state.send_one(&shared.ledger, &mut random);
        }
    }
}

/// Since when records wait while none is acknowledged.
struct Silence {
    answers: u64,
    since: Instant,
}

impl Silence {
    fn new() -> Silence {
        Silence { answers: 0, since: Instant::now() }
    }

    /// Whether the silence is long; true at most once per [`SILENCE`].
    fn is_long(&mut self, producer: &ThreadedProducer<Book>) -> bool {
        let answers = producer.context().answers.load(Ordering::Relaxed);
        if answers != self.answers || producer.in_flight_count() == 0 {
            *self = Silence { answers, since: Instant::now() };
        }
        let is_long = self.since.elapsed() >= SILENCE;
        if is_long {
            self.since = Instant::now();
        }
        is_long
    }
}

/// Whether a new client gets an answer while the producer gets none.
fn has_lost_all_brokers(config: &ClientConfig, producer: &ThreadedProducer<Book>) -> bool {
    let mut fresh = ClientConfig::new();
    if let Some(servers) = config.get("bootstrap.servers") {
        fresh.set("bootstrap.servers", servers).set("log_level", "0");
    }
    let Ok(fresh) = fresh.create::<BaseConsumer>() else { return false };
    fresh.fetch_metadata(None, ANSWER).is_ok() && producer.client().fetch_metadata(None, ANSWER).is_err()
}

impl State {
    fn send_one(&self, ledger: &Ledger, random: &mut StdRng) {
        let active = || self.targets.iter().filter(|target| target.is_active);
        let all: u32 = active().map(|target| target.partitions).sum();
        if all == 0 {
            return;
        }
        let mut place = random.random_range(0..all);
        let tenant = random.random_range(0..TENANTS);
        for target in active() {
            if place < target.partitions {
                return self.send(ledger, target, place, tenant, random);
            }
            place -= target.partitions;
        }
    }

    fn send(&self, ledger: &Ledger, target: &Target, partition: u32, tenant: u32, random: &mut StdRng) {
        let number = ledger.enter(&target.topic, target.generation, partition, tenant, Fate::Unsure);
        let value = match &target.schemas {
            Some(schemas) => schemas.value(number, partition, tenant),
            None => scaled_value(number, partition, tenant, target.scale).into_bytes(),
        };
        let name = tenant_name(tenant);
        let key = (target.keys > 0).then(|| format!("key-{}", number % target.keys));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
        let timestamp = now - random.random_range(0..=target.disorder);
        loop {
            let headers = OwnedHeaders::new().insert(Header { key: "tenant", value: Some(&name) });
            let mut record = BaseRecord::<str, [u8], usize>::with_opaque_to(&target.topic, number as usize);
            record.key = key.as_deref();
            let record =
                record.partition(partition as i32).headers(headers).payload(&value).timestamp(timestamp);
            match self.producer.send(record) {
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                // A record that the producer refuses stays unsure.
                _ => return,
            }
        }
    }
}
