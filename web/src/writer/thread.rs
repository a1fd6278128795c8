//! The loop of a writer thread: sockets, letters, deadlines, then the groups that have news, in turns.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tailrace_bridge::{Lookaside, Status};
use tokio::time::{Duration, Instant};

use super::group::Group;
use super::inbox::{Arrival, GroupBell, HistoryBell, Inbox, Mail};
use super::slot::{Hands, Heard, Outcome, Slot};
use super::wheel::Wheel;
use crate::body::News;
use crate::drain::Phase;
use crate::stream::World;

/// The token of the bell; streams have their keys.
const BELL: Token = Token(usize::MAX);
/// Events of one poll.
const EVENTS: usize = 1024;
/// Streams of one group that are served before the next group has its turn.
const GROUP_TURN: usize = 256;
/// How long groups are served before sockets and deadlines are looked at again.
const SLICE: Duration = Duration::from_millis(2);

pub(super) struct Thread {
    poll: Poll,
    inbox: Arc<Inbox>,
    news: News,
    history: Waker,
    slots: Slab<Slot>,
    groups: Slab<Group>,
    by_view: HashMap<usize, usize>,
    /// Groups with news, in the order of their turns.
    queue: VecDeque<usize>,
    /// Streams that have more to do at once, and those that have more to say; each is in a list once.
    again: VecDeque<(usize, u32)>,
    unheard: VecDeque<(usize, u32)>,
    /// Streams that wait for history, each once.
    reading: Vec<(usize, u32)>,
    wheel: Wheel,
    serial: u32,
    /// Closed streams, whose keys are free once nothing speaks of them any more.
    closed: Vec<usize>,
    /// As of the beginning of this round.
    now: Instant,
    status: Status,
    phase: Phase,
    lookaside: Lookaside,
    chunk: Bytes,
    written: u64,
    scratch: Box<[u8]>,
}

