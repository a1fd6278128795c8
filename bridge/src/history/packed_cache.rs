//! Packed history that was read before: it may take memory that the tail and frames do not use, until they grow.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::sync::Mutex;
use crate::log::memory::{Account, Charge};
use crate::log::packed::Packed;

/// A segment used within this time is not evicted for a new one: if a topic is read again and again, and does not fit, a part
/// of it should stay.
const STALE: Duration = Duration::from_secs(10);

/// Packed segments of history, of all partitions.
#[derive(Debug, Default)]
pub(crate) struct PackedCache {
    kept: Mutex<Kept>,
    account: Account,
}

/// By partition and first offset.
type Kept = BTreeMap<(u64, u64), Entry>;

#[derive(Debug)]
struct Entry {
    packed: Arc<Packed>,
    used: Instant,
    _charge: Charge,
}

impl Entry {
    fn is_stale(&self, now: Instant) -> bool {
        now.duration_since(self.used) >= STALE
    }
}

impl PackedCache {
    /// Bytes of memory that all segments take.
    pub(crate) fn size(&self) -> usize {
        self.account.used()
    }

    /// The segment that covers the offset.
    pub(crate) fn find(&self, partition: u64, offset: u64, now: Instant) -> Option<Arc<Packed>> {
        let mut kept = self.kept.lock();
        let (_, entry) = kept.range_mut((partition, 0)..=(partition, offset)).next_back()?;
        if offset >= entry.packed.end().offset {
            return None;
        }
        entry.used = now;
        Some(entry.packed.clone())
    }

    /// The first offset past this one from which on there is a segment.
    pub(crate) fn next(&self, partition: u64, offset: u64) -> Option<u64> {
        let kept = self.kept.lock();
        let ((_, base), _) = kept.range((partition, offset + 1)..=(partition, u64::MAX)).next()?;
        Some(*base)
    }

    /// Whether there is a segment that may be evicted for a new one.
    pub(crate) fn has_stale(&self, now: Instant) -> bool {
        oldest(&self.kept.lock()).is_some_and(|(_, entry)| entry.is_stale(now))
    }

    /// Keeps a segment if `limit` bytes are enough for it and for all segments that were used lately.
    pub(crate) fn put(&self, partition: u64, packed: Arc<Packed>, limit: usize, now: Instant) {
        let mut kept = self.kept.lock();
        kept.remove(&(partition, packed.base()));
        while self.size() + packed.size() > limit {
            let Some((&key, _)) = oldest(&kept).filter(|(_, entry)| entry.is_stale(now)) else { return };
            kept.remove(&key);
        }
        let charge = self.account.charge(packed.size());
        kept.insert((partition, packed.base()), Entry { packed, used: now, _charge: charge });
    }

    /// Evicts the least recently used segments until at most `limit` bytes are taken.
    pub(crate) fn shrink(&self, limit: usize) {
        if self.size() <= limit {
            return;
        }
        let mut kept = self.kept.lock();
        while self.size() > limit {
            let Some((&key, _)) = oldest(&kept) else { return };
            kept.remove(&key);
        }
    }

    /// Forgets the partitions that are not in `known`.
    pub(crate) fn retain(&self, known: &HashSet<u64>) {
        self.kept.lock().retain(|(partition, _), _| known.contains(partition));
    }

    /// Forgets one partition.
    pub(crate) fn forget(&self, partition: u64) {
        self.kept.lock().retain(|(other, _), _| *other != partition);
    }
}

fn oldest(kept: &Kept) -> Option<(&(u64, u64), &Entry)> {
    kept.iter().min_by_key(|(_, entry)| entry.used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment::SegmentBuilder;
    use crate::position::Position;
    use crate::record::tenant::TenantId;
    use crate::record::{Headers, NewRecord};

    fn packed(base: u64, end: u64) -> Arc<Packed> {
        let mut builder = SegmentBuilder::new(base);
        for offset in base..end {
            builder.push(&NewRecord {
                offset,
                epoch: 0,
                timestamp: 0,
                key: None,
                value: Some(&[b'x'; 200]),
                headers: Headers::default(),
                tenant: TenantId::new("acme").unwrap(),
                event_type: None,
                form: crate::record::form::Form::default(),
            });
        }
        let segment = Arc::new(builder.finish(Position { offset: end, epoch: 0 }));
        Arc::new(Packed::of(&segment).expect("it becomes smaller"))
    }

    /// A read that went on over what is kept would bring it again.
    #[test]
    fn what_is_kept_behind_an_offset_is_of_the_same_partition() {
        let (cache, now) = (PackedCache::default(), Instant::now());
        for (partition, base) in [(7, 0), (7, 300), (7, 200), (8, 150)] {
            cache.put(partition, packed(base, base + 50), usize::MAX, now);
        }
        let next = |offset| cache.next(7, offset);
        assert_eq!([49, 50, 199].map(next), [Some(200); 3]);
        assert_eq!([200, 299, 300, 400].map(next), [Some(300), Some(300), None, None]);
        assert_eq!((cache.next(8, 0), cache.next(9, 0)), (Some(150), None));
    }
}
