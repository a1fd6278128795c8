//! The way to stop without losing anybody: readiness turns red, the balancer gets time to learn it, then the streams
//! are ended one by one, each with the id to come back with.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::limits::Limits;

/// Streams that are ended in a second: those who come back do so at this pace, too.
const CLOSES_PER_SECOND: f64 = 200.0;
/// Closes are spread over at least this.
const MIN_SPREAD: Duration = Duration::from_secs(1);
/// The part of the timeout over which closes are spread; the rest is for those who read slowly.
const SPREAD_PART: f64 = 0.75;
/// How often it is looked whether the last stream has gone.
const LOOK: Duration = Duration::from_millis(20);

/// Where the process is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Streams are taken; also in the delay before the first close.
    Open,
    /// Streams are ended at a random moment from `since` to `since + spread`, and are to come back after `retry`.
    Closing { since: Instant, spread: Duration, retry: Duration },
}

/// The sender's half; streams watch the other.
pub(crate) struct Drain {
    phase: watch::Sender<Phase>,
}

impl Drain {
    pub(crate) fn new() -> Drain {
        Drain { phase: watch::Sender::new(Phase::Open) }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Closing { .. })
    }

    /// Ends all streams and waits for it, no longer than the timeout. Whether all are gone.
    pub(crate) async fn close(&self, limits: &Arc<Limits>, timeout: Duration, retry: Duration) -> bool {
        let since = Instant::now();
        self.phase.send_replace(Phase::Closing { since, spread: spread(limits.streams(), timeout), retry });
        while limits.streams() > 0 {
            if since.elapsed() >= timeout {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }
}

fn spread(streams: usize, timeout: Duration) -> Duration {
    let wanted = Duration::from_secs_f64(streams as f64 / CLOSES_PER_SECOND);
    wanted.max(MIN_SPREAD).min(timeout.mul_f64(SPREAD_PART))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_closes_are_spread_over_most_of_the_timeout_and_few_over_a_second() {
        let timeout = Duration::from_secs(20);
        assert_eq!(spread(0, timeout), MIN_SPREAD);
        assert_eq!(spread(1_000, timeout), Duration::from_secs(5));
        assert_eq!(spread(100_000, timeout), Duration::from_secs(15));
        assert_eq!(spread(100_000, Duration::ZERO), Duration::ZERO);
    }
}
