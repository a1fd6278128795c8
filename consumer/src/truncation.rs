//! Where reading goes on after an offset turned out not to be in the log.

use std::sync::LazyLock;

use regex::Regex;
use tailrace_bridge::{GapCode, Position};

/// librdkafka tells the end of the confirmed epoch (KIP-320) only in words.
static CUT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"broker end offset is (-?\d+) \(offset leader epoch (-?\d+)\)").ok());

/// The end and the epoch up to which the log is the same, where librdkafka's words tell of a truncation.
pub(crate) fn told(why: &str) -> Option<Position> {
    let found = CUT.as_ref()?.captures(why)?;
    let end: i64 = found[1].parse().ok()?;
    let epoch: i32 = found[2].parse().ok()?;
    // No epoch at or below the one asked for: nothing of what was read is confirmed.
    Some(Position { offset: u64::try_from(end).unwrap_or(0), epoch: epoch.max(-1) })
}

/// Where reading goes on from `head`, and why; `None`: at the head, as if nothing had been.
pub(crate) fn next(head: Position, start: u64, end: u64, why: &str) -> Option<(GapCode, Position)> {
    if let Some(cut) = told(why)
        && cut.offset < head.offset
    {
        let offset = cut.offset.clamp(start, end.max(start));
        let epoch = if offset == cut.offset { cut.epoch } else { -1 };
        return Some((GapCode::Truncated, Position { offset, epoch }));
    }
    if head.offset < start {
        return Some((GapCode::Retention, Position { offset: start, epoch: -1 }));
    }
    (head.offset > end).then_some((GapCode::Truncated, Position { offset: end, epoch: -1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Position = Position { offset: 100, epoch: 4 };

    #[test]
    fn what_retention_took_is_skipped() {
        let next = next(HEAD, 150, 200, "fetch failed due to requested offset not available on the broker");
        assert_eq!(next, Some((GapCode::Retention, Position { offset: 150, epoch: -1 })));
    }

    #[test]
    fn a_log_that_ends_before_the_head_was_truncated() {
        assert_eq!(next(HEAD, 0, 90, ""), Some((GapCode::Truncated, Position { offset: 90, epoch: -1 })));
    }

    #[test]
    fn a_cut_is_taken_from_librdkafka_s_words() {
        let why = "Partition log truncation detected at offset 100 (leader epoch 4): broker end offset is 80 (offset \
                   leader epoch 3). Reset to INVALID.: Local: Partition log truncation detected (broker 1)";
        assert_eq!(next(HEAD, 0, 200, why), Some((GapCode::Truncated, Position { offset: 80, epoch: 3 })));
        assert_eq!(next(HEAD, 90, 200, why), Some((GapCode::Truncated, Position { offset: 90, epoch: -1 })));
    }

    #[test]
    fn an_offset_that_is_there_after_all_is_read_on() {
        assert_eq!(next(HEAD, 0, 100, ""), None);
    }
}
