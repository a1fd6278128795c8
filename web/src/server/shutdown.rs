//! Ends a server's connections when the process stops: first those whose response is written, then all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

/// The timeout for a finished connection to flush and close.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The signal to a server's connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ShutdownSignal {
    /// Serve on.
    None,
    /// End once the response under way is written.
    Graceful,
    /// End now.
    Immediate,
}

/// Ends the server's connections.
pub(crate) struct ShutdownHandle {
    pub(super) permits: Arc<Semaphore>,
    pub(super) max_connections: u32,
    pub(super) signal: watch::Sender<ShutdownSignal>,
}

impl ShutdownHandle {
    /// Lets responses under way be written, for a moment.
    pub(crate) async fn finish(&self) {
        self.send(ShutdownSignal::Graceful).await;
    }

    /// Closes what is left.
    pub(crate) async fn stop(&self) {
        self.send(ShutdownSignal::Immediate).await;
    }

    async fn send(&self, signal: ShutdownSignal) {
        self.signal.send_replace(signal);
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, self.all_closed()).await;
    }

    /// Each connection holds a permit, so all permits are free once all connections are closed.
    async fn all_closed(&self) {
        let _ = self.permits.acquire_many(self.max_connections).await;
    }
}
