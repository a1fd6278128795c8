//! Locks and atomics: `parking_lot`'s and the standard library's, or `shuttle`'s under model checking. Locks have a [`Rank`]; a
//! thread may take a lock only while all locks that it holds have lower ranks.

#![allow(clippy::disallowed_types, reason = "here alone")]

use std::ops::{Deref, DerefMut};

use crate::base::lock_order::{Held, Rank};

#[cfg(feature = "shuttle")]
mod raw {
    use shuttle::sync::{Mutex as Inner, RwLock as RwInner};
    pub(super) use shuttle::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    #[derive(Debug, Default)]
    pub(super) struct Mutex<T>(Inner<T>);

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Self {
            Mutex(Inner::new(value))
        }
        pub(super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
        }
        pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    #[derive(Debug, Default)]
    pub(super) struct RwLock<T>(RwInner<T>);

    impl<T> RwLock<T> {
        pub(super) fn new(value: T) -> Self {
            RwLock(RwInner::new(value))
        }
        pub(super) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
        }
        pub(super) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
        }
    }
}

#[cfg(not(feature = "shuttle"))]
mod raw {
    pub(super) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
}

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::atomic;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::atomic;

const LEAF: u8 = Rank::Leaf as u8;

/// A mutex with a rank. By default it is a leaf: no other lock is taken while it is held.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T, const RANK: u8 = LEAF>(raw::Mutex<T>);

impl<T, const RANK: u8> Mutex<T, RANK> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(raw::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let held = Held::in_order(RANK);
        Guard { guard: self.0.lock(), _held: held }
    }

    /// Allowed in any order, since it does not wait.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        Some(Guard { guard: self.0.try_lock()?, _held: Held::new(RANK) })
    }
}

/// A lock for many readers or one writer, with a rank as a [`Mutex`] has. A thread must not read twice at once.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T, const RANK: u8 = LEAF>(raw::RwLock<T>);

impl<T, const RANK: u8> RwLock<T, RANK> {
    pub(crate) fn new(value: T) -> Self {
        RwLock(raw::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> Guard<raw::RwLockReadGuard<'_, T>> {
        let held = Held::in_order(RANK);
        Guard { guard: self.0.read(), _held: held }
    }

    pub(crate) fn write(&self) -> Guard<raw::RwLockWriteGuard<'_, T>> {
        let held = Held::in_order(RANK);
        Guard { guard: self.0.write(), _held: held }
    }
}

pub(crate) type MutexGuard<'a, T> = Guard<raw::MutexGuard<'a, T>>;

/// The guard of a lock, with the record that this thread holds the lock.
pub(crate) struct Guard<G> {
    guard: G,
    _held: Held,
}

impl<G: Deref> Deref for Guard<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Guard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}
