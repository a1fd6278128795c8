//! Counts a connection's responses under way: a connection that has had none for a while is idle, and is closed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Counts the responses of one connection.
#[derive(Clone, Default)]
pub(super) struct ResponseCounter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    /// Responses under way.
    active: AtomicUsize,
    /// All responses that have begun.
    begun: AtomicUsize,
}

/// A response that counts as under way until this value is dropped.
pub(super) struct ActiveResponse(ResponseCounter);

impl ResponseCounter {
    pub(super) fn begin(&self) -> ActiveResponse {
        self.0.active.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        ActiveResponse(self.clone())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.0.active.load(Ordering::Relaxed) == 0
    }

    pub(super) fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
    }
}

impl Drop for ActiveResponse {
    fn drop(&mut self) {
        self.0.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body whose response counts as under way until hyper drops it.
pub(super) struct CountedBody {
    pub(super) body: Body,
    pub(super) _active: ActiveResponse,
}

impl http_body::Body for CountedBody {
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
