//! The accept loop: sockets become connections that hyper serves, HTTP/1.1 or HTTP/2 as the client begins.
//! Everything that a peer could leave unfinished has a time limit here.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::http::response;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::body::{self, News};
use crate::problem::Problem;
use crate::request_line;
use crate::socket::{ClientSocket, Unsent};
use crate::stream::Stream;
use crate::writer::Writers;
use crate::{access, trace};

/// A request's headers must be there in this time; an idle connection is closed after it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection with streams is looked at for having become idle.
const LOOK_BUSY: Duration = Duration::from_secs(60);
/// Request line and headers in all: ids of 1,000 partitions are 7 KiB, by header and by parameter 14, and room for cookies.
const MAX_HEAD: usize = 32 * 1024;
/// Unsent bytes that a socket takes: what is not in the kernel is read again from shared pages, not copied for each client.
const NOTSENT_LOWAT: u32 = 64 * 1024;
/// What the kernel may hold of a stream for a client that reads slowly, in bytes; Linux doubles it. Enough for 2 MB a
/// second over a way of 100 ms.
const SEND_BUFFER: usize = 256 * 1024;
/// A peer that acknowledges nothing for so long, or takes nothing, is cut: by itself TCP would send to one that has gone for
/// a quarter of an hour, and keep what it was sent. A browser comes back where it was.
#[cfg(target_os = "linux")]
const TAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// Streams of one HTTP/2 connection.
const MAX_H2_STREAMS: u32 = 256;
/// A peer that does not answer a ping in this time is gone.
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);
const H2_PING_EVERY: Duration = Duration::from_secs(30);
/// Connections that wait to be accepted: a whole fleet comes back at once after a restart.
const BACKLOG: i32 = 4096;
/// Room of the queue that is kept.
const SPARE_QUEUE: usize = 64;
/// Accepting pauses so long where descriptors or memory have run out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// A failure to accept is said at most this often.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// The pause before a preface that has come in part is looked at again.
const PREFACE_PAUSE: Duration = Duration::from_millis(10);
/// Connections whose first request is read and answered at the same time; the others are a descriptor in a queue. A fleet
/// that comes back at once then needs memory for so many, not for all of it, and what each leaves behind lies together.
const MAX_TURNS: usize = 128;
/// Who takes longer than this, by sending slowly or by asking more, does so beside the others.
const TURN: Duration = Duration::from_millis(50);
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
    /// How streams go out, if there are any.
    ways: Option<Ways>,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    max_connections: u32,
    said_full: Mutex<Option<Instant>>,
    order: watch::Sender<Order>,
}

/// A connection's place among those that there may be, as small as it gets.
pub(crate) struct Seat(Arc<Semaphore>);

impl From<OwnedSemaphorePermit> for Seat {
    fn from(permit: OwnedSemaphorePermit) -> Seat {
        let seat = Seat(Arc::clone(permit.semaphore()));
        permit.forget();
        seat
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// Ends the server's connections.
pub(crate) struct Stopper {
    places: Arc<Semaphore>,
    max_connections: u32,
    order: watch::Sender<Order>,
}

impl Server {
    /// Binds the address.
    pub(crate) fn bind(
        address: SocketAddr,
        router: Router,
        ways: Option<Ways>,
        max_connections: u32,
    ) -> io::Result<Server> {
        let listener = listen(address)?;
        Ok(Server {
            address: listener.local_addr()?,
            listener,
            router,
            ways,
            places: Arc::new(Semaphore::new(max_connections as usize)),
            turns: Arc::new(Semaphore::new(MAX_TURNS)),
            max_connections,
            said_full: Mutex::default(),
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

    /// Accepts for ever; dropping the future closes the listener, and leaves the connections to the stopper.
    pub(crate) async fn run(self) {
        let (mut waiting, mut said, mut pause) = (VecDeque::new(), None, Instant::now());
        loop {
            tokio::select! {
                accepted = self.accept(pause) => match accepted {
                    Ok(arrived) => waiting.push_back(arrived),
                    Err(error) => pause = Instant::now() + recover(&error, &mut said),
                },
                Ok(turn) = Arc::clone(&self.turns).acquire_owned(), if !waiting.is_empty() => {
                    if let Some(arrived) = waiting.pop_front() {
                        self.begin(arrived, turn);
                    }
                    if waiting.is_empty() {
                        waiting.shrink_to(SPARE_QUEUE);
                    }
                }
            }
        }
    }

    fn begin(&self, arrived: Arrived, turn: OwnedSemaphorePermit) {
        let Arrived { socket, peer, place } = arrived;
        let (router, ways, order) = (self.router.clone(), self.ways.clone(), self.order.subscribe());
        tokio::spawn(Connection { router, ways, order, place, peer }.serve(socket, turn));
    }

    /// The next one that comes after a pause, once there is a place: over the bound the rest waits in the kernel's queue,
    /// where it costs nothing. Cancel-safe.
    async fn accept(&self, pause: Instant) -> io::Result<Arrived> {
        if Instant::now() < pause {
            tokio::time::sleep_until(pause).await;
        }
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                self.say_full();
                Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?
            }
        };
        let (socket, peer) = self.listener.accept().await?;
        // What waits is not polled: that takes memory of its own.
        Ok(Arrived { socket: socket.into_std()?, peer, place })
    }

    fn say_full(&self) {
        let mut said = self.said_full.lock();
        if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(
                connections = self.max_connections,
                "as many connections as there may be; whoever comes waits for a place"
            );
        }
    }
}

/// A connection that waits for its turn.
struct Arrived {
    socket: std::net::TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
}

impl Stopper {
    /// Lets responses under way be written, for a moment.
    pub(crate) async fn finish(&self) {
        self.order.send_replace(Order::Finish);
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, self.all_gone()).await;
    }

    /// Closes what is left.
    pub(crate) async fn stop(&self) {
        self.order.send_replace(Order::Stop);
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, self.all_gone()).await;
    }

