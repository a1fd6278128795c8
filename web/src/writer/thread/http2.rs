//! The HTTP/2 connections of a thread: what their clients send becomes requests and room for more, and what their streams have to say
//! is written once a round.

use std::io;
use std::sync::Arc;

use axum::http::Request;
use bytes::Bytes;
use mio::{Interest, Token};

use super::{CONNECTION, SPARE, Thread};
use crate::end::End;
use crate::http2::{Code, Event};
use crate::writer::answer::{Answer, Letter, Mailbox, answer};
use crate::writer::chunk::Coding;
use crate::writer::connection::{Connection, Due, Owner, Reply};
use crate::writer::inbox::{Arrival, NewConnection};
use crate::writer::way::{Shared, Way};
use crate::writer::wheel::Tick;
use crate::writer::wire::Bench;

/// The most reads of what a client sends, before others are served.
const READS: usize = 4;

impl Thread {
    /// Begins to serve an HTTP/2 connection.
    pub(super) fn connect(&mut self, new: NewConnection) {
        let NewConnection { mut wire, begin, service, permit } = new;
        let key = self.connections.all.vacant_key() as u32;
        let (token, interest) = (Token((CONNECTION | key) as usize), Interest::READABLE | Interest::WRITABLE);
        if let Err(error) = self.poll.registry().register(&mut wire.socket, token, interest) {
            return tracing::warn!(%error, "a connection's socket cannot be polled");
        }
        self.serial = self.serial.wrapping_add(1);
        let mut connection = Connection::new(wire, service, permit, self.serial, self.now);
        if self.is_finishing {
            connection.leave();
        }
        self.connections.all.insert(connection);
        self.connections.mark(key);
        self.receive(key, &begin);
        self.settle_connection(key);
    }

    pub(super) fn connection_event(&mut self, key: u32, event: &mio::event::Event) {
        let Some(connection) = self.connections.all.get_mut(key as usize).filter(|other| !other.is_closed)
        else {
            return;
        };
        if event.is_error() {
            let error = connection.wire.socket.take_error().ok().flatten();
            return self.close_connection(key, error.as_ref().map_or(End::Client, End::of));
        }
        if event.is_writable() && connection.is_blocked() {
            self.connections.mark(key);
        }
        if event.is_readable() || event.is_read_closed() {
            self.hear_connection(key);
        }
    }

    /// Reads what the client of a connection has sent. While it takes nothing, nothing is read: what it asks for would have to be
    /// kept.
    pub(super) fn hear_connection(&mut self, key: u32) {
        let mut scratch = std::mem::take(&mut self.scratch);
        for turn in 0.. {
            let connection = &mut self.connections.all[key as usize];
            if connection.is_closed || connection.is_blocked() {
                break;
            }
            if turn == READS {
                self.hear_connection_later(key);
                break;
            }
            let mut bench =
                Bench { sealed: &mut self.sealed, opened: &mut self.opened, chunks: &self.chunks };
            let read = connection.wire.read(&mut scratch, &mut bench).map(|bytes| bytes.map(<[u8]>::len));
            if connection.wire.rest().is_none() && connection.wire.has_unsent() {
                // The socket did not take an answer of TLS.
                connection.wire.block(Bytes::new(), self.now);
            }
            match read {
                Ok(Some(count)) => {
                    // Over TLS it was decrypted, into a buffer of its own.
                    let is_tls = connection.wire.is_tls();
                    let mut opened = std::mem::take(&mut self.opened);
                    self.receive(key, if is_tls { &opened } else { &scratch[..count] });
                    opened.clear();
                    self.opened = opened;
                }
                Ok(None) => {
                    self.close_connection(key, End::Client);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.close_connection(key, End::of(&error));
                    break;
                }
            }
        }
        self.scratch = scratch;
        self.settle_connection(key);
    }

    fn hear_connection_later(&mut self, key: u32) {
        let connection = &mut self.connections.all[key as usize];
        if !connection.is_closed && !std::mem::replace(&mut connection.is_unheard, true) {
            self.unheard.push_back((CONNECTION | key, connection.serial));
        }
    }

    /// Takes what the client of a connection has sent.
    fn receive(&mut self, key: u32, bytes: &[u8]) {
        let connection = &mut self.connections.all[key as usize];
        if !connection.is_heard() {
            if !connection.pass_over(bytes.len()) {
                self.close_connection(key, End::Client);
            }
            return;
        }
        if bytes.is_empty() {
            return;
        }
        connection.hear(self.now);
        let mut events = std::mem::take(&mut self.events);
        let goes_on = connection.http2.receive(bytes, self.now, &mut events);
        if connection.http2.unsent() > 0 {
            self.connections.mark(key);
        }
        let mut has_room = false;
        for event in events.drain(..) {
            match event {
                Event::Request(number, request) => self.ask(key, number, *request),
                Event::Gone(owner) => self.orphan(owner),
                Event::Room(number) => self.resume(key, number),
                Event::RoomForAll => has_room = true,
            }
        }
        events.shrink_to(SPARE);
        self.events = events;
        if !goes_on {
            let connection = &mut self.connections.all[key as usize];
            connection.end();
            connection.http2.close().into_iter().for_each(|owner| self.orphan(owner));
        } else if has_room {
            self.resume_all(key);
        }
    }

