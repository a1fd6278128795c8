//! Pages: the records of a tenant by request and response, with the same cursor as streams.
//!
//! A page has a subscription of its own for as long as it is made, and counts as a stream until it is sent. [`wanted`] is what
//! the request says of it, [`reading`] reads the subscription and knows when the page ends, [`rate`] holds it back,
//! [`objects`] and [`text`] make JSON of the frames of a stream, [`whole`] and [`lines`] send that, as one document or as it is
//! read. [`cache`] says who may keep it, [`memory`] how much of it waits for slow clients.

mod cache;
mod lines;
mod memory;
mod objects;
mod rate;
mod reading;
mod text;
mod wanted;
mod whole;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;

use self::memory::HeldMemory;
pub(crate) use self::memory::PageMemory;
pub(crate) use self::reading::Orders;
use self::reading::{Reading, Step};
use self::text::PageText;
pub(crate) use self::wanted::Wanted;
use crate::accept::LINES;
use crate::bodiless;
use crate::end::PageEnd;
use crate::metrics::Metrics;
use crate::problem::Passing;
use crate::registry::Registered;
use crate::stream::Parts;

/// The state of the process that pages depend on.
pub(crate) struct Process {
    pub(crate) orders: Orders,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) memory: PageMemory,
    /// Whether the server asks nobody who they are.
    pub(crate) is_public: bool,
}

/// Answers a request for a page. Dropping the future gives up all that the page has.
///
/// # Errors
/// If nothing could be read for a reason that passes.
pub(crate) async fn answer(
    parts: Parts,
    wanted: Wanted,
    process: Process,
    request: &HeaderMap,
) -> Result<Response<Body>, Passing> {
    let is_public = process.is_public;
    let page = Page::new(parts, &wanted, process);
    match wanted.as_lines {
        true => lines::answer(page, wanted).await,
        false => whole::answer(page, wanted, is_public, request).await,
    }
}

/// The head of the answer to a request that only wants that. Whether the page could be kept is not known without reading it.
pub(crate) fn headers_only(wanted: Wanted) -> Response<Body> {
    let mut response = Response::new(bodiless::body());
    put_headers(&mut response, wanted);
    cache::put_headers(response.headers_mut(), None, false);
    response
}

fn put_headers(response: &mut Response<Body>, wanted: Wanted) {
    let kind = if wanted.as_lines { LINES } else { "application/json" };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// A page that is being made, or sent.
struct Page {
    /// `None`: it is over.
    reading: Option<Reading>,
    text: PageText,
    held: HeldMemory,
    metrics: Arc<Metrics>,
}

impl Page {
    fn new(parts: Parts, wanted: &Wanted, process: Process) -> Page {
        let Process { orders, metrics, memory, is_public: _ } = process;
        let reading = Reading::new(parts, wanted, orders, Arc::clone(&metrics));
        let text = PageText::new(wanted.as_lines, wanted.envelope);
        Page { reading: Some(reading), text, held: memory.hold(), metrics }
    }

    /// Adds what is read next; `Some`: the page ends there, for this reason.
    async fn read(&mut self) -> Option<PageEnd> {
        if self.held.is_full() {
            return Some(PageEnd::Size);
        }
        let Some(reading) = &mut self.reading else { return Some(PageEnd::Synced) };
        match reading.next(self.text.size()).await {
            Step::Frames(frames) => {
                self.text.add(&frames);
                self.held.set(self.text.memory());
                None
            }
            Step::End(end) => Some(end),
        }
    }

    /// Why there is nothing to answer with, if there is not; then the page is over.
    fn stuck(&mut self, end: PageEnd) -> Option<Passing> {
        let stuck = match end {
            _ if self.text.size() > 0 => None,
            PageEnd::Size => Some(memory::full()),
            PageEnd::Time => self.reading.as_mut()?.stuck(),
            _ => None,
        }?;
        self.reading = None;
        Some(stuck)
    }

    /// Takes what is written, which is held until this is called again.
    fn take(&mut self) -> Bytes {
        self.held.set(self.text.memory());
        self.text.take()
    }

    /// Writes the end. What is returned is to be held until the page is sent.
    fn end(&mut self, end: PageEnd) -> Option<Registered> {
        let mut reading = self.reading.take()?;
        let (id, has_more) = (reading.id(), reading.has_more());
        self.text.end(&id, has_more);
        self.metrics.page(end, self.text.records());
        tracing::debug!(end = end.reason(), records = self.text.records(), "a page ends");
        Some(reading.into_registered())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if self.reading.is_some() {
            self.metrics.page(PageEnd::Client, self.text.records());
        }
    }
}