    async fn all_gone(&self) {
        let _ = self.places.acquire_many(self.max_connections).await;
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Linux gives what it accepts the options of the listener: eight calls less for each of a fleet.
    #[cfg(target_os = "linux")]
    tune(SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// How long to accept nothing: out of descriptors, the pending connection stays pending, and this would be a busy loop.
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

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD);
    builder
}

fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(MAX_H2_STREAMS)
        .max_send_buf_size(NOTSENT_LOWAT as usize)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    builder
}

/// Sets what every connection is to have.
fn tune(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&keepalive.with_retries(6))?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
        socket.set_tcp_user_timeout(Some(TAKE_TIMEOUT))?;
    }
    Ok(())
}

/// A stream that is to go out, within the response that opens it.
#[derive(Clone)]
pub(crate) struct Handover(Arc<Mutex<Option<Stream>>>);

impl Handover {
    pub(crate) fn of(stream: Stream) -> Handover {
        Handover(Arc::new(Mutex::new(Some(stream))))
    }
}

/// A stream that leaves hyper: the head of its response, and what comes after.
struct Leaving {
    head: response::Parts,
    stream: Stream,
}

/// The ways out of the server's streams.
#[derive(Clone)]
pub(crate) struct Ways {
    pub(crate) writers: Arc<Writers>,
    pub(crate) news: News,
}

/// The way by which a stream leaves a connection.
#[derive(Clone)]
struct Leave {
    sender: Arc<Mutex<Option<oneshot::Sender<Leaving>>>>,
    unsent: Unsent,
}

impl Leave {
    /// Hands the connection over. Never ends: it is not hyper's any more.
    async fn with(&self, leaving: Leaving) -> Infallible {
        // Responses that were asked for in one go, and are in hyper's hands, go first.
        self.unsent.sent().await;
        if let Some(sender) = self.sender.lock().take() {
            // Fails where the connection has gone, and the stream goes with it.
            let _ = sender.send(leaving);
        }
        pending().await
    }
}

struct Connection {
    router: Router,
    ways: Option<Ways>,
    order: watch::Receiver<Order>,
    place: OwnedSemaphorePermit,
    peer: SocketAddr,
}

impl Connection {
    async fn serve(self, socket: std::net::TcpStream, turn: OwnedSemaphorePermit) {
        let mut serving = Box::pin(self.serve_any(socket));
        if tokio::time::timeout(TURN, serving.as_mut()).await.is_err() {
            drop(turn);
            serving.await;
        }
    }