    /// Has a request answered by the connection's service.
    fn ask(&mut self, key: u32, number: u32, request: Request<()>) {
        let connection = &mut self.connections.all[key as usize];
        if !connection.http2.has(number) {
            // The client has reset it at once.
            return;
        }
        let mailbox = Mailbox {
            inbox: self.inbox.clone(),
            connection: key,
            serial: connection.serial,
            number,
            news: self.news.clone(),
            is_done: false,
        };
        let task = tokio::spawn(answer(Arc::clone(&connection.service), request, mailbox));
        let _ = connection.http2.own(number, Owner::Asked(task.abort_handle()));
    }

    /// What belonged to a stream that has gone.
    fn orphan(&mut self, owner: Owner) {
        match owner {
            Owner::Asked(task) => task.abort(),
            Owner::Reply(_) => {}
            Owner::Slot(slot) => self.close(slot as usize, End::Client),
        }
    }

    pub(super) fn read_letter(&mut self, letter: Letter) {
        let Letter { connection: key, serial, number, answer } = letter;
        let now = self.now;
        let connection = self.connections.get(key, serial).filter(|connection| connection.http2.has(number));
        let Some(connection) = connection else {
            if let Answer::Stream(_, stream) = answer {
                stream.closed(End::Client, &self.news.world_at(now));
            }
            return;
        };
        match answer {
            Answer::Stream(head, stream) => {
                let way = Way::Shared(Shared::new(key, number));
                let (connection, coding, stream, permit) = (serial, Coding::Plain, *stream, None);
                let arrival = Arrival { way, connection, coding, head, stream, permit };
                return self.arrivals.push(arrival.stream.tenant(), arrival);
            }
            Answer::Head(head, ends) => {
                connection.http2.begin(number, &head, ends);
                let _ = connection.http2.own(number, Owner::Reply(Box::new(Reply::new(now))));
            }
            Answer::Piece(bytes, taken) => {
                if let Some(Owner::Reply(reply)) = connection.http2.owner_mut(number) {
                    reply.put(Some((bytes, taken)), now);
                }
            }
            Answer::End => {
                if let Some(Owner::Reply(reply)) = connection.http2.owner_mut(number) {
                    reply.put(None, now);
                }
            }
            Answer::Broken => drop(connection.http2.reset(number, Code::Internal)),
        }
        self.connections.serve_reply(key, number, now);
        self.settle_connection(key);
    }

    /// There may be room for more of a stream.
    fn resume(&mut self, key: u32, number: u32) {
        match self.connections.all[key as usize].http2.owner_mut(number) {
            Some(Owner::Slot(slot)) => {
                let slot = *slot as usize;
                if self.slots[slot].blocked().is_some() {
                    self.turn_later(slot);
                }
            }
            Some(Owner::Reply(_)) => self.connections.serve_reply(key, number, self.now),
            Some(Owner::Asked(_)) | None => {}
        }
    }

    fn resume_all(&mut self, key: u32) {
        for number in self.connections.all[key as usize].pass() {
            self.resume(key, number);
        }
    }

    /// Writes what was gathered for each connection.
    pub(super) fn flush_connections(&mut self) {
        while let Some(key) = self.connections.take_dirty() {
            let connection = &mut self.connections.all[key as usize];
            if connection.is_closed {
                continue;
            }
            let was_blocked = connection.is_blocked();
            let mut bench =
                Bench { sealed: &mut self.sealed, opened: &mut self.opened, chunks: &self.chunks };
            match connection.flush(self.now, &mut bench) {
                Ok(true) => {
                    if connection.takes_more() || was_blocked {
                        self.resume_all(key);
                    }
                    if was_blocked {
                        self.hear_connection_later(key);
                    }
                }
                Ok(false) => {}
                Err(error) => self.close_connection(key, End::of(&error)),
            }
            self.settle_connection(key);
        }
    }

    /// Does what is due, and arranges when to look at the connection again.
    fn settle_connection(&mut self, key: u32) {
        let connection = &mut self.connections.all[key as usize];
        if connection.is_closed {
            return;
        }
        match connection.look(self.now) {
            Due::Nothing => {}
            Due::End => connection.end(),
            Due::Close => return self.close_connection(key, End::Client),
        }
        if let Some(due) = connection.due() {
            let tick = self.wheel.tick_of(due);
            if connection.armed.is_none_or(|armed| self.wheel.is_before(tick, armed)) {
                connection.armed = Some(tick);
                self.wheel.put(tick, (CONNECTION | key, connection.serial));
            }
        }
        if connection.has_work() {
            self.connections.mark(key);
        }
    }

    pub(super) fn connection_due(&mut self, key: u32, serial: u32, tick: Tick) {
        let Some(connection) = self.connections.get(key, serial) else { return };
        if connection.armed == Some(tick) {
            connection.armed = None;
            self.settle_connection(key);
        }
    }

    pub(super) fn finish(&mut self) {
        self.is_finishing = true;
        self.leave_connections();
    }

    /// Connections serve no new stream any more.
    pub(super) fn leave_connections(&mut self) {
        let all: Vec<u32> = self.connections.all.iter().map(|(key, _)| key as u32).collect();
        for key in all {
            self.connections.all[key as usize].leave();
            self.settle_connection(key);
        }
    }

    pub(super) fn close_connection(&mut self, key: u32, end: End) {
        let connection = &mut self.connections.all[key as usize];
        if std::mem::replace(&mut connection.is_closed, true) {
            return;
        }
        let _ = self.poll.registry().deregister(&mut connection.wire.socket);
        for owner in connection.http2.close() {
            match owner {
                Owner::Slot(slot) => self.close(slot as usize, end),
                other => self.orphan(other),
            }
        }
        self.closed_connections.push(key);
    }
}
