//! Windows: which records of a tenant, in a range of one partition, are the newest of their keys. A replay that conflates
//! delivers these, and skips the others.
//!
//! A window comes from the partition's index of keys, if there is one, else from a scan of the range. Subscriptions share it.
//! A scan ends the window early if the keys do not fit into memory: the next window begins there, and a key that is in both is
//! delivered twice.

use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::base::signal::Signal;
use crate::base::sync::Mutex;
use crate::log::memory::Charge;
use crate::log::segment::Segment;
use crate::position::Position;
use crate::record::RecordRef;
use crate::record::key_hash::{KEY_BYTES, NewestOfKeys};
use crate::record::tenant::TenantId;

/// A window that was made so long ago is not given to further replays: keys have changed since, and each of these would be
/// delivered twice.
const FRESH: Duration = Duration::from_secs(10);
/// Keys of a scan at least, however little memory there is.
const FEWEST_KEYS: usize = 64;

/// Which records of a tenant, at the offsets `[from, to)` of one partition, are the newest of their keys.
#[derive(Debug)]
pub(crate) struct Window {
    from: u64,
    /// Where it ends, with the epoch of the last record below.
    to: Position,
    /// No later record of the keys lies below this position, which is `to` or further: where the replay has to arrive.
    newest_below: Position,
    /// How often the partition's log had been truncated.
    cuts: u32,
    /// Rising.
    offsets: Box<[u64]>,
    has_keyless: bool,
    _charge: Charge,
}

impl Window {
    /// Whether it says something about the offset.
    pub(crate) fn covers(&self, offset: u64) -> bool {
        (self.from..self.to.offset).contains(&offset)
    }

    pub(crate) fn to(&self) -> Position {
        self.to
    }

    pub(crate) fn newest_below(&self) -> Position {
        self.newest_below
    }

    /// How often the log had been truncated: after another truncation the window is void.
    pub(crate) fn cuts(&self) -> u32 {
        self.cuts
    }

    /// Whether the record is the newest of its key. Each record without a key stands for itself.
    pub(crate) fn has(&self, record: &RecordRef<'_>) -> bool {
        record.key.is_none() || self.offsets.binary_search(&record.offset).is_ok()
    }

    /// The first offset from `offset` on where there may be a record to deliver; the window's end if there is none.
    pub(crate) fn next_from(&self, offset: u64) -> u64 {
        if self.has_keyless {
            return offset;
        }
        let next = self.offsets.partition_point(|known| *known < offset);
        self.offsets.get(next).copied().unwrap_or(self.to.offset)
    }
}

/// A window that is being made, for all who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Making {
    done: Signal,
    window: Mutex<Option<Arc<Window>>>,
}

impl Making {
    /// Wakes `waker` once when the window is there; false if it is there already.
    pub(crate) fn wake_when_done(&self, waker: &Waker) -> bool {
        self.done.wake_when_done(waker)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.is_done()
    }

    /// The window, once it is there.
    pub(crate) fn window(&self) -> Option<Arc<Window>> {
        self.window.lock().clone()
    }

    pub(super) fn finish(&self, window: Arc<Window>) {
        *self.window.lock() = Some(window);
        self.done.finish();
    }
}

/// A window that is there or is being made.
#[derive(Clone, Debug)]
pub(crate) enum Windowed {
    Ready(Arc<Window>),
    Making(Arc<Making>),
}

/// The windows of one tenant in one partition.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Slot>);

#[derive(Debug)]
struct Slot {
    from: u64,
    to: u64,
    cuts: u32,
    made: Made,
}

#[derive(Debug)]
enum Made {
    Not(Weak<Making>),
    At(Instant, Arc<Window>),
}

impl Slots {
    /// A window that covers the offset, or will.
    pub(super) fn find(&self, offset: u64, cuts: u32) -> Option<Windowed> {
        let of_log = |slot: &&Slot| slot.cuts == cuts && (slot.from..slot.to).contains(&offset);
        self.0.iter().filter(of_log).find_map(|slot| match &slot.made {
            Made::Not(making) => making.upgrade().map(Windowed::Making),
            Made::At(_, window) => Some(Windowed::Ready(window.clone())),
        })
    }

    /// Adds a window of `[from, to)` that is being made.
    pub(super) fn add(&mut self, (from, to): (u64, u64), cuts: u32, making: &Arc<Making>) {
        self.0.push(Slot { from, to, cuts, made: Made::Not(Arc::downgrade(making)) });
    }

