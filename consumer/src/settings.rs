//! Settings: Tailrace's own, and librdkafka's properties, each checked against librdkafka's own table.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tailrace_bridge::{EventTypeRule, Span, TenantRules};

use crate::bootstrap;
use crate::native::{Conf, SetError};
use crate::selection::{self, TopicSelection};

const PREFIX: &str = "TAILRACE_KAFKA_";
const BOOTSTRAP: &str = "TAILRACE_KAFKA_BOOTSTRAP_SERVERS";
/// Appended to a property's variable, it names the file that holds the value.
const FILE_SUFFIX: &str = "_FILE";
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
    /// Whether metrics tell lag by `topic` (all of its partitions, and the highest), or by `partition` as well
    #[arg(long, env = "TAILRACE_LAG_METRICS", default_value = "topic", value_name = "BY")]
    pub lag_metrics: String,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value} is not accepted; accepted: {accepted}")]
pub struct SettingsError {
    /// The variable that has to change.
    pub variable: String,
    /// Its value; empty where it is missing, or where it is a secret.
    pub value: String,
    /// What would be accepted.
    pub accepted: String,
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
    /// Whether metrics tell lag by partition, too.
    pub lag_by_partition: bool,
}

impl KafkaSettings {
    /// The id of the consumer group.
    pub fn group(&self) -> String {
        format!("{}-{}", self.group_prefix, self.instance)
    }

    /// The brokers to begin with, as they were given.
    pub(crate) fn bootstrap(&self) -> &str {
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
        let rules = required("TAILRACE_TENANT_FROM", &self.tenant_from, TENANT_RULES)?;
        let mut properties = vec![("bootstrap.servers".to_owned(), servers.to_owned())];
        properties.extend(kafka_properties(environment)?);
        let instance = self.instance.as_deref().filter(|text| !text.is_empty()).unwrap_or(instance);
        Ok(KafkaSettings {
            properties,
            topics: parsed("TAILRACE_TOPICS", topics)?,
            rules: Arc::new(parsed::<TenantRules>("TAILRACE_TENANT_FROM", rules)?),
            event_type: parsed("TAILRACE_EVENT_TYPE_FROM", &self.event_type_from)?,
            group_prefix: group_part("TAILRACE_GROUP_PREFIX", &self.group_prefix)?,
            instance: group_part("TAILRACE_INSTANCE", instance)?,
            warmup: parsed::<Span>("TAILRACE_CACHE_WARMUP", &self.cache_warmup)?.get(),
            prefetch: DEFAULT_PREFETCH,
            memory: DEFAULT_MEMORY,
            lag_by_partition: lag_by_partition(&self.lag_metrics)?,
        })
    }
}

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

fn refusal(variable: &str, value: &str, accepted: impl fmt::Display) -> SettingsError {
    SettingsError { variable: variable.to_owned(), value: value.to_owned(), accepted: accepted.to_string() }
}

/// Properties that Tailrace sets itself, with what to use in their place.
const OWNED: [(&str, &str); 15] = [
    ("bootstrap.servers", "TAILRACE_KAFKA_BOOTSTRAP_SERVERS"),
    ("metadata.broker.list", "TAILRACE_KAFKA_BOOTSTRAP_SERVERS"),
    ("group.id", "TAILRACE_GROUP_PREFIX and TAILRACE_INSTANCE: the group id is <prefix>-<instance>"),
    ("group.instance.id", "TAILRACE_INSTANCE"),
    (
        "auto.offset.reset",
        "nothing: where reading goes on is never left to chance; from= of a stream chooses its start",
    ),
    ("enable.auto.offset.store", "nothing: an offset is committed after its record is in memory"),
    (
        "enable.auto.commit",
        "nothing: positions are committed every second, to be seen and never to go on from",
    ),
    (
        "auto.commit.enable",
        "nothing: positions are committed every second, to be seen and never to go on from",
    ),
    ("auto.commit.interval.ms", "nothing: positions are committed every second, where they have moved"),
    ("enable.partition.eof", "nothing: the ends of partitions are always needed"),
    ("group.protocol", "nothing: the classic protocol is used"),
    ("group.remote.assignor", "nothing: the classic protocol is used"),
    ("partition.assignment.strategy", "nothing: a replica always reads every partition"),
    ("allow.auto.create.topics", "nothing: a topic that is missing is served once it exists"),
    ("topic.blacklist", "TAILRACE_TOPICS"),
];

