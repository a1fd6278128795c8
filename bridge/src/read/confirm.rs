//! Truncation (KIP-320), as a replay sees it: whether a partition's log still holds the record below a position, the questions
//! to Kafka that decide this, and the gap that an answer means ([`gap_of`]). What this replica has noticed itself ends a lane
//! (`Lane::was_cut`) and drops the target of a replay (`View::was_cut_since`).

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Instant;

use crate::history::job::Waiter;
use crate::history::source::HistoryError;
use crate::log::lineage::Moment;
use crate::log::partition::Partition;
use crate::log::segment::Segment;
use crate::position::Position;
use crate::position::gap::{Gap, GapCode};
use crate::read::lane::Lane;
use crate::read::pending_gap::{Change, Pending};
use crate::read::replay::{Context, RETRY, Replay};

/// The expected size in bytes of a read of one record that confirms a position.
const CONFIRM_BYTES: usize = 1024;

/// A question to Kafka about a partition, in the order in which a replay asks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Memory only knows earlier leaders than that of the client's position: does the leader confirm this position in memory?
    Memory(Position),
    /// Does the leader's log hold the record below the client's position (KIP-320)?
    Below(Position),
    /// Which records are there from this offset on?
    From(u64),
    /// History continues with records of a later leader: does that leader's log hold the record below?
    Rise(Position),
    /// History continues with records of an earlier leader, up to here: does the leader's log hold them?
    Fall(Position),
}

impl Question {
    /// The position at which the read for this question begins. `From` has no epoch to confirm: the epoch was confirmed when
    /// the replay began, and is confirmed again where another leader's records begin.
    pub(crate) fn read_from(self) -> Position {
        match self {
            Question::Memory(position)
            | Question::Below(position)
            | Question::Rise(position)
            | Question::Fall(position) => position,
            Question::From(offset) => Position { offset, epoch: -1 },
        }
    }
}

/// A question that is not answered yet, or whose answer was not processed yet.
#[derive(Debug)]
pub(crate) struct Asked {
    question: Question,
    pub(crate) read: Waiter,
    /// When it was asked: an answer about an earlier log is void.
    at: Moment,
    pub(crate) retry_at: Option<Instant>,
    /// The step that has asked it last.
    pub(crate) step: u64,
}

/// The state of a question.
pub(crate) enum Answer {
    /// It was not asked, or its answer is void.
    NotAsked,
    /// It is not answered yet.
    Running,
    /// Yes, or: the records can be found in history now.
    Good,
    Failed(HistoryError),
}

/// Whether the log confirms a position.
pub(crate) enum Confirmation {
    Confirmed,
    Pending,
    Gap(Pending),
}

impl Replay {
    /// Whether the log holds the record below the position: the epochs in memory show it, or the leader confirms it (KIP-320).
    pub(crate) fn confirm(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        position: Position,
    ) -> Confirmation {
        let key = partition.key();
        let now = partition.moment(position, context.now);
        if let Some(memory) = partition.doubt(position) {
            match self.confirm_memory(context, partition, position, memory) {
                Confirmation::Confirmed => {}
                other => return other,
            }
        }
        if self.confirmed.get(&key).is_some_and(|then| then.holds_at(now)) {
            return Confirmation::Confirmed;
        }
        let confirmation = self.confirm_below(context, partition, position, now);
        if let Confirmation::Confirmed = confirmation {
            self.confirmed.insert(key, now);
        }
        confirmation
    }

    /// Whether the log holds the record below the position, of this moment: the partition knows it, or the leader is asked.
    fn confirm_below(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        position: Position,
        now: Moment,
    ) -> Confirmation {
        if partition.confirms(position, now) {
            return Confirmation::Confirmed;
        }
        let confirmation = self.ask_leader(context, partition, Question::Below(position), now);
        if let Confirmation::Confirmed = confirmation {
            partition.lineage().note_confirmed(position, now);
        }
        confirmation
    }

