//! `tailrace check`: what would be served with these settings, and what is in the way.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use tailrace_bridge::{EventTypeRule, Headers, RawRecord, TenantNames, TenantRules, TopicId};

use crate::error::{self, KafkaError};
use crate::native::{Client, Described, List, Message, OffsetQuery, Role};
use crate::properties;
use crate::settings::KafkaSettings;
use crate::watch::{MAY_NOT_DESCRIBE, MAY_NOT_READ};

const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Records looked at per topic.
const SAMPLES: usize = 20;
/// How long to wait for them.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// Settings of a topic that decide how far back a stream can resume.
const RETENTION: [&str; 3] = ["cleanup.policy", "retention.ms", "retention.bytes"];

/// What would be served.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// The consumer group that would show the replica.
    pub group: String,
    /// Why the group cannot be joined or looked at; none where nothing is wrong. Nothing is kept from being served by it.
    pub group_problem: Option<String>,
    /// Names that are configured and not there.
    pub missing: Vec<String>,
    /// Patterns that no topic matches.
    pub unmatched: Vec<String>,
    /// Topics that are there, by name.
    pub topics: Vec<TopicReport>,
}

/// What is known of one topic.
#[derive(Clone, Debug)]
pub struct TopicReport {
    /// Its name.
    pub name: String,
    /// Its Kafka topic id; zero where the broker has none.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: usize,
    /// Its retention, as names and values of Kafka's settings; or why it is not known.
    pub retention: Result<Vec<(String, String)>, String>,
    /// Why it may not be read; none where it may.
    pub forbidden: Option<&'static str>,
    /// What else is in the way of serving it, such as partitions without a leader.
    pub problems: Vec<String>,
    /// Some of its newest records.
    pub samples: Vec<PartitionSample>,
}

/// What the rules make of one record.
#[derive(Clone, Debug)]
pub struct PartitionSample {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: u64,
    /// Whose it is, or why it would go to nobody.
    pub tenant: Result<String, String>,
    /// Its SSE event type; or why the one that was found would not be used.
    pub event_type: Result<Option<String>, String>,
}

impl CheckReport {
    /// Whether everything that is configured would be served.
    pub fn is_good(&self) -> bool {
        let routed = |topic: &TopicReport| topic.samples.iter().all(|sample| sample.tenant.is_ok());
        let fine =
            |topic: &TopicReport| topic.state() == "served" && topic.problems.is_empty() && routed(topic);
        self.missing.is_empty() && self.unmatched.is_empty() && self.topics.iter().all(fine)
    }
}

impl TopicReport {
    /// What it would be: `served`, `forbidden`, or `unroutable` where none of the records that were looked at has a tenant.
    pub fn state(&self) -> &'static str {
        let is_lost = |sample: &PartitionSample| sample.tenant.is_err();
        match self.forbidden {
            Some(_) => "forbidden",
            None if !self.samples.is_empty() && self.samples.iter().all(is_lost) => "unroutable",
            None => "served",
        }
    }
}

/// Asks the cluster what would be served. Joins no group and commits nothing.
///
/// # Errors
/// Properties that make no client, and a cluster that does not answer.
pub async fn check(settings: KafkaSettings) -> Result<CheckReport, KafkaError> {
    let checked = tokio::task::spawn_blocking(move || Check::new(settings)?.run()).await;
    checked.unwrap_or_else(|error| Err(KafkaError::Thread(error.to_string())))
}

struct Check {
    settings: KafkaSettings,
    admin: Client,
}

