//! Makes windows for replays that keep only the newest record of each key, and the indexes of keys that most windows come from.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::base::meter::Meter;
use crate::base::metrics;
use crate::base::signal::Signal;
use crate::base::sync::Mutex;
use crate::history::History;
use crate::history::job::Asker;
use crate::history::source::HistoryError;
use crate::history::window::{Making, Range, ScannedKeys, Slots, Window, Windowed, window};
use crate::log::key_index::{Begun, NewestOffsets};
use crate::log::packed::Held;
use crate::log::partition::Partition;
use crate::log::partition_log::Found;
use crate::log::segment::Segment;
use crate::position::Position;
use crate::record::tenant::TenantId;

/// How long to wait after an error before Kafka is asked again.
const RETRY: Duration = Duration::from_millis(500);
/// Bytes of records that are examined before other tasks get their turn.
const TURN: usize = 256 * 1024;
/// Offsets of a window from an index at least, however little memory there is.
const FEWEST_OFFSETS: usize = 1024;

/// The windows that are made or kept, by partition and tenant.
#[derive(Debug, Default)]
pub(super) struct Windows {
    slots: Mutex<HashMap<(u64, TenantId), Slots>>,
}

/// From where a window may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// A scan of the range.
    Scan,
    /// The index of the partition if it is there, else a scan.
    Index,
    /// The index of the partition, which is built if it is not there; a scan if its keys do not fit.
    BuildIndex,
}

/// For whom a window is made: the task outlives the request.
struct For {
    partition: Arc<Partition>,
    range: Range,
    meter: Option<Arc<Meter>>,
    keys: Keys,
}

impl For {
    fn asker(&self) -> Asker<'_> {
        Asker { tenant: &self.range.tenant, meter: self.meter.as_ref() }
    }

    /// Whether the log was truncated since the window was asked for.
    fn was_cut(&self) -> bool {
        self.partition.lineage().cuts() != self.range.cuts
    }
}

impl History {
    /// A window that covers the offset `from`, of records below `to`, where the log has everything. `cuts`: how often the log
    /// had been truncated before `to` was known.
    pub(crate) fn window(
        self: &Arc<Self>,
        asker: Asker<'_>,
        partition: &Arc<Partition>,
        keys: Keys,
        (from, to): (u64, Position),
        cuts: u32,
    ) -> Windowed {
        let (key, now) = ((partition.key(), asker.tenant.clone()), self.clock.now());
        let mut slots = self.windows.slots.lock();
        let of_tenant = slots.entry(key).or_default();
        of_tenant.tidy(now);
        if let Some(found) = of_tenant.find(from, cuts) {
            return found;
        }
        let making = Arc::new(Making::default());
        of_tenant.add((from, to.offset), cuts, &making);
        drop(slots);
        let range = Range { tenant: asker.tenant.clone(), from, to, cuts };
        let whom = For { partition: partition.clone(), range, meter: asker.meter.cloned(), keys };
        self.clock.spawn(Box::pin(self.clone().make(whom, Arc::downgrade(&making))));
        Windowed::Making(making)
    }

    /// Forgets windows that are too old.
    pub(crate) fn drop_old_windows(&self) {
        let now = self.clock.now();
        self.windows.slots.lock().retain(|_, slots| slots.tidy(now));
    }

    async fn make(self: Arc<Self>, whom: For, making: Weak<Making>) {
        if whom.keys == Keys::BuildIndex {
            self.await_index(&whom).await;
        }
        let key = (whom.partition.key(), whom.range.tenant.clone());
        let made = match (whom.keys != Keys::Scan).then(|| self.indexed(&whom)).flatten() {
            Some(window) => Some(window),
            None => self.scan(whom, &making).await,
        };
        let (Some(window), Some(making)) = (made.map(Arc::new), making.upgrade()) else { return };
        if let Some(slots) = self.windows.slots.lock().get_mut(&key) {
            slots.made(&making, &window, self.clock.now());
        }
        making.finish(window);
    }

    /// The window that the partition's index gives. `None`: there is no index, or the log was truncated.
    fn indexed(&self, whom: &For) -> Option<Window> {
        let (budget, range) = (&self.tails.budget, &whom.range);
        let free = budget.windows_limit().saturating_sub(budget.windows.used());
        let most = (free / 2 / size_of::<u64>()).max(FEWEST_OFFSETS);
        let newest = whom.partition.keys.newest(&range.tenant, range.from, most)?;
        let NewestOffsets { mut offsets, is_cut, has_keyless, end } = newest;
        // The index is emptied before the cut is counted.
        if whom.was_cut() || end.offset <= range.from {
            return None;
        }
        // If there are more, the window ends before the last of these; the next one begins with it.
        let last = if is_cut { offsets.pop() } else { None };
        let to = last.map_or(end, |offset| Position { offset, epoch: -1 });
        let charge = budget.windows.charge(0);
        Some(window(range.from, (to, end), range.cuts, (offsets, has_keyless), charge))
    }

