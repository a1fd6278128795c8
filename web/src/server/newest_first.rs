//! Turns for work that needs the processor, the newest first. Where there is more work than can be done, whoever comes is
//! served at once, and those wait who have waited longest, until their own timeout: in the order of arrival everybody would wait
//! behind all of a flood, and time out.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(super) struct NewestFirst(Mutex<Turns>);

struct Turns {
    free: usize,
    /// The newest last. Each is a connection, so there are no more than the crowd has members.
    waiting: Vec<oneshot::Sender<Turn>>,
}

/// Dropping it gives the turn to the newest that waits.
pub(super) struct Turn(Arc<NewestFirst>);

impl NewestFirst {
    pub(super) fn new(turns: usize) -> Arc<NewestFirst> {
        Arc::new(NewestFirst(Mutex::new(Turns { free: turns, waiting: Vec::new() })))
    }

    /// Waits for a turn. Cancel-safe: a turn that nobody takes goes to the next.
    pub(super) async fn turn(self: &Arc<Self>) -> Turn {
        let mut waiting = match self.enter() {
            Ok(turn) => return turn,
            Err(waiting) => waiting,
        };
        match (&mut waiting).await {
            Ok(turn) => turn,
            // The sender is only dropped with a turn in it.
            Err(_) => std::future::pending().await,
        }
    }

    fn enter(self: &Arc<Self>) -> Result<Turn, oneshot::Receiver<Turn>> {
        let mut turns = self.0.lock();
        if turns.free > 0 {
            turns.free -= 1;
            return Ok(Turn(Arc::clone(self)));
        }
        let (sender, receiver) = oneshot::channel();
        turns.waiting.push(sender);
        Err(receiver)
    }

    /// The newest that still waits; where nobody does, the turn is free.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut turns = self.0.lock();
        while let Some(next) = turns.waiting.pop() {
            if !next.is_closed() {
                return Some(next);
            }
        }
        turns.waiting = Vec::new();
        turns.free += 1;
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(next) = self.0.next() {
            // Where it has gone meanwhile, the turn comes back and is dropped here.
            let _ = next.send(Turn(Arc::clone(&self.0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn the_newest_is_next_and_who_has_gone_keeps_no_turn() {
        let turns = NewestFirst::new(2);
        let first = turns.turn().now_or_never().unwrap();
        let second = turns.turn().now_or_never().unwrap();
        let (mut old, mut gone, mut new) =
            (Box::pin(turns.turn()), Box::pin(turns.turn()), Box::pin(turns.turn()));
        assert!(old.as_mut().now_or_never().is_none() && gone.as_mut().now_or_never().is_none());
        assert!(new.as_mut().now_or_never().is_none());
        drop(first);
        assert!(old.as_mut().now_or_never().is_none(), "the oldest came first");
        let third = new.as_mut().now_or_never().unwrap();
        // Given, and dropped before it was taken.
        drop(second);
        drop(gone);
        let fourth = old.as_mut().now_or_never().unwrap();
        drop((third, fourth));
        let left = turns.0.lock();
        assert_eq!((left.free, left.waiting.len()), (2, 0));
    }
}
