//! A page as JSON a line, which is sent as it is read: it takes the memory of one read, and of what its last line has. What comes
//! after the head cannot be refused any more, and nobody keeps it.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response};
use bytes::Bytes;
use futures::stream::unfold;

use super::wanted::Wanted;
use super::{Page, cache, put_headers};
use crate::end::PageEnd;
use crate::problem::Passing;
use crate::registry::Registered;

pub(super) async fn answer(mut page: Page, wanted: Wanted) -> Result<Response<Body>, Passing> {
    // Until something has come, the answer may still be another one.
    let mut end = None;
    while end.is_none() && page.text.written().is_empty() {
        end = page.read().await;
    }
    if let Some(passing) = end.and_then(|end| page.stuck(end)) {
        return Err(passing);
    }
    let lines = Lines { page, end, registered: None };
    let body = Body::from_stream(unfold(lines, |mut lines| async move {
        lines.next().await.map(|bytes| (Ok::<_, Infallible>(bytes), lines))
    }));
    let mut response = Response::new(body);
    put_headers(&mut response, wanted);
    cache::put_headers(response.headers_mut(), None, false);
    // As for streams: nginx keeps answers back otherwise.
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// The body of a page in lines.
struct Lines {
    page: Page,
    /// Where it ends, once that is known.
    end: Option<PageEnd>,
    /// `Some`: the end is written, and counts as a stream until it is sent.
    registered: Option<Registered>,
}

impl Lines {
    /// The lines that are read next; `None` after the last one.
    async fn next(&mut self) -> Option<Bytes> {
        while self.end.is_none() && self.page.text.written().is_empty() {
            self.end = self.page.read().await;
        }
        if let (Some(end), None) = (self.end, &self.registered) {
            self.registered = self.page.end(end);
        }
        Some(self.page.take()).filter(|bytes| !bytes.is_empty())
    }
}
