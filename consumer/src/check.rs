//! `tailrace check`: what would be served with these settings, and what is in the way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tailrace_bridge::{RawRecord, TenantNames, TopicId};
use tailrace_formats::confluent::SchemaId;

use crate::decode::{Decoder, Examined};
use crate::error::{self, KafkaError};
use crate::hint::hint;
use crate::native::{Client, Described, List, Message, OffsetQuery, Role};
use crate::properties;
use crate::registry::Registry;
use crate::report::{CheckReport, DataSample, RecordSample, Refused, SchemaSample, TopicReport};
use crate::settings::KafkaSettings;
use crate::snapshots;
use crate::watch::{MAY_NOT_DESCRIBE, MAY_NOT_READ};

const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Records looked at per topic.
const SAMPLES: usize = 20;
/// How long to wait for them.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// How long to wait for the first schema that the registry does not give, and for those after it. A registry that does not answer is
/// known as one after ten seconds.
const SCHEMA_PATIENCE: (Duration, Duration) = (Duration::from_secs(11), Duration::from_millis(200));
/// Characters of a value that are shown.
const MAX_SHOWN: usize = 200;
/// Settings of a topic that decide how far back a stream can resume.
const RETENTION: [&str; 3] = ["cleanup.policy", "retention.ms", "retention.bytes"];

/// Asks the cluster what would be served. Joins no group and commits nothing.
///
/// # Errors
/// Properties that make no client, and a cluster that does not answer.
pub async fn check(settings: KafkaSettings) -> Result<CheckReport, KafkaError> {
    let checked = tokio::task::spawn_blocking(move || Check::new(settings)?.run()).await;
    checked.unwrap_or_else(|error| Err(KafkaError::Thread(error.to_string())))
}

/// One run of the check.
struct Check {
    settings: KafkaSettings,
    admin: Client,
    decoder: Decoder,
    /// The subjects and versions of schemas.
    names: Mutex<HashMap<SchemaId, Vec<String>>>,
    /// How long to wait for the next schema.
    patience: Mutex<Duration>,
}

impl Check {
    fn new(settings: KafkaSettings) -> Result<Check, KafkaError> {
        let admin = Client::new(&properties::admin(&settings), Role::Admin)?;
        let data = settings.data.clone();
        let registry =
            data.registry.as_ref().map(|registry| Registry::start(registry, data.options)).transpose()?;
        let decoder = Decoder::new(settings.rules.clone(), settings.event_type.clone(), data, registry);
        let patience = Mutex::new(SCHEMA_PATIENCE.0);
        Ok(Check { settings, admin, decoder, names: Mutex::default(), patience })
    }

    fn run(&self) -> Result<CheckReport, KafkaError> {
        let mut names = self.settings.topics.names().to_vec();
        if self.settings.topics.has_patterns() {
            let all = self.admin.topic_names(ASK_TIMEOUT).map_err(|error| self.explain(error))?;
            names.extend(all.into_iter().filter(|name| self.settings.topics.selects(name)));
        }
        names.sort();
        names.dedup();
        let described =
            self.admin.describe_topics(&names, ASK_TIMEOUT).map_err(|error| self.explain(error))?;
        let missing =
            described.iter().filter(|topic| is_missing(topic)).map(|topic| topic.name.clone()).collect();
        let names = described.iter().filter(|topic| !is_missing(topic)).map(|topic| topic.name.as_str());
        let unmatched = self.settings.topics.unmatched(names);
        let present = described.iter().filter(|topic| !is_missing(topic));
        let topics = present.map(|topic| self.topic(topic)).collect();
        let group = self.settings.group();
        let group_problem = match self.admin.group_members(&group, ASK_TIMEOUT) {
            Err(error) if error.is_denied() => {
                Some(format!("{error} (needed: Read and Describe on the group)"))
            }
            _ => None,
        };
        let registry = self.decoder.registry().map(Registry::problems);
        Ok(CheckReport { group, group_problem, registry, missing, unmatched, topics })
    }

    /// A request that timed out hides why no broker was reached.
    fn explain(&self, error: KafkaError) -> KafkaError {
        self.admin.serve();
        match (error, self.admin.last_error()) {
            (KafkaError::Request { what, code, .. }, Some(message)) => {
                KafkaError::Request { what, code, message }
            }
            (error, _) => error,
        }
    }

    fn topic(&self, described: &Described) -> TopicReport {
        let mut report = TopicReport {
            name: described.name.clone(),
            id: TopicId::ZERO,
            partitions: 0,
            retention: Ok(Vec::new()),
            forbidden: None,
            problems: Vec::new(),
            index: None,
            formats: self.decoder.formats(&described.name),
            samples: Vec::new(),
        };
        match &described.state {
            Ok(found) => {
                (report.id, report.partitions) = (found.id, found.partitions);
                report.forbidden = (!found.is_readable).then_some(MAY_NOT_READ);
            }
            Err(code) if error::is_denied(*code) => {
                report.forbidden = Some(MAY_NOT_DESCRIBE);
                return report;
            }
            Err(code) => {
                report.problems.push(crate::native::describe(*code));
                return report;
            }
        }
        let config = self.admin.topic_config(&report.name, ASK_TIMEOUT).map_err(|error| error.to_string());
        let policy = config.as_ref().ok().map(|entries| snapshots::is_compacted(entries));
        report.index = self.settings.snapshot_topics.indexes(&report.name, policy);
        report.retention = config.map(|entries| {
            entries.into_iter().filter(|(name, _)| RETENTION.contains(&name.as_str())).collect()
        });
        if report.forbidden.is_some() {
            return report;
        }
        match self.sample(&report.name, report.partitions) {
            Ok((samples, problems)) => {
                report.samples = samples;
                report.problems.extend(problems);
            }
            Err(error) => report.problems.push(error.to_string()),
        }
        report
    }