/// Names of Kafka's Java clients, with librdkafka's way.
const JAVA: [(&str, &str); 11] = [
    ("sasl.jaas.config", "TAILRACE_KAFKA_SASL_USERNAME and TAILRACE_KAFKA_SASL_PASSWORD"),
    ("sasl.login.callback.handler.class", "TAILRACE_KAFKA_SASL_OAUTHBEARER_METHOD"),
    ("sasl.client.callback.handler.class", "TAILRACE_KAFKA_SASL_OAUTHBEARER_METHOD"),
    ("ssl.truststore.location", "TAILRACE_KAFKA_SSL_CA_LOCATION (a PEM file)"),
    ("ssl.truststore.password", "TAILRACE_KAFKA_SSL_CA_LOCATION (a PEM file needs no password)"),
    ("ssl.truststore.type", "TAILRACE_KAFKA_SSL_CA_LOCATION (always PEM)"),
    ("ssl.truststore.certificates", "TAILRACE_KAFKA_SSL_CA_PEM"),
    (
        "ssl.keystore.type",
        "TAILRACE_KAFKA_SSL_CERTIFICATE_LOCATION and …_SSL_KEY_LOCATION (PEM), or …_SSL_KEYSTORE_LOCATION (PKCS#12)",
    ),
    ("ssl.keystore.key", "TAILRACE_KAFKA_SSL_KEY_PEM"),
    ("ssl.keystore.certificate.chain", "TAILRACE_KAFKA_SSL_CERTIFICATE_PEM"),
    ("max.poll.records", "nothing: records are taken in batches by themselves"),
];

/// Words in a property's name that make its value a secret.
const SECRET: [&str; 5] = ["password", "secret", "jaas", "pem", "passphrase"];

/// librdkafka's properties from variables `TAILRACE_KAFKA_<PROPERTY_WITH_UNDERSCORES>`. Other variables are passed over. A
/// value comes from a file where `_FILE` is appended, unless librdkafka itself has a property of that name.
///
/// # Errors
/// A property that librdkafka does not know (the nearest is named), one that Tailrace sets itself, one of the Java
/// clients, a value that is not accepted, a file that cannot be read.
pub fn kafka_properties(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<(String, String)>, SettingsError> {
    let mut properties = BTreeMap::new();
    for (variable, value) in environment {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        if variable == BOOTSTRAP || value.is_empty() {
            continue;
        }
        let name = property_name(rest);
        let (name, value) = property(&variable, rest, name, value)?;
        if let Some((_, earlier)) = properties.insert(name.clone(), (value, variable.clone())) {
            return Err(refusal(&variable, "", format!("{name} once only; {earlier} sets it, too")));
        }
    }
    Ok(properties.into_iter().map(|(name, (value, _))| (name, value)).collect())
}

fn property(
    variable: &str,
    rest: &str,
    name: String,
    value: String,
) -> Result<(String, String), SettingsError> {
    refuse_owned(variable, &name)?;
    match Conf::new().set(&name, &value) {
        Ok(()) => check_file(variable, &name, &value).map(|()| (name, value)),
        Err(SetError::Invalid(message)) => Err(invalid(variable, &name, &value, &message)),
        Err(SetError::Unknown) => match rest.strip_suffix(FILE_SUFFIX) {
            Some(stem) => from_file(variable, property_name(stem), &value),
            None => Err(unknown(variable, &name)),
        },
    }
}

/// librdkafka reads certificates and keys only when a client is made, and does not say whose they are.
fn check_file(variable: &str, name: &str, value: &str) -> Result<(), SettingsError> {
    if !(name.starts_with("ssl.") && name.ends_with(".location")) || value == "probe" {
        return Ok(());
    }
    // A folder of certificates is taken, too.
    match std::fs::metadata(value) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => std::fs::File::open(value).map(drop),
        Err(error) => Err(error),
    }
    .map_err(|error| refusal(variable, value, format!("a file that can be read ({error})")))
}

