//! Publishes to Kafka: each burst is one batch to one partition, in turn.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::peer::PARTITIONS;
use super::publish::{Publish, event};

/// The tenant of all events.
pub(crate) const TENANT: &str = "acme";

/// The timeout until the last events reach Kafka.
const FINISH: Duration = Duration::from_secs(20);

type Inner = ThreadedProducer<DefaultProducerContext>;

pub(crate) struct KafkaPublish {
    /// Sends at once.
    single: Inner,
    /// Lingers for a millisecond, so that a burst is one batch.
    bursts: Inner,
    topic: String,
    partition: i32,
}

impl KafkaPublish {
    pub(crate) fn new(bootstrap: &str, topic: &str) -> Result<KafkaPublish> {
        let producer = |linger| {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", bootstrap).set("linger.ms", linger);
            config.create::<Inner>().context("create a producer")
        };
        let (single, bursts) = (producer("0")?, producer("1")?);
        Ok(KafkaPublish { single, bursts, topic: topic.to_owned(), partition: 0 })
    }
}

impl Publish for KafkaPublish {
    fn burst(&mut self, events: u32) -> Result<()> {
        let producer = if events > 1 { &self.bursts } else { &self.single };
        let mut payload = Vec::new();
        for _ in 0..events {
            payload.clear();
            event(&mut payload);
            let headers = OwnedHeaders::new().insert(Header { key: "tenant", value: Some(TENANT) });
            let record = BaseRecord::<(), [u8]>::to(&self.topic).partition(self.partition);
            let sent = producer.send(record.headers(headers).payload(&payload));
            sent.map_err(|(error, _)| error).context("hand an event to the producer")?;
        }
        self.partition = (self.partition + 1) % PARTITIONS;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.single.flush(FINISH).and(self.bursts.flush(FINISH)).context("wait until Kafka has all events")
    }
}
