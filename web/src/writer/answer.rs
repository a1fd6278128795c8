//! Answers a request of an HTTP/2 connection: its service runs as a task of the runtime, and the response comes back to the
//! writer thread by its inbox, piece by piece as the client takes it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, Request, Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use super::inbox::Inbox;
use crate::attachment::{Attached, Attachment};
use crate::end::End;
use crate::http2;
use crate::moment::Moment;
use crate::news::News;
use crate::stream::Stream;

/// What answers the requests of a connection.
pub(crate) type Service = Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// A part of a response.
pub(super) enum Answer {
    /// A stream of events, with its head.
    Stream(Bytes, Box<Stream>),
    /// The head of another response, and whether it has nothing else.
    Head(Bytes, bool),
    /// A piece of its body; the sender is used once the client has taken it.
    Piece(Bytes, oneshot::Sender<()>),
    /// The end of its body.
    End,
    /// There is no response, or no more of it.
    Broken,
}

/// A part of the response for one stream of a connection.
pub(super) struct Letter {
    pub(super) connection: u32,
    pub(super) serial: u32,
    pub(super) number: u32,
    pub(super) answer: Answer,
}

/// Where the parts of a response go. If it is dropped before the last one, the stream is reset.
pub(super) struct Mailbox {
    pub(super) inbox: Arc<Inbox>,
    pub(super) connection: u32,
    pub(super) serial: u32,
    pub(super) number: u32,
    pub(super) news: News,
    pub(super) is_done: bool,
}

impl Mailbox {
    fn post(&self, answer: Answer) {
        let Mailbox { connection, serial, number, .. } = *self;
        let letter = Letter { connection, serial, number, answer };
        // The thread has stopped.
        if let Some(Letter { answer: Answer::Stream(_, stream), .. }) = self.inbox.answer(letter) {
            stream.closed(End::Client, &self.news.world_at(Moment::now()));
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if !self.is_done {
            self.post(Answer::Broken);
        }
    }
}

/// Answers the request.
pub(super) async fn answer(service: Service, request: Request<()>, mut mailbox: Mailbox) {
    let is_head = request.method() == Method::HEAD;
    let mut response = service(request.map(|()| Body::empty())).await;
    let attached = Attached::detach(&mut response);
    let (mut head, mut body) = response.into_parts();
    if attached.is_some() {
        // The router set it for the empty body that is replaced.
        head.headers.remove(CONTENT_LENGTH);
    }
    let block = http2::encode_head(&head);
    match attached {
        Some(Attachment::Stream(stream)) => {
            mailbox.is_done = true;
            return mailbox.post(Answer::Stream(block, stream));
        }
        Some(Attachment::Last(bytes)) => body = Body::from(bytes),
        None => {}
    }
    mailbox.is_done = is_head || body.is_end_stream();
    mailbox.post(Answer::Head(block, mailbox.is_done));
    while !mailbox.is_done {
        let piece = match body.frame().await {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => return,
            None => break,
        };
        let (sender, taken) = oneshot::channel();
        mailbox.post(Answer::Piece(piece, sender));
        if taken.await.is_err() {
            // The stream has gone.
            mailbox.is_done = true;
            return;
        }
    }
    if !std::mem::replace(&mut mailbox.is_done, true) {
        mailbox.post(Answer::End);
    }
}
