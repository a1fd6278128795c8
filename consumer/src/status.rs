//! What this package says of itself: readiness, a state for each topic, the state that clients are told, and log lines where
//! something changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tailrace_bridge::{Bridge, Partition, Status};

use crate::assign::Assignment;
use crate::findings::{Findings, Found, HeldPartition, TopicStates};
use crate::metrics;
use crate::shared::Shared;

/// So long Kafka may be silent before it counts as unavailable. Topics are asked for every second.
const SILENCE: Duration = Duration::from_secs(3);
/// A tail that is behind for longer than this is lagging, in seconds.
const LAGGING: f64 = 10.0;
/// That Kafka does not answer is logged at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// What is not known of a topic while Kafka answers, such as the end of a partition without a leader, holds up the first
/// readiness for so long.
const PENDING_PATIENCE: Duration = Duration::from_secs(10);
/// A partition that is not read to its end, and of which nothing comes, holds it up for so long.
const WARMING_PATIENCE: Duration = Duration::from_secs(30);
/// Topics named in one note.
const MAX_NAMED: usize = 10;

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
    pub(crate) fn new(shared: &Shared) -> Reporter {
        Reporter {
            bridge: shared.bridge.clone(),
            findings: shared.findings.clone(),
            assignment: shared.assignment.clone(),
            bootstrap: shared.settings.bootstrap().to_owned(),
            said_unavailable: None,
            connected_since: None,
            said: BTreeMap::new(),
            said_unmatched: Vec::new(),
            warming: BTreeMap::new(),
            was_blocked: false,
        }
    }

    pub(crate) fn look(&mut self) {
        let now = Look::at(self.findings.now());
        metrics::connected(now.connected);
        self.say_connection(now.connected, now.found.error.as_deref());
        if now.found.answered.is_some() {
            self.say_topics(&now);
        }
        self.say_blocked(now.found.blocked.as_deref());
        let bridge = self.bridge.clone();
        let health = bridge.health();
        health.set_status(match (now.connected, now.is_lagging() || now.found.blocked.is_some()) {
            (false, _) => Status::KafkaUnavailable,
            (true, true) => Status::Lagging,
            (true, false) => Status::Ok,
        });
        health.set_blocked(now.found.blocked.clone());
        let mut reasons = now.reasons(&self.bootstrap, self.is_patient());
        if now.connected {
            reasons.extend(self.warming(&now.found.topics));
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
        if self.said_unmatched != now.found.topics.unmatched {
            self.said_unmatched = now.found.topics.unmatched.clone();
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

    /// What the tail still lacks. A partition that brings nothing is waited for only for a while: its broker may be away for long.
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
        // Where no partition was read to its end, all are waited for: there is nothing to be ready for.
        let unread = if self.warming.len() == all.len() { self.warming.len() } else { unread };
        (unread > 0).then(|| format!("warming the tail: {unread} of {} partitions to go", all.len()))
    }
}

/// What was found out, as of one moment.
struct Look {
    connected: bool,
    found: Found,
}

impl Look {
    fn at(found: Found) -> Look {
        Look { connected: found.answered.is_some_and(|at| at.elapsed() < SILENCE), found }
    }

    fn is_lagging(&self) -> bool {
        self.found.lag.as_ref().is_some_and(|(seconds, _)| *seconds > LAGGING)
    }

    /// Every topic's state, with its reason. `known` are those that the bridge has.
    fn states(&self, known: impl Iterator<Item = String>) -> BTreeMap<String, (&'static str, String)> {
        let mut states: BTreeMap<_, _> = known.map(|name| (name, ("served", String::new()))).collect();
        for name in &self.found.unroutable {
            if let Some(state) = states.get_mut(name) {
                *state = ("unroutable", UNROUTABLE.to_owned());
            }
        }
        let missing = self
            .found
            .topics
            .missing
            .iter()
            .map(|name| (name, "missing", "it does not exist; it is served once it does"));
        let forbidden = self.found.topics.forbidden.iter().map(|(name, why)| (name, "forbidden", *why));
        let pending =
            self.found.topics.pending.iter().map(|name| (name, "pending", "its offsets are not known yet"));
        for (name, state, why) in pending.chain(missing).chain(forbidden) {
            states.insert(name.clone(), (state, why.to_owned()));
        }
        states
    }

    /// Why the process is not ready, as far as Kafka's state tells. `patient`: it is worth waiting for what is pending.
    fn reasons(&self, bootstrap: &str, patient: bool) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.connected {
            let error = self.found.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
            reasons.push(format!("Kafka at {bootstrap} does not answer{error}"));
        }
        if !self.found.topics.pending.is_empty() && patient {
            reasons.push(format!("offsets not known yet of topics: {}", named(&self.found.topics.pending)));
        }
        reasons
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.found.topics.missing.is_empty() {
            notes.push(format!("missing topics: {}", named(&self.found.topics.missing)));
        }
        for words in self.found.topics.forbidden.iter().map(|(_, why)| *why).collect::<BTreeSet<_>>() {
            let same = self.found.topics.forbidden.iter().filter(|(_, why)| *why == words);
            let names: Vec<String> = same.map(|(name, _)| name.clone()).collect();
            notes.push(format!("forbidden topics: {}: {words}", named(&names)));
        }
        if !self.found.topics.pending.is_empty() {
            notes.push(format!(
                "topics whose offsets are not known yet: {}",
                named(&self.found.topics.pending)
            ));
        }
        if !self.found.unroutable.is_empty() {
            let names: Vec<String> = self.found.unroutable.iter().cloned().collect();
            notes.push(format!("unroutable topics: {}: {UNROUTABLE}", named(&names)));
        }
        notes.extend(self.held());
        if !self.found.topics.unmatched.is_empty() {
            notes.push(format!("no topic matches: {}", self.found.topics.unmatched.join(", ")));
        }
        notes.extend(self.found.group.clone());
        if let Some((seconds, partition)) = self.found.lag.as_ref().filter(|_| self.is_lagging()) {
            notes.push(format!("lagging: {partition} is {seconds:.0} s behind"));
        }
        notes
    }
}

