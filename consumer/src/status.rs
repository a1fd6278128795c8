//! What this package says of itself: readiness, the state that clients are told, and one log line a minute when no broker
//! answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tailrace_bridge::{Bridge, Partition, Status};

use crate::group::Assignment;
use crate::metrics;
use crate::native::Client;
use crate::settings::KafkaSettings;

/// So long Kafka may be silent before it counts as unavailable. Topics are asked for every second.
const SILENCE: Duration = Duration::from_secs(3);
/// A tail that is behind for longer than this is lagging, in seconds.
const LAGGING: f64 = 10.0;
/// The same thing is logged at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Partitions may be without a member for so long while the group finds itself.
const SETTLING: Duration = Duration::from_secs(5);
/// How long to ask for the group's members.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// What the threads of this package know of the state of things.
#[derive(Default)]
pub(crate) struct Watch(Mutex<Known>);

#[derive(Default)]
struct Known {
    answered: Option<Instant>,
    error: Option<String>,
    /// Topics by state, as of the last answer.
    topics: TopicStates,
    fenced: bool,
    /// The greatest lag of any partition, in seconds, and whose it is.
    lag: Option<(f64, String)>,
}

/// Topics that are not served as they should be.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicStates {
    /// Configured, and not there.
    pub(crate) missing: Vec<String>,
    /// There, and not for these credentials.
    pub(crate) denied: Vec<String>,
    /// There, and not known well enough to be served yet.
    pub(crate) pending: Vec<String>,
}

impl Watch {
    pub(crate) fn answered(&self, topics: TopicStates) {
        let mut known = self.0.lock();
        known.answered = Some(Instant::now());
        known.topics = topics;
    }

    pub(crate) fn failed(&self, error: String) {
        self.0.lock().error = Some(error);
    }

    pub(crate) fn set_fenced(&self, fenced: bool) {
        self.0.lock().fenced = fenced;
    }

    pub(crate) fn set_lag(&self, lag: Option<(f64, String)>) {
        self.0.lock().lag = lag;
    }
}

/// Looks at everything once in a while and tells the bridge's health.
pub(crate) struct Reporter {
    bridge: Bridge,
    watch: Arc<Watch>,
    assignment: Arc<Assignment>,
    admin: Arc<Client>,
    group: String,
    instance: String,
    bootstrap: String,
    said_unavailable: Option<Instant>,
    said_missing: Option<(Instant, Vec<String>)>,
    unassigned_since: Option<Instant>,
    others: Option<(Instant, Vec<String>)>,
    was_connected: bool,
}

impl Reporter {
    pub(crate) fn new(
        bridge: Bridge,
        watch: Arc<Watch>,
        assignment: Arc<Assignment>,
        admin: Arc<Client>,
        settings: &KafkaSettings,
    ) -> Reporter {
        let bootstrap = settings.properties.iter().find(|(name, _)| name == "bootstrap.servers");
        Reporter {
            bridge,
            watch,
            assignment,
            admin,
            group: settings.group(),
            instance: settings.instance.clone(),
            bootstrap: bootstrap.map(|(_, value)| value.clone()).unwrap_or_default(),
            said_unavailable: None,
            said_missing: None,
            unassigned_since: None,
            others: None,
            was_connected: false,
        }
    }

    pub(crate) fn look(&mut self) {
        let (connected, error, topics, fenced, lag) = {
            let known = self.watch.0.lock();
            let connected = known.answered.is_some_and(|at| at.elapsed() < SILENCE);
            (connected, known.error.clone(), known.topics.clone(), known.fenced, known.lag.clone())
        };
        metrics::connected(connected);
        self.say_connection(connected, error.as_deref());
        self.say_missing(&topics.missing);
        let health = self.bridge.health();
        let lagging = lag.as_ref().is_some_and(|(seconds, _)| *seconds > LAGGING);
        health.set_status(match (connected, lagging || fenced) {
            (false, _) => Status::KafkaUnavailable,
            (true, true) => Status::Lagging,
            (true, false) => Status::Ok,
        });
        let state = State { connected, error, topics, fenced, lag: lag.filter(|_| lagging) };
        let mut reasons = state.reasons(&self.bootstrap, &self.group, &self.instance);
        if connected && !fenced {
            reasons.extend(self.reasons_of_the_tail());
        }
        let mut notes = state.notes();
        if self.bridge.health().is_warm() {
            // What would keep a new replica from being ready is worth knowing of one that is.
            notes.extend(reasons);
        } else if reasons.is_empty() {
            tracing::info!("ready: the tail is warm");
            self.bridge.health().set_ready();
        } else {
            self.bridge.health().set_reasons(reasons);
        }
        self.bridge.health().set_notes(notes);
    }

