//! Every metric of this package.

use std::time::Duration;

use metrics::{
    Counter, Gauge, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::coding::ContentCoding;
use crate::end::{End, PageEnd};
use crate::limit::Limit;
use crate::peer::Ignored;
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
    describe_counter!("tailrace_pages_total", "Pages made, by reason of their end");
    describe_counter!("tailrace_page_records_total", "Records of pages");
    describe_counter!("tailrace_pages_not_modified_total", "Pages that their client had already");
    describe_counter!("tailrace_frames_sent_total", "Records given to sockets as frames");
    describe_counter!("tailrace_sent_bytes_total", "Bytes of streams given to sockets");
    describe_counter!(
        "tailrace_compression_in_bytes_total",
        "Bytes of compressed streams as they were before, by coding"
    );
    describe_counter!(
        "tailrace_compression_out_bytes_total",
        "Bytes of compressed streams as they were sent, by coding"
    );
    describe_counter!(
        "tailrace_streams_throttled_total",
        "Times that a stream over its rate was made to wait"
    );
    describe_counter!(
        "tailrace_key_reloads_total",
        "Times that keys of tokens were read again, by source and result"
    );
    describe_counter!(
        "tailrace_forwarded_ignored_total",
        "Requests whose Forwarded or X-Forwarded-For does not count, or not all of it, by reason"
    );
    describe_counter!(
        "tailrace_proxy_headers_refused_total",
        "Connections of trusted proxies closed for want of a header of the PROXY protocol, by reason"
    );
    describe_counter!(
        "tailrace_audit_lines_omitted_total",
        "Lines of the audit log that were left out, by event"
    );
    for ignored in Ignored::ALL {
        counter!("tailrace_forwarded_ignored_total", "reason" => ignored.as_str()).increment(0);
    }
    for reason in PROXY_HEADER_REASONS {
        counter!("tailrace_proxy_headers_refused_total", "reason" => reason).increment(0);
    }
    for event in AUDIT_EVENTS {
        counter!("tailrace_audit_lines_omitted_total", "event" => event).increment(0);
    }
    for source in KEY_SOURCES {
        for result in ["taken", "refused"] {
            counter!("tailrace_key_reloads_total", "source" => source, "result" => result).increment(0);
        }
    }
    describe_counter!("tailrace_tls_handshakes_total", "TLS handshakes ended, by result");
    describe_histogram!(
        "tailrace_tls_handshake_seconds",
        "Time from a connection to the end of its TLS handshake, where it succeeded"
    );
    describe_gauge!(
        "tailrace_tls_certificate_expiry_timestamp_seconds",
        "When the server's certificate expires, in seconds since 1970; +Inf: no TLS"
    );
    describe_counter!(
        "tailrace_tls_reloads_total",
        "Times that the files of the certificate had changed, by result"
    );
    gauge!("tailrace_ready").set(0.0);
    gauge!("tailrace_tls_certificate_expiry_timestamp_seconds").set(f64::INFINITY);
    for result in HANDSHAKES {
        counter!("tailrace_tls_handshakes_total", "result" => result).increment(0);
    }
    for result in ["taken", "refused"] {
        counter!("tailrace_tls_reloads_total", "result" => result).increment(0);
    }
    describe_counter!("tailrace_limits_reached_total", "Times that a limit refused or delayed, by limit");
    describe_counter!(
        "tailrace_limits_file_reads_total",
        "Reads of TAILRACE_LIMITS_FILE that brought a change, by outcome"
    );
    describe_gauge!(
        "tailrace_limits_file_current",
        "Whether the limits are those of TAILRACE_LIMITS_FILE as it is now: 1 or 0"
    );
    gauge!("tailrace_limits_file_current").set(1.0);
    Metrics::new();
}

/// Where keys of tokens come from that may change.
const KEY_SOURCES: [&str; 4] = ["secret_file", "public_key_file", "jwks_file", "jwks_url"];

/// Reasons for a refusal, other than the temporary ones ([`PassingCode`]).
const REFUSALS: [&str; 12] = [
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
    "upgrade_required",
    "internal",
];

/// Why a connection has no header of the PROXY protocol.
const PROXY_HEADER_REASONS: [&str; 5] = ["missing", "malformed", "too_long", "timeout", "closed"];
/// What the audit log has lines for.
const AUDIT_EVENTS: [&str; 4] = ["refused", "revoked", "reloaded", "called"];

/// A header of a request that reports an address, and does not count.
pub(crate) fn forwarded_ignored(ignored: Ignored) {
    counter!("tailrace_forwarded_ignored_total", "reason" => ignored.as_str()).increment(1);
}

/// A connection that a trusted proxy did not begin as it must.
pub(crate) fn proxy_header_refused(reason: &'static str) {
    counter!("tailrace_proxy_headers_refused_total", "reason" => reason).increment(1);
}

/// A line that the audit log does not have.
pub(crate) fn audit_line_omitted(event: &'static str) {
    counter!("tailrace_audit_lines_omitted_total", "event" => event).increment(1);
}

/// How handshakes end.
const HANDSHAKES: [&str; 12] = [
    "full",
    "resumed",
    "plain_http",
    "not_tls",
    "no_common_protocol",
    "client_certificate",
    "incompatible",
    "refused_by_client",
    "invalid",
    "closed",
    "timeout",
    "crowded",
];

/// Counts a handshake that has ended after `took`.
pub(crate) fn handshake_ended(result: &'static str, took: Duration) {
    counter!("tailrace_tls_handshakes_total", "result" => result).increment(1);
    if matches!(result, "full" | "resumed") {
        histogram!("tailrace_tls_handshake_seconds").record(took);
    }
}

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
        for end in PageEnd::ALL {
            counter!("tailrace_pages_total", "end" => end.reason()).increment(0);
        }
        for coding in ContentCoding::ALL {
            counter!("tailrace_compression_in_bytes_total", "coding" => coding.as_str()).increment(0);
            counter!("tailrace_compression_out_bytes_total", "coding" => coding.as_str()).increment(0);
        }
        counter!("tailrace_page_records_total").increment(0);
        counter!("tailrace_pages_not_modified_total").increment(0);
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

    /// Streams had so many bytes, and so many were sent for them.
    pub(crate) fn compressed(&self, coding: ContentCoding, before: u64, after: u64) {
        counter!("tailrace_compression_in_bytes_total", "coding" => coding.as_str()).increment(before);
        counter!("tailrace_compression_out_bytes_total", "coding" => coding.as_str()).increment(after);
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

    /// A page has ended with so many records.
    pub(crate) fn page(&self, end: PageEnd, records: usize) {
        counter!("tailrace_pages_total", "end" => end.reason()).increment(1);
        counter!("tailrace_page_records_total").increment(records as u64);
    }

    pub(crate) fn page_not_modified(&self) {
        counter!("tailrace_pages_not_modified_total").increment(1);
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
