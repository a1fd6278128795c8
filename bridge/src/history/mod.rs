//! What only Kafka still has: reads of it, shared by all their waiters, bounded in number and fair between tenants.
//!
//! Readers of the same history come at different times, and the memory for it is small. So a *scan* reads one partition forward
//! from an offset, for all readers that need that offset. A later reader shares the scans that begin after it came, and reads
//! the partitions that it missed at the end. The more readers there are, the fewer scans run at once. What was read is packed,
//! if there is memory for that, and opened again for later readers.
//!
//! A read waits while too many others run, while it is another tenant's turn, while all scans are taken, or while there is no
//! memory for its segment: `History::dispatch` decides.
//!
//! A read is a [`job`], which the [`schedule`] begins in its turn. It reads from Kafka through the port ([`source`]), and its
//! segment is kept in two caches, [`open_cache`] and [`packed_cache`]. [`windows`] says which records are the newest of their
//! keys ([`window`]). [`readers`] counts the subscriptions that read history;
//! the number of scans and each reader's share of the memory depend on that count.
//!
//! ```
//! use futures::future::{BoxFuture, FutureExt, ready};
//! use tailrace_bridge::{HistoryError, HistoryRead, OffsetsAt, Segment, Source};
//!
//! /// A Kafka of which nothing is left.
//! struct Empty;
//!
//! impl Source for Empty {
//!     fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
//!         ready(Err(HistoryError::OutOfRange { start: 100, end: 100 })).boxed()
//!     }
//!
//!     fn offsets_at(&self, topic: &str, at: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
//!         ready(Ok(vec![100])).boxed()
//!     }
//!
//!     fn refresh(&self) -> BoxFuture<'static, ()> {
//!         ready(()).boxed()
//!     }
//! }
//! ```

pub(crate) mod job;
mod open_cache;
mod packed_cache;
pub(crate) mod readers;
mod schedule;
pub(crate) mod source;
pub(crate) mod window;
pub(crate) mod windows;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use crate::base::clock::Clock;
use crate::base::lock_order::Rank;
use crate::base::sync::Mutex;
use crate::history::job::{Asker, Job, Waiter};
use crate::history::open_cache::OpenCache;
use crate::history::packed_cache::PackedCache;
use crate::history::readers::Readers;
use crate::history::schedule::{LEASE, Schedule};
use crate::history::source::{HistoryError, HistoryRead, Source};
use crate::history::windows::Windows;
use crate::log::memory::Charge;
use crate::log::packed::{Held, Packed};
use crate::log::partition::Partition;
use crate::log::segment::Segment;
use crate::log::tails::Tails;
use crate::position::Position;

/// Reads of Kafka at once. More would compete with the tail for the same brokers.
const MAX_RUNNING: usize = 4;
/// Bytes of one read at most, and at least.
const MAX_READ: usize = 1024 * 1024;
const MIN_READ: usize = 64 * 1024;
/// Bytes of one read that are worth a round trip.
const GOOD_READ: usize = 512 * 1024;
/// By what factor packing shrinks a segment at best: without memory even for that, packing is not tried.
const BEST_RATIO: usize = 8;

pub(crate) struct History {
    clock: Arc<dyn Clock>,
    source: Arc<dyn Source>,
    tails: Arc<Tails>,
    packed: PackedCache,
    /// History's share of the budget: bytes that open segments may take.
    limit: usize,
    readers: Readers,
    windows: Windows,
    state: Mutex<State, { Rank::History as u8 }>,
}

#[derive(Default)]
struct State {
    schedule: Schedule,
    open: OpenCache,
    /// Whether a task is waiting to dispatch again.
    looks_again: bool,
    /// How often a partition was forgotten: what was read or opened before that is neither returned nor kept after it.
    forgotten: u64,
}

/// A read that runs.
struct Running {
    job: Arc<Job>,
    /// [`State::forgotten`] when it began.
    forgotten: u64,
    /// Memory for its segment until that is kept, and as much again to pack it.
    for_segment: Charge,
    for_packing: Charge,
}

/// Numbers for the gauges.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HistoryLoad {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    pub(crate) bytes: usize,
}

/// Requests and lookups.
impl History {
    pub(crate) fn new(clock: Arc<dyn Clock>, source: Arc<dyn Source>, tails: Arc<Tails>) -> Arc<History> {
        Arc::new(History {
            clock,
            source,
            limit: tails.budget.history_limit(),
            tails,
            packed: PackedCache::default(),
            readers: Readers::default(),
            windows: Windows::default(),
            state: Mutex::default(),
        })
    }

    pub(crate) fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The count of the subscriptions that read history now.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// The segment of history that covers the offset, if it is still kept.
    pub(crate) fn find(&self, partition: &Partition, offset: u64) -> Option<Held> {
        let (key, now) = (partition.key(), self.clock.now());
        let open = self.state.lock().find(partition, offset, now);
        open.map(Held::Open).or_else(|| self.packed.find(key, offset, now).map(Held::Packed))
    }

