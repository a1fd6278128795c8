//! What this package says of itself: readiness, a state for each topic, the state that clients are told, and log lines where
//! something changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tailrace_bridge::{Bridge, Partition, Status, Unserved};

use crate::assign::Assignment;
use crate::metrics;
use crate::settings::KafkaSettings;

/// So long Kafka may be silent before it counts as unavailable. Topics are asked for every second.
const SILENCE: Duration = Duration::from_secs(3);
/// A tail that is behind for longer than this is lagging, in seconds.
const LAGGING: f64 = 10.0;
/// The same thing is logged at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// What is not known of a topic while Kafka answers, such as the end of a partition without a leader, holds up the first
/// readiness for so long.
const PENDING_PATIENCE: Duration = Duration::from_secs(10);
/// A partition that is not read to its end, and of which nothing comes, holds it up for so long.
const WARMING_PATIENCE: Duration = Duration::from_secs(30);
/// Topics named in one note.
const MAX_NAMED: usize = 10;

/// What the threads of this package have found out.
#[derive(Default)]
pub(crate) struct Findings(Mutex<Found>);

#[derive(Default)]
struct Found {
    answered: Option<Instant>,
    error: Option<String>,
    /// Topics by state, as of the last answer.
    topics: TopicStates,
    /// Topics of which no record has a tenant.
    unroutable: BTreeSet<String>,
    /// What is wrong with the group that shows this replica.
    group: Option<String>,
    /// Why this replica cannot read though Kafka answers and another one reads.
    blocked: Option<String>,
    /// The greatest lag of any partition, in seconds, and whose it is.
    lag: Option<(f64, String)>,
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

    fn is_forbidden(&self, topic: &str) -> bool {
        self.forbidden.iter().any(|(name, _)| name == topic)
    }
}

impl Findings {
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

/// Looks at everything once in a while and tells the bridge's health.
pub(crate) struct Reporter {
    bridge: Bridge,
    findings: Arc<Findings>,
    assignment: Arc<Assignment>,
    bootstrap: String,
    said_unavailable: Option<Instant>,
    connected_since: Option<Instant>,
    /// What was said of each topic.
    said: BTreeMap<String, (&'static str, String)>,
    said_unmatched: Vec<String>,
    /// Where partitions stand that are not read to their ends, and since when.
    warming: BTreeMap<(String, u32), (u64, Instant)>,
    was_blocked: bool,
}

impl Reporter {
    pub(crate) fn new(
        bridge: Bridge,
        findings: Arc<Findings>,
        assignment: Arc<Assignment>,
        settings: &KafkaSettings,
    ) -> Reporter {
        Reporter {
            bridge,
            findings,
            assignment,
            bootstrap: settings.bootstrap().to_owned(),
            said_unavailable: None,
            connected_since: None,
            said: BTreeMap::new(),
            said_unmatched: Vec::new(),
            warming: BTreeMap::new(),
            was_blocked: false,
        }
    }

    pub(crate) fn look(&mut self) {
        let now = {
            let found = self.findings.0.lock();
            Look {
                connected: found.answered.is_some_and(|at| at.elapsed() < SILENCE),
                has_answered: found.answered.is_some(),
                error: found.error.clone(),
                topics: found.topics.clone(),
                unroutable: found.unroutable.clone(),
                group: found.group.clone(),
                blocked: found.blocked.clone(),
                lag: found.lag.clone(),
            }
        };
        metrics::connected(now.connected);
        self.say_connection(now.connected, now.error.as_deref());
        if now.has_answered {
            self.say_topics(&now);
        }
        self.say_blocked(now.blocked.as_deref());
        let bridge = self.bridge.clone();
        let health = bridge.health();
        health.set_status(match (now.connected, now.is_lagging() || now.blocked.is_some()) {
            (false, _) => Status::KafkaUnavailable,
            (true, true) => Status::Lagging,
            (true, false) => Status::Ok,
        });
        health.set_blocked(now.blocked.clone());
        let mut reasons = now.reasons(&self.bootstrap, self.is_patient());
        if now.connected {
            reasons.extend(self.warming(&now.topics));
        }
        let mut notes = now.notes();
        if health.is_warm() {
            // What would keep a new replica from being ready is worth knowing of one that is.
            notes.extend(reasons);
        } else if reasons.is_empty() {
            tracing::info!("ready: the tail is warm");
            health.set_ready();
        } else {
            health.set_reasons(reasons);
        }
        health.set_notes(notes);
    }

