//! How the readers of a view are notified, and how long frames are gathered before that.

use std::sync::Arc;
use std::task::Poll;

use crate::base::sync::atomic::Ordering;
use crate::live::listeners::{Listener, NotifyTask};
use crate::live::view::View;

impl View {
    /// Rises with every change that a reader might wait for.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Waits until [`View::version`] is no longer `seen`. Cancel-safe.
    pub(crate) async fn changed(self: &Arc<Self>, seen: u64) {
        let mut listener = None;
        std::future::poll_fn(|context| {
            // Registered before the version is read: a later change wakes the task.
            let task = Arc::new(NotifyTask(context.waker().clone()));
            listener = Some(Listener::new(self.clone(), task, 0));
            if self.version() == seen { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Notifies readers at once.
    pub(super) fn bump(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.listeners.lock().notify();
    }

    /// Notifies readers, after the linger if there is one: frames that are added meanwhile are written together.
    pub(super) fn wake(&self) {
        let linger = self.shared.linger;
        if linger.is_zero() {
            return self.bump();
        }
        // The version rises at once: a reader that is running anyway need not wait for the linger.
        self.version.fetch_add(1, Ordering::AcqRel);
        if !self.waking.swap(true, Ordering::AcqRel) {
            let (me, clock) = (self.me.clone(), &self.shared.clock);
            let lingered = clock.sleep_until(clock.now() + linger);
            clock.spawn(Box::pin(async move {
                lingered.await;
                if let Some(view) = me.upgrade() {
                    view.waking.store(false, Ordering::Release);
                    view.bump();
                }
            }));
        }
    }
}
