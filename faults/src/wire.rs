//! A client's connection to a replica: TCP, or TLS over TCP. Under TLS it can be cut at any byte of what TCP carries: within a
//! handshake, or within a record.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The most bytes of one read from TCP.
const PIECE: usize = 4096;

/// A connection, which is read and written as a stream.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<Severed>>),
}

/// When a connection is cut, in bytes of what TCP carries in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub after_read: usize,
    pub after_written: usize,
    /// Whether the other side gets a reset, as from a device that has forgotten the connection.
    pub is_reset: bool,
}

impl Cut {
    pub const NEVER: Cut = Cut { after_read: usize::MAX, after_written: usize::MAX, is_reset: false };
}

/// A TCP connection that fails for good once it has carried so many bytes.
pub struct Severed {
    socket: TcpStream,
    left: Cut,
    is_cut: bool,
}

impl Severed {
    pub fn new(socket: TcpStream, cut: Cut) -> Severed {
        Severed { socket, left: cut, is_cut: false }
    }

    /// Whether it was cut here, rather than ended by the other side.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn cut(&mut self) -> io::Error {
        self.is_cut = true;
        if self.left.is_reset {
            // It is closed when it is dropped, soon after this.
            let _ = set_socket_linger(&self.socket, Some(Duration::ZERO));
        }
        io::Error::new(ErrorKind::ConnectionAborted, "cut by the suite")
    }
}

impl AsyncRead for Severed {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left.after_read == 0 {
            return Poll::Ready(Err(this.cut()));
        }
        let mut piece = [0; PIECE];
        let most = PIECE.min(this.left.after_read).min(buffer.remaining());
        let mut piece = ReadBuf::new(&mut piece[..most]);
        ready!(Pin::new(&mut this.socket).poll_read(cx, &mut piece))?;
        this.left.after_read -= piece.filled().len();
        buffer.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Severed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.left.after_written == 0 {
            return Poll::Ready(Err(this.cut()));
        }
        let most = bytes.len().min(this.left.after_written);
        let count = ready!(Pin::new(&mut this.socket).poll_write(cx, &bytes[..most]))?;
        this.left.after_written -= count;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

impl Wire {
    /// Whether it was cut here at a byte of TCP.
    pub fn is_cut(&self) -> bool {
        match self {
            Wire::Plain(_) => false,
            Wire::Tls(stream) => stream.get_ref().0.is_cut(),
        }
    }
}

impl From<TcpStream> for Wire {
    fn from(socket: TcpStream) -> Wire {
        Wire::Plain(socket)
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Wire::Plain(socket) => socket.as_fd(),
            Wire::Tls(stream) => stream.get_ref().0.socket.as_fd(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_carries_as_many_bytes_as_it_may_and_no_more() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        other.write_all(b"0123456789").await.unwrap();
        let mut severed = Severed::new(socket, Cut { after_read: 7, after_written: 3, is_reset: true });
        let mut read = Vec::new();
        assert!(severed.read_to_end(&mut read).await.is_err());
        assert_eq!(read, b"0123456");
        assert!(severed.is_cut());
        assert!(severed.write_all(b"abcdef").await.is_err());
        drop(severed);
        let mut read = Vec::new();
        let end = other.read_to_end(&mut read).await;
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(read.is_empty() || read == b"abc");
    }
}
