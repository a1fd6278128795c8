//! How the rest of the program sends messages to a writer thread: one inbox, one waker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use bytes::Bytes;
use parking_lot::Mutex;
use tailrace_bridge::Notify;

use super::answer::{Answer, Letter, Service};
use super::chunk::Coding;
use super::way::Way;
use super::wire::Wire;
use crate::end::End;
use crate::permit::ConnectionPermit;
use crate::stream::{Stream, World};

/// A new stream for the thread to serve.
pub(super) struct Arrival {
    pub(super) way: Way,
    /// The serial of its connection, over HTTP/2.
    pub(super) connection: u32,
    pub(super) coding: Coding,
    /// The head of its response.
    pub(super) head: Bytes,
    pub(super) stream: Stream,
    /// That of its own connection.
    pub(super) permit: Option<ConnectionPermit>,
}

/// A new HTTP/2 connection.
pub(super) struct NewConnection {
    pub(super) wire: Wire,
    /// What was read of it already.
    pub(super) begin: Vec<u8>,
    pub(super) service: Service,
    pub(super) permit: ConnectionPermit,
}

/// What was posted since the thread last took its mail.
#[derive(Default)]
pub(super) struct Mail {
    pub(super) arrivals: Vec<Arrival>,
    pub(super) connections: Vec<NewConnection>,
    /// Parts of responses.
    pub(super) letters: Vec<Letter>,
    /// Groups whose view has news.
    pub(super) news: Vec<u32>,
    /// A read of history has ended.
    pub(super) history: bool,
    /// The state that all streams share has changed.
    pub(super) world: bool,
    /// An operator has ended streams.
    pub(super) revoked: bool,
    /// Connections serve no new stream any more.
    pub(super) finish: bool,
    pub(super) stop: bool,
    /// Whether the thread has ended. The thread takes no mail once this is set.
    closed: bool,
}

impl Mail {
    /// Ends the streams that came too late.
    pub(super) fn drop_streams(&mut self, world: &World<'_>) {
        self.arrivals.drain(..).for_each(|arrival| arrival.stream.closed(End::Client, world));
        for letter in self.letters.drain(..) {
            if let Answer::Stream(_, stream) = letter.answer {
                stream.closed(End::Client, world);
            }
        }
    }
}

pub(super) struct Inbox {
    mail: Mutex<Mail>,
    /// Whether the thread has been woken for the current mail.
    woken: AtomicBool,
    waker: mio::Waker,
}

impl Inbox {
    pub(super) fn new(waker: mio::Waker) -> Arc<Inbox> {
        Arc::new(Inbox { mail: Mutex::default(), woken: AtomicBool::new(false), waker })
    }

    /// Closes the inbox; returns what came last.
    pub(super) fn close(&self) -> Mail {
        let mut mail = self.mail.lock();
        std::mem::replace(&mut *mail, Mail { closed: true, ..Mail::default() })
    }

    /// Posts a stream; returns it if the inbox is closed.
    pub(super) fn arrive(&self, arrival: Arrival) -> Option<Arrival> {
        let mut back = None;
        self.post(|mail| match mail.closed {
            true => back = Some(arrival),
            false => mail.arrivals.push(arrival),
        });
        back
    }

    /// Posts a connection. If the inbox is closed, it is dropped.
    pub(super) fn connect(&self, connection: NewConnection) {
        self.post(|mail| {
            if !mail.closed {
                mail.connections.push(connection);
            }
        });
    }

    /// Posts a part of a response; returns it if the inbox is closed.
    pub(super) fn answer(&self, letter: Letter) -> Option<Letter> {
        let mut back = None;
        self.post(|mail| match mail.closed {
            true => back = Some(letter),
            false => mail.letters.push(letter),
        });
        back
    }

    /// Posts something, and wakes the thread unless it has been woken already.
    pub(super) fn post(&self, put: impl FnOnce(&mut Mail)) {
        put(&mut self.mail.lock());
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a writer thread could not be woken");
        }
    }

    /// Takes everything. The next message wakes the thread again.
    pub(super) fn take(&self, mail: &mut Mail) {
        self.woken.store(false, Ordering::Release);
        std::mem::swap(mail, &mut *self.mail.lock());
    }
}

/// Is woken at the end of a read of history.
pub(super) struct HistoryWaker(pub(super) Arc<Inbox>);

impl Wake for HistoryWaker {
    fn wake(self: Arc<Self>) {
        self.0.post(|mail| mail.history = true);
    }
}

/// A view has news; `group` is the key of its group in the thread.
impl Notify for Inbox {
    fn notify(&self, group: u32) {
        self.post(|mail| mail.news.push(group));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;

    fn inbox() -> (Poll, Arc<Inbox>) {
        let poll = Poll::new().unwrap();
        let inbox = Inbox::new(mio::Waker::new(poll.registry(), Token(0)).unwrap());
        (poll, inbox)
    }

    /// A thread may sleep without a timeout: a message that does not wake it would stay unread until the next one.
    #[test]
    fn no_letter_is_left_lying_while_the_thread_sleeps() {
        const LETTERS: u32 = 100_000;
        let (mut poll, inbox) = inbox();
        let (read, posted) = (AtomicU32::new(0), inbox.clone());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..LETTERS {
                    posted.post(|mail| mail.news.push(n));
                    // Every fourth message waits until all are read: then the thread is about to sleep.
                    while n % 4 == 0 && read.load(Ordering::Acquire) <= n {
                        std::hint::spin_loop();
                    }
                }
            });
            let (mut events, mut mail, mut next) = (Events::with_capacity(8), Mail::default(), 0);
            while next < LETTERS {
                poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
                if events.is_empty() {
                    // Lets the other thread end.
                    read.store(LETTERS, Ordering::Release);
                    panic!("letter {next} has woken nobody");
                }
                inbox.take(&mut mail);
                for n in mail.news.drain(..) {
                    assert_eq!(n, next);
                    next += 1;
                }
                read.store(next, Ordering::Release);
            }
        });
    }
}
