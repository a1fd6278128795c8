//! Wiring: the threads of this package, from their start to a clean drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tailrace_bridge::{Bridge, Source};

use crate::admin::Admin;
use crate::bootstrap;
use crate::decode::Decoder;
use crate::error::KafkaError;
use crate::history::Readers;
use crate::ingest::Ingest;
use crate::native::{Client, Role};
use crate::presence::Presence;
use crate::properties;
use crate::registry::Registry;
use crate::requests::{self, Ask, Command};
use crate::settings::KafkaSettings;
use crate::shared::Shared;
use crate::source::KafkaSource;
use crate::status::Reporter;
use crate::trace::Traces;
use crate::watch::TopicWatch;
use crate::watermarks::Watermarks;

/// How often readiness and status are looked at: a restart must not wait for its readiness.
const LOOK: Duration = Duration::from_millis(200);
/// How often the ends of the logs are asked for.
const WATERMARKS: Duration = Duration::from_secs(2);
/// How long all of it may take to stop.
const STOP: Duration = Duration::from_secs(2);
/// How often readers of history are tidied.
const TIDY: Duration = Duration::from_secs(1);

/// Kafka, as one process sees it. Nothing is read before [`Kafka::start`].
pub struct Kafka {
    settings: Arc<KafkaSettings>,
    admin: Arc<Admin>,
    decoder: Arc<Decoder>,
    readers: Arc<Readers>,
    asks: Sender<Ask>,
    /// Taken by the start.
    inbox: Mutex<Option<Receiver<Ask>>>,
}

impl Kafka {
    /// Checks that the properties make clients. Connects in the background; no broker needs to be there.
    ///
    /// # Errors
    /// [`KafkaError::Config`]: properties that librdkafka does not take together.
    pub fn new(settings: KafkaSettings) -> Result<Kafka, KafkaError> {
        let settings = Arc::new(settings);
        let admin = Arc::new(Admin::new(settings.clone())?);
        // Their own clients come with the start; what is wrong with their properties is worth knowing now.
        drop(Client::new(&properties::tail(&settings, false), Role::Consumer)?);
        drop(Client::new(&properties::presence(&settings), Role::Member)?);
        drop(Client::new(&properties::reader(&settings), Role::Consumer)?);
        let data = settings.data.clone();
        let registry =
            data.registry.as_ref().map(|registry| Registry::start(registry, data.options)).transpose()?;
        let decoder = Decoder::new(settings.rules.clone(), settings.event_type.clone(), data, registry);
        let decoder = Arc::new(decoder);
        let readers = Arc::new(Readers::new(settings.clone(), decoder.clone(), admin.clone()));
        let (asks, inbox) = requests::channel();
        Ok(Kafka { settings, admin, decoder, readers, asks, inbox: Mutex::new(Some(inbox)) })
    }

    /// The bridge's way to what only Kafka still has.
    pub fn source(&self) -> Arc<dyn Source> {
        let committed = properties::reads_committed(&self.settings);
        let traces = self.settings.traces.then(Traces::new);
        let (readers, admin) = (self.readers.clone(), self.admin.clone());
        Arc::new(KafkaSource::new(readers, admin, committed, self.asks.clone(), traces))
    }

    /// Begins to read, on threads of its own. The second start of the same value reads nothing.
    pub fn start(&self, bridge: Bridge) -> Running {
        let Some(inbox) = self.inbox.lock().take() else { return Running::default() };
        let servers = self.settings.bootstrap().to_owned();
        // It is not waited for: a resolver may take long.
        drop(thread("kafka-names", move || bootstrap::say_unknown_names(&servers)));
        let shared = Shared {
            settings: self.settings.clone(),
            bridge,
            admin: self.admin.clone(),
            decoder: self.decoder.clone(),
            readers: self.readers.clone(),
            assignment: Arc::default(),
            findings: Arc::default(),
        };
        let stopping = Arc::new(AtomicBool::new(false));
        let (commands, orders) = requests::channel();
        let (shown, stop_showing) = requests::channel();
        let topics = TopicWatch::new(&shared, commands.clone());
        let ingest = Ingest::new(&shared, orders, self.asks.clone());
        let presence = Presence::new(&shared);
        let watermarks = Watermarks::new(&shared, commands.clone());
        let reporter = Reporter::new(&shared);
        let readers = self.readers.clone();
        let threads = vec![
            thread("kafka-topics", move || topics.run(&inbox)),
            thread("kafka-tail", move || ingest.run()),
            thread("kafka-group", move || presence.run(&stop_showing)),
            thread("kafka-ends", {
                let stopping = stopping.clone();
                move || watch_ends(watermarks, &readers, &stopping)
            }),
            thread("kafka-status", {
                let stopping = stopping.clone();
                move || report(reporter, &stopping)
            }),
        ];
        Running {
            threads: threads.into_iter().flatten().collect(),
            stopping,
            asks: Some(self.asks.clone()),
            commands: Some(commands),
            shown: Some(shown),
        }
    }
}

/// The reading of Kafka. Dropped without [`Running::stop`], its threads end by themselves.
#[derive(Default)]
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
    asks: Option<Sender<Ask>>,
    commands: Option<Sender<Command>>,
    shown: Option<Sender<()>>,
}

impl Running {
    /// Commits what was taken, leaves the consumer group and deletes it. Takes at most two seconds, whatever Kafka does:
    /// what has not ended by then is left to end with the process.
    /// Not cancel-safe: dropped half-way, the threads end by themselves.
    pub async fn stop(mut self) {
        self.signal();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the consumer panicked");
                }
            }
        });
        match tokio::time::timeout(STOP, joined).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "waiting for the consumer's threads failed"),
            Err(_) => tracing::warn!("Kafka does not answer; its last requests are not waited for"),
        }
    }

    fn signal(&mut self) {
        self.stopping.store(true, Ordering::Release);
        drop(self.shown.take());
        // Each may have ended already.
        if let Some(commands) = self.commands.take() {
            let _ = commands.send(Command::Stop);
        }
        if let Some(asks) = self.asks.take() {
            let _ = asks.send(Ask::Stop);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal();
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    started.inspect_err(|error| tracing::error!(name, %error, "a thread did not start")).ok()
}

fn watch_ends(mut watermarks: Watermarks, readers: &Readers, stopping: &AtomicBool) {
    let mut asked: Option<Instant> = None;
    while !stopping.load(Ordering::Acquire) {
        if asked.is_none_or(|at| at.elapsed() >= WATERMARKS) {
            asked = Some(Instant::now());
            watermarks.look();
        }
        readers.tidy();
        std::thread::sleep(TIDY / 2);
    }
}

fn report(mut reporter: Reporter, stopping: &AtomicBool) {
    while !stopping.load(Ordering::Acquire) {
        reporter.look();
        std::thread::sleep(LOOK);
    }
}
