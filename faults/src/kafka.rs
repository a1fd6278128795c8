//! Real Apache Kafka brokers (KRaft) in directories of their own: one, or several that form a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rustix::process::Signal;

use crate::process::signal;
use crate::proxy::Proxy;
use crate::{eventually, free_port};

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";
/// The id of a cluster that was wiped and set up again as another one.
const OTHER_CLUSTER_ID: &str = "NlY5T0ZDQjY4MTYzRTU0N0";

/// Properties of a cluster with access control: clients of the second listener need a name and a password, and may do only what
/// is allowed; all other clients may do everything.
const SECURED: [(&str, &str); 6] = [
    ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,PROXY:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"),
    ("listener.name.proxy.sasl.enabled.mechanisms", "PLAIN"),
    (
        "listener.name.proxy.plain.sasl.jaas.config",
        "org.apache.kafka.common.security.plain.PlainLoginModule required user_tailrace=\"hunter2\";",
    ),
    ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
    ("super.users", "User:ANONYMOUS"),
    ("allow.everyone.if.no.acl.found", "false"),
];

/// Settings with which a replica connects to it.
pub const CREDENTIALS: [(&str, &str); 4] = [
    ("TAILRACE_KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
    ("TAILRACE_KAFKA_SASL_MECHANISM", "PLAIN"),
    ("TAILRACE_KAFKA_SASL_USERNAME", "tailrace"),
    ("TAILRACE_KAFKA_SASL_PASSWORD", "hunter2"),
];

/// The timeout from a broker's start to its first answer.
const START: Duration = Duration::from_secs(90);

/// One broker, or a cluster of several.
pub struct Kafka {
    directory: tempfile::TempDir,
    brokers: Vec<Broker>,
}

/// One broker's process, while it runs.
pub struct Broker {
    config: PathBuf,
    log: PathBuf,
    port: u16,
    /// In front of the broker's second listener.
    proxy: Proxy,
    process: Option<Child>,
}

/// The folder where `cargo xtask setup` has put Kafka's jars.
fn libs() -> PathBuf {
    let libs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tailrace/kafka/libs");
    assert!(libs.is_dir(), "{} is not there: run `cargo xtask setup` first", libs.display());
    libs
}

fn java(log: &Path, heap: &str) -> Command {
    let log = fs::File::options().create(true).append(true).open(log).expect("the log can be written");
    let mut command = Command::new("java");
    // All processes share two cores: a broker needs neither parallel garbage collection nor the second compiler.
    command.args([heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.arg("-cp").arg(libs().join("*")).arg("-Dlog4j2.level=WARN");
    command.stdout(log.try_clone().expect("a file can be shared")).stderr(log).stdin(Stdio::null());
    command
}

impl Broker {
    /// Starts the process (again). The broker answers some seconds later.
    pub fn spawn(&mut self) {
        let mut java = java(&self.log, "-Xmx512m");
        java.arg("kafka.Kafka").arg(&self.config);
        self.process = Some(java.spawn().expect("java can be started"));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// SIGTERM, and waits for the end: before it, the broker's partitions get other leaders.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
    }

    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the broker runs").id()
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(Some(_))))
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Waits until it answers.
    pub async fn answers(&self) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set("log_level", "0");
        let probe: BaseConsumer = config.create().expect("a consumer");
        eventually("Kafka answers", START, async || {
            tokio::task::block_in_place(|| probe.fetch_metadata(None, Duration::from_secs(1))).ok()
        })
        .await;
    }

    fn format(&self, cluster: &str) {
        let formatted = java(&self.log, "-Xmx256m")
            .args(["kafka.tools.StorageTool", "format", "-t", cluster, "-c"])
            .arg(&self.config)
            .status()
            .expect("java can be started");
        assert!(formatted.success(), "format failed: {}", fs::read_to_string(&self.log).unwrap_or_default());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Kafka {
    /// Formats and starts one broker, and waits until it answers.
    pub async fn start() -> Kafka {
        Kafka::cluster(1, &[]).await
    }

    /// Formats and starts `count` brokers, which are also controllers, with more properties; waits until all answer.
    pub async fn cluster(count: usize, properties: &[(&str, &str)]) -> Kafka {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let controllers: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let voters = controllers.iter().zip(1..).map(|(port, id)| format!("{id}@127.0.0.1:{port}"));
        let voters = voters.collect::<Vec<_>>().join(",");
        let mut brokers = Vec::new();
        for (controller, id) in controllers.into_iter().zip(1..) {
            let folder = directory.path().join(format!("{id}"));
            fs::create_dir(&folder).expect("a folder can be made");
            let (port, behind) = (free_port(), free_port());
            let proxy = Proxy::start(behind).await;
            let ports = Ports { port, controller, behind, proxy: proxy.port() };
            let mut text = server_properties(id, ports, &voters, count, &folder);
            properties.iter().for_each(|(name, value)| text.push_str(&format!("{name}={value}\n")));
            let config = folder.join("server.properties");
            fs::write(&config, text).expect("the configuration can be written");
            let mut broker = Broker { config, log: folder.join("kafka.log"), port, proxy, process: None };
            broker.format(CLUSTER_ID);
            broker.spawn();
            brokers.push(broker);
        }
        for broker in &brokers {
            broker.answers().await;
        }
        Kafka { directory, brokers }
    }

    /// One broker with access control. A replica with [`CREDENTIALS`] may use its own groups; everything else must be allowed.
    pub async fn secured() -> Kafka {
        let kafka = Kafka::cluster(1, &SECURED).await;
        kafka.allow(&["Read", "Delete"], &["--group", "tailrace-", "--resource-pattern-type", "prefixed"]);
        kafka
    }

    /// Allows operations on a resource.
    pub fn allow(&self, operations: &[&str], resource: &[&str]) {
        self.acl("--add", operations, resource);
    }

    /// Revokes that permission.
    pub fn disallow(&self, operations: &[&str], resource: &[&str]) {
        self.acl("--remove", operations, resource);
    }

    fn acl(&self, how: &str, operations: &[&str], resource: &[&str]) {
        let mut arguments = vec![how, "--force", "--allow-principal", "User:tailrace"];
        operations.iter().for_each(|operation| arguments.extend(["--operation", operation]));
        arguments.extend(resource);
        self.tool("org.apache.kafka.tools.AclCommand", &arguments);
    }

    /// Kills all brokers, deletes all of their data, and starts them again at the same addresses, as the same cluster or
    /// another.
    pub async fn wipe(&mut self, as_another: bool) {
        for broker in &mut self.brokers {
            broker.kill();
        }
        for broker in &mut self.brokers {
            let data = broker.config.with_file_name("data");
            fs::remove_dir_all(data).expect("a folder can be removed");
            broker.format(if as_another { OTHER_CLUSTER_ID } else { CLUSTER_ID });
            broker.spawn();
        }
        for broker in &self.brokers {
            broker.answers().await;
        }
    }

    /// Deletes all data of a stopped broker (by number from 1) about the topics whose names begin with `topics`.
    pub fn remove_logs(&self, broker: usize, topics: &str) -> std::io::Result<()> {
        for entry in fs::read_dir(self.directory.path().join(format!("{broker}/data")))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&format!("{topics}-")) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    pub fn broker(&mut self, index: usize) -> &mut Broker {
        &mut self.brokers[index]
    }

    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// The directory of the brokers' logs and data, one folder for each, from 1.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.brokers.iter().map(Broker::address).collect();
        addresses.join(",")
    }

    /// The addresses of the proxies.
    pub fn proxied_bootstrap(&self) -> String {
        let addresses = self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.proxy.port()));
        addresses.collect::<Vec<_>>().join(",")
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
        self.create_topic_on(name, partitions, &[], config).await;
    }

    /// Creates a topic with all partitions on these brokers (by number from 1), of which the first leads; on all brokers if
    /// none is named.
    pub async fn create_topic_on(
        &self,
        name: &str,
        partitions: i32,
        brokers: &[i32],
        config: &[(&str, &str)],
    ) {
        let everywhere = TopicReplication::Fixed(self.brokers.len() as i32);
        let assignment = vec![brokers; partitions as usize];
        let replication =
            if brokers.is_empty() { everywhere } else { TopicReplication::Variable(&assignment) };
        let mut topic = NewTopic::new(name, partitions, replication);
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

    /// Sets properties of a topic; all others are reset to their defaults.
    pub async fn alter_topic(&self, name: &str, config: &[(&str, &str)]) {
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (key, value) in config {
            alter = alter.set(key, value);
        }
        let results = self.admin().alter_configs(&[alter], &options()).await.expect("Kafka answers");
        results.into_iter().for_each(|result| drop(result.expect("the topic is altered")));
    }

    /// Waits until `is_so` holds for all partitions, with their leaders and in-sync replicas.
    pub async fn leaders(
        &self,
        topic: &str,
        what: &str,
        is_so: impl Fn(&rdkafka::metadata::MetadataPartition) -> bool,
    ) {
        let probe: BaseConsumer = self.client().set("log_level", "0").create().expect("a consumer");
        eventually(what, START, async || {
            let ask = || probe.fetch_metadata(Some(topic), Duration::from_secs(1));
            let metadata = tokio::task::block_in_place(ask).ok()?;
            let partitions = metadata.topics().first()?.partitions();
            (!partitions.is_empty() && partitions.iter().all(&is_so)).then_some(())
        })
        .await;
    }

    /// The broker that leads a partition, by number from 1.
    pub fn leader(&self, topic: &str, partition: usize) -> i32 {
        let probe: BaseConsumer = self.client().create().expect("a consumer");
        let metadata = probe.fetch_metadata(Some(topic), Duration::from_secs(20)).expect("Kafka answers");
        metadata.topics()[0].partitions()[partition].leader()
    }

    /// Runs one of Kafka's own tools, and waits for its end.
    pub fn tool(&self, class: &str, arguments: &[&str]) {
        let ended = self.try_tool(class, arguments);
        let log = self.directory.path().join("tools.log");
        assert!(ended, "{class}: {}", fs::read_to_string(&log).unwrap_or_default());
    }

    /// As [`Kafka::tool`], but the tool may fail: returns whether it succeeded.
    pub fn try_tool(&self, class: &str, arguments: &[&str]) -> bool {
        let log = self.directory.path().join("tools.log");
        let bootstrap = self.bootstrap();
        let mut command = java(&log, "-Xmx256m");
        command.args([class, "--bootstrap-server", &bootstrap]).args(arguments);
        command.status().expect("java can be started").success()
    }

    /// The offset after the last record of each partition.
    pub fn ends(&self, topic: &str, partitions: u32) -> Vec<u64> {
        let probe: BaseConsumer = self.client().create().expect("a consumer");
        let end = |partition: u32| {
            let marks = probe.fetch_watermarks(topic, partition as i32, Duration::from_secs(20));
            marks.expect("Kafka tells where a partition ends").1 as u64
        };
        (0..partitions).map(end).collect()
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

/// A broker's ports.
struct Ports {
    port: u16,
    controller: u16,
    /// The listener behind the proxy.
    behind: u16,
    proxy: u16,
}

fn server_properties(id: usize, ports: Ports, voters: &str, count: usize, folder: &Path) -> String {
    let Ports { port, controller, behind, proxy } = ports;
    let least = count.min(2);
    format!(
        "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},PROXY://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXY://127.0.0.1:{proxy}\n\
         controller.listener.names=CONTROLLER\nlog.dirs={}\n\
         broker.rack=rack-{id}\n\
         replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXY:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         offsets.topic.replication.factor={count}\noffsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor={count}\ntransaction.state.log.min.isr={least}\n\
         transaction.state.log.num.partitions=1\ngroup.initial.rebalance.delay.ms=0\n\
         broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n\
         auto.create.topics.enable=false\nlog.cleaner.backoff.ms=300\nlog.retention.check.interval.ms=500\n\
         log.segment.delete.delay.ms=100\nfile.delete.delay.ms=100\n",
        folder.join("data").display()
    )
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)))
}

/// Counts records that did not reach Kafka: they must not count as lost by the bridge.
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
                // The queue is full: wait for the broker.
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