    fn say_connection(&mut self, connected: bool, error: Option<&str>) {
        if connected {
            if self.connected_since.is_none() {
                tracing::info!(bootstrap = self.bootstrap, "Kafka answers");
            }
            self.connected_since.get_or_insert_with(Instant::now);
            self.said_unavailable = None;
            return;
        }
        self.connected_since = None;
        if self.said_unavailable.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            // The first silence is no news: nothing was asked for long enough yet.
            if let Some(error) = error {
                self.said_unavailable = Some(Instant::now());
                tracing::warn!(bootstrap = self.bootstrap, error, "Kafka does not answer; trying on");
            }
        }
    }

    /// Each change of a topic's state is said once.
    fn say_topics(&mut self, now: &Look) {
        let states = now.states(self.bridge.topics().iter().map(|topic| topic.name().to_string()));
        let mut changes: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for (name, (state, why)) in &states {
            let before = self.said.get(name).map(|(state, _)| *state);
            if before == Some(*state) {
                continue;
            }
            metrics::topic_state(name, before, Some(state));
            if !matches!((*state, before), ("served", None | Some("pending"))) {
                changes.entry((*state, why)).or_default().push(name.clone());
            }
        }
        changes.iter().for_each(|((state, why), names)| say_state(state, why, names));
        let gone = self.said.iter().filter(|(name, _)| !states.contains_key(*name));
        gone.for_each(|(name, (state, _))| metrics::topic_state(name, Some(state), None));
        self.said = states;
        if self.said_unmatched != now.topics.unmatched {
            self.said_unmatched = now.topics.unmatched.clone();
            if !self.said_unmatched.is_empty() {
                let patterns = self.said_unmatched.join(",");
                tracing::warn!(patterns, "no topic matches; one that appears is served");
            }
        }
    }

    fn say_blocked(&mut self, blocked: Option<&str>) {
        if let Some(why) = blocked
            && !self.was_blocked
        {
            tracing::error!("not ready any more: {why}");
        } else if blocked.is_none() && self.was_blocked {
            tracing::info!("reading again");
        }
        self.was_blocked = blocked.is_some();
    }

    /// Whether it is worth waiting for what Kafka does not know yet.
    fn is_patient(&self) -> bool {
        self.connected_since.is_none_or(|since| since.elapsed() < PENDING_PATIENCE)
    }

    /// What the tail still lacks. A partition that brings nothing is waited for in vain: a broker may be away for long.
    fn warming(&mut self, topics: &TopicStates) -> Option<String> {
        let all: Vec<Arc<Partition>> = self
            .bridge
            .topics()
            .iter()
            .filter(|topic| !topics.is_forbidden(topic.name()))
            .flat_map(|topic| topic.partitions())
            .collect();
        let before = std::mem::take(&mut self.warming);
        let (mut unread, now) = (0, Instant::now());
        for partition in all.iter().filter(|partition| !self.assignment.has_ended(partition)) {
            let key = (partition.topic_name().to_string(), partition.index());
            let head = partition.head().offset;
            let since = before.get(&key).filter(|(at, _)| *at == head).map_or(now, |(_, since)| *since);
            unread += usize::from(now.saturating_duration_since(since) < WARMING_PATIENCE);
            self.warming.insert(key, (head, since));
        }
        // Where nothing at all comes, there is nothing to be ready for.
        let unread = if self.warming.len() == all.len() { self.warming.len() } else { unread };
        (unread > 0).then(|| format!("warming the tail: {unread} of {} partitions to go", all.len()))
    }
}

/// One look at the state of things.
struct Look {
    connected: bool,
    has_answered: bool,
    error: Option<String>,
    topics: TopicStates,
    unroutable: BTreeSet<String>,
    group: Option<String>,
    blocked: Option<String>,
    lag: Option<(f64, String)>,
}

impl Look {
    fn is_lagging(&self) -> bool {
        self.lag.as_ref().is_some_and(|(seconds, _)| *seconds > LAGGING)
    }

    /// Every topic's state, with its reason. `known` are those that the bridge has.
    fn states(&self, known: impl Iterator<Item = String>) -> BTreeMap<String, (&'static str, String)> {
        let mut states: BTreeMap<_, _> = known.map(|name| (name, ("served", String::new()))).collect();
        for name in &self.unroutable {
            if let Some(state) = states.get_mut(name) {
                *state = ("unroutable", UNROUTABLE.to_owned());
            }
        }
        let missing = self
            .topics
            .missing
            .iter()
            .map(|name| (name, "missing", "it does not exist; it is served once it does"));
        let forbidden = self.topics.forbidden.iter().map(|(name, why)| (name, "forbidden", *why));
        let pending =
            self.topics.pending.iter().map(|name| (name, "pending", "its offsets are not known yet"));
        for (name, state, why) in pending.chain(missing).chain(forbidden) {
            states.insert(name.clone(), (state, why.to_owned()));
        }
        states
    }