impl Look {
    /// Partitions that wait for schemas, by what they wait for.
    fn held(&self) -> Vec<String> {
        let mut whys: BTreeMap<&str, Vec<&HeldPartition>> = BTreeMap::new();
        for held in &self.found.held {
            whys.entry(&held.why).or_default().push(held);
        }
        let note = |(why, held): (&&str, &Vec<&HeldPartition>)| {
            let longest = held.iter().map(|held| held.since.elapsed().as_secs()).max().unwrap_or_default();
            let mut names: Vec<String> = held
                .iter()
                .map(|held| format!("{}[{}]@{}", held.topic, held.partition, held.offset))
                .collect();
            names.sort();
            format!("held back for {longest} s: {}: {why}", named(&names))
        };
        // One registry's troubles are few, its schemas may be many.
        whys.iter().take(MAX_NAMED).map(note).collect()
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
        Look { connected: true, found: Found { topics, ..Found::default() } }
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
        (look.connected, look.found.error) = (false, Some("Connection refused".to_owned()));
        look.found.group = Some("the consumer group g is shared".to_owned());
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
        look.found.unroutable.insert("c".to_owned());
        let states = look.states(["a", "b", "c"].into_iter().map(str::to_owned));
        let states: Vec<_> = states.iter().map(|(name, (state, _))| (name.as_str(), *state)).collect();
        assert_eq!(states, [("a", "served"), ("b", "forbidden"), ("c", "unroutable")]);
    }

    #[test]
    fn what_waits_for_a_schema_is_a_note_and_no_reason() {
        let held = |topic: &str, partition, why: &str| HeldPartition {
            topic: topic.into(),
            partition,
            offset: 1042,
            since: Instant::now(),
            why: why.to_owned(),
        };
        let mut look = look(TopicStates::default());
        look.found.held = vec![held("b", 1, "it is down"), held("a", 3, "it is down"), held("a", 0, "no 17")];
        assert!(look.reasons("b:1", true).is_empty());
        let notes =
            ["held back for 0 s: a[3]@1042, b[1]@1042: it is down", "held back for 0 s: a[0]@1042: no 17"];
        assert_eq!(look.notes(), notes);
    }

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        assert_eq!(named(&names), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
        assert_eq!(named(&names[..2]), "0, 1");
    }
}
