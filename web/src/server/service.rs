//! Answers one request of a connection: calls the router, and sends a stream as the protocol requires.

use std::convert::Infallible;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Version};
use hyper::body::Incoming;
use hyper::{Request, Response};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;

use super::activity::{ActiveResponse, CountedBody};
use super::takeover::{StreamTransports, TakenResponse, TakeoverSender};
use crate::attachment::Attached;
use crate::audit::{self, Who};
use crate::peer::{Ignored, Nearest, PeerAddress};
use crate::problem::Problem;
use crate::writer::Service;
use crate::{metrics, trace};

/// Headers that disagree are logged at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// A first request that takes longer than this to be answered gives its turn to the next one.
pub(super) const FIRST_REQUEST_TIME: Duration = Duration::from_millis(50);

/// The turn of a connection's first request, while there is one.
#[derive(Clone)]
pub(super) struct FirstTurn(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl FirstTurn {
    pub(super) fn new(turn: OwnedSemaphorePermit) -> FirstTurn {
        FirstTurn(Arc::new(Mutex::new(Some(turn))))
    }

    /// Gives the turn to the next connection.
    pub(super) fn end(&self) {
        self.0.lock().take();
    }
}

/// What answers the requests of an HTTP/2 connection. Each takes a turn among first requests, since a connection may bring
/// hundreds at once; it is given back as soon as the request is answered, or takes too long.
pub(super) fn of_http2(router: Router, nearest: Nearest, turns: Arc<Semaphore>) -> Service {
    Arc::new(move |request| {
        let (router, peer, turns) = (router.clone(), peer(&nearest, request.headers()), Arc::clone(&turns));
        Box::pin(async move {
            let turn = turns.acquire().await;
            let mut response = pin!(respond(router, peer, request));
            if let Ok(response) = timeout(FIRST_REQUEST_TIME, response.as_mut()).await {
                return response;
            }
            drop(turn);
            response.await
        })
    })
}

/// What the router answers a client with this address.
async fn respond(router: Router, peer: SocketAddr, mut request: Request<Body>) -> Response<Body> {
    request.extensions_mut().insert(PeerAddress(peer));
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Answers a request of an HTTP/1 connection. `takeover`: how a stream takes the socket from hyper.
pub(super) async fn answer(
    router: Router,
    nearest: Nearest,
    active: ActiveResponse,
    transports: StreamTransports,
    takeover: TakeoverSender,
    turn: FirstTurn,
    request: Request<Incoming>,
) -> Result<Response<CountedBody>, Infallible> {
    let request = request.map(Body::new);
    let peer = peer(&nearest, request.headers());
    if let Some(detail) = host_flaw(&request).filter(|_| transports.is_public) {
        turn.end();
        let response = refuse(peer, detail, &transports);
        return Ok(response.map(|body| CountedBody { body, _active: active }));
    }
    // Bodies are ignored here, so where one ends matters only for what comes after it. Proxies disagree about that where there are
    // odd codings (RFC 9112, section 6.1): nothing comes after it.
    let is_last = request.headers().contains_key(TRANSFER_ENCODING);
    let version = request.version();
    let mut response = respond(router, peer, request).await;
    if let Some(attached) = Attached::detach(&mut response) {
        let mut head = response.into_parts().0;
        head.version = version;
        takeover.send(TakenResponse { head, body: attached }).await;
        // The socket no longer belongs to hyper, which must not write a response to it. The connection's task drops this
        // future.
        return pending().await;
    }
    if is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    turn.end();
    Ok(response.map(|body| CountedBody { body, _active: active }))
}

/// What is wrong with the request's `Host` (RFC 9112, section 3.2): a proxy may go by another one of two than the server.
fn host_flaw<B>(request: &Request<B>) -> Option<&'static str> {
    match request.headers().get_all(HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => Some("a request of HTTP/1.1 has a Host header"),
        0 | 1 => None,
        _ => Some("the request has more than one Host header"),
    }
}

/// The answer to a request that no handler gets, and the last one of its connection.
fn refuse(peer: SocketAddr, detail: &'static str, transports: &StreamTransports) -> Response<Body> {
    let trace_id = trace::fresh();
    let problem = Problem::RequestLine { detail: detail.to_owned() };
    transports.news.metrics.refused(problem.code());
    audit::refused(&Who::new(peer.ip(), trace_id), problem.code(), detail, "");
    let mut response = problem.response(trace_id);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The client's address, from the request's headers where a trusted proxy wrote them.
fn peer(nearest: &Nearest, headers: &HeaderMap) -> SocketAddr {
    let report = nearest.peer(headers);
    if let Some(ignored) = report.ignored {
        metrics::forwarded_ignored(ignored);
        if ignored == Ignored::Conflict {
            say_conflict(nearest.ip());
        }
    }
    report.address
}

/// For the operator, who can end it.
fn say_conflict(proxy: IpAddr) {
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    let mut said = SAID.lock();
    if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
        *said = Some(Instant::now());
        tracing::warn!(
            %proxy,
            "Forwarded and X-Forwarded-For disagree, and neither is believed: let the proxy remove the one that it does not \
             write, or name the one that it writes in TAILRACE_FORWARDED_HEADER"
        );
    }
}