    /// Whether the log holds the record below the bound of the run, if there is one. If it does not, records were left out
    /// for later ones that are gone: a gap, although the lane's position may lie below.
    pub(crate) fn confirm_bound(&mut self, context: &Context<'_>, lane: &Lane) -> Confirmation {
        let Some((bound, at)) = self.run.as_ref().and_then(|run| run.doubtful(context, lane)) else {
            return Confirmation::Confirmed;
        };
        let (partition, position) = (&lane.partition, lane.scanned);
        if bound.epoch < 0 && position.epoch >= 0 {
            // The replica that took it did not know the epoch there, so nothing would show a truncation.
            return Confirmation::Gap(Pending::cut_ahead(partition, position));
        }
        let memory = match partition.doubt(bound) {
            Some(memory) => self.confirm_memory(context, partition, bound, memory),
            None => Confirmation::Confirmed,
        };
        let confirmation = match memory {
            Confirmation::Confirmed => self.confirm_below(context, partition, bound, at),
            other => other,
        };
        match confirmation {
            Confirmation::Confirmed => {
                self.run.iter_mut().for_each(|run| run.note_confirmed(partition, bound, at));
                Confirmation::Confirmed
            }
            Confirmation::Gap(found) => Confirmation::Gap(found.of_bound(partition, position)),
            Confirmation::Pending => Confirmation::Pending,
        }
    }

    /// Where history continues with records of another leader than the lane's position: whether the leader's log holds both.
    /// This is asked after the segment was read, since the log may have been truncated in between, further back than memory
    /// shows. The tail's own records need no question: they are consecutive, or a truncation was counted.
    pub(crate) fn confirm_segment(
        &mut self,
        context: &Context<'_>,
        lane: &Lane,
        segment: &Segment,
        is_tail: bool,
    ) -> Confirmation {
        if let Some(contradiction) = self.contradicts_bound(lane, segment) {
            return contradiction;
        }
        let (key, below) = (lane.partition.key(), lane.scanned);
        let Some(question) = turn(below, segment).filter(|_| !is_tail) else {
            return Confirmation::Confirmed;
        };
        if self.confirmed_turns.get(&key) == Some(&below) {
            return Confirmation::Confirmed;
        }
        if !lane.found.is_empty() {
            // The matches that were found are emitted first.
            return Confirmation::Pending;
        }
        // An answer is void, too, if the log was cut since the lane's position was confirmed.
        let at = Moment { cuts: lane.cuts, ..lane.partition.moment(below, context.now) };
        if let Question::Fall(_) = question
            && self.confirmed_below.get(&key) != Some(&below)
        {
            // The position may be of a log that is lost since it was confirmed, and the segment of the one that came back.
            match self.ask_leader(context, &lane.partition, Question::Below(below), at) {
                Confirmation::Confirmed => self.confirmed_below.insert(key, below),
                other => return other,
            };
        }
        match (self.ask_leader(context, &lane.partition, question, at), question) {
            (Confirmation::Confirmed, _) => {
                self.confirmed_turns.insert(key, below);
                Confirmation::Confirmed
            }
            (Confirmation::Gap(_), Question::Fall(_)) => {
                // The segment was read before a truncation that only the client has been told of.
                context.history.forget(&lane.partition);
                Confirmation::Pending
            }
            (other, _) => other,
        }
    }

    /// If the segment has records of a later leader below the bound than the record below the bound is of: the bound, and what is
    /// known of the newest records below, are of a log that was truncated since.
    fn contradicts_bound(&self, lane: &Lane, segment: &Segment) -> Option<Confirmation> {
        let bound = self.run.as_ref()?.end_of(&lane.partition)?;
        let seen = Position { epoch: segment.epoch_below(bound.offset), ..lane.scanned };
        if bound.epoch < 0 || seen.epoch <= bound.epoch {
            return None;
        }
        Some(match lane.partition.doubt(seen) {
            // Ingest notices the truncation within moments, and another bound would be of the same log.
            Some(_) => Confirmation::Pending,
            // The matches that were found are emitted first.
            None if !lane.found.is_empty() => Confirmation::Pending,
            None => Confirmation::Gap(Pending::cut_ahead(&lane.partition, lane.scanned)),
        })
    }

