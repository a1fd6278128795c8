//! The rate of new streams of each key: the generic cell rate algorithm, with the key's rate given at each use, since it may
//! change while the server runs.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

use tailrace_bridge::Rate;

/// Keys that are stored.
const MAX_KEYS: usize = 100_000;
/// Where so many are stored, the others share so many rates, by their hash. Whoever can invent keys takes no more memory by
/// it, and nobody is refused who was stored before.
const SHARED: usize = 1024;
/// The shortest time between two sweeps that a new key causes.
const SWEEP: Duration = Duration::from_secs(1);

/// For each key, the time at which the next stream would come if the streams came evenly.
pub(super) struct Rates<K> {
    next: HashMap<K, Instant>,
    shared: Vec<Instant>,
    hasher: RandomState,
    swept: Option<Instant>,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Rates { next: HashMap::new(), shared: Vec::new(), hasher: RandomState::new(), swept: None }
    }
}

impl<K: Hash + Eq + Clone> Rates<K> {
    /// Whether one more stream of the key may begin; if not, after what time. Bursts are of up to one second's worth.
    pub(super) fn check(&mut self, key: &K, rate: Rate, now: Instant) -> Result<(), Duration> {
        if rate.is_none() {
            return Ok(());
        }
        let period = Duration::from_secs_f64(1.0 / rate.per_second());
        let burst = period.mul_f64(rate.per_second().ceil() - 1.0);
        let next = self.next_of(key, now);
        let due = (*next).max(now);
        if let Some(early) = due.duration_since(now).checked_sub(burst).filter(|early| !early.is_zero()) {
            return Err(early);
        }
        *next = due + period;
        Ok(())
    }

    fn next_of(&mut self, key: &K, now: Instant) -> &mut Instant {
        if self.next.len() >= MAX_KEYS && !self.next.contains_key(key) {
            if self.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP) {
                self.sweep(now);
            }
            if self.next.len() >= MAX_KEYS {
                let at = self.hasher.hash_one(key) as usize % SHARED;
                self.shared.resize(SHARED, now);
                return &mut self.shared[at];
            }
        }
        self.next.entry(key.clone()).or_insert(now)
    }

    /// Removes the keys that had no new stream for a while: for them, nothing differs from a new key.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.next.retain(|_, next| *next > now);
        self.swept = Some(now);
        if self.next.len() < MAX_KEYS {
            self.shared = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_of_a_second_s_worth_and_then_the_rate() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        let refused = |rates: &mut Rates<u32>, at: Duration| rates.check(&1, rate("10"), now + at).err();
        assert!((0..10).all(|_| refused(&mut rates, Duration::ZERO).is_none()));
        assert_eq!(refused(&mut rates, Duration::ZERO), Some(Duration::from_millis(100)));
        assert_eq!(refused(&mut rates, Duration::from_millis(99)), Some(Duration::from_millis(1)));
        assert_eq!(refused(&mut rates, Duration::from_millis(100)), None);
        assert!(rates.check(&2, rate("10"), now).is_ok(), "another key has a rate of its own");
        assert!((0..1000).all(|_| rates.check(&1, rate("0"), now).is_ok()));
    }

    #[test]
    fn a_rate_below_one_a_second_lets_one_through_and_then_says_when_the_next() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        assert!(rates.check(&1, rate("2/m"), now).is_ok());
        assert_eq!(rates.check(&1, rate("2/m"), now), Err(Duration::from_secs(30)));
        assert!(rates.check(&1, rate("2/m"), now + Duration::from_secs(30)).is_ok());
    }

    #[test]
    fn attack_a_million_invented_keys_take_no_more_memory_than_a_bound_and_are_still_limited() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        assert!(rates.check(&0, rate("1/m"), now).is_ok());
        let passed = (1..1_000_000_u32).filter(|key| rates.check(key, rate("1/m"), now).is_ok()).count();
        assert_eq!((rates.next.len(), rates.shared.len()), (MAX_KEYS, SHARED));
        assert!(passed <= MAX_KEYS + SHARED, "{passed}");
        assert!(rates.check(&0, rate("1/m"), now).is_err(), "who was stored is still known");
        rates.sweep(now + Duration::from_secs(60));
        assert_eq!((rates.next.len(), rates.shared.len()), (0, 0));
    }
}
