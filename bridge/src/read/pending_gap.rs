//! A gap that is still to be announced, and what it does to the client's positions.

use crate::position::gap::Gap;
use crate::position::{Fingerprint, Part, Position, Vector};

/// A gap that is still to be announced, and how it changes the positions.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) gap: Gap,
    pub(crate) change: Change,
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
