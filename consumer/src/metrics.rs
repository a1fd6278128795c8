//! Every metric of this package.

use std::time::Duration;

use metrics::{Counter, Unit, counter, describe_counter, describe_gauge, gauge};
use tailrace_bridge::{EventTypeRule, FlawCode, Unroutable};

/// Registers the metrics of this package with their help texts.
pub fn describe_metrics() {
    describe_gauge!("tailrace_kafka_connected", "1 while Kafka answers, else 0");
    describe_counter!("tailrace_records_consumed_total", "Records read by the tail, by topic");
    describe_counter!(
        "tailrace_records_unroutable_total",
        "Records whose tenant cannot be told, by topic and reason"
    );
    describe_counter!(
        "tailrace_records_undecodable_total",
        "Records of which a part could not be used: a key or a value that cannot be decoded, an event type; by topic and reason"
    );
    describe_gauge!(
        "tailrace_consumer_lag_records",
        "Offsets between the tail's heads and the ends of all partitions, by topic"
    );
    describe_gauge!("tailrace_consumer_lag_records_max", "The same of the partition with most, by topic");
    describe_gauge!(
        "tailrace_consumer_lag_seconds",
        Unit::Seconds,
        "For how long a tail's head has been behind its partition's end, the longest, by topic"
    );
    describe_gauge!(
        "tailrace_partition_lag_records",
        "Offsets between the tail's head and the partition's end, where TAILRACE_LAG_METRICS=partition"
    );
    describe_gauge!(
        "tailrace_partition_lag_seconds",
        Unit::Seconds,
        "For how long the tail's head has been behind, where TAILRACE_LAG_METRICS=partition"
    );
    describe_counter!(
        "tailrace_history_bytes_read_total",
        Unit::Bytes,
        "Bytes of records read from Kafka for replays"
    );
    describe_counter!("tailrace_history_requests_total", "Reads of history from Kafka, by outcome");
    describe_counter!(
        "tailrace_history_assignments_total",
        "Reads of history that did not continue an earlier one"
    );
    describe_counter!(
        "tailrace_reader_restarts_total",
        "Times that the reading of a partition, or of all, was begun anew by a client, by reason"
    );
    describe_counter!(
        "tailrace_group_commits_total",
        "Commits of positions to the consumer group that shows this replica, by outcome"
    );
    describe_gauge!(
        "tailrace_oldest_resumable_age_seconds",
        Unit::Seconds,
        "Age of the oldest record from which on Kafka still has all of a topic, by topic"
    );
    describe_gauge!(
        "tailrace_topic_state",
        "1 for the state that a topic is in, 0 for those that it was in before, by topic and state"
    );
    describe_gauge!(
        "tailrace_partitions_held_back",
        "Partitions that wait for a schema that the registry does not give, by topic"
    );
    describe_counter!(
        "tailrace_schema_registry_requests_total",
        "Schemas asked for, one address at a time, by outcome"
    );
    describe_gauge!("tailrace_schemas", "Schemas of the registry in memory");
    gauge!("tailrace_kafka_connected").set(0.0);
    schemas(0);
    for outcome in ["ok", "absent", "failed"] {
        counter!("tailrace_schema_registry_requests_total", "outcome" => outcome).absolute(0);
    }
    for reason in RESTARTS {
        counter!("tailrace_reader_restarts_total", "reason" => reason).absolute(0);
    }
    for outcome in ["ok", "out_of_range", "truncated", "gone", "unavailable", "held_back"] {
        counter!("tailrace_history_requests_total", "outcome" => outcome).absolute(0);
    }
    counter!("tailrace_history_assignments_total").absolute(0);
    counter!("tailrace_history_bytes_read_total").absolute(0);
    for outcome in ["ok", "failed"] {
        counter!("tailrace_group_commits_total", "outcome" => outcome).absolute(0);
    }
}

/// Why reading is begun anew: a topic was created again; a partition brought nothing; nor did it then, so that a new client
/// took over all; a client ended with an error.
const RESTARTS: [&str; 4] = ["recreated", "partition_stuck", "client_stuck", "failed"];

