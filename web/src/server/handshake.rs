//! The handshake of TLS. Waiting for the client costs a task and the state of the connection, and no thread; what needs the
//! processor is done on a few threads that do nothing else, so that many handshakes at once do not delay the streams.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::HandshakeKind;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

use super::crowd::Crowd;
use super::fair_turns::FairTurns;
use super::tls_socket::TlsSocket;
use crate::tls::{Certificate, Connection};

/// Handshakes that compute at the same time: one for every two cores, since streams and requests need the others.
const MAX_THREADS: usize = 8;
/// Connections that have begun a handshake and not sent a request yet. Each takes about 10 KiB.
const MAX_HALF_OPEN: usize = 20_000;

/// What all handshakes share.
#[derive(Clone)]
pub(super) struct Handshakes {
    certificate: Arc<Certificate>,
    turns: Arc<FairTurns>,
    pub(super) crowd: Arc<Crowd>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("the connection ended within the handshake: {0}")]
    Closed(#[from] io::Error),
    #[error("{0}")]
    Refused(#[from] rustls::Error),
    #[error("the process stops")]
    Stopped,
}

impl HandshakeError {
    /// For the metric.
    pub(super) fn result(&self) -> &'static str {
        use rustls::Error::{
            AlertReceived, InvalidCertificate, NoApplicationProtocol, NoCertificatesPresented,
            PeerIncompatible,
        };
        match self {
            HandshakeError::Closed(_) | HandshakeError::Stopped => "closed",
            HandshakeError::Refused(NoApplicationProtocol) => "no_common_protocol",
            HandshakeError::Refused(NoCertificatesPresented | InvalidCertificate(_)) => "client_certificate",
            HandshakeError::Refused(PeerIncompatible(_)) => "incompatible",
            HandshakeError::Refused(AlertReceived(_)) => "refused_by_client",
            HandshakeError::Refused(_) => "invalid",
        }
    }
}

impl Handshakes {
    pub(super) fn new(certificate: Arc<Certificate>) -> Handshakes {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = FairTurns::new((cores / 2).clamp(1, MAX_THREADS));
        Handshakes { certificate, turns, crowd: Crowd::new(MAX_HALF_OPEN) }
    }

    /// Does the handshake; the caller limits its time.
    pub(super) async fn shake(
        &self,
        socket: TcpStream,
        peer: IpAddr,
    ) -> Result<(TlsSocket, &'static str), HandshakeError> {
        let mut connection = Box::new(Connection::new(&self.certificate.config())?);
        while connection.is_handshaking() || connection.wants_write() {
            if connection.wants_write() {
                send(&socket, &mut connection).await?;
            } else {
                receive(&socket, &mut connection).await?;
                connection = self.process(&socket, peer, connection).await?;
            }
        }
        let result = match connection.handshake_kind() {
            Some(HandshakeKind::Resumed) => "resumed",
            _ => "full",
        };
        Ok((TlsSocket::new(socket, connection), result))
    }

    /// Deals with what was received. There are threads for the exchange of keys, and for signatures: what follows is cheaper than
    /// a change of the thread.
    async fn process(
        &self,
        socket: &TcpStream,
        peer: IpAddr,
        mut connection: Box<Connection>,
    ) -> Result<Box<Connection>, HandshakeError> {
        let is_exchanged = connection.negotiated_key_exchange_group().is_some();
        let (mut connection, result) = if !is_exchanged || self.certificate.asks_clients() {
            let turn = self.turns.turn(peer).await;
            let work = spawn_blocking(move || {
                let result = connection.process_new_packets();
                drop(turn);
                (connection, result)
            });
            work.await.map_err(|_| HandshakeError::Stopped)?
        } else {
            let result = connection.process_new_packets();
            (connection, result)
        };
        if let Err(error) = result {
            // The alert says why. Where the socket does not take it at once, the client does without.
            while connection.wants_write()
                && connection.write_tls(&mut Now(socket)).is_ok_and(|sent| sent > 0)
            {}
            return Err(error.into());
        }
        Ok(connection)
    }
}

async fn send(socket: &TcpStream, connection: &mut Connection) -> io::Result<()> {
    match connection.write_tls(&mut Now(socket)) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => socket.writable().await,
        sent => sent.map(|_| ()),
    }
}

async fn receive(socket: &TcpStream, connection: &mut Connection) -> io::Result<()> {
    loop {
        socket.readable().await?;
        match connection.read_tls(&mut Now(socket)) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            received => return received.map(|_| ()),
        }
    }
}

/// A socket that does not wait.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
