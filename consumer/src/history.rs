//! What only Kafka still has, read by a few readers outside of the group.
//!
//! A reader keeps its assignment for a while, and librdkafka fetches ahead meanwhile, so that a read that continues where
//! the last one ended is served without asking for anything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tailrace_bridge::{GapCode, HistoryError, HistoryRead, Position, Segment, SegmentBuilder};

use crate::admin::Admin;
use crate::decode::{Decoder, Scratch, Tell};
use crate::error::KafkaError;
use crate::native::{Client, Code, List, Message, OffsetQuery, Role};
use crate::settings::KafkaSettings;
use crate::{metrics, properties, truncation};

/// Readers at once, at the least and at the most, and the memory for records that allows one more: the bridge reads through as
/// many partitions at a time. With fewer, a reader is moved from one to the other with every read, and what it has fetched
/// ahead is fetched again; each takes about 2 MiB beside that memory while it reads.
const READERS: (usize, usize) = (4, 8);
const MEMORY_OF_A_READER: usize = 4 << 20;
/// Records taken from a reader's queue at once.
const MAX_BATCH: usize = 200;
const POLL: Duration = Duration::from_millis(100);
/// A read that brings nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// A reader that nobody continues stops fetching ahead after this time.
const KEEP: Duration = Duration::from_secs(5);
/// A reader that nobody uses is closed after this time.
const IDLE: Duration = Duration::from_secs(60);
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// What a record takes beside its bytes, for the bound of a read.
const RECORD_OVERHEAD: usize = 64;

/// The readers of one process.
pub(crate) struct Readers {
    settings: Arc<KafkaSettings>,
    decoder: Arc<Decoder>,
    admin: Arc<Admin>,
    pool: Mutex<Pool>,
    free: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Reader>,
    busy: usize,
    /// Rises when a topic was replaced: what readers of an earlier one hold may be of the old topic.
    generation: u64,
}

/// One client that reads one partition at a time.
struct Reader {
    /// Taken from the queue, and past the end of the read that took them. Before the client: they are parts of it.
    held: VecDeque<Message>,
    client: Client,
    /// What is assigned, and the offset that the next record comes at or after.
    place: Option<(Arc<str>, u32, u64)>,
    scratch: Scratch,
    used: Instant,
    generation: u64,
}

/// A read under way.
struct Stretch {
    builder: SegmentBuilder,
    /// Taken and not in the builder yet.
    taken: Vec<Message>,
    end: Position,
    bytes: usize,
}

/// What one message means to a read.
enum Seen {
    Record,
    End,
    Lost(Lost),
    Other,
}

/// Why a read ends without its records.
enum Lost {
    Error(HistoryError),
    /// Out of range; librdkafka's words may tell of a truncation.
    Why(String),
}

impl Readers {
    pub(crate) fn new(settings: Arc<KafkaSettings>, decoder: Arc<Decoder>, admin: Arc<Admin>) -> Readers {
        Readers { settings, decoder, admin, pool: Mutex::default(), free: Condvar::new() }
    }

    /// How many readers there may be.
    fn most(&self) -> usize {
        (self.settings.memory / MEMORY_OF_A_READER).clamp(READERS.0, READERS.1)
    }

    /// Reads one stretch. Blocks; for a thread that may.
    pub(crate) fn read(&self, read: &HistoryRead) -> Result<Segment, HistoryError> {
        let mut reader = self.take(read)?;
        let result = self.read_with(&mut reader, read);
        match &result {
            Ok(segment) => metrics::history_read("ok", segment.size()),
            Err(error) => {
                metrics::history_read(outcome(error), 0);
                reader.forget();
            }
        }
        // A leader that did not answer may still do so, and librdkafka would take that for the answer to the next question; or
        // the client has lost all brokers.
        let is_in_doubt = matches!(result, Err(HistoryError::Unavailable(_)));
        reader.used = Instant::now();
        let mut pool = self.pool.lock();
        if reader.generation != pool.generation {
            reader.forget();
        }
        pool.busy -= 1;
        let closed = if is_in_doubt {
            Some(reader)
        } else {
            pool.idle.push(reader);
            None
        };
        drop(pool);
        self.free.notify_one();
        // Closing a client takes a moment, so not under the lock.
        drop(closed);
        result
    }

