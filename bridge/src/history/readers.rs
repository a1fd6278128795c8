//! Counts the subscriptions that read history now. They do not say when they stop, so the count is an estimate. The number of
//! scans at once, and each reader's share of open segments, depend on it.

use std::time::{Duration, Instant};

use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Readers that looked within the last one to two periods are counted. The reader of a client that takes nothing does not look.
const PERIOD: Duration = Duration::from_secs(1);

/// Readers of the last periods, each counted once in a period.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    /// The number of the period; the first is 1.
    period: AtomicU32,
    now: AtomicUsize,
    before: AtomicUsize,
    ends: Mutex<Option<Instant>>,
}

/// One reader's state in the count.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The period in which it last looked; 0: never.
    period: u32,
}

impl Readers {
    /// Counts a reader, when it looks for records.
    pub(crate) fn looks(&self, reader: &mut Reader) {
        let period = self.period.load(Ordering::Relaxed) + 1;
        if std::mem::replace(&mut reader.period, period) != period {
            self.now.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many readers there are.
    pub(crate) fn count(&self) -> usize {
        self.now.load(Ordering::Relaxed).max(self.before.load(Ordering::Relaxed))
    }

    /// To be called often: begins a new period when the last one is over.
    pub(crate) fn turn(&self, now: Instant) {
        let mut ends = self.ends.lock();
        if ends.is_none_or(|ends| ends <= now) {
            *ends = Some(now + PERIOD);
            self.before.store(self.now.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            self.period.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_counts_once_and_who_does_not_is_forgotten() {
        let (readers, start) = (Readers::default(), Instant::now());
        let (mut one, mut two) = (Reader::default(), Reader::default());
        readers.turn(start);
        for _ in 0..3 {
            readers.looks(&mut one);
            readers.looks(&mut two);
        }
        assert_eq!(readers.count(), 2);
        readers.turn(start + PERIOD / 2);
        assert_eq!(readers.count(), 2);
        readers.turn(start + PERIOD);
        readers.looks(&mut one);
        assert_eq!(readers.count(), 2, "two may still look");
        readers.turn(start + 2 * PERIOD);
        assert_eq!(readers.count(), 1);
        readers.turn(start + 3 * PERIOD);
        assert_eq!(readers.count(), 0);
    }
}
