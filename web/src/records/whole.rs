//! A page as one document, which is made before its head is sent: only then is it known whether the page can change.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::cache::{self, Tag};
use super::memory::{HeldMemory, PageMemory};
use super::wanted::Wanted;
use super::{Page, put_headers};
use crate::end::PageEnd;
use crate::problem::{Passing, PassingCode};
use crate::registry::Registered;

/// Bytes that the body gives at a time, about what a socket takes at once.
const PIECE: usize = 64 * 1024;
/// When to ask again if slow clients hold all the memory for pages.
const RETRY_FULL: Duration = Duration::from_secs(5);

pub(super) async fn answer(
    mut page: Page,
    wanted: Wanted,
    memory: &PageMemory,
    is_public: bool,
    request: &HeaderMap,
) -> Result<Response<Body>, Passing> {
    let mut held = memory.hold();
    let end = loop {
        if memory.is_full() {
            if page.text.size() == 0 {
                page.ended = true;
                return Err(full());
            }
            break PageEnd::Size;
        }
        match page.read().await {
            None => held.set(page.text.memory()),
            Some(end) => break end,
        }
    };
    if let Some(passing) = page.stuck(end) {
        return Err(passing);
    }
    let can_be_kept = wanted.is_fixed && end.is_full() && !page.text.has_gaps();
    let tag = can_be_kept.then(|| Tag::of(page.text.written()));
    let is_known = tag.as_ref().is_some_and(|tag| tag.is_known(request));
    let registered = page.end(end);
    let mut response = Response::new(Body::empty());
    put_headers(&mut response, wanted);
    cache::put_headers(response.headers_mut(), tag.as_ref(), is_public);
    if is_known {
        page.metrics.page_not_modified();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let bytes = page.text.take();
    held.set(bytes.len());
    *response.body_mut() = Body::new(Sending { bytes, _held: held, _registered: registered });
    Ok(response)
}

fn full() -> Passing {
    let detail = "clients that read slowly hold all the memory for pages".to_owned();
    Passing::new(PassingCode::Overloaded, detail, RETRY_FULL)
}

/// The body of a whole page, piece by piece: a client that takes nothing of it holds its place.
struct Sending {
    bytes: Bytes,
    _held: HeldMemory,
    _registered: Option<Registered>,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.bytes.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
