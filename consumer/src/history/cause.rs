//! Why a read brought no records, as Kafka says when it is asked.

use std::time::Duration;

use tailrace_bridge::{GapCode, HistoryError, HistoryRead, Position};

use super::reader::Reader;
use crate::admin::Admin;
use crate::error::{KafkaError, Unanswered};
use crate::native::{self, Code, OffsetQuery};
use crate::truncation::{self, OutOfRange};

const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// Why nothing came.
pub(super) fn of_silence(admin: &Admin, reader: &Reader, read: &HistoryRead) -> HistoryError {
    let place = [(&*read.topic, read.partition as i32)];
    let start = admin.client().list_offsets(&place, OffsetQuery::Earliest, false, ASK_TIMEOUT);
    if let Ok(starts) = &start
        && let [Err(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)] = starts[..]
    {
        return HistoryError::Gone;
    }
    match (reader.last_error(), start.err()) {
        (Some(words), _) => HistoryError::unanswered(read, Unanswered::Client(words)),
        (None, Some(error)) => HistoryError::unanswered(read, error),
        (None, None) => HistoryError::unanswered(read, Unanswered::Late),
    }
}

/// Why the offset is not in the log.
pub(super) fn of_loss(admin: &Admin, read: &HistoryRead, error: &OutOfRange) -> HistoryError {
    let (start, end) = match (ask(admin, read, OffsetQuery::Earliest), ask(admin, read, OffsetQuery::Latest))
    {
        (Ok(start), Ok(end)) => (start, end),
        (Err(error), _) | (_, Err(error)) => return HistoryError::unanswered(read, error),
    };
    let from = Position { offset: read.from, epoch: read.epoch };
    match truncation::next(from, start.offset, end, error, &read.began) {
        Some((GapCode::Truncated, to)) => HistoryError::Truncated { end: to.offset, epoch: to.epoch },
        Some(_) => HistoryError::OutOfRange { start: start.offset, end: end.offset },
        None => HistoryError::unanswered(read, error.clone()),
    }
}

/// The offset after the last record that a consumer may see, with the leader's epoch.
pub(super) fn end(admin: &Admin, read: &HistoryRead) -> Result<Position, HistoryError> {
    ask(admin, read, OffsetQuery::Latest).map_err(|error| HistoryError::unanswered(read, error))
}

fn ask(admin: &Admin, read: &HistoryRead, at: OffsetQuery) -> Result<Position, KafkaError> {
    let place = [(&*read.topic, read.partition as i32)];
    let found = admin.client().list_positions(&place, at, false, ASK_TIMEOUT)?;
    let found = found.first().copied().unwrap_or(Ok(None)).map_err(native::list_error)?;
    Ok(found.unwrap_or(Position { offset: 0, epoch: -1 }))
}
