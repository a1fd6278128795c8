//! Truncation (KIP-320), as a replay sees it: whether a partition's log is still the one that a position speaks of, what Kafka is
//! asked to know it, and which gap its answer means ([`gap_of`]).

use std::sync::Arc;
use std::time::Instant;

use crate::history::job::Waiter;
use crate::history::source::HistoryError;
use crate::log::partition::Partition;
use crate::log::segment::Segment;
use crate::position::Position;
use crate::position::gap::{Gap, GapCode};
use crate::read::lane::Lane;
use crate::read::pending_gap::{Change, Pending};
use crate::read::replay::{Context, RETRY, Replay};

/// What the reading of one record, to confirm a position, is expected to bring, in bytes.
const CONFIRM_BYTES: usize = 1024;

/// What Kafka is asked about a partition, in the order in which a replay comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Memory knows only of earlier leaders than the client's position: does the leader confirm where memory stands?
    Memory(Position),
    /// Does the leader's log hold the record below the client's position (KIP-320)?
    Below(Position),
    /// Which records come from this offset on?
    From(u64),
    /// History goes on with what a later leader wrote: does that leader's log hold the record below?
    Rise(Position),
}

impl Question {
    /// Where the read begins that answers it. The epoch of records was confirmed when the replay began, and is again where
    /// another leader's begin.
    pub(crate) fn read_from(self) -> Position {
        match self {
            Question::Memory(position) | Question::Below(position) | Question::Rise(position) => position,
            Question::From(offset) => Position { offset, epoch: -1 },
        }
    }
}

/// A question that is not answered yet, or whose answer was not looked at.
#[derive(Debug)]
pub(crate) struct Asked {
    question: Question,
    pub(crate) read: Waiter,
    /// How often the log had been cut when it was asked: what was said of the log before is void.
    cuts: u32,
    pub(crate) retry_at: Option<Instant>,
}

/// What became of a question.
pub(crate) enum Answer {
    /// It was not asked, or what was said is void.
    NotAsked,
    /// There is none yet.
    Running,
    /// Yes; or the records can be found now.
    Good,
    Failed(HistoryError),
}

/// What the log says of a position.
pub(crate) enum Confirmation {
    Confirmed,
    Pending,
    Gap(Pending),
}

impl Replay {
    /// Whether the log holds the records that the position speaks of: its epoch in memory says so, or the broker (KIP-320).
    pub(crate) fn confirm(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        position: Position,
    ) -> Confirmation {
        let key = partition.key();
        let cuts = partition.lineage().cuts();
        if let Some(memory) = partition.doubt(position)
            && !self.confirm_memory(context, partition, position, memory)
        {
            return Confirmation::Pending;
        }
        if self.confirmed.get(&key) == Some(&cuts) {
            return Confirmation::Confirmed;
        }
        if partition.confirms(position) {
            self.confirmed.insert(key, cuts);
            return Confirmation::Confirmed;
        }
        let confirmation = self.ask_leader(context, partition, Question::Below(position), cuts);
        if let Confirmation::Confirmed = confirmation {
            partition.lineage().note_confirmed(position, cuts);
            self.confirmed.insert(key, cuts);
        }
        confirmation
    }

    /// Where history goes on with what a later leader wrote: whether that leader's log has what lies below the lane's position.
    /// Asked after it was read, since the log may have been cut in between, further back than memory tells of. The tail's own
    /// records follow each other, or a cut was counted.
    pub(crate) fn confirm_rise(
        &mut self,
        context: &Context<'_>,
        lane: &Lane,
        segment: &Segment,
        is_tail: bool,
    ) -> Confirmation {
        let (key, below) = (lane.partition.key(), lane.scanned);
        let rises = below.epoch >= 0 && segment.epoch_from(below.offset) > below.epoch;
        if is_tail || !rises || self.confirmed_rises.get(&key) == Some(&below) {
            return Confirmation::Confirmed;
        }
        if !lane.found.is_empty() {
            // First what was found goes out.
            return Confirmation::Pending;
        }
        let confirmation = self.ask_leader(context, &lane.partition, Question::Rise(below), lane.cuts);
        if let Confirmation::Confirmed = confirmation {
            self.confirmed_rises.insert(key, below);
        }
        confirmation
    }

