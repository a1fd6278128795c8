//! What a handler attaches to its response in place of a body: the server takes it out, and has it written as the protocol of the
//! connection demands.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::stream::Stream;

/// What follows the head of a response in place of a body.
pub(crate) enum Attachment {
    Stream(Box<Stream>),
    /// These bytes, and then the end of the connection.
    Last(Bytes),
}

/// The body of a response among its extensions.
#[derive(Clone)]
pub(crate) struct Attached(Arc<Mutex<Option<Attachment>>>);

impl Attached {
    pub(crate) fn stream(stream: Stream) -> Attached {
        Attached::of(Attachment::Stream(Box::new(stream)))
    }

    /// For a WebSocket that is closed after these bytes.
    pub(crate) fn last(bytes: Bytes) -> Attached {
        Attached::of(Attachment::Last(bytes))
    }

    fn of(body: Attachment) -> Attached {
        // Extensions must be `Clone`, which a stream is not.
        Attached(Arc::new(Mutex::new(Some(body))))
    }

    /// Takes the body out of the response.
    pub(crate) fn detach<B>(response: &mut hyper::Response<B>) -> Option<Attachment> {
        response.extensions_mut().remove::<Attached>()?.0.lock().take()
    }
}