impl Check {
    fn new(settings: KafkaSettings) -> Result<Check, KafkaError> {
        let admin = Client::new(&properties::admin(&settings), Role::Admin)?;
        Ok(Check { settings, admin })
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
        Ok(CheckReport { group, group_problem, missing, unmatched, topics })
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
        report.retention = self.admin.topic_config(&report.name, ASK_TIMEOUT).map(|entries| {
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
    fn sample(
        &self,
        topic: &str,
        partitions: usize,
    ) -> Result<(Vec<PartitionSample>, Vec<String>), KafkaError> {
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
                    samples.push(sample(
                        topic,
                        &mut message,
                        &self.settings.rules,
                        &self.settings.event_type,
                    ));
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
}

fn is_missing(topic: &Described) -> bool {
    topic.state.is_err_and(|code| code == crate::native::Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
}

fn sample(
    topic: &str,
    message: &mut Message,
    rules: &TenantRules,
    event_type: &EventTypeRule,
) -> PartitionSample {
    let mut headers = Vec::new();
    message.take_headers(&mut headers);
    let headers = Headers::written(&headers);
    let raw = RawRecord { key: message.key(), value: message.value(), headers };
    PartitionSample {
        partition: message.partition(),
        offset: message.offset(),
        tenant: rules
            .tenant_of(topic, &raw, &mut TenantNames::default())
            .map(|tenant| tenant.to_string())
            .map_err(|error| error.to_string()),
        event_type: event_type.event_type_of(topic, &raw).map_err(str::to_owned),
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "consumer group  {}", self.group)?;
        if let Some(problem) = &self.group_problem {
            writeln!(f, "  it will not show this replica: {problem}; that keeps nothing from being served")?;
        }
        for name in &self.missing {
            writeln!(f, "\n{name}\n  missing: it is served once it exists")?;
        }
        for pattern in &self.unmatched {
            writeln!(f, "\n{pattern}\n  no topic matches: one that appears is served")?;
        }
        self.topics.iter().try_for_each(|topic| write!(f, "\n{topic}"))
    }
}

impl fmt::Display for TopicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.forbidden.map(|why| format!(": {why}")).unwrap_or_default();
        writeln!(f, "{}\n  {}{why}", self.name, self.state())?;
        for problem in &self.problems {
            writeln!(f, "  problem: {problem}")?;
        }
        if self.partitions == 0 {
            return Ok(());
        }
        let id = if self.id.is_zero() { "none".to_owned() } else { self.id.to_string() };
        writeln!(f, "  partitions {}, topic id {id}", self.partitions)?;
        match &self.retention {
            Ok(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|(name, value)| retention(name, value)).collect();
                writeln!(f, "  {}", entries.join(", "))?;
            }
            Err(error) => {
                writeln!(f, "  retention not known: {error} (needed: DescribeConfigs on the topic)")?
            }
        }
        if self.samples.is_empty() && self.forbidden.is_none() {
            writeln!(f, "  no records to look at")?;
        }
        // Twenty lines that say the same say less than one.
        let mut outcomes: BTreeMap<String, Vec<&PartitionSample>> = BTreeMap::new();
        self.samples.iter().for_each(|sample| outcomes.entry(sample.outcome()).or_default().push(sample));
        for (outcome, samples) in &outcomes {
            let (count, all, first) = (samples.len(), self.samples.len(), samples[0]);
            writeln!(
                f,
                "  {count} of {all} records: {outcome} (such as [{}]@{})",
                first.partition, first.offset
            )?;
        }
        Ok(())
    }
}

impl PartitionSample {
    /// What becomes of the record, in words.
    fn outcome(&self) -> String {
        match (&self.tenant, &self.event_type) {
            (Err(why), _) => format!("to nobody, {why}"),
            (Ok(tenant), Ok(Some(event_type))) => format!("tenant {tenant}, type {event_type}"),
            (Ok(tenant), Ok(None)) => format!("tenant {tenant}"),
            (Ok(tenant), Err(why)) => format!("tenant {tenant}, type not used: {why}"),
        }
    }
}

/// Milliseconds as days or hours, since nobody reads 604800000.
fn retention(name: &str, value: &str) -> String {
    const HOUR: u64 = 3_600_000;
    match (name, value.parse::<u64>()) {
        (_, Err(_)) if value == "-1" => format!("{name} without limit"),
        ("retention.ms", Ok(millis)) if millis >= 48 * HOUR => {
            format!("{name} {value} ({} days)", millis / (24 * HOUR))
        }
        ("retention.ms", Ok(millis)) if millis >= HOUR => format!("{name} {value} ({} hours)", millis / HOUR),
        _ => format!("{name} {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_readable() {
        assert_eq!(retention("retention.ms", "604800000"), "retention.ms 604800000 (7 days)");
        assert_eq!(retention("retention.bytes", "-1"), "retention.bytes without limit");
    }

    #[test]
    fn a_record_of_nobody_makes_the_report_bad_and_is_said() {
        let sample = PartitionSample {
            partition: 3,
            offset: 1042,
            tenant: Err("no header \"tenant\"".to_owned()),
            event_type: Ok(None),
        };
        let topic = TopicReport {
            name: "orders".to_owned(),
            id: TopicId::ZERO,
            partitions: 4,
            retention: Ok(Vec::new()),
            forbidden: None,
            problems: Vec::new(),
            samples: vec![sample.clone(), PartitionSample { offset: 1043, ..sample }],
        };
        let report = CheckReport {
            group: "g".to_owned(),
            group_problem: None,
            missing: Vec::new(),
            unmatched: Vec::new(),
            topics: vec![topic],
        };
        assert!(!report.is_good());
        assert!(report.to_string().contains("orders\n  unroutable\n"), "{report}");
        let text = report.to_string();
        assert!(
            text.contains("2 of 2 records: to nobody, no header \"tenant\" (such as [3]@1042)"),
            "{text}"
        );
    }
}
