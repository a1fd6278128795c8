//! Where reading continues: for each partition the next offset, with the topic id and leader epoch that make it unambiguous.
//!
//! ```
//! use tailrace_bridge::{EventId, Fingerprint, Part, Position, TopicId, Vector};
//!
//! // Of the two partitions of a topic the first goes on at offset 1200, where the leader of epoch 4 wrote the record below.
//! let topic = Fingerprint::new("orders", TopicId([7; 16]));
//! let positions = vec![Position { offset: 1200, epoch: 4 }, Position { offset: 88, epoch: 4 }];
//! let id = EventId { minutes: 29_000_000, vector: Vector { parts: vec![Part { fingerprint: topic, positions }] } };
//! let text = id.to_string();
//! assert_eq!(text.parse::<EventId>()?, id);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod bound;
pub(crate) mod event_id;
pub(crate) mod gap;
pub(crate) mod seal;
pub(crate) mod start_from;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use twox_hash::XxHash64;

use crate::base::sabotage::any_broken;

/// Another seed would change every fingerprint; it is fixed for good, since ids outlive processes.
const SEED: u64 = 0;

/// Kafka's id of a topic (KIP-516). A topic that is deleted and created again gets another id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// The id of every topic of a broker that has no topic ids.
    pub const ZERO: TopicId = TopicId([0; 16]);

    /// Whether the broker has no id for the topic.
    pub fn is_zero(self) -> bool {
        self == TopicId::ZERO
    }
}

/// As Kafka's own tools print it: base64url without padding.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// The next offset to deliver of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The next offset to deliver; `u64::MAX` is not known.
    pub offset: u64,
    /// The leader epoch of the last record below the offset that consumers get; -1 if it is not known. What else lies in
    /// between, such as transaction markers, may be of a later epoch.
    pub epoch: i32,
}

impl Position {
    /// Nothing is known of the partition; treated as if the id lacked it.
    pub const UNKNOWN: Position = Position { offset: u64::MAX, epoch: -1 };

    /// Whether a move to `to` is forward. An unknown position may move anywhere.
    pub(crate) fn is_before(&self, to: Position) -> bool {
        !self.is_known() || self.offset < to.offset
    }

    /// Whether there is an offset.
    pub fn is_known(&self) -> bool {
        self.offset != u64::MAX
    }
}

/// Identifies a topic and its incarnation in six bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    /// Three bytes of the hash of the topic's name.
    pub name: [u8; 3],
    /// Three bytes of the hash of the topic's id; zero if the broker has no ids, and then it matches any id.
    pub id: [u8; 3],
}

impl Fingerprint {
    /// The fingerprint of a topic.
    pub fn new(topic: &str, id: TopicId) -> Fingerprint {
        Fingerprint { name: hash(topic.as_bytes()), id: id_bytes(id) }
    }

    /// Whether both identify the same incarnation of the same topic, as far as both have an id.
    pub fn matches(self, other: Fingerprint) -> bool {
        const ANY: [u8; 3] = [0; 3];
        self.name == other.name && (self.id == other.id || self.id == ANY || other.id == ANY)
    }
}

fn hash(bytes: &[u8]) -> [u8; 3] {
    let [a, b, c, ..] = XxHash64::oneshot(SEED, bytes).to_be_bytes();
    [a, b, c]
}

fn id_bytes(id: TopicId) -> [u8; 3] {
    if id.is_zero() {
        return [0; 3];
    }
    // Zero means that there is no id, so no id may hash to it.
    match hash(&id.0) {
        [0, 0, 0] => [0, 0, 1],
        bytes => bytes,
    }
}

/// The positions in one incarnation of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// The topic's fingerprint.
    pub fingerprint: Fingerprint,
    /// One position for each partition, from 0 on.
    pub positions: Vec<Position>,
}

/// The positions of all partitions of a subscription.
///
/// A topic may have two parts, of two incarnations, while its re-creation is announced partition by partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vector {
    /// One part for each incarnation of a topic, in any order.
    pub parts: Vec<Part>,
}

impl Vector {
    /// The index of the part of exactly this incarnation.
    pub(crate) fn part_of(&self, fingerprint: Fingerprint) -> Option<usize> {
        self.parts.iter().position(|part| part.fingerprint == fingerprint)
    }

    /// Moves one position forward. A topic or partition that the vector lacks is added, with its other positions unknown.
    pub(crate) fn put(&mut self, topic: Fingerprint, partition: u32, to: Position) {
        let at = self.part_of(topic).unwrap_or_else(|| {
            self.parts.push(Part { fingerprint: topic, positions: Vec::new() });
            self.parts.len() - 1
        });
        let (positions, index) = (&mut self.parts[at].positions, partition as usize);
        if positions.len() <= index {
            positions.resize(index + 1, Position::UNKNOWN);
        }
        let before = std::mem::replace(&mut positions[index], to);
        debug_assert!(before.is_before(to) || any_broken(), "{before:?} would go back to {to:?}");
    }

