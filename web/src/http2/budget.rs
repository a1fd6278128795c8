//! Limits what a client can have the server do: frames that cost work and bring nothing (RFC 9113, section 10.5).

use crate::moment::Moment;

/// A number of things that are allowed at once, and more of them with time. Unlike the limits of tenants, which `governor` counts, some
/// of it is given back by what the client does.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    most: u32,
    per_second: u32,
    filled: Moment,
}

impl Budget {
    pub(super) fn new(most: u32, per_second: u32, now: Moment) -> Budget {
        Budget { left: most, most, per_second, filled: now }
    }

    /// Takes some of it. False: there is not as much left.
    pub(super) fn take(&mut self, count: u32, now: Moment) -> bool {
        if self.left < count {
            let millis = now.millis().saturating_sub(self.filled.millis());
            let more = millis.saturating_mul(u64::from(self.per_second)) / 1000;
            if more > 0 {
                self.filled = now;
                self.give(u32::try_from(more).unwrap_or(u32::MAX));
            }
        }
        let is_enough = self.left >= count;
        self.left = self.left.saturating_sub(count);
        is_enough
    }

    pub(super) fn give(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_comes_back_with_time_and_never_beyond_the_most() {
        let now = Moment::now();
        let mut budget = Budget::new(10, 5, now);
        assert!((0..10).all(|_| budget.take(1, now)));
        assert!(!budget.take(1, now.plus_millis(100)));
        let later = now.plus_millis(1_200);
        assert!((0..6).all(|_| budget.take(1, later)) && !budget.take(1, later));
        let late = now.plus_millis(1 << 40);
        assert!((0..10).all(|_| budget.take(1, late)) && !budget.take(1, late));
        budget.give(3);
        assert!(budget.take(3, late) && !budget.take(1, late));
    }
}
