//! Who is notified that a view has something new. Nearly every view has one listener; there may be very many views.

use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use crate::live::view::View;

/// Called when a view has something new, on the thread that changed the view. It must not block.
pub trait Notify: Send + Sync {
    /// `number` is the number given when the listener was registered.
    fn notify(&self, number: u32);
}

/// Registers a target of notifications with a view, until the listener is dropped.
pub struct Listener {
    view: Arc<View>,
    place: u32,
}

impl Listener {
    pub(crate) fn new(view: Arc<View>, target: Arc<dyn Notify>, number: u32) -> Listener {
        let place = view.listeners.lock().add(target, number);
        Listener { view, place }
    }

    /// To be called before the view is read. The target is notified once, of the first change after this call.
    pub fn rearm(&self) {
        self.view.listeners.lock().rearm(self.place);
    }

    /// Distinguishes the view from all other open views; see [`Subscription::view`](crate::Subscription::view).
    pub fn view(&self) -> usize {
        Arc::as_ptr(&self.view) as usize
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.view.listeners.lock().remove(self.place);
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("view", self.view.key()).finish()
    }
}

/// The listeners of one view.
#[derive(Default)]
pub(crate) struct Listeners {
    /// The entry at place 0.
    first: Option<Entry>,
    /// The entries from place 1 on.
    others: Option<Box<Slab<Entry>>>,
}

struct Entry {
    target: Arc<dyn Notify>,
    number: u32,
    /// Whether it was notified and has not been rearmed since.
    notified: bool,
}

impl Entry {
    fn notify(&mut self) {
        if !std::mem::replace(&mut self.notified, true) {
            self.target.notify(self.number);
        }
    }
}

impl Listeners {
    /// Returns the entry's place, which belongs to it until it is removed.
    fn add(&mut self, target: Arc<dyn Notify>, number: u32) -> u32 {
        let entry = Entry { target, number, notified: false };
        if self.first.is_none() {
            self.first = Some(entry);
            return 0;
        }
        self.others.get_or_insert_default().insert(entry) as u32 + 1
    }

    fn remove(&mut self, place: u32) {
        let Some(other) = place.checked_sub(1) else {
            self.first = None;
            return;
        };
        if let Some(others) = &mut self.others {
            others.try_remove(other as usize);
            if others.is_empty() {
                self.others = None;
            }
        }
    }

    fn rearm(&mut self, place: u32) {
        let entry = match place.checked_sub(1) {
            None => self.first.as_mut(),
            Some(other) => self.others.as_mut().and_then(|others| others.get_mut(other as usize)),
        };
        if let Some(entry) = entry {
            entry.notified = false;
        }
    }

    pub(crate) fn notify(&mut self) {
        self.first.iter_mut().for_each(Entry::notify);
        self.others.iter_mut().flat_map(|others| others.iter_mut()).for_each(|(_, other)| other.notify());
    }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let others = self.others.as_ref().map_or(0, |others| others.len());
        f.debug_tuple("Listeners").field(&(usize::from(self.first.is_some()) + others)).finish()
    }
}

/// Wakes a task that waits once.
pub(crate) struct NotifyTask(pub(crate) Waker);

impl Notify for NotifyTask {
    fn notify(&self, _: u32) {
        self.0.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync::Mutex;

    #[derive(Default)]
    struct Seen(Mutex<Vec<u32>>);

    impl Notify for Seen {
        fn notify(&self, number: u32) {
            self.0.lock().push(number);
        }
    }

    #[test]
    fn a_listener_is_notified_once_until_it_is_rearmed() {
        let (mut listeners, log) = (Listeners::default(), Arc::new(Seen::default()));
        let five = listeners.add(log.clone(), 5);
        let six = listeners.add(log.clone(), 6);
        (0..3).for_each(|_| listeners.notify());
        assert_eq!(std::mem::take(&mut *log.0.lock()), [5, 6]);
        listeners.rearm(six);
        listeners.notify();
        assert_eq!(std::mem::take(&mut *log.0.lock()), [6]);
        listeners.remove(six);
        listeners.rearm(five);
        listeners.rearm(six);
        listeners.notify();
        assert_eq!(std::mem::take(&mut *log.0.lock()), [5]);
        // A later listener counts as not notified, even at the place of one that had been notified.
        listeners.remove(five);
        listeners.add(log.clone(), 7);
        listeners.add(log.clone(), 8);
        listeners.notify();
        assert_eq!(*log.0.lock(), [7, 8]);
    }
}