    fn say_connection(&mut self, connected: bool, error: Option<&str>) {
        if connected {
            if !self.was_connected {
                tracing::info!(bootstrap = self.bootstrap, "Kafka answers");
            }
            (self.was_connected, self.said_unavailable) = (true, None);
            return;
        }
        self.was_connected = false;
        if self.said_unavailable.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            // The first silence is no news: nothing was asked for long enough yet.
            if let Some(error) = error {
                self.said_unavailable = Some(Instant::now());
                tracing::warn!(bootstrap = self.bootstrap, error, "Kafka does not answer; trying on");
            }
        }
    }

    fn say_missing(&mut self, missing: &[String]) {
        let known =
            self.said_missing.as_ref().is_some_and(|(at, said)| said == missing && at.elapsed() < SAY_EVERY);
        if missing.is_empty() {
            self.said_missing = None;
        } else if !known {
            self.said_missing = Some((Instant::now(), missing.to_vec()));
            tracing::warn!(topics = missing.join(","), "topics are missing; they are served once they exist");
        }
    }

    /// What the tail still lacks.
    fn reasons_of_the_tail(&mut self) -> Vec<String> {
        let partitions: Vec<Arc<Partition>> =
            self.bridge.topics().iter().flat_map(|topic| topic.partitions()).collect();
        let (unassigned, unread) = self.assignment.lacking(&partitions);
        if unassigned == 0 {
            (self.unassigned_since, self.others) = (None, None);
            return match unread {
                0 => Vec::new(),
                unread => {
                    vec![format!("warming the tail: {unread} of {} partitions to go", partitions.len())]
                }
            };
        }
        let since = *self.unassigned_since.get_or_insert_with(Instant::now);
        let mut reason = format!(
            "{unassigned} of {} partitions are not assigned to member {} of group {}",
            partitions.len(),
            self.instance,
            self.group
        );
        if since.elapsed() >= SETTLING {
            let others = self.others();
            if !others.is_empty() {
                reason = format!("{reason}; it is shared with {}", others.join(", "));
            }
        }
        vec![reason]
    }

    /// Members of the group that are somebody else.
    fn others(&mut self) -> Vec<String> {
        if let Some((at, others)) = &self.others
            && at.elapsed() < SETTLING
        {
            return others.clone();
        }
        let members = self.admin.group_members(&self.group, ASK_TIMEOUT).unwrap_or_default();
        let others: Vec<String> = members
            .iter()
            .filter(|member| member.instance != self.instance)
            .map(|member| format!("member {} ({} at {})", member.id, member.client, member.host))
            .collect();
        self.others = Some((Instant::now(), others.clone()));
        others
    }
}

/// One look at the state of things.
struct State {
    connected: bool,
    error: Option<String>,
    topics: TopicStates,
    fenced: bool,
    lag: Option<(f64, String)>,
}

impl State {
    /// Why the process is not ready, as far as Kafka's state tells.
    fn reasons(&self, bootstrap: &str, group: &str, instance: &str) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.connected {
            let error = self.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
            reasons.push(format!("Kafka at {bootstrap} does not answer{error}"));
        }
        if self.fenced {
            reasons.push(format!(
                "another process is member {instance} of group {group}; TAILRACE_INSTANCE must be unique"
            ));
        }
        if !self.topics.pending.is_empty() {
            reasons.push(format!("offsets not known yet of topics: {}", self.topics.pending.join(", ")));
        }
        reasons
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.topics.missing.is_empty() {
            notes.push(format!("missing topics: {}", self.topics.missing.join(", ")));
        }
        if !self.topics.denied.is_empty() {
            notes.push(format!("no permission for topics: {}", self.topics.denied.join(", ")));
        }
        if let Some((seconds, partition)) = &self.lag {
            notes.push(format!("lagging: {partition} is {seconds:.0} s behind"));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_topic_is_a_note_and_no_reason() {
        let topics = TopicStates { missing: vec!["orders".to_owned()], ..TopicStates::default() };
        let state = State { connected: true, error: None, topics, fenced: false, lag: None };
        assert!(state.reasons("b:1", "g", "i").is_empty());
        assert_eq!(state.notes(), ["missing topics: orders"]);
    }

    #[test]
    fn silence_and_a_second_process_are_reasons() {
        let state = State {
            connected: false,
            error: Some("Connection refused".to_owned()),
            topics: TopicStates::default(),
            fenced: true,
            lag: None,
        };
        let reasons = state.reasons("b:1", "tailrace-a", "a").join("; ");
        assert!(reasons.contains("Kafka at b:1 does not answer: Connection refused"), "{reasons}");
        assert!(reasons.contains("TAILRACE_INSTANCE must be unique"), "{reasons}");
    }
}
