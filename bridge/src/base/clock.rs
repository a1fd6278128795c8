//! The time, timers and tasks: the core takes them from a [`Clock`], which the caller provides.
//!
//! [`TokioClock`] is the real one. A test provides another, under which an hour passes in a second.

#![allow(clippy::disallowed_methods, reason = "here alone")]

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use tokio::runtime::Handle;

/// What the core needs from its runtime.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time now. It never goes back.
    fn now(&self) -> Instant;

    /// Milliseconds since the Unix epoch, to be compared with the timestamps of records.
    fn unix_millis(&self) -> i64;

    /// Ready at `time`, or a little later; at once if `time` has passed. Cancel-safe.
    fn sleep_until(&self, time: Instant) -> BoxFuture<'static, ()>;

    /// Runs a task beside its caller, which need not be a task itself.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs work that takes milliseconds on a thread where it blocks no task. Ready once it is done; it is done in any case.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// The operating system's clock, and tokio's timers and tasks.
#[derive(Clone, Debug, Default)]
pub struct TokioClock {
    /// The runtime for callers outside of any runtime.
    home: Option<Handle>,
}

impl TokioClock {
    /// A clock whose home is the current runtime, if there is one.
    pub fn new() -> TokioClock {
        TokioClock { home: Handle::try_current().ok() }
    }

    /// The runtime of the caller, else the home.
    ///
    /// # Panics
    /// If there is neither.
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
        // It only fails if the work panics, which was reported then, or the runtime ends.
        Box::pin(async move { drop(done.await) })
    }
}
