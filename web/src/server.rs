//! The accept loop: sockets become connections that hyper serves, HTTP/1.1 or HTTP/2 as the client begins.
//! Everything that a peer could leave unfinished has a time limit here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tower::ServiceExt;

/// A request's headers must be there in this time; an idle connection is closed after it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection with streams is looked at for having become idle.
const LOOK_BUSY: Duration = Duration::from_secs(60);
/// Request line and headers in all: ids of 1,000 partitions are 7 KiB, by header and by parameter 14, and room for cookies.
const MAX_HEAD: usize = 32 * 1024;
/// Unsent bytes that a socket takes: what is not in the kernel is read again from shared pages, not copied for each client.
const NOTSENT_LOWAT: u32 = 64 * 1024;
/// Streams of one HTTP/2 connection.
const MAX_H2_STREAMS: u32 = 256;
/// A peer that does not answer a ping in this time is gone.
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);
const H2_PING_EVERY: Duration = Duration::from_secs(30);
/// Connections that wait to be accepted: a whole fleet comes back at once after a restart.
const BACKLOG: i32 = 4096;
/// Accepting pauses so long where descriptors or memory have run out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// A failure to accept is said at most this often.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// A finished connection has so long to flush and close.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Who is at the other end of the socket. Headers like X-Forwarded-For are not believed.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What connections are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Serve,
    /// End when the response under way is written.
    Finish,
    /// End now.
    Stop,
}

/// A listener with its connections.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    places: Arc<Semaphore>,
    max_connections: u32,
    order: watch::Sender<Order>,
}

/// Ends the server's connections.
pub(crate) struct Stopper {
    places: Arc<Semaphore>,
    max_connections: u32,
    order: watch::Sender<Order>,
}

impl Server {
    /// Binds the address.
    pub(crate) fn bind(address: SocketAddr, router: Router, max_connections: u32) -> io::Result<Server> {
        let listener = listen(address)?;
        Ok(Server {
            address: listener.local_addr()?,
            listener,
            router,
            places: Arc::new(Semaphore::new(max_connections as usize)),
            max_connections,
            order: watch::Sender::new(Order::Serve),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn stopper(&self) -> Stopper {
        Stopper {
            places: Arc::clone(&self.places),
            max_connections: self.max_connections,
            order: self.order.clone(),
        }
    }

    /// Accepts for ever; dropping the future closes the listener and leaves the connections to the stopper.
    pub(crate) async fn run(self) {
        let builder = Arc::new(builder());
        let mut said = None;
        loop {
            // Over the bound the rest waits in the kernel's queue, where it costs nothing.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((socket, peer)) => {
                    let connection =
                        Connection { router: self.router.clone(), order: self.order.subscribe(), place };
                    tokio::spawn(connection.serve(Arc::clone(&builder), socket, peer));
                }
                Err(error) => recover(&error, &mut said).await,
            }
        }
    }
}

impl Stopper {
    /// Lets responses under way be written, then closes what is left.
    pub(crate) async fn stop(&self) {
        self.order.send_replace(Order::Finish);
        if tokio::time::timeout(FLUSH_TIMEOUT, self.all_gone()).await.is_err() {
            self.order.send_replace(Order::Stop);
            let _ = tokio::time::timeout(FLUSH_TIMEOUT, self.all_gone()).await;
        }
    }

    async fn all_gone(&self) {
        let _ = self.places.acquire_many(self.max_connections).await;
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Out of descriptors, the pending connection stays pending: without a pause this would be a busy loop.
async fn recover(error: &io::Error, said: &mut Option<Instant>) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        return;
    }
    if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
        *said = Some(Instant::now());
        tracing::warn!(%error, "cannot accept connections for now");
    }
    tokio::time::sleep(EXHAUSTED_PAUSE).await;
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(MAX_H2_STREAMS)
        .max_send_buf_size(NOTSENT_LOWAT as usize)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    builder
}

fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&keepalive.with_retries(6))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    Ok(())
}

struct Connection {
    router: Router,
    order: watch::Receiver<Order>,
    place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, builder: Arc<Builder<TokioExecutor>>, socket: TcpStream, peer: SocketAddr) {
        // A peer that has already gone makes this fail; serving it will find out.
        if let Err(error) = tune(&socket) {
            tracing::debug!(%error, "cannot set a socket's options");
        }
        let Connection { router, mut order, place } = self;
        let busy = Busy::default();
        let service = {
            let busy = busy.clone();
            hyper::service::service_fn(move |request| answer(router.clone(), peer, busy.enter(), request))
        };
        let mut serving = pin!(builder.serve_connection(TokioIo::new(socket), service));
        let mut finishing = false;
        let mut look = pin!(tokio::time::sleep(HEADER_TIMEOUT));
        let mut answered = 0;
        loop {
            tokio::select! {
                _ = serving.as_mut() => break,
                // Also for what hyper has no limit of its own: a preface never finished, HTTP/2 without streams.
                () = look.as_mut() => {
                    let (idle, begun) = (busy.is_idle(), busy.begun());
                    if idle && begun == answered {
                        break;
                    }
                    answered = begun;
                    look.as_mut().reset(Instant::now() + if idle { HEADER_TIMEOUT } else { LOOK_BUSY });
                }
                Ok(()) = order.changed() => match *order.borrow_and_update() {
                    Order::Stop => break,
                    Order::Finish if !finishing => {
                        finishing = true;
                        serving.as_mut().graceful_shutdown();
                    }
                    Order::Finish | Order::Serve => {}
                },
            }
        }
        drop(place);
    }
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    at_work: AtWork,
    request: Request<Incoming>,
) -> Result<Response<Watched>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| Watched { body, _at_work: at_work }))
}

/// How many responses of a connection are under way, and how many have begun at all.
#[derive(Clone, Default)]
struct Busy(Arc<(AtomicUsize, AtomicUsize)>);

struct AtWork(Busy);

impl Busy {
    fn enter(&self) -> AtWork {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        self.0.1.fetch_add(1, Ordering::Relaxed);
        AtWork(self.clone())
    }

    fn is_idle(&self) -> bool {
        self.0.0.load(Ordering::Relaxed) == 0
    }

    fn begun(&self) -> usize {
        self.0.1.load(Ordering::Relaxed)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body by which the connection knows that it is not idle.
struct Watched {
    body: Body,
    _at_work: AtWork,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
