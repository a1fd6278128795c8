//! The watch of topics, once a second: what is there and may be read, what was added, created again or deleted. What it knows
//! is what the tail reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tailrace_bridge::{Bridge, Sabotage, Start, TopicId, broken};
use tokio::sync::oneshot;

use crate::admin::Admin;
use crate::error::{self, KafkaError};
use crate::findings::{Findings, TopicStates};
use crate::history::Readers;
use crate::metrics;
use crate::native::{self, Client, Code, Described, Found};
use crate::requests::{Ask, Command};
use crate::settings::KafkaSettings;
use crate::shared::Shared;
use crate::snapshots::SnapshotWatch;
use crate::starts::Starts;
use crate::stopped::Stopped;

/// librdkafka does not notice that a topic was created again under it, so topics are asked for this often.
const POLL: Duration = Duration::from_secs(1);
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// A topic counts as deleted once it was missing so often in a row: a broker that just started may not know it yet.
const MISSES: u32 = 3;
/// Where the cluster could not say where the reading of a partition goes on, it is asked again after this time.
const LOST_RETRY: Duration = Duration::from_millis(500);
/// A topic that may be read from now on is read from so far back, as for an event id that does not have it yet.
const ALLOWED_SINCE: Duration = Duration::from_secs(120);
/// Earlier ids of a topic that are remembered, so that a broker that lags behind does not bring one back.
const MAX_RETIRED: usize = 16;

/// Topics that one look finds are logged one by one up to so many.
const MAX_SAID: usize = 20;

/// Why a topic is not served, in words for its operator.
pub(crate) const MAY_NOT_READ: &str =
    "these credentials may describe it, not read it (Read on the topic is lacking)";
pub(crate) const MAY_NOT_DESCRIBE: &str =
    "these credentials may not describe it (Describe and Read on the topic are lacking)";

/// What is known of a topic that the bridge serves.
#[derive(Debug)]
struct Known {
    id: TopicId,
    partitions: usize,
    misses: u32,
    retired: Vec<TopicId>,
    /// Whether the credentials allowed to read it when it was last looked at.
    is_readable: bool,
}

/// The thread that watches the topics.
pub(crate) struct TopicWatch {
    settings: Arc<KafkaSettings>,
    bridge: Bridge,
    admin: Arc<Admin>,
    findings: Arc<Findings>,
    readers: Arc<Readers>,
    tail: Sender<Command>,
    known: BTreeMap<String, Known>,
    /// Names of topics that were served and are gone: librdkafka may remember leaders of theirs.
    gone: BTreeSet<String>,
    /// Names of topics that may not be read, and were not so far.
    refused: BTreeSet<String>,
    starts: Starts,
    snapshots: SnapshotWatch,
    /// The topics that were there when Kafka first answered: these are warmed, later ones are read from the start.
    at_start: Option<BTreeSet<String>>,
    stopped: Stopped,
    /// Topics that this look found, with their ids and their numbers of partitions.
    found: Vec<(String, TopicId, usize)>,
}

impl TopicWatch {
    /// `tail`: where reading goes on is told to it.
    pub(crate) fn new(shared: &Shared, tail: Sender<Command>) -> TopicWatch {
        TopicWatch {
            settings: shared.settings.clone(),
            bridge: shared.bridge.clone(),
            admin: shared.admin.clone(),
            findings: shared.findings.clone(),
            readers: shared.readers.clone(),
            stopped: Stopped::new(shared, tail.clone()),
            tail,
            known: BTreeMap::new(),
            gone: BTreeSet::new(),
            refused: BTreeSet::new(),
            starts: Starts::new(shared.admin.clone(), shared.readers.clone()),
            snapshots: SnapshotWatch::new(shared.settings.snapshot_topics.clone()),
            at_start: None,
            found: Vec::new(),
        }
    }