fn property_name(rest: &str) -> String {
    rest.to_ascii_lowercase().replace('_', ".")
}

fn from_file(variable: &str, name: String, path: &str) -> Result<(String, String), SettingsError> {
    refuse_owned(variable, &name)?;
    let text = std::fs::read_to_string(path)
        .map_err(|error| refusal(variable, path, format!("a file that can be read ({error})")))?;
    // Editors and `echo` end a file with a line end that is no part of the secret.
    let value = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    match Conf::new().set(&name, value) {
        Ok(()) => Ok((name, value.to_owned())),
        Err(SetError::Invalid(message)) => Err(refusal(variable, path, hide(&name, value, &message))),
        Err(SetError::Unknown) => Err(unknown(variable, &name)),
    }
}

fn refuse_owned(variable: &str, name: &str) -> Result<(), SettingsError> {
    let find =
        |table: &[(&str, &'static str)]| table.iter().find(|(known, _)| *known == name).map(|entry| entry.1);
    if let Some(own) = find(&OWNED) {
        return Err(refusal(variable, "", format!("{own} (Tailrace sets {name} itself)")));
    }
    if let Some(way) = find(&JAVA) {
        return Err(refusal(variable, "", format!("{way} ({name} is of Kafka's Java clients)")));
    }
    Ok(())
}

fn invalid(variable: &str, name: &str, value: &str, message: &str) -> SettingsError {
    let shown = if is_secret(name) { "" } else { value };
    let words = hide(name, value, message);
    match Conf::accepted(name) {
        Some(accepted) => refusal(variable, shown, format!("{accepted} (librdkafka: {words})")),
        None => refusal(variable, shown, format!("a value of another kind (librdkafka: {words})")),
    }
}

/// librdkafka repeats the value in its message.
fn hide(name: &str, value: &str, message: &str) -> String {
    if is_secret(name) && !value.is_empty() { message.replace(value, "…") } else { message.to_owned() }
}

pub(crate) fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|word| name.contains(word))
}

/// What a name is likely to mean that is of another client.
const OTHER_NAMES: [(&str, &str); 12] = [
    ("brokers", "BOOTSTRAP_SERVERS"),
    ("broker", "BOOTSTRAP_SERVERS"),
    ("bootstrap", "BOOTSTRAP_SERVERS"),
    ("bootstrap.server", "BOOTSTRAP_SERVERS"),
    ("servers", "BOOTSTRAP_SERVERS"),
    ("hosts", "BOOTSTRAP_SERVERS"),
    ("url", "BOOTSTRAP_SERVERS"),
    ("username", "SASL_USERNAME"),
    ("user", "SASL_USERNAME"),
    ("password", "SASL_PASSWORD"),
    ("ca", "SSL_CA_LOCATION"),
    ("tls", "SECURITY_PROTOCOL"),
];

/// How alike two names are of which one was likely meant.
const LIKELY: f64 = 0.8;

