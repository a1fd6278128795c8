//! Locks and atomics: `parking_lot`'s and the standard library's, or `shuttle`'s under model checking. Locks have a
//! [`Rank`], and a thread may take one only after those of lower ranks.

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

/// A mutex of a rank; without one, no other lock is taken while it is held.
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

    /// In any order: it does not wait.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        Some(Guard { guard: self.0.try_lock()?, _held: Held::new(RANK) })
    }
}

/// A lock for many readers or one writer, of a rank as [`Mutex`]es have. The same thread must not read twice at once.
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

/// A lock that is held, and that this thread holds it.
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
