//! The order of locks: a thread that holds a lock may only take locks of later ranks ([`Rank`]). So no two threads can wait for
//! each other. A lock's rank is in its type: `Mutex<T, { Rank::View as u8 }>`.
//!
//! With debug assertions, each lock that is taken is checked, even if it would not have to wait. The model checker needs no
//! order: it finds deadlocks itself.

/// What a lock protects, in the order in which a thread may take locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The catalog of topics and views.
    Structure,
    /// A partition's batch in flight.
    Ingest,
    /// A view: its vector and its ring.
    View,
    /// The heads of a list of partitions.
    Heads,
    /// The eviction of old segments.
    Evicting,
    /// The packing of segments.
    Packing,
    /// Reads of history, and what they brought.
    History,
    /// A partition's log.
    Log,
    /// All other locks: no lock is taken while one of these is held.
    Leaf,
}

/// All ranks, for the message of a panic: in the order of the enum, which the compiler checks.
const RANKS: [Rank; 9] = [
    Rank::Structure,
    Rank::Ingest,
    Rank::View,
    Rank::Heads,
    Rank::Evicting,
    Rank::Packing,
    Rank::History,
    Rank::Log,
    Rank::Leaf,
];

const _: () = {
    let mut at = 0;
    while at < RANKS.len() {
        assert!(RANKS[at] as usize == at, "RANKS is not in the order of the enum");
        at += 1;
    }
};

#[cfg(all(debug_assertions, not(feature = "shuttle")))]
mod checked {
    use std::cell::RefCell;

    use super::RANKS;

    thread_local! {
        static HELD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// The record that this thread holds a lock.
    pub(crate) struct Held(u8);

    impl Held {
        /// To be called before the thread takes a lock of this rank.
        ///
        /// # Panics
        /// If the thread holds a lock of a later rank, or another of the same rank.
        #[track_caller]
        pub(crate) fn in_order(rank: u8) -> Held {
            HELD.with_borrow(|held| {
                if let Some(&last) = held.iter().max() {
                    let (taken, last) = (RANKS[rank as usize], RANKS[last as usize]);
                    assert!(taken > last, "a lock of {taken:?} is taken after one of {last:?}");
                }
            });
            Held::new(rank)
        }

        /// The thread has taken a lock of this rank.
        pub(crate) fn new(rank: u8) -> Held {
            HELD.with_borrow_mut(|held| held.push(rank));
            Held(rank)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            HELD.with_borrow_mut(|held| {
                let at = held.iter().rposition(|&rank| rank == self.0);
                held.remove(at.expect("what is released was taken by the same thread"));
            });
        }
    }
}

#[cfg(not(all(debug_assertions, not(feature = "shuttle"))))]
mod checked {
    /// The record that this thread holds a lock: empty in this build.
    pub(crate) struct Held;

    impl Held {
        pub(crate) fn in_order(_: u8) -> Held {
            Held
        }

        pub(crate) fn new(_: u8) -> Held {
            Held
        }
    }
}

pub(crate) use checked::Held;

#[cfg(all(test, debug_assertions, not(feature = "shuttle")))]
mod tests {
    use super::Rank;
    use crate::base::sync::{Mutex, RwLock};

    type View = Mutex<(), { Rank::View as u8 }>;
    type Log = RwLock<(), { Rank::Log as u8 }>;

    #[test]
    fn locks_are_taken_in_their_order_and_released_in_any() {
        let (view, log, leaf) = (View::default(), Log::default(), <Mutex<()>>::default());
        let first = view.lock();
        let second = log.read();
        drop(first);
        let third = leaf.lock();
        drop((second, third));
        drop(log.write());
        drop(view.lock());
    }

    #[test]
    #[should_panic(expected = "a lock of View is taken after one of Log")]
    fn one_that_comes_earlier_is_noticed() {
        let (view, log) = (View::default(), Log::default());
        let _held = log.read();
        drop(view.lock());
    }

    #[test]
    #[should_panic(expected = "a lock of View is taken after one of View")]
    fn two_of_a_rank_are_noticed() {
        let (one, other) = (View::default(), View::default());
        let _held = one.lock();
        drop(other.lock());
    }

    #[test]
    fn one_that_does_not_wait_may_be_taken_in_any_order() {
        let (view, log) = (View::default(), Log::default());
        let _held = log.read();
        assert!(view.try_lock().is_some());
    }
}
