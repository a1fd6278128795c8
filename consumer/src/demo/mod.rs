//! The demo's Kafka: a broker inside of the process, and a producer of records in four topics, for three tenants.

mod stories;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError as RdKafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use tokio::task::JoinHandle;

pub use stories::TENANTS;
use stories::{Event, Stories};

use crate::error::KafkaError;
use crate::native::Mock;

/// The topics, each with its partitions.
const TOPICS: [(&str, i32); 4] = [("orders", 4), ("metrics", 2), ("logs", 3), ("notifications", 2)];
/// How often the stories go on. One step may have several events, or none.
const STEP: Duration = Duration::from_millis(100);
/// Steps told before the start: the five minutes that charts show.
const PROLOGUE: usize = 3000;
const FLUSH: Duration = Duration::from_secs(2);

/// The demo did not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The embedded broker could not be made.
    #[error("the embedded broker: {0}")]
    Broker(#[from] KafkaError),
    /// Its producer could not be made.
    #[error("the producer: {0}")]
    Producer(#[from] RdKafkaError),
}

/// The embedded broker with its producer. Other processes on this host can connect to it, too.
pub struct Demo {
    servers: String,
    teller: JoinHandle<()>,
    // Ends the broker when dropped.
    _broker: Mock,
}

/// Starts the broker and the producer. It holds up to 5 MiB for each partition.
///
/// # Errors
/// The broker finds no port on loopback, or a topic is not made.
pub async fn start() -> Result<Demo, DemoError> {
    let broker = Mock::new()?;
    for (topic, partitions) in TOPICS {
        broker.create_topic(topic, partitions)?;
    }
    let servers = broker.bootstrap_servers();
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &servers)
        // The embedded broker handles one request after the other: batches keep their number low.
        .set("linger.ms", "5")
        .create()?;
    let teller = tokio::spawn(tell(producer));
    Ok(Demo { servers, teller, _broker: broker })
}

impl Demo {
    /// Where clients connect, as `host:port`.
    pub fn bootstrap_servers(&self) -> &str {
        &self.servers
    }

    /// Ends the producer and the broker.
    pub async fn stop(self) {
        self.teller.abort();
        // Cancelled, as asked.
        let _ = self.teller.await;
    }
}

impl std::fmt::Debug for Demo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demo").field("servers", &self.servers).finish_non_exhaustive()
    }
}

async fn tell(producer: ThreadedProducer<DefaultProducerContext>) {
    let mut stories = Stories::new();
    for step in (1..=PROLOGUE).rev() {
        let ago = STEP * u32::try_from(step).unwrap_or(0);
        stories.step(stories::now() - ago.as_millis() as i64).iter().for_each(|event| send(&producer, event));
    }
    let mut clock = tokio::time::interval(STEP);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        clock.tick().await;
        stories.step(stories::now()).iter().for_each(|event| send(&producer, event));
    }
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, event: &Event) {
    let headers = OwnedHeaders::new()
        .insert(Header { key: "tenant", value: Some(event.tenant) })
        .insert(Header { key: "type", value: Some(event.kind) });
    let record = BaseRecord::to(event.topic)
        .key(&event.key)
        .payload(&event.value)
        .timestamp(event.time)
        .headers(headers);
    if let Err((error, _)) = producer.send(record) {
        tracing::debug!(%error, "a demo event was not produced");
        // The queue is full only while the broker does not answer.
        let _ = producer.flush(FLUSH);
    }
}
