//! One partition as this replica knows it: its log, its head, and what is known of its leaders.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::sabotage::{Sabotage, broken};
use crate::base::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use crate::base::sync::{Mutex, RwLock};
use crate::log::partition_log::{Found, PartitionLog};
use crate::log::topic::Topic;
use crate::position::{Fingerprint, Position, TopicId};
use crate::record::NewRecord;

/// Confirmed positions remembered per partition.
const MAX_CONFIRMED: usize = 64;

/// Where the reading of a partition starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The first offset that ingest will read.
    pub offset: u64,
    /// The leader epoch of the record below it; -1 where it is not known.
    pub epoch: i32,
    /// The lowest offset that Kafka still has.
    pub log_start: u64,
}

/// One partition of one incarnation of a topic.
#[derive(Debug)]
pub struct Partition {
    topic: Arc<str>,
    topic_id: TopicId,
    topic_key: u64,
    fingerprint: Fingerprint,
    index: u32,
    /// Distinguishes it from every other partition of this process's life, other incarnations included.
    key: u64,
    origin: Position,
    /// Held for the whole of a batch: what must not meet a batch in flight takes it too.
    pub(crate) ingest: Mutex<Ingest>,
    head: Mutex<Head>,
    moves: Arc<AtomicU64>,
    pub(crate) log: RwLock<PartitionLog>,
    log_start: AtomicU64,
    truncations: AtomicU32,
    /// Positions that the broker has confirmed: thousands come back with the same ones.
    confirmed: Mutex<VecDeque<Position>>,
    /// Up to this leader epoch the broker has confirmed what memory holds, though memory knows earlier ones alone.
    trusted: AtomicI32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) position: Position,
    /// Where the reading of Kafka would go on, with the epoch that the leader is to confirm. From here to the position there is
    /// no record: it is a hole, which may be of a later leader than the record before it.
    pub(crate) read_from: Position,
}

impl Head {
    /// Whether the log has other records than it had, where a batch that ends at `end` has some of `records` in the hole.
    /// Gives the place from which it differs, with the epoch of what is there now.
    pub(crate) fn cut_in_hole(&self, records: &[NewRecord<'_>], end: Position) -> Option<Position> {
        let hole = self.read_from.offset..self.position.offset;
        if hole.is_empty() || end.offset <= hole.start {
            return None;
        }
        let inside = records.iter().find(|record| hole.contains(&record.offset)).map(|record| record.epoch);
        // A batch that ends in the hole has a record there, though it may be of no tenant.
        let epoch = inside.or_else(|| (end.offset <= hole.end).then_some(end.epoch))?;
        Some(Position { offset: hole.start, epoch })
    }
}

/// What a batch needs to know before it is taken.
#[derive(Debug, Default)]
pub(crate) struct Ingest {
    /// The topic was deleted or created again: late batches of the old one go nowhere.
    pub(crate) retired: bool,
}

static NEXT_KEY: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

impl Partition {
    /// `moves` counts the moves of the heads of all the topic's partitions.
    pub(crate) fn new(topic: &Topic, moves: Arc<AtomicU64>, index: u32, start: Start) -> Partition {
        let origin = Position { offset: start.offset, epoch: start.epoch };
        Partition {
            topic: topic.name().clone(),
            topic_id: topic.id(),
            topic_key: topic.key(),
            fingerprint: topic.fingerprint(),
            index,
            key: NEXT_KEY.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            origin,
            ingest: Mutex::new(Ingest::default()),
            head: Mutex::new(Head { position: origin, read_from: Position { epoch: -1, ..origin } }),
            moves,
            log: RwLock::new(PartitionLog::new(origin)),
            log_start: AtomicU64::new(start.log_start),
            truncations: AtomicU32::new(0),
            confirmed: Mutex::default(),
            trusted: AtomicI32::new(-1),
        }
    }

    /// The name of its topic.
    pub fn topic_name(&self) -> &Arc<str> {
        &self.topic
    }

    /// The id of its topic.
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Its number in the topic, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// H\[p\]: everything below is in the log and in every view. Reading goes on here.
    pub fn head(&self) -> Position {
        self.head_and_hole().position
    }

    pub(crate) fn head_and_hole(&self) -> Head {
        *self.head.lock()
    }

    /// The lowest offset in memory; the head where there is nothing.
    pub fn oldest(&self) -> u64 {
        self.log.read().oldest()
    }