    /// Why the process is not ready, as far as Kafka's state tells. `patient`: it is worth waiting for what is pending.
    fn reasons(&self, bootstrap: &str, patient: bool) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.connected {
            let error = self.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
            reasons.push(format!("Kafka at {bootstrap} does not answer{error}"));
        }
        if !self.topics.pending.is_empty() && patient {
            reasons.push(format!("offsets not known yet of topics: {}", named(&self.topics.pending)));
        }
        reasons
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.topics.missing.is_empty() {
            notes.push(format!("missing topics: {}", named(&self.topics.missing)));
        }
        for words in self.topics.forbidden.iter().map(|(_, why)| *why).collect::<BTreeSet<_>>() {
            let same = self.topics.forbidden.iter().filter(|(_, why)| *why == words);
            let names: Vec<String> = same.map(|(name, _)| name.clone()).collect();
            notes.push(format!("forbidden topics: {}: {words}", named(&names)));
        }
        if !self.topics.pending.is_empty() {
            notes.push(format!("topics whose offsets are not known yet: {}", named(&self.topics.pending)));
        }
        if !self.unroutable.is_empty() {
            let names: Vec<String> = self.unroutable.iter().cloned().collect();
            notes.push(format!("unroutable topics: {}: {UNROUTABLE}", named(&names)));
        }
        if !self.topics.unmatched.is_empty() {
            notes.push(format!("no topic matches: {}", self.topics.unmatched.join(", ")));
        }
        notes.extend(self.group.clone());
        if let Some((seconds, partition)) = self.lag.as_ref().filter(|_| self.is_lagging()) {
            notes.push(format!("lagging: {partition} is {seconds:.0} s behind"));
        }
        notes
    }
}

const UNROUTABLE: &str = "no record has a tenant by TAILRACE_TENANT_FROM (`tailrace check` shows some)";

/// Each by itself, or many together.
fn say_state(state: &str, why: &str, names: &[String]) {
    if names.len() > MAX_NAMED {
        let (topics, count) = (named(names), names.len());
        match state {
            "served" => tracing::info!(topics, count, "topics are served now"),
            _ => tracing::warn!(topics, count, state, "topics are not served: {why}"),
        }
        return;
    }
    for topic in names {
        match state {
            "served" => tracing::info!(topic, "the topic is served now"),
            _ => tracing::warn!(topic, state, "the topic is not served: {why}"),
        }
    }
}

/// `a, b and 3 more`
fn named(names: &[String]) -> String {
    let shown = names.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(topics: TopicStates) -> Look {
        Look {
            connected: true,
            has_answered: true,
            error: None,
            topics,
            unroutable: BTreeSet::new(),
            group: None,
            blocked: None,
            lag: None,
        }
    }

    #[test]
    fn a_missing_or_forbidden_topic_is_a_note_and_no_reason() {
        let topics = TopicStates {
            missing: vec!["orders".to_owned()],
            forbidden: vec![("secret".to_owned(), "no Read")],
            ..TopicStates::default()
        };
        let look = look(topics);
        assert!(look.reasons("b:1", true).is_empty());
        assert_eq!(look.notes(), ["missing topics: orders", "forbidden topics: secret: no Read"]);
    }

    #[test]
    fn silence_is_a_reason_and_a_shared_group_is_none() {
        let mut look = look(TopicStates::default());
        (look.connected, look.error) = (false, Some("Connection refused".to_owned()));
        look.group = Some("the consumer group g is shared".to_owned());
        assert_eq!(look.reasons("b:1", true), ["Kafka at b:1 does not answer: Connection refused"]);
        assert_eq!(look.notes(), ["the consumer group g is shared"]);
    }

    #[test]
    fn a_topic_without_known_offsets_is_waited_for_for_a_while_only() {
        let look = look(TopicStates { pending: vec!["orders".to_owned()], ..TopicStates::default() });
        assert_eq!(look.reasons("b:1", true), ["offsets not known yet of topics: orders"]);
        assert!(look.reasons("b:1", false).is_empty());
        assert_eq!(look.notes(), ["topics whose offsets are not known yet: orders"]);
    }

    #[test]
    fn a_known_topic_is_served_unless_something_is_known_of_it() {
        let mut look =
            look(TopicStates { forbidden: vec![("b".to_owned(), "no Read")], ..TopicStates::default() });
        look.unroutable.insert("c".to_owned());
        let states = look.states(["a", "b", "c"].into_iter().map(str::to_owned));
        let states: Vec<_> = states.iter().map(|(name, (state, _))| (name.as_str(), *state)).collect();
        assert_eq!(states, [("a", "served"), ("b", "forbidden"), ("c", "unroutable")]);
    }

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        assert_eq!(named(&names), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
        assert_eq!(named(&names[..2]), "0, 1");
    }
}
