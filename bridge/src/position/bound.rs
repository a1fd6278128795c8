//! The bound of a run, in an id. While a client gets only the newest record of each key up to a bound, it does not have all
//! keys before it is there, wherever it comes back. So an id of a position within the run has the bound, too: for each topic a
//! second part, behind the others, with the topic's fingerprint of which the name is inverted. A release that does not know
//! such parts takes them for those of topics that it does not see.

use crate::position::{Fingerprint, Part, Vector};

impl Fingerprint {
    /// What the topic's bound has in place of the topic's own fingerprint, and the other way round.
    pub(crate) fn inverted(self) -> Fingerprint {
        Fingerprint { name: self.name.map(|byte| !byte), ..self }
    }
}

impl Part {
    /// The bound in the form that an id has it in.
    pub(crate) fn into_bound(self) -> Part {
        Part { fingerprint: self.fingerprint.inverted(), ..self }
    }
}

impl Vector {
    /// Takes out the bounds, each with its topic's own fingerprint: up to where a client gets only the newest record of each key.
    /// Empty, unless the vector is of an id that was given within a snapshot, or within what `conflate=key` leaves out.
    pub fn take_bounds(&mut self) -> Vec<Part> {
        let mut bounds = Vec::new();
        let mut topics: Vec<Part> = Vec::new();
        for part in std::mem::take(&mut self.parts) {
            let topic = part.fingerprint.inverted();
            match topics.iter().any(|known| known.fingerprint == topic) {
                true => bounds.push(Part { fingerprint: topic, ..part }),
                false => topics.push(part),
            }
        }
        self.parts = topics;
        bounds
    }

    /// Adds a bound, which has its topic's own fingerprint.
    pub fn put_bound(&mut self, bound: Part) {
        self.parts.push(bound.into_bound());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{Position, TopicId};

    fn part(name: &str, offset: u64) -> Part {
        let fingerprint = Fingerprint::new(name, TopicId([7; 16]));
        Part { fingerprint, positions: vec![Position { offset, epoch: -1 }] }
    }

    fn bound(name: &str, offset: u64) -> Part {
        let Part { fingerprint, positions } = part(name, offset);
        Part { fingerprint: fingerprint.inverted(), positions }
    }

    #[test]
    fn bounds_are_told_from_positions() {
        let mut vector = Vector { parts: vec![part("a", 1), part("b", 2), bound("b", 20), bound("a", 10)] };
        assert_eq!(vector.take_bounds(), [part("b", 20), part("a", 10)]);
        assert_eq!(vector.parts, [part("a", 1), part("b", 2)]);
        assert_eq!(vector.take_bounds(), []);
    }

    #[test]
    fn a_part_without_its_topic_is_no_bound() {
        let mut vector = Vector { parts: vec![part("a", 1), bound("b", 20)] };
        assert_eq!(vector.take_bounds(), []);
        assert_eq!(vector.parts.len(), 2);
    }
}
