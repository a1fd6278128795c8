//! The permit that a connection holds while it is open, so that the number of connections is limited.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection's permit as one pointer: tokio's own also stores a count, and every waiting stream keeps one permit.
pub(crate) struct ConnectionPermit(Arc<Semaphore>);

impl From<OwnedSemaphorePermit> for ConnectionPermit {
    fn from(permit: OwnedSemaphorePermit) -> ConnectionPermit {
        let semaphore = Arc::clone(permit.semaphore());
        // It is released when this value is dropped.
        permit.forget();
        ConnectionPermit(semaphore)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}
