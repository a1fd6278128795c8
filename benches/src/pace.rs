//! When to send: bursts at even distances, never fewer than asked for because one was late.

use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;

/// How the events come; the same for the server and for the floor.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Events a second, in all.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// Events at once: with a rate of 20, a burst of 20 comes once a second.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) burst: u32,
}

impl Pace {
    /// Calls `send` for each burst until it says no.
    pub(crate) fn keep(self, mut send: impl FnMut() -> bool) {
        let distance = Duration::from_secs_f64(f64::from(self.burst) / f64::from(self.rate));
        let mut next = Instant::now();
        while send() {
            next += distance;
            sleep(next.saturating_duration_since(Instant::now()));
        }
    }
}
