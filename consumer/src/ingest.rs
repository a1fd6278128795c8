//! The tail: one consumer queue, drained in batches on a thread of its own, partition by partition into the bridge.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use ::metrics::Counter;
use tailrace_bridge::{Bridge, GapCode, Partition, Position};

use crate::decode::{Decoder, Scratch, Tell};
use crate::error::KafkaError;
use crate::group::{Assignment, Group};
use crate::metrics;
use crate::native::{Client, Code, List, Message};
use crate::settings::KafkaSettings;
use crate::status::Watch;
use crate::topics::Ask;

/// Records of one batch at the most: enough to spread what a batch costs, few enough that they stay in the processor's cache
/// from the first look to the last.
const MAX_BATCH: usize = 256;
/// Offsets are stored at most this often: a commit, once a second, needs the last ones alone.
const STORE_EVERY: Duration = Duration::from_millis(100);
/// How long a poll waits for the first record; so long, too, a command may wait in a quiet time.
const POLL: Duration = Duration::from_millis(50);
/// How long to wait before a client is made anew, or the group asked again.
const RETRY: Duration = Duration::from_secs(2);
/// How long to wait for topics, turn by turn; they end the wait when they come.
const IDLE: Duration = Duration::from_secs(3600);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a drain waits for the group, step by step; a broker that is gone must not hold it up for long.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
/// The same error of the same partition is said at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What the other threads want of the tail.
pub(crate) enum Command {
    /// These are the topics now, as the bridge knows them.
    Subscribe(Vec<String>),
    /// The same topics, of which the bridge knows other partitions than before.
    Sync,
    /// Reading goes on elsewhere, with a gap.
    Jump(Arc<Partition>, GapCode, Position),
    /// Reading goes on at the head.
    Resume(Arc<Partition>),
    /// Leaves the group.
    Stop,
}

pub(crate) struct Ingest {
    pub(crate) settings: Arc<KafkaSettings>,
    pub(crate) bridge: Bridge,
    pub(crate) decoder: Arc<Decoder>,
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) admin: Arc<Client>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) asks: Sender<Ask>,
    pub(crate) topics: Vec<String>,
    pub(crate) counters: HashMap<String, Counter>,
    pub(crate) scratch: Scratch,
    /// When offsets were last stored.
    pub(crate) stored: Instant,
    pub(crate) said: HashMap<(String, i32), Instant>,
    /// When another member last took this one's place.
    pub(crate) fenced: Option<Instant>,
}

/// Why reading ended.
enum End {
    Stopped,
    /// Another process took the place of this member.
    Fenced,
    Failed(KafkaError),
}

impl Ingest {
    /// Reads until [`Command::Stop`], through whatever ends a membership meanwhile.
    pub(crate) fn run(mut self) {
        loop {
            // There is no group without topics.
            if self.topics.is_empty() {
                if !self.pause(IDLE) {
                    return;
                }
                continue;
            }
            match self.read() {
                End::Stopped => return,
                End::Fenced if !self.fenced_lately() => {
                    tracing::warn!(
                        "the group took this member for an earlier one of the same instance; it joins again"
                    );
                }
                End::Fenced => {
                    if !self.wait_for_the_place() {
                        return;
                    }
                }
                End::Failed(error) => {
                    tracing::error!(%error, "the consumer ended; it is started again");
                    if !self.pause(RETRY) {
                        return;
                    }
                }
            }
        }
    }

    /// One membership, from its first to its last record.
    fn read(&mut self) -> End {
        let group = match Group::new(
            &self.settings,
            self.admin.is_mock(),
            self.bridge.clone(),
            self.assignment.clone(),
        ) {
            Ok(group) => group,
            Err(error) => return End::Failed(error),
        };
        if let Err(error) = group.subscribe(&self.topics) {
            return End::Failed(error);
        }
        let end = self.read_on(&group);
        self.store_offsets(&group);
        self.assignment.clear();
        match end {
            End::Stopped => self.leave(group),
            _ => drop(group),
        }
        end
    }