pub(crate) fn connected(yes: bool) {
    gauge!("tailrace_kafka_connected").set(f64::from(u8::from(yes)));
}

/// Shows a topic's counters before there is anything to count: an alert on what is absent never fires.
pub(crate) fn topic_found(topic: &str) {
    consumed(topic).absolute(0);
    held_back(topic, 0);
    let codes = FlawCode::ALL.map(FlawCode::as_str);
    let undecodable = [&EventTypeRule::REASONS[..], &codes].concat();
    let counters = [
        ("tailrace_records_unroutable_total", &Unroutable::REASONS[..]),
        ("tailrace_records_undecodable_total", &undecodable),
    ];
    for (name, reasons) in counters {
        for reason in reasons {
            counter!(name, "topic" => topic.to_owned(), "reason" => *reason).absolute(0);
        }
    }
}

/// The counter of one topic's records, to be kept by who counts often.
pub(crate) fn consumed(topic: &str) -> Counter {
    counter!("tailrace_records_consumed_total", "topic" => topic.to_owned())
}

pub(crate) fn unroutable(topic: &str, reason: &'static str) {
    counter!("tailrace_records_unroutable_total", "topic" => topic.to_owned(), "reason" => reason)
        .increment(1);
}

pub(crate) fn undecodable(topic: &str, reason: &'static str) {
    counter!("tailrace_records_undecodable_total", "topic" => topic.to_owned(), "reason" => reason)
        .increment(1);
}

/// How many partitions of a topic wait for schemas.
pub(crate) fn held_back(topic: &str, partitions: usize) {
    gauge!("tailrace_partitions_held_back", "topic" => topic.to_owned()).set(partitions as f64);
}

/// One address of the registry was asked for a schema.
pub(crate) fn registry_asked(outcome: &'static str) {
    counter!("tailrace_schema_registry_requests_total", "outcome" => outcome).increment(1);
}

/// How many schemas are in memory.
pub(crate) fn schemas(count: usize) {
    gauge!("tailrace_schemas").set(count as f64);
}

/// Lag of one topic: of all its partitions in records, and the highest of any in records and in seconds.
pub(crate) fn lag(topic: &str, records: u64, most: u64, seconds: f64) {
    gauge!("tailrace_consumer_lag_records", "topic" => topic.to_owned()).set(records as f64);
    gauge!("tailrace_consumer_lag_records_max", "topic" => topic.to_owned()).set(most as f64);
    gauge!("tailrace_consumer_lag_seconds", "topic" => topic.to_owned()).set(seconds);
}

pub(crate) fn partition_lag(topic: &str, partition: u32, records: u64, seconds: f64) {
    let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
    gauge!("tailrace_partition_lag_records", &labels).set(records as f64);
    gauge!("tailrace_partition_lag_seconds", &labels).set(seconds);
}

/// How far back Kafka has all of a topic.
pub(crate) fn oldest_resumable(topic: &str, age: Duration) {
    gauge!("tailrace_oldest_resumable_age_seconds", "topic" => topic.to_owned()).set(age.as_secs_f64());
}

/// The state that a topic has left, if it was in one, and the one that it is in now, if it is still anything to this process.
/// States that it was never in have no series.
pub(crate) fn topic_state(topic: &str, before: Option<&'static str>, now: Option<&'static str>) {
    for (state, value) in [(before, 0.0), (now, 1.0)] {
        if let Some(state) = state {
            gauge!("tailrace_topic_state", "topic" => topic.to_owned(), "state" => state).set(value);
        }
    }
}

pub(crate) fn history_read(outcome: &'static str, bytes: usize) {
    counter!("tailrace_history_requests_total", "outcome" => outcome).increment(1);
    counter!("tailrace_history_bytes_read_total").increment(bytes as u64);
}

pub(crate) fn history_assigned() {
    counter!("tailrace_history_assignments_total").increment(1);
}

pub(crate) fn reader_restarted(reason: &'static str) {
    counter!("tailrace_reader_restarts_total", "reason" => reason).increment(1);
}

pub(crate) fn committed(outcome: &'static str) {
    counter!("tailrace_group_commits_total", "outcome" => outcome).increment(1);
}
