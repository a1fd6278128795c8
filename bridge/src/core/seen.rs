//! Which tenants have had records, approximately: a tenant name without any is probably misspelled, and is reported.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::tenant::TenantId;

/// A power of two, 128 KiB: with 100,000 tenants, one unknown name in ten is taken for a known one, and is not reported.
const BITS: usize = 1 << 20;
const WORDS: usize = BITS / 64;

/// A set of tenants that only grows. It has each tenant that was noted, and may seem to have one that was not.
#[derive(Debug)]
pub(crate) struct SeenTenants(Box<[AtomicU64]>);

impl Default for SeenTenants {
    fn default() -> SeenTenants {
        SeenTenants((0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl SeenTenants {
    pub(crate) fn note(&self, tenant: &TenantId) {
        let (word, bit) = self.place(tenant);
        // The bit is nearly always set: reading it first leaves the cache line shared.
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    pub(crate) fn has(&self, tenant: &TenantId) -> bool {
        let (word, bit) = self.place(tenant);
        word.load(Ordering::Relaxed) & bit != 0
    }

    fn place(&self, tenant: &TenantId) -> (&AtomicU64, u64) {
        let bit = tenant.hash_value() as usize % BITS;
        (&self.0[bit / 64], 1 << (bit % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_there_and_nearly_nothing_else() {
        let (seen, tenant) = (SeenTenants::default(), |n: usize| TenantId::new(&n.to_string()).unwrap());
        (0..1_000).for_each(|n| seen.note(&tenant(n)));
        assert!((0..1_000).all(|n| seen.has(&tenant(n))));
        let wrong = (1_000..11_000).filter(|n| seen.has(&tenant(*n))).count();
        // By chance, one in a thousand is found.
        assert!(wrong < 100, "{wrong}");
    }
}
