//! The registry as the threads of this package see it, and the thread that asks it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use parking_lot::{Condvar, Mutex};
use tailrace_formats::Options;
use tailrace_formats::confluent::SchemaId;
use tokio::sync::{Notify, oneshot};

use super::fetch::Fetcher;
pub(crate) use super::known::Look;
use super::known::{Known, Miss, Now, Outcome};
use crate::clock::now_millis;
use crate::error::KafkaError;
use crate::metrics;
use crate::settings::RegistrySettings;

/// Schemas that are asked for at a time.
const AT_ONCE: usize = 8;
/// That it does not answer is logged at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// How long a question of people waits. An address has ten seconds to answer.
const PATIENCE: Duration = Duration::from_secs(12);

/// Schemas by their ids. Asks for what is looked for, on a thread of its own that ends with it.
pub(crate) struct Registry {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    known: Mutex<Known>,
    /// Notified after each answer.
    answered: Condvar,
    /// How many answers there were.
    answers: AtomicU64,
    /// Notified where something is to be done.
    wanted: Notify,
    is_over: AtomicBool,
    /// Questions of people.
    questions: Mutex<Vec<(Question, oneshot::Sender<Vec<String>>)>>,
}

/// What people want to know.
enum Question {
    /// The subjects and versions of a schema.
    Names(SchemaId),
    /// What is wrong with its addresses.
    Problems,
}

impl Registry {
    /// Nothing is asked before somebody looks for a schema.
    ///
    /// # Errors
    /// Settings that make no client, or a thread that does not start.
    pub(crate) fn start(settings: &RegistrySettings, options: Options) -> Result<Registry, KafkaError> {
        let fetcher = Fetcher::new(settings, options)
            .map_err(|error| KafkaError::Config(format!("the schema registry cannot be asked: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| KafkaError::Thread(error.to_string()))?;
        let shared = Arc::new(Shared {
            known: Mutex::default(),
            answered: Condvar::new(),
            answers: AtomicU64::new(0),
            wanted: Notify::new(),
            is_over: AtomicBool::new(false),
            questions: Mutex::default(),
        });
        let asking = shared.clone();
        let thread = std::thread::Builder::new().name("schema-registry".to_owned());
        let thread = thread.spawn(move || runtime.block_on(asking.ask(&fetcher)));
        let thread = thread.map_err(|error| KafkaError::Thread(error.to_string()))?;
        Ok(Registry { shared, thread: Some(thread) })
    }

    /// The schema, for a record of this timestamp (milliseconds; -1: none). Never blocks.
    pub(crate) fn look(&self, id: SchemaId, timestamp: i64) -> Look {
        let (look, is_new) = self.shared.known.lock().look(id, timestamp, now());
        if is_new {
            self.shared.wanted.notify_one();
        }
        look
    }

    /// How many answers there were: where it stays the same, a look finds what it found before, but for what time alone changes.
    pub(crate) fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::Acquire)
    }

    /// Waits until there were more answers than `seen`, or so long.
    pub(crate) fn wait(&self, seen: u64, timeout: Duration) {
        let until = Instant::now() + timeout;
        let mut known = self.shared.known.lock();
        while self.answers() == seen && !self.shared.answered.wait_until(&mut known, until).timed_out() {}
    }

    /// Why a schema is not known yet, for people.
    pub(crate) fn why(&self, id: SchemaId) -> String {
        match self.shared.known.lock().why(id) {
            None => format!("schema {id} is being asked for"),
            Some(Miss::Absent) => format!("the schema registry does not have schema {id}; it is asked again"),
            Some(Miss::Failed(why)) => format!("schema {id} is not known: the schema registry at {why}"),
        }
    }

    /// Whether it did not answer when it was last asked for the schema.
    pub(crate) fn has_failed(&self, id: SchemaId) -> bool {
        matches!(self.shared.known.lock().why(id), Some(Miss::Failed(_)))
    }

    /// The subjects and versions of a schema, for people. Blocks; empty where the registry does not tell.
    pub(crate) fn names(&self, id: SchemaId) -> Vec<String> {
        self.put(Question::Names(id)).unwrap_or_default()
    }

    /// Why addresses of the registry cannot be asked, in words; empty where all can. Blocks.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.put(Question::Problems).unwrap_or_else(|| vec!["the schema registry does not answer".to_owned()])
    }

    /// `None`: no answer in time.
    fn put(&self, question: Question) -> Option<Vec<String>> {
        let (answer, answered) = oneshot::channel();
        self.shared.questions.lock().push((question, answer));
        self.shared.wanted.notify_one();
        let waiting = async { tokio::time::timeout(PATIENCE, answered).await };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
        runtime.block_on(waiting).ok()?.ok()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.wanted.notify_one();
        // A question that is under way is dropped, so that this takes no time.
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the schema registry panicked");
        }
    }
}

impl Shared {
    async fn ask(&self, fetcher: &Fetcher) {
        let (mut asked, mut said) = (FuturesUnordered::new(), Said::default());
        while !self.is_over.load(Ordering::Acquire) {
            let room = AT_ONCE.saturating_sub(asked.len());
            let (ids, next) = self.known.lock().due(Instant::now(), room);
            for id in ids {
                let at = now();
                asked.push(async move { (id, at, fetcher.fetch(id).await) });
            }
            // With no room, an answer comes first.
            let next = next.filter(|_| room > 0);
            tokio::select! {
                Some((id, at, outcome)) = asked.next(), if !asked.is_empty() => {
                    said.note(id, &outcome);
                    self.take(id, at, outcome);
                }
                () = self.wanted.notified() => {}
                () = until(next) => {}
            }
            let questions = std::mem::take(&mut *self.questions.lock());
            for (question, answer) in questions {
                let found = match question {
                    Question::Names(id) => fetcher.names(id).await,
                    Question::Problems => fetcher.probe().await,
                };
                // Who asked may be gone.
                let _ = answer.send(found);
            }
        }
    }

    fn take(&self, id: SchemaId, at: Now, outcome: Outcome) {
        let mut known = self.known.lock();
        known.take(id, at, outcome, Instant::now());
        metrics::schemas(known.count());
        self.answers.fetch_add(1, Ordering::AcqRel);
        self.answered.notify_all();
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn now() -> Now {
    Now { instant: Instant::now(), millis: now_millis() }
}

/// What was logged last: that it fails, and when.
#[derive(Default)]
struct Said {
    failing: Option<Instant>,
}

impl Said {
    fn note(&mut self, id: SchemaId, outcome: &Outcome) {
        match outcome {
            Outcome::Failed(why) if self.failing.is_none_or(|at| at.elapsed() >= SAY_EVERY) => {
                self.failing = Some(Instant::now());
                tracing::warn!(schema = %id, "the schema registry at {why}; partitions that need the schema are held back");
            }
            Outcome::Failed(_) => {}
            Outcome::Found(schema, _) => {
                self.answers();
                if let super::schema::Schema::Bad(why) = schema {
                    tracing::warn!(schema = %id, why, "a schema cannot be used: its records are undecodable");
                }
            }
            Outcome::Absent => self.answers(),
        }
    }

    fn answers(&mut self) {
        if self.failing.take().is_some() {
            tracing::info!("the schema registry answers again");
        }
    }
}
