//! Resets responses of HTTP/2 whose client takes nothing of them. Over HTTP/1 the timeout of TCP does that. Over HTTP/2 a client
//! can read the connection's frames, answer its pings, and give a response no window: its body is not asked for more, so it would
//! neither notice its end, nor free its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::sleep_until;

use crate::moment::Moment;

tokio::task_local! {
    static OFFER: Offer;
}

/// What the body of a response has offered and the client has not taken yet: since when, in milliseconds; 0: nothing. Shared by
/// the body and the task of the response.
#[derive(Clone, Default)]
pub(super) struct Offer(Arc<AtomicU64>);

impl Offer {
    /// That of the response whose task runs; `None`: it is not one of HTTP/2.
    pub(super) fn current() -> Option<Offer> {
        OFFER.try_with(Offer::clone).ok()
    }

    /// The body has given bytes.
    pub(super) fn begin(&self) {
        self.0.store(Moment::now().millis().max(1), Ordering::Relaxed);
    }

    /// The body is asked for more: the client has taken what it gave.
    pub(super) fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn since(&self) -> Option<Moment> {
        let since = self.0.load(Ordering::Relaxed);
        (since > 0).then(|| Moment::START.plus_millis(since))
    }

    /// Ends once the client has taken nothing for too long.
    async fn untaken(&self, timeout: Duration) {
        loop {
            let now = Moment::now();
            // An offer that begins after this look is found by the next one, before its time is over.
            let due = self.since().unwrap_or(now).plus(timeout);
            if due <= now {
                return;
            }
            sleep_until(due.instant()).await;
        }
    }
}

/// Runs the task of each response of a connection. Where it is dropped before its end, h2 resets its stream.
#[derive(Clone)]
pub(super) struct ResponseExecutor {
    /// For how long a client may take nothing of a response.
    pub(super) timeout: Duration,
}

impl<F> Executor<F> for ResponseExecutor
where
    F: Future + Send + 'static,
{
    fn execute(&self, response: F) {
        let (offer, timeout) = (Offer::default(), self.timeout);
        tokio::spawn(OFFER.scope(offer.clone(), async move {
            tokio::select! {
                _ = response => {}
                () = offer.untaken(timeout) => tracing::debug!("a client takes nothing of a response over HTTP/2"),
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(400);

    /// Dropped together with its response.
    struct Running(Option<oneshot::Sender<Instant>>);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(Instant::now());
        }
    }

    /// When the task of a response ends that does this; `None`: not within three times the timeout.
    async fn end_of(response: impl Future<Output = ()> + Send + 'static) -> Option<Duration> {
        let begun = Instant::now();
        let (sender, ended) = oneshot::channel();
        let running = Running(Some(sender));
        ResponseExecutor { timeout: TIMEOUT }.execute(async move {
            let _running = running;
            response.await;
        });
        timeout(3 * TIMEOUT, ended).await.ok().map(|at| at.unwrap() - begun)
    }

    #[tokio::test]
    async fn a_response_of_which_nothing_is_taken_ends_at_its_time() {
        let end = end_of(async {
            sleep(TIMEOUT / 2).await;
            Offer::current().unwrap().begin();
            std::future::pending().await
        });
        let end = end.await.expect("it ends");
        assert!(end >= TIMEOUT * 3 / 2 && end < TIMEOUT * 5 / 2, "{end:?}");
    }

    #[tokio::test]
    async fn a_response_that_is_taken_slowly_or_has_nothing_to_give_goes_on() {
        let slow = end_of(async {
            let offer = Offer::current().unwrap();
            loop {
                offer.begin();
                sleep(TIMEOUT / 2).await;
                offer.end();
            }
        });
        let silent = end_of(async {
            let offer = Offer::current().unwrap();
            offer.begin();
            offer.end();
            std::future::pending().await
        });
        assert_eq!(tokio::join!(slow, silent), (None, None));
    }
}
