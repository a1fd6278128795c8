//! A page as one document, which is made before its head is sent: only then is it known whether the page can change.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::cache::{self, Tag};
use super::wanted::Wanted;
use super::{Page, put_headers};
use crate::problem::Passing;
use crate::registry::Registered;

/// Bytes that the body gives at a time, about what a socket takes at once.
const PIECE: usize = 64 * 1024;

pub(super) async fn answer(
    mut page: Page,
    wanted: Wanted,
    is_public: bool,
    request: &HeaderMap,
) -> Result<Response<Body>, Passing> {
    let end = loop {
        if let Some(end) = page.read().await {
            break end;
        }
    };
    if let Some(passing) = page.stuck(end) {
        return Err(passing);
    }
    let can_be_kept = wanted.is_fixed && end.is_full() && !page.text.has_gaps();
    let tag = can_be_kept.then(|| Tag::of(page.text.content()));
    let is_known = tag.as_ref().is_some_and(|tag| tag.is_known(request));
    let registered = page.end(end);
    let mut response = Response::new(Body::empty());
    put_headers(&mut response, wanted);
    let is_public = is_public && !cache::is_personal(request);
    cache::put_headers(response.headers_mut(), tag.as_ref(), is_public);
    if is_known {
        page.metrics.page_not_modified();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let bytes = page.take();
    *response.body_mut() = Body::new(Sending { bytes, _page: page, _registered: registered });
    Ok(response)
}

/// The body of a whole page, piece by piece: a client that takes nothing of it holds its place.
struct Sending {
    bytes: Bytes,
    /// Holds the memory.
    _page: Page,
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
