//! Every metric of this package.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use crate::end::End;
use crate::limit::Limit;
use crate::problem::PassingCode;

/// Registers this package's metrics with their help texts; all names are exported from the first scrape on.
pub fn describe_metrics() {
    describe_gauge!("tailrace_ready", "Whether /readyz is green: 1 or 0");
    describe_gauge!("tailrace_streams", "Open streams");
    describe_gauge!("tailrace_streams_limit", "Open streams that there may be in all; +Inf: no limit");
    metrics_process::Collector::default().describe();
    describe_counter!("tailrace_streams_accepted_total", "Streams begun");
    describe_counter!("tailrace_streams_refused_total", "Streams not begun, by reason");
    describe_counter!("tailrace_streams_closed_total", "Streams ended, by reason");
    describe_counter!("tailrace_frames_sent_total", "Records given to sockets as frames");
    describe_counter!("tailrace_sent_bytes_total", "Bytes of streams given to sockets");
    describe_counter!(
        "tailrace_streams_throttled_total",
        "Times that a stream over its rate was made to wait"
    );
    describe_counter!("tailrace_limits_reached_total", "Times that a limit refused or delayed, by limit");
    describe_counter!(
        "tailrace_limits_file_reads_total",
        "Reads of TAILRACE_LIMITS_FILE that brought a change, by outcome"
    );
    describe_gauge!(
        "tailrace_limits_file_current",
        "Whether the limits are those of TAILRACE_LIMITS_FILE as it is now: 1 or 0"
    );
    gauge!("tailrace_ready").set(0.0);
    gauge!("tailrace_limits_file_current").set(1.0);
    Metrics::new();
}

/// Reasons for a refusal, other than the temporary ones ([`PassingCode`]).
const REFUSALS: [&str; 11] = [
    "bad_request",
    "bad_parameter",
    "bad_tenant",
    "unauthenticated",
    "forbidden",
    "not_found",
    "unknown_topic",
    "missing_topic",
    "forbidden_topic",
    "too_many_partitions",
    "internal",
];

/// Metric handles, looked up once.
pub(crate) struct Metrics {
    pub(crate) streams: Gauge,
    pub(crate) accepted: Counter,
    pub(crate) frames: Counter,
    pub(crate) bytes: Counter,
    pub(crate) throttled: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        for reason in PassingCode::ALL.map(PassingCode::as_str).into_iter().chain(REFUSALS) {
            counter!("tailrace_streams_refused_total", "reason" => reason).increment(0);
        }
        for end in End::ALL {
            counter!("tailrace_streams_closed_total", "reason" => end.reason()).increment(0);
        }
        for limit in Limit::ALL {
            counter!("tailrace_limits_reached_total", "limit" => limit.name()).increment(0);
        }
        for outcome in ["ok", "refused", "missing"] {
            counter!("tailrace_limits_file_reads_total", "outcome" => outcome).increment(0);
        }
        let metrics = Metrics {
            streams: gauge!("tailrace_streams"),
            accepted: counter!("tailrace_streams_accepted_total"),
            frames: counter!("tailrace_frames_sent_total"),
            bytes: counter!("tailrace_sent_bytes_total"),
            throttled: counter!("tailrace_streams_throttled_total"),
        };
        metrics.streams.increment(0.0);
        metrics.accepted.increment(0);
        metrics.frames.increment(0);
        metrics.bytes.increment(0);
        metrics.throttled.increment(0);
        metrics
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        counter!("tailrace_streams_refused_total", "reason" => reason).increment(1);
    }

    pub(crate) fn reached(&self, limit: Limit) {
        counter!("tailrace_limits_reached_total", "limit" => limit.name()).increment(1);
    }

    /// The limits file was read after a change; what it says holds (`ok`) or not.
    pub(crate) fn limits_file(&self, outcome: &'static str) {
        counter!("tailrace_limits_file_reads_total", "outcome" => outcome).increment(1);
        gauge!("tailrace_limits_file_current").set(if outcome == "ok" { 1.0 } else { 0.0 });
    }

    pub(crate) fn closed(&self, reason: &'static str) {
        counter!("tailrace_streams_closed_total", "reason" => reason).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_documentation_has_every_code_of_a_refusal() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
        let page = std::fs::read_to_string(path).unwrap();
        let table = page.split("### Answers that are no stream").nth(1).unwrap();
        let table = table.split("\n### ").next().unwrap();
        let rows = table.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit());
        let cells = rows.filter_map(|row| row.split('|').nth(2));
        let documented: BTreeSet<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        let passing = PassingCode::ALL.map(PassingCode::as_str);
        let known = passing.into_iter().chain(REFUSALS).chain(["method_not_allowed"]);
        // Errors of the server itself are reported within a stream.
        let known: BTreeSet<&str> = known.filter(|code| *code != "internal").collect();
        assert_eq!(documented, known);
    }
}
