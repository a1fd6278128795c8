//! A topic that was created again, or deleted, is announced by a gap for each partition. Between two of those gaps, the id
//! lists the partitions already announced under the new topic id (nowhere, if the topic was deleted), and the others under the
//! old one. So a client that loses its connection between two gaps misses none and gets none twice.

use crate::position::{Part, Position, Vector};

/// A topic's part in a vector, and the part that replaces it.
pub(crate) struct Replacement<'a> {
    /// The vector before the replacement.
    pub(crate) vector: &'a Vector,
    /// The index of the part that is replaced.
    pub(crate) at: usize,
    /// The next incarnation, at the positions where reading begins; `None`: the topic was deleted.
    pub(crate) new: Option<&'a Part>,
}

impl Replacement<'_> {
    /// The vector after the gaps of the first `announced` partitions of the old incarnation. Those partitions are in the new
    /// part, the others still in the old one. Partitions that only the new incarnation has need no gap, and are in the new
    /// part.
    pub(crate) fn vector(&self, announced: usize) -> Vector {
        let old = &self.vector.parts[self.at];
        let count = old.positions.len();
        let begun = self.new.map(|new| with_known(new, |index| index < announced || index >= count));
        let rest = (announced < count).then(|| with_known(old, |index| index >= announced));
        let mut vector = self.vector.clone();
        vector.parts.splice(self.at..=self.at, begun.into_iter().chain(rest));
        vector
    }
}

/// The part with all other positions unknown.
fn with_known(part: &Part, is_known: impl Fn(usize) -> bool) -> Part {
    let positions = part.positions.iter().enumerate();
    let kept = positions.map(|(index, position)| if is_known(index) { *position } else { Position::UNKNOWN });
    Part { fingerprint: part.fingerprint, positions: kept.collect() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::log::memory::Account;
    use crate::log::partition::Start;
    use crate::log::topic::Topic;
    use crate::position::TopicId;
    use crate::position::event_id::EventId;
    use crate::position::gap::{Gap, GapCode};
    use crate::read::pending_gap::Pending;
    use crate::read::reconcile::{AtOrigin, deleted, reconcile, strangers};

    fn topic(name: &str, id: u8, offsets: &[u64]) -> Arc<Topic> {
        let start = |&offset: &u64| Start { offset, epoch: 3, log_start: offset };
        Topic::new(
            name,
            TopicId([id; 16]),
            &offsets.iter().map(start).collect::<Vec<_>>(),
            Account::default(),
        )
    }

    fn part(topic: &Topic) -> Part {
        let positions = topic.partitions().iter().map(|partition| partition.head()).collect();
        Part { fingerprint: topic.fingerprint(), positions }
    }

    /// The positions that a vector has for a partition of the topic, in any incarnation.
    fn held(vector: &Vector, topic: &Topic, index: usize) -> Vec<([u8; 3], u64)> {
        let of_topic = vector.parts.iter().filter(|part| part.fingerprint.name == topic.fingerprint().name);
        let positions = of_topic.filter_map(|part| Some((part.fingerprint.id, part.positions.get(index)?)));
        positions
            .filter(|(_, position)| position.is_known())
            .map(|(id, position)| (id, position.offset))
            .collect()
    }

    /// The gaps that a client gets if it was disconnected after `announced` gaps and resumes with the id that it has.
    fn told_after(vector: Vector, old: &Topic, new: Option<&Arc<Topic>>) -> (Vec<Gap>, Vector) {
        let id: EventId = EventId { minutes: 1, vector }.to_string().parse().unwrap();
        let (mut vector, mut carried) = (id.vector, Vec::new());
        let topics: Vec<_> = new.map(|topic| (topic.clone(), topic.partitions())).into_iter().collect();
        let mut pending = reconcile(&mut vector, &mut carried, &topics, &AtOrigin);
        let gone =
            strangers(&mut vector, &topics).into_iter().filter(|part| part.fingerprint == old.fingerprint());
        for part in gone.collect::<Vec<_>>() {
            pending.extend(deleted(&part, old.name()));
            vector.parts.push(part);
        }
        pending.iter().for_each(|Pending { change, .. }| change.apply(&mut vector));
        (pending.into_iter().map(|pending| pending.gap).collect(), vector)
    }

    proptest! {
        /// For each number of announced gaps: a resume with that id announces exactly the remaining gaps.
        #[test]
        fn a_cut_between_two_gaps_repeats_none_and_swallows_none(
            old in proptest::collection::vec(100..1_000_u64, 0..6),
            new in proptest::option::of(proptest::collection::vec(0..100_u64, 0..6)),
            others in (0..3_usize, 0..3_usize),
        ) {
            let old_topic = topic("orders", 1, &old);
            let new_topic = new.as_ref().map(|new| topic("orders", 2, new));
            let other = |count: usize, id| (0..count).map(move |n| part(&topic(&format!("t{id}{n}"), id, &[7, 8])));
            let parts = other(others.0, 8).chain([part(&old_topic)]).chain(other(others.1, 9)).collect();
            let (vector, new_part) = (Vector { parts }, new_topic.as_deref().map(part));
            let replacement = Replacement { vector: &vector, at: others.0, new: new_part.as_ref() };
            let all: Vec<Gap> = old.iter().zip(0..).map(|(&from, partition)| {
                let next = new.as_ref().and_then(|new| new.get(partition as usize)).copied();
                let code = if next.is_some() { GapCode::Recreated } else { GapCode::Deleted };
                let topic = Some(old_topic.name().clone());
                Gap { code, topic, partition: Some(partition), from: Some(from), to: None, next }
            }).collect();
            for announced in 0..=old.len() {
                let mut vector = replacement.vector(announced);
                let (before, after) = (vector.parts.len() - others.1, vector.parts.len());
                prop_assert_eq!(&vector.parts[..others.0], &replacement.vector.parts[..others.0]);
                prop_assert_eq!(&vector.parts[before..after], &replacement.vector.parts[others.0 + 1..]);
                for index in 0..8 {
                    let announced = index < announced || index >= old.len();
                    let (from, topic) = if announced { (new.as_ref(), new_topic.as_ref()) } else { (Some(&old), Some(&old_topic)) };
                    let expected = from.and_then(|offsets| Some((topic?.fingerprint().id, *offsets.get(index)?)));
                    prop_assert_eq!(held(&vector, &old_topic, index), Vec::from_iter(expected));
                }
                vector.parts = vector.parts[others.0..before].to_vec();
                let (told, end) = told_after(vector, &old_topic, new_topic.as_ref());
                prop_assert_eq!(&told, &all[announced..], "after {}", announced);
                let known = end.parts.iter().filter(|part| part.positions.iter().any(Position::is_known));
                let new_part = new_part.iter().filter(|part| !part.positions.is_empty());
                prop_assert!(known.eq(new_part), "after {announced}: {end:?}");
            }
            let end: Vec<Part> = new_part.iter().cloned().collect();
            let whole = replacement.vector(old.len());
            prop_assert_eq!(&whole.parts[others.0..whole.parts.len() - others.1], &end[..]);
        }
    }
}