    /// The segment, if it is open.
    pub(crate) fn opened(&self, held: &Held) -> Option<Arc<Segment>> {
        let packed = match held {
            Held::Open(segment) => return Some(segment.clone()),
            Held::Packed(packed) => packed,
        };
        let segment = packed.opened()?;
        self.state.lock().open.touch(&segment, self.clock.now());
        Some(segment)
    }

    /// Opens a packed segment for all readers. `None`: there is no memory for it now. Takes a millisecond at most.
    pub(crate) fn open(&self, partition: &Partition, packed: &Packed) -> Option<Arc<Segment>> {
        let (size, now) = (packed.opened_size(), self.clock.now());
        let (_reserved, forgotten) = {
            let mut state = self.state.lock();
            if !state.open.evict_for(size, self.open_limit(), now) {
                return None;
            }
            (state.open.reserve(size), state.forgotten)
        };
        let segment = packed.open()?;
        let mut state = self.state.lock();
        if !state.open.touch(&segment, now) && state.forgotten == forgotten {
            state.open.keep(partition.key(), segment.clone(), now);
        }
        Some(segment)
    }

    /// The segment, opened for one use even if there is no memory for it.
    pub(crate) fn opened_anyway(&self, partition: &Partition, held: &Held) -> Option<Arc<Segment>> {
        match held {
            Held::Open(segment) => Some(segment.clone()),
            Held::Packed(packed) => self.open(partition, packed).or_else(|| packed.open()),
        }
    }

    /// Requests a read from `from` on; a pending read of the same position is shared.
    pub(crate) fn request(
        self: &Arc<Self>,
        asker: Asker<'_>,
        partition: &Partition,
        from: Position,
        until: u64,
        max_bytes: usize,
    ) -> Waiter {
        let key = (partition.key(), from.offset, from.epoch);
        let mut state = self.state.lock();
        if let Some(waiter) = state.schedule.find(key) {
            return waiter;
        }
        let read = HistoryRead {
            topic: partition.topic_name().clone(),
            partition: partition.index(),
            from: from.offset,
            epoch: from.epoch,
            began: partition.epochs_began(from.epoch),
            until,
            max_bytes,
        };
        let now = self.clock.now();
        let waiter = state.schedule.add(asker.tenant, Job::new(key, read, now, asker.meter), now);
        drop(state);
        self.dispatch();
        waiter
    }

    /// Where a read from this offset on is to end (exclusive): where memory goes on; `u64::MAX` if it does nowhere.
    pub(crate) fn until(&self, partition: &Partition, from: u64) -> u64 {
        let tail = Some(partition.oldest()).filter(|oldest| *oldest > from);
        let packed = self.packed.next(partition.key(), from);
        tail.into_iter().chain(packed).min().unwrap_or(u64::MAX)
    }

    /// Forgets the partitions that are not in `known`: their topics were deleted or created again.
    pub(crate) fn retain(&self, known: &HashSet<u64>) {
        self.state.lock().open.retain(|partition| known.contains(&partition));
        self.packed.retain(known);
    }

    /// Forgets what is kept of one partition. Reads that run now, of any partition, end with [`HistoryError::Cut`].
    pub(crate) fn forget(&self, partition: &Partition) {
        let mut state = self.state.lock();
        state.open.retain(|other| other != partition.key());
        state.forgotten += 1;
        self.packed.forget(partition.key());
    }

    /// Bytes of memory in use, including those reserved for running reads.
    pub(crate) fn memory(&self) -> usize {
        self.state.lock().open.memory() + self.packed.size()
    }

    pub(crate) fn load(&self) -> HistoryLoad {
        let State { schedule, open, .. } = &*self.state.lock();
        let bytes = open.size() + self.packed.size();
        HistoryLoad { running: schedule.running(), waiting: schedule.waiting(), bytes }
    }
}

/// How many scans and bytes there may be.
impl History {
    /// About how many bytes one read should bring.
    pub(crate) fn read_size(&self) -> usize {
        (self.limit / (2 * self.most_scans())).clamp(MIN_READ, MAX_READ)
    }

    /// Bytes of open segments that one reader may count on.
    pub(crate) fn share(&self) -> usize {
        self.open_limit() / 2 / self.readers.count().max(1)
    }

    /// Gives back the memory lent to packed segments that the tail or the rings need now.
    pub(crate) fn give_back(&self) {
        self.packed.shrink(self.packed_limit());
    }

    /// How many scans may run for a single reader: it is faster to read a few partitions through than a little of each.
    fn most_scans(&self) -> usize {
        (self.limit / GOOD_READ).clamp(MAX_RUNNING, 2 * MAX_RUNNING).min(self.limit / MIN_READ).max(1)
    }

    /// How many scans may run with the present number of readers.
    fn scans(&self) -> usize {
        (self.most_scans() / self.readers.count().max(1)).max(1)
    }

