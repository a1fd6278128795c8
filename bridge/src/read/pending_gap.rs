//! A gap that is still to be announced, and what it does to the client's positions.

use crate::log::partition::Partition;
use crate::position::gap::{Gap, GapCode};
use crate::position::{Fingerprint, Part, Position, Vector};

/// A gap that is still to be announced, and how it changes the positions.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) gap: Gap,
    pub(crate) change: Change,
}

impl Pending {
    /// The log was truncated below the bound of a run, at or above the position `at`, which stays.
    pub(crate) fn cut_ahead(partition: &Partition, at: Position) -> Pending {
        let (topic, index) = (partition.fingerprint(), partition.index());
        let gap = Gap::of_partition(GapCode::Truncated, partition.topic_name(), index, at.offset, at.offset);
        Pending { gap, change: Change::Move { topic, partition: index, to: at } }
    }

    /// The gap that was found at the bound of a run, for a client at the position `at` below: if retention has passed the bound,
    /// it has passed the position, too.
    pub(crate) fn of_bound(self, partition: &Partition, at: Position) -> Pending {
        if self.gap.code != GapCode::Retention {
            return Pending::cut_ahead(partition, at);
        }
        Pending { gap: Gap { from: Some(at.offset), ..self.gap }, ..self }
    }

    /// The partition whose log was truncated, if this is such a gap.
    pub(crate) fn truncated(&self) -> Option<(Fingerprint, u32)> {
        match self.change {
            Change::Move { topic, partition, .. } if self.gap.code == GapCode::Truncated => {
                Some((topic, partition))
            }
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Nothing,
    /// One partition continues at `to`.
    Move {
        topic: Fingerprint,
        partition: u32,
        to: Position,
    },
    /// One partition leaves the incarnation `old`, and starts in `new` at `to`, if there is a new incarnation.
    Leave {
        old: Fingerprint,
        new: Option<Fingerprint>,
        partition: u32,
        to: Position,
    },
}

impl Change {
    pub(crate) fn apply(&self, vector: &mut Vector) {
        match *self {
            Change::Nothing => {}
            Change::Move { topic, partition, to } => set(vector, topic, partition, to),
            Change::Leave { old, new, partition, to } => {
                set(vector, old, partition, Position::UNKNOWN);
                vector.parts.retain(|part| part.fingerprint != old || has_known(part));
                if let Some(new) = new {
                    set(vector, new, partition, to);
                }
            }
        }
    }
}

fn has_known(part: &Part) -> bool {
    part.positions.iter().any(Position::is_known)
}

fn set(vector: &mut Vector, topic: Fingerprint, partition: u32, to: Position) {
    if let Some(part) = vector.parts.iter_mut().find(|part| part.fingerprint == topic)
        && let Some(position) = part.positions.get_mut(partition as usize)
    {
        *position = to;
    }
}