    fn read_on(&mut self, group: &Group) -> End {
        let mut batch = Vec::new();
        loop {
            loop {
                match self.commands.try_recv() {
                    Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return End::Stopped,
                    Ok(command) => {
                        if let Err(error) = self.obey(group, command) {
                            return End::Failed(error);
                        }
                    }
                    Err(TryRecvError::Empty) => break,
                }
            }
            if self.assignment.is_unsettled()
                && let Err(error) = group.sync(&self.bridge)
            {
                return End::Failed(error);
            }
            group.client().poll(POLL, MAX_BATCH, &mut batch);
            self.take(group, &mut batch);
            batch.clear();
            if let Some((code, message)) = group.client().fatal() {
                return match code {
                    Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID => End::Fenced,
                    code => End::Failed(KafkaError::Request { what: "consume", code, message }),
                };
            }
        }
    }

    fn obey(&mut self, group: &Group, command: Command) -> Result<(), KafkaError> {
        match command {
            Command::Subscribe(topics) => {
                self.topics = topics;
                if let Err(error) = group.subscribe(&self.topics) {
                    tracing::error!(%error, "the topics were not taken");
                }
                group.sync(&self.bridge)
            }
            Command::Sync => group.sync(&self.bridge),
            Command::Jump(partition, code, to) => {
                self.bridge.jump(&partition, code, to);
                self.resume(group, &partition)
            }
            Command::Resume(partition) => self.resume(group, &partition),
            Command::Stop => Ok(()),
        }
    }

    fn resume(&self, group: &Group, partition: &Arc<Partition>) -> Result<(), KafkaError> {
        let current = self.assignment.partition(partition.topic_name(), partition.index() as i32);
        match current.is_some_and(|current| Arc::ptr_eq(&current, partition)) {
            true => group.seek(std::slice::from_ref(partition)),
            false => Ok(()),
        }
    }

    /// Takes one batch: run by run of one partition, in order, records before the end that follows them.
    fn take(&mut self, group: &Group, batch: &mut [Message]) {
        for run in batch.chunk_by_mut(|one, next| one.place() == next.place()) {
            self.take_run(run);
        }
        if self.stored.elapsed() >= STORE_EVERY {
            self.store_offsets(group);
        }
    }

    fn take_run(&mut self, run: &mut [Message]) {
        let is_other = |message: &&Message| !message.is_record() && !message.is_end();
        run.iter().filter(is_other).for_each(|message| self.note_error(message));
        let Some(first) = run.iter().find(|message| !is_other(message)) else { return };
        let Some(partition) = self.assignment.take(first.topic(), first.partition()) else { return };
        // Nearly always a run is all records, or one end: what lies between ends is one stretch of records.
        let mut ended = None;
        for part in run.chunk_by_mut(|one, next| one.is_record() == next.is_record()) {
            if part[0].is_record() {
                self.take_records(&partition, part);
            } else if let Some(end) = part.iter().rev().find(|message| message.is_end()) {
                ended = Some(end.offset());
            }
        }
        if let Some(end) = ended {
            self.bridge.advance(&partition, end);
            self.assignment.note_end(partition.topic_name(), partition.index() as i32);
        }
    }

    fn take_records(&mut self, partition: &Partition, messages: &mut [Message]) {
        let Some(last) = messages.last() else { return };
        let end = Position { offset: last.offset() + 1, epoch: last.leader_epoch() };
        let (topic, bridge, scratch) = (partition.topic_name(), &self.bridge, &mut self.scratch);
        self.decoder.batch(topic, messages, scratch, Tell::Loudly, |records| {
            bridge.append(partition, records, end);
        });
        self.count(topic, messages.len() as u64);
    }

    /// Tells the group how far partitions have been taken since the last time.
    fn store_offsets(&mut self, group: &Group) {
        self.stored = Instant::now();
        let taken = self.assignment.taken();
        if taken.is_empty() {
            return;
        }
        let mut list = List::new(taken.len());
        for partition in &taken {
            let head = partition.head();
            // Nobody goes on from what is stored: it only tells how far reading is.
            list.add_position(
                partition.topic_name(),
                partition.index() as i32,
                Position { epoch: -1, ..head },
            );
        }
        // Fails for what was revoked meanwhile, which is somebody else's to store then.
        if let Err(error) = group.client().store_offsets(&list) {
            tracing::debug!(%error, "offsets were not stored");
        }
    }

