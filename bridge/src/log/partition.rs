//! One partition as this replica knows it: its log, its head, and what is known of its leaders.

use std::sync::Arc;
use std::time::Instant;

use crate::base::lock_order::Rank;
use crate::base::sabotage::{Sabotage, broken};
use crate::base::sync::atomic::{AtomicU64, Ordering};
use crate::base::sync::{Mutex, RwLock};
use crate::log::key_index::KeyIndex;
use crate::log::lineage::{Lineage, Moment};
use crate::log::memory::Account;
use crate::log::partition_log::{Found, PartitionLog};
use crate::log::topic::Topic;
use crate::position::{Fingerprint, Position, TopicId};
use crate::record::NewRecord;

/// Where reading of a partition starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The first offset that ingest will read.
    pub offset: u64,
    /// The leader epoch of the record below it, or of the one there, or of the leader if the log ends there; -1 if none is known.
    /// Then a client that knows one does not join before a record has been read, since a truncation below would be missed.
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
    /// Distinguishes it from every other partition in this process's life, other incarnations included.
    key: u64,
    origin: Position,
    /// Held for the whole of a batch, and by whatever must not run during one.
    pub(crate) ingest: Mutex<Ingest, { Rank::Ingest as u8 }>,
    head: Mutex<Head>,
    moves: Arc<AtomicU64>,
    pub(crate) log: RwLock<PartitionLog, { Rank::Log as u8 }>,
    log_start: AtomicU64,
    lineage: Lineage,
    pub(crate) keys: KeyIndex,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) position: Position,
    /// Where reading from Kafka would continue, with the epoch that the leader is to confirm. The offsets from here to
    /// `position` are a hole: they have no record, and may be of a later leader than the record before them.
    pub(crate) read_from: Position,
}

impl Head {
    /// Whether the log was truncated into the hole, because a batch that ends at `end` has some of `records` in it. Returns the
    /// position from which the log differs, with the epoch of the record that is there now.
    pub(crate) fn cut_in_hole(&self, records: &[NewRecord<'_>], end: Position) -> Option<Position> {
        let hole = self.read_from.offset..self.position.offset;
        if hole.is_empty() || end.offset <= hole.start {
            return None;
        }
        let inside = records.iter().find(|record| hole.contains(&record.offset)).map(|record| record.epoch);
        // A batch that ends in the hole has a record there, which may be of no tenant.
        let epoch = inside.or_else(|| (end.offset <= hole.end).then_some(end.epoch))?;
        Some(Position { offset: hole.start, epoch })
    }
}

/// What is checked before a batch is appended.
#[derive(Debug, Default)]
pub(crate) struct Ingest {
    /// The topic was deleted or created again: late batches of the old incarnation are dropped.
    pub(crate) retired: bool,
}

static NEXT_KEY: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

impl Partition {
    /// `moves` counts how often the heads of all the topic's partitions move; `account` is charged for the log.
    pub(crate) fn new(
        topic: &Topic,
        moves: Arc<AtomicU64>,
        account: Account,
        index: u32,
        start: Start,
    ) -> Partition {
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
            head: Mutex::new(Head { position: origin, read_from: origin }),
            moves,
            log: RwLock::new(PartitionLog::new(origin, account)),
            log_start: AtomicU64::new(start.log_start),
            lineage: Lineage::default(),
            keys: KeyIndex::default(),
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

    /// H\[p\]: everything below is in the log and in every view.
    pub fn head(&self) -> Position {
        self.head_and_hole().position
    }

    pub(crate) fn head_and_hole(&self) -> Head {
        *self.head.lock()
    }

    /// The lowest offset in memory; the head if memory is empty.
    pub fn oldest(&self) -> u64 {
        self.log.read().oldest()
    }

    /// The lowest offset that Kafka still has, as last reported.
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

    /// The position at which this replica began to read it.
    pub(crate) fn origin(&self) -> Position {
        self.origin
    }

    /// Where reading from Kafka continues: at the head, whatever position the consumer has, or at the start of the hole that
    /// the head lies in. The epoch is set if the leader is to confirm it.
    pub fn reading_position(&self) -> Position {
        let Head { position, read_from } = self.head_and_hole();
        if broken(Sabotage::TakeBelowHead) {
            return Position { offset: read_from.offset.saturating_sub(5), ..read_from };
        }
        if read_from.offset < self.log_start() {
            // Retention may have removed the start of the hole, too.
            return Position { offset: self.log_start().min(position.offset), epoch: -1 };
        }
        read_from
    }

    pub(crate) fn set_head(&self, head: Position) {
        self.move_head(Head { position: head, read_from: head });
    }

    /// Moves the head over a hole. Its epoch stays that of the last record before the hole.
    pub(crate) fn set_head_in_hole(&self, head: Position) {
        let read_from = self.head_and_hole().read_from;
        self.move_head(Head { position: head, read_from });
    }

    fn move_head(&self, head: Head) {
        *self.head.lock() = head;
        // After the head is set: a thread that sees this count also sees the head.
        self.moves.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the topic was deleted or created again.
    pub(crate) fn is_retired(&self) -> bool {
        self.ingest.lock().retired
    }

    /// The leader epoch of the newest record that was read; -1: none is known.
    pub fn newest_epoch(&self) -> i32 {
        self.log.read().epochs().newest()
    }

    /// Where leader epochs up to this one began, of this log or of one that was cut since, as far as it is known: each with its first
    /// offset, in no order.
    pub fn epochs_began(&self, latest: i32) -> Vec<(u64, i32)> {
        self.log.read().epochs().began(latest)
    }

    /// What is known of its leader epochs.
    pub(crate) fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// What is known now of the log below the position.
    pub(crate) fn moment(&self, position: Position, now: Instant) -> Moment {
        // The cuts first: a cut is counted before the log changes.
        let cuts = self.lineage.cuts();
        let end = self.log.read().end();
        Moment { cuts, covered: position.offset <= end.offset, at: now }
    }

    /// Whether memory may be of a log that was cut: it reaches the position, but another replica has read the position from a
    /// later leader than all that memory knows. Returns a position that the leader confirms only if memory matches its log.
    pub(crate) fn doubt(&self, position: Position) -> Option<Position> {
        if self.lineage.is_memory_confirmed(position.epoch) {
            return None;
        }
        let end = self.log.read().end();
        let is_doubtful = end.epoch >= 0 && end.epoch < position.epoch && position.offset <= end.offset;
        is_doubtful.then_some(end)
    }

    /// Whether the log is known to hold the record below the position, without asking the leader.
    pub(crate) fn confirms(&self, position: Position, now: Moment) -> bool {
        self.log.read().confirms(position)
            || self.head() == position
            || self.lineage.is_confirmed(position, now)
    }

    pub(crate) fn find(&self, offset: u64) -> Found {
        self.log.read().find(offset)
    }
}
