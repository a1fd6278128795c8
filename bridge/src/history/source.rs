//! The port to Kafka: what the core asks for beyond what the tail brings. The consumer implements it.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::log::segment::Segment;

/// One stretch of a partition to be read from Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRead {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: u32,
    /// The first offset wanted.
    pub from: u64,
    /// The leader epoch of the record below `from`, to be confirmed by the broker (KIP-320); -1: nothing to confirm.
    pub epoch: i32,
    /// The read ends at the first record at or past this offset (exclusive); `u64::MAX`: no such end.
    pub until: u64,
    /// About how many bytes to read at the most.
    pub max_bytes: usize,
}

/// Why a stretch could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The offset is not in Kafka's log, which holds `[start, end)`.
    #[error("the offset is out of range: the log holds {start} up to {end}")]
    OutOfRange {
        /// The lowest offset that Kafka has.
        start: u64,
        /// The offset that the next record will get.
        end: u64,
    },
    /// The log was cut back to `end` and has gone on under another leader epoch since.
    #[error("the log was truncated to {end}")]
    Truncated {
        /// The first offset that is not the same any more.
        end: u64,
        /// The leader epoch up to there; -1 where it is not known.
        epoch: i32,
    },
    /// The log was cut while it was read: what came may be of the log before. A later try may succeed.
    #[error("the log was cut while it was read")]
    Cut,
    /// The topic or the partition is not there.
    #[error("the partition is not there")]
    Gone,
    /// Kafka did not answer; a later try may succeed.
    #[error("Kafka did not answer: {0}")]
    Unavailable(String),
}

/// Which offsets to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffsetsAt {
    /// The lowest that Kafka has.
    Earliest,
    /// The next that will be written.
    Latest,
    /// That of the first record with at least this timestamp (milliseconds since the Unix epoch); the end where none is.
    Time(i64),
}

/// Kafka, as far as the core must ask for more than the consumer group brings.
pub trait Source: Send + Sync + 'static {
    /// Reads one stretch outside of the group. The segment's base is `from`; its end is `from` too only where the
    /// partition ends there. Dropping the future may or may not end the read.
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>>;

    /// An offset for each partition of the topic, in their order.
    fn offsets_at(&self, topic: &str, at: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>>;

    /// Refreshes the list of topics now. Takes a second at the most, whatever the broker's state.
    fn refresh(&self) -> BoxFuture<'static, ()>;
}
