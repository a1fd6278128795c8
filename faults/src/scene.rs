//! The stage of one trial: brokers, replicas, a writer and clients; and the actions that faults use.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Access;
use crate::bare::{Read, read_all};
use crate::bridge::Bridge;
use crate::client::{Got, Habit, Phase, Seen, Shared, client};
use crate::issuer::Issuer;
use crate::judge::{Edge, Fact, Verdict};
use crate::kafka::{CREDENTIALS, Kafka};
use crate::ledger::{Fate, Found, Ledger, Truth, value};
use crate::pki::Pki;
use crate::schemas::Registry;
use crate::state::ByKey;
use crate::writer::{TENANTS, Target, Writer};

/// How often deliveries are counted while the longest silence is measured.
const GLANCE: Duration = Duration::from_millis(50);
/// Partitions of the topic to which nothing is done.
const CALM_PARTITIONS: u32 = 2;

/// The setup of a trial, before its fault.
#[derive(Clone, Debug)]
pub struct Stage {
    pub brokers: usize,
    pub partitions: u32,
    pub replicas: usize,
    pub clients: u32,
    /// Records per second, of all tenants together.
    pub rate: u64,
    /// Budget of each replica's logs, in MiB.
    pub cache_mib: u64,
    /// Settings of each replica, in addition to the usual ones or in place of them.
    pub env: Vec<(&'static str, String)>,
    pub topic_config: Vec<(&'static str, &'static str)>,
    /// The brokers that the topic is on, by number from 1, the leader first; empty: all.
    pub topic_on: Vec<i32>,
    pub producer: Vec<(&'static str, &'static str)>,
    /// Keys of the topic's records; see [`Target`].
    pub keys: u64,
    /// Whether clients keep state by key: two sets of three.
    pub by_key: bool,
    /// Whether the topic's values are Avro, with a registry.
    pub is_avro: bool,
    /// Disorder of the topic's timestamps, in milliseconds; see [`Target`].
    pub disorder: i64,
    /// Whether the replicas serve all topics of the trial, including those that are created later.
    pub pattern: bool,
    /// Whether replicas connect to the brokers through the proxies.
    pub is_proxied: bool,
    /// Whether brokers have access control, and replicas may only read the topics of the trial.
    pub is_secured: bool,
    /// Whether replicas serve over TLS.
    pub is_tls: bool,
    /// Lifetimes of tokens in seconds, if replicas ask for tokens.
    pub tokens: Option<RangeInclusive<u64>>,
    /// Habits of clients: each gets the habit at its number modulo this list's length.
    pub habits: Vec<Habit>,
}

impl Default for Stage {
    fn default() -> Stage {
        Stage {
            brokers: 1,
            partitions: 12,
            replicas: 1,
            clients: 32,
            rate: 600,
            cache_mib: 64,
            env: Vec::new(),
            topic_config: Vec::new(),
            topic_on: Vec::new(),
            producer: Vec::new(),
            keys: 0,
            by_key: false,
            is_avro: false,
            disorder: 0,
            pattern: false,
            is_proxied: false,
            is_secured: false,
            is_tls: false,
            tokens: None,
            habits: vec![Habit::Cut, Habit::Cut, Habit::Pages, Habit::Steady],
        }
    }
}

/// The moment from which recovery is measured. If only new records count, it is measured from the first of them that Kafka
/// accepted after this moment.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub at: Instant,
    /// Whether only records count that Kafka acknowledged after the moment; else all records of connections that began after it
    /// count.
    pub is_of_new: bool,
}

pub struct Scene {
    pub kafka: Kafka,
    /// The topic that the faults affect.
    pub topic: Arc<str>,
    pub bridges: Vec<Bridge>,
    pub writer: Writer,
    pub ledger: Ledger,
    pub facts: Vec<Fact>,
    pub mark: Option<Mark>,
    pub random: StdRng,
    pub stage: Stage,
    /// The duration of one stretch of undisturbed load.
    pub breath: Duration,
    pub ports: Arc<RwLock<Vec<u16>>>,
    pub access: Arc<Access>,
    /// Where the topic's schemas are, if it has any.
    pub registry: Option<Registry>,
    phase: watch::Sender<Phase>,
    clients: Vec<JoinHandle<Got>>,
    deliveries: Arc<AtomicU64>,
    /// Findings that clients cannot make: a busy loop, memory beyond its bound.
    pub problems: Arc<Mutex<Vec<String>>>,
    /// Notes for readers of the row: what could not be run here, or was measured in addition.
    pub notes: Vec<String>,
}

