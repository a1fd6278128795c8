//! A TLS connection whose handshake is over, as hyper reads and writes it.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::first_bytes::{Begins, MAX_HEAD};
use crate::tls::{Connection, Layer};

pub(super) struct TlsSocket {
    socket: TcpStream,
    connection: Box<Connection>,
    /// What was read ahead, and how much of it hyper has read.
    ahead: Vec<u8>,
    passed: usize,
}

impl TlsSocket {
    pub(super) fn new(socket: TcpStream, connection: Box<Connection>) -> TlsSocket {
        TlsSocket { socket, connection, ahead: Vec::new(), passed: 0 }
    }

    /// Reads until the head of a request has come, or as much as hyper accepts of one; it stays to be read.
    ///
    /// # Errors
    /// If the connection is over before that.
    pub(super) async fn read_head(&mut self) -> io::Result<()> {
        let mut ahead = Vec::new();
        while !Begins::Http.is_whole(&ahead) && ahead.len() < MAX_HEAD {
            if self.read_buf(&mut ahead).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.ahead = ahead;
        Ok(())
    }

    /// What was read ahead and not yet by hyper.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.ahead[self.passed..]
    }

    /// The protocol that was agreed upon (RFC 7301).
    pub(super) fn is_http2(&self) -> bool {
        self.connection.alpn_protocol() == Some(b"h2")
    }

    /// What has been decrypted, and read by nobody yet.
    pub(super) fn take_read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.ahead).split_off(self.passed);
        self.passed = 0;
        match self.connection.reader().read_to_end(&mut bytes) {
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::UnexpectedEof) => {
                Err(error)
            }
            _ => Ok(bytes),
        }
    }

    /// The connection without what hyper has not read of it.
    ///
    /// # Errors
    /// As [`Connection::into_layer`].
    pub(super) fn into_parts(self) -> io::Result<(TcpStream, Layer)> {
        Ok((self.socket, self.connection.into_layer()?))
    }

    /// Decrypts what has come: `Ready` once there is something to read, or the end.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = Now { socket: &mut self.socket, context };
        match self.connection.read_tls(&mut socket) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
        let processed = self.connection.process_new_packets();
        // Alerts, answers: as far as the socket takes them. The rest goes before the next bytes.
        while self.connection.wants_write() {
            let mut socket = Now { socket: &mut self.socket, context };
            if self.connection.write_tls(&mut socket).is_err() {
                break;
            }
        }
        Poll::Ready(processed.map(|_| ()).map_err(|error| io::Error::new(ErrorKind::InvalidData, error)))
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            let mut socket = Now { socket: &mut self.socket, context };
            match self.connection.write_tls(&mut socket) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead().is_empty() {
            let count = this.ahead().len().min(buffer.remaining());
            buffer.put_slice(&this.ahead()[..count]);
            this.passed += count;
            if this.ahead().is_empty() {
                (this.ahead, this.passed) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        loop {
            match this.connection.reader().read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Without `close_notify`: for requests, this is the end as well.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(this.poll_receive(context))?;
        }
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // At most one write is encrypted ahead of the socket.
        ready!(this.poll_send(context))?;
        let count = this.connection.writer().write(bytes)?;
        match this.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(context, first.map_or(&[], |slice| slice))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.connection.send_close_notify();
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

/// A socket that does not wait: what is not possible now is an error, and wakes the task once it is.
struct Now<'a, 'b> {
    socket: &'a mut TcpStream,
    context: &'a mut Context<'b>,
}

impl Read for Now<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.socket).poll_read(self.context, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Now<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.socket).poll_write(self.context, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.socket).poll_write_vectored(self.context, slices) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
