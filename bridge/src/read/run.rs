//! A run: a stretch of a replay, up to a bound for each partition, in which only the newest record of each key is delivered.
//!
//! At the bound the client has, for each key, the newest record below it. In the middle it has not, since a record that is
//! superseded below the bound was left out. So the bound is fixed when the run begins, and ids have it: wherever the client
//! comes back, it is not told that it is live before it has passed the bound. A bound may rise: for each key, what was
//! delivered below the position is either still the newest, or is superseded above the position.
//!
//! If the log is truncated below the bound, what superseded a record may be gone, and the record was left out. So this is a gap
//! even for a position below the truncation.
//!
//! Which records are the newest is said by [windows](crate::history::window), one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::history::window::{Making, Window, Windowed};
use crate::history::windows::Keys;
use crate::log::lineage::Moment;
use crate::log::partition::Partition;
use crate::log::topic::Topics;
use crate::position::{Fingerprint, Part, Position, Vector};
use crate::read::lane::Lane;
use crate::read::replay::Context;

/// The run of a subscription.
#[derive(Debug)]
pub(crate) struct Run {
    /// Whether the client is told when it has arrived, with an id that has no bound: it has begun with a snapshot.
    pub(crate) is_snapshot: bool,
    /// Whether the client had nothing before it.
    from_nothing: bool,
    /// Whether every partition gets a bound. Otherwise those do of which an id has one: of the others, the client may have been
    /// told already that it gets everything.
    is_of_all: bool,
    /// By the partition's key.
    partitions: HashMap<u64, InPartition>,
}

#[derive(Debug)]
struct InPartition {
    topic: Fingerprint,
    index: usize,
    /// The bound.
    to: Position,
    /// The bound that an id had, while it is not confirmed.
    old: Option<Position>,
    /// When it was known that the log holds the record below the bound.
    confirmed: Moment,
    window: Option<Windowed>,
    /// Whether the log was truncated below the bound, so that another one is to be taken.
    is_void: bool,
    /// Whether the client has nothing of the partition but what the present window has: it need not be told of keys that end.
    from_nothing: bool,
}

/// What is delivered of a partition.
#[derive(Debug)]
pub(crate) enum Kept {
    /// Every record.
    All,
    /// The records that are the newest of their keys; whether the client had nothing before.
    Window(Arc<Window>, bool),
    /// That is not known yet.
    Pending,
}

impl Run {
    /// A snapshot. `from_nothing`: the client has had no record before.
    pub(crate) fn snapshot(from_nothing: bool) -> Run {
        Run { is_snapshot: true, from_nothing, is_of_all: true, partitions: HashMap::new() }
    }

    /// A run of a subscription that conflates.
    pub(crate) fn conflating() -> Run {
        Run { is_snapshot: false, from_nothing: false, is_of_all: true, partitions: HashMap::new() }
    }

    /// A run that an id is in. Where the subscription conflates, the next run follows at once.
    pub(crate) fn resumed(conflates: bool) -> Run {
        Run { is_snapshot: !conflates, from_nothing: false, is_of_all: conflates, partitions: HashMap::new() }
    }

    /// Takes the bounds of partitions that need one: `target`, or what an id had (`old`) where that is further. What an id had
    /// is to be confirmed in any case: records were left out because of it.
    pub(crate) fn set_out(&mut self, topics: &Topics, target: &Vector, old: &[Part], now: Instant) {
        let mut before = std::mem::take(&mut self.partitions);
        for (topic, partitions) in topics {
            let Some(at) = target.part_of(topic.fingerprint()) else { continue };
            for (index, partition) in partitions.iter().enumerate() {
                let known = before.remove(&partition.key());
                let old = old_bound(old, topic.fingerprint(), index);
                let is_due = known.as_ref().map_or(self.is_of_all || old.is_some(), |known| known.is_void);
                if let Some(known) = known.filter(|_| !is_due) {
                    self.partitions.insert(partition.key(), known);
                    continue;
                }
                let Some(&to) = target.parts[at].positions.get(index).filter(|_| is_due) else { continue };
                let to = old.filter(|old| old.offset > to.offset).unwrap_or(to);
                let of_topic = InPartition {
                    topic: topic.fingerprint(),
                    index,
                    to,
                    old,
                    confirmed: partition.moment(to, now),
                    window: None,
                    is_void: false,
                    from_nothing: self.from_nothing,
                };
                self.partitions.insert(partition.key(), of_topic);
            }
        }
    }

