//! What `tailrace check` finds, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};
use tailrace_bridge::TopicId;

/// What would be served.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// The consumer group that would show the replica.
    pub group: String,
    /// Why the group cannot be joined or looked at; none where nothing is wrong. Nothing is kept from being served by it.
    pub group_problem: Option<String>,
    /// What is wrong with the schema registry, by address; `None`: none is set.
    pub registry: Option<Vec<String>>,
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
    /// Whether an index of its keys is kept for `from=snapshot`; `None` where Kafka does not say whether it is compacted.
    pub index: Option<bool>,
    /// The formats of its keys and values; `None`: both stand as they are.
    pub formats: Option<[&'static str; 2]>,
    /// Some of its newest records.
    pub samples: Vec<RecordSample>,
}

/// What the rules make of one record.
#[derive(Clone, Debug)]
pub struct RecordSample {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: u64,
    /// Whose it is, or why it would go to nobody.
    pub tenant: Result<String, String>,
    /// Where there is no tenant: the rule that was likely meant.
    pub hint: Option<String>,
    /// Its SSE event type; or why the one that was found would not be used.
    pub event_type: Result<Option<String>, String>,
    /// What becomes of its key and its value.
    pub data: DataSample,
}

/// What the formats make of one record.
#[derive(Clone, Debug, Default)]
pub struct DataSample {
    /// The schema that its key names.
    pub key_schema: Option<SchemaSample>,
    /// The schema that its value names.
    pub value_schema: Option<SchemaSample>,
    /// Why it does not come as it should.
    pub refused: Option<Refused>,
    /// How the value begins, if it is text.
    pub value: Option<String>,
}

/// Why a record does not come as it should.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// It comes undecoded, as bytes, and says so.
    Undecodable(String),
    /// It waits, and what is behind it in its partition, too.
    HeldBack(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Undecodable(why) => write!(f, "undecodable, {why}"),
            Refused::HeldBack(why) => write!(f, "held back: {why}"),
        }
    }
}

/// A schema of the registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaSample {
    /// Its id, or its GUID.
    pub id: String,
    /// Its subjects and versions, such as `orders-value version 3`.
    pub names: Vec<String>,
}

impl fmt::Display for SchemaSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schema {}", self.id)?;
        if self.names.is_empty() { Ok(()) } else { write!(f, " ({})", self.names.join(", ")) }
    }
}

/// What becomes of records that come to the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Outcome {
    records: usize,
    what: String,
    tenant: Option<String>,
    event_type: Option<String>,
    /// The rule that was likely meant.
    hint: Option<String>,
    /// The place of the first of them.
    partition: i32,
    offset: u64,
}

impl Outcome {
    fn of(sample: &RecordSample) -> Outcome {
        Outcome {
            records: 0,
            what: sample.outcome(),
            tenant: sample.tenant.as_ref().ok().cloned(),
            event_type: sample.event_type.clone().ok().flatten(),
            hint: sample.hint.clone(),
            partition: sample.partition,
            offset: sample.offset,
        }
    }
}

impl CheckReport {
    /// The same as the text, for programs; `good` is [`CheckReport::is_good`]. Names are those of the text.
    pub fn as_json(&self) -> Value {
        json!({
            "good": self.is_good(),
            "group": self.group,
            "group_problem": self.group_problem,
            "registry_problems": self.registry,
            "missing": self.missing,
            "unmatched": self.unmatched,
            "topics": self.topics.iter().map(TopicReport::as_json).collect::<Vec<_>>(),
        })
    }

    /// Whether everything that is configured would be served. A record that cannot be decoded is served, as bytes; a topic of which
    /// none can be decoded has the wrong format.
    pub fn is_good(&self) -> bool {
        let is_registry_good = self.registry.as_ref().is_none_or(Vec::is_empty);
        let is_all_there = self.missing.is_empty() && self.unmatched.is_empty();
        is_registry_good && is_all_there && self.topics.iter().all(TopicReport::is_good)
    }
}

impl TopicReport {
    fn is_good(&self) -> bool {
        let is_served = |sample: &RecordSample| {
            sample.tenant.is_ok() && !matches!(sample.data.refused, Some(Refused::HeldBack(_)))
        };
        let is_decoded = self.samples.is_empty() || self.samples.iter().any(|s| s.data.refused.is_none());
        let samples_are_good = is_decoded && self.samples.iter().all(is_served);
        self.state() == "served" && self.problems.is_empty() && samples_are_good
    }

