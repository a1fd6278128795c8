//! Transactions in addition to the usual load: most are committed, some are aborted, and some stay open for long. Also a single
//! transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use crate::kafka::Kafka;
use crate::ledger::{Fate, Ledger, Number, tenant_name, value};
use crate::writer::{Book, TENANTS};

const WAIT: Duration = Duration::from_secs(30);
/// Records of one transaction.
const RECORDS: u32 = 30;

/// A thread that writes transactions until it is stopped.
pub struct Transactions {
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

struct Writing {
    producer: ThreadedProducer<Book>,
    ledger: Ledger,
    topic: Arc<str>,
    partitions: u32,
}

impl Transactions {
    /// `long`: how long every fifth transaction stays open.
    pub fn start(
        kafka: &Kafka,
        ledger: Ledger,
        topic: Arc<str>,
        partitions: u32,
        long: Duration,
    ) -> Transactions {
        let config = config(kafka, &topic);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let own = is_stopped.clone();
        let thread = std::thread::spawn(move || {
            let writing = Writing::begin(&config, ledger, topic, partitions)?;
            for round in 0_u32.. {
                if own.load(Ordering::Relaxed) {
                    break;
                }
                let open = if round % 5 == 4 { long } else { Duration::from_millis(20) };
                writing.transaction(round % 3 == 1, open)?;
            }
            Ok(())
        });
        Transactions { is_stopped, thread }
    }

    /// Stops after the transaction that is open.
    pub fn stop(self) -> Result<()> {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the writer of transactions panicked"))?
    }
}

/// Writes one transaction with records in all partitions, and commits it: each partition ends with the transaction's marker.
pub fn commit_one(kafka: &Kafka, ledger: Ledger, topic: Arc<str>, partitions: u32) -> Result<()> {
    Writing::begin(&config(kafka, &topic), ledger, topic, partitions)?.transaction(false, Duration::ZERO)
}

fn config(kafka: &Kafka, topic: &str) -> ClientConfig {
    let mut config = kafka.client();
    config.set("transactional.id", topic).set("linger.ms", "2");
    config
}

impl Writing {
    fn begin(config: &ClientConfig, ledger: Ledger, topic: Arc<str>, partitions: u32) -> Result<Writing> {
        let producer: ThreadedProducer<Book> =
            config.create_with_context(Book::new(ledger.clone())).context("create a producer")?;
        producer.init_transactions(WAIT).context("begin with transactions")?;
        Ok(Writing { producer, ledger, topic, partitions })
    }

    fn transaction(&self, is_aborted: bool, open: Duration) -> Result<()> {
        self.producer.begin_transaction().context("begin a transaction")?;
        let numbers: Vec<Number> = (0..RECORDS).map(|record| self.send(record)).collect::<Result<_>>()?;
        self.producer.flush(WAIT).context("flush")?;
        std::thread::sleep(open);
        match is_aborted {
            true => {
                self.ledger.settle(&numbers, Fate::Aborted);
                self.producer.abort_transaction(WAIT).context("abort")
            }
            false => {
                // From the commit request on, clients may see these records.
                self.ledger.settle(&numbers, Fate::Unsure);
                self.producer.commit_transaction(WAIT).context("commit")?;
                self.ledger.settle(&numbers, Fate::Written);
                Ok(())
            }
        }
    }

    fn send(&self, record: u32) -> Result<Number> {
        let (partition, tenant) = (record % self.partitions, record % TENANTS);
        let number = self.ledger.enter(&self.topic, 0, partition, tenant, Fate::Open);
        let (value, name) = (value(number, partition, tenant), tenant_name(tenant));
        let headers = OwnedHeaders::new().insert(Header { key: "tenant", value: Some(&name) });
        let record = BaseRecord::<(), str, usize>::with_opaque_to(&self.topic, number as usize);
        let record = record.partition(partition as i32).headers(headers).payload(&value);
        self.producer.send(record).map_err(|(error, _)| error).context("send")?;
        Ok(number)
    }
}
