//! A socket that records whether hyper still has bytes to write.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

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

pub(super) struct ClientSocket {
    stream: TcpStream,
    unsent: Unsent,
}

impl ClientSocket {
    pub(super) fn new(stream: TcpStream, unsent: Unsent) -> ClientSocket {
        ClientSocket { stream, unsent }
    }

    pub(super) fn into_inner(self) -> TcpStream {
        self.stream
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unsent.note(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.unsent.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
