//! Who is told that a view has something new. Nearly always it is one: there may be very many views.

use std::sync::Arc;
use std::task::Waker;

use smallvec::SmallVec;

use crate::view::View;

/// Rung when a view has something new, by whoever brought it. It must not block.
pub trait Bell: Send + Sync {
    /// `number` is the one that it was hung up with.
    fn ring(&self, number: u32);
}

/// Has a bell rung whenever a view has something new, until it is dropped.
pub struct Ear {
    view: Arc<View>,
    serial: u32,
}

impl Ear {
    pub(crate) fn new(view: Arc<View>, bell: Arc<dyn Bell>, number: u32) -> Ear {
        let serial = view.ears.lock().open(bell, number);
        Ear { view, serial }
    }

    /// To be called before the view is looked at: the bell rings once, and again for what comes after this.
    pub fn heard(&self) {
        self.view.ears.lock().heard(self.serial);
    }

    /// Distinguishes the view from all others that are open; see [`Subscription::view`](crate::Subscription::view).
    pub fn view(&self) -> usize {
        Arc::as_ptr(&self.view) as usize
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.view.ears.lock().close(self.serial);
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
    open: SmallVec<[Listener; 1]>,
    next: u32,
}

struct Listener {
    bell: Arc<dyn Bell>,
    number: u32,
    serial: u32,
    /// Whether it was told, and has not said since that it heard.
    told: bool,
}

impl Ears {
    fn open(&mut self, bell: Arc<dyn Bell>, number: u32) -> u32 {
        self.next = self.next.wrapping_add(1);
        let serial = self.next;
        self.open.push(Listener { bell, number, serial, told: false });
        serial
    }

    fn close(&mut self, serial: u32) {
        self.open.retain(|listener| listener.serial != serial);
    }

    fn heard(&mut self, serial: u32) {
        let listener = self.open.iter_mut().find(|listener| listener.serial == serial);
        listener.into_iter().for_each(|listener| listener.told = false);
    }

    pub(crate) fn tell(&mut self) {
        for listener in &mut self.open {
            if !std::mem::replace(&mut listener.told, true) {
                listener.bell.ring(listener.number);
            }
        }
    }
}

impl std::fmt::Debug for Ears {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ears").field(&self.open.len()).finish()
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
    use crate::sync::Mutex;

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
        assert_eq!(*rung.0.lock(), [5]);
    }
}