    /// Another topic has taken the name of one that was: nothing that readers hold is to be continued.
    pub(crate) fn forget(&self) {
        let mut pool = self.pool.lock();
        pool.generation += 1;
        pool.idle.iter_mut().filter(|reader| reader.place.is_some()).for_each(Reader::forget);
    }

    /// Once a second: readers that nobody continues stop fetching, and are closed in the end.
    pub(crate) fn tidy(&self) {
        let mut old = Vec::new();
        {
            let mut pool = self.pool.lock();
            let idle = std::mem::take(&mut pool.idle);
            for mut reader in idle {
                if reader.used.elapsed() >= IDLE {
                    old.push(reader);
                    continue;
                }
                if reader.used.elapsed() >= KEEP && reader.place.is_some() {
                    reader.forget();
                }
                pool.idle.push(reader);
            }
        }
        // Closing a client takes a moment, so not under the lock.
        drop(old);
    }

    /// The reader that stands where the read begins, or one that can be moved there.
    fn take(&self, read: &HistoryRead) -> Result<Reader, HistoryError> {
        let mut pool = self.pool.lock();
        loop {
            let full = pool.idle.len() + pool.busy >= self.most();
            if let Some(index) = best(&pool.idle, read, full) {
                pool.busy += 1;
                let mut reader = pool.idle.swap_remove(index);
                reader.generation = pool.generation;
                return Ok(reader);
            }
            if !full {
                pool.busy += 1;
                break;
            }
            self.free.wait(&mut pool);
        }
        let generation = pool.generation;
        drop(pool);
        Reader::new(&self.settings, generation).map_err(|error| {
            self.pool.lock().busy -= 1;
            self.free.notify_one();
            HistoryError::Unavailable(error.to_string())
        })
    }

    fn read_with(&self, reader: &mut Reader, read: &HistoryRead) -> Result<Segment, HistoryError> {
        let (segment, first) = match self.read_stretch(reader, read) {
            Err(HistoryError::Truncated { end, .. }) if self.is_hole(reader, read, end)? => {
                let (segment, _) = self.read_stretch(reader, &HistoryRead { epoch: -1, ..read.clone() })?;
                return Ok(segment);
            }
            stretch => stretch?,
        };
        // What follows in the same epoch was written by the same leader, after what is asked about.
        if read.epoch < 0 || read.from == 0 || first == Some(read.epoch) {
            return Ok(segment);
        }
        if first.is_none_or(|first| first > read.epoch) && reader.may_follow(read)? {
            return Ok(segment);
        }
        tracing::warn!(
            topic = &*read.topic,
            partition = read.partition,
            offset = read.from,
            epoch = read.epoch,
            "the leader confirmed a position that its log contradicts; it is asked again"
        );
        Err(HistoryError::Unavailable("the leader's answer was not to this question".to_owned()))
    }

    /// Whether the log, which is said to be cut back to `end`, has no record from there up to the read: then nothing was cut
    /// that a consumer is given. The mark of a transaction may be of a later leader than the records before it.
    fn is_hole(&self, reader: &mut Reader, read: &HistoryRead, end: u64) -> Result<bool, HistoryError> {
        let stretch = HistoryRead {
            from: end,
            epoch: -1,
            until: read.from,
            max_bytes: 1,
            topic: read.topic.clone(),
            ..*read
        };
        let (segment, first) = self.read_stretch(reader, &stretch)?;
        Ok(first.is_none() && segment.end().offset >= read.from)
    }

    /// The stretch, and the leader epoch of its first record, whatever tenant that is of.
    fn read_stretch(
        &self,
        reader: &mut Reader,
        read: &HistoryRead,
    ) -> Result<(Segment, Option<i32>), HistoryError> {
        let mut first = None;
        if !reader.stands_at(read) {
            reader.assign(read).map_err(|error| HistoryError::Unavailable(error.to_string()))?;
        }
        let mut stretch = Stretch::new(read);
        let mut last_news = Instant::now();
        loop {
            let stop = stretch.take(reader, read).map_err(|lost| match lost {
                Lost::Why(why) => self.why_lost(read, &why),
                Lost::Error(error) => error,
            })?;
            if let Some(message) = stretch.taken.first() {
                first = first.or(Some(message.leader_epoch()));
                last_news = Instant::now();
                let (taken, scratch) = (&mut stretch.taken, &mut reader.scratch);
                self.decoder.batch(&read.topic, taken, scratch, Tell::Silently, |records| {
                    records.iter().for_each(|record| stretch.builder.push(record));
                });
                stretch.taken.clear();
            }
            if stop {
                return Ok((stretch.builder.finish(stretch.end), first));
            }
            if last_news.elapsed() >= PATIENCE {
                // What came so far is as good as a shorter read.
                if stretch.end.offset > read.from {
                    reader.stand_at(read, stretch.end.offset);
                    return Ok((stretch.builder.finish(stretch.end), first));
                }
                return Err(self.why_silent(reader, read));
            }
            reader.poll();
        }
    }

