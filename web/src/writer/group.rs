//! The streams of one view, in the order in which they are served.

use std::sync::Arc;

use tailrace_bridge::Ear;

use super::inbox::GroupBell;

pub(super) struct Group {
    /// Rings the bell for as long as the group is there.
    _ear: Ear,
    pub(super) bell: Arc<GroupBell>,
    pub(super) view: usize,
    /// Keys of streams: those before `served` had their turn in this pass, the others have not.
    members: Vec<u32>,
    served: usize,
    /// Whether a pass is under way, and whether another must follow.
    pub(super) queued: bool,
    pub(super) again: bool,
}

impl Group {
    pub(super) fn new(ear: Ear, bell: Arc<GroupBell>, view: usize) -> Group {
        Group { _ear: ear, bell, view, members: Vec::new(), served: 0, queued: false, again: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a stream; gives its place.
    pub(super) fn add(&mut self, key: usize) -> u32 {
        self.members.push(key as u32);
        (self.members.len() - 1) as u32
    }

    /// Removes the stream at a place; gives the streams that have another place now. None that waits for its turn loses it.
    pub(super) fn remove(&mut self, place: u32) -> [Option<(usize, u32)>; 2] {
        let place = place as usize;
        let mut hole = place;
        if hole < self.served {
            self.served -= 1;
            self.members.swap(hole, self.served);
            hole = self.served;
        }
        self.members.swap_remove(hole);
        let at = |place: usize| self.members.get(place).map(|key| (*key as usize, place as u32));
        [at(place), at(hole)]
    }

    pub(super) fn begin_pass(&mut self) {
        self.served = 0;
    }

    /// The next stream of this pass.
    pub(super) fn next(&mut self) -> Option<usize> {
        let key = self.members.get(self.served).map(|key| *key as usize);
        self.served += usize::from(key.is_some());
        key
    }

    pub(super) fn has_more(&self) -> bool {
        self.served < self.members.len()
    }
}
