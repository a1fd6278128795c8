//! One budget in bytes for everything that grows with traffic. Each owner of such memory holds a [`Charge`] to an [`Account`].

use std::sync::Arc;

use crate::base::sync::atomic::{AtomicUsize, Ordering};

/// Shares of the budget, in eighths. They are fixed, so that neither history nor frames ever displace the tail. Only what the
/// tail and frames do not use of their shares is lent to packed history, until they need it.
const TAIL_EIGHTHS: usize = 6;
const HISTORY_EIGHTHS: usize = 1;
const RINGS_EIGHTHS: usize = 1;
/// What indexes of keys, and windows of replays that keep only the newest record of each key, may take of the tail's share.
const KEYS_EIGHTHS: usize = 2;
const WINDOWS_EIGHTHS: usize = 1;

/// Bytes of one segment of the tail: small enough to be evicted one by one, large enough that there are few.
const MAX_SEGMENT: usize = 1024 * 1024;
const MIN_SEGMENT: usize = 16 * 1024;

/// Bytes in use for one purpose. Clones share the account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicUsize,
    /// Charges of at least one byte.
    holders: AtomicUsize,
}

impl Account {
    /// Bytes of all charges together.
    pub(crate) fn used(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// How many charges are of at least one byte.
    pub(crate) fn holders(&self) -> usize {
        self.0.holders.load(Ordering::Relaxed)
    }

    /// Charges so many bytes, until the returned charge is dropped.
    pub(crate) fn charge(&self, bytes: usize) -> Charge {
        let mut charge = Charge { account: self.clone(), bytes: 0 };
        charge.set(bytes);
        charge
    }
}

/// Bytes charged to an account. The owner of the memory owns the charge too; dropping it releases the bytes.
#[derive(Debug, Default)]
pub(crate) struct Charge {
    account: Account,
    bytes: usize,
}

impl Charge {
    /// Bytes that are charged now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The account of the charge.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Changes the charge to so many bytes.
    pub(crate) fn set(&mut self, bytes: usize) {
        let (counts, before) = (&self.account.0, std::mem::replace(&mut self.bytes, bytes));
        match bytes.checked_sub(before) {
            Some(0) => return,
            Some(more) => counts.bytes.fetch_add(more, Ordering::Relaxed),
            None => counts.bytes.fetch_sub(before - bytes, Ordering::Relaxed),
        };
        match (before, bytes) {
            (0, _) => drop(counts.holders.fetch_add(1, Ordering::Relaxed)),
            (_, 0) => drop(counts.holders.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The budget: its shares, and what the tail and the frames use of theirs. History counts its own use.
#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    /// Segments of all partition logs.
    pub(crate) tail: Account,
    /// Frames of all views.
    pub(crate) rings: Account,
    /// Indexes of keys. They are taken from the tail's share.
    pub(crate) keys: Account,
    /// Windows of replays that keep only the newest record of each key. They are taken from the tail's share.
    pub(crate) windows: Account,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Budget {
        let [tail, rings, keys, windows]: [Account; 4] = Default::default();
        Budget { total, tail, rings, keys, windows }
    }

    /// The share of history.
    pub(crate) fn history_limit(&self) -> usize {
        self.total / 8 * HISTORY_EIGHTHS
    }

    /// The share of frames, for all views together.
    pub(crate) fn rings_limit(&self) -> usize {
        self.total / 8 * RINGS_EIGHTHS
    }

    /// The most that indexes of keys may take.
    pub(crate) fn keys_limit(&self) -> usize {
        self.total / 8 * KEYS_EIGHTHS
    }

    /// The most that windows should take.
    pub(crate) fn windows_limit(&self) -> usize {
        self.total / 8 * WINDOWS_EIGHTHS
    }

    /// Bytes of a segment if so many partitions share the tail.
    pub(crate) fn segment_size(&self, partitions: usize) -> usize {
        (self.total / 8 * TAIL_EIGHTHS / (8 * partitions.max(1))).clamp(MIN_SEGMENT, MAX_SEGMENT)
    }

    fn tail_limit(&self) -> usize {
        (self.total / 8 * TAIL_EIGHTHS).saturating_sub(self.keys.used() + self.windows.used())
    }

    /// What the tail and the rings do not use of their shares.
    pub(crate) fn unused(&self) -> usize {
        let rings = self.rings_limit().saturating_sub(self.rings.used());
        self.tail_limit().saturating_sub(self.tail.used()) + rings
    }

    /// Whether the tail uses more than its share.
    pub(crate) fn is_tail_over(&self) -> bool {
        self.tail.used() > self.tail_limit()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_account_has_what_its_charges_have(steps in vec((0..4usize, 0..3usize, 0..100usize), 0..50)) {
            let account = Account::default();
            let mut charges: Vec<Charge> = Vec::new();
            for (step, at, bytes) in steps {
                match (step, charges.get_mut(at)) {
                    (0, Some(_)) => drop(charges.swap_remove(at)),
                    (1, Some(charge)) => charge.set(bytes),
                    _ => charges.push(account.charge(bytes)),
                }
                prop_assert_eq!(account.used(), charges.iter().map(Charge::bytes).sum::<usize>());
                prop_assert_eq!(account.holders(), charges.iter().filter(|charge| charge.bytes() > 0).count());
            }
            drop(charges);
            prop_assert_eq!((account.used(), account.holders()), (0, 0));
        }
    }
}
