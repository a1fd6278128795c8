//! When each stream is to be looked at again: a wheel of short ticks, so that a hundred thousand deadlines cost no timer each.

use tokio::time::{Duration, Instant};

/// Deadlines are met up to one tick late.
const TICK: Duration = Duration::from_millis(8);
/// Ticks of one turn of the wheel. What is further away is looked at once a turn, and put back.
const TICKS: usize = 2048;

/// A stream's key in the slab, and what tells it from others that had the key before.
pub(super) type Entry = (usize, u32);

#[derive(Debug)]
pub(super) struct Wheel {
    start: Instant,
    /// All ticks before this one have passed.
    now: u64,
    slots: Vec<Vec<Entry>>,
    entries: usize,
}

impl Wheel {
    pub(super) fn new(start: Instant) -> Wheel {
        Wheel { start, now: 0, slots: vec![Vec::new(); TICKS], entries: 0 }
    }

    /// The tick at which a deadline has passed, at the earliest the next one, at the latest one turn away.
    pub(super) fn tick_of(&self, deadline: Instant) -> u64 {
        let ticks = deadline.saturating_duration_since(self.start).as_millis() / TICK.as_millis() + 1;
        (ticks as u64).clamp(self.now, self.now + TICKS as u64 - 1)
    }

    pub(super) fn put(&mut self, tick: u64, entry: Entry) {
        self.slots[tick as usize % TICKS].push(entry);
        self.entries += 1;
    }

    /// Takes what is due, with the tick for which it was put.
    pub(super) fn take_due(&mut self, now: Instant, out: &mut Vec<(u64, Entry)>) {
        let passed = (now.saturating_duration_since(self.start).as_millis() / TICK.as_millis()) as u64;
        if self.entries == 0 {
            self.now = self.now.max(passed + 1);
        }
        while self.now <= passed {
            let slot = &mut self.slots[self.now as usize % TICKS];
            self.entries -= slot.len();
            out.extend(slot.drain(..).map(|entry| (self.now, entry)));
            // A slot that was full once need not stay so for ever.
            slot.shrink_to(16);
            self.now += 1;
        }
    }

    /// How long until something is due; `None`: there is nothing.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        if self.entries == 0 {
            return None;
        }
        let next = (self.now..self.now + TICKS as u64)
            .find(|tick| !self.slots[*tick as usize % TICKS].is_empty())?;
        let at = self.start + Duration::from_millis(next * TICK.as_millis() as u64);
        Some(at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_comes_after_its_deadline_and_once() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let at = |millis| start + Duration::from_millis(millis);
        for (key, millis) in [(1, 0), (2, 100), (3, 1000)] {
            wheel.put(wheel.tick_of(at(millis)), (key, 0));
        }
        let mut due = Vec::new();
        wheel.take_due(at(99), &mut due);
        assert_eq!(due.iter().map(|(_, entry)| entry.0).collect::<Vec<_>>(), [1]);
        due.clear();
        wheel.take_due(at(120), &mut due);
        assert_eq!(due.iter().map(|(_, entry)| entry.0).collect::<Vec<_>>(), [2]);
        let wait = wheel.wait(at(120)).unwrap();
        assert!(wait > Duration::from_millis(870) && wait <= Duration::from_millis(900), "{wait:?}");
        due.clear();
        wheel.take_due(at(5000), &mut due);
        assert_eq!((due.len(), wheel.wait(at(5000))), (1, None));
    }

    #[test]
    fn what_is_further_than_a_turn_comes_once_a_turn() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let far = start + Duration::from_secs(3600);
        wheel.put(wheel.tick_of(far), (1, 0));
        let wait = wheel.wait(start).unwrap();
        assert!(wait < TICK * TICKS as u32, "{wait:?}");
        let mut due = Vec::new();
        wheel.take_due(start + wait, &mut due);
        assert_eq!(due.len(), 1);
    }

    proptest::proptest! {
        /// Deadlines within a turn: each comes once, with the serial that it was put with, when its time has come.
        #[test]
        fn each_entry_comes_once_with_its_serial_and_in_time(
            steps in proptest::collection::vec((0_u64..400, proptest::collection::vec(0_u64..15_000, 0..4)), 1..60)
        ) {
            let start = Instant::now();
            let (mut wheel, mut now, mut due) = (Wheel::new(start), start, Vec::new());
            let (mut deadlines, mut came) = (Vec::new(), Vec::new());
            let idle = (20_000, Vec::new());
            for (step, millis) in steps.into_iter().chain([idle]) {
                for millis in millis {
                    let deadline = now + Duration::from_millis(millis);
                    // One key for all: that of a slab is used again at once.
                    wheel.put(wheel.tick_of(deadline), (7, deadlines.len() as u32));
                    deadlines.push(deadline);
                }
                let wait = wheel.wait(now);
                now += Duration::from_millis(step);
                wheel.take_due(now, &mut due);
                proptest::prop_assert!(wait.is_some_and(|wait| wait <= Duration::from_millis(step)) == !due.is_empty());
                for (_, (key, serial)) in due.drain(..) {
                    let deadline = deadlines[serial as usize];
                    proptest::prop_assert!(key == 7 && deadline <= now);
                    came.push(serial);
                }
                let waiting = (0..deadlines.len()).filter(|n| !came.contains(&(*n as u32)));
                for n in waiting {
                    proptest::prop_assert!(deadlines[n] + TICK > now, "late");
                }
            }
            came.sort_unstable();
            proptest::prop_assert_eq!(came, (0..deadlines.len() as u32).collect::<Vec<_>>());
        }
    }
}
