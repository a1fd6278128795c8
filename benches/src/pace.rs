//! When to send: bursts at even distances, never fewer than asked for because one was late.

use std::time::{Duration, Instant};

/// How the events come; the same for the server and for the floor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Events a second, in all.
    pub(crate) rate: u32,
    /// Events at once: with a rate of 20, a burst of 20 comes once a second.
    pub(crate) burst: u32,
}

impl Pace {
    /// Events one at a time.
    pub(crate) const fn single(rate: u32) -> Pace {
        Pace { rate, burst: 1 }
    }

    /// Calls `send` for each burst until it says no, and `wait` with the moment of the next.
    pub(crate) fn keep(self, mut send: impl FnMut() -> bool, mut wait: impl FnMut(Instant)) {
        let distance = Duration::from_secs_f64(f64::from(self.burst) / f64::from(self.rate));
        let mut next = Instant::now();
        while send() {
            next += distance;
            wait(next);
        }
    }
}