    /// Whether both have the same offsets in all partitions, whatever the order of their parts, and `other` knows an epoch
    /// wherever this one does: without it, a truncation below would not be noticed there. (Below offset 0 there is nothing.) An
    /// unknown position counts as none.
    pub(crate) fn meets(&self, other: &Vector) -> bool {
        let is_as_good =
            |ours: &Position, theirs: &Position| ours.epoch < 0 || theirs.epoch >= 0 || ours.offset == 0;
        self.is_within(other, is_as_good) && other.is_within(self, |_, _| true)
    }

    /// Whether this vector is ahead of `heads` anywhere, and whether it is behind anywhere. Both have the same parts in the
    /// same order; a position that this vector lacks is neither.
    pub(crate) fn compare(&self, heads: &Vector) -> (bool, bool) {
        debug_assert!(self.has_parts_of(heads), "{self:?}, but {heads:?}");
        let (mut ahead, mut behind) = (false, false);
        for (ours, theirs) in self.parts.iter().zip(&heads.parts) {
            for (known, head) in ours.positions.iter().zip(&theirs.positions) {
                ahead |= known.offset > head.offset;
                behind |= known.offset < head.offset;
            }
        }
        (ahead, behind)
    }

    /// Moves every position that is behind `heads` to there. An unknown position stays unknown.
    pub(crate) fn rise_to(&mut self, heads: &Vector) {
        debug_assert!(self.has_parts_of(heads), "{self:?}, but {heads:?}");
        for (ours, theirs) in self.parts.iter_mut().zip(&heads.parts) {
            for (known, head) in ours.positions.iter_mut().zip(&theirs.positions) {
                if known.offset < head.offset {
                    *known = *head;
                }
            }
        }
    }

    /// Whether both have the same parts in the same order.
    fn has_parts_of(&self, other: &Vector) -> bool {
        let topics = |vector: &Vector| vector.parts.iter().map(|part| part.fingerprint).collect::<Vec<_>>();
        topics(self) == topics(other)
    }

    /// Whether the other vector has the same offset wherever this one has any, and both positions there `fit`.
    fn is_within(&self, other: &Vector, fit: impl Fn(&Position, &Position) -> bool) -> bool {
        self.parts.iter().all(|part| {
            let theirs = other.part_of(part.fingerprint).map_or(&[][..], |at| &other.parts[at].positions);
            let same = |(index, position): (usize, &Position)| {
                let is_same = |their: &Position| their.offset == position.offset && fit(position, their);
                !position.is_known() || theirs.get(index).is_some_and(is_same)
            };
            part.positions.iter().enumerate().all(same)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { offset, epoch: 0 }
    }

    fn part(name: &str, offsets: &[u64]) -> Part {
        let fingerprint = Fingerprint::new(name, TopicId([7; 16]));
        Part { fingerprint, positions: offsets.iter().copied().map(at).collect() }
    }

    #[test]
    fn topic_ids_print_as_in_kafkas_tools() {
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(TopicId([0xff; 16]).to_string(), "_____________________w");
    }

    #[test]
    fn fingerprints_never_change_between_releases() {
        let id = TopicId(*b"0123456789abcdef");
        let fingerprint = Fingerprint::new("orders", id);
        assert_eq!(fingerprint.name, hash(b"orders"));
        assert_eq!(XxHash64::oneshot(0, b""), 0xef46_db37_51d8_e999);
        assert_eq!(Fingerprint::new("", TopicId::ZERO).name, [0xef, 0x46, 0xdb]);
    }

    #[test]
    fn an_unknown_topic_id_matches_any_and_others_match_themselves() {
        let none = Fingerprint::new("orders", TopicId::ZERO);
        let one = Fingerprint::new("orders", TopicId([1; 16]));
        let two = Fingerprint::new("orders", TopicId([2; 16]));
        assert!(none.matches(one) && one.matches(none) && one.matches(one));
        assert!(!one.matches(two));
        assert!(!none.matches(Fingerprint::new("refunds", TopicId::ZERO)));
    }

    #[test]
    fn vectors_meet_where_all_offsets_are_the_same() {
        let ours = Vector { parts: vec![part("a", &[1, 2]), part("b", &[3])] };
        let theirs = Vector { parts: vec![part("b", &[3]), part("a", &[1, 2, u64::MAX])] };
        assert!(ours.meets(&theirs) && theirs.meets(&ours));
        for other in [
            vec![part("a", &[1, 2])],
            vec![part("a", &[1, 3]), part("b", &[3])],
            vec![part("a", &[1, 2, 9]), part("b", &[3])],
            vec![part("a", &[1, 2]), part("b", &[3]), part("c", &[0])],
        ] {
            let other = Vector { parts: other };
            assert!(!ours.meets(&other) && !other.meets(&ours));
        }
    }
}
