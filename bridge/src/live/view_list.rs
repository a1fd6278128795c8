//! The views under one value of an index. Nearly always it is one.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::live::view::View;

#[derive(Debug, Default)]
pub(super) struct ViewList {
    views: SmallVec<[Arc<View>; 1]>,
}

impl ViewList {
    /// Adds a view, unless it was the last that was added: a view may have a value twice.
    pub(super) fn add(&mut self, view: &Arc<View>) {
        if !self.ends_with(view) {
            self.views.push(view.clone());
        }
    }

    /// Whether the view was the last that was added.
    pub(super) fn ends_with(&self, view: &Arc<View>) -> bool {
        self.views.last().is_some_and(|last| Arc::ptr_eq(last, view))
    }

    /// Removes a view, if it is there.
    pub(super) fn remove(&mut self, view: &Arc<View>) {
        if let Some(place) = self.views.iter().position(|other| Arc::ptr_eq(other, view)) {
            self.views.swap_remove(place);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<View>> {
        self.views.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.views.is_empty()
    }
}
