//! Which topics a view takes into account: topics are added, grow, are created again, and are removed.

use std::sync::Arc;

use crate::base::sabotage::{Sabotage, broken};
use crate::live::replacement::Replacement;
use crate::live::view::View;
use crate::log::coverage::Coverage;
use crate::log::partition::Partition;
use crate::log::topic::{Topic, TopicPartitions};
use crate::position::gap::Gap;
use crate::position::{Part, Position};

impl View {
    /// Takes all of `coverage` into account. `added` are the partitions that are new in it, each read from its head on. Readers
    /// see none of them before all are registered.
    pub(crate) fn extend(&self, coverage: Arc<Coverage>, added: impl Iterator<Item = Arc<Partition>>) {
        self.make_room(coverage);
        added.for_each(|partition| self.register(&partition));
        self.finish_registering();
    }

    /// Gives V a part for each topic that is new in `coverage`, without positions for now.
    fn make_room(&self, coverage: Arc<Coverage>) {
        let mut state = self.state.lock();
        let vector = Arc::make_mut(&mut state.vector);
        for (at, (topic, _)) in coverage.topics().iter().enumerate() {
            if vector.parts.get(at).is_none_or(|part| part.fingerprint != topic.fingerprint()) {
                let part = Part { fingerprint: topic.fingerprint(), positions: Vec::new() };
                vector.parts.insert(at, part);
            }
        }
        state.registering = Some(coverage);
    }

    /// Takes a partition into account from its head on. The partition's ingest lock keeps batches out meanwhile.
    fn register(&self, partition: &Partition) {
        if broken(Sabotage::RegisterWithoutWaiting) {
            return self.register_at(partition, partition.head());
        }
        let _no_batch = partition.ingest.lock();
        self.register_at(partition, partition.head());
    }

    fn register_at(&self, partition: &Partition, head: Position) {
        let mut state = self.state.lock();
        let (at, index) =
            state.whole_coverage().place(partition).expect("the coverage has what is registered");
        let positions = &mut Arc::make_mut(&mut state.vector).parts[at].positions;
        if positions.len() <= index {
            positions.resize(index + 1, Position::UNKNOWN);
        }
        let before = std::mem::replace(&mut positions[index], head);
        debug_assert!(!before.is_known(), "{before:?} is registered already");
    }

    /// All partitions are registered: makes the new coverage visible to readers.
    fn finish_registering(&self) {
        let mut state = self.state.lock();
        if let Some(coverage) = state.registering.take() {
            state.coverage = coverage;
            state.shape += 1;
        }
        drop(state);
        self.bump();
    }

    /// Removes a topic, or replaces it by its next incarnation, and announces that with `gaps`, one for each partition of the
    /// old incarnation. See [`Replacement`] for the ids of those gaps.
    pub(crate) fn replace_topic(
        &self,
        old: &Arc<Topic>,
        new: Option<&Arc<Topic>>,
        coverage: Arc<Coverage>,
        gaps: &[Gap],
    ) {
        let mut state = self.state.lock();
        let is_old = |(topic, _): &TopicPartitions| Arc::ptr_eq(topic, old);
        let at = state.coverage.topics().iter().position(is_old).expect("a view that reads the topic has it");
        state.refresh();
        let (before, new) = (state.vector.clone(), new.map(|topic| part_at_origin(topic)));
        assert_eq!(gaps.len(), before.parts[at].positions.len(), "a gap for each partition");
        let replacement = Replacement { vector: &before, at, new: new.as_ref() };
        for ((index, gap), position) in gaps.iter().enumerate().zip(&before.parts[at].positions) {
            let gap = Gap { from: Some(position.offset), ..gap.clone() };
            self.push_gap(&mut state, &gap, &replacement.vector(index + 1));
        }
        state.vector = Arc::new(replacement.vector(gaps.len()));
        state.coverage = coverage;
        state.shape += 1;
        self.pushed(state);
        self.wake();
    }
}

/// A topic's part, at the positions where this replica began to read it.
fn part_at_origin(topic: &Topic) -> Part {
    let positions = topic.partitions().iter().map(|partition| partition.origin()).collect();
    Part { fingerprint: topic.fingerprint(), positions }
}
