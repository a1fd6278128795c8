//! The readers of one process, and which of them takes a read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tailrace_bridge::{HistoryError, HistoryRead, Segment};

use super::reader::Reader;
use super::segment::Segments;
use crate::admin::Admin;
use crate::decode::Decoder;
use crate::error::HeldBack;
use crate::settings::KafkaSettings;
use crate::{metrics, span};

/// The least and the most readers, and for how much of the memory for records there is one: as many partitions as the bridge
/// replays at a time. With fewer, a reader would be assigned to another partition with every read, and what it had fetched
/// ahead would be fetched again. Each takes about 2 MiB beside that memory while it reads.
const READERS: (usize, usize) = (4, 8);
const MEMORY_OF_A_READER: usize = 4 << 20;
/// A reader that no read continues stops fetching ahead after this time.
const KEEP: Duration = Duration::from_secs(5);
/// A reader that no read uses is closed after this time.
const IDLE: Duration = Duration::from_secs(60);

/// The readers of one process.
pub(crate) struct Readers {
    settings: Arc<KafkaSettings>,
    segments: Segments,
    pool: Mutex<Pool>,
    free: Condvar,
}

/// The readers that no read uses, and the number of the others.
#[derive(Default)]
struct Pool {
    idle: Vec<Pooled>,
    busy: usize,
    /// Rises with each [`Readers::forget`]: what a reader of an earlier one holds may be of the old log.
    generation: u64,
}

/// A reader, and when it was last taken and given back.
struct Pooled {
    reader: Reader,
    used: Instant,
    /// The pool's, when the reader was taken.
    generation: u64,
}

impl Readers {
    pub(crate) fn new(settings: Arc<KafkaSettings>, decoder: Arc<Decoder>, admin: Arc<Admin>) -> Readers {
        let segments = Segments::new(decoder, admin);
        Readers { settings, segments, pool: Mutex::default(), free: Condvar::new() }
    }

    /// How many readers there may be.
    fn most(&self) -> usize {
        (self.settings.memory / MEMORY_OF_A_READER).clamp(READERS.0, READERS.1)
    }

    /// Reads one stretch. Blocks; for a thread that may.
    pub(crate) fn read(&self, read: &HistoryRead) -> Result<Segment, HistoryError> {
        if let Err(error) = self.segments.check_held(read) {
            metrics::history_read(outcome(&error), 0);
            return Err(error);
        }
        let mut pooled = self.take(read)?;
        let span = span::of_partition(&read.topic, read.partition);
        let result = span.in_scope(|| self.segments.read(&mut pooled.reader, read));
        match &result {
            Ok(segment) => metrics::history_read("ok", segment.size()),
            Err(error) => {
                metrics::history_read(outcome(error), 0);
                pooled.reader.forget();
            }
        }
        // A leader that did not answer may still do so, and librdkafka would take that for the answer to the next question; or
        // the client has lost all brokers.
        let is_in_doubt =
            matches!(&result, Err(error @ HistoryError::Unavailable(_)) if !is_held_back(error));
        self.give_back(pooled, is_in_doubt);
        result
    }

    /// Makes room for another read. A reader that is `is_in_doubt` is closed.
    fn give_back(&self, mut pooled: Pooled, is_in_doubt: bool) {
        pooled.used = Instant::now();
        let mut pool = self.pool.lock();
        if pooled.generation != pool.generation {
            pooled.reader.forget();
        }
        pool.busy -= 1;
        let closed = if is_in_doubt {
            Some(pooled)
        } else {
            pool.idle.push(pooled);
            None
        };
        drop(pool);
        self.free.notify_one();
        // Closing a client takes a moment, so not under the lock.
        drop(closed);
    }

    /// What readers have fetched ahead may be of a log that was replaced or truncated: no read continues it.
    pub(crate) fn forget(&self) {
        let mut pool = self.pool.lock();
        pool.generation += 1;
        let assigned = pool.idle.iter_mut().filter(|pooled| pooled.reader.is_assigned());
        assigned.for_each(|pooled| pooled.reader.forget());
    }

    /// Once a second: readers that no read continues stop fetching, and are closed in the end.
    pub(crate) fn tidy(&self) {
        let mut old = Vec::new();
        {
            let mut pool = self.pool.lock();
            let idle = std::mem::take(&mut pool.idle);
            for mut pooled in idle {
                if pooled.used.elapsed() >= IDLE {
                    old.push(pooled);
                    continue;
                }
                if pooled.used.elapsed() >= KEEP && pooled.reader.is_assigned() {
                    pooled.reader.forget();
                }
                pool.idle.push(pooled);
            }
        }
        // Closing a client takes a moment, so not under the lock.
        drop(old);
    }

    /// The reader that stands where the read begins, or one that can be assigned to it.
    fn take(&self, read: &HistoryRead) -> Result<Pooled, HistoryError> {
        let mut pool = self.pool.lock();
        loop {
            let full = pool.idle.len() + pool.busy >= self.most();
            if let Some(index) = best(&pool.idle, read, full) {
                pool.busy += 1;
                let mut pooled = pool.idle.swap_remove(index);
                pooled.generation = pool.generation;
                return Ok(pooled);
            }
            if !full {
                pool.busy += 1;
                break;
            }
            self.free.wait(&mut pool);
        }
        let generation = pool.generation;
        drop(pool);
        match Reader::new(&self.settings) {
            Ok(reader) => Ok(Pooled { reader, used: Instant::now(), generation }),
            Err(error) => {
                self.pool.lock().busy -= 1;
                self.free.notify_one();
                Err(HistoryError::unanswered(read, error))
            }
        }
    }
}

/// The reader to take: one that continues, else one that fetches nothing; `full`: else the one that was used longest ago.
fn best(idle: &[Pooled], read: &HistoryRead, full: bool) -> Option<usize> {
    let continues = || idle.iter().position(|pooled| pooled.reader.stands_at(read));
    let spare = || idle.iter().position(|pooled| !pooled.reader.is_assigned());
    let oldest = || idle.iter().enumerate().min_by_key(|(_, pooled)| pooled.used).map(|(index, _)| index);
    continues().or_else(spare).or_else(|| full.then(oldest).flatten())
}

/// Whether it is a schema that is lacking, not an answer of Kafka's.
fn is_held_back(error: &HistoryError) -> bool {
    matches!(error, HistoryError::Unavailable(unavailable) if unavailable.cause.is::<HeldBack>())
}

fn outcome(error: &HistoryError) -> &'static str {
    match error {
        error if is_held_back(error) => "held_back",
        HistoryError::OutOfRange { .. } => "out_of_range",
        HistoryError::Truncated { .. } => "truncated",
        HistoryError::Cut => "cut",
        HistoryError::Gone => "gone",
        HistoryError::Unavailable(_) => "unavailable",
    }
}
