//! The views that require a field to begin with a text: one look for each length that such a text has, however many there are.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;
use std::sync::Arc;

use crate::live::text_views::TextViews;
use crate::live::view::View;
use crate::record::selector::{hash_of_prefix, hashes_of_prefixes};

/// A collision of hashes only costs one evaluation of a filter.
#[derive(Debug, Default)]
pub(super) struct PrefixViews {
    /// By the length in bytes and the hash of the prefix.
    by_prefix: HashMap<(usize, u64), TextViews>,
    /// The lengths, each with how many prefixes of `by_prefix` have it.
    lengths: BTreeMap<usize, usize>,
}

impl PrefixViews {
    pub(super) fn add(&mut self, prefix: &str, view: &Arc<View>, hasher: &RandomState) {
        let views = self.by_prefix.entry((prefix.len(), hash_of_prefix(prefix, hasher))).or_default();
        if views.is_empty() {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        views.add(view);
    }

    pub(super) fn remove(&mut self, prefix: &str, view: &Arc<View>, hasher: &RandomState) {
        let Entry::Occupied(mut views) = self.by_prefix.entry((prefix.len(), hash_of_prefix(prefix, hasher)))
        else {
            return;
        };
        views.get_mut().remove(view);
        if views.get().is_empty() {
            views.remove();
            self.forget_length(prefix.len());
        }
    }

    fn forget_length(&mut self, length: usize) {
        let Some(prefixes) = self.lengths.get_mut(&length) else { return };
        *prefixes -= 1;
        if *prefixes == 0 {
            self.lengths.remove(&length);
        }
    }

    /// How many views are found by this prefix alone.
    pub(super) fn listed(&self, prefix: &str, hasher: &RandomState) -> usize {
        self.by_prefix.get(&(prefix.len(), hash_of_prefix(prefix, hasher))).map_or(0, TextViews::listed)
    }

    /// The views of each prefix that the text begins with.
    pub(super) fn find(&self, text: &str, hasher: &RandomState) -> impl Iterator<Item = &TextViews> {
        let lengths = self.lengths.range(..=text.len()).map(|(length, _)| *length);
        let prefixes = lengths.clone().zip(hashes_of_prefixes(text, lengths, hasher));
        prefixes.filter_map(|prefix| self.by_prefix.get(&prefix))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<View>> {
        self.by_prefix.values().flat_map(TextViews::all)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_prefix.is_empty() && self.lengths.is_empty()
    }
}
