//! The tail: one consumer queue, drained in batches on a thread of its own, partition by partition into the bridge.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use ::metrics::Counter;
use tailrace_bridge::{Bridge, Partition, Position};

use crate::admin::Admin;
use crate::assign::{Assignment, Tail};
use crate::decode::{Decoder, Scratch, Taken, Tell};
use crate::error::KafkaError;
use crate::findings::Findings;
use crate::holding::Holding;
use crate::metrics;
use crate::native::{Code, Message};
use crate::requests::{Ask, Command};
use crate::settings::KafkaSettings;
use crate::shared::Shared;
use crate::span;
use crate::trace::Traces;
use crate::truncation::OutOfRange;

/// Records of one batch at the most: enough to spread what a batch costs, few enough that they stay in the processor's cache
/// from the first look to the last.
const MAX_BATCH: usize = 256;
/// How long a poll waits for the first record. While there are none, a command waits as long.
const POLL: Duration = Duration::from_millis(50);
/// The same while records are kept whose schema will be there soon.
const POLL_KEPT: Duration = Duration::from_millis(2);
/// How long to wait before a client is made anew that ended with an error.
const RETRY: Duration = Duration::from_secs(2);
/// How long a client may take to show that it reaches a broker. Nothing is read meanwhile.
const PROBE: Duration = Duration::from_secs(1);
/// A topic that had records with a tenant becomes unroutable after so many in a row without.
const UNROUTABLE: u64 = 1_000;
/// The errors of a partition are logged at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// The thread that reads the tail.
pub(crate) struct Ingest {
    settings: Arc<KafkaSettings>,
    bridge: Bridge,
    decoder: Arc<Decoder>,
    assignment: Arc<Assignment>,
    findings: Arc<Findings>,
    admin: Arc<Admin>,
    commands: Receiver<Command>,
    asks: Sender<Ask>,
    tallies: HashMap<String, Tally>,
    scratch: Scratch,
    /// `None`: no collector is set.
    traces: Option<Traces>,
    /// When an error of a partition was last said.
    said: HashMap<(String, i32), Instant>,
    /// Partitions whose log is not the one that was read so far, until it is known where reading goes on.
    astray: Vec<Arc<Partition>>,
}

/// What was read of one topic.
struct Tally {
    consumed: Counter,
    /// Whether some record had a tenant.
    has_routed: bool,
    /// Records since the last one with a tenant.
    unrouted: u64,
    is_unroutable: bool,
}

impl Tally {
    fn new(topic: &str) -> Tally {
        Tally { consumed: metrics::consumed(topic), has_routed: false, unrouted: 0, is_unroutable: false }
    }

    /// Tells whether the topic has become one of which no record has a tenant, or ceased to be one.
    fn note(&mut self, records: u64, routed: u64) -> Option<bool> {
        self.has_routed |= routed > 0;
        self.unrouted = if routed > 0 { 0 } else { self.unrouted + records };
        let is_unroutable = self.unrouted >= if self.has_routed { UNROUTABLE } else { 1 };
        (std::mem::replace(&mut self.is_unroutable, is_unroutable) != is_unroutable).then_some(is_unroutable)
    }
}

/// Why a client's reading ended.
enum End {
    Stopped,
    /// A new client is wanted.
    Renewed,
    Failed(KafkaError),
}

impl Ingest {
    pub(crate) fn new(shared: &Shared, commands: Receiver<Command>, asks: Sender<Ask>) -> Ingest {
        Ingest {
            settings: shared.settings.clone(),
            bridge: shared.bridge.clone(),
            decoder: shared.decoder.clone(),
            assignment: shared.assignment.clone(),
            findings: shared.findings.clone(),
            admin: shared.admin.clone(),
            commands,
            asks,
            tallies: HashMap::new(),
            scratch: Scratch::default(),
            traces: shared.settings.traces.then(Traces::new),
            said: HashMap::new(),
            astray: Vec::new(),
        }
    }

    /// Reads until [`Command::Stop`], through whatever ends a client meanwhile.
    pub(crate) fn run(mut self) {
        loop {
            match self.read() {
                End::Stopped => return,
                End::Renewed => {}
                End::Failed(error) => {
                    metrics::reader_restarted("failed");
                    tracing::error!(%error, "the consumer ended; it is started again");
                    if !self.pause(RETRY) {
                        return;
                    }
                }
            }
        }
    }

    /// Reads with one client, from its first to its last record.
    fn read(&mut self) -> End {
        let tail = match Tail::new(&self.settings, self.admin.client().is_mock(), self.assignment.clone()) {
            Ok(tail) => tail,
            Err(error) => return End::Failed(error),
        };
        self.astray.clear();
        // What commands to an earlier client asked for is in the bridge.
        if let Err(error) = tail.follow(&self.bridge) {
            return End::Failed(error);
        }
        self.read_on(&tail)
    }

