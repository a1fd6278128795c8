//! Settings: everything is checked here, before anything binds or connects.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tailrace_bridge::{ByteSize, Span};
use tailrace_consumer::{KafkaError, KafkaSettings, SettingsError};
use tailrace_web::WebSettings;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{self, ProcessArgs, Settings};
use crate::log::Format;
use crate::values;

const PREFIX: &str = "TAILRACE_";
/// Variables with this prefix are properties of librdkafka; the consumer checks them.
const KAFKA_PREFIX: &str = "TAILRACE_KAFKA_";
/// With less than this, the bridge's rings and the consumer's prefetch would leave no memory for records.
const MIN_CACHE: u64 = 4 << 20;
/// A longer wait would not be batching but a delay.
const MAX_LINGER: Duration = Duration::from_secs(1);
/// The consumer's share of the memory: a divisor and its bounds, just enough to keep fetches running.
const PREFETCH_SHARE: usize = 16;
const PREFETCH: (usize, usize) = (1 << 20, 64 << 20);
/// The share for bytes that clients have not read yet, likewise.
const UNREAD_SHARE: usize = 16;
const UNREAD: (usize, usize) = (1 << 20, 64 << 20);

/// All settings that a server needs, checked.
pub(crate) struct Plan {
    pub(crate) kafka: KafkaSettings,
    pub(crate) web: WebSettings,
    pub(crate) process: Process,
}

/// The checked settings that no package owns.
pub(crate) struct Process {
    /// Memory for everything that grows with traffic, in bytes.
    pub(crate) cache: usize,
    pub(crate) linger: Duration,
    pub(crate) log: String,
    pub(crate) log_format: Format,
}

impl Process {
    /// The most bytes that the consumer may hold before it passes them to the bridge.
    pub(crate) fn prefetch(&self) -> usize {
        (self.cache / PREFETCH_SHARE).clamp(PREFETCH.0, PREFETCH.1)
    }

    /// The most bytes of encoded frames that slow clients may hold.
    pub(crate) fn unread(&self) -> usize {
        (self.cache / UNREAD_SHARE).clamp(UNREAD.0, UNREAD.1)
    }

    /// The rest, for records and frames.
    pub(crate) fn records(&self) -> usize {
        self.cache - self.prefetch() - self.unread()
    }
}

/// Checks everything.
pub(crate) fn plan(settings: &Settings, environment: &Environment) -> Result<Plan, Refusal> {
    environment.refuse_unknown()?;
    let process = process(&settings.process)?;
    refuse_empty(settings)?;
    let mut web = settings.web.settings().map_err(|e| Refusal::value(e.variable, &e.value, e.accepted))?;
    web.set_unread(process.unread());
    let passed = environment.kafka()?;
    web.set_configuration([settings.values.clone(), values::of_kafka(&passed)].concat());
    let instance = instance(web.listen().port());
    let mut kafka = settings.kafka.settings(passed, &instance).map_err(|e| environment.kafka_refusal(&e))?;
    kafka.prefetch = process.prefetch();
    check_masks(&web, &kafka, &settings.kafka.event_type_from)?;
    // Records that do not fit into memory would only be read at the start to be dropped again.
    kafka.memory = process.records();
    Ok(Plan { kafka, web, process })
}

/// Masks that mask nothing, and an event type that would show a masked field.
fn check_masks(web: &WebSettings, kafka: &KafkaSettings, event_type_from: &str) -> Result<(), Refusal> {
    let privacy = web.privacy();
    let masks = &privacy.masks;
    if let Some(topic) = masks.topics().find(|topic| !kafka.topics.selects(topic)) {
        return Err(Refusal(format!(
            "TAILRACE_MASK masks fields of the topic {topic}, which is not served: TAILRACE_TOPICS={}",
            kafka.topics
        )));
    }
    let shown = event_type_from.strip_prefix("json:").filter(|pointer| masks.touches(pointer));
    shown.map_or(Ok(()), |pointer| {
        Err(Refusal(format!(
            "TAILRACE_EVENT_TYPE_FROM={event_type_from} would show what TAILRACE_MASK masks: {pointer}, or a field around or in it"
        )))
    })
}

/// If several required settings are missing, one message names all of them.
fn refuse_empty(settings: &Settings) -> Result<(), Refusal> {
    let missing = [settings.kafka.missing(), settings.web.missing()].concat();
    match missing[..] {
        [] | [_] => Ok(()),
        _ => Err(Refusal(format!(
            "not set: {}. `tailrace demo` shows all of it without Kafka and without settings; `tailrace --help` names the rest",
            missing.join("; ")
        ))),
    }
}

