//! The way out through a response's body, which hyper polls whenever the connection takes more: HTTP/2.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use tailrace_bridge::{Lookaside, Status};
use tokio::sync::watch;
use tokio::time::Sleep;

use crate::drain::Phase;
use crate::metrics::Metrics;
use crate::moment::Moment;
use crate::stream::{End, Said, Stream, World};

/// What a stream must know of the process.
#[derive(Clone)]
pub(crate) struct News {
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) metrics: Arc<Metrics>,
}

impl News {
    /// How things stand now; from here on, changes are news again.
    pub(crate) fn world(&mut self) -> World<'_> {
        self.status.mark_unchanged();
        self.phase.mark_unchanged();
        self.world_at(Moment::now())
    }

    /// How things stand, at a time that was looked at before.
    pub(crate) fn world_at(&self, now: Moment) -> World<'_> {
        let (status, phase) = (*self.status.borrow(), *self.phase.borrow());
        World { now, status, phase, is_pressed: false, metrics: &self.metrics }
    }
}

struct Reading {
    stream: Stream,
    news: News,
    out: VecDeque<Bytes>,
    /// Fires no later than the next deadline; it is not touched for each event.
    timer: Pin<Box<Sleep>>,
}

/// The body that carries the stream.
pub(crate) fn body(stream: Stream, news: News) -> Body {
    let timer = Box::pin(tokio::time::sleep_until(stream.due().instant()));
    let reading = Reading { stream, news, out: VecDeque::new(), timer };
    Body::from_stream(futures::stream::unfold(reading, |mut reading| async move {
        reading.next().await.map(|bytes| (Ok::<_, Infallible>(bytes), reading))
    }))
}

impl Reading {
    /// The next bytes for the socket; `None` after the last block.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.out.pop_front() {
                self.news.metrics.bytes.increment(bytes.len() as u64);
                return Some(bytes);
            }
            match self.stream.turn(&self.news.world(), &mut Lookaside::default()) {
                Said::Block(block) => self.out.push_back(block),
                Said::Frames(frames, records) => {
                    self.news.metrics.frames.increment(records as u64);
                    self.out.extend(frames);
                }
                // Nobody else looks aside here.
                Said::Nothing | Said::Repeated => self.wait().await,
                Said::Ended => return None,
            }
        }
    }

    /// Waits for news, for a change, or for the next deadline.
    async fn wait(&mut self) {
        let due = self.stream.due().instant();
        // An early firing costs one look around; resetting the timer for each event would cost more.
        if self.timer.is_elapsed() || due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
        let paced = self.stream.waits_for_its_pace();
        tokio::select! {
            () = self.stream.subscription.changed(), if !paced => {}
            () = self.timer.as_mut() => {}
            // The senders live as long as the server; were they gone, the timer would still turn this.
            Ok(()) = self.news.status.changed() => {}
            Ok(()) = self.news.phase.changed() => {}
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stream.closed(End::Client, &self.news.world());
    }
}
