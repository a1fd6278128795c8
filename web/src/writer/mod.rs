//! Writes the streams: a few threads, each of which polls all of its sockets.
//!
//! A stream is a slot in a slab, without a task and without a buffer. [`inbox`] receives messages from the rest of the program;
//! [`thread`] is the loop of a thread; [`group`] holds the streams of a view, which are served in order with the same bytes;
//! [`slot`] is one stream with its [`way`]: a [`wire`] of its own, a socket to which its bytes go as they are, or encrypted; or an
//! HTTP/2 [`connection`], which writes what all of its streams have to say at once. There [`answer`] has the other requests
//! answered. [`batch`] is what the streams of a group get together, and [`compress`] makes less of it. [`wheel`] holds the times when
//! streams must be served again; [`turns`] shares the time fairly between tenants whose streams are new or have more to do.
//! [`incoming`] is what a client sends over a WebSocket.

mod answer;
mod batch;
mod chunk;
mod compress;
mod connection;
mod group;
mod head;
mod inbox;
mod incoming;
mod slot;
#[cfg(test)]
mod tests;
mod thread;
mod turns;
mod way;
mod wheel;
mod wire;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use hyper::http::response;
use hyper::{StatusCode, Version};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::coding::Compression;
use crate::end::End;
use crate::moment::Moment;
use crate::news::News;
use crate::permit::ConnectionPermit;
use crate::stream::Stream;
use crate::tls::Layer;
pub(crate) use answer::Service;
use chunk::Coding;
use compress::{CONTEXTS, Compressor};
use inbox::{Arrival, Inbox, Mail, NewConnection};
pub use incoming::{Answers, answers};
use thread::Thread;
use way::Way;
use wire::Wire;

/// More threads would contend for the locks of the views with the threads that read Kafka.
const MAX_THREADS: usize = 8;

/// The threads.
pub(crate) struct Writers {
    inboxes: Vec<Arc<Inbox>>,
    next: AtomicUsize,
    news: News,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Writers {
    /// Starts the threads: one for every two cores, since reading Kafka and requests needs the others.
    ///
    /// All together hold up to `unread` bytes that clients have not read yet. Records that a stream has not read yet take no
    /// memory here, so this limit concerns many slow readers at once. Must be called within the runtime.
    pub(crate) fn start(news: News, unread: usize, compression: Compression) -> io::Result<Arc<Writers>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = (cores / 2).clamp(1, MAX_THREADS);
        let (mut inboxes, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count {
            let compressor = Compressor::new(compression, (CONTEXTS / count) as u8);
            let (thread, inbox) = Thread::new(news.clone(), unread / count, compressor)?;
            let runtime = Handle::current();
            let name = format!("writer-{number}");
            let started = std::thread::Builder::new().name(name).spawn(move || run(thread, &runtime))?;
            threads.push(started);
            inboxes.push(inbox);
        }
        let (next, threads) = (AtomicUsize::new(0), Mutex::new(threads));
        Ok(Arc::new(Writers { inboxes, next, news, threads }))
    }

    /// Takes a connection whose request has been read and whose response has not begun: its socket, and what encrypts for it, if
    /// anything does. `head` opens the response.
    pub(crate) fn take(
        &self,
        connection: io::Result<(TcpStream, Option<Layer>)>,
        head: response::Parts,
        stream: Stream,
        permit: ConnectionPermit,
    ) {
        let wire = match wire_of(connection) {
            Ok(wire) => wire,
            Err(error) => {
                tracing::warn!(%error, "a stream's connection could not be taken over");
                return stream.closed(End::Client, &self.news.world_at(Moment::now()));
            }
        };
        let coding = coding_of(&head);
        let (way, head, permit) = (Way::Socket(wire), head::encode(&head, coding), Some(permit));
        let arrival = Arrival { way, connection: 0, coding, head, stream, permit };
        if let Some(late) = self.next_inbox().arrive(arrival) {
            late.stream.closed(End::Client, &self.news.world_at(Moment::now()));
        }
    }

    /// Takes an HTTP/2 connection, of which `begin` has been read, and serves it to its end.
    pub(crate) fn serve(
        &self,
        connection: io::Result<(TcpStream, Option<Layer>)>,
        begin: Vec<u8>,
        service: Service,
        permit: ConnectionPermit,
    ) {
        match wire_of(connection) {
            Ok(wire) => self.next_inbox().connect(NewConnection { wire, begin, service, permit }),
            Err(error) => tracing::warn!(%error, "an HTTP/2 connection could not be taken over"),
        }
    }

    fn next_inbox(&self) -> &Inbox {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.inboxes.len();
        &self.inboxes[turn]
    }

    /// HTTP/2 connections serve no new stream any more, and end with their last one.
    pub(crate) fn finish(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.post(|mail| mail.finish = true));
    }

    /// Notifies the threads of changes that concern all streams. Never ends.
    pub(crate) async fn herald(&self) {
        let mut news = self.news.clone();
        loop {
            let put: fn(&mut Mail) = tokio::select! {
                Ok(()) = news.status.changed() => |mail| mail.world = true,
                Ok(()) = news.phase.changed() => |mail| mail.world = true,
                Ok(()) = news.revocations.changed() => |mail| mail.revoked = true,
                else => std::future::pending().await,
            };
            self.inboxes.iter().for_each(|inbox| inbox.post(put));
        }
    }

    /// Closes the remaining streams, and waits for the threads.
    pub(crate) fn stop(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.post(|mail| mail.stop = true));
        for thread in self.threads.lock().drain(..) {
            // The thread has logged its own panic.
            let _ = thread.join();
        }
    }
}

fn wire_of(connection: io::Result<(TcpStream, Option<Layer>)>) -> io::Result<Wire> {
    let (socket, layer) = connection?;
    Ok(Wire::new(mio::net::TcpStream::from_std(socket.into_std()?), layer))
}

/// How the body after this head is marked.
fn coding_of(head: &response::Parts) -> Coding {
    match (head.status, head.version) {
        (StatusCode::SWITCHING_PROTOCOLS, _) => Coding::Messages,
        (_, Version::HTTP_10) => Coding::Plain,
        _ => Coding::Chunked,
    }
}

/// The head of a response that no thread writes.
pub(crate) fn head(head: &response::Parts) -> Bytes {
    head::encode(head, coding_of(head))
}

/// A thread that panics would leave its streams open without sending anything: the process ends, and clients reconnect to the
/// next one.
fn run(thread: Thread, runtime: &Handle) {
    // Reads of history are spawned from here.
    let _runtime = runtime.enter();
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| thread.run())).is_err() {
        tracing::error!(
            "a writer thread panicked: the process ends, so that its streams come back elsewhere"
        );
        std::process::abort();
    }
}
