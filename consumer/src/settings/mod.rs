//! Settings: Tailrace's own, and librdkafka's properties (`variables`), each checked against librdkafka's own table.
//! What becomes of keys and values is in `data`: a `format` for each topic (`per_topic`), and the `registry` of schemas.

mod data;
mod error;
mod format;
mod names;
mod per_topic;
mod registry;
mod variables;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tailrace_bridge::{EventTypeRule, Span, TenantRules};

use data::DataArgs;
pub use data::DataSettings;
pub use error::SettingsError;
use error::refusal;
pub(crate) use format::{Format, Kind};
#[cfg(test)]
pub(crate) use registry::Secret;
pub(crate) use registry::{Login, RegistrySettings};
use variables::BOOTSTRAP;
pub use variables::kafka_properties;

use crate::bootstrap;
use crate::selection::{self, TopicSelection};
use crate::snapshots::SnapshotTopics;

/// The consumer's buffers where the program says nothing else, in bytes.
const DEFAULT_PREFETCH: usize = 16 << 20;
/// The memory for records where the program says nothing else, in bytes: the default of the cache.
const DEFAULT_MEMORY: usize = 256 << 20;
/// Kafka takes longer group ids, but its tools show them in columns.
const MAX_GROUP_PART: usize = 120;

/// The settings of this package, as flags and variables.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Kafka")]
// Clap would name a group after the type, and both packages call it Args.
#[group(skip)]
pub struct Args {
    /// Brokers to begin with, as `host:port`, comma-separated. Any other librdkafka property is set likewise, as
    /// `TAILRACE_KAFKA_<PROPERTY_WITH_UNDERSCORES>` (required)
    #[arg(long, env = "TAILRACE_KAFKA_BOOTSTRAP_SERVERS", value_name = "HOSTS")]
    pub kafka_bootstrap_servers: Option<String>,
    /// Topics to serve, comma-separated; a leading `^` makes one a regular expression (required)
    #[arg(long, env = "TAILRACE_TOPICS", value_name = "TOPICS")]
    pub topics: Option<String>,
    /// The consumer group is `<prefix>-<instance>`, one for each replica
    #[arg(long, env = "TAILRACE_GROUP_PREFIX", default_value = "tailrace", value_name = "NAME")]
    pub group_prefix: String,
    /// What tells this replica from the others; default: host name and port
    #[arg(long, env = "TAILRACE_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,
    /// Where a record's tenant comes from: `none`, `header:NAME`, `key`, `key:SEP`, `json:/pointer`,
    /// `topic:{tenant}.orders`, `fixed:NAME`; comma-separated, the first that gives a value wins; `TOPIC=RULE` for one
    /// topic (required)
    #[arg(long, env = "TAILRACE_TENANT_FROM", value_name = "RULES")]
    pub tenant_from: Option<String>,
    /// Where an event's SSE type comes from: `header:NAME`, `json:/pointer`, `topic`, `fixed:NAME`, `none`
    #[arg(long, env = "TAILRACE_EVENT_TYPE_FROM", default_value = "none", value_name = "RULE")]
    pub event_type_from: String,
    /// How far back the tail is read into memory before the replica is ready
    #[arg(long, env = "TAILRACE_CACHE_WARMUP", default_value = "10m", value_name = "TIME")]
    pub cache_warmup: String,
    /// Topics of which an index of keys is kept for `from=snapshot`, as in `TAILRACE_TOPICS`; `compacted`: those whose
    /// `cleanup.policy` has `compact`; or `none`. Snapshots of other topics read through their partitions
    #[arg(long, env = "TAILRACE_SNAPSHOT_TOPICS", default_value = "compacted", value_name = "TOPICS")]
    pub snapshot_topics: String,
    /// Whether metrics tell lag by `topic` (all of its partitions, and the highest), or by `partition` as well
    #[arg(long, env = "TAILRACE_LAG_METRICS", default_value = "topic", value_name = "BY")]
    pub lag_metrics: String,
    #[command(flatten)]
    data: DataArgs,
}

/// All that this package needs, checked.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// librdkafka's properties, `bootstrap.servers` included; none of those that Tailrace sets itself.
    pub properties: Vec<(String, String)>,
    /// What to serve.
    pub topics: TopicSelection,
    /// Whose a record is.
    pub rules: Arc<TenantRules>,
    /// What an event is called.
    pub event_type: EventTypeRule,
    /// The consumer group is `<group_prefix>-<instance>`.
    pub group_prefix: String,
    /// What tells this replica from others.
    pub instance: String,
    /// How far back the tail is read before readiness. Zero: only what comes from now on.
    pub warmup: Duration,
    /// Bytes that the group's consumer may fetch ahead (`queued.max.messages.kbytes`, which wins where it is set).
    pub prefetch: usize,
    /// Bytes of memory that the bridge has for records. About as many are read at the start at the most, however far back
    /// `warmup` reaches; where they are few, fewer partitions of history are read at once.
    pub memory: usize,
    /// Of which topics indexes for snapshots are kept.
    pub snapshot_topics: SnapshotTopics,
    /// Whether metrics tell lag by partition, too.
    pub lag_by_partition: bool,
    /// What becomes of keys and values.
    pub data: DataSettings,
    /// Whether batches are spans of the global tracer.
    pub traces: bool,
}

