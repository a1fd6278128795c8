//! What the threads of this package have found out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tailrace_bridge::Unserved;

/// What the threads of this package have found out.
#[derive(Default)]
pub(crate) struct Findings(Mutex<Found>);

/// What was found out last.
#[derive(Clone, Default)]
pub(crate) struct Found {
    pub(crate) answered: Option<Instant>,
    pub(crate) error: Option<String>,
    /// Topics by state, as of the last answer.
    pub(crate) topics: TopicStates,
    /// Topics of which no record has a tenant.
    pub(crate) unroutable: BTreeSet<String>,
    /// What is wrong with the group that shows this replica.
    pub(crate) group: Option<String>,
    /// Why this replica cannot read though Kafka answers and another one reads.
    pub(crate) blocked: Option<String>,
    /// The greatest lag of any partition, in seconds, and whose it is.
    pub(crate) lag: Option<(f64, String)>,
    /// Partitions that wait for a schema.
    pub(crate) held: Vec<HeldPartition>,
}

/// A partition of the tail that is held back.
#[derive(Clone, Debug)]
pub(crate) struct HeldPartition {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    /// The record that waits.
    pub(crate) offset: u64,
    pub(crate) since: Instant,
    /// What it waits for, in words.
    pub(crate) why: String,
}

/// Topics that are not served as they should be.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicStates {
    /// Configured, and not there.
    pub(crate) missing: Vec<String>,
    /// There, and not for these credentials, with the words for it.
    pub(crate) forbidden: Vec<(String, &'static str)>,
    /// There, and not known well enough to be served yet.
    pub(crate) pending: Vec<String>,
    /// Topics of which some partition has no leader.
    pub(crate) leaderless: BTreeSet<String>,
    /// Patterns that no topic matches.
    pub(crate) unmatched: Vec<String>,
}

impl TopicStates {
    /// What a client is to be told of them.
    pub(crate) fn unserved(&self) -> BTreeMap<String, Unserved> {
        let missing = self.missing.iter().map(|name| (name.clone(), Unserved::Missing));
        let forbidden = self.forbidden.iter().map(|(name, _)| (name.clone(), Unserved::Forbidden));
        missing.chain(forbidden).collect()
    }

    pub(crate) fn is_forbidden(&self, topic: &str) -> bool {
        self.forbidden.iter().any(|(name, _)| name == topic)
    }
}

impl Findings {
    pub(crate) fn now(&self) -> Found {
        self.0.lock().clone()
    }

    pub(crate) fn answered(&self, topics: TopicStates) {
        let mut found = self.0.lock();
        found.answered = Some(Instant::now());
        found.topics = topics;
    }

    pub(crate) fn failed(&self, error: String) {
        self.0.lock().error = Some(error);
    }

    /// True where this is news.
    pub(crate) fn set_group(&self, problem: Option<String>) -> bool {
        let mut found = self.0.lock();
        let is_news = found.group != problem;
        found.group = problem;
        is_news
    }

    pub(crate) fn set_blocked(&self, blocked: Option<String>) {
        self.0.lock().blocked = blocked;
    }

    pub(crate) fn set_unroutable(&self, topic: &str, is_unroutable: bool) {
        let unroutable = &mut self.0.lock().unroutable;
        if is_unroutable {
            unroutable.insert(topic.to_owned());
        } else {
            unroutable.remove(topic);
        }
    }

    pub(crate) fn set_lag(&self, lag: Option<(f64, String)>) {
        self.0.lock().lag = lag;
    }

    pub(crate) fn set_held(&self, held: Vec<HeldPartition>) {
        self.0.lock().held = held;
    }

    /// Whether the partition is held back: that nothing comes of it is no trouble of Kafka's.
    pub(crate) fn is_held(&self, topic: &str, partition: u32) -> bool {
        self.0.lock().held.iter().any(|held| held.partition == partition && *held.topic == *topic)
    }

    /// Whether some partition of the topic has no leader: of it, and of what is asked about together with it, no end is to be
    /// had.
    pub(crate) fn is_leaderless(&self, topic: &str) -> bool {
        self.0.lock().topics.leaderless.contains(topic)
    }

    /// Whether Kafka does not allow to read the topic.
    pub(crate) fn is_forbidden(&self, topic: &str) -> bool {
        self.0.lock().topics.is_forbidden(topic)
    }
}