    /// The log of a partition was truncated: its bound is taken anew.
    pub(crate) fn forget(&mut self, topic: Fingerprint, index: u32) {
        let of_it = |known: &&mut InPartition| (known.topic, known.index) == (topic, index as usize);
        self.partitions.values_mut().filter(of_it).for_each(|known| known.is_void = true);
        // The client has records.
        self.from_nothing = false;
    }

    /// The bound of a partition.
    pub(crate) fn end_of(&self, partition: &Partition) -> Option<Position> {
        self.partitions.get(&partition.key()).map(|known| known.to)
    }

    /// The bound of which it is not known that the log holds the record below it, and when that was asked now.
    pub(crate) fn doubtful(&self, context: &Context<'_>, lane: &Lane) -> Option<(Position, Moment)> {
        let known = self.partitions.get(&lane.partition.key())?;
        let moment = |bound| Moment { cuts: lane.cuts, ..lane.partition.moment(bound, context.now) };
        // One that retention has passed asks for nothing: the client was told of the gap.
        let bound = match known.old.filter(|old| lane.scanned.offset < old.offset) {
            Some(old) => old,
            None if known.confirmed.holds_at(moment(known.to)) => return None,
            None => known.to,
        };
        Some((bound, moment(bound)))
    }

    /// The log holds the record below the bound, as was asked at that moment. If it was truncated, then above the bound.
    pub(crate) fn note_confirmed(&mut self, partition: &Partition, bound: Position, asked: Moment) {
        let Some(known) = self.partitions.get_mut(&partition.key()) else { return };
        known.old = None;
        if known.to == bound {
            if known.confirmed.cuts != asked.cuts {
                (known.window, known.from_nothing) = (None, false);
            }
            known.confirmed = asked;
        }
    }

    /// What is delivered from the lane's position on. A window may move the bound further.
    pub(crate) fn kept(&mut self, context: &Context<'_>, lane: &Lane) -> Kept {
        let Some(known) = self.partitions.get_mut(&lane.partition.key()) else { return Kept::All };
        let end = lane.partition.log.read().end();
        if let Some(Windowed::Making(making)) = &known.window {
            let Some(window) = making.window() else { return Kept::Pending };
            known.window = Some(Windowed::Ready(window));
        }
        let at = lane.scanned.offset;
        if let Some(Windowed::Ready(window)) = &known.window {
            if window.covers(at) && window.cuts() == lane.cuts {
                let to = window.newest_below();
                if known.to.offset < to.offset {
                    known.to = to;
                }
                return Kept::Window(window.clone(), known.from_nothing);
            }
            known.from_nothing = false;
        }
        // The replica may be behind the one that has taken the bound.
        let to = if known.to.offset <= end.offset { known.to } else { end };
        if at >= to.offset {
            return Kept::Pending;
        }
        let keys = match (lane.is_indexed, self.is_snapshot) {
            (false, _) => Keys::Scan,
            (true, false) => Keys::Index,
            (true, true) => Keys::BuildIndex,
        };
        let asked = context.history.window(context.asker(), &lane.partition, keys, (at, to), lane.cuts);
        known.window = Some(asked);
        match known.window {
            Some(Windowed::Ready(_)) => self.kept(context, lane),
            _ => Kept::Pending,
        }
    }

    /// Windows that are waited for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = &Arc<Making>> {
        self.partitions.values().filter_map(|known| match &known.window {
            Some(Windowed::Making(making)) => Some(making),
            _ => None,
        })
    }

    /// The bounds that `vector` has not passed, for an id.
    pub(crate) fn bounds(&self, vector: &Vector) -> Vec<Part> {
        let mut parts = Vec::new();
        for part in &vector.parts {
            let mut positions = vec![Position::UNKNOWN; part.positions.len()];
            let of_topic = |known: &&InPartition| known.topic == part.fingerprint && !known.is_void;
            for known in self.partitions.values().filter(of_topic) {
                if let Some(at) = part.positions.get(known.index).filter(|at| at.is_known())
                    && at.offset < known.to.offset
                {
                    positions[known.index] = known.to;
                }
            }
            if positions.iter().any(Position::is_known) {
                parts.push(Part { fingerprint: part.fingerprint, positions }.into_bound());
            }
        }
        parts
    }
}

fn old_bound(old: &[Part], topic: Fingerprint, index: usize) -> Option<Position> {
    let part = old.iter().find(|part| part.fingerprint.matches(topic))?;
    part.positions.get(index).copied().filter(Position::is_known)
}
