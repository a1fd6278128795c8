//! How a stream gets from the handler of its request to its writer.
//!
//! The handler attaches the stream to its response. Over HTTP/2 a writer thread has the connection already. Over HTTP/1 hyper
//! writes nothing of the response: the connection's task takes the socket back from hyper, and hands socket and stream to a
//! writer thread.

use std::sync::Arc;

use hyper::http::response;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::socket::Unsent;
use crate::attachment::Attachment;
use crate::news::News;
use crate::writer::Writers;

/// What writes streams, and the state on which they depend.
#[derive(Clone)]
pub(crate) struct StreamTransports {
    pub(crate) writers: Arc<Writers>,
    pub(crate) news: News,
    /// Whether anybody may reach the listener: then a request has one `Host`, and what is refused is counted. Probes of the
    /// operators' listener may be older than that.
    pub(crate) is_public: bool,
}

/// A response that hyper does not write: its head, and what follows.
pub(super) struct TakenResponse {
    pub(super) head: response::Parts,
    pub(super) body: Attachment,
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
