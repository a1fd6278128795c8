//! How a stream gets from the handler of its request to its writer.
//!
//! The handler attaches the stream to its response. Over HTTP/2 the stream becomes the body of that response. Over HTTP/1 hyper
//! writes nothing of the response: the connection's task takes the socket back from hyper, and hands socket and stream to a
//! writer thread.

use std::sync::Arc;

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

/// A stream among the extensions of the response that opens it.
#[derive(Clone)]
pub(crate) struct AttachedStream(Arc<Mutex<Option<Stream>>>);

impl AttachedStream {
    pub(crate) fn new(stream: Stream) -> AttachedStream {
        // Extensions must be `Clone`, which a stream is not.
        AttachedStream(Arc::new(Mutex::new(Some(stream))))
    }

    /// Takes the stream out of the response.
    pub(super) fn detach<B>(response: &mut hyper::Response<B>) -> Option<Stream> {
        response.extensions_mut().remove::<AttachedStream>()?.0.lock().take()
    }
}

/// A response that hyper does not write: its head, and the stream that follows.
pub(super) struct StreamResponse {
    pub(super) head: response::Parts,
    pub(super) stream: Stream,
}

/// With this, the service of an HTTP/1 connection has the connection's task take the socket back from hyper.
#[derive(Clone)]
pub(super) struct TakeoverSender {
    /// A connection is taken over once.
    sender: Arc<Mutex<Option<oneshot::Sender<StreamResponse>>>>,
    unsent: Unsent,
}

impl TakeoverSender {
    /// `unsent` records whether hyper still has something to write.
    pub(super) fn new(unsent: Unsent) -> (TakeoverSender, oneshot::Receiver<StreamResponse>) {
        let (sender, receiver) = oneshot::channel();
        (TakeoverSender { sender: Arc::new(Mutex::new(Some(sender))), unsent }, receiver)
    }

    /// Has the connection taken over. From then on, hyper's connection is not polled any more.
    pub(super) async fn send(&self, response: StreamResponse) {
        // Responses to pipelined requests, which hyper still has in its buffer, are sent first.
        self.unsent.sent().await;
        if let Some(sender) = self.sender.lock().take() {
            // Fails if the connection is closed; then the stream is dropped.
            let _ = sender.send(response);
        }
    }
}