/// The results of a trial.
pub struct Outcome {
    pub verdict: Verdict,
    pub connections: u64,
    /// How many of the connections the replica ended.
    pub ended: u64,
    /// How many of the connections were cut within their first block.
    pub cut_early: u64,
    pub recovery: Vec<Duration>,
    /// The time from the mark until Kafka accepted a record again, where recovery is measured from there.
    pub returned: Option<Duration>,
    /// The most memory of any replica.
    pub most_resident: u64,
    pub problems: Vec<String>,
    pub notes: Vec<String>,
    pub logs: Vec<String>,
    pub kafka: Kafka,
}

impl Scene {
    /// Sets up topics, replicas that are ready, a writer that writes, and clients that read.
    pub async fn set(kafka: Kafka, name: &str, mut stage: Stage, seed: u64, breath: Duration) -> Scene {
        // Each trial has its own topics, so that it does not depend on what the previous trial did to its topics.
        let trial = format!("{name}-{seed:x}");
        let (topic, calm) = (trial.clone(), calm_of(&trial));
        let partitions = stage.partitions as i32;
        kafka.create_topic_on(&topic, partitions, &stage.topic_on, &stage.topic_config).await;
        kafka.create_topic(&calm, CALM_PARTITIONS as i32, &[]).await;
        if stage.is_secured {
            let prefixed = ["--topic", &topic, "--resource-pattern-type", "prefixed"];
            let allow = || kafka.allow(&["Describe"], &prefixed);
            tokio::task::block_in_place(allow);
            for topic in [&topic, &calm] {
                tokio::task::block_in_place(|| kafka.allow(&["Read"], &["--topic", topic]));
            }
        }
        let registry = if stage.is_avro { Some(Registry::start().await) } else { None };
        if let Some(registry) = &registry {
            stage.env.push(("TAILRACE_SCHEMA_REGISTRY_URL", registry.url()));
        }
        let problems = Arc::default();
        let access = Arc::new(access(&stage, &problems));
        let topics = if stage.pattern { format!("^{trial}.*") } else { format!("{topic},{calm}") };
        let mut bridges: Vec<Bridge> = (0..stage.replicas)
            .map(|which| bridge(&kafka, &topics, &format!("{trial}-{which}"), &stage, &access))
            .collect();
        for bridge in &mut bridges {
            bridge.start().await;
        }
        let ledger = Ledger::default();
        let mut config = kafka.client();
        stage.producer.iter().for_each(|(name, value)| {
            config.set(*name, *value);
        });
        let targets = vec![
            Target {
                keys: stage.keys,
                disorder: stage.disorder,
                schemas: registry.as_ref().map(Registry::in_use),
                ..Target::new(&topic, stage.partitions)
            },
            Target::new(&calm, CALM_PARTITIONS),
        ];
        let writer = Writer::start(&config, ledger.clone(), targets, stage.rate, seed);
        let ports = Arc::new(RwLock::new(bridges.iter().map(|bridge| bridge.port).collect()));
        let (phase, of_clients) = watch::channel(Phase::Run);
        let deliveries = Arc::new(AtomicU64::new(0));
        let shared = Arc::new(Shared {
            phase: of_clients,
            ports: ports.clone(),
            deliveries: deliveries.clone(),
            query: String::new(),
            topic: topic.to_string(),
            access: access.clone(),
        });
        let clients = (0..stage.clients)
            .map(|which| {
                // A habit is assigned to whole sets of tenants, so that each tenant has clients of all habits.
                let habit = stage.habits[(which / TENANTS) as usize % stage.habits.len()];
                let set = which / TENANTS;
                let by_key = by_key(&stage, set).filter(|_| habit != Habit::Pages);
                tokio::spawn(client(which, seed, habit, by_key, shared.clone()))
            })
            .collect();
        let mut scene = Scene {
            kafka,
            topic: topic.into(),
            bridges,
            writer,
            ledger,
            facts: Vec::new(),
            mark: None,
            random: StdRng::seed_from_u64(seed),
            stage,
            breath,
            ports,
            access,
            registry,
            phase,
            clients,
            deliveries,
            problems,
            notes: Vec::new(),
        };
        scene.breathe().await;
        scene
    }

    /// The name of another topic of this trial, which matches the pattern.
    pub fn another_topic(&self, name: &str) -> String {
        format!("{}-{name}", self.topic)
    }

