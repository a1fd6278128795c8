//! Who is told that a view has something new. Nearly always it is one: there may be very many views.

use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use crate::live::view::View;

/// Rung when a view has something new, by whoever brought it. It must not block.
pub trait Bell: Send + Sync {
    /// `number` is the one that it was hung up with.
    fn ring(&self, number: u32);
}

/// Has a bell rung whenever a view has something new, until it is dropped.
pub struct Ear {
    view: Arc<View>,
    place: u32,
}

impl Ear {
    pub(crate) fn new(view: Arc<View>, bell: Arc<dyn Bell>, number: u32) -> Ear {
        let place = view.ears.lock().open(bell, number);
        Ear { view, place }
    }

    /// To be called before the view is looked at: the bell rings once, and again for what comes after this.
    pub fn heard(&self) {
        self.view.ears.lock().heard(self.place);
    }

    /// Distinguishes the view from all others that are open; see [`Subscription::view`](crate::Subscription::view).
    pub fn view(&self) -> usize {
        Arc::as_ptr(&self.view) as usize
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.view.ears.lock().close(self.place);
    }
}

impl std::fmt::Debug for Ear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ear").field("view", self.view.key()).finish()
    }
}

/// The ears of one view.
#[derive(Default)]
pub(crate) struct Ears {
    /// The one at place 0.
    first: Option<Listener>,
    /// Those from place 1 on.
    others: Option<Box<Slab<Listener>>>,
}

struct Listener {
    bell: Arc<dyn Bell>,
    number: u32,
    /// Whether it was told, and has not said since that it heard.
    told: bool,
}

impl Listener {
    fn tell(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.bell.ring(self.number);
        }
    }
}

impl Ears {
    /// Gives its place, which is its own until it is closed.
    fn open(&mut self, bell: Arc<dyn Bell>, number: u32) -> u32 {
        let listener = Listener { bell, number, told: false };
        if self.first.is_none() {
            self.first = Some(listener);
            return 0;
        }
        self.others.get_or_insert_default().insert(listener) as u32 + 1
    }

    fn close(&mut self, place: u32) {
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

    fn heard(&mut self, place: u32) {
        let listener = match place.checked_sub(1) {
            None => self.first.as_mut(),
            Some(other) => self.others.as_mut().and_then(|others| others.get_mut(other as usize)),
        };
        if let Some(listener) = listener {
            listener.told = false;
        }
    }

    pub(crate) fn tell(&mut self) {
        self.first.iter_mut().for_each(Listener::tell);
        self.others.iter_mut().flat_map(|others| others.iter_mut()).for_each(|(_, other)| other.tell());
    }
}

impl std::fmt::Debug for Ears {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let others = self.others.as_ref().map_or(0, |others| others.len());
        f.debug_tuple("Ears").field(&(usize::from(self.first.is_some()) + others)).finish()
    }
}

/// Wakes a task that waits once.
pub(crate) struct TaskBell(pub(crate) Waker);

impl Bell for TaskBell {
    fn ring(&self, _: u32) {
        self.0.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync::Mutex;

    #[derive(Default)]
    struct Rung(Mutex<Vec<u32>>);

    impl Bell for Rung {
        fn ring(&self, number: u32) {
            self.0.lock().push(number);
        }
    }

    #[test]
    fn a_bell_rings_once_until_it_is_heard() {
        let (mut ears, rung) = (Ears::default(), Arc::new(Rung::default()));
        let five = ears.open(rung.clone(), 5);
        let six = ears.open(rung.clone(), 6);
        (0..3).for_each(|_| ears.tell());
        assert_eq!(std::mem::take(&mut *rung.0.lock()), [5, 6]);
        ears.heard(six);
        ears.tell();
        assert_eq!(std::mem::take(&mut *rung.0.lock()), [6]);
        ears.close(six);
        ears.heard(five);
        ears.heard(six);
        ears.tell();
        assert_eq!(std::mem::take(&mut *rung.0.lock()), [5]);
        // Who comes later has not been told, and may have the place of one that has.
        ears.close(five);
        ears.open(rung.clone(), 7);
        ears.open(rung.clone(), 8);
        ears.tell();
        assert_eq!(*rung.0.lock(), [7, 8]);
    }
}
