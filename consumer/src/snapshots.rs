//! Of which topics the bridge keeps indexes for snapshots: those that are named, or those that Kafka compacts.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use tailrace_bridge::Bridge;

use crate::native::Client;
use crate::selection::TopicSelection;

/// How often Kafka is asked which topics are compacted, if there are no new ones.
const ASK_AGAIN: Duration = Duration::from_secs(300);
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Topics in one request.
const ASKED_AT_ONCE: usize = 200;

/// The value of `TAILRACE_SNAPSHOT_TOPICS`.
#[derive(Clone, Debug)]
pub enum SnapshotTopics {
    /// Those whose `cleanup.policy` has `compact`.
    Compacted,
    /// None.
    None,
    /// Those that are selected, whatever their policy.
    Selected(TopicSelection),
}

impl FromStr for SnapshotTopics {
    /// What would be accepted.
    type Err = String;

    fn from_str(text: &str) -> Result<SnapshotTopics, String> {
        match text.trim() {
            "compacted" => Ok(SnapshotTopics::Compacted),
            "none" => Ok(SnapshotTopics::None),
            text => match text.parse() {
                Ok(selection) => Ok(SnapshotTopics::Selected(selection)),
                Err(error) => Err(format!("accepted: compacted, none, or {error}")),
            },
        }
    }
}

impl SnapshotTopics {
    /// Whether an index is kept of a topic, of which Kafka says whether it is compacted, or does not say. `None`: not known.
    pub(crate) fn indexes(&self, topic: &str, is_compacted: Option<bool>) -> Option<bool> {
        match self {
            SnapshotTopics::Compacted => is_compacted,
            SnapshotTopics::None => Some(false),
            SnapshotTopics::Selected(selection) => Some(selection.selects(topic)),
        }
    }

    /// The topics that are named, not those that a pattern selects.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            SnapshotTopics::Compacted | SnapshotTopics::None => &[],
            SnapshotTopics::Selected(selection) => selection.names(),
        };
        names.iter().map(String::as_str)
    }
}

impl fmt::Display for SnapshotTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotTopics::Compacted => f.write_str("compacted"),
            SnapshotTopics::None => f.write_str("none"),
            SnapshotTopics::Selected(selection) => selection.fmt(f),
        }
    }
}

/// Keeps the bridge informed.
#[derive(Debug)]
pub(crate) struct SnapshotWatch {
    wanted: SnapshotTopics,
    /// Names of the topics that Kafka was asked for last, and when.
    asked: (HashSet<String>, Option<Instant>),
    told: HashSet<String>,
}

impl SnapshotWatch {
    pub(crate) fn new(wanted: SnapshotTopics) -> SnapshotWatch {
        SnapshotWatch { wanted, asked: (HashSet::new(), None), told: HashSet::new() }
    }

    /// To be called with the names of all topics that are served, now and then. Until Kafka has said which topics are
    /// compacted, snapshots of new ones are read through.
    pub(crate) fn look<'a>(
        &mut self,
        client: &Client,
        bridge: &Bridge,
        names: impl Iterator<Item = &'a str>,
        now: Instant,
    ) {
        let indexed: HashSet<String> = match &self.wanted {
            SnapshotTopics::None => return,
            SnapshotTopics::Selected(selection) => {
                names.filter(|name| selection.selects(name)).map(str::to_owned).collect()
            }
            SnapshotTopics::Compacted => {
                let names: HashSet<String> = names.map(str::to_owned).collect();
                let is_due = self.asked.1.is_none_or(|asked| now.duration_since(asked) >= ASK_AGAIN);
                if !is_due && names.is_subset(&self.asked.0) {
                    return;
                }
                let compacted = compacted(client, &names);
                self.asked = (names, Some(now));
                match compacted {
                    Some(compacted) => compacted,
                    None => return,
                }
            }
        };
        if indexed != self.told {
            tracing::debug!(topics = indexed.len(), "indexes for snapshots are kept of these topics");
            bridge.set_snapshot_topics(indexed.clone());
            self.told = indexed;
        }
    }
}

/// Which of the topics are compacted. `None`: Kafka does not say.
fn compacted(client: &Client, names: &HashSet<String>) -> Option<HashSet<String>> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut compacted = HashSet::new();
    for names in names.chunks(ASKED_AT_ONCE) {
        let configs = client.topic_configs(names, ASK_TIMEOUT);
        let configs = configs.inspect_err(|error| {
            tracing::info!(%error, "it is not known which topics are compacted (needed: DescribeConfigs on the topics); \
                snapshots are read through, unless TAILRACE_SNAPSHOT_TOPICS names the topics");
        });
        for (name, config) in configs.ok()? {
            match config {
                Ok(config) if is_compacted(&config) => drop(compacted.insert(name)),
                Ok(_) => {}
                Err(error) => {
                    tracing::info!(topic = name, %error, "it is not known whether the topic is compacted (needed: \
                        DescribeConfigs on it); snapshots of it are read through, unless TAILRACE_SNAPSHOT_TOPICS names it");
                }
            }
        }
    }
    Some(compacted)
}

/// Whether these settings of a topic are those of a compacted one.
pub(crate) fn is_compacted(config: &[(String, String)]) -> bool {
    config.iter().any(|(name, value)| name == "cleanup.policy" && value.contains("compact"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_those_that_are_compacted_or_named_or_none() {
        let read = |text: &str| text.parse::<SnapshotTopics>();
        assert!(matches!(read("compacted"), Ok(SnapshotTopics::Compacted)));
        assert!(matches!(read("none"), Ok(SnapshotTopics::None)));
        match read("prices,^stock[.].*") {
            Ok(SnapshotTopics::Selected(selection)) => {
                assert!(selection.selects("prices") && selection.selects("stock.de"));
                assert!(!selection.selects("orders"));
            }
            other => panic!("{other:?}"),
        }
        assert!(read("no spaces").is_err() && read("").is_err());
    }
}