fn process(args: &ProcessArgs) -> Result<Process, Refusal> {
    let cache = read::<ByteSize>("TAILRACE_CACHE_SIZE", &args.cache_size)?.get();
    if cache < MIN_CACHE {
        return Err(Refusal::value("TAILRACE_CACHE_SIZE", &args.cache_size, "a size of at least 4MiB"));
    }
    let linger = read::<Span>("TAILRACE_LINGER", &args.linger)?.get();
    if linger > MAX_LINGER {
        return Err(Refusal::value("TAILRACE_LINGER", &args.linger, "a time of at most 1s"));
    }
    if !is_log_filter(&args.log) {
        let accepted = "error, warn, info, debug, trace, off, or directives such as info,tailrace_web=debug";
        return Err(Refusal::value("TAILRACE_LOG", &args.log, accepted));
    }
    let log_format = match args.log_format.as_str() {
        "text" => Format::Text,
        "json" => Format::Json,
        other => return Err(Refusal::value("TAILRACE_LOG_FORMAT", other, "text, json")),
    };
    let cache = usize::try_from(cache).unwrap_or(usize::MAX);
    Ok(Process { cache, linger, log: args.log.clone(), log_format })
}

/// Whether the text is a log filter. A single word that is no level would be parsed as a target that has no log lines; most
/// likely it is a misspelt level.
fn is_log_filter(text: &str) -> bool {
    let is_level = |directive: &str| directive.trim().parse::<LevelFilter>().is_ok();
    let is_directive = |directive: &str| directive.contains(['=', '[', ']']) || is_level(directive);
    !text.trim().is_empty() && EnvFilter::try_new(text).is_ok() && text.split(',').all(is_directive)
}

fn read<T: FromStr<Err: fmt::Display>>(variable: &str, value: &str) -> Result<T, Refusal> {
    value.parse().map_err(|error| Refusal::value(variable, value, error))
}

/// Host name and port, so that two servers on one host never share a consumer group. If the system will choose the port, the
/// process id replaces it.
fn instance(port: u16) -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    match port {
        0 => format!("{host}-p{}", std::process::id()),
        port => format!("{host}-{port}"),
    }
}

/// The environment variables whose names begin with [`PREFIX`].
pub(crate) struct Environment(Vec<(String, OsString)>);

impl Environment {
    pub(crate) fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
        let named = variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Environment(named.filter(|(name, _)| name.starts_with(PREFIX)).collect())
    }

    /// The same without these variables and librdkafka's properties, and the names of those that were left out.
    pub(crate) fn without_kafka(self, own: &HashSet<String>) -> (Environment, Vec<String>) {
        let is_left_out = |(name, value): &(String, OsString)| {
            own.contains(name) || name.starts_with(KAFKA_PREFIX) && !is_injected(name, value)
        };
        let (left_out, kept): (Vec<_>, Vec<_>) = self.0.into_iter().partition(is_left_out);
        (Environment(kept), left_out.into_iter().map(|(name, _)| name).collect())
    }

    /// The variables that may be librdkafka's properties.
    fn kafka(&self) -> Result<Vec<(String, String)>, Refusal> {
        let is_property =
            |(name, value): &&(String, OsString)| name.starts_with(KAFKA_PREFIX) && !is_injected(name, value);
        let passed = self.0.iter().filter(is_property);
        passed.map(|(name, value)| Ok((name.clone(), utf8(name, value)?))).collect()
    }

    /// The consumer's error has an empty value if a variable is missing, and also if it is set but its value does not matter.
    fn kafka_refusal(&self, error: &SettingsError) -> Refusal {
        let SettingsError { variable, value, accepted } = error;
        match value.is_empty() && self.0.iter().any(|(name, value)| name == variable && !value.is_empty()) {
            true => Refusal(format!("{variable} cannot be used; accepted: {accepted}")),
            false => Refusal::value(variable, value, accepted),
        }
    }

    /// Refuses unknown variables: most likely they are misspelt.
    fn refuse_unknown(&self) -> Result<(), Refusal> {
        let known = known_variables();
        let mut unknown = self.0.iter().filter(|(name, _)| !known.contains(name));
        match unknown.find(|(name, value)| !is_foreign(name, value)) {
            Some((name, _)) => Err(Refusal::unknown(name, &known)),
            None => Ok(()),
        }
    }
}

