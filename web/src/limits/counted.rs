//! How many streams each key has, and what is kept for a key.

use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;
use slab::Slab;

/// Keys with streams, each with a value. A key has a number: ten thousand places store numbers, not names.
pub(super) struct Counted<K, V = ()> {
    /// Numbers, by the hash of their keys.
    numbers: HashTable<u32>,
    hasher: RandomState,
    entries: Slab<Entry<K, V>>,
}

struct Entry<K, V> {
    key: K,
    count: u32,
    value: V,
}

impl<K, V> Default for Counted<K, V> {
    fn default() -> Self {
        Counted { numbers: HashTable::new(), hasher: RandomState::new(), entries: Slab::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Counted<K, V> {
    fn number(&self, key: &K) -> Option<u32> {
        let is_it = |number: &u32| self.entries[*number as usize].key == *key;
        self.numbers.find(self.hasher.hash_one(key), is_it).copied()
    }

    pub(super) fn count(&self, key: &K) -> usize {
        self.number(key).map_or(0, |number| self.entries[number as usize].count as usize)
    }

    /// Counts one more; `value` makes what is kept for a key that is new, and is told its number.
    pub(super) fn enter(&mut self, key: &K, value: impl FnOnce(u32) -> V) -> u32 {
        let number = self.number(key).unwrap_or_else(|| {
            let number = self.entries.vacant_key() as u32;
            self.entries.insert(Entry { key: key.clone(), count: 0, value: value(number) });
            let hash = |number: &u32| self.hasher.hash_one(&self.entries[*number as usize].key);
            self.numbers.insert_unique(hash(&number), number, hash);
            number
        });
        self.entries[number as usize].count += 1;
        number
    }

    /// Counts one less. A key without streams is removed, unless `keep` wants its value kept.
    pub(super) fn leave(&mut self, number: u32, keep: impl FnOnce(&V) -> bool) {
        let entry = &mut self.entries[number as usize];
        debug_assert!(entry.count > 0, "whoever leaves has entered");
        entry.count = entry.count.saturating_sub(1);
        if entry.count == 0 && !keep(&entry.value) {
            self.remove(number);
        }
    }

    /// Removes the keys without streams whose values need not be kept any more.
    pub(super) fn sweep(&mut self, keep: impl Fn(&V) -> bool) {
        let is_gone = |entry: &Entry<K, V>| entry.count == 0 && !keep(&entry.value);
        let gone: Vec<u32> = self
            .entries
            .iter()
            .filter(|(_, entry)| is_gone(entry))
            .map(|(number, _)| number as u32)
            .collect();
        gone.into_iter().for_each(|number| self.remove(number));
    }

    fn remove(&mut self, number: u32) {
        let hash = self.hasher.hash_one(&self.entries[number as usize].key);
        if let Ok(entry) = self.numbers.find_entry(hash, |one| *one == number) {
            entry.remove();
        }
        self.entries.remove(number as usize);
    }

    pub(super) fn value(&self, number: u32) -> &V {
        &self.entries[number as usize].value
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(_, entry)| (&entry.key, &entry.value))
    }

    /// Keys, with and without streams.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
