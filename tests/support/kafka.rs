//! One real Apache Kafka broker (KRaft) in a directory of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use super::{eventually, free_port};

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

pub struct Kafka {
    directory: tempfile::TempDir,
    process: Option<Child>,
    port: u16,
}

/// Where `cargo xtask setup` has put Kafka's jars.
fn libs() -> PathBuf {
    let libs = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tailrace/kafka/libs");
    assert!(libs.is_dir(), "{} is not there: run `cargo xtask setup` first", libs.display());
    libs
}

fn java(log: &Path, heap: &str) -> Command {
    let log = fs::File::options().create(true).append(true).open(log).expect("the log can be written");
    let mut command = Command::new("java");
    command.arg(heap).arg("-cp").arg(libs().join("*")).arg("-Dlog4j2.level=WARN");
    command.stdout(log.try_clone().expect("a file can be shared")).stderr(log).stdin(Stdio::null());
    command
}

impl Kafka {
    /// Formats and starts a broker, and waits until it answers.
    pub async fn start() -> Kafka {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (port, controller) = (free_port(), free_port());
        let data = directory.path().join("data");
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=1\ngroup.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=false\nlog.retention.check.interval.ms=500\n\
             log.segment.delete.delay.ms=100\nfile.delete.delay.ms=100\n",
            data.display()
        );
        let config = directory.path().join("server.properties");
        fs::write(&config, properties).expect("the configuration can be written");
        let log = directory.path().join("kafka.log");
        let formatted = java(&log, "-Xmx256m")
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
            .arg(&config)
            .status()
            .expect("java can be started");
        assert!(formatted.success(), "format failed: {}", fs::read_to_string(&log).unwrap_or_default());
        let mut kafka = Kafka { directory, process: None, port };
        kafka.spawn();
        kafka.answers().await;
        kafka
    }

    /// Starts the process (again).
    pub fn spawn(&mut self) {
        let (log, config) =
            (self.directory.path().join("kafka.log"), self.directory.path().join("server.properties"));
        let process =
            java(&log, "-Xmx512m").arg("kafka.Kafka").arg(config).spawn().expect("java can be started");
        self.process = Some(process);
    }

    pub async fn answers(&self) {
        let probe: BaseConsumer = self.client().create().expect("a consumer");
        eventually("Kafka answers", Duration::from_secs(60), async || {
            tokio::task::block_in_place(|| probe.fetch_metadata(None, Duration::from_secs(1))).ok()
        })
        .await;
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the broker runs").id()
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    pub async fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in config {
            topic = topic.set(key, value);
        }
        let results = self.admin().create_topics(&[topic], &options()).await.expect("Kafka answers");
        results.into_iter().for_each(|result| drop(result.expect("the topic is created")));
    }

    pub async fn delete_topic(&self, name: &str) {
        let results = self.admin().delete_topics(&[name], &options()).await.expect("Kafka answers");
        results.into_iter().for_each(|result| drop(result.expect("the topic is deleted")));
    }

    pub async fn add_partitions(&self, name: &str, total: usize) {
        let more = NewPartitions::new(name, total);
        let results = self.admin().create_partitions(&[more], &options()).await.expect("Kafka answers");
        results.into_iter().for_each(|result| drop(result.expect("the partitions are added")));
    }

    /// Deletes the records before `offset`, as retention would.
    pub async fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset)).expect("an offset");
        let deleted = self.admin().delete_records(&list, &options()).await.expect("Kafka answers");
        deleted.elements().iter().for_each(|element| element.error().expect("the records are deleted"));
    }

    pub fn producer(&self) -> Producer {
        let mut config = self.client();
        config
            .set("linger.ms", "5")
            .set("queue.buffering.max.kbytes", "262144")
            .set("message.max.bytes", "4194304");
        Producer { inner: config.create_with_context(Delivered::default()).expect("a producer") }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.kill();
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)))
}

/// Counts records that did not arrive: they must not be taken for records that the bridge lost.
#[derive(Clone, Default)]
struct Delivered {
    failed: Arc<AtomicUsize>,
}

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.failed.fetch_add(usize::from(result.is_err()), Ordering::Relaxed);
    }
}

/// Writes records; those of one partition keep their order.
pub struct Producer {
    inner: ThreadedProducer<Delivered>,
}

impl Producer {
    pub fn send(&self, topic: &str, partition: i32, tenant: &str, value: &[u8]) {
        self.send_record(topic, partition, Some(tenant), None, Some(value));
    }

    pub fn send_record(
        &self,
        topic: &str,
        partition: i32,
        tenant: Option<&str>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let mut headers = OwnedHeaders::new();
        if let Some(tenant) = tenant {
            headers = headers.insert(Header { key: "tenant", value: Some(tenant) });
        }
        loop {
            let mut record = BaseRecord::to(topic).partition(partition).headers(headers.clone());
            record.key = key;
            record.payload = value;
            match self.inner.send(record) {
                Ok(()) => return,
                // The broker needs a moment.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => panic!("{topic}[{partition}]: {error}"),
            }
        }
    }

    pub fn flush(&self) {
        self.inner.flush(Duration::from_secs(60)).expect("all records are delivered");
        assert_eq!(self.inner.context().failed.load(Ordering::Relaxed), 0, "records did not reach Kafka");
    }
}
