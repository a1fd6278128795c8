//! What hyper reads and writes: a client's socket, plain or over TLS, that records whether hyper still has bytes to write.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::tls_socket::TlsSocket;
use crate::tls::Layer;

/// Whether the last write was incomplete: hyper keeps the remaining bytes in its own buffer. hyper reads the next request only
/// once these are sent, except where the answered request had a body that has arrived since.
#[derive(Clone, Default)]
pub(super) struct Unsent(Arc<(AtomicBool, Notify)>);

impl Unsent {
    /// Waits until everything is sent. Must be polled by the task that polls the connection.
    pub(super) async fn sent(&self) {
        let (is_any, sent) = &*self.0;
        while is_any.load(Ordering::Relaxed) {
            sent.notified().await;
        }
    }

    fn note<T>(&self, poll: Poll<T>) -> Poll<T> {
        let (is_any, sent) = &*self.0;
        if is_any.swap(poll.is_pending(), Ordering::Relaxed) && poll.is_ready() {
            sent.notify_one();
        }
        poll
    }
}

/// A client's connection as hyper reads and writes it.
pub(super) enum Client {
    Plain(TcpStream),
    Tls(Box<TlsSocket>),
}

impl Client {
    /// What has been read of the client, and by nobody yet.
    pub(super) fn take_read(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Client::Plain(_) => Ok(Vec::new()),
            Client::Tls(tls) => tls.take_read(),
        }
    }

    /// The socket, and over TLS the state of its connection, in which encrypted bytes may wait that must be sent first.
    ///
    /// # Errors
    /// If a stream cannot go on with this connection.
    pub(super) fn into_parts(self) -> io::Result<(TcpStream, Option<Layer>)> {
        match self {
            Client::Plain(socket) => Ok((socket, None)),
            Client::Tls(tls) => tls.into_parts().map(|(socket, layer)| (socket, Some(layer))),
        }
    }
}

pub(super) struct ClientSocket {
    client: Client,
    unsent: Unsent,
}

impl ClientSocket {
    pub(super) fn new(client: Client, unsent: Unsent) -> ClientSocket {
        ClientSocket { client, unsent }
    }

    pub(super) fn into_inner(self) -> Client {
        self.client
    }
}

impl AsyncRead for Client {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Client::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Client::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Client::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Client::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Client::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Client::Tls(tls) => Pin::new(tls).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Client::Plain(socket) => socket.is_write_vectored(),
            Client::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Client::Plain(socket) => Pin::new(socket).poll_flush(context),
            Client::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Client::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Client::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.client).poll_write(context, bytes);
        self.unsent.note(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.client).poll_write_vectored(context, slices);
        self.unsent.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.client.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_shutdown(context)
    }
}
