//! One connection: depending on the client's first bytes or on what TLS has agreed upon, a writer thread serves it with HTTP/2, or
//! hyper with HTTP/1.1, until it ends or a stream takes its socket. Everything that a peer can leave unfinished has a timeout here.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::activity::ResponseCounter;
use super::first_bytes::MAX_HEAD;
use super::handshake::Handshakes;
use super::opening::{self, HEADER_TIMEOUT, Opened};
use super::proxy_header::{self, Refused};
use super::request_line;
use super::service::{self, FIRST_REQUEST_TIME, FirstTurn, answer};
use super::shutdown::{FLUSH_TIMEOUT, ShutdownSignal};
use super::socket::{Client, ClientSocket, Unsent};
use super::takeover::{StreamTransports, TakenResponse, TakeoverSender};
use crate::attachment::Attachment;
use crate::audit::{self, Who};
use crate::peer::Nearest;
use crate::problem::Problem;
use crate::{metrics, trace};

/// How often a connection with streams is checked for being idle.
const LOOK_BUSY: Duration = Duration::from_secs(60);
/// The code of a request that cannot be read.
const UNREADABLE: &str = "bad_request";

pub(super) struct Connection {
    pub(super) router: Router,
    pub(super) transports: StreamTransports,
    /// Where the listener speaks TLS.
    pub(super) handshakes: Option<Handshakes>,
    pub(super) first_requests: Arc<Semaphore>,
    pub(super) signal: watch::Receiver<ShutdownSignal>,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) nearest: Nearest,
}

