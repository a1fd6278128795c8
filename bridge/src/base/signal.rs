//! Something that happens once, and who waits for it.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicBool, Ordering};

/// Something that happens once. It has not happened yet.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    is_done: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Signal {
    /// Whether it has happened.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Acquire)
    }

    /// Waits until it has happened. Cancel-safe.
    pub(crate) async fn finished(&self) {
        poll_fn(|context| match self.wake_when_done(context.waker()) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
        .await;
    }

    /// Wakes `waker` once when it happens; false if it has happened already.
    pub(crate) fn wake_when_done(&self, waker: &Waker) -> bool {
        let mut wakers = self.wakers.lock();
        if self.is_done() {
            return false;
        }
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        true
    }

    /// It happens now.
    pub(crate) fn finish(&self) {
        let mut wakers = self.wakers.lock();
        self.is_done.store(true, Ordering::Release);
        let woken = std::mem::take(&mut *wakers);
        drop(wakers);
        woken.into_iter().for_each(Waker::wake);
    }
}
