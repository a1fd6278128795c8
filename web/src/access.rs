//! The log of requests: a line for a refusal, and one for the end of a stream. So many a second and no more, or whoever is
//! refused fast enough would fill the disk; at the level debug, all of them.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tailrace_bridge::TenantId;

use crate::end::End;
use crate::moment::Moment;
use crate::trace::TraceId;

/// Lines of one kind in a second, and how many at once where there were none before.
const LINES_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
const BURST: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
/// Characters that a line repeats of what a client sent.
const MAX_REPEATED: usize = 256;

static REFUSALS: LazyLock<Sample> = LazyLock::new(Sample::new);
static STREAMS: LazyLock<Sample> = LazyLock::new(Sample::new);

/// Which of many events get a line.
struct Sample {
    limiter: DefaultDirectRateLimiter,
    /// Events without a line since the last one with.
    unlogged: AtomicU64,
}

impl Sample {
    fn new() -> Sample {
        let quota = Quota::per_second(LINES_PER_SECOND).allow_burst(BURST);
        Sample { limiter: RateLimiter::direct(quota), unlogged: AtomicU64::new(0) }
    }

    /// Takes a line, with the number of those that got none before it.
    fn take(&self) -> Option<u64> {
        if tracing::enabled!(tracing::Level::DEBUG) || self.limiter.check().is_ok() {
            return Some(self.unlogged.swap(0, Ordering::Relaxed));
        }
        self.unlogged.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// A request that got no stream. Its query is left out: a token may be in it.
pub(crate) fn refused(code: &'static str, detail: &str, path: &str, address: IpAddr, trace_id: TraceId) {
    let Some(unlogged) = REFUSALS.take() else { return };
    let (path, detail) = (clipped(path), clipped(detail));
    tracing::info!(code, ?detail, ?path, %address, %trace_id, unlogged, "refused");
}

fn clipped(text: &str) -> &str {
    text.char_indices().nth(MAX_REPEATED).map_or(text, |(end, _)| &text[..end])
}

/// What the line at a stream's end says of it. Only streams that are to have one keep it.
pub(crate) struct Account {
    since: Moment,
    trace_id: TraceId,
    address: IpAddr,
    records: u64,
}

impl Account {
    /// Of a stream that begins; `None`: it gets no line.
    pub(crate) fn open(trace_id: TraceId, address: IpAddr) -> Option<Account> {
        STREAMS.take()?;
        Some(Account { since: Moment::now(), trace_id, address, records: 0 })
    }

    pub(crate) fn add(&mut self, records: usize) {
        self.records += records as u64;
    }

    /// Writes the line.
    pub(crate) fn close(&self, tenant: &TenantId, end: End, now: Moment) {
        let Account { since, trace_id, address, records } = self;
        let (tenant, reason) = (tenant.as_str(), end.reason());
        let seconds = Duration::from_millis(now.millis().saturating_sub(since.millis())).as_secs_f64();
        tracing::info!(tenant, reason, seconds, records, %address, %trace_id, "stream ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_few_lines_and_is_counted() {
        let sample = Sample::new();
        let lines = (0..1_000).filter(|_| sample.take().is_some()).count();
        assert!((100..150).contains(&lines), "{lines}");
        assert_eq!(sample.unlogged.load(Ordering::Relaxed), 1_000 - lines as u64);
    }

    #[test]
    fn what_is_repeated_is_clipped_between_characters() {
        assert_eq!(clipped("short"), "short");
        assert_eq!(clipped(&"é".repeat(1_000)), "é".repeat(MAX_REPEATED));
    }
}
