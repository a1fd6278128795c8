//! One client, which reads one partition at a time, and what each of its messages means to a read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tailrace_bridge::{HistoryError, HistoryRead, Position};

use crate::decode::Scratch;
use crate::error::{KafkaError, Unanswered};
use crate::native::{Client, Code, List, Message, Role};
use crate::settings::KafkaSettings;
use crate::truncation::OutOfRange;
use crate::{metrics, properties};

/// Records taken from a reader's queue at once.
const MAX_BATCH: usize = 200;
const POLL: Duration = Duration::from_millis(100);
/// A read that brings nothing for so long is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// One client that reads one partition at a time.
pub(super) struct Reader {
    /// Taken from the queue, and not by a read yet. Declared before the client, so that they are dropped
    /// before it: they are in its memory.
    held: VecDeque<Message>,
    client: Client,
    /// What is assigned, and the offset that the next record comes at or after.
    place: Option<(Arc<str>, u32, u64)>,
    pub(super) scratch: Scratch,
}

/// What one message means to a read.
pub(super) enum Seen {
    Record,
    End,
    Lost(Lost),
    Other,
}

/// Why a read ends without its records.
pub(super) enum Lost {
    Error(HistoryError),
    /// Kafka has to be asked why.
    OutOfRange(OutOfRange),
}

impl Reader {
    pub(super) fn new(settings: &KafkaSettings) -> Result<Reader, KafkaError> {
        let client = Client::new(&properties::reader(settings), Role::Consumer)?;
        Ok(Reader { held: VecDeque::new(), client, place: None, scratch: Scratch::default() })
    }

    /// Whether the read continues the last one. A position that has to be confirmed is always assigned anew.
    pub(super) fn stands_at(&self, read: &HistoryRead) -> bool {
        let at = |(topic, partition, next): &(Arc<str>, u32, u64)| {
            *topic == read.topic && *partition == read.partition && *next == read.from
        };
        read.epoch < 0 && self.place.as_ref().is_some_and(at)
    }

    /// Whether a read may continue here, for which it fetches ahead.
    pub(super) fn is_assigned(&self) -> bool {
        self.place.is_some()
    }

    pub(super) fn assign(&mut self, read: &HistoryRead) -> Result<(), KafkaError> {
        metrics::history_assigned();
        self.held.clear();
        self.place = None;
        let mut list = List::new(1);
        let from = Position { offset: read.from, epoch: read.epoch };
        list.add_position(&read.topic, read.partition as i32, from);
        // Without this, a partition that is assigned already would be read on where it was.
        self.client.unassign();
        self.client.assign(&list)?;
        if read.epoch >= 0 && read.from > 0 { self.client.confirm(&list) } else { Ok(()) }
    }

    /// Whether the record before the read is of this epoch or of an earlier one, as it is right after a truncation and where a
    /// replica began. True, too, where the log has no record there.
    pub(super) fn may_follow(&mut self, read: &HistoryRead, latest: i32) -> Result<bool, HistoryError> {
        let below = HistoryRead { from: read.from - 1, epoch: -1, until: read.from, ..read.clone() };
        self.assign(&below).map_err(|error| HistoryError::unanswered(&below, error))?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.poll();
            while let Some(message) = self.next() {
                let has = match seen(&message, &below) {
                    Seen::Record => message.offset() > below.from || message.leader_epoch() <= latest,
                    // At the log's end, or below its start, there is only the leader's confirmation.
                    Seen::End | Seen::Lost(Lost::OutOfRange(_)) => true,
                    Seen::Lost(Lost::Error(error)) => return Err(error),
                    Seen::Other => continue,
                };
                drop(message);
                self.forget();
                return Ok(has);
            }
        }
        Err(HistoryError::unanswered(read, Unanswered::Late))
    }

    /// The end of the latest epoch in the leader's log that is this one or an earlier one (KIP-320); the offset 0, and no epoch, if there is
    /// none. librdkafka tells the leader's answer only where it confirms nothing, so it is asked about an offset that no log has.
    pub(super) fn end_of_epoch(&mut self, read: &HistoryRead, epoch: i32) -> Result<Position, HistoryError> {
        const BEYOND: u64 = 1 << 62;
        if epoch < 0 {
            return Ok(Position { offset: 0, epoch: -1 });
        }
        let beyond = HistoryRead { from: BEYOND, epoch, ..read.clone() };
        self.assign(&beyond).map_err(|error| HistoryError::unanswered(read, error))?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.poll();
            while let Some(message) = self.next() {
                match seen(&message, &beyond) {
                    Seen::Lost(Lost::OutOfRange(error)) => {
                        self.forget();
                        return error.cut().ok_or_else(|| HistoryError::unanswered(read, error));
                    }
                    Seen::Lost(Lost::Error(error)) => return Err(error),
                    Seen::Record | Seen::End | Seen::Other => {}
                }
            }
        }
        Err(HistoryError::unanswered(read, Unanswered::Late))
    }

    pub(super) fn poll(&mut self) {
        let mut batch = Vec::new();
        self.client.poll(POLL, MAX_BATCH, &mut batch);
        self.held.extend(batch);
    }

    /// Takes the next message that was polled.
    pub(super) fn next(&mut self) -> Option<Message> {
        self.held.pop_front()
    }

    /// Notes where the next read may go on without an assignment of its own.
    pub(super) fn stand_at(&mut self, read: &HistoryRead, next: u64) {
        self.place = Some((read.topic.clone(), read.partition, next));
    }

    /// Stops fetching ahead.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        self.place = None;
        self.client.unassign();
    }

    /// The last error that no message brought, such as a broker that refuses the connection.
    pub(super) fn last_error(&self) -> Option<String> {
        self.client.last_error()
    }
}

pub(super) fn seen(message: &Message, read: &HistoryRead) -> Seen {
    let here = message.partition() == read.partition as i32 && message.topic() == &*read.topic;
    if !here {
        return Seen::Other;
    }
    if let Some(error) = OutOfRange::of(message) {
        return Seen::Lost(Lost::OutOfRange(error));
    }
    match message.code() {
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => Seen::Record,
        Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => Seen::End,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
        | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => Seen::Lost(Lost::Error(HistoryError::Gone)),
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED => {
            let error = Unanswered::Client(message.error_text());
            Seen::Lost(Lost::Error(HistoryError::unanswered(read, error)))
        }
        // librdkafka goes on by itself.
        _ => Seen::Other,
    }
}
