//! Limits how many connections are half open: those that take memory and have not asked for anything yet. When there are too
//! many, the oldest gives way, so that whoever comes is served, however many others never finish.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(super) struct Crowd {
    most: usize,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    next: u64,
    /// By age; dropping a sender tells its member to give way.
    by_age: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One half-open connection; dropping it gives its place back.
pub(super) struct Member {
    crowd: Arc<Crowd>,
    number: u64,
    gives_way: oneshot::Receiver<()>,
}

impl Crowd {
    pub(super) fn new(most: usize) -> Arc<Crowd> {
        Arc::new(Crowd { most, members: Mutex::default() })
    }

    pub(super) fn enter(self: &Arc<Self>) -> Member {
        let (sender, gives_way) = oneshot::channel();
        let mut members = self.members.lock();
        let number = members.next;
        members.next += 1;
        members.by_age.insert(number, sender);
        if members.by_age.len() > self.most {
            members.by_age.pop_first();
        }
        drop(members);
        Member { crowd: Arc::clone(self), number, gives_way }
    }
}

impl Member {
    /// Ends when the member has to give way.
    pub(super) async fn gives_way(&mut self) {
        // Nothing is ever sent: the sender is dropped.
        let _ = (&mut self.gives_way).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.members.lock().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn the_oldest_gives_way_and_a_place_comes_back() {
        let crowd = Crowd::new(2);
        let (mut first, mut second) = (crowd.enter(), crowd.enter());
        assert_eq!(first.gives_way().now_or_never(), None);
        let mut third = crowd.enter();
        assert_eq!(first.gives_way().now_or_never(), Some(()));
        assert_eq!((second.gives_way().now_or_never(), third.gives_way().now_or_never()), (None, None));
        drop((first, second));
        let mut fourth = crowd.enter();
        assert_eq!((third.gives_way().now_or_never(), fourth.gives_way().now_or_never()), (None, None));
        drop((third, fourth));
        assert!(crowd.members.lock().by_age.is_empty());
    }
}
