//! Events into Kafka, for one tenant, at an even pace, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::pace::Pace;
use crate::payload::{EVENT_BYTES, now_us, write_event};

pub(crate) const TENANT: &str = "acme";

/// For Kafka to do what it is asked, and for the last events to reach it.
const KAFKA: Duration = Duration::from_secs(20);

/// Waits for one future. Those of the admin client are woken by a thread of their own.
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

/// A topic that goes when this is dropped.
pub(crate) struct Topic {
    admin: AdminClient<DefaultClientContext>,
    pub(crate) name: String,
}

impl Topic {
    pub(crate) fn create(bootstrap: &str, name: String, partitions: i32) -> Result<Topic> {
        let admin: AdminClient<_> = client(bootstrap).create().context("create an admin client")?;
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let results = block_on(admin.create_topics(&[topic], &options())).context("ask for the topic")?;
        for result in results {
            result.map_err(|(topic, code)| anyhow!("create the topic {topic}: {code}"))?;
        }
        Ok(Topic { admin, name })
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

/// Sends until it is told to end.
pub(crate) struct Producer {
    go_on: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Producer {
    /// One burst goes to one partition, the next to the next.
    pub(crate) fn start(bootstrap: &str, topic: &str, partitions: i32, pace: Pace) -> Result<Producer> {
        let mut config = client(bootstrap);
        // A burst is to be one batch; a single event must not wait.
        config.set("linger.ms", if pace.burst > 1 { "1" } else { "0" });
        let inner: ThreadedProducer<DefaultProducerContext> = config.create().context("create a producer")?;
        let go_on = Arc::new(AtomicBool::new(true));
        let (flag, topic) = (Arc::clone(&go_on), topic.to_owned());
        let thread = std::thread::spawn(move || send(&inner, &topic, partitions, pace, &flag));
        Ok(Producer { go_on, thread })
    }

    /// Ends. Gives how many events were sent.
    pub(crate) fn end(self) -> Result<u64> {
        self.go_on.store(false, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the producer's thread has panicked"))?
    }
}

fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    partitions: i32,
    pace: Pace,
    go_on: &AtomicBool,
) -> Result<u64> {
    let (mut partition, mut sent, mut outcome) = (0, 0, Ok(()));
    let mut event = Vec::with_capacity(EVENT_BYTES);
    pace.keep(|| {
        for _ in 0..pace.burst {
            event.clear();
            write_event(&mut event, EVENT_BYTES, now_us());
            let headers = OwnedHeaders::new().insert(Header { key: "tenant", value: Some(TENANT) });
            let record =
                BaseRecord::<(), [u8]>::to(topic).partition(partition).headers(headers).payload(&event);
            match producer.send(record) {
                Ok(()) => sent += 1,
                Err((error, _)) => outcome = Err(error),
            }
        }
        partition = (partition + 1) % partitions;
        outcome.is_ok() && go_on.load(Ordering::Relaxed)
    });
    outcome.context("hand an event to the producer")?;
    producer.flush(KAFKA).context("wait until Kafka has all events")?;
    Ok(sent)
}