fn unknown(variable: &str, name: &str) -> SettingsError {
    if let Some((_, meant)) = OTHER_NAMES.iter().find(|(other, _)| *other == name) {
        return refusal(variable, "", format!("a property of librdkafka; what is meant is {PREFIX}{meant}"));
    }
    let names = Conf::names();
    // Where a name begins says more than how long it is.
    let similarity = |known: &&String| strsim::jaro_winkler(known, name);
    let nearest = names.iter().filter(|known| similarity(known) > LIKELY);
    let nearest = nearest.max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let nearest = nearest.map_or_else(String::new, |known| {
        format!("; the nearest is {PREFIX}{}", known.to_ascii_uppercase().replace('.', "_"))
    });
    refusal(variable, "", format!("a property of librdkafka; it has no {name}{nearest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(variables: &[(&str, &str)]) -> Result<Vec<(String, String)>, SettingsError> {
        kafka_properties(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn refused(variable: &str, value: &str) -> SettingsError {
        properties(&[(variable, value)]).expect_err("refused")
    }

    #[test]
    fn a_variable_becomes_the_property_with_dots() {
        let found = properties(&[
            ("TAILRACE_KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
            ("TAILRACE_KAFKA_BOOTSTRAP_SERVERS", "elsewhere:9092"),
            ("TAILRACE_TOPICS", "orders"),
        ]);
        assert_eq!(found, Ok(vec![("security.protocol".to_owned(), "sasl_ssl".to_owned())]));
    }

    #[test]
    fn an_unknown_property_names_the_nearest() {
        let error = refused("TAILRACE_KAFKA_SESION_TIMEOUT_MS", "6000");
        assert_eq!(error.variable, "TAILRACE_KAFKA_SESION_TIMEOUT_MS");
        assert!(error.accepted.contains("TAILRACE_KAFKA_SESSION_TIMEOUT_MS"), "{error}");
    }

    #[test]
    fn what_tailrace_sets_itself_is_refused_with_its_own_name() {
        assert!(refused("TAILRACE_KAFKA_GROUP_ID", "x").accepted.contains("TAILRACE_INSTANCE"));
        assert!(refused("TAILRACE_KAFKA_GROUP_INSTANCE_ID", "x").accepted.contains("TAILRACE_INSTANCE"));
        assert!(refused("TAILRACE_KAFKA_AUTO_OFFSET_RESET", "latest").accepted.contains("auto.offset.reset"));
        refused("TAILRACE_KAFKA_ENABLE_AUTO_OFFSET_STORE", "true");
    }

    #[test]
    fn a_java_name_is_answered_with_librdkafka_s() {
        let error = refused("TAILRACE_KAFKA_SASL_JAAS_CONFIG", "password=hunter2");
        assert!(error.accepted.contains("TAILRACE_KAFKA_SASL_USERNAME"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(
            refused("TAILRACE_KAFKA_SSL_TRUSTSTORE_LOCATION", "/x.jks").accepted.contains("SSL_CA_LOCATION")
        );
    }

    #[test]
    fn a_value_that_librdkafka_does_not_take_is_refused() {
        let error = refused("TAILRACE_KAFKA_SESSION_TIMEOUT_MS", "soon");
        assert_eq!(error.value, "soon");
        assert!(error.accepted.contains("session.timeout.ms"), "{error}");
    }

    #[test]
    fn what_is_accepted_is_said() {
        for (property, value, accepted) in [
            ("SECURITY_PROTOCOL", "SSLX", "plaintext, ssl, sasl_plaintext, sasl_ssl"),
            ("ISOLATION_LEVEL", "dirty", "read_uncommitted, read_committed"),
            ("SESSION_TIMEOUT_MS", "0", "1 .. 3600000"),
            ("SOCKET_KEEPALIVE_ENABLE", "perhaps", "true, false"),
        ] {
            let error = refused(&format!("{PREFIX}{property}"), value);
            assert!(error.accepted.starts_with(accepted), "{error}");
        }
    }

    #[test]
    fn a_secret_comes_from_a_file_without_its_line_end() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "hunter2\n").expect("written");
        let path = file.path().to_str().expect("UTF-8");
        let found = properties(&[("TAILRACE_KAFKA_SASL_PASSWORD_FILE", path)]);
        assert_eq!(found, Ok(vec![("sasl.password".to_owned(), "hunter2".to_owned())]));
        let missing = refused("TAILRACE_KAFKA_SASL_PASSWORD_FILE", "/nowhere/secret");
        assert!(missing.accepted.contains("can be read"), "{missing}");
    }

    #[test]
    fn a_property_is_not_set_twice() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("UTF-8");
        let both =
            properties(&[("TAILRACE_KAFKA_SASL_PASSWORD", "a"), ("TAILRACE_KAFKA_SASL_PASSWORD_FILE", path)]);
        assert!(both.expect_err("refused").accepted.contains("once only"));
    }

    #[test]
    fn every_owned_property_exists_in_librdkafka() {
        for (name, _) in OWNED {
            assert_ne!(Conf::new().set(name, "1"), Err(SetError::Unknown), "{name}");
        }
    }

    #[test]
    fn no_java_name_is_taken_by_librdkafka() {
        for (name, _) in JAVA {
            assert!(Conf::new().set(name, "1").is_err(), "{name}");
        }
    }
}
