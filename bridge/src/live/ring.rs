//! The newest frames of a view, encoded once for all its live subscriptions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::base::sabotage::{Sabotage, broken};
use crate::log::memory::{Account, Charge};
use crate::position::{Fingerprint, Position, Vector};

/// Bytes in one page. A slow reader pins whole pages, so pages are small; a larger frame gets a page of its own.
pub(crate) const PAGE: usize = 32 * 1024;

/// Bytes of frames that one view may keep.
pub(crate) const MAX_RING: usize = 1024 * 1024;

/// How long a frame is kept for live readers to take it.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(10);

/// How a frame changes the positions of a subscription that takes it.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A record: one partition's position advances.
    Record { topic: Fingerprint, partition: u32, position: Position },
    /// A gap: these are the positions after it.
    Gap(Arc<Vector>),
}

/// A frame's end in its page, and its step.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) end: u32,
    pub(crate) step: Step,
    /// The record's timestamp in milliseconds, for the latency histogram; -1 for a control frame.
    pub(crate) timestamp: i64,
}

/// A run of encoded frames.
#[derive(Debug)]
struct Page {
    first: u64,
    bytes: Bytes,
    marks: Box<[Mark]>,
    pushed: Instant,
}

/// Pages of frames, numbered from 0 since the view began.
#[derive(Debug)]
pub(crate) struct Ring {
    pages: VecDeque<Page>,
    next: u64,
    charge: Charge,
}

/// What a reader took: slices of pages, each ending at the end of a frame.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) slices: Vec<Bytes>,
    pub(crate) marks: Vec<Mark>,
    /// The size of each frame.
    pub(crate) sizes: Vec<u32>,
}

impl Ring {
    /// An empty ring, whose frames will be charged to the account.
    pub(crate) fn new(account: &Account) -> Ring {
        Ring { pages: VecDeque::new(), next: 0, charge: account.charge(0) }
    }

    /// The number that the next frame will get.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest frame in the ring.
    pub(crate) fn first(&self) -> u64 {
        self.pages.front().map_or(self.next, |page| page.first)
    }

    /// When the frame with this number was pushed; `None` if the ring does not have it.
    pub(crate) fn pushed_at(&self, number: u64) -> Option<Instant> {
        let page = self.pages.partition_point(|page| page.first + page.marks.len() as u64 <= number);
        self.pages.get(page).filter(|page| page.first <= number).map(|page| page.pushed)
    }

    pub(crate) fn size(&self) -> usize {
        self.charge.bytes()
    }

    pub(crate) fn push(&mut self, bytes: Bytes, marks: Box<[Mark]>, now: Instant) {
        let page = Page { first: self.next, bytes, marks, pushed: now };
        // Of very many views, most have few pages.
        self.pages.reserve_exact(usize::from(self.pages.is_empty()));
        self.next += page.marks.len() as u64;
        self.charge.set(self.size() + page.size());
        self.pages.push_back(page);
    }

    /// Drops the oldest pages until at most `cap` bytes are left.
    pub(crate) fn trim_to(&mut self, cap: usize) {
        while self.size() > cap {
            self.drop_front();
        }
    }

    /// Drops the pages that are older than [`MAX_AGE`].
    pub(crate) fn trim_old(&mut self, now: Instant) {
        while self.pages.front().is_some_and(|page| now.duration_since(page.pushed) > MAX_AGE) {
            self.drop_front();
        }
    }

    /// Takes all pages out, so that the caller can drop them without holding a lock. Frame numbers continue.
    pub(crate) fn take_all(&mut self) -> Ring {
        let empty = Ring { next: self.next, ..Ring::new(self.charge.account()) };
        std::mem::replace(self, empty)
    }

    fn drop_front(&mut self) {
        if let Some(page) = self.pages.pop_front() {
            self.charge.set(self.size() - page.size());
        }
        if self.pages.is_empty() {
            // Frees the queue's capacity: very many views may each have been busy once.
            self.pages = VecDeque::new();
        }
    }

    /// Takes frames from number `cursor` on: at most `records` frames and about `bytes` bytes, but at least one frame. `None`
    /// is an overrun: the frame with that number has left the ring.
    pub(crate) fn take(&self, cursor: u64, records: usize, bytes: usize) -> Option<Taken> {
        if cursor < self.first() {
            return None;
        }
        let mut taken = Taken::default();
        let mut left = Left { records, bytes };
        let start = self.pages.partition_point(|page| page.first + page.marks.len() as u64 <= cursor);
        for page in self.pages.range(start..) {
            let skip = cursor.saturating_sub(page.first) as usize;
            page.take(skip, &mut left, &mut taken);
            if left.records == 0 || left.bytes == 0 {
                break;
            }
        }
        Some(taken)
    }
}

struct Left {
    records: usize,
    bytes: usize,
}

impl Page {
    fn size(&self) -> usize {
        self.bytes.len() + self.marks.len() * size_of::<Mark>() + size_of::<Page>()
    }

    fn take(&self, skip: usize, left: &mut Left, taken: &mut Taken) {
        let from = if skip == 0 { 0 } else { self.marks[skip - 1].end as usize };
        let mut to = from;
        for mark in &self.marks[skip..] {
            let end = mark.end as usize;
            let too_much = !taken.marks.is_empty() && end - to > left.bytes;
            if left.records == 0 || too_much {
                left.bytes = 0;
                break;
            }
            left.bytes = left.bytes.saturating_sub(end - to);
            left.records -= 1;
            taken.sizes.push((end - to) as u32);
            to = end;
            taken.marks.push(mark.clone());
        }
        if broken(Sabotage::LeaveMidFrame) && to < self.bytes.len() && to > from {
            to -= 1;
        }
        if to > from {
            taken.slices.push(self.bytes.slice(from..to));
        }
    }
}
