//! HTTP/2: the stream is the body of its response, which hyper polls whenever the connection can send more.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tailrace_bridge::{Framing, LastFrames, Status};
use tokio::sync::watch;
use tokio::time::Sleep;

use crate::drain::Phase;
use crate::end::End;
use crate::metrics::Metrics;
use crate::moment::Moment;
use crate::stream::{Said, Stream, World};

/// A peer that acknowledges or reads nothing for this long is disconnected: by default, TCP would retransmit for a quarter of
/// an hour to a peer that is gone, and keep the sent data. A browser reconnects and resumes.
pub(crate) const TAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// The state of the process that streams depend on.
#[derive(Clone)]
pub(crate) struct News {
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Changes when an operator ends streams.
    pub(crate) revocations: watch::Receiver<u64>,
    pub(crate) metrics: Arc<Metrics>,
}

impl News {
    /// The current state; later changes are reported again.
    pub(crate) fn world(&mut self) -> World<'_> {
        self.status.mark_unchanged();
        self.phase.mark_unchanged();
        self.revocations.mark_unchanged();
        self.world_at(Moment::now())
    }

    /// The current state, with a time that the caller has read already.
    pub(crate) fn world_at(&self, now: Moment) -> World<'_> {
        let (status, phase) = (*self.status.borrow(), *self.phase.borrow());
        World { now, status, phase, is_pressed: false, metrics: &self.metrics }
    }
}

struct Reading {
    stream: Stream,
    news: News,
    out: VecDeque<Bytes>,
    /// When the client was offered bytes that it has not taken yet.
    offered: Option<Moment>,
    /// Fires no later than the next deadline; it is not reset for each event.
    timer: Pin<Box<Sleep>>,
}

/// The smallest DATA frame, in bytes. A receiver built on Rust's h2 counts smaller frames of the whole connection until they
/// are read (RUSTSEC-2026-0258), and closes the connection after a hundred: one heartbeat on each of its streams is enough.
const SMALLEST_FRAME: usize = 256;
/// The largest DATA frame, in bytes, unless the peer has set another maximum (RFC 9113, section 6.5.2).
const LARGEST_FRAME: usize = 16_384;

/// What is put before events that are too small for a frame.
fn padding(size: usize, framing: Framing) -> Vec<u8> {
    match framing {
        // A comment, to be the first line of a block: after the last block, it would be a block of its own.
        Framing::Sse => {
            const LEAST: usize = b": \n".len();
            let spaces = size.max(LEAST) - b":\n".len();
            format!(":{}\n", " ".repeat(spaces)).into_bytes()
        }
        // Empty lines, which clients pass over.
        Framing::Ndjson | Framing::WebSocket => vec![b'\n'; size],
    }
}

/// The next bytes to send, sized so that none of their DATA frames is smaller than [`SMALLEST_FRAME`].
fn next_frame(out: &mut VecDeque<Bytes>, framing: Framing) -> Option<Bytes> {
    let mut next = out.pop_front()?;
    if next.len() < SMALLEST_FRAME {
        next = gathered(next, out, framing);
    }
    // The remainder of a large piece would be a small frame.
    let left = next.len() % LARGEST_FRAME;
    if next.len() > LARGEST_FRAME && (1..SMALLEST_FRAME).contains(&left) {
        out.push_front(next.split_off(next.len() - SMALLEST_FRAME));
    }
    Some(next)
}

/// Joins a small piece with the pieces after it. If they are still too small, padding is put before them.
fn gathered(first: Bytes, out: &mut VecDeque<Bytes>, framing: Framing) -> Bytes {
    let mut all = Vec::from(first);
    while all.len() < SMALLEST_FRAME
        && let Some(more) = out.pop_front()
    {
        all.extend_from_slice(&more);
    }
    if all.len() < SMALLEST_FRAME {
        all = [padding(SMALLEST_FRAME - all.len(), framing), all].concat();
    }
    all.into()
}

