//! The permit that a connection holds for as long as it is open: how many there may be is bounded.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection's permit as one pointer: tokio's own also has a count, and every waiting stream keeps one of these.
pub(crate) struct ConnectionPermit(Arc<Semaphore>);

impl From<OwnedSemaphorePermit> for ConnectionPermit {
    fn from(permit: OwnedSemaphorePermit) -> ConnectionPermit {
        let semaphore = Arc::clone(permit.semaphore());
        // It is given back when this value is dropped.
        permit.forget();
        ConnectionPermit(semaphore)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}
