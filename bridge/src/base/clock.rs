//! The time, and what is done later or elsewhere: the core asks for them here, and whoever runs it decides what they are.
//!
//! [`TokioClock`] is the real one. A test gives another, and has an hour pass in a second.

#![allow(clippy::disallowed_methods, reason = "here alone")]

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use tokio::runtime::Handle;

/// What the core needs of the runtime that it lives in.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time now. It never goes back.
    fn now(&self) -> Instant;

    /// Milliseconds since the Unix epoch, to be compared with the timestamps of records.
    fn unix_millis(&self) -> i64;

    /// Ready at `time`, or a little later; at once where that has passed. Cancel-safe.
    fn sleep_until(&self, time: Instant) -> BoxFuture<'static, ()>;

    /// Runs a task beside its caller, who need not be in a task.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs work that takes milliseconds where it blocks no task. Ready when it is done; it is done in any case.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// The operating system's clock, and tokio's timers and tasks.
#[derive(Clone, Debug, Default)]
pub struct TokioClock {
    /// For callers outside of any runtime.
    home: Option<Handle>,
}

impl TokioClock {
    /// At home in the runtime that this is called in, if it is called in one.
    pub fn new() -> TokioClock {
        TokioClock { home: Handle::try_current().ok() }
    }

    /// The runtime of the caller, else the one at home.
    ///
    /// # Panics
    /// There is neither.
    fn handle(&self) -> Handle {
        let handle = Handle::try_current().ok().or_else(|| self.home.clone());
        handle.expect("the bridge was made in a runtime of tokio, or is used in one")
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_millis(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn sleep_until(&self, time: Instant) -> BoxFuture<'static, ()> {
        let handle = self.handle();
        let _timers = handle.enter();
        Box::pin(tokio::time::sleep_until(time.into()))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.handle().spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let done = self.handle().spawn_blocking(work);
        // It fails only where the work panics, which has been said, or the runtime ends.
        Box::pin(async move { drop(done.await) })
    }
}