/// The body that carries the stream.
pub(crate) fn body(stream: Stream, news: News) -> Body {
    let timer = Box::pin(tokio::time::sleep_until(stream.due().instant()));
    let reading = Reading { stream, news, out: VecDeque::new(), offered: None, timer };
    Body::from_stream(futures::stream::unfold(reading, |mut reading| async move {
        reading.next().await.map(|bytes| (Ok::<_, Infallible>(bytes), reading))
    }))
}

impl Reading {
    /// The next bytes for the socket; `None` after the last block.
    async fn next(&mut self) -> Option<Bytes> {
        self.offered = None;
        while !self.gather() {
            self.wait().await;
        }
        let bytes = next_frame(&mut self.out, self.stream.subscription.framing())?;
        self.news.metrics.bytes.increment(bytes.len() as u64);
        self.offered = Some(Moment::now());
        Some(bytes)
    }

    /// Takes what the stream has, until it fills a frame. True: there is something to write, or the stream has ended.
    fn gather(&mut self) -> bool {
        while self.out.iter().map(Bytes::len).sum::<usize>() < SMALLEST_FRAME {
            match self.stream.turn(&self.news.world(), &mut LastFrames::default()) {
                Said::Block(block) => self.out.push_back(block),
                Said::Frames(frames, records) => {
                    self.news.metrics.frames.increment(records as u64);
                    self.out.extend(frames);
                }
                // There is no other stream here whose frames could be repeated.
                Said::Nothing | Said::Repeated(..) => return !self.out.is_empty(),
                Said::Ended => return true,
            }
        }
        true
    }

    /// Waits for new records, a change of the process's state, or the next deadline.
    async fn wait(&mut self) {
        let due = self.stream.due().instant();
        // A timer that fires early costs one extra turn; resetting it for each event would cost more.
        if self.timer.is_elapsed() || due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
        let paced = self.stream.waits_for_its_pace();
        tokio::select! {
            () = self.stream.subscription.changed(), if !paced => {}
            () = self.timer.as_mut() => {}
            // The senders live as long as the server; if they were gone, the timer would still end the wait.
            Ok(()) = self.news.status.changed() => {}
            Ok(()) = self.news.phase.changed() => {}
            Ok(()) = self.news.revocations.changed() => {}
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let is_untaken = |at: Moment| at.plus(TAKE_TIMEOUT) <= Moment::now();
        let end = if self.offered.is_some_and(is_untaken) { End::Timeout } else { End::Client };
        self.stream.closed(end, &self.news.world());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that these pieces give in all, without padding, and the sizes of their DATA frames.
    fn framed(pieces: &[usize]) -> (usize, Vec<usize>) {
        let mut out: VecDeque<Bytes> = pieces.iter().map(|size| Bytes::from(vec![b'x'; *size])).collect();
        let (mut bytes, mut frames) = (0, Vec::new());
        while let Some(next) = next_frame(&mut out, Framing::Sse) {
            bytes += next.iter().filter(|byte| **byte == b'x').count();
            frames.extend(next.chunks(LARGEST_FRAME).map(<[u8]>::len));
        }
        (bytes, frames)
    }

    #[test]
    fn no_frame_is_small_and_nothing_is_lost() {
        let large = LARGEST_FRAME;
        for pieces in [
            &[3][..],
            &[255],
            &[256],
            &[100, 100, 100],
            &[100, large],
            &[large + 1],
            &[2 * large + 255, 1],
            &[large, 1],
            &[large - 1, 3, 200, large + 7],
        ] {
            let (bytes, frames) = framed(pieces);
            assert_eq!(bytes, pieces.iter().sum::<usize>());
            assert!(frames.iter().all(|size| *size >= SMALLEST_FRAME), "{pieces:?}: {frames:?}");
        }
    }

    #[test]
    fn what_fills_up_is_a_comment_in_the_first_block() {
        let mut out = VecDeque::from([Bytes::from("event: a\nid: b\n\n")]);
        let text = String::from_utf8(next_frame(&mut out, Framing::Sse).unwrap().to_vec()).unwrap();
        assert_eq!(text.len(), SMALLEST_FRAME);
        assert_eq!(text.trim_start_matches([':', ' ']), "\nevent: a\nid: b\n\n");
        assert_eq!(padding(1, Framing::Sse), b": \n");
    }
}
