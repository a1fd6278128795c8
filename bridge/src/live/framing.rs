//! How frames of records and of gaps get into a view's ring, each with the id of the positions after it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::base::metrics;
use crate::base::sabotage::{Sabotage, any_broken, broken};
use crate::base::sync::MutexGuard;
use crate::base::sync::atomic::Ordering;
use crate::live::ring::{MAX_RING, Mark, PAGE, Ring, Step};
use crate::live::view::{Shared, View, ViewState};
use crate::live::view_key::Told;
use crate::log::partition::Partition;
use crate::position::event_id::RunningId;
use crate::position::gap::Gap;
use crate::position::seal::Seal;
use crate::position::{Position, Vector};
use crate::record::RecordRef;
use crate::sse::frame;

/// The capacity in bytes that a thread's page buffer keeps for its next page.
const MAX_SPARE: usize = 2 * PAGE;

thread_local! {
    /// The buffers into which this thread encodes frames, for whichever view.
    static WRITER: Cell<(RunningId, PageWriter)> = Cell::default();
}

impl View {
    /// Announces a gap of one partition, whose position is `to` from then on.
    pub(crate) fn gap(&self, partition: &Partition, gap: &Gap, to: Position) {
        let mut state = self.state.lock();
        let Some((at, index)) = state.slot(partition) else { return };
        state.refresh();
        let mut gap = gap.clone();
        gap.from = Some(state.vector.parts[at].positions[index].offset);
        let mut vector = Vector::clone(&state.vector);
        let old = std::mem::replace(&mut vector.parts[at].positions[index], to);
        state.cuts += u32::from(to.offset < old.offset);
        self.push_gap(&mut state, &gap, &vector);
        state.vector = Arc::new(vector);
        self.pushed(state);
        self.wake();
    }

    /// Encodes the matching records of a batch as frames; returns whether there were any. If so, [`View::announce`] is to be
    /// called next. One caller at a time per partition: it holds the ingest lock.
    pub(crate) fn frame<'a>(
        &self,
        partition: &Partition,
        records: impl Iterator<Item = RecordRef<'a>>,
    ) -> bool {
        let told = |record: RecordRef<'a>| Some((self.key.told_of(&record)?, record));
        let mut matching = records.filter_map(told).peekable();
        if matching.peek().is_none() {
            return false;
        }
        let mut state = self.state.lock();
        let Some((at, index)) = state.slot(partition) else { return false };
        state.refresh();
        let minutes = self.shared.minutes.load(Ordering::Relaxed);
        let (seal, look) = (self.shared.seal(self.tenant()), self.look());
        let (first, now) = (state.ring.next(), self.shared.clock.now());
        let (mut id, mut page) = WRITER.take();
        let is_told = self.shared.deliveries.get().is_some();
        let mut last = None;
        for (nth, (told, record)) in (first..).zip(matching) {
            let position = Position { offset: record.offset + 1, epoch: record.epoch };
            debug_assert!(
                last.unwrap_or(state.vector.parts[at].positions[index]).is_before(position) || any_broken(),
                "a view would go back to {position:?}"
            );
            if last.replace(position).is_some() {
                id.advance(at, index, position, seal);
            } else {
                state.move_to((at, index), position);
                begin_id(&mut id, minutes, &state.vector, (at, index), seal);
            }
            let (topic, number) = (partition.topic_name(), partition.index());
            match told {
                Told::Record => frame::record(&mut page.bytes, &record, topic, number, &look, id.as_str()),
                Told::Left => frame::left(&mut page.bytes, &record, topic, number, look.framing, id.as_str()),
            }
            let step =
                Step::Record { topic: partition.fingerprint(), partition: partition.index(), position };
            page.mark(step, record.timestamp, &mut state.ring, now);
            if is_told {
                let (oldest, now) = (state.ring.first(), self.shared.clock.unix_millis());
                state.traced.note(nth, oldest, partition, &record, now);
            }
        }
        if let Some(position) = last {
            state.move_to((at, index), position);
        }
        page.flush(&mut state.ring, now);
        WRITER.set((id, page));
        metrics::count_encoded(state.ring.next() - first);
        state.framed = true;
        self.pushed(state);
        true
    }

    /// Notifies readers of the frames of a batch, after its head was published. V is equal to the heads by then, so it becomes
    /// the heads' vector, which all views share.
    pub(crate) fn announce(&self) {
        self.state.lock().refresh();
        self.wake();
    }

    pub(super) fn push_gap(&self, state: &mut ViewState, gap: &Gap, vector: &Vector) {
        gap.note_announced(self.tenant());
        if broken(Sabotage::SilentGap) {
            return;
        }
        let bytes = frame::gap(gap, self.key.framing, Some(self.shared.encode_id(self.tenant(), vector)));
        let step = Step::Gap(Arc::new(vector.clone()));
        let mark = Mark { end: bytes.len() as u32, step, timestamp: -1 };
        state.ring.push(bytes, [mark].into(), self.shared.clock.now());
        state.framed = true;
    }

    /// To be called after a push: keeps this ring, and all rings together, within their limits. Does not notify readers.
    pub(super) fn pushed(&self, mut state: MutexGuard<'_, ViewState>) {
        state.at_end = 0;
        state.ring.trim_to(MAX_RING);
        let is_first = !std::mem::replace(&mut state.filled, true);
        drop(state);
        let Shared { ring_memory, clock, .. } = &*self.shared;
        if is_first {
            ring_memory.add(self.me.clone(), clock.now());
        }
        if ring_memory.is_over() {
            ring_memory.shed(clock.now());
        }
    }
}

fn begin_id(id: &mut RunningId, minutes: u32, vector: &Vector, own: (usize, usize), seal: Option<Seal<'_>>) {
    if !broken(Sabotage::IdsWithoutOtherPartitions) {
        return id.begin(minutes, vector, seal);
    }
    let mut alone = vector.clone();
    for (at, part) in alone.parts.iter_mut().enumerate() {
        for (index, position) in part.positions.iter_mut().enumerate() {
            if (at, index) != own {
                *position = Position::UNKNOWN;
            }
        }
    }
    id.begin(minutes, &alone, seal);
}

/// Collects frames into pages. Its buffer is reused: each page is copied into the ring at its exact size.
#[derive(Default)]
struct PageWriter {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

impl PageWriter {
    fn mark(&mut self, step: Step, timestamp: i64, ring: &mut Ring, now: Instant) {
        self.marks.push(Mark { end: self.bytes.len() as u32, step, timestamp });
        if self.bytes.len() >= PAGE {
            self.flush(ring, now);
        }
    }

    fn flush(&mut self, ring: &mut Ring, now: Instant) {
        if !self.marks.is_empty() {
            ring.push(Bytes::copy_from_slice(&self.bytes), self.marks.drain(..).collect(), now);
            self.bytes.clear();
            self.bytes.shrink_to(MAX_SPARE);
        }
    }
}