impl Thread {
    pub(super) fn new(news: News) -> io::Result<(Thread, Arc<Inbox>)> {
        let poll = Poll::new()?;
        let inbox = Inbox::new(mio::Waker::new(poll.registry(), BELL)?);
        let now = Instant::now();
        let thread = Thread {
            poll,
            inbox: inbox.clone(),
            news,
            history: Arc::new(HistoryBell(inbox.clone())).into(),
            slots: Slab::new(),
            groups: Slab::new(),
            by_view: HashMap::new(),
            queue: VecDeque::new(),
            again: VecDeque::new(),
            unheard: VecDeque::new(),
            reading: Vec::new(),
            wheel: Wheel::new(now),
            serial: 0,
            closed: Vec::new(),
            now,
            status: Status::Ok,
            phase: Phase::Open,
            lookaside: Lookaside::default(),
            chunk: Bytes::new(),
            written: 0,
            scratch: vec![0; 4096].into(),
        };
        Ok((thread, inbox))
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let (mut mail, mut due) = (Mail::default(), Vec::new());
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.wait())
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "sockets cannot be polled");
            }
            self.now = Instant::now();
            self.inbox.take(&mut mail);
            // After the box: what is in there of a change was put in after the change.
            (self.status, self.phase) = (*self.news.status.borrow(), *self.news.phase.borrow());
            if mail.stop {
                return self.stop(mail);
            }
            for event in &events {
                self.socket_event(event);
            }
            self.read_mail(&mut mail);
            self.wheel.take_due(self.now, &mut due);
            for (tick, (key, serial)) in due.drain(..) {
                self.tick(tick, key, serial);
            }
            let until = Instant::now() + SLICE;
            self.take_turns(until);
            self.serve_groups(until);
            self.rest();
        }
    }

    /// How long there is nothing to do.
    fn wait(&self) -> Option<Duration> {
        if !self.queue.is_empty() || !self.again.is_empty() || !self.unheard.is_empty() {
            return Some(Duration::ZERO);
        }
        self.wheel.wait(self.now)
    }

    fn socket_event(&mut self, event: &mio::event::Event) {
        let key = event.token().0;
        if event.token() == BELL || !self.slots.contains(key) {
            return;
        }
        if event.is_error() {
            return self.close(key);
        }
        if event.is_readable() || event.is_read_closed() {
            self.hear(key);
        }
        if event.is_writable() {
            self.serve(key);
        }
    }

    fn read_mail(&mut self, mail: &mut Mail) {
        for arrival in mail.arrivals.drain(..) {
            self.arrive(arrival);
        }
        for group in mail.news.drain(..) {
            self.queue_group(group);
        }
        if std::mem::take(&mut mail.history) {
            self.look_at_reads();
        }
        if std::mem::take(&mut mail.world) {
            let all: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
            all.into_iter().for_each(|key| self.turn_later(key));
        }
    }

    /// Has those streams served whose history has come; the others wait on.
    fn look_at_reads(&mut self) {
        for (key, serial) in std::mem::take(&mut self.reading) {
            if !self.is_there(key, serial) {
                continue;
            }
            let slot = &mut self.slots[key];
            let still = slot.reads
                && slot.stream().is_some_and(|stream| stream.subscription.wake_when_read(&self.history));
            if still {
                self.reading.push((key, serial));
            } else {
                slot.is_listed = false;
                self.turn_later(key);
            }
        }
    }

    fn turn_later(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if !slot.closed && !std::mem::replace(&mut slot.has_turn, true) {
            self.again.push_back((key, slot.serial));
        }
    }

    /// Begins to serve a stream. It is in its group first, so that no news is missed.
    fn arrive(&mut self, arrival: Arrival) {
        let Arrival { mut socket, head, stream, place } = arrival;
        let group = self.group_of(&stream);
        let key = self.slots.vacant_key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut socket, Token(key), interest);
        self.serial = self.serial.wrapping_add(1);
        let mut slot = Slot::new(socket, stream, place, group as u32, self.serial);
        slot.at = self.groups[group].add(key);
        self.slots.insert(slot);
        if let Err(error) = registered {
            tracing::warn!(%error, "a stream's socket cannot be polled");
            return self.close(key);
        }
        let outcome = self.with(key, |slot, hands| slot.open(&head, hands));
        self.settle(key, outcome);
    }

    fn group_of(&mut self, stream: &crate::stream::Stream) -> usize {
        let view = stream.subscription.view();
        if let Some(group) = self.by_view.get(&view) {
            return *group;
        }
        let entry = self.groups.vacant_entry();
        let key = entry.key();
        let bell = GroupBell::new(self.inbox.clone(), key);
        let ear = stream.subscription.listen(bell.clone().into());
        entry.insert(Group::new(ear, bell, view));
        self.by_view.insert(view, key);
        key
    }

    fn queue_group(&mut self, key: usize) {
        // A bell of a group that has gone may ring once for the next one with its key.
        let Some(group) = self.groups.get_mut(key) else { return };
        group.bell.heard();
        if std::mem::replace(&mut group.queued, true) {
            group.again = true;
        } else {
            group.begin_pass();
            self.queue.push_back(key);
        }
    }

    /// Serves the groups that have news, one part of a group after the other, for a while.
    fn serve_groups(&mut self, until: Instant) {
        let until = until + SLICE;
        while let Some(key) = self.queue.pop_front() {
            self.serve_group(key);
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn serve_group(&mut self, key: usize) {
        for _ in 0..GROUP_TURN {
            let Some(stream) = self.groups.get_mut(key).and_then(Group::next) else { break };
            if self.slots.get(stream).is_some_and(|slot| !slot.reads) {
                self.serve(stream);
            }
        }
        let Some(group) = self.groups.get_mut(key) else { return };
        if group.has_more() {
            return self.queue.push_back(key);
        }
        group.queued = false;
        if std::mem::take(&mut group.again) {
            group.queued = true;
            group.begin_pass();
            self.queue.push_back(key);
        }
    }

    /// The deadline of a stream, if it still stands for this tick.
    fn tick(&mut self, tick: u64, key: usize, serial: u32) {
        if self.is_there(key, serial) && self.slots[key].armed == Some(tick) {
            self.slots[key].armed = None;
            self.serve(key);
        }
    }

    /// Serves those that have more to do, in their order, for a while.
    fn take_turns(&mut self, until: Instant) {
        for _ in 0..self.again.len() {
            let Some((key, serial)) = self.again.pop_front() else { break };
            if self.is_there(key, serial) {
                self.slots[key].has_turn = false;
                self.serve(key);
            }
            if Instant::now() >= until {
                break;
            }
        }
        for _ in 0..self.unheard.len() {
            let Some((key, serial)) = self.unheard.pop_front() else { break };
            if self.is_there(key, serial) {
                self.slots[key].is_unheard = false;
                self.hear(key);
            }
        }
    }

    fn is_there(&self, key: usize, serial: u32) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.serial == serial && !slot.closed)
    }

    fn serve(&mut self, key: usize) {
        if self.slots[key].closed {
            return;
        }
        let outcome = self.with(key, Slot::serve);
        self.settle(key, outcome);
    }

    fn with(&mut self, key: usize, serve: impl FnOnce(&mut Slot, &mut Hands<'_>) -> Outcome) -> Outcome {
        let mut hands = Hands {
            world: World {
                now: self.now,
                status: self.status,
                phase: self.phase,
                metrics: &self.news.metrics,
            },
            lookaside: &mut self.lookaside,
            chunk: &mut self.chunk,
            written: &mut self.written,
        };
        serve(&mut self.slots[key], &mut hands)
    }

    /// Sees to it that the stream is looked at when that is worth it.
    fn settle(&mut self, key: usize, outcome: Outcome) {
        let slot = &mut self.slots[key];
        slot.reads = false;
        match outcome {
            Outcome::Over => self.close(key),
            Outcome::Again => self.turn_later(key),
            Outcome::Waits => self.arm(key, None),
            Outcome::WaitsUntil(until) => self.arm(key, Some(until)),
            Outcome::Reads(until) => self.await_history(key, until),
        }
    }

    fn await_history(&mut self, key: usize, until: Instant) {
        let slot = &mut self.slots[key];
        let entry = (key, slot.serial);
        let waits = slot.stream().is_some_and(|stream| stream.subscription.wake_when_read(&self.history));
        if !waits {
            // It has come meanwhile. At the next tick: were it of no use, this would go round without a pause.
            return self.arm(key, Some(self.now));
        }
        slot.reads = true;
        if !std::mem::replace(&mut slot.is_listed, true) {
            self.reading.push(entry);
        }
        self.arm(key, Some(until));
    }

    /// Puts the stream into the wheel, unless it stands there for an earlier tick: to be looked at early costs nothing
    /// but a look.
    fn arm(&mut self, key: usize, until: Option<Instant>) {
        let slot = &mut self.slots[key];
        let Some(due) = slot.due().into_iter().chain(until).min() else { return };
        let tick = self.wheel.tick_of(due);
        if slot.armed.is_none_or(|armed| tick < armed) {
            slot.armed = Some(tick);
            self.wheel.put(tick, (key, slot.serial));
        }
    }

    fn hear(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if slot.closed {
            return;
        }
        match slot.hear(&mut self.scratch) {
            Heard::Nothing => {}
            Heard::More => {
                if !std::mem::replace(&mut slot.is_unheard, true) {
                    self.unheard.push_back((key, slot.serial));
                }
            }
            Heard::End => self.close(key),
        }
    }

    fn close(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if std::mem::replace(&mut slot.closed, true) {
            return;
        }
        // Fails where it was never registered.
        let _ = self.poll.registry().deregister(&mut slot.socket);
        if let Some(stream) = slot.stream() {
            stream.closed(&self.news.world_at(self.now));
        }
        let (group, at) = (slot.group as usize, slot.at);
        for (moved, place) in self.groups[group].remove(at).into_iter().flatten() {
            self.slots[moved].at = place;
        }
        if self.groups[group].is_empty() {
            let group = self.groups.remove(group);
            self.by_view.remove(&group.view);
        }
        self.closed.push(key);
    }

    /// At the end of a round: counts are passed on, keys become free.
    fn rest(&mut self) {
        self.lookaside.clear();
        self.chunk = Bytes::new();
        self.news.metrics.bytes.increment(std::mem::take(&mut self.written));
        for key in self.closed.drain(..) {
            self.slots.remove(key);
        }
    }

    fn stop(mut self, mail: Mail) {
        // What comes from now on is not taken.
        let late = self.inbox.close();
        late.iter().for_each(|arrival| arrival.stream.closed(&self.news.world_at(self.now)));
        let world = self.news.world_at(self.now);
        mail.arrivals.iter().for_each(|arrival| arrival.stream.closed(&world));
        let all: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
        all.into_iter().for_each(|key| self.close(key));
    }
}
