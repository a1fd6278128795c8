//! Compares a subscription's positions with the topics as they are now. Topics that are the same continue; topics that were
//! created again or deleted get gaps; new topics start. (Whether a partition's log is the same is a separate question:
//! [`confirm`](super::confirm).)

use std::sync::Arc;

use crate::log::partition::Partition;
use crate::log::topic::{Topic, Topics};
use crate::position::gap::{Gap, GapCode};
use crate::position::{Fingerprint, Part, Position, Vector};
use crate::read::pending_gap::{Change, Pending};

/// Where reading starts in partitions without a position.
pub(crate) trait StartPositions {
    /// In a topic that the positions lack, or a partition whose position is not known.
    fn of_lacking(&self, partition: &Partition) -> Position;
    /// In a partition that was added to a known topic since.
    fn of_added(&self, partition: &Partition) -> Position;
}

/// While a subscription runs, a new topic or partition starts where this replica began to read it: at its first record.
pub(crate) struct AtOrigin;

impl StartPositions for AtOrigin {
    fn of_lacking(&self, partition: &Partition) -> Position {
        partition.origin()
    }
    fn of_added(&self, partition: &Partition) -> Position {
        partition.origin()
    }
}

/// Brings `vector` to the shape of `topics`; returns the gaps to announce. Parts of topics that are not in `topics` stay, after
/// the others. Positions of partitions that a topic does not have here are moved to `carried`.
pub(crate) fn reconcile(
    vector: &mut Vector,
    carried: &mut Vec<Part>,
    topics: &Topics,
    starts: &dyn StartPositions,
) -> Vec<Pending> {
    absorb(vector, std::mem::take(carried));
    let mut pending = Vec::new();
    for (topic, partitions) in topics {
        reconcile_topic(vector, carried, topic, partitions, starts, &mut pending);
    }
    pending
}

/// Removes and returns the parts of topics whose names are not among `topics`.
pub(crate) fn strangers(vector: &mut Vector, topics: &Topics) -> Vec<Part> {
    let known =
        |part: &Part| topics.iter().any(|(topic, _)| topic.fingerprint().name == part.fingerprint.name);
    let (stay, leave) = std::mem::take(&mut vector.parts).into_iter().partition(known);
    vector.parts = stay;
    leave
}

/// Merges parts of the same incarnation into one.
fn absorb(vector: &mut Vector, more: Vec<Part>) {
    let parts = std::mem::take(&mut vector.parts);
    for part in parts.into_iter().chain(more) {
        match vector.parts.iter_mut().find(|known| known.fingerprint == part.fingerprint) {
            Some(known) => merge(known, part),
            None => vector.parts.push(part),
        }
    }
}

fn merge(into: &mut Part, from: Part) {
    let len = into.positions.len().max(from.positions.len());
    into.positions.resize(len, Position::UNKNOWN);
    for (known, position) in into.positions.iter_mut().zip(from.positions) {
        if !known.is_known() {
            *known = position;
        }
    }
}

fn reconcile_topic(
    vector: &mut Vector,
    carried: &mut Vec<Part>,
    topic: &Arc<Topic>,
    partitions: &[Arc<Partition>],
    starts: &dyn StartPositions,
    pending: &mut Vec<Pending>,
) {
    let fingerprint = topic.fingerprint();
    let (mut part, lacking) = take_part(vector, fingerprint);
    let old: Vec<Part> =
        vector.parts.iter().filter(|other| other.fingerprint.name == fingerprint.name).cloned().collect();
    let known = part.positions.len().max(old.iter().map(|part| part.positions.len()).max().unwrap_or(0));
    carry_unseen(&mut part, partitions.len(), carried);
    part.positions.resize(partitions.len(), Position::UNKNOWN);
    for (index, partition) in partitions.iter().enumerate() {
        if part.positions[index].is_known() || old_position(&old, index).is_some() {
            continue;
        }
        let added = index >= known && !(lacking && old.is_empty());
        part.positions[index] = if added { starts.of_added(partition) } else { starts.of_lacking(partition) };
    }
    for part in &old {
        leave_incarnation(part, topic, partitions, pending);
    }
    vector.parts.insert(0, part);
}

/// Takes the topic's own part out of the vector; if the vector lacks it, an empty part and `true`.
fn take_part(vector: &mut Vector, fingerprint: Fingerprint) -> (Part, bool) {
    match vector.parts.iter().position(|part| part.fingerprint.matches(fingerprint)) {
        Some(at) => (Part { fingerprint, ..vector.parts.remove(at) }, false),
        None => (Part { fingerprint, positions: Vec::new() }, true),
    }
}

/// Moves the positions of partitions that this replica does not see to `carried`, for another replica that may see them.
fn carry_unseen(part: &mut Part, count: usize, carried: &mut Vec<Part>) {
    if part.positions.len() <= count || !part.positions[count..].iter().any(Position::is_known) {
        part.positions.truncate(count);
        return;
    }
    let mut positions = vec![Position::UNKNOWN; count];
    positions.extend(part.positions.drain(count..));
    carried.push(Part { fingerprint: part.fingerprint, positions });
}

fn old_position(old: &[Part], index: usize) -> Option<Position> {
    old.iter().filter_map(|part| part.positions.get(index)).find(|position| position.is_known()).copied()
}

/// One gap for each partition that was read in an earlier incarnation of the topic.
fn leave_incarnation(
    part: &Part,
    topic: &Arc<Topic>,
    partitions: &[Arc<Partition>],
    pending: &mut Vec<Pending>,
) {
    for (index, position) in part.positions.iter().enumerate().filter(|(_, position)| position.is_known()) {
        let successor = partitions.get(index);
        let to = successor.map(|partition| first_record(partition));
        let gap = Gap {
            code: if successor.is_some() { GapCode::Recreated } else { GapCode::Deleted },
            topic: Some(topic.name().clone()),
            partition: Some(index as u32),
            from: Some(position.offset),
            to: None,
            next: to.map(|position| position.offset),
        };
        let change = Change::Leave {
            old: part.fingerprint,
            new: successor.map(|_| topic.fingerprint()),
            partition: index as u32,
            to: to.unwrap_or(Position::UNKNOWN),
        };
        pending.push(Pending { gap, change });
    }
}

/// The gaps of a topic that was deleted while a subscription read it.
pub(crate) fn deleted(part: &Part, name: &Arc<str>) -> impl Iterator<Item = Pending> {
    let old = part.fingerprint;
    let known = part.positions.iter().zip(0..).filter(|(position, _)| position.is_known());
    known.map(move |(position, partition)| {
        let gap = Gap {
            code: GapCode::Deleted,
            topic: Some(name.clone()),
            partition: Some(partition),
            from: Some(position.offset),
            to: None,
            next: None,
        };
        Pending { gap, change: Change::Leave { old, new: None, partition, to: Position::UNKNOWN } }
    })
}

/// The position of the first record that Kafka has of the partition.
pub(crate) fn first_record(partition: &Partition) -> Position {
    let (origin, start) = (partition.origin(), partition.log_start());
    if origin.offset <= start { origin } else { Position { offset: start, epoch: -1 } }
}
