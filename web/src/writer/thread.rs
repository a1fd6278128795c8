//! The loop of a writer thread: sockets, mail, deadlines, then the groups that have news, in turns.

mod http2;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::task::Waker;

use hashbrown::HashTable;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tailrace_bridge::{LastFrames, Status};
use tokio::time::{Duration, Instant};

use super::batch::Batch;
use super::chunk::Chunks;
use super::compress::Compressor;
use super::connection::{Connection, Connections, Owner};
use super::group::Group;
use super::inbox::{Arrival, HistoryWaker, Inbox, Mail};
use super::slot::{Hands, Heard, Hears, Outcome, Slot};
use super::turns::Turns;
use super::way::Way;
use super::wheel::{Entry, Tick, Wheel};
use super::wire::Bench;
use crate::drain::Phase;
use crate::end::End;
use crate::http2::Event;
use crate::moment::Moment;
use crate::news::News;
use crate::stream::{Stream, World};

/// The token of the inbox's waker; the token of a stream is its key, that of an HTTP/2 connection its key with this bit.
const INBOX: Token = Token(usize::MAX);
const CONNECTION: u32 = 1 << 31;
/// The most events of one poll.
const EVENTS: usize = 1024;
/// The most streams of one group that are served before the next group.
const GROUP_TURN: usize = 256;
/// How long arrivals are served before the thread checks for news; streams that have more to do get the same time. News is
/// served for twice as long before sockets and deadlines are checked. Longer slices would make reconnecting clients delay live
/// streams more.
const SLICE: Duration = Duration::from_micros(200);
/// The spare capacity that lists keep: memory that a burst needed is freed afterwards.
const SPARE: usize = 1024;

pub(super) struct Thread {
    poll: Poll,
    inbox: Arc<Inbox>,
    news: News,
    history: Waker,
    slots: Slab<Slot>,
    connections: Connections,
    groups: Slab<Group>,
    /// Keys of groups, by the hash of their view.
    by_view: HashTable<u32>,
    /// How many groups there have been.
    group_count: u64,
    hasher: RandomState,
    /// Groups with news, in the order in which they are served.
    queue: VecDeque<usize>,
    /// Streams that have more to do at once, and those whose clients have sent more to read; each is in a list at most once.
    again: Turns<Entry>,
    unheard: VecDeque<Entry>,
    /// Streams that have not begun yet.
    arrivals: Turns<Arrival>,
    /// Streams that wait for history; each is in the list at most once.
    reading: Vec<Entry>,
    wheel: Wheel,
    due: Vec<(Tick, Entry)>,
    serial: u32,
    /// Closed streams and connections; their keys are freed at the end of the round, when no event of the round can refer to them
    /// any more.
    closed: Vec<usize>,
    closed_connections: Vec<u32>,
    /// What the client of an HTTP/2 connection has done, while that is looked at.
    events: Vec<Event<Owner>>,
    /// Whether connections serve no new stream any more.
    is_finishing: bool,
    /// The state at the beginning of this round.
    now: Moment,
    status: Status,
    phase: Phase,
    /// The frames that were last read, as they were encoded.
    last: LastFrames<Batch>,
    compressor: Compressor,
    chunks: Chunks,
    /// The most bytes of chunks that clients have not read yet.
    max_held: usize,
    /// The bytes that were left after streams were cut: until the chunks hold more than this, no stream is cut, even above
    /// `max_held`.
    tolerated: usize,
    written: u64,
    records: u64,
    scratch: Box<[u8]>,
    /// Where streams over TLS are encrypted, and what their clients send is decrypted.
    sealed: Vec<u8>,
    opened: Vec<u8>,
}

impl Thread {
    pub(super) fn new(
        news: News,
        max_held: usize,
        compressor: Compressor,
    ) -> io::Result<(Thread, Arc<Inbox>)> {
        let poll = Poll::new()?;
        let inbox = Inbox::new(mio::Waker::new(poll.registry(), INBOX)?);
        let now = Moment::now();
        let thread = Thread {
            poll,
            inbox: inbox.clone(),
            news,
            history: Arc::new(HistoryWaker(inbox.clone())).into(),
            slots: Slab::new(),
            connections: Connections::default(),
            groups: Slab::new(),
            by_view: HashTable::new(),
            group_count: 0,
            hasher: RandomState::new(),
            queue: VecDeque::new(),
            again: Turns::default(),
            unheard: VecDeque::new(),
            arrivals: Turns::default(),
            reading: Vec::new(),
            wheel: Wheel::new(now),
            due: Vec::new(),
            serial: 0,
            closed: Vec::new(),
            closed_connections: Vec::new(),
            events: Vec::new(),
            is_finishing: false,
            now,
            status: Status::Ok,
            phase: Phase::Open,
            last: LastFrames::default(),
            compressor,
            chunks: Chunks::default(),
            max_held,
            tolerated: 0,
            written: 0,
            records: 0,
            scratch: vec![0; 4096].into(),
            sealed: Vec::new(),
            opened: Vec::new(),
        };
        Ok((thread, inbox))
    }

