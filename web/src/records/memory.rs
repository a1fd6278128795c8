//! The memory of pages that are not sent yet. A page that is one document is made whole before its head is sent, since the head
//! says whether it can change; one of lines keeps what its last line has. A client that reads slowly, or not at all, keeps them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::problem::{Passing, PassingCode};

/// All pages together, in bytes: sixty-four of the largest, and thousands of the usual size.
const MOST: usize = 64 << 20;

/// When to ask again if slow clients hold all of it.
const RETRY_FULL: Duration = Duration::from_secs(5);

/// The sum over all pages, shared by all requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageMemory(Arc<AtomicUsize>);

/// The memory of one page; dropping it gives the memory back.
#[derive(Debug)]
pub(super) struct HeldMemory {
    memory: PageMemory,
    bytes: usize,
}

impl PageMemory {
    fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A page of no bytes yet.
    pub(super) fn hold(&self) -> HeldMemory {
        HeldMemory { memory: self.clone(), bytes: 0 }
    }
}

impl HeldMemory {
    /// Whether no page should grow.
    pub(super) fn is_full(&self) -> bool {
        self.memory.held() >= MOST
    }

    /// The page has so many bytes now.
    pub(super) fn set(&mut self, bytes: usize) {
        self.memory.0.fetch_add(bytes, Ordering::Relaxed);
        self.memory.0.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

/// Why there is no page while all the memory is held.
pub(super) fn full() -> Passing {
    let detail = "clients that read slowly hold all the memory for pages";
    Passing::new(PassingCode::Overloaded, detail, RETRY_FULL)
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pages_hold_is_counted_until_they_are_dropped() {
        let memory = PageMemory::default();
        let (mut one, mut two) = (memory.hold(), memory.hold());
        one.set(10);
        two.set(MOST);
        one.set(4);
        assert_eq!((memory.held(), one.is_full()), (MOST + 4, true));
        drop(two);
        assert_eq!((memory.held(), one.is_full()), (4, false));
        drop(one);
        assert_eq!(memory.held(), 0);
    }
}
