//! Which of many events get a line in the log.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Lines per second, and the burst of lines after a quiet time, unless others are given.
const LINES_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
const BURST: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
/// The most characters of a client's text that a line repeats.
pub(crate) const MAX_REPEATED: usize = 256;

/// Selects the events that get a line.
pub(crate) struct Sample {
    limiter: DefaultDirectRateLimiter,
    /// Events without a line since the last event that got one.
    unlogged: AtomicU64,
}

impl Sample {
    pub(crate) fn new() -> Sample {
        Sample::per_second(LINES_PER_SECOND)
    }

    pub(crate) fn per_second(lines: NonZeroU32) -> Sample {
        let quota = Quota::per_second(lines).allow_burst(BURST);
        Sample { limiter: RateLimiter::direct(quota), unlogged: AtomicU64::new(0) }
    }

    /// `Some`: the event gets a line, which states how many events before it got none. `all`: every event gets one.
    pub(crate) fn take(&self, all: bool) -> Option<u64> {
        if all || self.limiter.check().is_ok() {
            return Some(self.unlogged.swap(0, Ordering::Relaxed));
        }
        self.unlogged.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// As much of a client's text as a line repeats.
pub(crate) fn clipped(text: &str) -> &str {
    text.char_indices().nth(MAX_REPEATED).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_few_lines_and_is_counted() {
        let sample = Sample::new();
        let lines = (0..1_000).filter(|_| sample.take(false).is_some()).count();
        assert!((100..150).contains(&lines), "{lines}");
        assert_eq!(sample.unlogged.load(Ordering::Relaxed), 1_000 - lines as u64);
        assert_eq!(sample.take(true), Some(1_000 - lines as u64));
    }

    #[test]
    fn what_is_repeated_is_clipped_between_characters() {
        assert_eq!(clipped("short"), "short");
        assert_eq!(clipped(&"é".repeat(1_000)), "é".repeat(MAX_REPEATED));
    }
}