    /// Runs until a message tells it to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut mail = Mail::default();
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.wait())
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "sockets cannot be polled");
            }
            self.now = Moment::now();
            self.inbox.take(&mut mail);
            // Read after the mail: a change is posted only once it is visible here.
            (self.status, self.phase) = (*self.news.status.borrow(), *self.news.phase.borrow());
            if mail.stop {
                return self.stop(mail);
            }
            for event in &events {
                self.socket_event(event);
            }
            self.read_mail(&mut mail);
            self.look_at_wheel();
            self.flush_connections();
            // Live streams are served before new ones, and before those that catch up.
            self.serve_groups(Instant::now() + 2 * SLICE);
            self.welcome(Instant::now() + SLICE);
            self.take_turns(Instant::now() + SLICE);
            self.flush_connections();
            self.rest();
        }
    }

    /// How long to sleep at most.
    fn wait(&self) -> Option<Duration> {
        let more = self.queue.len() + self.again.len() + self.unheard.len() + self.arrivals.len();
        if more > 0 {
            return Some(Duration::ZERO);
        }
        self.wheel.wait(self.now)
    }

    fn socket_event(&mut self, event: &mio::event::Event) {
        let key = event.token().0;
        if event.token() == INBOX {
            return;
        }
        if let Some(key) = (key as u32).checked_sub(CONNECTION) {
            return self.connection_event(key, event);
        }
        let Some(slot) = self.slots.get_mut(key) else { return };
        if event.is_error() {
            let error = slot.way.socket().and_then(|wire| wire.socket.take_error().ok().flatten());
            return self.close(key, error.as_ref().map_or(End::Client, End::of));
        }
        if event.is_readable() || event.is_read_closed() {
            self.hear(key);
        }
        // Relevant only if something is left to write. The sockets of many streams may become writable at the same moment, so
        // the stream is served in its turn.
        if event.is_writable() && self.slots[key].blocked().is_some() {
            self.turn_later(key);
        }
    }

    fn read_mail(&mut self, mail: &mut Mail) {
        for arrival in mail.arrivals.drain(..) {
            self.arrivals.push(arrival.stream.tenant(), arrival);
        }
        mail.arrivals.shrink_to(SPARE);
        mail.connections.drain(..).for_each(|connection| self.connect(connection));
        mail.connections.shrink_to(SPARE);
        mail.letters.drain(..).for_each(|letter| self.read_letter(letter));
        mail.letters.shrink_to(SPARE);
        if std::mem::take(&mut mail.finish) {
            self.finish();
        }
        for group in mail.news.drain(..) {
            self.queue_group(group as usize);
        }
        mail.news.shrink_to(SPARE);
        if std::mem::take(&mut mail.history) {
            self.look_at_reads();
        }
        if std::mem::take(&mut mail.world) {
            let all: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
            all.into_iter().for_each(|key| self.turn_later(key));
            if matches!(self.phase, Phase::Closing { .. }) {
                // Clients would come back over the same connection, to a process that stops. New ones are served as before: what
                // they ask for is refused with a reason.
                self.leave_connections();
            }
        }
        if std::mem::take(&mut mail.revoked) {
            self.look_at_revoked();
        }
    }

    /// Has the streams served that an operator has ended.
    fn look_at_revoked(&mut self) {
        let is_revoked = |slot: &Slot| slot.stream().is_some_and(Stream::is_revoked);
        let revoked = self.slots.iter().filter(|(_, slot)| is_revoked(slot)).map(|(key, _)| key);
        let revoked: Vec<usize> = revoked.collect();
        revoked.into_iter().for_each(|key| self.turn_later(key));
    }

    /// Has the streams served whose history has arrived; the others keep waiting.
    fn look_at_reads(&mut self) {
        for (key, serial) in std::mem::take(&mut self.reading) {
            if !self.is_there(key, serial) {
                continue;
            }
            let slot = &mut self.slots[key as usize];
            let still = slot.reads
                && slot.stream().is_some_and(|stream| stream.subscription.wake_when_read(&self.history));
            if still {
                self.reading.push((key, serial));
            } else {
                slot.is_listed = false;
                self.turn_later(key as usize);
            }
        }
    }

    fn turn_later(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if !slot.closed && !std::mem::replace(&mut slot.has_turn, true) {
            let tenant = slot.stream().map_or(0, Stream::tenant);
            self.again.push(tenant, (key as u32, slot.serial));
        }
    }

    /// Begins to serve new streams for a while, taking one of each tenant in turn.
    fn welcome(&mut self, until: Instant) {
        while let Some(arrival) = self.arrivals.pop() {
            self.arrive(arrival);
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Begins to serve a stream. The stream is added to its group first, so that no news is missed.
    fn arrive(&mut self, arrival: Arrival) {
        let Arrival { mut way, connection, coding, head, stream, permit } = arrival;
        let key = self.slots.vacant_key();
        let registered = match &mut way {
            Way::Socket(wire) => {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut wire.socket, Token(key), interest)
            }
            Way::Shared(shared) => {
                let own = |connection: &mut Connection| {
                    connection.http2.own(shared.number, Owner::Slot(key as u32)).is_ok()
                };
                if !self.connections.get(shared.connection, connection).is_some_and(own) {
                    // The client has reset it meanwhile, or the connection is closed.
                    return stream.closed(End::Client, &self.news.world_at(self.now));
                }
                Ok(())
            }
        };
        let group = self.group_of(&stream);
        self.serial = self.serial.wrapping_add(1);
        let mut slot = Slot::new(way, coding, stream, permit, group as u32, self.serial);
        slot.at = self.groups[group].add(key);
        if let Some(coding) = slot.coding() {
            self.groups[group].compressed.add(coding);
        }
        self.slots.insert(slot);
        if let Err(error) = registered {
            tracing::warn!(%error, "a stream's socket cannot be polled");
            return self.close(key, End::Client);
        }
        let outcome = self.with(key, |slot, hands| slot.open(head, hands));
        self.settle(key, outcome);
    }

    fn group_of(&mut self, stream: &Stream) -> usize {
        let view = stream.subscription.view();
        let hash = |view: usize| self.hasher.hash_one(view);
        let known =
            self.by_view.find(hash(view), |group| self.groups[*group as usize].listener.view() == view);
        if let Some(group) = known {
            return *group as usize;
        }
        let entry = self.groups.vacant_entry();
        let key = entry.key();
        let listener = stream.subscription.listen(self.inbox.clone(), key as u32);
        self.group_count += 1;
        entry.insert(Group::new(listener, self.group_count));
        self.by_view.insert_unique(hash(view), key as u32, |group| {
            hash(self.groups[*group as usize].listener.view())
        });
        key
    }

    fn remove_group(&mut self, key: usize) {
        let group = self.groups.remove(key);
        let hash = self.hasher.hash_one(group.listener.view());
        if let Ok(entry) = self.by_view.find_entry(hash, |other| *other as usize == key) {
            entry.remove();
        }
    }

    fn queue_group(&mut self, key: usize) {
        // The listener of a removed group may have left a notification: it then reaches the next group with the same key, or
        // none.
        let Some(group) = self.groups.get_mut(key) else { return };
        group.listener.rearm();
        if std::mem::replace(&mut group.queued, true) {
            group.again = true;
        } else {
            group.begin_pass();
            self.queue.push_back(key);
        }
    }

    /// Serves the groups that have news for a while, a part of each group in turn.
    fn serve_groups(&mut self, until: Instant) {
        while let Some(key) = self.queue.pop_front() {
            self.serve_group(key);
            self.flush_connections();
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn serve_group(&mut self, key: usize) {
        for _ in 0..GROUP_TURN {
            let Some(stream) = self.groups.get_mut(key).and_then(Group::next) else { break };
            match self.slots.get(stream).map(Slot::hears) {
                Some(Hears::News) => self.serve(stream),
                // A replay is served in its turn, so that it does not take the time of live streams.
                Some(Hears::Later) => self.turn_later(stream),
                Some(Hears::Nothing) | None => {}
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

    /// Has the streams served whose deadlines have passed, unless they were moved since. Thousands may have sent last at the
    /// same moment, so they are served in turns.
    fn look_at_wheel(&mut self) {
        self.wheel.take_due(self.now, &mut self.due);
        let mut due = std::mem::take(&mut self.due);
        for (tick, (key, serial)) in due.drain(..) {
            if let Some(key) = key.checked_sub(CONNECTION) {
                self.connection_due(key, serial, tick);
            } else if self.is_there(key, serial) && self.slots[key as usize].armed == Some(tick) {
                self.slots[key as usize].armed = None;
                self.turn_later(key as usize);
            }
        }
        self.due = due;
    }

    /// Serves streams that have more to do for a while, one of each tenant in turn.
    fn take_turns(&mut self, until: Instant) {
        for _ in 0..self.again.len() {
            let Some((key, serial)) = self.again.pop() else { break };
            if self.is_there(key, serial) {
                self.slots[key as usize].has_turn = false;
                self.serve(key as usize);
            }
            if Instant::now() >= until {
                break;
            }
        }
        for _ in 0..self.unheard.len() {
            let Some((key, serial)) = self.unheard.pop_front() else { break };
            if let Some(key) = key.checked_sub(CONNECTION) {
                if let Some(connection) = self.connections.get(key, serial) {
                    connection.is_unheard = false;
                    self.hear_connection(key);
                }
            } else if self.is_there(key, serial) {
                self.slots[key as usize].is_unheard = false;
                self.hear(key as usize);
            }
            if Instant::now() >= until {
                break;
            }
        }
    }

    fn is_there(&self, key: u32, serial: u32) -> bool {
        self.slots.get(key as usize).is_some_and(|slot| slot.serial == serial && !slot.closed)
    }

    fn serve(&mut self, key: usize) {
        if self.slots[key].closed {
            return;
        }
        let outcome = self.with(key, Slot::serve);
        self.settle(key, outcome);
    }

    fn with<T>(&mut self, key: usize, serve: impl FnOnce(&mut Slot, &mut Hands<'_>) -> T) -> T {
        let slot = &mut self.slots[key];
        let mut hands = Hands {
            world: World {
                now: self.now,
                status: self.status,
                phase: self.phase,
                is_pressed: self.chunks.held() > self.max_held / 4,
                metrics: &self.news.metrics,
            },
            last: &mut self.last,
            compressor: &mut self.compressor,
            compressed: &mut self.groups[slot.group as usize].compressed,
            bench: Bench { sealed: &mut self.sealed, opened: &mut self.opened, chunks: &self.chunks },
            connections: &mut self.connections,
            written: &mut self.written,
            records: &mut self.records,
        };
        serve(slot, &mut hands)
    }

    /// Arranges when the stream is served next.
    fn settle(&mut self, key: usize, outcome: Outcome) {
        let slot = &mut self.slots[key];
        slot.reads = false;
        match outcome {
            Outcome::Over(end) => self.close(key, end),
            Outcome::Again => self.turn_later(key),
            Outcome::Waits => self.arm(key, None),
            Outcome::WaitsUntil(until) => self.arm(key, Some(until)),
            Outcome::Reads(until) => self.await_history(key, until),
            Outcome::Sleeps(until) => {
                slot.reads = true;
                self.arm(key, Some(until));
            }
        }
    }

    fn await_history(&mut self, key: usize, until: Moment) {
        let slot = &mut self.slots[key];
        let entry = (key as u32, slot.serial);
        let waits = slot.stream().is_some_and(|stream| stream.subscription.wake_when_read(&self.history));
        if !waits {
            // The history has arrived meanwhile. The stream is served at the next tick: if the history were of no use, serving
            // it at once would be a busy loop.
            return self.arm(key, Some(self.now));
        }
        slot.reads = true;
        if !std::mem::replace(&mut slot.is_listed, true) {
            self.reading.push(entry);
        }
        self.arm(key, Some(until));
    }

    /// Puts the stream into the wheel, unless it is there for an earlier tick: being served too early only costs an extra turn.
    fn arm(&mut self, key: usize, until: Option<Moment>) {
        let slot = &mut self.slots[key];
        let Some(due) = slot.due().into_iter().chain(until).min() else { return };
        let tick = self.wheel.tick_of(due);
        if slot.armed.is_none_or(|armed| self.wheel.is_before(tick, armed)) {
            slot.armed = Some(tick);
            self.wheel.put(tick, (key as u32, slot.serial));
        }
    }

    fn hear(&mut self, key: usize) {
        if self.slots[key].closed {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let heard = self.with(key, |slot, hands| slot.hear(&mut scratch, hands));
        self.scratch = scratch;
        match heard {
            Heard::Nothing => {}
            Heard::More => self.hear_later(key),
            Heard::Answered(outcome) => {
                self.settle(key, outcome);
                self.hear_later(key);
            }
            Heard::End => self.close(key, End::Client),
        }
    }

    fn hear_later(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if !slot.closed && !std::mem::replace(&mut slot.is_unheard, true) {
            self.unheard.push_back((key as u32, slot.serial));
        }
    }

    fn close(&mut self, key: usize, end: End) {
        let slot = &mut self.slots[key];
        if std::mem::replace(&mut slot.closed, true) {
            return;
        }
        match &mut slot.way {
            Way::Socket(wire) => {
                // Fails if the socket was never registered.
                let _ = self.poll.registry().deregister(&mut wire.socket);
            }
            Way::Shared(shared) => self.connections.close_stream(shared),
        }
        if let Some(stream) = slot.stream() {
            stream.closed(end, &self.news.world_at(self.now));
        }
        let (group, at) = (slot.group as usize, slot.at);
        if let Some(coding) = slot.coding() {
            self.groups[group].compressed.remove(coding);
        }
        for (moved, place) in self.groups[group].remove(at).into_iter().flatten() {
            self.slots[moved].at = place;
        }
        if self.groups[group].is_empty() {
            self.remove_group(group);
        }
        self.closed.push(key);
    }

    /// If chunks that clients have not read yet take too much memory, closes the streams whose sockets have taken nothing for
    /// longest.
    fn cut_slow(&mut self) {
        let held = self.chunks.held();
        if held <= self.max_held {
            self.tolerated = 0;
        }
        if held <= self.max_held.max(self.tolerated) {
            return;
        }
        let blocked = |(key, slot): (usize, &Slot)| slot.blocked().map(|since| (since, key, false));
        let connections = self.connections.all.iter();
        let connections =
            connections.filter_map(|(key, connection)| Some((connection.blocked()?, key, true)));
        let blocked = self.slots.iter().filter_map(blocked).chain(connections);
        let mut blocked: Vec<(Moment, usize, bool)> = blocked.collect();
        blocked.sort_unstable();
        let mut count = 0;
        // The stream that was blocked last is kept: it may be the only one, with a record larger than `max_held`.
        blocked.pop();
        for (_, key, is_connection) in blocked {
            if self.chunks.held() <= self.max_held / 4 * 3 {
                break;
            }
            if is_connection {
                self.close_connection(key as u32, End::Slow);
                self.connections.all[key].wire.forget_rest();
            } else {
                self.close(key, End::Slow);
                self.slots[key].way.forget_rest();
            }
            count += 1;
        }
        self.tolerated = self.chunks.held();
        if count > 0 {
            tracing::warn!(streams = count, "cut: clients that read too slowly held too much memory");
        }
    }

    /// Ends a round: updates the metrics, cuts slow streams, frees keys and memory.
    fn rest(&mut self) {
        self.last.report_and_drop();
        self.compressor.rest(&self.news.metrics, self.queue.is_empty());
        self.cut_slow();
        self.news.metrics.bytes.increment(std::mem::take(&mut self.written));
        self.news.metrics.frames.increment(std::mem::take(&mut self.records));
        self.flush_connections();
        for key in self.closed.drain(..) {
            self.slots.remove(key);
        }
        for key in self.closed_connections.drain(..) {
            self.connections.all.remove(key as usize);
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(SPARE);
        }
        self.closed.shrink_to(SPARE);
        self.due.shrink_to(SPARE);
        self.reading.shrink_to(SPARE);
        self.unheard.shrink_to(SPARE);
    }

    fn stop(mut self, mut mail: Mail) {
        let world = self.news.world_at(self.now);
        std::iter::from_fn(|| self.arrivals.pop())
            .for_each(|arrival| arrival.stream.closed(End::Client, &world));
        mail.drop_streams(&world);
        // From now on, nothing arrives.
        self.inbox.close().drop_streams(&world);
        let connections: Vec<u32> = self.connections.all.iter().map(|(key, _)| key as u32).collect();
        connections.into_iter().for_each(|key| self.close_connection(key, End::Client));
        let all: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
        all.into_iter().for_each(|key| self.close(key, End::Client));
    }
}
