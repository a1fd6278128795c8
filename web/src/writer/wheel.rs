//! When each stream must be served again: a timer wheel of short ticks, so that a hundred thousand deadlines need no timer
//! each.
//!
//! The entries of all ticks are chained within one list, so a tick that once had many entries keeps no memory for them.

use std::num::NonZeroU16;

use tokio::time::Duration;

use crate::moment::Moment;

/// The length of a tick. An entry is taken up to one tick after its deadline.
const TICK_MILLIS: u64 = 8;
/// Ticks of one turn of the wheel. A deadline further ahead is checked once a turn, and put back.
const TICKS: u64 = 2048;
/// The end of a chain.
const NONE: u32 = u32::MAX;

/// A stream's key in the slab, and the serial that distinguishes it from earlier streams with the same key.
pub(super) type Entry = (u32, u32);

/// A tick's place on the wheel, from 1 on. Entries are put less than a turn ahead, so the place identifies the tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick(NonZeroU16);

impl Tick {
    fn at(tick: u64) -> Tick {
        Tick(NonZeroU16::MIN.saturating_add((tick % TICKS) as u16))
    }

    fn place(self) -> usize {
        usize::from(self.0.get() - 1)
    }
}

#[derive(Debug)]
pub(super) struct Wheel {
    /// All ticks before this one have passed.
    now: u64,
    /// The first entry of each tick, as an index.
    chains: Box<[u32]>,
    links: Vec<Link>,
    /// The first link of the chain of free links.
    free: u32,
    entries: usize,
}

#[derive(Debug)]
struct Link {
    entry: Entry,
    next: u32,
}

impl Wheel {
    pub(super) fn new(now: Moment) -> Wheel {
        let chains = vec![NONE; TICKS as usize].into();
        Wheel { now: now.millis() / TICK_MILLIS, chains, links: Vec::new(), free: NONE, entries: 0 }
    }

    /// The first tick at which the deadline has passed: at the earliest the next tick to be taken, at the latest one turn away.
    pub(super) fn tick_of(&self, deadline: Moment) -> Tick {
        Tick::at((deadline.millis() / TICK_MILLIS + 1).clamp(self.now, self.now + TICKS - 1))
    }

    /// Whether the one tick comes before the other.
    pub(super) fn is_before(&self, one: Tick, other: Tick) -> bool {
        let ahead = |tick: Tick| (tick.place() as u64 + TICKS - self.now % TICKS) % TICKS;
        ahead(one) < ahead(other)
    }

    pub(super) fn put(&mut self, tick: Tick, entry: Entry) {
        let chain = &mut self.chains[tick.place()];
        let link = Link { entry, next: *chain };
        match self.links.get_mut(self.free as usize) {
            Some(free) => {
                *chain = std::mem::replace(&mut self.free, free.next);
                *free = link;
            }
            None => {
                *chain = self.links.len() as u32;
                self.links.push(link);
            }
        }
        self.entries += 1;
    }

    /// Takes the entries that are due, each with the tick for which it was put.
    pub(super) fn take_due(&mut self, now: Moment, out: &mut Vec<(Tick, Entry)>) {
        let passed = now.millis() / TICK_MILLIS;
        if self.entries == 0 {
            self.now = self.now.max(passed + 1);
        }
        while self.now <= passed {
            let tick = Tick::at(self.now);
            let mut at = std::mem::replace(&mut self.chains[tick.place()], NONE);
            while let Some(link) = self.links.get_mut(at as usize) {
                out.push((tick, link.entry));
                self.entries -= 1;
                let next = std::mem::replace(&mut link.next, self.free);
                self.free = std::mem::replace(&mut at, next);
            }
            self.now += 1;
        }
    }

