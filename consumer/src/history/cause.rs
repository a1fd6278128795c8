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
    let (start, end) = match bounds(admin, read) {
        Ok(bounds) => bounds,
        Err(error) => return error,
    };
    let from = Position { offset: read.from, epoch: read.epoch };
    match truncation::next(from, start.offset, end, error, &read.began) {
        Some((GapCode::Truncated, to)) => HistoryError::Truncated { end: to.offset, epoch: to.epoch },
        Some(_) => HistoryError::OutOfRange { start: start.offset, end: end.offset },
        None => HistoryError::unanswered(read, error.clone()),
    }
}

/// The log is another one from this offset on than that of which the record below the read is.
pub(super) fn of_difference(admin: &Admin, read: &HistoryRead, at: u64) -> HistoryError {
    let (start, end) = match bounds(admin, read) {
        Ok(bounds) => bounds,
        Err(error) => return error,
    };
    // Retention has removed the difference, or a part of it.
    let epoch = if at < start.offset { -1 } else { end.epoch };
    HistoryError::Truncated { end: at.max(start.offset).min(read.from), epoch }
}

/// Where the log begins, and the offset after the last record that a consumer may see, with the leader's epoch.
fn bounds(admin: &Admin, read: &HistoryRead) -> Result<(Position, Position), HistoryError> {
    let ask = |at| ask(admin, read, at).map_err(|error| HistoryError::unanswered(read, error));
    Ok((ask(OffsetQuery::Earliest)?, ask(OffsetQuery::Latest)?))
}

fn ask(admin: &Admin, read: &HistoryRead, at: OffsetQuery) -> Result<Position, KafkaError> {
    let place = [(&*read.topic, read.partition as i32)];
    let found = admin.client().list_positions(&place, at, false, ASK_TIMEOUT)?;
    let found = found.first().copied().unwrap_or(Ok(None)).map_err(native::list_error)?;
    Ok(found.unwrap_or(Position { offset: 0, epoch: -1 }))
}