    /// The lowest offset that Kafka still has, as last heard.
    pub fn log_start(&self) -> u64 {
        self.log_start.load(Ordering::Relaxed)
    }

    /// Notes the lowest offset that Kafka still has.
    pub fn set_log_start(&self, offset: u64) {
        self.log_start.store(offset, Ordering::Relaxed);
    }

    /// Timestamps of the oldest and newest record in memory, in milliseconds.
    pub fn time_span(&self) -> Option<(i64, i64)> {
        self.log.read().time_span()
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// The [`Topic::key`] of its topic.
    pub(crate) fn topic_key(&self) -> u64 {
        self.topic_key
    }

    /// Where this replica began with it.
    pub(crate) fn origin(&self) -> Position {
        self.origin
    }

    /// Where the reading of Kafka goes on: at the head, always, whatever the reader believes, or at the beginning of the hole
    /// that the head lies in. The epoch is given where the leader is to confirm it.
    pub fn reading_position(&self) -> Position {
        let Head { position, read_from } = self.head_and_hole();
        if broken(Sabotage::TakeBelowHead) {
            return Position { offset: read_from.offset.saturating_sub(5), ..read_from };
        }
        if read_from.offset < self.log_start() {
            // Of the hole too the beginning may be gone.
            return Position { offset: self.log_start().min(position.offset), epoch: -1 };
        }
        read_from
    }

    pub(crate) fn set_head(&self, head: Position) {
        self.move_head(Head { position: head, read_from: head });
    }

    /// The head moves over a hole. Its epoch stays that of the last record before it.
    pub(crate) fn set_head_in_hole(&self, head: Position) {
        let read_from = self.head_and_hole().read_from;
        self.move_head(Head { position: head, read_from });
    }

    fn move_head(&self, head: Head) {
        *self.head.lock() = head;
        // After it: whoever sees this count sees the head.
        self.moves.fetch_add(1, Ordering::AcqRel);
    }

    /// How often the log was cut back: what was confirmed before a cut must be confirmed anew.
    pub(crate) fn truncations(&self) -> u32 {
        self.truncations.load(Ordering::Acquire)
    }

    pub(crate) fn count_truncation(&self) {
        let mut confirmed = self.confirmed.lock();
        confirmed.clear();
        self.trusted.store(-1, Ordering::Release);
        self.truncations.fetch_add(1, Ordering::AcqRel);
    }

    /// Where memory reaches the position, and knows only of earlier leaders than the position's: another replica has seen
    /// that leader's log, in which they may be cut. Gives the question that tells whether they are: a position that
    /// only the log that memory knows confirms.
    pub(crate) fn doubt(&self, position: Position) -> Option<Position> {
        if position.epoch <= self.trusted.load(Ordering::Acquire) {
            return None;
        }
        let log = self.log.read();
        let epoch = log.newest_epoch();
        let end = log.end().offset;
        let is_doubtful = epoch >= 0 && epoch < position.epoch && position.offset <= end;
        is_doubtful.then(|| Position { offset: end.min(position.offset + 1), epoch })
    }

    /// The broker has confirmed what memory holds, whatever leaders up to this epoch have done, unless the log was cut back
    /// since it was asked.
    pub(crate) fn trust(&self, epoch: i32, truncations: u32) {
        let _no_cut = self.confirmed.lock();
        if self.truncations() == truncations {
            self.trusted.fetch_max(epoch, Ordering::AcqRel);
        }
    }

    /// Whether memory, or an earlier question to the broker, says that the log holds the record below the position.
    pub(crate) fn confirms(&self, position: Position) -> bool {
        let log = self.log.read();
        let within = position.offset <= log.end().offset;
        // After a cut a position bears the epoch of what follows.
        let by_epoch = position.epoch < 0
            || log.epoch_below(position.offset) == Some(position.epoch)
            || log.epoch_from(position.offset) == Some(position.epoch);
        (within && by_epoch) || self.head() == position || self.confirmed.lock().contains(&position)
    }

    /// Remembers that the broker confirmed the position, unless the log was cut back since it was asked.
    pub(crate) fn note_confirmed(&self, position: Position, truncations: u32) {
        let mut confirmed = self.confirmed.lock();
        if self.truncations() == truncations && !confirmed.contains(&position) {
            confirmed.push_back(position);
            if confirmed.len() > MAX_CONFIRMED {
                confirmed.pop_front();
            }
        }
    }

    pub(crate) fn find(&self, offset: u64) -> Found {
        self.log.read().find(offset)
    }
}