    /// Twenty lines that say the same say less than one.
    fn outcomes(&self) -> Vec<Outcome> {
        let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
        for sample in &self.samples {
            outcomes.entry(sample.outcome()).or_insert_with(|| Outcome::of(sample)).records += 1;
        }
        outcomes.into_values().collect()
    }

    /// The schemas of keys and values, each with the number of records.
    fn schemas(&self) -> BTreeMap<(&'static str, &SchemaSample), usize> {
        let mut schemas = BTreeMap::new();
        for data in self.samples.iter().map(|sample| &sample.data) {
            for (half, schema) in [("key", &data.key_schema), ("value", &data.value_schema)] {
                if let Some(schema) = schema {
                    *schemas.entry((half, schema)).or_default() += 1;
                }
            }
        }
        schemas
    }

    /// Why records would not come as they should, each with their number and the first of them.
    fn refused(&self) -> BTreeMap<&Refused, (usize, &RecordSample)> {
        let mut refused = BTreeMap::new();
        for sample in &self.samples {
            if let Some(why) = &sample.data.refused {
                refused.entry(why).or_insert((0, sample)).0 += 1;
            }
        }
        refused
    }

    /// How one of the values begins, where they are decoded.
    fn value(&self) -> Option<&str> {
        let values = || self.samples.iter().filter_map(|sample| sample.data.value.as_deref());
        self.formats.and_then(|_| values().next())
    }

    fn as_json(&self) -> Value {
        let retention = self.retention.as_ref().ok().map(|entries| entries.iter().cloned().collect());
        json!({
            "name": self.name,
            "state": self.state(),
            "forbidden": self.forbidden,
            "id": (!self.id.is_zero()).then(|| self.id.to_string()),
            "partitions": self.partitions,
            "retention": retention as Option<BTreeMap<String, String>>,
            "retention_problem": self.retention.as_ref().err(),
            "problems": self.problems,
            "records": self.samples.len(),
            "snapshot_index": self.index,
            "formats": self.formats.map(|[key, value]| json!({ "key": key, "value": value })),
            "schemas": self.schemas().iter().map(|((half, schema), records)| json!({
                "of": half, "id": schema.id, "names": schema.names, "records": records,
            })).collect::<Vec<_>>(),
            "refused": self.refused().iter().map(|(why, (records, sample))| json!({
                "why": why.to_string(), "records": records, "partition": sample.partition, "offset": sample.offset,
            })).collect::<Vec<_>>(),
            "sample": self.value(),
            "outcomes": self.outcomes(),
        })
    }

    /// What it would be: `served`, `forbidden`, or `unroutable` where none of the records that were looked at has a tenant.
    pub fn state(&self) -> &'static str {
        let is_lost = |sample: &RecordSample| sample.tenant.is_err();
        match self.forbidden {
            Some(_) => "forbidden",
            None if !self.samples.is_empty() && self.samples.iter().all(is_lost) => "unroutable",
            None => "served",
        }
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "consumer group  {}", self.group)?;
        if let Some(problem) = &self.group_problem {
            writeln!(f, "  it will not show this replica: {problem}; that keeps nothing from being served")?;
        }
        match self.registry.as_deref() {
            None => {}
            Some([]) => writeln!(f, "schema registry answers")?,
            Some(problems) => {
                for problem in problems {
                    writeln!(
                        f,
                        "schema registry at {problem}; records that need a schema of it are held back"
                    )?;
                }
            }
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
        match self.index {
            Some(true) => writeln!(f, "  snapshots: an index of its keys is kept")?,
            Some(false) => writeln!(f, "  snapshots: without an index, so each reads the topic through")?,
            None => writeln!(
                f,
                "  snapshots: each reads the topic through, since it is not known whether it is compacted"
            )?,
        }
        if self.samples.is_empty() && self.forbidden.is_none() {
            writeln!(f, "  no records to look at")?;
        }
        self.fmt_data(f)?;
        for outcome in self.outcomes() {
            let (count, all) = (outcome.records, self.samples.len());
            let (what, partition, offset) = (&outcome.what, outcome.partition, outcome.offset);
            writeln!(f, "  {count} of {all} records: {what} (such as [{partition}]@{offset})")?;
            if let Some(hint) = &outcome.hint {
                writeln!(f, "    did you mean {hint}?")?;
            }
        }
        Ok(())
    }
}

impl TopicReport {
    fn fmt_data(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some([key, value]) = self.formats else { return Ok(()) };
        let all = self.samples.len();
        writeln!(f, "  keys {key}, values {value}")?;
        for ((half, schema), count) in self.schemas() {
            writeln!(f, "  {count} of {all} {half}s by {schema}")?;
        }
        for (why, (count, sample)) in self.refused() {
            writeln!(
                f,
                "  {count} of {all} records {why} (such as [{}]@{})",
                sample.partition, sample.offset
            )?;
        }
        self.value().map_or(Ok(()), |value| writeln!(f, "  a value: {}", on_one_line(value)))
    }
}