    /// Reads the range and notes its keys. `None`: nobody waits for the window any more, or the log was truncated.
    async fn scan(self: &Arc<Self>, whom: For, making: &Weak<Making>) -> Option<Window> {
        let For { ref partition, ref range, .. } = whom;
        let (budget, cuts) = (&self.tails.budget, range.cuts);
        let free = budget.windows_limit().saturating_sub(budget.windows.used());
        let range = Range { tenant: range.tenant.clone(), ..*range };
        let mut scanned = ScannedKeys::new(range, free / 4, budget.windows.charge(0));
        metrics::count_key_scan();
        let mut examined = 0;
        while !scanned.is_done() {
            if making.strong_count() == 0 || partition.lineage().cuts() != cuts {
                return None;
            }
            self.await_turn(whom.meter.as_ref(), &mut examined).await;
            match self.segment_at(whom.asker(), partition, scanned.at()).await {
                Ok(segment) => examined += scanned.take(&segment),
                Err(HistoryError::OutOfRange { start, .. }) if scanned.at() < start => scanned.skip_to(start),
                Err(_) => self.clock.sleep_until(self.clock.now() + RETRY).await,
            }
        }
        if let Some(meter) = &whom.meter {
            meter.pay(examined as u64, self.clock.now());
        }
        (partition.lineage().cuts() == cuts).then(|| scanned.into_window())
    }

    /// Pays for what was examined, and lets others have their turn.
    async fn await_turn(&self, meter: Option<&Arc<Meter>>, examined: &mut usize) {
        if *examined < TURN {
            return;
        }
        if let Some(meter) = meter {
            meter.pay(*examined as u64, self.clock.now());
            while let Some(until) = meter.wait(self.clock.now()) {
                self.clock.sleep_until(until).await;
            }
        }
        *examined = 0;
        tokio::task::yield_now().await;
    }

    /// The segment that covers an offset below the head: from memory, or from Kafka.
    pub(crate) async fn segment_at(
        self: &Arc<Self>,
        asker: Asker<'_>,
        partition: &Arc<Partition>,
        at: u64,
    ) -> Result<Arc<Segment>, HistoryError> {
        let opened = |held: Held| self.opened_anyway(partition, &held).ok_or(HistoryError::Cut);
        if let Found::Held(held) = partition.find(at) {
            return opened(held);
        }
        if let Some(held) = self.find(partition, at) {
            return opened(held);
        }
        let from = Position { offset: at, epoch: -1 };
        let job = self.request(asker, partition, from, self.until(partition, at), self.read_size());
        job.finished().await;
        match job.error() {
            Some(error) => Err(error),
            None => self.find(partition, at).ok_or(HistoryError::Cut).and_then(opened),
        }
    }
}

/// Indexes of keys.
impl History {
    /// Waits until the partition's index is there, or cannot be. Builds it if nobody else does.
    async fn await_index(self: &Arc<Self>, whom: &For) {
        let budget = &self.tails.budget;
        let begun = whom.partition.keys.begin(budget.keys.charge(0), budget.keys_limit(), self.clock.now());
        match begun {
            Begun::Ready | Begun::TooLarge => {}
            Begun::Building(built) => built.finished().await,
            Begun::Begins(built) => {
                // A task of its own: others wait for the index, too, and it is worth its end even if nobody does.
                let (partition, tenant) = (whom.partition.clone(), whom.range.tenant.clone());
                self.clock.spawn(Box::pin(self.clone().build_index(partition, tenant, built.clone())));
                built.finished().await;
            }
        }
    }

    /// Reads the partition from its first record up to what the index gets from the appends. The read is not paid for by the
    /// tenant that has caused it: the index is everybody's.
    async fn build_index(self: Arc<Self>, partition: Arc<Partition>, tenant: TenantId, built: Arc<Signal>) {
        let cuts = partition.lineage().cuts();
        // Read after the build began: everything from here on is noted as it is appended.
        let end = partition.log.read().end();
        let asker = Asker { tenant: &tenant, meter: None };
        let (mut at, mut examined, mut is_whole) = (partition.log_start(), 0, true);
        while is_whole && at < end.offset {
            self.await_turn(None, &mut examined).await;
            match self.segment_at(asker, &partition, at).await {
                Ok(segment) => {
                    examined += segment.used();
                    is_whole = partition.keys.read(&built, &segment, at, end.offset);
                    at = segment.end().offset.max(at + 1);
                    self.tails.evict();
                    self.give_back();
                }
                Err(HistoryError::OutOfRange { start, .. }) if at < start => at = start,
                Err(HistoryError::Gone) => is_whole = false,
                Err(_) => self.clock.sleep_until(self.clock.now() + RETRY).await,
            }
            is_whole &= partition.lineage().cuts() == cuts && !partition.is_retired();
        }
        partition.keys.finish(&built, is_whole, end);
        tracing::debug!(topic = %partition.topic_name(), partition = partition.index(), keys = partition.keys.keys(), is_whole, "an index of keys was built");
    }
}
