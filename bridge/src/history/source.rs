//! The port to Kafka: what the core requests beyond the records that ingest appends. The consumer implements it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::log::segment::Segment;

/// A range of offsets of one partition that is to be read from Kafka.
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
    /// Where leader epochs up to that one began, each with its first offset, as far as it is known ([`Partition::epochs_began`]): a log
    /// without them differs from there on.
    ///
    /// [`Partition::epochs_began`]: crate::Partition::epochs_began
    pub began: Vec<(u64, i32)>,
    /// The read ends at the first record at or past this offset (exclusive); `u64::MAX`: no such end.
    pub until: u64,
    /// About how many bytes to read at most.
    pub max_bytes: usize,
}

/// Why a range could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HistoryError {
    /// The offset is not in Kafka's log, which holds `[start, end)`.
    #[error("the offset is out of range: the log holds {start} up to {end}")]
    OutOfRange {
        /// The lowest offset that Kafka has.
        start: u64,
        /// The offset that the next record will get.
        end: u64,
    },
    /// The log was truncated to `end`, and has continued under another leader epoch since.
    #[error("the log was truncated to {end}")]
    Truncated {
        /// The first offset that differs.
        end: u64,
        /// The epoch of the leader that tells of it, or of one before it that knows where the log differs; -1 if it is not known.
        /// Records at `end` may be of a leader in between.
        epoch: i32,
    },
    /// The log was truncated while it was read: the result may be of the earlier log. A retry may succeed.
    #[error("the log was cut while it was read")]
    Cut,
    /// The topic or the partition does not exist.
    #[error("the partition is not there")]
    Gone,
    /// Kafka did not answer; a retry may succeed.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A request that Kafka did not answer, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("Kafka did not answer for {topic}{}: {cause}", Place(*.partition, *.offset))]
pub struct Unavailable {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number; `None`: all of the topic's partitions were asked for.
    pub partition: Option<u32>,
    /// The first offset that was wanted.
    pub offset: Option<u64>,
    /// Why there is no answer.
    #[source]
    pub cause: Arc<dyn Error + Send + Sync>,
}

/// `[3]@17`, as far as it is known.
struct Place(Option<u32>, Option<u64>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place(partition, offset) = self;
        partition.map_or(Ok(()), |partition| write!(f, "[{partition}]"))?;
        offset.map_or(Ok(()), |offset| write!(f, "@{offset}"))
    }
}

impl HistoryError {
    /// The read was not answered.
    pub fn unanswered(read: &HistoryRead, cause: impl Error + Send + Sync + 'static) -> HistoryError {
        let (topic, cause) = (read.topic.clone(), Arc::new(cause));
        let (partition, offset) = (Some(read.partition), Some(read.from));
        HistoryError::Unavailable(Unavailable { topic, partition, offset, cause })
    }

    /// A question about all partitions of a topic was not answered.
    pub fn topic_unanswered(topic: &str, cause: impl Error + Send + Sync + 'static) -> HistoryError {
        let (topic, cause) = (topic.into(), Arc::new(cause));
        HistoryError::Unavailable(Unavailable { topic, partition: None, offset: None, cause })
    }
}

/// Which offsets to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffsetsAt {
    /// The lowest offset that Kafka has.
    Earliest,
    /// The offset that the next record will get.
    Latest,
    /// The offset of the first record with at least this timestamp (milliseconds since the Unix epoch); if none, the end.
    Time(i64),
}

/// Kafka, for what the core needs beyond what the consumer group delivers.
pub trait Source: Send + Sync + 'static {
    /// Reads one range, outside of the consumer group. The segment's base is `from`; its end equals `from` only if the
    /// partition ends there. Dropping the future may or may not end the read.
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>>;

    /// An offset for each partition of the topic, in their order.
    fn offsets_at(&self, topic: &str, at: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>>;

    /// Refreshes the list of topics now. Takes a second at most, whatever the broker's state.
    fn refresh(&self) -> BoxFuture<'static, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_asked_and_why_there_is_no_answer() {
        let read = HistoryRead {
            topic: "orders".into(),
            partition: 3,
            from: 17,
            epoch: -1,
            began: Vec::new(),
            until: u64::MAX,
            max_bytes: 1,
        };
        let late = || std::io::Error::other("no answer in time");
        let error = HistoryError::unanswered(&read, late());
        assert_eq!(error.to_string(), "Kafka did not answer for orders[3]@17: no answer in time");
        let error = HistoryError::topic_unanswered("orders", late());
        assert_eq!(error.to_string(), "Kafka did not answer for orders: no answer in time");
    }
}
