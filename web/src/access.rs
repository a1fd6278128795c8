//! The log of streams: one line for the end of each. Lines are limited per second, or clients that come and go often enough would
//! fill the disk; at the level debug, there is no limit. Refusals are in the `audit` log.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use tailrace_bridge::TenantId;
use tracing::{Level, Span};

use crate::end::End;
use crate::moment::Moment;
use crate::sample::{Sample, clipped};
use crate::trace::TraceId;

static STREAMS: LazyLock<Sample> = LazyLock::new(Sample::new);

/// The span of a requested stream, at the level debug; at other levels nothing is formatted or kept. No topics: all.
pub(crate) fn stream_span(tenant: &TenantId, topics: &[String], peer: SocketAddr, trace_id: TraceId) -> Span {
    tracing::debug_span!("stream", tenant = tenant.as_str(), topics = ?clipped(&topics.join(",")), %peer, %trace_id)
}

/// The data for the line at a stream's end. Only streams that will get a line keep it.
pub(crate) struct Account {
    since: Moment,
    trace_id: TraceId,
    address: IpAddr,
    records: u64,
    /// Only at the level debug. Boxed, so that the account stays small in the usual case without a span.
    span: Option<Box<Span>>,
}

impl Account {
    /// For a stream that begins; `None`: the stream gets no line.
    pub(crate) fn open(trace_id: TraceId, address: IpAddr, span: Span) -> Option<Account> {
        STREAMS.take(tracing::enabled!(Level::DEBUG))?;
        let span = (!span.is_disabled()).then(|| Box::new(span));
        Some(Account { since: Moment::now(), trace_id, address, records: 0, span })
    }

    pub(crate) fn add(&mut self, records: usize) {
        self.records += records as u64;
    }

    /// Writes the line, within the stream's span.
    pub(crate) fn close(&self, tenant: &TenantId, end: End, now: Moment) {
        let Account { since, trace_id, address, records, span } = self;
        // There is no await while the span is entered.
        let _entered = span.as_ref().map(|span| span.enter());
        let (tenant, reason) = (tenant.as_str(), end.reason());
        let seconds = Duration::from_millis(now.millis().saturating_sub(since.millis())).as_secs_f64();
        tracing::info!(tenant, reason, seconds, records, %address, %trace_id, "stream ended");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::trace;

    /// Enables every level, and records the order of calls.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<&'static str>>>);

    impl Subscriber for Recorder {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            self.0.lock().push(span.metadata().name());
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            self.0.lock().push("event");
        }

        fn enter(&self, _: &Id) {
            self.0.lock().push("enter");
        }

        fn exit(&self, _: &Id) {
            self.0.lock().push("exit");
        }
    }

    fn begin_and_end() {
        let tenant = TenantId::new("acme").unwrap();
        let (peer, trace_id) = (SocketAddr::from(([127, 0, 0, 1], 1)), trace::fresh());
        let span = stream_span(&tenant, &["orders".to_owned()], peer, trace_id);
        let account = Account::open(trace_id, peer.ip(), span).unwrap();
        account.close(&tenant, End::Client, Moment::now());
    }

    #[test]
    fn the_end_of_a_stream_is_logged_within_its_span() {
        let recorder = Recorder::default();
        tracing::subscriber::with_default(recorder.clone(), begin_and_end);
        assert_eq!(*recorder.0.lock(), ["stream", "enter", "event", "exit"]);
        // Without a subscriber, nothing is recorded.
        begin_and_end();
        assert_eq!(recorder.0.lock().len(), 4);
    }

    #[test]
    fn an_account_is_small() {
        // The same size as without the span: the trace id is aligned to 16 bytes.
        assert_eq!(size_of::<Account>(), 64);
    }
}