    /// Bytes that packed segments may take: what the tail and the rings do not use of their shares. History's own share is for
    /// open segments alone: if packed ones took some of it, open ones would be evicted before their readers had read them, and
    /// would be read from Kafka again.
    fn packed_limit(&self) -> usize {
        self.tails.budget.unused()
    }

    /// Bytes that open segments may take, including those reserved for running reads. What packed segments have not given back
    /// yet is subtracted.
    fn open_limit(&self) -> usize {
        self.limit.saturating_sub(self.packed.size().saturating_sub(self.packed_limit()))
    }
}

/// From the queue to Kafka and into the caches.
impl History {
    /// Begins as many reads as may run. Also called by replays that wait, and at each tick.
    pub(crate) fn dispatch(self: &Arc<Self>) {
        let (mut state, now) = (self.state.lock(), self.clock.now());
        self.readers.turn(now);
        state.schedule.end_unfollowed(now);
        let scans = self.scans();
        while state.schedule.has_next(scans)
            && state.open.evict_for(2 * self.read_size(), self.open_limit(), now)
        {
            let Some(job) = state.schedule.begin_next(scans, now) else { break };
            let bytes = job.read.max_bytes;
            let (for_segment, for_packing) = (state.open.reserve(bytes), state.open.reserve(bytes));
            let running = Running { job, forgotten: state.forgotten, for_segment, for_packing };
            self.clock.spawn(Box::pin(self.clone().run(running)));
        }
        if state.schedule.is_stuck() && !state.looks_again {
            // Scans and pins expire.
            state.looks_again = true;
            self.clock.spawn(Box::pin(self.clone().look_again()));
        }
    }

    async fn run(self: Arc<Self>, running: Running) {
        let Running { job, forgotten, for_segment, for_packing } = running;
        let partition = job.key.0;
        let result = self.source.read(job.read.clone()).await;
        if let Some(segment) = self.finish(job, result, forgotten, for_segment) {
            let history = self.clone();
            self.clock.spawn_blocking(Box::new(move || history.pack(partition, &segment, forgotten))).await;
        }
        drop(for_packing);
        self.dispatch();
    }

    async fn look_again(self: Arc<Self>) {
        self.clock.sleep_until(self.clock.now() + LEASE).await;
        self.state.lock().looks_again = false;
        self.dispatch();
    }

    /// Ends a read. Returns the segment that was read, if it is to be packed.
    fn finish(
        self: &Arc<Self>,
        job: Arc<Job>,
        result: Result<Segment, HistoryError>,
        forgotten: u64,
        reserved: Charge,
    ) -> Option<Arc<Segment>> {
        let mut state = self.state.lock();
        drop(reserved);
        // A result from before a truncation is not returned to any reader.
        let result = if state.forgotten == forgotten { result } else { Err(HistoryError::Cut) };
        let (segment, error) = match result {
            Ok(segment) => (Some(Arc::new(segment)), None),
            Err(error) => (None, Some(error)),
        };
        let now = self.clock.now();
        state.schedule.end(&job, segment.as_deref(), now);
        job.pay(segment.as_deref().map_or(0, Segment::used), now);
        let segment = segment.filter(|segment| segment.end().offset > segment.base());
        if let Some(segment) = &segment {
            state.open.keep_pinned(&job, segment.clone(), now);
        }
        drop(state);
        job.finish(error);
        self.dispatch();
        segment.filter(|_| !job.is_question())
    }

    /// Packs what was read, so that it can be kept. If there is no memory for that, the tail's oldest segments are packed too.
    fn pack(&self, partition: u64, segment: &Arc<Segment>, forgotten: u64) {
        if !self.make_room(segment.used() / BEST_RATIO) {
            return;
        }
        let Some(packed) = self.tails.packed(segment) else { return };
        self.make_room(packed.size());
        let state = self.state.lock();
        if state.forgotten == forgotten {
            self.packed.put(partition, packed, self.packed_limit(), self.clock.now());
        }
        drop(state);
        // The tail may have grown meanwhile.
        self.give_back();
    }

    /// Whether so many more bytes of packed segments can be kept: the limit allows them, a stale segment can be evicted, or the
    /// tail can be packed.
    fn make_room(&self, bytes: usize) -> bool {
        let fits =
            || self.packed.size() + bytes <= self.packed_limit() || self.packed.has_stale(self.clock.now());
        while !fits() {
            if !self.tails.pack_oldest() {
                return false;
            }
        }
        true
    }
}

impl State {
    /// The open segment that covers the offset. The scan that read it counts as followed.
    fn find(&mut self, partition: &Partition, offset: u64, now: Instant) -> Option<Arc<Segment>> {
        let segment = self.open.find(partition.key(), offset, now)?;
        self.schedule.follow(partition.key(), segment.end().offset, now);
        Some(segment)
    }
}
