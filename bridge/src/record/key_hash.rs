//! A record's key as sixteen bytes, for tables of very many keys.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use crate::record::tenant::BorneHash;

/// Two hashes of a key, each with a secret of its own, which each process draws at random. Two keys that have both in common
/// would count as one: among a thousand million keys the odds of that are one to 10²⁰, and whoever chooses the keys cannot
/// improve them without the secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash([u64; 2]);

impl KeyHash {
    pub(crate) fn of(key: &[u8]) -> KeyHash {
        static SECRETS: LazyLock<[RandomState; 2]> =
            LazyLock::new(|| [RandomState::new(), RandomState::new()]);
        KeyHash(SECRETS.each_ref().map(|secret| secret.hash_one(key)))
    }
}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// For each key the offset of its newest record.
#[derive(Debug, Default)]
pub(crate) struct NewestOfKeys {
    offsets: HashMap<KeyHash, u64, BuildHasherDefault<BorneHash>>,
    /// Whether there is a record without a key.
    has_keyless: bool,
}

/// Bytes that a key takes in the table, with the room that a table has for more.
pub(crate) const KEY_BYTES: usize = 48;

impl NewestOfKeys {
    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Notes a record, in any order. Returns whether the key is new.
    pub(crate) fn note(&mut self, key: Option<&[u8]>, offset: u64) -> bool {
        let Some(key) = key else {
            self.has_keyless = true;
            return false;
        };
        let before = self.len();
        let newest = self.offsets.entry(KeyHash::of(key)).or_insert(offset);
        *newest = offset.max(*newest);
        self.len() > before
    }

    /// Whether the key is in the table.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.offsets.contains_key(&KeyHash::of(key))
    }

    /// Whether there is a record without a key.
    pub(crate) fn has_keyless(&self) -> bool {
        self.has_keyless
    }

    /// The offsets from `from` on, rising: at most `most` of them, and whether there are more.
    pub(crate) fn offsets(&self, from: u64, most: usize) -> (Vec<u64>, bool) {
        let mut offsets: Vec<u64> = self.offsets.values().copied().filter(|offset| *offset >= from).collect();
        offsets.sort_unstable();
        let is_cut = offsets.len() > most;
        offsets.truncate(most);
        offsets.shrink_to_fit();
        (offsets, is_cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_record_of_each_key_is_kept_in_whatever_order_they_come() {
        let mut newest = NewestOfKeys::default();
        let notes = [("a", 3, true), ("b", 7, true), ("a", 1, false), ("a", 9, false), ("b", 2, false)];
        for (key, offset, is_new) in notes {
            assert_eq!(newest.note(Some(key.as_bytes()), offset), is_new, "{key} at {offset}");
        }
        assert!(!newest.has_keyless());
        newest.note(None, 5);
        assert!(newest.has_keyless() && newest.has(b"a") && !newest.has(b"c"));
        assert_eq!(newest.offsets(0, 10), (vec![7, 9], false));
        assert_eq!(newest.offsets(0, 1), (vec![7], true));
        assert_eq!(newest.offsets(8, 10), (vec![9], false));
    }

    #[test]
    fn no_two_of_a_million_keys_are_taken_for_one() {
        let mut newest = NewestOfKeys::default();
        for key in 0..1_000_000_u64 {
            newest.note(Some(&key.to_le_bytes()), key);
        }
        assert_eq!(newest.len(), 1_000_000);
    }
}