    fn read_on(&mut self, tail: &Tail) -> End {
        // What is kept is in the client's memory, and is gone before it.
        let (mut batch, mut holding) = (Vec::new(), Holding::new());
        loop {
            if let Some(end) = self.obey(tail, &mut holding) {
                return end;
            }
            let poll = if holding.keeps() { POLL_KEPT } else { POLL };
            tail.client().poll(poll, MAX_BATCH, &mut batch);
            let done =
                self.take(&mut batch, &mut holding, tail).and_then(|()| self.go_on(&mut holding, tail));
            if let Err(error) = done.and_then(|()| tail.client().check_fatal("consume")) {
                return End::Failed(error);
            }
        }
    }

    /// Does what the commands that have come say; gives an end where one of them ends this client.
    fn obey(&mut self, tail: &Tail, holding: &mut Holding) -> Option<End> {
        loop {
            let done = match self.commands.try_recv() {
                Ok(Command::Follow) => {
                    let done = tail.follow(&self.bridge);
                    holding.retain(|partition| self.assignment.has(partition));
                    self.astray.retain(|partition| self.assignment.has(partition));
                    done
                }
                Ok(Command::Jump(partition, code, to)) => {
                    self.bridge.jump(&partition, code, to);
                    self.resume(&partition, tail, holding)
                }
                Ok(Command::Resume(partition)) => self.resume(&partition, tail, holding),
                Ok(Command::Probe) if tail.client().reaches_a_broker(PROBE) => Ok(()),
                Ok(Command::Probe) => {
                    metrics::reader_restarted("client_stuck");
                    tracing::warn!("the tail has lost all brokers; a new client reads everything");
                    return Some(End::Renewed);
                }
                Ok(Command::Renew) => return Some(End::Renewed),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Some(End::Stopped),
                Err(TryRecvError::Empty) => return None,
            };
            if let Err(error) = done {
                return Some(End::Failed(error));
            }
        }
    }

    fn resume(
        &mut self,
        partition: &Arc<Partition>,
        tail: &Tail,
        holding: &mut Holding,
    ) -> Result<(), KafkaError> {
        holding.forget(partition);
        self.astray.retain(|other| !Arc::ptr_eq(other, partition));
        tail.resume(partition)
    }

    /// Takes one batch, and empties it: run by run of one partition, in order, records before the end that follows them.
    fn take(
        &mut self,
        batch: &mut Vec<Message>,
        holding: &mut Holding,
        tail: &Tail,
    ) -> Result<(), KafkaError> {
        let (mut waiting, mut begin) = (Vec::new(), 0);
        for run in batch.chunk_by_mut(|one, next| one.place() == next.place()) {
            let end = begin + run.len();
            if let Some((partition, taken)) = self.take_run(run, holding) {
                waiting.push((partition, begin + taken..end));
            }
            begin = end;
        }
        self.astray.iter().try_for_each(|partition| tail.let_go(partition))?;
        if waiting.is_empty() {
            batch.clear();
            return Ok(());
        }
        for (index, message) in batch.drain(..).enumerate() {
            let waits = waiting.iter().find(|(_, range)| range.contains(&index));
            if let Some((partition, _)) = waits
                && (message.is_record() || message.is_end())
                && !holding.keep(partition, message)
            {
                tail.let_go(partition)?;
            }
        }
        Ok(())
    }

    /// Takes a run. Where it has to wait, gives its partition, and how many of its messages were taken.
    fn take_run(&mut self, run: &mut [Message], holding: &mut Holding) -> Option<(Arc<Partition>, usize)> {
        let is_other = |message: &&Message| !message.is_record() && !message.is_end();
        run.iter().filter(is_other).for_each(|message| self.note_error(message));
        let first = run.iter().find(|message| !is_other(message))?;
        let partition = self.assignment.partition(first.topic(), first.partition())?;
        if holding.has(&partition) {
            return Some((partition, 0));
        }
        if self.astray.iter().any(|astray| Arc::ptr_eq(astray, &partition)) {
            return None;
        }
        // Nearly always a run is all records, or one end: what lies between ends is one stretch of records.
        let (mut ended, mut begin, mut waits) = (None, 0, None);
        for part in run.chunk_by_mut(|one, next| one.is_record() == next.is_record()) {
            if part[0].is_record() {
                let (newest, good) = of_one_log(&partition, part);
                let (part, others) = part.split_at_mut(good);
                let taken = self.take_records(&partition, part);
                if let Some(other) = others.first().filter(|_| taken.held.is_none()) {
                    // The other end is gone only when everything stops.
                    let _ = self
                        .asks
                        .send(Ask::Lost(partition.clone(), OutOfRange::contradiction(other, newest)));
                    self.astray.push(partition);
                    return None;
                }
                if let Some(awaited) = taken.held {
                    holding.hold(&partition, awaited);
                    waits = Some(begin + taken.count);
                    break;
                }
            } else if let Some(end) = part.iter().rev().find(|message| message.is_end()) {
                ended = Some(end.offset());
            }
            begin += part.len();
        }
        if let Some(end) = ended {
            self.bridge.advance(&partition, end);
            self.assignment.note_end(partition.topic_name(), partition.index() as i32);
        }
        waits.map(|taken| (partition, taken))
    }

