//! How a stream gets from the handler of its request to its writer.
//!
//! The handler attaches the stream to its response. Over HTTP/2 the stream becomes the body of that response. Over HTTP/1 hyper
//! writes nothing of the response: the connection's task takes the socket back from hyper, and hands socket and stream to a
//! writer thread.

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::response;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::socket::Unsent;
use crate::body::News;
use crate::stream::Stream;
use crate::writer::Writers;

/// What writes streams: the threads for HTTP/1, and the state that a response's body needs for HTTP/2.
#[derive(Clone)]
pub(crate) struct StreamTransports {
    pub(crate) writers: Arc<Writers>,
    pub(crate) news: News,
}

/// What follows the head of a response that hyper does not write.
pub(crate) enum Body {
    Stream(Box<Stream>),
    /// These bytes, and then the end of the connection.
    Last(Bytes),
}

/// The body of a response among its extensions.
#[derive(Clone)]
pub(crate) struct Attached(Arc<Mutex<Option<Body>>>);

impl Attached {
    pub(crate) fn stream(stream: Stream) -> Attached {
        Attached::of(Body::Stream(Box::new(stream)))
    }

    /// For a WebSocket that is closed after these bytes.
    pub(crate) fn last(bytes: Bytes) -> Attached {
        Attached::of(Body::Last(bytes))
    }

    fn of(body: Body) -> Attached {
        // Extensions must be `Clone`, which a stream is not.
        Attached(Arc::new(Mutex::new(Some(body))))
    }

    /// Takes the body out of the response.
    pub(super) fn detach<B>(response: &mut hyper::Response<B>) -> Option<Body> {
        response.extensions_mut().remove::<Attached>()?.0.lock().take()
    }
}

/// A response that hyper does not write: its head, and what follows.
pub(super) struct TakenResponse {
    pub(super) head: response::Parts,
    pub(super) body: Body,
}

/// With this, the service of an HTTP/1 connection has the connection's task take the socket back from hyper.
#[derive(Clone)]
pub(super) struct TakeoverSender {
    /// A connection is taken over once.
    sender: Arc<Mutex<Option<oneshot::Sender<TakenResponse>>>>,
    unsent: Unsent,
}

impl TakeoverSender {
    /// `unsent` records whether hyper still has something to write.
    pub(super) fn new(unsent: Unsent) -> (TakeoverSender, oneshot::Receiver<TakenResponse>) {
        let (sender, receiver) = oneshot::channel();
        (TakeoverSender { sender: Arc::new(Mutex::new(Some(sender))), unsent }, receiver)
    }

    /// Has the connection taken over. From then on, hyper's connection is not polled any more.
    pub(super) async fn send(&self, response: TakenResponse) {
        // Responses to pipelined requests, which hyper still has in its buffer, are sent first.
        self.unsent.sent().await;
        if let Some(sender) = self.sender.lock().take() {
            // Fails if the connection is closed; then the stream is dropped.
            let _ = sender.send(response);
        }
    }
}