    /// The window is there.
    pub(super) fn made(&mut self, making: &Arc<Making>, window: &Arc<Window>, now: Instant) {
        let is_it =
            |slot: &&mut Slot| matches!(&slot.made, Made::Not(weak) if weak.as_ptr() == Arc::as_ptr(making));
        if let Some(slot) = self.0.iter_mut().find(is_it) {
            (slot.from, slot.to) = (window.from, window.to.offset);
            slot.made = Made::At(now, window.clone());
        }
    }

    /// Forgets windows that are too old, and those that nobody waits for. Returns whether any are left.
    pub(super) fn tidy(&mut self, now: Instant) -> bool {
        self.0.retain(|slot| match &slot.made {
            Made::Not(making) => making.strong_count() > 0,
            Made::At(at, _) => now.duration_since(*at) < FRESH,
        });
        !self.0.is_empty()
    }
}

/// A range of a partition from which a window is made by a scan.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) tenant: TenantId,
    pub(super) from: u64,
    pub(super) to: Position,
    pub(super) cuts: u32,
}

/// The keys of a scan so far.
#[derive(Debug)]
pub(super) struct ScannedKeys {
    range: Range,
    newest: NewestOfKeys,
    most: usize,
    /// Where the scan is, with the epoch of the last record below.
    at: Position,
    charge: Charge,
}

impl ScannedKeys {
    /// A scan that may take about `memory` bytes for its keys, charged to `charge`.
    pub(super) fn new(range: Range, memory: usize, charge: Charge) -> ScannedKeys {
        let at = Position { offset: range.from, epoch: -1 };
        let most = (memory / KEY_BYTES).max(FEWEST_KEYS);
        ScannedKeys { range, newest: NewestOfKeys::default(), most, at, charge }
    }

    /// The offset that is to be read next.
    pub(super) fn at(&self) -> u64 {
        self.at.offset
    }

    /// Whether everything was scanned.
    pub(super) fn is_done(&self) -> bool {
        self.at.offset >= self.range.to.offset
    }

    /// Goes on at `offset`: Kafka has no records before it any more.
    pub(super) fn skip_to(&mut self, offset: u64) {
        self.at.offset = offset.min(self.range.to.offset);
    }

    /// Notes the records of a segment that covers the present offset. Returns how many bytes were examined.
    pub(super) fn take(&mut self, segment: &Segment) -> usize {
        let mut examined = 0;
        for &index in segment.of_tenant(&self.range.tenant, self.at.offset) {
            let record = segment.record(index);
            if record.offset >= self.range.to.offset {
                break;
            }
            if let Some(key) = record.key
                && self.newest.len() >= self.most
                && !self.newest.has(key)
            {
                // The window ends here: the next one begins with this key.
                let epoch = segment.epoch_below(record.offset).max(self.at.epoch);
                self.at = Position { offset: record.offset, epoch };
                self.range.to = self.at;
                return examined;
            }
            self.newest.note(record.key, record.offset);
            examined += record.key.map_or(0, <[u8]>::len) + KEY_BYTES;
        }
        self.charge.set(self.newest.len() * KEY_BYTES);
        let (end, to) = (segment.end(), self.range.to);
        self.at = if end.offset < to.offset {
            Position { epoch: end.epoch.max(self.at.epoch), ..end }
        } else {
            Position { epoch: to.epoch.max(segment.epoch_below(to.offset)).max(self.at.epoch), ..to }
        };
        examined
    }

    /// The window, once everything was scanned.
    pub(super) fn into_window(self) -> Window {
        let ScannedKeys { range, newest, at, charge, .. } = self;
        let (offsets, _) = newest.offsets(range.from, usize::MAX);
        let has_keyless = newest.has_keyless();
        window(range.from, (at, at), range.cuts, (offsets, has_keyless), charge)
    }
}

/// A window whose newest offsets are known.
pub(super) fn window(
    from: u64,
    (to, newest_below): (Position, Position),
    cuts: u32,
    (offsets, has_keyless): (Vec<u64>, bool),
    mut charge: Charge,
) -> Window {
    charge.set(offsets.len() * size_of::<u64>() + size_of::<Window>());
    Window { from, to, newest_below, cuts, offsets: offsets.into_boxed_slice(), has_keyless, _charge: charge }
}