    /// Asks the leader, or processes its answer.
    fn ask_leader(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        question: Question,
        at: Moment,
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
            Answer::NotAsked => self.ask_whether(context, partition, question, at),
        }
        Confirmation::Pending
    }

    /// The position's epoch is later than all epochs in memory: asks whether the leader confirms memory. If it does not, ingest
    /// notices the truncation within moments, and nothing is emitted until then.
    fn confirm_memory(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        position: Position,
        memory: Position,
    ) -> Confirmation {
        let (key, at) = (partition.key(), partition.moment(memory, context.now));
        match self.answer(partition, Question::Memory(memory), context.now) {
            Answer::Running => {}
            // Retention has removed what the leader was asked about, and the record at the position too.
            Answer::Failed(error) if is_before_start(position, &error) => {
                self.asked.remove(&key);
                return gap_of(partition, position, &error).map_or(Confirmation::Pending, Confirmation::Gap);
            }
            Answer::Failed(_) => self.retry_later(key, context.now),
            Answer::Good => {
                partition.lineage().note_memory_confirmed(position.epoch, at.cuts);
                return Confirmation::Confirmed;
            }
            Answer::NotAsked => {
                self.ask_whether(context, partition, Question::Memory(memory), at);
            }
        }
        Confirmation::Pending
    }

    /// Asks by reading one record at the position: the leader confirms the epoch before it returns any record.
    fn ask_whether(
        &mut self,
        context: &Context<'_>,
        partition: &Arc<Partition>,
        question: Question,
        at: Moment,
    ) {
        let from = question.read_from();
        let read = context.history.request(context.asker(), partition, from, from.offset + 1, CONFIRM_BYTES);
        self.note_asked(partition, question, read, at);
    }

    pub(crate) fn note_asked(&mut self, partition: &Partition, question: Question, read: Waiter, at: Moment) {
        let asked = Asked { question, read, at, retry_at: None, step: self.step };
        self.asked.insert(partition.key(), asked);
    }

    /// The state of the question. One that has succeeded is removed: its segment can be found now, or is requested again.
    pub(crate) fn answer(&mut self, partition: &Partition, question: Question, now: Instant) -> Answer {
        let key = partition.key();
        let Some(asked) = self.asked.get_mut(&key) else { return Answer::NotAsked };
        asked.step = self.step;
        let is_void = !asked.at.holds_at(partition.moment(question.read_from(), now));
        if asked.question != question || is_void {
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

/// The question where the segment has records of another leader than the one of the record below the position.
///
/// They may be of an earlier one although nothing is wrong: a position after a truncation has the epoch of the leader that told
/// of it, and there may have been others in between.
fn turn(below: Position, segment: &Segment) -> Option<Question> {
    let next = segment.epoch_from(below.offset);
    if below.epoch < 0 || next < 0 {
        return None;
    }
    match next.cmp(&below.epoch) {
        Ordering::Greater => Some(Question::Rise(below)),
        Ordering::Less => Some(Question::Fall(segment.last_from(below.offset).unwrap_or(segment.end()))),
        Ordering::Equal => None,
    }
}

/// Whether the log begins after the position.
fn is_before_start(position: Position, error: &HistoryError) -> bool {
    matches!(*error, HistoryError::OutOfRange { start, .. } if position.offset < start)
}

/// Whether the log ends before the position.
pub(crate) fn is_past_end(position: Position, error: &HistoryError) -> bool {
    matches!(*error, HistoryError::OutOfRange { end, .. } if position.offset > end)
}

/// The gap that an error from Kafka means for a position; `None`: a retry may succeed.
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
