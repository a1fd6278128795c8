//! History that was read once, packed: it may take what the tail and frames do not, and gives it back as they grow.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicUsize, Ordering};
use crate::log::packed::Packed;

/// What was used within this time is not given up for what comes now: of a topic that is read through again and again, and
/// does not fit, a part should stay.
const STALE: Duration = Duration::from_secs(10);

/// Packed segments of history, of all partitions.
#[derive(Debug, Default)]
pub(crate) struct Cold {
    shelf: Mutex<Shelf>,
    /// The shelf's size, for those who only ask.
    size: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shelf {
    /// By partition and first offset.
    kept: BTreeMap<(u64, u64), Kept>,
    size: usize,
}

#[derive(Debug)]
struct Kept {
    packed: Arc<Packed>,
    used: Instant,
}

impl Cold {
    /// Bytes of memory that all of it takes.
    pub(crate) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// The segment that covers the offset.
    pub(crate) fn find(&self, partition: u64, offset: u64) -> Option<Arc<Packed>> {
        let mut shelf = self.shelf.lock();
        let (_, kept) = shelf.kept.range_mut((partition, 0)..=(partition, offset)).next_back()?;
        if offset >= kept.packed.end().offset {
            return None;
        }
        kept.used = Instant::now();
        Some(kept.packed.clone())
    }

    /// Whether there is something that may be given up for what comes now.
    pub(crate) fn has_stale(&self) -> bool {
        self.shelf.lock().oldest().is_some_and(|(_, kept)| kept.used.elapsed() >= STALE)
    }

    /// Keeps a segment if `room` bytes are enough for it and for all that was used lately. False: they are not.
    pub(crate) fn put(&self, partition: u64, packed: Arc<Packed>, room: usize) -> bool {
        let now = Instant::now();
        let mut shelf = self.shelf.lock();
        shelf.take((partition, packed.base()));
        while shelf.size + packed.size() > room {
            let stale = |(_, kept): &(&(u64, u64), &Kept)| now.duration_since(kept.used) >= STALE;
            let Some(key) = shelf.oldest().filter(stale).map(|(key, _)| *key) else {
                self.note(&shelf);
                return false;
            };
            shelf.take(key);
        }
        shelf.size += packed.size();
        shelf.kept.insert((partition, packed.base()), Kept { packed, used: now });
        self.note(&shelf);
        true
    }

    /// Gives up what was used longest ago, until no more than `room` bytes are taken.
    pub(crate) fn shrink(&self, room: usize) {
        if self.size() <= room {
            return;
        }
        let mut shelf = self.shelf.lock();
        while shelf.size > room {
            let Some(key) = shelf.oldest().map(|(key, _)| *key) else { break };
            shelf.take(key);
        }
        self.note(&shelf);
    }

    /// Forgets the partitions that are not in `known`.
    pub(crate) fn retain(&self, known: &HashSet<u64>) {
        self.forget_where(|partition| !known.contains(&partition));
    }

    /// Forgets one partition.
    pub(crate) fn forget(&self, partition: u64) {
        self.forget_where(|other| other == partition);
    }

    fn forget_where(&self, is_gone: impl Fn(u64) -> bool) {
        let mut shelf = self.shelf.lock();
        shelf.kept.retain(|(partition, _), _| !is_gone(*partition));
        shelf.size = shelf.kept.values().map(|kept| kept.packed.size()).sum();
        self.note(&shelf);
    }

    fn note(&self, shelf: &Shelf) {
        self.size.store(shelf.size, Ordering::Relaxed);
    }
}

impl Shelf {
    fn oldest(&self) -> Option<(&(u64, u64), &Kept)> {
        self.kept.iter().min_by_key(|(_, kept)| kept.used)
    }

    fn take(&mut self, key: (u64, u64)) {
        if let Some(kept) = self.kept.remove(&key) {
            self.size -= kept.packed.size();
        }
    }
}
