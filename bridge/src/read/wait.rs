//! What a subscription waits for between two steps, and the waiting.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use futures::future::select;

use crate::base::clock::Clock;
use crate::live::listeners::{Listener, Notify};
use crate::read::replay::Awaited;
use crate::read::subscription::{Replaying, State, Subscription};

/// How often a subscription that is ahead of its view tries to join it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The shortest sleep.
const SHORTEST: Duration = Duration::from_millis(1);

/// What to wait for after [`Next::Wait`](crate::Next::Wait), before the next call of [`Subscription::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A change of the view.
    News,
    /// A change of the view, or this time.
    NewsUntil(Instant),
    /// The end of a read of history ([`Subscription::wake_when_read`]), or this time.
    History(Instant),
    /// This time, and no news before it: replays of the tenant have examined more than they may.
    Time(Instant),
    /// Nothing: there is more to do, but other subscriptions should have their turn.
    Turn,
}

/// What the next step has to wait for.
pub(super) enum Wait {
    View,
    Replay,
    /// The time that the replay has booked.
    Pace,
    /// Nothing: there is more to do, but other subscriptions should have their turn.
    Turn,
}

impl Subscription {
    /// After [`Next::Wait`](crate::Next::Wait): what to wait for.
    pub fn wanted(&self) -> Wanted {
        match (&self.wait, &self.state) {
            (Wait::Turn, _) => Wanted::Turn,
            (Wait::Replay, State::Replaying(replaying)) => {
                Wanted::History(replaying.replay.look_again_at(self.now()))
            }
            (Wait::Pace, State::Replaying(replaying)) => {
                Wanted::Time(replaying.work.look_again_at().unwrap_or_else(|| self.now()))
            }
            (_, State::Live { .. }) => Wanted::News,
            _ => Wanted::NewsUntil(self.now() + LOOK_AGAIN),
        }
    }

    /// Wakes `waker` at the end of any read of history that this subscription waits for; false if one has ended already, so
    /// that [`Subscription::next`] is worth a call.
    pub fn wake_when_read(&self, waker: &Waker) -> bool {
        match &self.state {
            State::Replaying(replaying) => replaying.replay.wake_when_read(waker),
            State::Live { .. } => true,
        }
    }

    /// Has `target` notified with `number` whenever the subscription's view has something new, until the listener is dropped.
    /// One listener serves all subscriptions of the same [`Subscription::view`].
    pub fn listen(&self, target: Arc<dyn Notify>, number: u32) -> Listener {
        Listener::new(self.hold.view.clone(), target, number)
    }

    /// After [`Next::Wait`](crate::Next::Wait): waits until [`Subscription::next`] may return something. It may also return too
    /// early. Cancel-safe.
    pub async fn changed(&mut self) {
        match self.wait {
            Wait::Turn => tokio::task::yield_now().await,
            Wait::View if self.is_live() => self.hold.view.changed(self.seen).await,
            Wait::View => {
                let again = self.clock().sleep_until(self.now() + LOOK_AGAIN);
                select(again, pin!(self.hold.view.changed(self.seen))).await;
            }
            Wait::Pace => {
                if let State::Replaying(replaying) = &self.state
                    && let Some(look) = replaying.work.look_again_at()
                {
                    self.clock().sleep_until(look).await;
                }
            }
            Wait::Replay => {
                if let State::Replaying(replaying) = &self.state {
                    replay_changed(replaying, self.clock()).await;
                }
            }
        }
    }
}

/// Waits for the end of any read or window that the replay waits for, or for the time of its next step.
async fn replay_changed(replaying: &Replaying, clock: &dyn Clock) {
    let now = clock.now();
    let awaited = replaying.replay.awaited();
    if awaited.iter().any(Awaited::is_done) {
        // It has ended since the last step, or is of no use before another one has: without a sleep, that would be a busy loop.
        return clock.sleep_until(now + SHORTEST).await;
    }
    let again = clock.sleep_until(replaying.replay.look_again_at(now).max(now + SHORTEST));
    let any_ended = poll_fn(|context| match awaited.iter().all(|one| one.wake_when_done(context.waker())) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    });
    select(again, any_ended).await;
}
