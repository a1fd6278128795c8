//! What the threads of this package ask of each other, each through a channel of its own.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use tailrace_bridge::{GapCode, Partition, Position};
use tokio::sync::oneshot;

use crate::truncation::OutOfRange;

/// A way for requests without a cap: threads must not wait for each other. At most one is under way for each partition that
/// has stopped, and for each client that waits for the list of topics.
#[allow(clippy::disallowed_methods, reason = "who asks is bounded")]
pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    mpsc::channel()
}

/// What other threads ask of the tail.
pub(crate) enum Command {
    /// The bridge knows other topics or partitions than before.
    Follow,
    /// Reading goes on elsewhere, with a gap.
    Jump(Arc<Partition>, GapCode, Position),
    /// Reading goes on at the head.
    Resume(Arc<Partition>),
    /// Everything is read by a new client, from the heads.
    Renew,
    /// The same where the client has lost all brokers.
    Probe,
    /// Ends the thread.
    Stop,
}

/// What other threads ask of the watch of topics.
pub(crate) enum Ask {
    /// The list of topics, now.
    Refresh(oneshot::Sender<()>),
    /// Where reading goes on of a partition of which it stopped.
    Lost(Arc<Partition>, OutOfRange),
    /// Ends the thread.
    Stop,
}