    /// Why a read brought nothing.
    fn why_silent(&self, reader: &Reader, read: &HistoryRead) -> HistoryError {
        let place = [(&*read.topic, read.partition as i32)];
        let start = self.admin.client().list_offsets(&place, OffsetQuery::Earliest, false, ASK_TIMEOUT);
        if let Ok(starts) = &start
            && let [Err(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)] = starts[..]
        {
            return HistoryError::Gone;
        }
        let error = reader.client.last_error().or(start.err().map(|error| error.to_string()));
        HistoryError::Unavailable(error.unwrap_or_else(|| "no answer in time".to_owned()))
    }

    /// Why the offset is not in the log.
    fn why_lost(&self, read: &HistoryRead, why: &str) -> HistoryError {
        let place = [(&*read.topic, read.partition as i32)];
        let ask = |at| {
            let found = self.admin.client().list_positions(&place, at, false, ASK_TIMEOUT)?;
            let found = found.first().copied().unwrap_or(Ok(None)).map_err(KafkaError::of_offsets)?;
            Ok::<Position, KafkaError>(found.unwrap_or(Position { offset: 0, epoch: -1 }))
        };
        let (start, end) = match (ask(OffsetQuery::Earliest), ask(OffsetQuery::Latest)) {
            (Ok(start), Ok(end)) => (start, end),
            (Err(error), _) | (_, Err(error)) => return HistoryError::Unavailable(error.to_string()),
        };
        let from = Position { offset: read.from, epoch: read.epoch };
        match truncation::next(from, start.offset, end, why) {
            Some((GapCode::Truncated, to)) => HistoryError::Truncated { end: to.offset, epoch: to.epoch },
            Some(_) => HistoryError::OutOfRange { start: start.offset, end: end.offset },
            None => HistoryError::Unavailable(why.to_owned()),
        }
    }
}

impl Stretch {
    fn new(read: &HistoryRead) -> Stretch {
        let end = Position { offset: read.from, epoch: -1 };
        Stretch { builder: SegmentBuilder::new(read.from), taken: Vec::new(), end, bytes: 0 }
    }

    /// Takes what the reader holds. True: the stretch is read.
    fn take(&mut self, reader: &mut Reader, read: &HistoryRead) -> Result<bool, Lost> {
        while let Some(message) = reader.held.pop_front() {
            match seen(&message, read) {
                Seen::Record if message.offset() < self.end.offset => {}
                Seen::Record if message.offset() >= read.until => {
                    // What lies in between is a hole, which the segment covers.
                    self.move_end(message.offset());
                    reader.stand_at(read, message.offset());
                    reader.held.push_front(message);
                    return Ok(true);
                }
                Seen::Record => {
                    self.bytes += RECORD_OVERHEAD + message.value().map_or(0, <[u8]>::len);
                    self.end = Position { offset: message.offset() + 1, epoch: message.leader_epoch() };
                    self.taken.push(message);
                    if self.bytes >= read.max_bytes || self.end.offset >= read.until {
                        reader.stand_at(read, self.end.offset);
                        return Ok(true);
                    }
                }
                Seen::End => {
                    self.move_end(message.offset());
                    // librdkafka tells of an end only once, so the next read must ask anew; and there is nothing to fetch.
                    reader.forget();
                    return Ok(true);
                }
                Seen::Lost(lost) => return Err(lost),
                Seen::Other => {}
            }
        }
        Ok(false)
    }

    fn move_end(&mut self, offset: u64) {
        if offset > self.end.offset {
            self.end = Position { offset, epoch: -1 };
        }
    }
}

