//! Turns for work that needs the processor, one of each address in turn: whoever comes does not wait behind all that one other
//! address has begun.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::limits::network;

pub(super) struct FairTurns(Mutex<Turns>);

/// Each that waits is a connection, so there are no more than there may be connections.
struct Turns {
    free: usize,
    /// None of the queues is empty.
    waiting: HashMap<IpAddr, VecDeque<oneshot::Sender<Turn>>>,
    /// Addresses, in the order in which they are served.
    order: VecDeque<IpAddr>,
}

/// Dropping it gives the turn to the next that waits.
pub(super) struct Turn(Arc<FairTurns>);

impl FairTurns {
    pub(super) fn new(turns: usize) -> Arc<FairTurns> {
        let turns = Turns { free: turns, waiting: HashMap::new(), order: VecDeque::new() };
        Arc::new(FairTurns(Mutex::new(turns)))
    }

    /// Waits for a turn. Cancel-safe: a turn that nobody takes goes to the next.
    pub(super) async fn turn(self: &Arc<Self>, address: IpAddr) -> Turn {
        let waiting = match self.enter(network(address)) {
            Ok(turn) => return turn,
            Err(waiting) => waiting,
        };
        match waiting.await {
            Ok(turn) => turn,
            // A sender that waits is only dropped with the whole.
            Err(_) => std::future::pending().await,
        }
    }

    fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Turn, oneshot::Receiver<Turn>> {
        let mut turns = self.0.lock();
        if turns.free > 0 {
            turns.free -= 1;
            return Ok(Turn(Arc::clone(self)));
        }
        let (sender, receiver) = oneshot::channel();
        let queue = turns.waiting.entry(address).or_default();
        queue.push_back(sender);
        if queue.len() == 1 {
            turns.order.push_back(address);
        }
        Err(receiver)
    }

    /// The next that still waits; where nobody does, the turn is free.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut turns = self.0.lock();
        while let Some(next) = turns.pop() {
            if !next.is_closed() {
                return Some(next);
            }
        }
        turns.free += 1;
        None
    }
}

impl Turns {
    fn pop(&mut self) -> Option<oneshot::Sender<Turn>> {
        let address = self.order.pop_front()?;
        let queue = self.waiting.get_mut(&address)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&address);
        } else {
            self.order.push_back(address);
        }
        if self.order.is_empty() {
            // Frees the memory that many needed.
            (self.waiting, self.order) = (HashMap::new(), VecDeque::new());
        }
        next
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
    use std::pin::Pin;

    use futures::FutureExt as _;

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Turn>>>;

    /// Waits already.
    fn waits(turns: &Arc<FairTurns>, address: &str) -> Waiting {
        let (turns, address) = (Arc::clone(turns), address.parse().unwrap());
        let mut waiting: Waiting = Box::pin(async move { turns.turn(address).await });
        assert!(waiting.as_mut().now_or_never().is_none(), "a turn too many");
        waiting
    }

    #[test]
    fn who_comes_does_not_wait_behind_all_of_another_address() {
        let turns = FairTurns::new(1);
        let mut turn = turns.turn("10.0.0.1".parse().unwrap()).now_or_never().unwrap();
        let mut many: VecDeque<Waiting> = (0..100).map(|_| waits(&turns, "10.0.0.1")).collect();
        let mut late = waits(&turns, "10.0.0.2");
        for _ in 0..2 {
            drop(turn);
            turn = match late.as_mut().now_or_never() {
                Some(turn) => return drop(turn),
                None => many.pop_front().unwrap().now_or_never().expect("the first of them is next"),
            };
        }
        panic!("the late one waits for more than one of the others");
    }

    #[test]
    fn who_has_gone_keeps_no_turn_and_nothing_is_kept_of_it() {
        let turns = FairTurns::new(2);
        let address = "2001:db8::1".parse().unwrap();
        let first = turns.turn(address).now_or_never().unwrap();
        let second = turns.turn(address).now_or_never().unwrap();
        let (gone, given) = (waits(&turns, "2001:db8::2"), waits(&turns, "2001:db8::3"));
        let last = waits(&turns, "2001:db8::4");
        drop(gone);
        drop(first);
        // Given, and dropped before it was taken.
        drop(given);
        let third = last.now_or_never().expect("it goes to the next");
        drop((second, third));
        let left = turns.0.lock();
        assert_eq!((left.free, left.waiting.len(), left.order.len()), (2, 0, 0));
    }
}
