//! Partitions of the tail that wait for a schema, and what comes of them meanwhile.
//!
//! For a moment it is kept, since most schemas are there within milliseconds. What does not fit, or waits for longer, is let go: the
//! partition is not read any more until its schema is there, and then from its head. No other partition waits for it, and memory is
//! bounded whatever the registry does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tailrace_bridge::Partition;

use crate::decode::{Awaited, Decoder};
use crate::findings::{Findings, HeldPartition};
use crate::native::Message;
use crate::{metrics, span};

/// For how long messages are kept, and how many bytes of all partitions. A message counts a little more than what is in it.
const KEEP: Duration = Duration::from_millis(500);
const MAX_KEPT: usize = 4 << 20;
const MESSAGE_OVERHEAD: usize = 256;
/// How often to look again where there was no answer: what counts can change with time alone.
const LOOK: Duration = Duration::from_millis(250);
/// What is held back for as long is told; a moment is no news.
const NEWS: Duration = Duration::from_secs(1);
/// How often it is told, and how often logged for one topic.
const TELL_EVERY: Duration = Duration::from_secs(1);
const SAY_EVERY: Duration = Duration::from_secs(60);

/// The partitions that wait. For the thread of the tail, and for one client: messages are in its memory.
pub(crate) struct Holding {
    held: HashMap<usize, Held>,
    /// Bytes of messages that are kept.
    kept: usize,
    /// How many answers the registry had given when the schemas were last looked for, and when that was.
    looked: (u64, Instant),
    told: Instant,
    /// Topics of which something was told, and when their lines were last logged.
    topics: HashSet<Arc<str>>,
    said: HashMap<Arc<str>, Instant>,
}

/// A partition that waits.
pub(crate) struct Held {
    pub(crate) partition: Arc<Partition>,
    /// What came of it, in order; `None`: it was let go.
    pub(crate) kept: Option<Vec<Message>>,
    awaited: Awaited,
    since: Instant,
    is_told: bool,
}

fn key(partition: &Arc<Partition>) -> usize {
    // It is not given to another one while this one is held.
    Arc::as_ptr(partition) as usize
}

impl Holding {
    pub(crate) fn new() -> Holding {
        let now = Instant::now();
        Holding {
            held: HashMap::new(),
            kept: 0,
            looked: (0, now),
            told: now,
            topics: HashSet::new(),
            said: HashMap::new(),
        }
    }

    pub(crate) fn has(&self, partition: &Arc<Partition>) -> bool {
        !self.held.is_empty() && self.held.contains_key(&key(partition))
    }

    /// Whether messages are kept, for which it is worth looking soon.
    pub(crate) fn keeps(&self) -> bool {
        self.kept > 0
    }

    /// The partition waits from now on.
    pub(crate) fn hold(&mut self, partition: &Arc<Partition>, awaited: Awaited) {
        let (partition, kept, since) = (partition.clone(), Some(Vec::new()), Instant::now());
        self.held.insert(key(&partition), Held { partition, kept, awaited, since, is_told: false });
    }

    /// Keeps a message of a partition that waits. False: there is no room, and the partition is to be let go.
    pub(crate) fn keep(&mut self, partition: &Arc<Partition>, message: Message) -> bool {
        let Some(Held { kept: Some(messages), .. }) = self.held.get_mut(&key(partition)) else { return true };
        let size = size(&message);
        if self.kept + size > MAX_KEPT {
            let freed: usize = messages.iter().map(self::size).sum();
            self.kept -= freed;
            self.let_go(partition);
            return false;
        }
        self.kept += size;
        messages.push(message);
        true
    }

    fn let_go(&mut self, partition: &Arc<Partition>) {
        if let Some(held) = self.held.get_mut(&key(partition)) {
            held.kept = None;
        }
    }

    /// The partition is read from its head, whatever it waited for.
    pub(crate) fn forget(&mut self, partition: &Arc<Partition>) {
        if let Some(held) = self.held.remove(&key(partition)) {
            self.free(&held);
        }
    }

