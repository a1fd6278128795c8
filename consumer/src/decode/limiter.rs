//! How often the same thing about the same topic is logged.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The same thing about the same topic is said at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Topics and reasons remembered for that; beyond it nothing new is said.
const MAX_SAID: usize = 10_000;

/// Says yes once a minute for each topic and reason.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<HashMap<(String, &'static str), Instant>>);

impl Limiter {
    pub(super) fn allows(&self, topic: &str, reason: &'static str, now: Instant) -> bool {
        let mut said = self.0.lock();
        let key = (topic.to_owned(), reason);
        let due = said.get(&key).is_none_or(|last| now.saturating_duration_since(*last) >= SAY_EVERY);
        if !due || (said.len() >= MAX_SAID && !said.contains_key(&key)) {
            return false;
        }
        said.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reason_of_the_same_topic_is_said_once_a_minute() {
        let (limiter, start) = (Limiter::default(), Instant::now());
        assert!(limiter.allows("orders", "no_header", start));
        assert!(!limiter.allows("orders", "no_header", start + Duration::from_secs(59)));
        assert!(limiter.allows("orders", "no_key", start));
        assert!(limiter.allows("logs", "no_header", start));
        assert!(limiter.allows("orders", "no_header", start + Duration::from_secs(60)));
    }
}