    /// Polls until [`Ask::Stop`].
    pub(crate) fn run(mut self, asks: &Receiver<Ask>) {
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        loop {
            let started = Instant::now();
            self.poll();
            for answer in waiting.drain(..) {
                // Whoever waited may have gone since.
                let _ = answer.send(());
            }
            let pause = if self.stopped.is_empty() { POLL } else { LOST_RETRY };
            match asks.recv_timeout(pause.saturating_sub(started.elapsed())) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) | Ok(Ask::Stop) => return,
                Ok(ask) => self.note(ask, &mut waiting),
            }
            while let Ok(ask) = asks.try_recv() {
                match ask {
                    Ask::Stop => return,
                    ask => self.note(ask, &mut waiting),
                }
            }
        }
    }

    fn note(&mut self, ask: Ask, waiting: &mut Vec<oneshot::Sender<()>>) {
        match ask {
            Ask::Refresh(answer) => waiting.push(answer),
            Ask::Lost(partition, error) => self.stopped.add(partition, error),
            Ask::Stop => {}
        }
    }

    fn poll(&mut self) {
        let (client, asked) = (self.admin.client(), Instant::now());
        client.serve();
        match self.describe(&client) {
            Ok(described) => {
                let states = self.take(described);
                if states.pending.is_empty() {
                    self.bridge.topics_refreshed();
                }
                client.clear_error();
                if self.admin.answered() {
                    // What kept this client from getting answers may have cost the tail's client its brokers.
                    self.command(Command::Probe);
                }
                self.findings.answered(states);
                let names = self.known.keys().map(String::as_str);
                self.snapshots.look(&client, &self.bridge, names, Instant::now());
                // After a look that would have found out about a topic that was created again.
                let known = &self.known;
                self.stopped.resume(|partition| {
                    let known = known.get(&**partition.topic_name());
                    known.is_some_and(|known| known.id == partition.topic_id())
                });
            }
            Err(error) => {
                let text = client.last_error().unwrap_or_else(|| error.to_string());
                self.findings.failed(text);
                self.admin.failed(asked, Instant::now());
            }
        }
    }

    fn describe(&self, client: &Client) -> Result<Vec<Described>, KafkaError> {
        let selection = &self.settings.topics;
        let mut names: BTreeSet<String> = selection.names().iter().cloned().collect();
        if selection.has_patterns() {
            let all = client.topic_names(ASK_TIMEOUT)?;
            names.extend(all.into_iter().filter(|name| selection.selects(name)));
            // A topic that a pattern found, and that is not listed any more, must be missed by name.
            names.extend(self.known.keys().cloned());
        }
        let names: Vec<String> = names.into_iter().collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        client.describe_topics(&names, ASK_TIMEOUT)
    }

    /// Compares what is there with what is known, and tells the bridge and the tail.
    fn take(&mut self, described: Vec<Described>) -> TopicStates {
        if self.at_start.is_none() {
            self.note_start(&described);
        }
        let names = described.iter().map(|topic| topic.name.as_str());
        let is_leaderless = |topic: &&Described| topic.state.is_ok_and(|found| !found.has_leaders);
        let mut states = TopicStates {
            unmatched: self.settings.topics.unmatched(names),
            leaderless: described.iter().filter(is_leaderless).map(|topic| topic.name.clone()).collect(),
            ..TopicStates::default()
        };
        let mut starts = self.starts_of_new(&described);
        let mut most = Change::None;
        for topic in described {
            let starts = starts.remove(&topic.name);
            most = most.max(self.take_topic(topic, starts, &mut states));
        }
        self.tell_tail(most);
        self.bridge.set_unserved(states.unserved());
        self.say_found();
        states
    }

    /// `starts`: where its reading begins, of a topic that is not served so far.
    fn take_topic(
        &mut self,
        Described { name, state }: Described,
        starts: Option<Vec<Start>>,
        states: &mut TopicStates,
    ) -> Change {
        match state {
            Ok(found) if !found.is_readable && !self.known.contains_key(&name) => {
                self.forget_start(&name);
                self.refused.insert(name.clone());
                states.forbidden.push((name, MAY_NOT_READ));
                Change::None
            }
            Ok(found) => {
                let change = self.take_found(&name, found, starts).unwrap_or_else(|error| {
                    tracing::debug!(topic = name, %error, "offsets are not known yet");
                    states.pending.push(name.clone());
                    Change::None
                });
                if self.known.get(&name).is_some_and(|known| !known.is_readable) {
                    states.forbidden.push((name, MAY_NOT_READ));
                }
                change
            }
            Err(code) if error::is_denied(code) => {
                self.note_readable(&name, false);
                states.forbidden.push((name, MAY_NOT_DESCRIBE));
                Change::None
            }
            Err(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => {
                let change = self.miss(&name);
                if self.settings.topics.names().contains(&name) {
                    states.missing.push(name);
                }
                change
            }
            // Such as a leader that is being elected: nothing new is known.
            Err(_) if self.known.contains_key(&name) => Change::None,
            Err(_) => {
                states.pending.push(name);
                Change::None
            }
        }
    }

    fn tell_tail(&self, change: Change) {
        match change {
            Change::None => {}
            Change::Partitions => self.command(Command::Follow),
            Change::Replaced if broken(Sabotage::KeepClient) => self.command(Command::Follow),
            Change::Replaced => {
                metrics::reader_restarted("recreated");
                self.command(Command::Renew);
            }
        }
    }

    /// A pattern may match thousands.
    fn say_found(&mut self) {
        let found = std::mem::take(&mut self.found);
        if found.len() > MAX_SAID {
            let partitions: usize = found.iter().map(|(_, _, partitions)| partitions).sum();
            let selected_by = self.settings.topics.to_string();
            tracing::info!(topics = found.len(), partitions, selected_by, "topics found");
            return;
        }
        for (topic, id, partitions) in found {
            tracing::info!(topic, %id, partitions, "topic found");
        }
    }

    /// What was there when Kafka first answered is warmed, as far as memory reaches.
    fn note_start(&mut self, described: &[Described]) {
        let there = described.iter().filter(|topic| topic.state.is_ok());
        self.at_start = Some(there.map(|topic| topic.name.clone()).collect());
        let partitions: usize = described.iter().filter_map(|topic| Some(topic.state.ok()?.partitions)).sum();
        self.starts.share(self.settings.memory, partitions);
    }

    /// A topic that is there. `starts`: where its reading begins, of one that is not served so far.
    fn take_found(
        &mut self,
        name: &str,
        found: Found,
        starts: Option<Vec<Start>>,
    ) -> Result<Change, KafkaError> {
        let Found { id, partitions, is_readable, .. } = found;
        self.note_readable(name, is_readable);
        let Some(known) = self.known.get(name) else {
            let unknown = native::list_error(Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
            return Ok(self.add(name, found, &starts.ok_or(unknown)?));
        };
        let count = known.partitions;
        let another = id != known.id && !id.is_zero() && !known.id.is_zero();
        if another && !known.retired.contains(&id) {
            return self.replace(name, id, partitions);
        }
        let grown = !another && partitions > count;
        if grown {
            let starts = self.starts.first(name, count..partitions)?;
            tracing::info!(topic = name, from = count, to = partitions, "partitions added");
            self.bridge.grow_topic(name, &starts);
        }
        if let Some(known) = self.known.get_mut(name) {
            known.misses = 0;
            known.partitions = if grown { partitions } else { count };
        }
        Ok(if grown { Change::Partitions } else { Change::None })
    }

    fn add(&mut self, name: &str, found: Found, starts: &[Start]) -> Change {
        let Found { id, partitions, is_readable, .. } = found;
        tracing::debug!(topic = name, %id, partitions, "topic found");
        self.found.push((name.to_owned(), id, partitions));
        metrics::topic_found(name);
        self.bridge.add_topic(name, id, starts);
        let known = Known { id, partitions, misses: 0, retired: Vec::new(), is_readable };
        self.known.insert(name.to_owned(), known);
        self.refused.remove(name);
        if self.gone.remove(name) { Change::Replaced } else { Change::Partitions }
    }

    /// Another topic has the name of one that is known.
    fn replace(&mut self, name: &str, id: TopicId, partitions: usize) -> Result<Change, KafkaError> {
        let starts = self.starts.first(name, 0..partitions)?;
        let Some(known) = self.known.get_mut(name) else { return Ok(Change::None) };
        tracing::warn!(topic = name, old = %known.id, new = %id, "topic was created again");
        known.retire(id, partitions);
        // Before, for what was held so far, and after, for what came in between.
        self.readers.forget();
        self.bridge.recreate_topic(name, id, &starts);
        self.readers.forget();
        self.forget_start(name);
        Ok(Change::Replaced)
    }

    /// Where the reading of topics begins that are not served so far, as far as Kafka knows. All are asked about together:
    /// of hundreds, each by itself would take seconds.
    fn starts_of_new(&self, described: &[Described]) -> HashMap<String, Vec<Start>> {
        let (mut warm, mut allowed, mut first) = (Vec::new(), Vec::new(), Vec::new());
        for Described { name, state } in described {
            let Ok(Found { partitions, is_readable: true, has_leaders: true, .. }) = state else { continue };
            if self.known.contains_key(name) {
                continue;
            }
            if self.at_start.as_ref().is_some_and(|names| names.contains(name)) {
                warm.push((name.as_str(), *partitions));
            } else if self.refused.contains(name) {
                allowed.push((name.as_str(), *partitions));
            } else {
                first.push((name.as_str(), *partitions));
            }
        }
        let found = [
            self.starts.back_from_ends(&warm, self.settings.warmup),
            self.starts.back_from_ends(&allowed, ALLOWED_SINCE),
            self.starts.first_of(&first),
        ];
        let mut starts = HashMap::new();
        for found in found {
            match found {
                Ok(found) => starts.extend(found),
                Err(error) => tracing::debug!(%error, "offsets are not known yet"),
            }
        }
        starts
    }

    /// A permission that was taken away or given back. Meanwhile the topic stays where it was read to.
    fn note_readable(&mut self, name: &str, is_readable: bool) {
        let Some(known) = self.known.get_mut(name) else {
            if !is_readable {
                self.refused.insert(name.to_owned());
            }
            return;
        };
        if known.is_readable == is_readable {
            return;
        }
        known.is_readable = is_readable;
        if is_readable {
            tracing::info!(topic = name, "the topic may be read again");
            let partitions = self.bridge.topic(name).map(|topic| topic.partitions()).unwrap_or_default();
            partitions.into_iter().for_each(|partition| self.command(Command::Resume(partition)));
        } else {
            tracing::warn!(topic = name, "the topic may not be read any more");
        }
    }

    /// A topic that is known and was not there. It counts as deleted after a few times.
    fn miss(&mut self, name: &str) -> Change {
        self.refused.remove(name);
        let Some(known) = self.known.get_mut(name) else { return Change::None };
        known.misses += 1;
        if known.misses < MISSES {
            return Change::None;
        }
        tracing::warn!(topic = name, "topic was deleted");
        self.known.remove(name);
        self.gone.insert(name.to_owned());
        self.forget_start(name);
        self.bridge.remove_topic(name);
        self.readers.forget();
        Change::Partitions
    }

    fn forget_start(&mut self, name: &str) {
        if let Some(names) = &mut self.at_start {
            names.remove(name);
        }
    }

    fn command(&self, command: Command) {
        // The tail is gone only when everything stops.
        let _ = self.tail.send(command);
    }
}

/// What the tail has to do about it, the most last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    None,
    /// There are others than before.
    Partitions,
    /// One of the same name is another one. librdkafka keeps the leader epochs of the old one, and takes the new one's lower
    /// ones for outdated news (`rd_kafka_toppar_leader_update`): it would read nothing, without a word.
    Replaced,
}

impl Known {
    fn retire(&mut self, id: TopicId, partitions: usize) {
        if self.retired.len() == MAX_RETIRED {
            self.retired.remove(0);
        }
        self.retired.push(std::mem::replace(&mut self.id, id));
        self.partitions = partitions;
        self.misses = 0;
    }
}
