//! One step of a live subscription: it takes whole frames from the view's ring, from its cursor on; or there is nothing new; or
//! it was overrun, and `Subscription::fall_behind` makes it replay again. [`Subscription::next`] makes one or more steps.

use std::sync::Arc;

use bytes::Bytes;

use crate::live::delivery::Live;
use crate::live::ring::{Step, Taken};
use crate::position::Vector;
use crate::read::repeat::{Last, LastFrames};
use crate::read::subscription::{Budget, Next, Round, State, Subscription};
use crate::read::wait::Wait;

impl Subscription {
    pub(super) fn follow<E>(&mut self, cursor: u64, budget: Budget, last: &mut LastFrames<E>) -> Round {
        match self.hold.view.take(cursor, budget.records, budget.bytes) {
            Live::Frames(taken, end) => Round::Gives(self.take(cursor, taken, end, last)),
            Live::Nothing => Round::Gives(self.sync().unwrap_or_else(|| {
                self.wait = Wait::View;
                Next::Wait
            })),
            Live::Overrun => Round::Overrun,
        }
    }

    /// Advances over frames that were taken from the ring.
    fn take<E>(
        &mut self,
        cursor: u64,
        taken: Taken,
        end: Option<(Arc<Vector>, bool)>,
        last: &mut LastFrames<E>,
    ) -> Next {
        self.left();
        let next = cursor + taken.marks.len() as u64;
        self.state = State::Live { cursor: next };
        let records = taken.marks.iter().filter(|mark| matches!(mark.step, Step::Record { .. })).count();
        let timestamp = taken.marks.last().map_or(-1, |mark| mark.timestamp);
        match end {
            Some((vector, framed)) => {
                self.vector = vector.clone();
                self.moved = !framed;
                let bytes = taken.slices.iter().map(Bytes::len).sum();
                let view = self.hold.view.clone();
                let (sizes, unreported) = (taken.sizes, 1);
                let kept =
                    Last { view, cursor, next, vector, framed, records, bytes, sizes, timestamp, unreported };
                last.keep(kept);
            }
            None => {
                self.hold.view.count_delivered(cursor..next, timestamp, 1);
                self.step_over(&taken);
            }
        }
        Next::Frames { bytes: taken.slices, records }
    }

    /// A cursor before the ring's end has a vector of its own, which is advanced frame by frame.
    fn step_over(&mut self, taken: &Taken) {
        self.moved = false;
        for mark in &taken.marks {
            match &mark.step {
                Step::Gap(vector) => self.vector = vector.clone(),
                Step::Record { topic, partition, position } => {
                    Arc::make_mut(&mut self.vector).put(*topic, *partition, *position);
                }
            }
        }
    }

    /// Takes the frames that are kept in `frames`, if this subscription is at the cursor where they were taken and its budget
    /// allows them. Returns whether it has: their encoding is what its client gets.
    pub fn repeat<E>(&mut self, budget: Budget, frames: &mut LastFrames<E>) -> bool {
        // A subscription that has not announced that it is live announces that first.
        let gaps = self.has_gaps() || !self.synced;
        let State::Live { cursor } = &mut self.state else { return false };
        let Some(last) = frames.kept() else { return false };
        let here = *cursor == last.cursor && Arc::ptr_eq(&self.hold.view, &last.view);
        if !here || gaps || last.records > budget.records || last.bytes > budget.bytes {
            return false;
        }
        *cursor = last.next;
        self.vector = last.vector.clone();
        self.moved = !last.framed;
        self.left();
        last.unreported += 1;
        true
    }

    /// At a heartbeat: the id to send if the position has moved past records that do not match since the last id, so that a
    /// resume does not read them again.
    pub fn progress(&mut self) -> Option<String> {
        if self.has_gaps() {
            return None;
        }
        if let State::Live { cursor } = self.state {
            // Only a cursor at the view's end may take the view's vector: any other cursor still has frames to take.
            if let Some(vector) = self.hold.view.vector_at(cursor) {
                self.moved |= vector != self.vector;
                self.vector = vector;
            }
        }
        if !self.moved {
            return None;
        }
        self.moved = false;
        self.left();
        Some(self.encode_id())
    }
}