    /// Asks the leader, or sees what it has answered.
    fn ask_leader(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        question: Question,
        cuts: u32,
    ) -> Confirmation {
        let (key, now) = (partition.key(), context.now);
        match self.answer(partition, question, now) {
            Answer::Running => {}
            Answer::Good => return Confirmation::Confirmed,
            Answer::Failed(error) => match gap_of(partition, question.read_from(), &error) {
                Some(gap) => {
                    self.asked.remove(&key);
                    return Confirmation::Gap(gap);
                }
                None => self.retry_later(key, now),
            },
            Answer::NotAsked => self.ask_whether(context, partition, question, cuts),
        }
        Confirmation::Pending
    }

    /// The position is of a later leader's log than what memory would go on with: whether the leader confirms memory. Where
    /// it does not, the tail notices the cut within moments, and nothing is given until then.
    fn confirm_memory(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        position: Position,
        memory: Position,
    ) -> bool {
        let cuts = partition.lineage().cuts();
        let now = context.now;
        match self.answer(partition, Question::Memory(memory), now) {
            Answer::Running => {}
            Answer::Failed(_) => self.retry_later(partition.key(), now),
            Answer::Good => {
                partition.lineage().note_memory_confirmed(position.epoch, cuts);
                return true;
            }
            Answer::NotAsked => {
                self.ask_whether(context, partition, Question::Memory(memory), cuts);
            }
        }
        false
    }

    /// Asks by reading the one record at the place: the leader confirms the epoch before it gives any.
    fn ask_whether(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        question: Question,
        cuts: u32,
    ) {
        let from = question.read_from();
        let read = context.history.request(context.tenant, partition, from, from.offset + 1, CONFIRM_BYTES);
        self.note_asked(partition, question, read, cuts);
    }

    pub(crate) fn note_asked(&mut self, partition: &Partition, question: Question, read: Waiter, cuts: u32) {
        self.asked.insert(partition.key(), Asked { question, read, cuts, retry_at: None });
    }

    /// Looks at what became of the question. What has ended is forgotten: its segment is found now, or asked for again.
    pub(crate) fn answer(&mut self, partition: &Partition, question: Question, now: Instant) -> Answer {
        let key = partition.key();
        let Some(asked) = self.asked.get(&key) else { return Answer::NotAsked };
        if asked.question != question || asked.cuts != partition.lineage().cuts() {
            self.asked.remove(&key);
            return Answer::NotAsked;
        }
        if let Some(at) = asked.retry_at {
            if now < at {
                return Answer::Running;
            }
            self.asked.remove(&key);
            return Answer::NotAsked;
        }
        if !asked.read.is_done() {
            return Answer::Running;
        }
        match asked.read.error() {
            Some(error) => Answer::Failed(error),
            None => {
                self.asked.remove(&key);
                Answer::Good
            }
        }
    }

    pub(crate) fn retry_later(&mut self, key: u64, now: Instant) {
        if let Some(asked) = self.asked.get_mut(&key) {
            if let Some(error) = asked.read.error() {
                tracing::debug!(%error, "history could not be read; it is asked for again");
            }
            asked.retry_at = Some(now + RETRY);
        }
    }
}

/// Whether the log ends before the position.
pub(crate) fn is_past_end(position: Position, error: &HistoryError) -> bool {
    matches!(*error, HistoryError::OutOfRange { end, .. } if position.offset > end)
}

/// The gap that an error of Kafka's means for a position; `None`: a later try may succeed.
pub(crate) fn gap_of(partition: &Partition, position: Position, error: &HistoryError) -> Option<Pending> {
    let (code, to) = match *error {
        HistoryError::OutOfRange { start, .. } if position.offset < start => {
            partition.set_log_start(start);
            (GapCode::Retention, Position { offset: start, epoch: -1 })
        }
        HistoryError::OutOfRange { end, .. } if position.offset > end => {
            (GapCode::Truncated, Position { offset: end, epoch: -1 })
        }
        HistoryError::Truncated { end, epoch } => (GapCode::Truncated, Position { offset: end, epoch }),
        _ => return None,
    };
    let gap = Gap::of_partition(code, partition.topic_name(), partition.index(), position.offset, to.offset);
    let change = Change::Move { topic: partition.fingerprint(), partition: partition.index(), to };
    Some(Pending { gap, change })
}
