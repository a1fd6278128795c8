//! A read of history, shared by all readers that want the same one.

use std::ops::Deref;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use crate::base::meter::Meter;
use crate::base::signal::Signal;
use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::history::source::{HistoryError, HistoryRead};
use crate::record::tenant::TenantId;

/// What identifies a read: the partition, the offset, and the epoch that it confirms.
pub(crate) type ReadKey = (u64, u64, i32);

/// For whom history is read, and the rate that pays for it.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) meter: Option<&'a Arc<Meter>>,
}

/// A read: it waits for its turn, then runs, then is done.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) key: ReadKey,
    pub(crate) read: HistoryRead,
    pub(crate) asked: Instant,
    /// Who pays for it: the first who asked.
    payer: Option<Arc<Meter>>,
    has_begun: AtomicBool,
    done: Signal,
    error: Mutex<Option<HistoryError>>,
    waiters: AtomicUsize,
}

/// A reader's share in a read that it waits for. A read without waiters is not begun.
#[derive(Debug)]
pub(crate) struct Waiter(Arc<Job>);

impl Job {
    pub(crate) fn new(
        key: ReadKey,
        read: HistoryRead,
        asked: Instant,
        payer: Option<&Arc<Meter>>,
    ) -> Arc<Job> {
        Arc::new(Job {
            key,
            read,
            asked,
            payer: payer.cloned(),
            has_begun: AtomicBool::new(false),
            done: Signal::default(),
            error: Mutex::new(None),
            waiters: AtomicUsize::new(0),
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.is_done()
    }

    /// Whether its turn has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    pub(crate) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    /// Kafka has returned so many bytes.
    pub(crate) fn pay(&self, bytes: usize, now: Instant) {
        if let Some(payer) = &self.payer {
            payer.pay(bytes as u64, now);
        }
    }

    /// How many readers wait for it.
    pub(crate) fn waiters(&self) -> usize {
        self.waiters.load(Ordering::Acquire)
    }

    pub(crate) fn error(&self) -> Option<HistoryError> {
        self.error.lock().clone()
    }

    /// Waits for the end of the read. Cancel-safe.
    pub(crate) async fn finished(&self) {
        self.done.finished().await;
    }

    /// Wakes `waker` once at the end of the read; false if the read has ended already.
    pub(crate) fn wake_when_done(&self, waker: &Waker) -> bool {
        self.done.wake_when_done(waker)
    }

    /// The read has ended: its segment can be found, or there is an error.
    pub(crate) fn finish(&self, error: Option<HistoryError>) {
        *self.error.lock() = error;
        self.done.finish();
    }
}

impl Waiter {
    pub(crate) fn new(job: &Arc<Job>) -> Waiter {
        job.waiters.fetch_add(1, Ordering::AcqRel);
        Waiter(job.clone())
    }
}

impl Clone for Waiter {
    fn clone(&self) -> Waiter {
        Waiter::new(&self.0)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Deref for Waiter {
    type Target = Job;

    fn deref(&self) -> &Job {
        &self.0
    }
}
