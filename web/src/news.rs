//! The state of the process that streams depend on.

use std::sync::Arc;
use std::time::Duration;

use tailrace_bridge::Status;
use tokio::sync::watch;

use crate::drain::Phase;
use crate::metrics::Metrics;
use crate::moment::Moment;
use crate::stream::World;

/// A peer that acknowledges or reads nothing for this long is disconnected: by default, TCP would retransmit for a quarter of
/// an hour to a peer that is gone, and keep the sent data. A browser reconnects and resumes.
pub(crate) const TAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// The state of the process that streams depend on.
#[derive(Clone)]
pub(crate) struct News {
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Changes when an operator ends streams.
    pub(crate) revocations: watch::Receiver<u64>,
    pub(crate) metrics: Arc<Metrics>,
}

impl News {
    /// The current state, at this time.
    pub(crate) fn world_at(&self, now: Moment) -> World<'_> {
        let (status, phase) = (*self.status.borrow(), *self.phase.borrow());
        World { now, status, phase, is_pressed: false, metrics: &self.metrics }
    }
}
