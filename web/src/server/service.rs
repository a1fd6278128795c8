//! Answers one request of a connection: asks the router, and sends a stream the way that the protocol has for it.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tower::ServiceExt;

use super::activity::{ActiveResponse, CountedBody};
use super::takeover::{AttachedStream, StreamResponse, StreamTransports, TakeoverSender};
use crate::body;

/// Who is at the other end of the socket. Headers like X-Forwarded-For are not believed.
#[derive(Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

/// `takeover`: how a stream leaves the connection; `None` where it is a response's body, which is HTTP/2.
pub(super) async fn answer(
    router: Router,
    peer: SocketAddr,
    active: ActiveResponse,
    transports: Option<StreamTransports>,
    takeover: Option<TakeoverSender>,
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
            // The socket is no longer hyper's, which must get no response to write. The connection's task drops this future.
            return pending().await;
        }
        // Said by the router of the empty body that stood for this one.
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = body::body(stream, transports.news);
    }
    Ok(response.map(|body| CountedBody { body, _active: active }))
}