impl KafkaSettings {
    /// The id of the consumer group.
    pub fn group(&self) -> String {
        format!("{}-{}", self.group_prefix, self.instance)
    }

    /// The brokers to begin with, as they were given.
    pub fn bootstrap(&self) -> &str {
        let found = self.properties.iter().find(|(name, _)| name == "bootstrap.servers");
        found.map_or("", |(_, value)| value)
    }
}

impl Args {
    /// What nothing works without, and is not set: variables, each with an example.
    pub fn missing(&self) -> Vec<&'static str> {
        let all = [
            (&self.kafka_bootstrap_servers, "TAILRACE_KAFKA_BOOTSTRAP_SERVERS (localhost:9092)"),
            (&self.topics, "TAILRACE_TOPICS (orders,^metrics-.*)"),
            (&self.tenant_from, "TAILRACE_TENANT_FROM (header:tenant; none for a single tenant)"),
        ];
        let is_set = |value: &Option<String>| value.as_deref().is_some_and(|value| !value.trim().is_empty());
        all.into_iter().filter(|(value, _)| !is_set(value)).map(|(_, words)| words).collect()
    }

    /// Checks everything. `environment` holds the variables that begin with `TAILRACE_KAFKA_`; `instance` is taken where
    /// none is set.
    ///
    /// # Errors
    /// The first setting that cannot be used, and what would be accepted.
    pub fn settings(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        instance: &str,
    ) -> Result<KafkaSettings, SettingsError> {
        let servers = required(BOOTSTRAP, &self.kafka_bootstrap_servers, bootstrap::ACCEPTED)?;
        if !bootstrap::is_list(servers) {
            return Err(refusal(BOOTSTRAP, servers, bootstrap::ACCEPTED));
        }
        let topics = required("TAILRACE_TOPICS", &self.topics, selection::ACCEPTED)?;
        let rules_text = required(TENANT_FROM, &self.tenant_from, TENANT_RULES)?;
        let mut properties = vec![("bootstrap.servers".to_owned(), servers.to_owned())];
        properties.extend(kafka_properties(environment)?);
        let instance = self.instance.as_deref().filter(|text| !text.is_empty()).unwrap_or(instance);
        let topics: TopicSelection = parsed("TAILRACE_TOPICS", topics)?;
        let data = self.data.settings(&topics)?;
        let rules: TenantRules = parsed(TENANT_FROM, rules_text)?;
        data::check_topics(TENANT_FROM, rules_text, rules.topics(), &topics)?;
        let snapshot_topics: SnapshotTopics = parsed(SNAPSHOT_TOPICS, &self.snapshot_topics)?;
        if let Some(topic) = snapshot_topics.names().find(|topic| !topics.selects(topic)) {
            let why = format!(
                "the topic {topic} is not served; accepted: compacted, none, or topics of TAILRACE_TOPICS={topics}"
            );
            return Err(refusal(SNAPSHOT_TOPICS, &self.snapshot_topics, why));
        }
        Ok(KafkaSettings {
            properties,
            topics,
            rules: Arc::new(rules),
            event_type: parsed("TAILRACE_EVENT_TYPE_FROM", &self.event_type_from)?,
            group_prefix: group_part("TAILRACE_GROUP_PREFIX", &self.group_prefix)?,
            instance: group_part("TAILRACE_INSTANCE", instance)?,
            warmup: parsed::<Span>("TAILRACE_CACHE_WARMUP", &self.cache_warmup)?.get(),
            prefetch: DEFAULT_PREFETCH,
            memory: DEFAULT_MEMORY,
            snapshot_topics,
            lag_by_partition: lag_by_partition(&self.lag_metrics)?,
            data,
            traces: false,
        })
    }
}

const TENANT_FROM: &str = "TAILRACE_TENANT_FROM";
const SNAPSHOT_TOPICS: &str = "TAILRACE_SNAPSHOT_TOPICS";
const TENANT_RULES: &str = "none (a single tenant), header:NAME, key, key:SEP, json:/pointer, topic:{tenant}.orders, \
     fixed:NAME; comma-separated; TOPIC=RULE for one topic";

fn lag_by_partition(value: &str) -> Result<bool, SettingsError> {
    match value {
        "topic" => Ok(false),
        "partition" => Ok(true),
        other => Err(refusal("TAILRACE_LAG_METRICS", other, "topic, partition")),
    }
}

fn required<'a>(variable: &str, value: &'a Option<String>, accepted: &str) -> Result<&'a str, SettingsError> {
    match value.as_deref().map(str::trim) {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(refusal(variable, "", accepted)),
    }
}

fn parsed<T: FromStr<Err: fmt::Display>>(variable: &str, value: &str) -> Result<T, SettingsError> {
    value.parse().map_err(|error| refusal(variable, value, error))
}

fn group_part(variable: &str, value: &str) -> Result<String, SettingsError> {
    let good = !value.is_empty()
        && value.len() <= MAX_GROUP_PART
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !good {
        let accepted = format!("1 to {MAX_GROUP_PART} letters, digits, '.', '_' and '-'");
        return Err(refusal(variable, value, accepted));
    }
    Ok(value.to_owned())
}
