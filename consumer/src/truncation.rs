//! Where reading goes on after an offset turned out not to be in the log.

use std::sync::LazyLock;

use regex::Regex;
use tailrace_bridge::{GapCode, Position};

use crate::native::{Code, Message};

/// librdkafka tells the end of the confirmed epoch (KIP-320) only in words.
static CUT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"broker end offset is (-?\d+) \(offset leader epoch (-?\d+)\)").ok());

/// A partition cannot be read on: the offset is not in its log, or the log was truncated below it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{topic}[{partition}]@{offset}: {words}")]
pub(crate) struct OutOfRange {
    topic: String,
    partition: i32,
    offset: u64,
    /// librdkafka's words, or ours.
    words: String,
    /// The epoch of the record that was read last, where one of an earlier epoch follows it.
    contradicts: Option<i32>,
}

impl OutOfRange {
    /// What the message says, where it is such an error.
    pub(crate) fn of(message: &Message) -> Option<OutOfRange> {
        let is_out_of_range = matches!(
            message.code(),
            Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET | Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
        );
        is_out_of_range.then(|| OutOfRange {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            words: message.error_text(),
            contradicts: None,
        })
    }

    /// The record is of an earlier leader epoch than the one that was read before it. Within one log epochs rise, so that one is of another
    /// log. The leader does not notice it: it confirms a position whose epoch it does not know, if the one before that reaches further.
    pub(crate) fn contradiction(message: &Message, newest: i32) -> OutOfRange {
        OutOfRange {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            words: format!(
                "a record of leader epoch {} follows those of epoch {newest}",
                message.leader_epoch()
            ),
            contradicts: Some(newest),
        }
    }

    /// See [`OutOfRange::contradiction`].
    pub(crate) fn contradicts(&self) -> Option<i32> {
        self.contradicts
    }

    pub(crate) fn words(&self) -> &str {
        &self.words
    }

    /// The end and the epoch up to which the log is the same, where librdkafka's words tell of a truncation.
    pub(crate) fn cut(&self) -> Option<Position> {
        let found = CUT.as_ref()?.captures(&self.words)?;
        let end: i64 = found[1].parse().ok()?;
        let epoch: i32 = found[2].parse().ok()?;
        // No epoch at or below the one asked for: nothing of what was read is confirmed.
        Some(Position { offset: u64::try_from(end).unwrap_or(0), epoch: epoch.max(-1) })
    }
}

/// Where reading goes on from `head`, and why; `None`: at the head, as if nothing had been. `end` is the offset after the
/// last record that a consumer may see, with the current leader's epoch. `began`: where epochs of the log that was read began. Of the
/// latest that the leader's log has, too, its records may go on further than those that were read.
///
/// The position after a truncation has the epoch of the leader that goes on from there, not that of the last record below it:
/// by this, another replica that has not noticed the truncation yet knows that what it holds from there on may be of an earlier
/// log.
pub(crate) fn next(
    head: Position,
    start: u64,
    end: Position,
    error: &OutOfRange,
    began: &[(u64, i32)],
) -> Option<(GapCode, Position)> {
    if let Some(cut) = error.cut()
        && cut.offset < head.offset
    {
        let same = first_after(began, cut.epoch).map_or(cut.offset, |first| first.min(cut.offset));
        // A new leader may not know the high watermark yet, so the end does not bound this.
        let offset = same.max(start);
        let epoch = if offset == same { end.epoch.max(cut.epoch) } else { -1 };
        return Some((GapCode::Truncated, Position { offset, epoch }));
    }
    if head.offset < start {
        // Where nothing is left, the leader's epoch is all that tells of which log the end is.
        let epoch = if start == end.offset { end.epoch } else { -1 };
        return Some((GapCode::Retention, Position { offset: start, epoch }));
    }
    // Where the epoch is known, the leader is asked to confirm the position when it is assigned, and tells exactly where the log
    // was truncated.
    (head.offset > end.offset && head.epoch < 0).then_some((GapCode::Truncated, end))
}

