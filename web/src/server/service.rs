//! Answers one request of a connection: calls the router, and sends a stream as the protocol requires.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use hyper::body::Incoming;
use hyper::{Request, Response};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tower::ServiceExt;

use super::activity::{ActiveResponse, CountedBody};
use super::takeover::{AttachedStream, StreamResponse, StreamTransports, TakeoverSender};
use crate::body;

/// The address at the other end of the socket. Headers like X-Forwarded-For are ignored.
#[derive(Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

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

/// `takeover`: how a stream takes the socket from hyper; `None` for HTTP/2, where the stream is a response's body.
pub(super) async fn answer(
    router: Router,
    peer: SocketAddr,
    active: ActiveResponse,
    transports: Option<StreamTransports>,
    takeover: Option<TakeoverSender>,
    turn: FirstTurn,
    request: Request<Incoming>,
) -> Result<Response<CountedBody>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(PeerAddress(peer));
    let version = request.version();
    let mut response = router.oneshot(request).await?;
    let stream = AttachedStream::detach(&mut response);
    if let (Some(stream), Some(transports)) = (stream, transports) {
        if let Some(takeover) = takeover {
            let mut head = response.into_parts().0;
            head.version = version;
            takeover.send(StreamResponse { head, stream }).await;
            // The socket no longer belongs to hyper, which must not write a response to it. The connection's task drops this
            // future.
            return pending().await;
        }
        // The router set this header for the empty body that the stream replaces.
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = body::body(stream, transports.news);
    }
    turn.end();
    Ok(response.map(|body| CountedBody { body, _active: active }))
}