    /// How long until an entry is due; `None`: there is none.
    pub(super) fn wait(&self, now: Moment) -> Option<Duration> {
        if self.entries == 0 {
            return None;
        }
        let is_set = |tick: &u64| self.chains[(*tick % TICKS) as usize] != NONE;
        let next = (self.now..self.now + TICKS).find(is_set)?;
        Some(Duration::from_millis((next * TICK_MILLIS).saturating_sub(now.millis())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(wheel: &mut Wheel, now: Moment) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.take_due(now, &mut due);
        due.into_iter().map(|(_, entry)| entry.0).collect()
    }

    #[test]
    fn what_is_put_comes_after_its_deadline_and_once() {
        let start = Moment::now();
        let mut wheel = Wheel::new(start);
        let at = |millis| start.plus_millis(millis);
        for (key, millis) in [(1, 0), (2, 100), (3, 1000)] {
            wheel.put(wheel.tick_of(at(millis)), (key, 0));
        }
        assert_eq!(taken(&mut wheel, at(99)), [1]);
        assert_eq!(taken(&mut wheel, at(120)), [2]);
        let wait = wheel.wait(at(120)).unwrap();
        assert!(wait > Duration::from_millis(870) && wait <= Duration::from_millis(900), "{wait:?}");
        assert_eq!((taken(&mut wheel, at(5000)), wheel.wait(at(5000))), (vec![3], None));
    }

    #[test]
    fn what_is_further_than_a_turn_comes_once_a_turn() {
        let start = Moment::now();
        let mut wheel = Wheel::new(start);
        wheel.put(wheel.tick_of(start.plus_millis(3_600_000)), (1, 0));
        let wait = wheel.wait(start).unwrap();
        assert!(wait < Duration::from_millis(TICK_MILLIS * TICKS), "{wait:?}");
        assert_eq!(taken(&mut wheel, start.plus(wait)), [1]);
    }

    #[test]
    fn an_earlier_tick_is_before_a_later_one_all_the_way_round() {
        let start = Moment::now();
        let mut wheel = Wheel::new(start);
        for turned in (0..40_000).step_by(900) {
            let now = start.plus_millis(turned);
            taken(&mut wheel, now);
            let (soon, late) = (wheel.tick_of(now.plus_millis(20)), wheel.tick_of(now.plus_millis(15_000)));
            assert!(
                wheel.is_before(soon, late) && !wheel.is_before(late, soon) && !wheel.is_before(soon, soon)
            );
        }
    }

    #[test]
    fn ten_thousand_that_come_and_go_leave_no_more_links_than_they_were_at_once() {
        let start = Moment::now();
        let mut wheel = Wheel::new(start);
        for round in 1..=5 {
            let due = start.plus_millis(round * 10);
            (0..10_000).for_each(|key| wheel.put(wheel.tick_of(due), (key, 0)));
            assert_eq!(taken(&mut wheel, due.plus_millis(10)).len(), 10_000);
        }
        assert_eq!(wheel.links.len(), 10_000);
    }

    proptest::proptest! {
        /// Deadlines within a turn: each entry is taken once, with its serial, after its deadline and at most a tick late.
        #[test]
        fn each_entry_comes_once_with_its_serial_and_in_time(
            steps in proptest::collection::vec((0_u64..400, proptest::collection::vec(0_u64..15_000, 0..4)), 1..60)
        ) {
            let start = Moment::now();
            let (mut wheel, mut now, mut due) = (Wheel::new(start), start, Vec::new());
            let (mut deadlines, mut came) = (Vec::new(), Vec::new());
            let idle = (20_000, Vec::new());
            for (step, millis) in steps.into_iter().chain([idle]) {
                for millis in millis {
                    let deadline = now.plus_millis(millis);
                    // All entries have the same key: a slab reuses a key at once.
                    wheel.put(wheel.tick_of(deadline), (7, deadlines.len() as u32));
                    deadlines.push(deadline);
                }
                let wait = wheel.wait(now);
                now = now.plus_millis(step);
                wheel.take_due(now, &mut due);
                proptest::prop_assert!(wait.is_some_and(|wait| wait <= Duration::from_millis(step)) != due.is_empty());
                for (_, (key, serial)) in due.drain(..) {
                    let deadline = deadlines[serial as usize];
                    proptest::prop_assert!(key == 7 && deadline <= now);
                    came.push(serial);
                }
                let waiting = (0..deadlines.len()).filter(|n| !came.contains(&(*n as u32)));
                for n in waiting {
                    proptest::prop_assert!(deadlines[n].plus_millis(TICK_MILLIS) > now, "late");
                }
            }
            came.sort_unstable();
            proptest::prop_assert_eq!(came, (0..deadlines.len() as u32).collect::<Vec<_>>());
        }
    }
}