    fn take_records(&mut self, partition: &Partition, messages: &mut [Message]) -> Taken {
        let (topic, bridge, scratch) = (partition.topic_name(), &self.bridge, &mut self.scratch);
        let traces = self.traces.as_ref();
        let mut routed = 0;
        let taken = self.decoder.batch(topic, messages, scratch, Tell::Loudly, |records, last| {
            let end = Position { offset: last.offset() + 1, epoch: last.leader_epoch() };
            let _span = traces.map(|traces| traces.batch(partition, records));
            bridge.append(partition, records, end);
            routed += records.len();
            true
        });
        self.count(topic, taken.count, routed);
        taken
    }

    /// Takes what waited for schemas that are there now.
    fn go_on(&mut self, holding: &mut Holding, tail: &Tail) -> Result<(), KafkaError> {
        for held in holding.ready(&self.decoder) {
            match held.kept {
                Some(mut messages) => self.take(&mut messages, holding, tail)?,
                None => tail.resume(&held.partition)?,
            }
        }
        holding.overdue().iter().try_for_each(|partition| tail.let_go(partition))?;
        holding.tell(&self.findings, &self.decoder);
        Ok(())
    }

    fn count(&mut self, topic: &str, records: usize, routed: usize) {
        let tally = match self.tallies.get_mut(topic) {
            Some(tally) => tally,
            None => self.tallies.entry(topic.to_owned()).or_insert_with(|| Tally::new(topic)),
        };
        tally.consumed.increment(records as u64);
        if records == 0 {
            return;
        }
        if let Some(is_unroutable) = tally.note(records as u64, routed as u64) {
            self.findings.set_unroutable(topic, is_unroutable);
        }
    }

    /// Errors of a partition. Where its reading has stopped, the watch of topics asks the cluster where it goes on.
    fn note_error(&mut self, message: &Message) {
        let (topic, partition) = (message.topic(), message.partition());
        let _entered = span::of_partition(topic, partition).entered();
        if let Some(error) = OutOfRange::of(message) {
            if let Some(partition) = self.assignment.partition(topic, partition) {
                // The other end is gone only when everything stops.
                let _ = self.asks.send(Ask::Lost(partition, error));
            }
            return;
        }
        // A fatal one is handled, and logged, after the batch. One without a topic is of the group: this client has its id, and
        // never joins it.
        if message.code() == Code::RD_KAFKA_RESP_ERR__FATAL || topic.is_empty() {
            tracing::debug!(error = message.error_text(), "an error of no partition");
            return;
        }
        let key = (topic.to_owned(), partition);
        if self.said.get(&key).is_none_or(|last| last.elapsed() >= SAY_EVERY) {
            self.said.insert(key, Instant::now());
            tracing::warn!(error = message.error_text(), "reading is disturbed");
        }
    }

    /// Waits; false where it is time to stop. What commands ask for meanwhile, the next client finds in the bridge.
    fn pause(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.commands.recv_timeout(left) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Ok(Command::Jump(partition, code, to)) => self.bridge.jump(&partition, code, to),
                Ok(Command::Follow | Command::Resume(_) | Command::Renew | Command::Probe) => {}
                Err(RecvTimeoutError::Timeout) => return true,
            }
        }
    }
}

/// The latest leader epoch before the first record that is of an earlier one, and how many records come before it: all, if there is none.
fn of_one_log(partition: &Partition, messages: &[Message]) -> (i32, usize) {
    let (mut newest, from) = (partition.newest_epoch(), partition.reading_position().offset);
    let is_other = |message: &Message| {
        // What was read already may come again, and is dropped.
        let epoch = if message.offset() < from { -1 } else { message.leader_epoch() };
        let is_earlier = epoch >= 0 && epoch < newest;
        newest = newest.max(epoch);
        is_earlier
    };
    let good = messages.iter().position(is_other).unwrap_or(messages.len());
    (newest, good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_unroutable_while_no_record_has_a_tenant() {
        let mut tally = Tally::new("orders");
        assert_eq!([tally.note(5, 0), tally.note(5, 0)], [Some(true), None]);
        assert_eq!([tally.note(5, 1), tally.note(5, 5)], [Some(false), None]);
        assert_eq!([tally.note(UNROUTABLE - 1, 0), tally.note(1, 0)], [None, Some(true)]);
    }
}
