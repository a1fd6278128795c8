//! Streams that are new, or have more to do at once: one of each tenant in turn, so that many streams of one tenant do not
//! delay a single stream of another.

use std::collections::{HashMap, VecDeque};

pub(super) struct Turns<T> {
    /// None of the queues is empty.
    queues: HashMap<u32, VecDeque<T>>,
    /// Tenants, in the order in which they are served.
    order: VecDeque<u32>,
    waiting: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Turns { queues: HashMap::new(), order: VecDeque::new(), waiting: 0 }
    }
}

impl<T> Turns<T> {
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn push(&mut self, tenant: u32, entry: T) {
        let queue = self.queues.entry(tenant).or_default();
        if queue.is_empty() {
            self.order.push_back(tenant);
        }
        queue.push_back(entry);
        self.waiting += 1;
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let tenant = self.order.pop_front()?;
        let queue = self.queues.get_mut(&tenant)?;
        let entry = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&tenant);
        } else {
            self.order.push_back(tenant);
        }
        self.waiting -= 1;
        if self.waiting == 0 {
            // Frees the memory that many waiting streams needed.
            *self = Turns::default();
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_alone_does_not_wait_for_all_of_a_fleet() {
        let mut turns = Turns::default();
        (0..100).for_each(|key| turns.push(1, (key, 0)));
        turns.push(2, (1000, 0));
        turns.push(3, (2000, 0));
        let order: Vec<u32> = std::iter::from_fn(|| turns.pop()).map(|entry| entry.0).collect();
        assert_eq!(order[..5], [0, 1000, 2000, 1, 2]);
        assert_eq!((order.len(), turns.len()), (102, 0));
    }
}