    /// The newest records of all partitions, a few of each.
    fn sample(&self, topic: &str, partitions: usize) -> Result<(Vec<RecordSample>, Vec<String>), KafkaError> {
        let places: Vec<(&str, i32)> = (0..partitions).map(|index| (topic, index as i32)).collect();
        let starts = self.admin.list_offsets(&places, OffsetQuery::Earliest, false, ASK_TIMEOUT)?;
        let ends = self.admin.list_offsets(&places, OffsetQuery::Latest, true, ASK_TIMEOUT)?;
        let share = SAMPLES.div_ceil(partitions.max(1)) as u64;
        let (mut list, mut problems, mut open) = (List::new(partitions), Vec::new(), 0);
        for (index, (start, end)) in starts.into_iter().zip(ends).enumerate() {
            match (start, end) {
                (Ok(Some(start)), Ok(Some(end))) if end > start => {
                    let from = end.saturating_sub(share).max(start);
                    list.add(topic, index as i32, i64::try_from(from).unwrap_or(i64::MAX));
                    open += 1;
                }
                (Err(code), _) | (_, Err(code)) => {
                    problems.push(format!("partition {index}: {}", crate::native::describe(code)));
                }
                _ => {}
            }
        }
        if open == 0 {
            return Ok((Vec::new(), problems));
        }
        let reader = Client::new(&properties::reader(&self.settings), Role::Consumer)?;
        reader.assign(&list)?;
        let (mut samples, until) = (Vec::new(), Instant::now() + SAMPLE_TIMEOUT);
        let mut batch: Vec<Message> = Vec::new();
        while open > 0 && samples.len() < SAMPLES && Instant::now() < until {
            reader.poll(POLL, SAMPLES, &mut batch);
            for mut message in batch.drain(..) {
                if message.is_record() && samples.len() < SAMPLES {
                    samples.push(self.examine(topic, &mut message));
                } else if message.is_end() {
                    open -= 1;
                } else if !message.is_record() {
                    problems.push(format!("partition {}: {}", message.partition(), message.error_text()));
                    open -= 1;
                }
            }
        }
        Ok((samples, problems))
    }

    /// What would become of one record.
    fn examine(&self, topic: &str, message: &mut Message) -> RecordSample {
        let (partition, offset) = (message.partition(), message.offset());
        let patience = *self.patience.lock();
        let examined = self.decoder.examine(topic, message, patience, |raw, examined| {
            let tenant = self.settings.rules.tenant_of(topic, raw, &mut TenantNames::default());
            RecordSample {
                partition,
                offset,
                hint: tenant.as_ref().err().and_then(|failure| hint(failure, raw)),
                tenant: tenant.map(|tenant| tenant.to_string()).map_err(|error| error.to_string()),
                event_type: self.settings.event_type.event_type_of(topic, raw).map_err(str::to_owned),
                data: self.data(raw, examined),
            }
        });
        examined.unwrap_or_else(|awaited| {
            // A registry that did not answer now is not waited for as long again.
            *self.patience.lock() = SCHEMA_PATIENCE.1;
            let why = self.decoder.why(awaited);
            let data = DataSample { refused: Some(Refused::HeldBack(why)), ..DataSample::default() };
            let tenant = Err("it is not known before it is decoded".to_owned());
            RecordSample { partition, offset, tenant, event_type: Ok(None), hint: None, data }
        })
    }

    fn data(&self, raw: &RawRecord<'_>, examined: &Examined<'_>) -> DataSample {
        let schema =
            |id: Option<SchemaId>| id.map(|id| SchemaSample { id: id.to_string(), names: self.names(id) });
        let refused = examined.form.flaw.map(|flaw| {
            let (code, half) = (flaw.code.as_str(), flaw.half.as_str());
            Refused::Undecodable(format!("{code} ({half}): {}", examined.why))
        });
        let value = raw.value.filter(|_| refused.is_none()).and_then(|value| std::str::from_utf8(value).ok());
        DataSample {
            key_schema: schema(examined.key_schema),
            value_schema: schema(examined.value_schema),
            refused,
            value: value.map(|value| value.chars().take(MAX_SHOWN).collect()),
        }
    }

    fn names(&self, id: SchemaId) -> Vec<String> {
        let mut names = self.names.lock();
        let ask = || self.decoder.registry().map(|registry| registry.names(id)).unwrap_or_default();
        names.entry(id).or_insert_with(ask).clone()
    }
}

fn is_missing(topic: &Described) -> bool {
    topic.state.is_err_and(|code| code == crate::native::Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
}