impl RecordSample {
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

/// The text with what would move the cursor as escapes.
fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { line.extend(character.escape_default()) } else { line.push(character) }
    }
    line
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
    fn a_value_is_shown_on_one_line() {
        assert_eq!(on_one_line("{\"a\":\"é\"}\r\n\u{1b}[0m"), "{\"a\":\"é\"}\\r\\n\\u{1b}[0m");
    }

    #[test]
    fn retention_is_readable() {
        assert_eq!(retention("retention.ms", "604800000"), "retention.ms 604800000 (7 days)");
        assert_eq!(retention("retention.bytes", "-1"), "retention.bytes without limit");
    }

    #[test]
    fn a_record_of_nobody_makes_the_report_bad_and_is_said() {
        let sample = RecordSample {
            partition: 3,
            offset: 1042,
            tenant: Err("no header \"tenant\"".to_owned()),
            event_type: Ok(None),
            hint: Some("header:org".to_owned()),
            data: DataSample::default(),
        };
        let topic = TopicReport {
            name: "orders".to_owned(),
            id: TopicId::ZERO,
            partitions: 4,
            retention: Ok(Vec::new()),
            forbidden: None,
            problems: Vec::new(),
            index: Some(false),
            formats: None,
            samples: vec![sample.clone(), RecordSample { offset: 1043, ..sample }],
        };
        let report = CheckReport {
            group: "g".to_owned(),
            group_problem: None,
            registry: None,
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
        assert!(text.contains("\n    did you mean header:org?\n"), "{text}");
        let json = report.as_json();
        assert_eq!((&json["good"], &json["topics"][0]["state"]), (&json!(false), &json!("unroutable")));
        let outcome = json!({
            "records": 2, "what": "to nobody, no header \"tenant\"", "tenant": null, "event_type": null,
            "hint": "header:org", "partition": 3, "offset": 1042,
        });
        assert_eq!(json["topics"][0]["outcomes"], json!([outcome]));
    }

    #[test]
    fn schemas_samples_and_what_is_refused_are_said() {
        let schema = SchemaSample { id: "17".to_owned(), names: vec!["orders-value version 3".to_owned()] };
        let good = DataSample {
            value_schema: Some(schema),
            value: Some("{\"id\":1}".to_owned()),
            ..DataSample::default()
        };
        let why = "unknown_schema (value): the registry has no schema 99";
        let refused = |why| DataSample { refused: Some(why), ..DataSample::default() };
        let bad = refused(Refused::Undecodable(why.to_owned()));
        let sample = |offset, data| RecordSample {
            partition: 0,
            offset,
            tenant: Ok("acme".to_owned()),
            event_type: Ok(None),
            hint: None,
            data,
        };
        let topic = TopicReport {
            name: "orders".to_owned(),
            id: TopicId::ZERO,
            partitions: 1,
            retention: Ok(Vec::new()),
            forbidden: None,
            problems: Vec::new(),
            index: Some(true),
            formats: Some(["text", "auto"]),
            samples: vec![sample(1, good.clone()), sample(2, good), sample(3, bad.clone())],
        };
        let text = topic.to_string();
        for line in [
            "  keys text, values auto\n",
            "  2 of 3 values by schema 17 (orders-value version 3)\n",
            "  1 of 3 records undecodable, unknown_schema (value): the registry has no schema 99 (such as [0]@3)\n",
            "  snapshots: an index of its keys is kept\n",
            "  a value: {\"id\":1}\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let json = topic.as_json();
        assert_eq!(json["formats"], json!({"key": "text", "value": "auto"}));
        assert_eq!((&json["schemas"][0]["id"], &json["schemas"][0]["records"]), (&json!("17"), &json!(2)));
        assert_eq!((&json["refused"][0]["offset"], &json["sample"]), (&json!(3), &json!("{\"id\":1}")));
        assert!(topic.is_good(), "a record that cannot be decoded is served, too");
        let with = |samples| TopicReport { samples, ..topic.clone() };
        assert!(!with(vec![sample(3, bad)]).is_good(), "none can be decoded");
        let held = refused(Refused::HeldBack("schema 7 is being asked for".to_owned()));
        assert!(!with([topic.samples.clone(), vec![sample(4, held)]].concat()).is_good());
    }
}
