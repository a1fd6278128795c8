//! The name of a tenant, and a cache of the names that came last.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use triomphe::ThinArc;

/// Bytes of a tenant's name.
const MAX_TENANT: usize = 128;
/// Tenants whose names a thread caches: a power of two.
const MAX_NAMES: usize = 4096;

/// The name of a tenant: UTF-8, 1 to 128 bytes, no control characters, not `*`.
///
/// Its hash is stored with it: tenants are looked up with every record, by names that seldom change. It is as small as a
/// pointer, since each segment has one for each of its tenants.
#[derive(Clone)]
pub struct TenantId(ThinArc<u64, u8>);

impl TenantId {
    /// Checks a name.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn new(name: &str) -> Result<TenantId, String> {
        match flaw(name) {
            Some(flaw) => Err(format!("a tenant's name {flaw}")),
            None => Ok(TenantId::of(name)),
        }
    }

    pub(crate) fn of(name: &str) -> TenantId {
        /// One key for all names, drawn at random by each process, so that nobody can choose names that collide.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        TenantId(ThinArc::from_header_and_slice(KEY.hash_one(name), name.as_bytes()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        // It was made of text.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// The hash of the name, which differs between processes.
    pub(crate) fn hash_value(&self) -> u64 {
        self.0.header.header
    }
}

impl PartialEq for TenantId {
    fn eq(&self, other: &TenantId) -> bool {
        // Nearly always both are the same allocation, or different tenants.
        self.0.as_ptr() == other.0.as_ptr()
            || (self.hash_value() == other.hash_value() && self.as_bytes() == other.as_bytes())
    }
}

impl Eq for TenantId {}

impl PartialOrd for TenantId {
    fn partial_cmp(&self, other: &TenantId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TenantId {
    fn cmp(&self, other: &TenantId) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for TenantId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash_value());
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({:?})", self.as_str())
    }
}

/// A map by tenant that uses the hash stored with the name.
pub(crate) type TenantMap<V> = HashMap<TenantId, V, BuildHasherDefault<BorneHash>>;

/// The hasher for keys that store their hash.
#[derive(Debug, Default)]
pub(crate) struct BorneHash(u64);

impl Hasher for BorneHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The tenants that came last, so that the next record's name need not be checked or copied. For one thread.
#[derive(Debug)]
pub struct TenantNames {
    /// Indexed by a few bits of a hash of the name. Two names with the same slot replace each other; that only costs time.
    slots: Box<[Option<TenantId>]>,
}

impl Default for TenantNames {
    fn default() -> TenantNames {
        TenantNames { slots: vec![None; MAX_NAMES].into() }
    }
}

impl TenantNames {
    /// The tenant of that name, or what is wrong with it.
    pub(crate) fn tenant(&mut self, name: &[u8]) -> Result<TenantId, &'static str> {
        let slot = &mut self.slots[slot_of(name)];
        if let Some(tenant) = slot
            && tenant.as_bytes() == name
        {
            return Ok(tenant.clone());
        }
        let text = std::str::from_utf8(name).map_err(|_| "is not UTF-8")?;
        match flaw(text) {
            Some(flaw) => Err(flaw),
            None => Ok(slot.insert(TenantId::of(text)).clone()),
        }
    }
}

/// A hash that is cheap, and good enough for names that differ in a few digits.
fn slot_of(name: &[u8]) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, bytes: u64| (hash.rotate_left(5) ^ bytes).wrapping_mul(SPREAD);
    let (words, rest) = name.as_chunks::<8>();
    let hash = words.iter().fold(name.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let rest = rest.iter().fold(0, |rest, byte| rest << 8 | u64::from(*byte));
    (mix(hash, rest) >> (u64::BITS - MAX_NAMES.ilog2())) as usize
}

fn flaw(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("is empty"),
        "*" => Some("is *, which is reserved"),
        _ if name.len() > MAX_TENANT => Some("is longer than 128 bytes"),
        _ if name.chars().any(char::is_control) => Some("has control characters"),
        _ => None,
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    #[test]
    fn names_of_tenants_are_checked() {
        for good in ["a", "Ünïcode ✓", "a/b", &"x".repeat(128)] {
            assert_eq!(TenantId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "*", "a\nb", "\u{85}", &"x".repeat(129)] {
            assert!(TenantId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_that_meet_in_one_slot_are_told_apart() {
        let mut names = TenantNames::default();
        for round in 0..2 {
            for number in 0..3 * MAX_NAMES {
                let name = format!("tenant-{number}");
                let found = names.tenant(name.as_bytes()).unwrap();
                assert_eq!((found.as_str(), &found), (&*name, &tenant(&name)), "round {round}");
            }
        }
        assert!(names.tenant(b"*").is_err() && names.tenant(b"a\xff").is_err());
    }

    #[test]
    fn a_name_that_came_before_is_not_copied() {
        let mut names = TenantNames::default();
        let (first, second) = (names.tenant(b"acme").unwrap(), names.tenant(b"acme").unwrap());
        assert!(first.0.as_ptr() == second.0.as_ptr());
    }
}
