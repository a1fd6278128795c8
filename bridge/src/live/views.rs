//! The views that have readers, by their keys.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

use crate::live::view::View;
use crate::live::view_key::ViewKey;

#[derive(Default)]
pub(crate) struct Views {
    table: HashTable<Arc<View>>,
    /// Randomly keyed, since clients choose the keys.
    hasher: RandomState,
}

impl Views {
    pub(crate) fn get(&self, key: &ViewKey) -> Option<&Arc<View>> {
        self.table.find(self.hasher.hash_one(key), |view| view.key() == key)
    }

    /// Adds a view. No other view may have its key.
    pub(crate) fn insert(&mut self, view: Arc<View>) {
        let hash = self.hasher.hash_one(view.key());
        self.table.insert_unique(hash, view, |view| self.hasher.hash_one(view.key()));
    }

    pub(crate) fn remove(&mut self, view: &Arc<View>) {
        let hash = self.hasher.hash_one(view.key());
        if let Ok(entry) = self.table.find_entry(hash, |other| Arc::ptr_eq(other, view)) {
            entry.remove();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<View>> {
        self.table.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}