    fn count(&mut self, topic: &str, records: u64) {
        match self.counters.get(topic) {
            Some(counter) => counter.increment(records),
            None => {
                let counter = metrics::consumed(topic);
                counter.increment(records);
                self.counters.insert(topic.to_owned(), counter);
            }
        }
    }

    /// Errors of a partition. Where its reading has stopped, whoever may ask the cluster finds out why.
    fn note_error(&mut self, message: &Message) {
        let (topic, partition) = (message.topic(), message.partition());
        let code = message.code();
        if code == Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
            || code == Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
        {
            if let Some(partition) = self.assignment.partition(topic, partition) {
                // The other end is gone only when everything stops.
                let _ = self.asks.send(Ask::Lost(partition, message.error_text()));
            }
            return;
        }
        if code == Code::RD_KAFKA_RESP_ERR__FATAL {
            // Taken care of, and said, after the batch.
            return;
        }
        let key = (topic.to_owned(), partition);
        if self.said.get(&key).is_none_or(|last| last.elapsed() >= SAY_EVERY) {
            self.said.insert(key, Instant::now());
            tracing::warn!(topic, partition, error = message.error_text(), "reading is disturbed");
        }
    }

    /// Commits, leaves, and deletes the group: nothing of a replica that was drained stays behind.
    fn leave(&self, group: Group) {
        let client = group.client();
        if let Err(error) = client.commit() {
            tracing::debug!(%error, "nothing was committed");
        }
        // A static member that only closes would keep its place until its session ends; one that unsubscribes leaves.
        client.unsubscribe();
        let name = self.settings.group();
        let until = Instant::now() + LEAVE_TIMEOUT;
        let mut rest = Vec::new();
        while Instant::now() < until {
            client.poll(POLL, MAX_BATCH, &mut rest);
            rest.clear();
            match self.admin.group_members(&name, LEAVE_TIMEOUT) {
                Ok(members) if members.iter().any(|member| member.instance == self.settings.instance) => {}
                _ => break,
            }
        }
        client.close();
        drop(group);
        match self.admin.delete_group(&name, LEAVE_TIMEOUT) {
            Ok(()) => tracing::info!(group = name, "the consumer group is deleted"),
            Err(error) => tracing::info!(group = name, %error, "the consumer group stays"),
        }
    }

    /// Whether this is not the first time within a while. Once is no proof of another process: a broker that came back
    /// may hold a join that was asked for again against the one before.
    fn fenced_lately(&mut self) -> bool {
        let before = self.fenced.replace(Instant::now());
        before.is_some_and(|at| at.elapsed() < SAY_EVERY)
    }

    /// Another process runs as the same instance. Two would take turns forever, so this one waits until the other is gone.
    fn wait_for_the_place(&mut self) -> bool {
        let (group, instance) = (self.settings.group(), self.settings.instance.clone());
        tracing::error!(
            group,
            instance,
            "another process took this instance's place; TAILRACE_INSTANCE must be unique"
        );
        self.watch.set_fenced(true);
        loop {
            if !self.pause(RETRY) {
                return false;
            }
            let members = self.admin.group_members(&group, ASK_TIMEOUT);
            if members.is_ok_and(|members| members.iter().all(|member| member.instance != instance)) {
                self.watch.set_fenced(false);
                return true;
            }
        }
    }

    /// Waits, or until the topics change; false where it is time to stop.
    fn pause(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.commands.recv_timeout(left) {
                Ok(Command::Stop) => return false,
                Ok(Command::Subscribe(topics)) => {
                    self.topics = topics;
                    return true;
                }
                Ok(Command::Jump(partition, code, to)) => self.bridge.jump(&partition, code, to),
                Ok(Command::Sync | Command::Resume(_)) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return true,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}