    async fn serve_any(self, socket: std::net::TcpStream) {
        let socket = match TcpStream::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => return tracing::warn!(%error, "a connection cannot be polled"),
        };
        // A peer that has already gone makes this fail; serving it will find out.
        #[cfg(not(target_os = "linux"))]
        if let Err(error) = tune(SockRef::from(&socket)) {
            tracing::debug!(%error, "cannot set a socket's options");
        }
        match tokio::time::timeout(HEADER_TIMEOUT, speaks_http2(&socket)).await {
            Ok(Ok(true)) => self.serve_http2(socket).await,
            Ok(Ok(false)) => match request_line::flaw(&socket) {
                None => self.serve_http1(socket).await,
                Some(detail) => self.refuse(socket, detail).await,
            },
            // It said nothing, or has gone.
            Ok(Err(_)) | Err(_) => {}
        }
    }

    /// A request that hyper would not read.
    async fn refuse(self, socket: TcpStream, detail: String) {
        let trace_id = trace::fresh();
        let problem = Problem::RequestLine { detail };
        if let Some(ways) = &self.ways {
            ways.news.metrics.refused(problem.code());
        }
        access::refused(problem.code(), &problem.detail(), "", self.peer.ip(), trace_id);
        let answered = request_line::answer(socket, problem.response(trace_id));
        // Who does not take it loses it.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, answered).await;
    }

    async fn serve_http2(mut self, socket: TcpStream) {
        let (busy, router, ways, peer) = (Busy::default(), self.router.clone(), self.ways.clone(), self.peer);
        let service = {
            let busy = busy.clone();
            service_fn(move |request| answer(router.clone(), peer, busy.enter(), ways.clone(), None, request))
        };
        let mut serving = pin!(http2_builder().serve_connection(TokioIo::new(socket), service));
        self.watch(serving.as_mut(), &busy, |serving| serving.graceful_shutdown(), pending()).await;
    }

    async fn serve_http1(mut self, socket: TcpStream) {
        let (busy, router, ways, peer) = (Busy::default(), self.router.clone(), self.ways.clone(), self.peer);
        let (leave, leaving) = oneshot::channel();
        let unsent = Unsent::default();
        let leave = Leave { sender: Arc::new(Mutex::new(Some(leave))), unsent: unsent.clone() };
        let service = {
            let busy = busy.clone();
            service_fn(move |request| {
                answer(router.clone(), peer, busy.enter(), ways.clone(), Some(leave.clone()), request)
            })
        };
        let mut serving =
            http1_builder().serve_connection(TokioIo::new(ClientSocket::new(socket, unsent)), service);
        let leaving = async { leaving.await.ok() };
        let shutdown = |serving: Pin<&mut _>| Http1::graceful_shutdown(serving);
        let Some(leaving) = self.watch(Pin::new(&mut serving), &busy, shutdown, leaving).await else {
            return;
        };
        // The response that was to come has not begun, and those before it are sent. What the client sent after its request
        // goes with the rest: a stream is a connection's last response.
        let socket = serving.into_parts().io.into_inner().into_inner();
        if let Some(ways) = self.ways {
            ways.writers.take(socket, leaving.head, leaving.stream, self.place.into());
        }
    }

    /// Drives the connection to its end, or until a stream leaves it.
    async fn watch<S: Future>(
        &mut self,
        mut serving: Pin<&mut S>,
        busy: &Busy,
        shutdown: impl Fn(Pin<&mut S>),
        leaving: impl Future<Output = Option<Leaving>>,
    ) -> Option<Leaving> {
        let mut leaving = pin!(leaving);
        let mut finishing = false;
        let mut look = pin!(tokio::time::sleep(HEADER_TIMEOUT));
        let mut answered = 0;
        loop {
            tokio::select! {
                _ = serving.as_mut() => return None,
                left = leaving.as_mut() => return left,
                // Also for what hyper has no limit of its own: a preface never finished, HTTP/2 without streams.
                () = look.as_mut() => {
                    let (idle, begun) = (busy.is_idle(), busy.begun());
                    if idle && begun == answered {
                        return None;
                    }
                    answered = begun;
                    look.as_mut().reset(Instant::now() + if idle { HEADER_TIMEOUT } else { LOOK_BUSY });
                }
                Ok(()) = self.order.changed() => match *self.order.borrow_and_update() {
                    Order::Stop => return None,
                    Order::Finish if !finishing => {
                        finishing = true;
                        shutdown(serving.as_mut());
                    }
                    Order::Finish | Order::Serve => {}
                },
            }
        }
    }
}

type Http1<S> = http1::Connection<TokioIo<ClientSocket>, S>;

/// Whether the client begins with HTTP/2's preface (RFC 9113, section 3.4): no method of HTTP/1.1 begins so.
async fn speaks_http2(socket: &TcpStream) -> io::Result<bool> {
    let mut begin = [0; 3];
    loop {
        match socket.peek(&mut begin).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            3 => return Ok(begin == *b"PRI"),
            n if begin[..n] != b"PRI"[..n] => return Ok(false),
            // A part of it; the rest does not show as readiness.
            _ => tokio::time::sleep(PREFACE_PAUSE).await,
        }
    }
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    at_work: AtWork,
    ways: Option<Ways>,
    leave: Option<Leave>,
    request: Request<Incoming>,
) -> Result<Response<Watched>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let version = request.version();
    let mut response = router.oneshot(request).await?;
    let stream = response.extensions_mut().remove::<Handover>().and_then(|handover| handover.0.lock().take());
    if let (Some(stream), Some(ways)) = (stream, ways) {
        if let Some(leave) = leave {
            let mut head = response.into_parts().0;
            head.version = version;
            match leave.with(Leaving { head, stream }).await {}
        }
        // Said by the router of the empty body that stood for this one.
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = body::body(stream, ways.news);
    }
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn what_is_accepted_has_the_options_that_the_listener_was_given() {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&socket);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 6);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(TAKE_TIMEOUT));
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT);
        assert!(socket.send_buffer_size().unwrap() >= SEND_BUFFER);
    }
}
