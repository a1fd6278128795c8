//! Every metric of this package.

use metrics::{Counter, Unit, counter, describe_counter, describe_gauge, gauge};
use tailrace_bridge::{EventTypeRule, Unroutable};

/// Registers the metrics of this package with their help texts.
pub fn describe_metrics() {
    describe_gauge!("tailrace_kafka_connected", "1 while Kafka answers, else 0");
    describe_counter!("tailrace_records_consumed_total", "Records read by the consumer group, by topic");
    describe_counter!(
        "tailrace_records_unroutable_total",
        "Records whose tenant cannot be told, by topic and reason"
    );
    describe_counter!(
        "tailrace_records_undecodable_total",
        "Records of which a part could not be used, by topic and reason"
    );
    describe_gauge!(
        "tailrace_consumer_lag_records",
        "Offsets between the tail's head and the partition's end, by topic and partition"
    );
    describe_gauge!(
        "tailrace_consumer_lag_seconds",
        Unit::Seconds,
        "For how long the tail's head has been behind the partition's end, by topic and partition"
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
        "tailrace_rebalances_total",
        "Assignments and revocations of the consumer group, by kind"
    );
    gauge!("tailrace_kafka_connected").set(0.0);
    for kind in ["assigned", "revoked"] {
        counter!("tailrace_rebalances_total", "kind" => kind).absolute(0);
    }
}

pub(crate) fn connected(yes: bool) {
    gauge!("tailrace_kafka_connected").set(f64::from(u8::from(yes)));
}

/// Shows a topic's counters before there is anything to count: an alert on what is absent never fires.
pub(crate) fn topic_found(topic: &str) {
    consumed(topic).absolute(0);
    let counters = [
        ("tailrace_records_unroutable_total", &Unroutable::REASONS[..]),
        ("tailrace_records_undecodable_total", &EventTypeRule::REASONS[..]),
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

pub(crate) fn lag(topic: &str, partition: u32, records: u64, seconds: f64) {
    let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
    gauge!("tailrace_consumer_lag_records", &labels).set(records as f64);
    gauge!("tailrace_consumer_lag_seconds", &labels).set(seconds);
}

pub(crate) fn history_read(outcome: &'static str, bytes: usize) {
    counter!("tailrace_history_requests_total", "outcome" => outcome).increment(1);
    counter!("tailrace_history_bytes_read_total").increment(bytes as u64);
}

pub(crate) fn history_assigned() {
    counter!("tailrace_history_assignments_total").increment(1);
}

pub(crate) fn rebalanced(kind: &'static str) {
    counter!("tailrace_rebalances_total", "kind" => kind).increment(1);
}