fn utf8(name: &str, value: &OsString) -> Result<String, Refusal> {
    let text = value.clone().into_string();
    text.map_err(|bad| Refusal::value(name, &bad.to_string_lossy(), "UTF-8 text"))
}

fn is_secret(variable: &str) -> bool {
    let is_it =
        |arg: &clap::Arg| arg.is_hide_env_values_set() && arg.get_env().is_some_and(|env| env == variable);
    cli::command().get_arguments().any(is_it)
}

/// Every variable that is read.
fn known_variables() -> Vec<String> {
    let command = cli::command();
    let own = command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_string_lossy().into_owned()));
    let sabotage = cfg!(feature = "sabotage").then(|| "TAILRACE_SABOTAGE".to_owned());
    own.chain(sabotage).collect()
}

/// Whether the variable is exempt from this check: it is the consumer's, or set by Kubernetes.
fn is_foreign(name: &str, value: &OsString) -> bool {
    name.starts_with(KAFKA_PREFIX) || is_injected(name, value)
}

/// Whether Kubernetes has set the variable: it describes every service of a namespace in the variables of every pod, so also a
/// service named `tailrace…`.
fn is_injected(name: &str, value: &OsString) -> bool {
    let mut words = name.split('_').rev().skip_while(|word| ["ADDR", "PORT", "PROTO"].contains(word));
    let protocol = words.next().is_some_and(|word| ["TCP", "UDP", "SCTP"].contains(&word));
    let number =
        words.next().is_some_and(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()));
    // Kubernetes sets an address here; a plain number was set by a user.
    let is_port = name.ends_with("_PORT") && value.to_string_lossy().contains("://");
    let numbered = protocol && number && words.next() == Some("PORT");
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || is_port || numbered
}

/// Wrong names that are no typing errors, each with the variable that is likely meant.
const OTHER_NAMES: [(&str, &str); 7] = [
    ("TAILRACE_BROKERS", "TAILRACE_KAFKA_BOOTSTRAP_SERVERS"),
    ("TAILRACE_BROKER", "TAILRACE_KAFKA_BOOTSTRAP_SERVERS"),
    ("TAILRACE_KAFKA", "TAILRACE_KAFKA_BOOTSTRAP_SERVERS"),
    ("TAILRACE_PORT", "TAILRACE_LISTEN"),
    ("TAILRACE_HOST", "TAILRACE_LISTEN"),
    ("TAILRACE_TENANT", "TAILRACE_TENANT_FROM"),
    ("TAILRACE_GROUP", "TAILRACE_GROUP_PREFIX"),
];

/// A setting that cannot be used, explained to the person who must change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(String);

impl Refusal {
    /// A value that is not accepted; an empty value is reported as missing, a secret is not repeated.
    pub(crate) fn value(variable: impl fmt::Display, value: &str, accepted: impl fmt::Display) -> Refusal {
        let (variable, accepted) = (variable.to_string(), accepted.to_string());
        // Errors of the bridge begin with a reason of their own, or with `accepted: `.
        let accepted =
            if accepted.contains("accepted: ") { accepted } else { format!("accepted: {accepted}") };
        Refusal(match value {
            "" => format!("{variable} is not set; {accepted}"),
            _ if is_secret(&variable) => format!("{variable}: its value is not accepted; {accepted}"),
            _ => format!("{variable}={value} is not accepted; {accepted}"),
        })
    }

    /// Properties with which no client can be created, in librdkafka's words.
    pub(crate) fn kafka(error: &KafkaError) -> Refusal {
        Refusal(format!("{error} (TAILRACE_KAFKA_…)"))
    }

    /// A flag that the demo does not have.
    pub(crate) fn flag_of_demo(flag: &str) -> Refusal {
        Refusal(format!(
            "the demo has its own Kafka, topics and rules, so it takes no --{flag}; `tailrace serve` does (all: tailrace demo --help)"
        ))
    }

    fn unknown(name: &str, known: &[String]) -> Refusal {
        if let Some((_, meant)) = OTHER_NAMES.iter().find(|(other, _)| *other == name) {
            return Refusal(format!(
                "{name} is no setting of Tailrace; what is meant is {meant} (all: tailrace --help)"
            ));
        }
        let distance = |candidate: &&String| strsim::damerau_levenshtein(name, candidate);
        let nearest = known.iter().min_by_key(distance).map_or(PREFIX, String::as_str);
        Refusal(format!("{name} is no setting of Tailrace; the nearest is {nearest} (all: tailrace --help)"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests;
