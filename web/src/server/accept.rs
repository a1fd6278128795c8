//! The accept loop: limits the open connections, and how many of them read their first request at the same time.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::connection::Connection;
use super::first_bytes::{self, Begins};
use super::handshake::Handshakes;
use super::shutdown::{ShutdownHandle, ShutdownSignal};
use super::socket_options::listen;
use super::takeover::StreamTransports;
use crate::peer::{Nearest, PeerRules};
use crate::tls::Certificate;

/// The capacity that the empty queue keeps.
const SPARE_QUEUE: usize = 64;
/// How long accepting pauses when descriptors or memory have run out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// A failure to accept is logged at most this often.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// Connections whose first request is read and answered at the same time; of the others, only a descriptor is queued. A request
/// takes its turn once it has come whole, so those that never finish theirs delay nobody. When many clients reconnect at once, this limits the memory for requests, and keeps what remains of each connection close together in
/// memory.
const MAX_FIRST_REQUESTS: usize = 128;

/// A listener with its connections.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    transports: StreamTransports,
    peers: Arc<PeerRules>,
    /// Where the listener speaks TLS.
    handshakes: Option<Handshakes>,
    permits: Arc<Semaphore>,
    first_requests: Arc<Semaphore>,
    max_connections: u32,
    said_full: Mutex<Option<Instant>>,
    signal: watch::Sender<ShutdownSignal>,
}

/// An accepted connection whose first request is not read yet.
struct AcceptedSocket {
    socket: std::net::TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
}

impl Server {
    /// Binds the address. With a certificate, the listener speaks TLS and nothing else.
    pub(crate) fn bind(
        address: SocketAddr,
        router: Router,
        transports: StreamTransports,
        peers: Arc<PeerRules>,
        certificate: Option<Arc<Certificate>>,
        max_connections: u32,
    ) -> io::Result<Server> {
        let listener = listen(address)?;
        Ok(Server {
            address: listener.local_addr()?,
            listener,
            router,
            transports,
            peers,
            handshakes: certificate.map(Handshakes::new),
            permits: Arc::new(Semaphore::new(max_connections as usize)),
            first_requests: Arc::new(Semaphore::new(MAX_FIRST_REQUESTS)),
            max_connections,
            said_full: Mutex::default(),
            signal: watch::Sender::new(ShutdownSignal::None),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle {
            permits: Arc::clone(&self.permits),
            max_connections: self.max_connections,
            signal: self.signal.clone(),
        }
    }

    /// Accepts for ever; dropping the future closes the listener. The connections are ended by the shutdown handle.
    pub(crate) async fn run(self) {
        let (mut waiting, mut said, mut pause) = (VecDeque::new(), None, Instant::now());
        let turn = || Arc::clone(&self.first_requests).acquire_owned();
        // Kept until it has ended: begun anew, it would lose its place among those that wait for a turn.
        let mut next_turn = pin!(turn());
        loop {
            tokio::select! {
                accepted = self.accept(pause) => match accepted {
                    Ok(accepted) if self.takes_turn_later(&accepted) => self.begin(accepted, None),
                    Ok(accepted) => waiting.push_back(accepted),
                    Err(error) => pause = Instant::now() + recover(&error, &mut said),
                },
                Ok(turn_now) = next_turn.as_mut(), if !waiting.is_empty() => {
                    next_turn.set(turn());
                    if let Some(accepted) = waiting.pop_front() {
                        // Who has sent half a request takes no turn: the next one has it.
                        let has_come = first_bytes::have_come(&accepted.socket, Begins::Http);
                        self.begin(accepted, has_come.then_some(turn_now));
                    }
                    if waiting.is_empty() {
                        waiting.shrink_to(SPARE_QUEUE);
                    }
                }
            }
        }
    }

    /// Whether something else comes before the request: a handshake, or a balancer's header.
    fn takes_turn_later(&self, accepted: &AcceptedSocket) -> bool {
        self.handshakes.is_some() || Nearest::socket(accepted.peer, Arc::clone(&self.peers)).sends_header()
    }

    fn begin(&self, accepted: AcceptedSocket, turn: Option<OwnedSemaphorePermit>) {
        let AcceptedSocket { socket, peer, permit } = accepted;
        let connection = Connection {
            router: self.router.clone(),
            transports: self.transports.clone(),
            handshakes: self.handshakes.clone(),
            first_requests: Arc::clone(&self.first_requests),
            signal: self.signal.subscribe(),
            permit,
            nearest: Nearest::socket(peer, Arc::clone(&self.peers)),
        };
        tokio::spawn(connection.serve(socket, turn));
    }

    /// The next connection after the pause, once there is a permit: connections above the limit wait in the kernel's queue,
    /// where they take no memory of the process. Cancel-safe.
    async fn accept(&self, pause: Instant) -> io::Result<AcceptedSocket> {
        if Instant::now() < pause {
            tokio::time::sleep_until(pause).await;
        }
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.say_full();
                Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?
            }
        };
        let (socket, peer) = self.listener.accept().await?;
        // While a socket waits in the queue, it is not registered with the runtime, as that takes memory.
        Ok(AcceptedSocket { socket: socket.into_std()?, peer, permit })
    }

    fn say_full(&self) {
        let mut said = self.said_full.lock();
        if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(
                connections = self.max_connections,
                "as many connections as there may be; new ones wait until one closes"
            );
        }
    }
}

/// How long to pause accepting. Without free descriptors, the pending connection stays pending, and accepting without a pause
/// would be a busy loop.
fn recover(error: &io::Error, said: &mut Option<Instant>) -> Duration {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        return Duration::ZERO;
    }
    if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
        *said = Some(Instant::now());
        tracing::warn!(%error, "cannot accept connections for now");
    }
    EXHAUSTED_PAUSE
}
