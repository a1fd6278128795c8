//! Stopping without losing events: readiness turns red, the load balancer gets time to notice it, then the streams are ended
//! one by one, each with the id to resume from.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::limits::Limits;

/// Streams that are ended per second; their clients then reconnect at this rate, too.
const CLOSES_PER_SECOND: f64 = 200.0;
/// The shortest time over which closes are spread.
const MIN_SPREAD: Duration = Duration::from_secs(1);
/// The part of the timeout over which closes are spread; the rest is left for clients that read slowly.
const SPREAD_PART: f64 = 0.75;
/// The interval of checks whether all streams are gone.
const LOOK: Duration = Duration::from_millis(20);

/// The phase of shutdown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// New streams are accepted; this includes the delay before the first close.
    Open,
    /// Each stream is ended at a random moment from `since` to `since + spread`; its client reconnects after `retry`.
    Closing { since: Instant, spread: Duration, retry: Duration },
}

/// The sending half of the phase; streams watch the receiving half.
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

    /// Ends all streams and waits for that, up to the timeout. True: all are gone.
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