impl Connection {
    /// Serves the connection to its end. `turn`: the permit for a first request, where one is known to have come; otherwise the
    /// connection takes one once its request has come. It is given back as soon as the first request is answered, or takes too
    /// long.
    pub(super) async fn serve(mut self, socket: std::net::TcpStream, turn: Option<OwnedSemaphorePermit>) {
        let mut socket = match TcpStream::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => return tracing::warn!(%error, "a connection cannot be polled"),
        };
        // Fails if the peer has already closed the connection; serving it will show that.
        #[cfg(not(target_os = "linux"))]
        if let Err(error) = super::socket_options::set_options(socket2::SockRef::from(&socket)) {
            tracing::debug!(%error, "cannot set a socket's options");
        }
        // It comes before the client's first byte, and is never encrypted.
        if self.nearest.sends_header() {
            match proxy_header::take(&mut socket).await {
                Ok(source) => self.nearest = self.nearest.after(source),
                Err(refused) => return self.refuse_header(&refused),
            }
        }
        let Some(opened) = Box::pin(self.open(socket, turn.is_some())).await else { return };
        let turn = match turn {
            Some(turn) => turn,
            None => match Arc::clone(&self.first_requests).acquire_owned().await {
                Ok(turn) => turn,
                Err(_) => return,
            },
        };
        let turn = FirstTurn::new(turn);
        let mut serving = Box::pin(self.serve_opened(opened, turn.clone()));
        if tokio::time::timeout(FIRST_REQUEST_TIME, serving.as_mut()).await.is_err() {
            turn.end();
            serving.await;
        }
    }

    /// Waits for the first request. `None`: the connection is over, or the process stops.
    async fn open(&mut self, socket: TcpStream, has_come: bool) -> Option<Opened> {
        let opening = async {
            match &self.handshakes {
                Some(handshakes) => opening::open_tls(socket, self.nearest.ip(), handshakes).await,
                None => opening::open_plain(socket, has_come).await,
            }
        };
        tokio::select! {
            opened = opening => opened,
            _ = self.signal.wait_for(|signal| *signal != ShutdownSignal::None) => None,
        }
    }

    async fn serve_opened(self, opened: Opened, turn: FirstTurn) {
        let Opened { client, is_http2, flaw } = opened;
        if let Some(detail) = flaw {
            return self.refuse(client, detail).await;
        }
        if !is_http2 {
            return self.serve_http1(client, turn).await;
        }
        // The client may still wait before it asks for anything.
        turn.end();
        self.serve_http2(client);
    }

    /// Answers a request that hyper would not parse.
    async fn refuse(self, client: Client, detail: String) {
        let trace_id = trace::fresh();
        let problem = Problem::RequestLine { detail };
        if self.transports.is_public {
            self.transports.news.metrics.refused(problem.code());
        }
        audit::refused(&Who::new(self.nearest.ip(), trace_id), problem.code(), &problem.detail(), "");
        let answered = request_line::answer(client, problem.response(trace_id));
        // A client that does not read the response in time does not get it.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, answered).await;
    }

    /// Counts a request that hyper could not read, and has answered itself.
    fn note_unread(&self, error: &hyper::Error) {
        if !error.is_parse() || !self.transports.is_public {
            return;
        }
        self.transports.news.metrics.refused(UNREADABLE);
        audit::refused(&Who::new(self.nearest.ip(), trace::fresh()), UNREADABLE, &error.to_string(), "");
    }

    /// Closes a connection without a header of the PROXY protocol. Nothing is answered: nobody knows what the balancer speaks.
    fn refuse_header(self, refused: &Refused) {
        let Some(reason) = refused.reason() else { return };
        metrics::proxy_header_refused(reason);
        let who = Who::new(self.nearest.ip(), trace::fresh());
        audit::refused(&who, "proxy_header", &refused.to_string(), "");
    }

    /// Gives the connection to a writer thread, which serves it to its end.
    fn serve_http2(self, mut client: Client) {
        let begin = match client.take_read() {
            Ok(begin) => begin,
            Err(error) => return tracing::debug!(%error, "an HTTP/2 connection cannot be read"),
        };
        let service = service::of_http2(self.router, self.nearest, self.first_requests);
        self.transports.writers.serve(client.into_parts(), begin, service, self.permit.into());
    }

    async fn serve_http1(mut self, client: Client, turn: FirstTurn) {
        let (router, transports, nearest) =
            (self.router.clone(), self.transports.clone(), self.nearest.clone());
        let (responses, unsent) = (ResponseCounter::default(), Unsent::default());
        let (takeover, taken_over) = TakeoverSender::new(unsent.clone());
        let service = {
            let responses = responses.clone();
            service_fn(move |request| {
                let (transports, takeover) = (transports.clone(), takeover.clone());
                answer(
                    router.clone(),
                    nearest.clone(),
                    responses.begin(),
                    transports,
                    takeover,
                    turn.clone(),
                    request,
                )
            })
        };
        let mut serving =
            http1_builder().serve_connection(TokioIo::new(ClientSocket::new(client, unsent)), service);
        let taken_over = async { taken_over.await.ok() };
        let shutdown = |serving: Pin<&mut _>| Http1::graceful_shutdown(serving);
        let taken_over = self.drive(Pin::new(&mut serving), &responses, shutdown, taken_over).await;
        let Some(TakenResponse { head, body }) = taken_over else { return };
        // The response has not begun, and the responses before it are sent. What the client sent after its request is dropped with
        // hyper's buffers: this is the connection's last response.
        let client = serving.into_parts().io.into_inner().into_inner();
        match body {
            Attachment::Stream(stream) => {
                self.transports.writers.take(client.into_parts(), head, *stream, self.permit.into());
            }
            Attachment::Last(bytes) => {
                // A client that does not read the response in time does not get it.
                let _ =
                    tokio::time::timeout(FLUSH_TIMEOUT, request_line::say_last(client, &head, &bytes)).await;
            }
        }
    }

    /// Drives the connection to its end, or until a stream takes it over.
    async fn drive<S: Future<Output = hyper::Result<()>>>(
        &mut self,
        mut serving: Pin<&mut S>,
        responses: &ResponseCounter,
        shutdown: impl Fn(Pin<&mut S>),
        taken_over: impl Future<Output = Option<TakenResponse>>,
    ) -> Option<TakenResponse> {
        let mut taken_over = pin!(taken_over);
        let mut finishing = false;
        let mut look = pin!(tokio::time::sleep(HEADER_TIMEOUT));
        let mut answered = 0;
        loop {
            tokio::select! {
                ended = serving.as_mut() => {
                    if let Err(error) = ended {
                        self.note_unread(&error);
                    }
                    return None;
                }
                response = taken_over.as_mut() => return response,
                // Also covers what hyper has no timeout for.
                () = look.as_mut() => {
                    let (idle, begun) = (responses.is_idle(), responses.begun());
                    if idle && begun == answered {
                        return None;
                    }
                    answered = begun;
                    look.as_mut().reset(Instant::now() + if idle { HEADER_TIMEOUT } else { LOOK_BUSY });
                }
                Ok(()) = self.signal.changed() => match *self.signal.borrow_and_update() {
                    ShutdownSignal::Immediate => return None,
                    ShutdownSignal::Graceful if !finishing => {
                        finishing = true;
                        shutdown(serving.as_mut());
                    }
                    ShutdownSignal::Graceful | ShutdownSignal::None => {}
                },
            }
        }
    }
}

type Http1<S> = http1::Connection<TokioIo<ClientSocket>, S>;

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The most headers are hyper's default, 100: set explicitly, even to the same number, each request would allocate for them.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        // The buffer bounds only a head that comes in parts: one that comes at once could be almost twice as large.
        .max_header_size(MAX_HEAD);
    builder
}
