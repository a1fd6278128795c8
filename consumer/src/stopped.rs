//! Where reading goes on of partitions of which it stopped, as Kafka says when it is asked.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tailrace_bridge::{GapCode, HistoryError, HistoryRead, Partition, Position};

use crate::admin::Admin;
use crate::error::KafkaError;
use crate::history::Readers;
use crate::native::{self, Code, OffsetQuery};
use crate::requests::Command;
use crate::shared::Shared;
use crate::span;
use crate::starts::Starts;
use crate::truncation::{self, OutOfRange};

const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// Partitions of which reading stopped.
pub(crate) struct Stopped {
    admin: Arc<Admin>,
    readers: Arc<Readers>,
    starts: Starts,
    tail: Sender<Command>,
    partitions: Vec<(Arc<Partition>, OutOfRange)>,
}

impl Stopped {
    /// `tail`: where reading goes on is told to it.
    pub(crate) fn new(shared: &Shared, tail: Sender<Command>) -> Stopped {
        Stopped {
            admin: shared.admin.clone(),
            readers: shared.readers.clone(),
            starts: Starts::new(shared.admin.clone(), shared.readers.clone()),
            tail,
            partitions: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub(crate) fn add(&mut self, partition: Arc<Partition>, error: OutOfRange) {
        self.partitions.push((partition, error));
    }

    /// Has the tail go on with each of which the cluster can say where; the others are asked about again the next time.
    /// `is_current`: the partition is not of a topic that was replaced since.
    pub(crate) fn resume(&mut self, is_current: impl Fn(&Partition) -> bool) {
        for (partition, stopped) in std::mem::take(&mut self.partitions) {
            let span = span::of_partition(partition.topic_name(), partition.index());
            let is_current = is_current(&partition);
            span.in_scope(|| self.resume_one(partition, stopped, is_current));
        }
    }

    fn resume_one(&mut self, partition: Arc<Partition>, stopped: OutOfRange, is_current: bool) {
        let next = if is_current { self.where_next(&partition, &stopped) } else { Ok(None) };
        match next {
            Ok(Some((code, to))) => {
                tracing::warn!(
                    code = code.as_str(),
                    to = to.offset,
                    why = stopped.words(),
                    "offsets are gone"
                );
                // Readers hold what they have fetched ahead, of the log as it was.
                self.readers.forget();
                self.command(Command::Jump(partition, code, to));
            }
            Ok(None) => self.command(Command::Resume(partition)),
            Err(error) => {
                tracing::debug!(%error, why = stopped.words(), "it is not known yet where reading goes on");
                self.partitions.push((partition, stopped));
            }
        }
    }

    /// `None`: at the head, as if nothing had been.
    fn where_next(
        &self,
        partition: &Partition,
        stopped: &OutOfRange,
    ) -> Result<Option<(GapCode, Position)>, KafkaError> {
        let name = partition.topic_name();
        let index = partition.index() as usize;
        let start = self.starts.first(name, index..index + 1)?[0].offset;
        let place = [(&**name, index as i32)];
        let ends = self.admin.client().list_positions(&place, OffsetQuery::Latest, false, ASK_TIMEOUT)?;
        let end = ends.first().copied().unwrap_or(Ok(None)).map_err(native::list_error)?;
        let end = end.unwrap_or(Position { offset: start, epoch: -1 });
        // Another topic of the same name looks like a log that was cut. Asked last, so that all of the above is of this one.
        let described = self.admin.client().describe_topics(&[name.to_string()], ASK_TIMEOUT)?;
        let id = described.first().and_then(|topic| topic.state.ok()).map(|found| found.id);
        if id != Some(partition.topic_id()) {
            return Err(native::list_error(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART));
        }
        let from = partition.reading_position();
        if from.offset < start && start <= partition.head().offset {
            // What retention has passed is a hole.
            partition.set_log_start(start);
            return Ok(None);
        }
        match stopped.contradicts() {
            Some(epoch) => self.where_log_differs(partition, Position { offset: from.offset, epoch }),
            None => {
                let began = partition.epochs_began(partition.newest_epoch());
                Ok(truncation::next(from, start, end, stopped, &began))
            }
        }
    }

    /// Where the log differs from the one that was read up to the position; `None`: nowhere, after all.
    fn where_log_differs(
        &self,
        partition: &Partition,
        read: Position,
    ) -> Result<Option<(GapCode, Position)>, KafkaError> {
        let read = HistoryRead {
            topic: partition.topic_name().clone(),
            partition: partition.index(),
            from: read.offset,
            epoch: read.epoch,
            began: partition.epochs_began(read.epoch),
            until: read.offset + 1,
            max_bytes: 1,
        };
        match self.readers.read(&read) {
            Ok(_) => Ok(None),
            Err(HistoryError::Truncated { end, epoch }) => {
                Ok(Some((GapCode::Truncated, Position { offset: end, epoch })))
            }
            Err(error) => Err(KafkaError::History(error)),
        }
    }

    fn command(&self, command: Command) {
        // The tail is gone only when everything stops.
        let _ = self.tail.send(command);
    }
}
