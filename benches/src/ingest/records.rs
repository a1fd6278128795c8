//! The records that both sides read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use super::reader::Rule;
use crate::pace::Pace;
use crate::payload::EVENT_BYTES;

/// Tenants: each in turn gets one record.
const TENANTS: u64 = 100;
/// Keys.
const USERS: u64 = 10_000;
const KAFKA: Duration = Duration::from_secs(60);

type Producer = ThreadedProducer<DefaultProducerContext>;

fn producer(bootstrap: &str, linger: &str) -> Result<Producer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("linger.ms", linger);
    config.set("queue.buffering.max.messages", "200000");
    config.create().context("create a producer")
}

/// Writes `count` records, and waits until Kafka has acknowledged them.
pub(super) fn write(bootstrap: &str, topic: &str, partitions: i32, rule: Rule, count: u64) -> Result<()> {
    let producer = producer(bootstrap, "20")?;
    for number in 0..count {
        while !send(&producer, topic, partitions, rule, number)? {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    producer.flush(KAFKA).context("wait until Kafka has all records")
}

/// Sends one record; false if the queue is full.
fn send(producer: &Producer, topic: &str, partitions: i32, rule: Rule, number: u64) -> Result<bool> {
    let tenant = format!("tenant-{:03}", number % TENANTS);
    let key = format!("user-{:05}", number * 7919 % USERS);
    let value = value(number, &key, &tenant);
    let partition = (number % partitions.unsigned_abs() as u64) as i32;
    let mut record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value);
    if rule == Rule::Header {
        record = record.headers(OwnedHeaders::new().insert(Header { key: "tenant", value: Some(&tenant) }));
    }
    match producer.send(record) {
        Ok(()) => Ok(true),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
        Err((error, _)) => Err(error).context("hand a record to the producer"),
    }
}

/// JSON of [`EVENT_BYTES`] bytes, with the tenant in the middle.
fn value(number: u64, user: &str, tenant: &str) -> String {
    let mut text = format!(
        "{{\"id\":{number:010},\"status\":\"shipped\",\"user\":\"{user}\",\"amount\":17.25,\"tags\":[\"a\",\"b\"],\
         \"tenant\":\"{tenant}\",\"pad\":\""
    );
    // No number begins with a zero.
    text.replace_range(6..7, "1");
    while text.len() < EVENT_BYTES - 2 {
        text.push('x');
    }
    text + "\"}"
}

/// Writes at a pace until it is stopped.
pub(super) struct Writer {
    go_on: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Writer {
    pub(super) fn start(
        bootstrap: &str,
        topic: &str,
        partitions: i32,
        rule: Rule,
        pace: Pace,
    ) -> Result<Writer> {
        let producer = producer(bootstrap, "0")?;
        let go_on = Arc::new(AtomicBool::new(true));
        let (flag, topic) = (Arc::clone(&go_on), topic.to_owned());
        let thread = std::thread::spawn(move || {
            let (mut number, mut outcome) = (0, Ok(true));
            let next = || {
                outcome = send(&producer, &topic, partitions, rule, number);
                number += 1;
                outcome.is_ok() && flag.load(Ordering::Relaxed)
            };
            pace.keep(next, |at| sleep(at.saturating_duration_since(Instant::now())));
            outcome.map(drop)
        });
        Ok(Writer { go_on, thread })
    }

    pub(super) fn end(self) -> Result<()> {
        self.go_on.store(false, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the writer's thread has panicked"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_size_that_was_asked_for() {
        let text = value(5, "user-00001", "tenant-001");
        assert_eq!(text.len(), EVENT_BYTES);
        assert!(sonic_rs::from_str::<sonic_rs::Value>(&text).is_ok(), "{text}");
    }
}