    /// Keeps those partitions alone that are still read.
    pub(crate) fn retain(&mut self, is_read: impl Fn(&Arc<Partition>) -> bool) {
        let gone: Vec<usize> =
            self.held.iter().filter(|(_, held)| !is_read(&held.partition)).map(|(key, _)| *key).collect();
        for held in gone.iter().filter_map(|key| self.held.remove(key)).collect::<Vec<_>>() {
            self.free(&held);
        }
    }

    fn free(&mut self, held: &Held) {
        self.kept -= held.kept.iter().flatten().map(size).sum::<usize>();
    }

    /// Takes out the partitions that wait no longer.
    pub(crate) fn ready(&mut self, decoder: &Decoder) -> Vec<Held> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let answers = decoder.registry().map_or(0, |registry| registry.answers());
        if self.looked.0 == answers && self.looked.1.elapsed() < LOOK {
            return Vec::new();
        }
        self.looked = (answers, Instant::now());
        let is_ready = |held: &Held| !decoder.is_awaited(held.awaited);
        let ready: Vec<usize> =
            self.held.iter().filter(|(_, held)| is_ready(held)).map(|(key, _)| *key).collect();
        let ready: Vec<Held> = ready.iter().filter_map(|key| self.held.remove(key)).collect();
        for held in &ready {
            self.free(held);
            if held.is_told {
                let span = span::of_partition(held.partition.topic_name(), held.partition.index());
                span.in_scope(|| tracing::info!("the partition is read on"));
            }
        }
        ready
    }

    /// Lets those go that were kept for long enough.
    pub(crate) fn overdue(&mut self) -> Vec<Arc<Partition>> {
        if self.kept == 0 {
            return Vec::new();
        }
        let is_overdue = |held: &&mut Held| held.kept.is_some() && held.since.elapsed() >= KEEP;
        let overdue = self.held.values_mut().filter(is_overdue);
        let overdue: Vec<(Arc<Partition>, Vec<Message>)> =
            overdue.map(|held| (held.partition.clone(), held.kept.take().unwrap_or_default())).collect();
        self.kept -= overdue.iter().flat_map(|(_, kept)| kept).map(size).sum::<usize>();
        overdue.into_iter().map(|(partition, _)| partition).collect()
    }

    /// Tells what waits, once a second.
    pub(crate) fn tell(&mut self, findings: &Findings, decoder: &Decoder) {
        if (self.held.is_empty() && self.topics.is_empty()) || self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let mut counts: BTreeMap<Arc<str>, usize> = self.topics.drain().map(|topic| (topic, 0)).collect();
        let mut all = Vec::new();
        for held in self.held.values_mut().filter(|held| held.since.elapsed() >= NEWS) {
            let (topic, why) = (held.partition.topic_name().clone(), decoder.why(held.awaited));
            let one = HeldPartition {
                topic: topic.clone(),
                partition: held.partition.index(),
                offset: held.partition.head().offset,
                since: held.since,
                why,
            };
            if !held.is_told {
                held.is_told = true;
                say(&mut self.said, &one);
            }
            *counts.entry(topic.clone()).or_default() += 1;
            self.topics.insert(topic);
            all.push(one);
        }
        counts.iter().for_each(|(topic, count)| metrics::held_back(topic, *count));
        findings.set_held(all);
    }
}

fn say(said: &mut HashMap<Arc<str>, Instant>, held: &HeldPartition) {
    if said.get(&held.topic).is_some_and(|at| at.elapsed() < SAY_EVERY) {
        return;
    }
    said.insert(held.topic.clone(), Instant::now());
    let span = span::of_partition(&held.topic, held.partition);
    span.in_scope(|| tracing::warn!(offset = held.offset, "the partition is held back: {}", held.why));
}

fn size(message: &Message) -> usize {
    MESSAGE_OVERHEAD + message.key().map_or(0, <[u8]>::len) + message.value().map_or(0, <[u8]>::len)
}
