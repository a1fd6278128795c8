//! What carries a client's bytes: TCP alone, or TLS over it.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, HandshakeKind};

use crate::tls::Tls;

/// How clients connect.
#[derive(Clone)]
pub(crate) enum Transport {
    Plain,
    Tls(Arc<Tls>),
}

/// One client's end of a connection whose socket never blocks.
pub(crate) enum Wire {
    Plain,
    Tls(Box<ClientConnection>),
}

impl Transport {
    pub(crate) fn wire(&self) -> anyhow::Result<Wire> {
        let Transport::Tls(tls) = self else { return Ok(Wire::Plain) };
        let server = ServerName::try_from("localhost")?;
        Ok(Wire::Tls(Box::new(ClientConnection::new(tls.config(), server)?)))
    }
}

impl Wire {
    /// Sends a request on a new connection; over TLS, once the handshake is over.
    pub(crate) fn ask(&mut self, socket: &mut TcpStream, request: &[u8]) -> Result<()> {
        let Wire::Tls(tls) = self else { return socket.write_all(request) };
        tls.writer().write_all(request)?;
        flush(tls, socket)
    }

    /// Reads once from the socket. Returns the number of bytes for the client: none if the server has closed the connection, an
    /// error of the kind [`ErrorKind::WouldBlock`] if nothing is there yet.
    pub(crate) fn read(&mut self, socket: &mut TcpStream, buffer: &mut [u8]) -> Result<usize> {
        let Wire::Tls(tls) = self else { return socket.read(buffer) };
        if tls.read_tls(socket)? == 0 {
            return Ok(0);
        }
        let state =
            tls.process_new_packets().map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))?;
        flush(tls, socket)?;
        // Everything, since the socket does not report what waits here.
        let mut count = 0;
        while count < state.plaintext_bytes_to_read() {
            count += tls.reader().read(&mut buffer[count..])?;
        }
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    /// Whether the connection goes on with the keys of an earlier one.
    pub(crate) fn is_resumed(&self) -> bool {
        matches!(self, Wire::Tls(tls) if tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }
}

/// A client sends so little that its socket always has room.
fn flush(tls: &mut ClientConnection, socket: &mut TcpStream) -> Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}
