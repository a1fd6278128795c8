//! When to send: bursts at even intervals; a late burst does not reduce their number.

use std::time::{Duration, Instant};

/// The timing of the events; the same for the server and for the floor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Events per second, in all.
    pub(crate) rate: u32,
    /// Events at once: with a rate of 20 and a burst of 20, there is one burst per second.
    pub(crate) burst: u32,
}

impl Pace {
    /// Events one at a time.
    pub(crate) const fn single(rate: u32) -> Pace {
        Pace { rate, burst: 1 }
    }

    /// Calls `send` for each burst until it returns false, and `wait` with the moment of the next.
    pub(crate) fn keep(self, mut send: impl FnMut() -> bool, mut wait: impl FnMut(Instant)) {
        let distance = Duration::from_secs_f64(f64::from(self.burst) / f64::from(self.rate));
        let mut next = Instant::now();
        while send() {
            next += distance;
            wait(next);
        }
    }
}