impl Reader {
    fn new(settings: &KafkaSettings, generation: u64) -> Result<Reader, KafkaError> {
        let client = Client::new(&properties::reader(settings), Role::Consumer)?;
        let (held, scratch) = (VecDeque::new(), Scratch::default());
        Ok(Reader { held, client, place: None, scratch, used: Instant::now(), generation })
    }

    /// Whether the read continues the last one. A position that has to be confirmed is always assigned anew.
    fn stands_at(&self, read: &HistoryRead) -> bool {
        let at = |(topic, partition, next): &(Arc<str>, u32, u64)| {
            *topic == read.topic && *partition == read.partition && *next == read.from
        };
        read.epoch < 0 && self.place.as_ref().is_some_and(at)
    }

    fn assign(&mut self, read: &HistoryRead) -> Result<(), KafkaError> {
        metrics::history_assigned();
        self.held.clear();
        self.place = None;
        let mut list = List::new(1);
        list.add_position(
            &read.topic,
            read.partition as i32,
            Position { offset: read.from, epoch: read.epoch },
        );
        // Without this, assigning the same partition again goes on where it was.
        self.client.unassign();
        self.client.assign(&list)?;
        if read.epoch >= 0 && read.from > 0 { self.client.confirm(&list) } else { Ok(()) }
    }

    /// Whether the record below the read is of no later epoch than the read speaks of, as far as the log tells: it may have no
    /// record there. It may be of an earlier one, right after a cut and where a replica began.
    fn may_follow(&mut self, read: &HistoryRead) -> Result<bool, HistoryError> {
        let below = HistoryRead { from: read.from - 1, epoch: -1, until: read.from, ..read.clone() };
        self.assign(&below).map_err(|error| HistoryError::Unavailable(error.to_string()))?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.poll();
            while let Some(message) = self.held.pop_front() {
                let has = match seen(&message, &below) {
                    Seen::Record => message.offset() > below.from || message.leader_epoch() <= read.epoch,
                    // At the log's end, or below its start, the leader's word is all there is.
                    Seen::End | Seen::Lost(Lost::Why(_)) => true,
                    Seen::Lost(Lost::Error(error)) => return Err(error),
                    Seen::Other => continue,
                };
                drop(message);
                self.forget();
                return Ok(has);
            }
        }
        Err(HistoryError::Unavailable("no answer in time".to_owned()))
    }

    fn poll(&mut self) {
        let mut batch = Vec::new();
        self.client.poll(POLL, MAX_BATCH, &mut batch);
        self.held.extend(batch);
    }

    /// Notes where the next read may go on without an assignment of its own.
    fn stand_at(&mut self, read: &HistoryRead, next: u64) {
        self.place = Some((read.topic.clone(), read.partition, next));
    }

    /// Stops fetching ahead.
    fn forget(&mut self) {
        self.held.clear();
        self.place = None;
        self.client.unassign();
    }
}

fn seen(message: &Message, read: &HistoryRead) -> Seen {
    let here = message.partition() == read.partition as i32 && message.topic() == &*read.topic;
    match message.code() {
        _ if !here => Seen::Other,
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => Seen::Record,
        Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => Seen::End,
        Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET | Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE => {
            Seen::Lost(Lost::Why(message.error_text()))
        }
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
        | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => Seen::Lost(Lost::Error(HistoryError::Gone)),
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED => {
            Seen::Lost(Lost::Error(HistoryError::Unavailable(message.error_text())))
        }
        // librdkafka goes on by itself.
        _ => Seen::Other,
    }
}

/// The reader to take: one that continues, else one that fetches nothing; `full`: else the one that was used longest ago.
fn best(idle: &[Reader], read: &HistoryRead, full: bool) -> Option<usize> {
    let continues = || idle.iter().position(|reader| reader.stands_at(read));
    let spare = || idle.iter().position(|reader| reader.place.is_none());
    let oldest = || idle.iter().enumerate().min_by_key(|(_, reader)| reader.used).map(|(index, _)| index);
    continues().or_else(spare).or_else(|| full.then(oldest).flatten())
}

fn outcome(error: &HistoryError) -> &'static str {
    match error {
        HistoryError::OutOfRange { .. } => "out_of_range",
        HistoryError::Truncated { .. } => "truncated",
        HistoryError::Cut => "cut",
        HistoryError::Gone => "gone",
        HistoryError::Unavailable(_) => "unavailable",
    }
}