/// Where the first of the epochs began that are later than this one, if one of them is known.
pub(crate) fn first_after(began: &[(u64, i32)], epoch: i32) -> Option<u64> {
    began.iter().filter(|(_, known)| *known > epoch).map(|(first, _)| *first).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Position = Position { offset: 100, epoch: 4 };
    const END: Position = Position { offset: 200, epoch: 6 };

    fn error(words: &str) -> OutOfRange {
        OutOfRange {
            topic: "orders".to_owned(),
            partition: 3,
            offset: 100,
            words: words.to_owned(),
            contradicts: None,
        }
    }

    fn next(head: Position, start: u64, end: Position, error: &OutOfRange) -> Option<(GapCode, Position)> {
        super::next(head, start, end, error, &[])
    }

    #[test]
    fn what_retention_took_is_skipped() {
        let next =
            next(HEAD, 150, END, &error("fetch failed due to requested offset not available on the broker"));
        assert_eq!(next, Some((GapCode::Retention, Position { offset: 150, epoch: -1 })));
    }

    #[test]
    fn where_retention_took_all_the_epoch_is_the_leader_s() {
        let next =
            next(HEAD, 200, END, &error("fetch failed due to requested offset not available on the broker"));
        assert_eq!(next, Some((GapCode::Retention, END)));
    }

    #[test]
    fn a_log_that_ends_before_the_head_was_truncated() {
        let end = Position { offset: 90, epoch: 6 };
        let unknown = Position { epoch: -1, ..HEAD };
        assert_eq!(next(unknown, 0, end, &error("")), Some((GapCode::Truncated, end)));
        assert_eq!(next(HEAD, 0, end, &error("")), None, "the leader is asked where exactly");
    }

    #[test]
    fn a_cut_is_taken_from_librdkafka_s_words() {
        let why = "Partition log truncation detected at offset 100 (leader epoch 4): broker end offset is 80 (offset \
                   leader epoch 3). Reset to INVALID.: Local: Partition log truncation detected (broker 1)";
        assert_eq!(
            next(HEAD, 0, END, &error(why)),
            Some((GapCode::Truncated, Position { offset: 80, epoch: 6 }))
        );
        assert_eq!(
            next(HEAD, 90, END, &error(why)),
            Some((GapCode::Truncated, Position { offset: 90, epoch: -1 }))
        );
    }

    #[test]
    fn a_log_differs_from_where_later_epochs_than_the_leader_s_began() {
        let why = "Partition log truncation detected at offset 100 (leader epoch 4): broker end offset is 80 (offset leader \
                   epoch 3). Reset to INVALID.: Local: Partition log truncation detected (broker 1)";
        let next = |began| super::next(HEAD, 0, END, &error(why), &[(20, 3), (95, 5), (began, 4)]);
        let to = |offset| Some((GapCode::Truncated, Position { offset, epoch: 6 }));
        assert_eq!([next(70), next(80), next(90)], [to(70), to(80), to(80)]);
    }

    #[test]
    fn a_cut_is_believed_though_the_new_leader_lets_nothing_be_seen_yet() {
        let why = "Partition log truncation detected at offset 100 (leader epoch 4): broker end offset is 80 (offset \
                   leader epoch 3). Reset to INVALID.: Local: Partition log truncation detected (broker 1)";
        let end = Position { offset: 0, epoch: 5 };
        assert_eq!(
            next(HEAD, 0, end, &error(why)),
            Some((GapCode::Truncated, Position { offset: 80, epoch: 5 }))
        );
    }

    #[test]
    fn an_offset_that_is_there_after_all_is_read_on() {
        assert_eq!(next(HEAD, 0, Position { offset: 100, epoch: 4 }, &error("")), None);
    }

    #[test]
    fn the_error_says_where_reading_stopped() {
        let error = error("fetch failed due to requested offset not available on the broker");
        let text = "orders[3]@100: fetch failed due to requested offset not available on the broker";
        assert_eq!(error.to_string(), text);
    }
}
