//! Every metric of the core. Handles for frequent events are looked up once: the recorder is installed before the first event.

use std::sync::LazyLock;

use metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Registers the core's metrics with their help texts; `gap_reasons` are the labels of gaps.
pub(crate) fn describe(gap_reasons: impl IntoIterator<Item = &'static str>) {
    describe_counter!(
        "tailrace_gaps_total",
        "Gaps announced, by reason; a gap that a whole view gets counts once"
    );
    describe_counter!(
        "tailrace_resumes_total",
        "Resumed streams that reached live, by where their past came from"
    );
    describe_counter!("tailrace_replay_records_read_total", "Records looked at by replays");
    describe_counter!("tailrace_frames_encoded_total", "Records encoded as frames, once per view");
    describe_counter!(
        "tailrace_snapshot_scans_total",
        "Ranges of partitions that were read through to find the newest record of each key, since there was no index"
    );
    describe_gauge!("tailrace_snapshot_index_keys", "Keys in the indexes for snapshots, by topic");
    describe_gauge!(
        "tailrace_snapshot_index_too_large",
        "Partitions whose keys do not fit into the memory for indexes, by topic: each snapshot reads them through"
    );
    describe_gauge!("tailrace_snapshot_index_memory_bytes", "Memory of the indexes for snapshots");
    describe_gauge!("tailrace_replays_running", "Streams that are replaying");
    describe_gauge!("tailrace_replays_waiting", "Reads of history that wait for their turn");
    describe_gauge!("tailrace_history_reads_running", "Reads of history under way");
    describe_gauge!("tailrace_views", "Views that at least one stream reads");
    describe_gauge!("tailrace_log_memory_bytes", "Memory of the tail of all partition logs");
    describe_gauge!("tailrace_memory_limit_bytes", "What tail, history and frames may take together");
    describe_gauge!("tailrace_history_memory_bytes", "Memory of stretches of history");
    describe_gauge!("tailrace_ring_memory_bytes", "Memory of the frames that views keep");
    describe_gauge!(
        "tailrace_tail_span_seconds",
        "Time between the oldest and the newest record in memory, by topic"
    );
    describe_histogram!(
        "tailrace_delivery_latency_seconds",
        "From a record's Kafka timestamp to its stream's socket, live records only, the newest of each write"
    );
    for reason in gap_reasons {
        counter!("tailrace_gaps_total", "reason" => reason).absolute(0);
    }
    for source in ["memory", "history"] {
        counter!("tailrace_resumes_total", "source" => source).absolute(0);
    }
    counter!("tailrace_replay_records_read_total").absolute(0);
    counter!("tailrace_frames_encoded_total").absolute(0);
    counter!("tailrace_snapshot_scans_total").absolute(0);
    gauge!("tailrace_replays_running").set(0.0);
}

pub(crate) fn count_gap(reason: &'static str) {
    counter!("tailrace_gaps_total", "reason" => reason).increment(1);
}

pub(crate) fn count_replay_records(records: u64) {
    static READ: LazyLock<Counter> = LazyLock::new(|| counter!("tailrace_replay_records_read_total"));
    if records > 0 {
        READ.increment(records);
    }
}

pub(crate) fn count_key_scan() {
    counter!("tailrace_snapshot_scans_total").increment(1);
}

pub(crate) fn count_resume(used_history: bool) {
    let source = if used_history { "history" } else { "memory" };
    counter!("tailrace_resumes_total", "source" => source).increment(1);
}

pub(crate) fn count_encoded(frames: u64) {
    static ENCODED: LazyLock<Counter> = LazyLock::new(|| counter!("tailrace_frames_encoded_total"));
    ENCODED.increment(frames);
}

pub(crate) fn replaying(change: f64) {
    gauge!("tailrace_replays_running").increment(change);
}

/// Records the age of a live record in milliseconds, by its Kafka timestamp, when it was delivered to so many streams.
pub(crate) fn delivered(age_millis: i64, streams: usize) {
    static LATENCY: LazyLock<Histogram> = LazyLock::new(|| histogram!("tailrace_delivery_latency_seconds"));
    LATENCY.record_many(age_millis.max(0) as f64 / 1000.0, streams);
}

pub(crate) fn set_gauge(name: &'static str, value: f64) {
    gauge!(name).set(value);
}

pub(crate) fn set_topic_gauge(name: &'static str, topic: &str, value: f64) {
    gauge!(name, "topic" => topic.to_owned()).set(value);
}