    /// Lets the load run undisturbed for a while.
    pub async fn breathe(&mut self) {
        tokio::time::sleep(self.breath.mul_f64(self.random.random_range(0.8..1.2))).await;
    }

    pub async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Writes this many bytes of a tenant that no client reads, over all partitions of the topic.
    pub fn write_ballast(&self, bytes: usize) {
        const VALUE: usize = 10_000;
        let (producer, value) = (self.kafka.producer(), vec![b'b'; VALUE]);
        for number in 0..bytes.div_ceil(VALUE) {
            producer.send(&self.topic, (number % self.stage.partitions as usize) as i32, "ballast", &value);
        }
        producer.flush();
    }

    /// Disconnects all clients, and keeps them disconnected.
    pub async fn away(&self) {
        self.phase.send_replace(Phase::Away);
        // A client checks its phase ten times a second.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }

    /// Has all clients reconnect.
    pub fn back(&self) {
        self.phase.send_replace(Phase::Run);
    }

    /// Measures recovery from now on. `is_of_new`: until the first record that Kafka accepted after this.
    pub fn mark(&mut self, is_of_new: bool) {
        self.mark = Some(Mark { at: Instant::now(), is_of_new });
    }

    pub fn delivered(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }

    pub fn problem(&self, text: impl Into<String>) {
        self.problems.lock().push(text.into());
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds a fact about one partition of the topic that must be announced to clients.
    pub fn fact(&mut self, code: &'static str, partition: u32, generation: u32, edge: Edge) {
        let topic = self.topic.clone();
        self.facts.push(Fact { code, topic, partition, generation, edge });
    }

    /// The offset after the last acknowledged record of a partition, in its current generation.
    pub fn end_of(&self, partition: u32) -> u64 {
        let mut end = 0;
        let generation = self.generation();
        self.ledger.change(|_, entry| {
            if entry.topic == self.topic && entry.partition == partition && entry.generation == generation {
                end = end.max(entry.offset.map_or(0, |offset| offset + 1));
            }
        });
        end
    }

    /// Deletes all records of the topic that are acknowledged by now, as retention would. Writing continues after that.
    pub async fn empty(&mut self) {
        let topic = self.topic.clone();
        tokio::task::block_in_place(|| self.writer.pause(&topic));
        for partition in 0..self.stage.partitions {
            let end = self.end_of(partition);
            self.kafka.delete_records(&topic, partition as i32, end as i64).await;
            self.fact("retention", partition, self.generation(), Edge::At(end));
        }
        self.writer.resume(&topic);
    }

    /// How often the topic was replaced.
    pub fn generation(&self) -> u32 {
        self.generation_of(&self.topic)
    }

    fn generation_of(&self, topic: &Arc<str>) -> u32 {
        let of_topic = |fact: &&Fact| {
            fact.topic == *topic && matches!(fact.code, "recreated" | "replaced" | "truncated")
        };
        self.facts.iter().filter(of_topic).map(|fact| fact.generation + 1).max().unwrap_or(0)
    }

    /// Compares the ledger with the log after it was cut: records that are missing are marked as cut, and the gaps are added
    /// that clients must get. Nothing is written to the topic meanwhile. Returns the number of records that were cut.
    pub async fn note_cut(&mut self) -> usize {
        let (topic, generation) = (self.topic.clone(), self.generation());
        let there = tokio::task::block_in_place(|| read_all(&self.kafka, &topic));
        let ends = tokio::task::block_in_place(|| self.kafka.ends(&topic, self.stage.partitions));
        let there: HashSet<(u32, u64, Vec<u8>)> = there
            .into_iter()
            .zip(0..)
            .flat_map(|(reads, partition)| {
                reads
                    .into_iter()
                    .map(move |read| (partition, read.offset as u64, read.value.unwrap_or_default()))
            })
            .collect();
        let mut cut = vec![0; ends.len()];
        self.ledger.change(|number, entry| {
            let (true, Some(offset)) = (entry.topic == topic && entry.fate == Fate::Written, entry.offset)
            else {
                return;
            };
            let value = value(number, entry.partition, entry.tenant).into_bytes();
            if !there.contains(&(entry.partition, offset, value)) {
                entry.fate = Fate::Cut;
                cut[entry.partition as usize] += 1;
            }
        });
        for (partition, _) in cut.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.fact("truncated", partition as u32, generation, Edge::At(ends[partition]));
        }
        cut.iter().sum()
    }

    /// Deletes the topic and creates it again after a while; nothing is written to it meanwhile.
    pub async fn recreate(&mut self, after: Duration) {
        self.delete().await;
        tokio::time::sleep(after).await;
        let code = if after.is_zero() { "recreated" } else { "replaced" };
        self.create_again(self.stage.partitions, code).await;
    }

    /// Deletes the topic; nothing is written to it until it is created again.
    pub async fn delete(&mut self) {
        let topic = self.topic.clone();
        tokio::task::block_in_place(|| self.writer.pause(&topic));
        self.kafka.delete_topic(&topic).await;
    }

    /// Creates the topic again; `code` is the gap that clients must get.
    pub async fn create_again(&mut self, partitions: u32, code: &'static str) {
        let (topic, known) = (self.topic.clone(), self.stage.partitions);
        self.kafka.create_topic(&topic, partitions as i32, &self.stage.topic_config).await;
        self.begin_again(&topic, known, partitions, code);
    }

    /// Stops all brokers, deletes all of their data, and creates the same topics again.
    pub async fn wipe(&mut self, as_another: bool) {
        let own = (self.topic.clone(), self.stage.partitions);
        let topics = [own, (calm_of(&self.topic).into(), CALM_PARTITIONS)];
        for (topic, _) in &topics {
            tokio::task::block_in_place(|| self.writer.pause(topic));
        }
        self.kafka.wipe(as_another).await;
        for (topic, partitions) in topics {
            self.kafka.create_topic(&topic, partitions as i32, &[]).await;
            self.begin_again(&topic, partitions, partitions, "replaced");
        }
    }

    /// Adds the facts about a replaced topic, and writes to the new one.
    fn begin_again(&mut self, topic: &Arc<str>, known: u32, partitions: u32, code: &'static str) {
        let generation = self.generation_of(topic);
        for partition in 0..known {
            let (topic, edge) = (topic.clone(), Edge::At(0));
            self.facts.push(Fact { code, topic, partition, generation, edge });
        }
        tokio::task::block_in_place(|| self.writer.renew());
        self.writer.change(topic, |target| {
            (target.generation, target.partitions) = (generation + 1, partitions);
            target.is_active = true;
        });
    }

    /// The longest interval without a delivery to any client, within `time` from now on. Only the moments in which Kafka
    /// acknowledged records count: while it takes none, there may be nothing to deliver.
    pub async fn longest_silence(&self, time: Duration) -> Duration {
        let (began, mut silence, mut longest) = (Instant::now(), Duration::ZERO, Duration::ZERO);
        let (mut delivered, mut answered) = (self.delivered(), self.writer.answered());
        while began.elapsed() < time {
            let glance = Instant::now();
            tokio::time::sleep(GLANCE).await;
            if self.delivered() > delivered {
                silence = Duration::ZERO;
            } else if self.writer.answered() != answered {
                silence += glance.elapsed();
            }
            longest = longest.max(silence);
            (delivered, answered) = (self.delivered(), self.writer.answered());
        }
        longest
    }

    /// Stops writing, waits for the clients, and judges each of them.
    pub async fn finish(self) -> Outcome {
        let Scene {
            kafka, topic, bridges, writer, ledger, facts, mark, phase, clients, problems, notes, ..
        } = self;
        tokio::task::block_in_place(|| writer.stop());
        let topics =
            if kafka.brokers().len() > 1 { vec![topic.clone(), calm_of(&topic).into()] } else { vec![] };
        let found = || topics.iter().flat_map(|topic| found(&kafka, topic)).collect::<Vec<_>>();
        let found = tokio::task::block_in_place(found);
        let (truth, facts) = (Arc::new(ledger.close(&found)), Arc::new(facts));
        phase.send_replace(Phase::Finish(truth.clone(), facts.clone(), Instant::now()));
        let returned = mark.filter(|mark| mark.is_of_new).and_then(|mark| first_taken(&topic, &truth, mark));
        let mark = mark.map(|mark| Mark { at: mark.at + returned.unwrap_or_default(), ..mark });
        let (mut verdict, mut recovery) = (Verdict::default(), Vec::new());
        let (mut connections, mut ended, mut cut_early) = (0, 0, 0);
        for client in clients {
            let got = match client.await {
                Ok(got) => got,
                Err(error) => {
                    verdict.add(Verdict::unreadable(&error));
                    continue;
                }
            };
            connections += got.connections;
            ended += got.ended;
            cut_early += got.cut_early;
            recovery.extend(mark.and_then(|mark| recovered(&got, &topic, &truth, mark)));
            verdict.add(got.verdict(&topic, &truth, &facts));
        }
        recovery.sort_unstable();
        let mut problems = problems.lock().clone();
        let (mut most_resident, mut logs) = (0, Vec::new());
        for mut bridge in bridges {
            bridge.kill();
            most_resident = most_resident.max(bridge.most_resident());
            let log = bridge.log();
            problems.extend(log.lines().find(|line| line.contains("panicked")).map(str::to_owned));
            logs.push(log);
        }
        Outcome {
            verdict,
            connections,
            ended,
            cut_early,
            recovery,
            returned,
            most_resident,
            problems,
            notes,
            logs,
            kafka,
        }
    }
}

/// The name of the topic that is written to all the time and that no fault affects: faults of one topic must not affect
/// another.
fn calm_of(topic: &str) -> String {
    format!("{topic}-calm")
}

/// All records of a topic, with the numbers in their values.
fn found(kafka: &Kafka, topic: &Arc<str>) -> Vec<Found> {
    let number = |value: &[u8]| serde_json::from_slice::<serde_json::Value>(value).ok()?["n"].as_u64();
    let of_partition = |(partition, reads): (u32, Vec<Read>)| {
        reads.into_iter().filter_map(move |read| {
            let number = number(&read.value?)?;
            Some(Found { topic: topic.clone(), partition, offset: read.offset as u64, number })
        })
    };
    (0..).zip(read_all(kafka, topic)).flat_map(of_partition).collect()
}

/// The certificates and keys of a trial.
fn access(stage: &Stage, problems: &Arc<Mutex<Vec<String>>>) -> Access {
    let pki = stage.is_tls.then(|| Pki::new().expect("certificates can be issued"));
    let issuer = stage.tokens.clone().map(|lives| Issuer::new(lives).expect("keys can be generated"));
    Access::new(pki, issuer, problems.clone())
}

/// How the clients of a set keep state by key, if they do: two of three sets, one of them conflating, with whatever habit.
fn by_key(stage: &Stage, set: u32) -> Option<ByKey> {
    let turn = (set + set / stage.habits.len() as u32) % 3;
    (stage.by_key && turn < 2).then_some(ByKey { keys: stage.keys, conflate: turn == 1 })
}

fn bridge(kafka: &Kafka, topics: &str, instance: &str, stage: &Stage, access: &Access) -> Bridge {
    let cache = format!("{}MiB", stage.cache_mib);
    let settings = access.settings();
    let mut env = vec![("TAILRACE_CACHE_SIZE", cache.as_str())];
    env.extend(settings.iter().map(|(name, value)| (*name, value.as_str())));
    env.extend(stage.env.iter().map(|(name, value)| (*name, value.as_str())));
    if stage.is_secured {
        env.extend(CREDENTIALS);
    }
    let bootstrap =
        if stage.is_proxied || stage.is_secured { kafka.proxied_bootstrap() } else { kafka.bootstrap() };
    Bridge::new(&bootstrap, topics, instance, &env)
}

/// The time from the mark to the first record that Kafka accepted after it: a broker that answers may not accept records yet,
/// and the producer waits a moment before it retries.
fn first_taken(topic: &Arc<str>, truth: &Truth, mark: Mark) -> Option<Duration> {
    let of_topic = truth.entries.iter().filter(|entry| entry.topic == *topic);
    let taken = of_topic.filter_map(|entry| entry.at).filter(|at| *at >= mark.at);
    taken.min().map(|at| at - mark.at)
}

/// The time from the mark to the client's first record of the topic that counts: a new record, or the first one of a connection
/// that began after the mark. Records that were under way before do not count.
fn recovered(got: &Got, topic: &Arc<str>, truth: &Truth, mark: Mark) -> Option<Duration> {
    let of_topic = |number: u64| truth.entries.get(number as usize).filter(|entry| entry.topic == *topic);
    let is_new = |number: u64| of_topic(number).and_then(|entry| entry.at).is_some_and(|at| at >= mark.at);
    let mut began = None;
    got.seen.iter().find_map(|seen| match seen {
        Seen::Began(at) => {
            began = Some(*at);
            None
        }
        Seen::Record { number, at, .. } if *at >= mark.at => {
            let counts = match mark.is_of_new {
                true => is_new(*number),
                false => of_topic(*number).is_some() && began.is_some_and(|began| began >= mark.at),
            };
            counts.then(|| *at - mark.at)
        }
        _ => None,
    })
}
