//! The views under one value or prefix of an index. Where they are many, those that also require one side of a bound are found by it:
//! with ten thousand filters `type=created&where=value.total>N`, an event of that type costs those whose bound it meets.

use std::sync::Arc;

use crate::live::range_views::RangeViews;
use crate::live::view::View;
use crate::live::view_list::ViewList;
use crate::record::RecordRef;
use crate::record::field::{Content, Field};
use crate::record::number::Number;

/// How many views are listed before others are found by their bounds. A sorted bound takes about 1 KiB where it is the only one, and
/// evaluating so many filters takes a few microseconds.
pub(super) const MAX_LISTED: usize = 16;

#[derive(Debug, Default)]
pub(super) struct TextViews {
    listed: ViewList,
    /// The bounds of the other views, by their field. Nearly always there are none.
    bounded: Vec<(Field, RangeViews)>,
}

impl TextViews {
    pub(super) fn add(&mut self, view: &Arc<View>) {
        let is_full = self.listed.len() >= MAX_LISTED && !self.listed.ends_with(view);
        match view.key().filter().bound().filter(|_| is_full) {
            Some((field, wanted, bound)) => self.ranges(field).add(wanted, bound, view),
            None => self.listed.add(view),
        }
    }

    /// Removes a view, if it is there. Whether it is listed is not noted.
    pub(super) fn remove(&mut self, view: &Arc<View>) {
        self.listed.remove(view);
        let Some((field, wanted, bound)) = view.key().filter().bound() else { return };
        let Some(at) = self.bounded.iter().position(|(known, _)| known == field) else { return };
        self.bounded[at].1.remove(wanted, bound, view);
        if self.bounded[at].1.is_empty() {
            self.bounded.swap_remove(at);
        }
    }

    /// Hands over the views that a record with the value or prefix may concern; some may come more than once.
    pub(super) fn find<'v>(&'v self, record: &RecordRef<'_>, mut found: impl FnMut(&'v Arc<View>)) {
        self.listed.iter().for_each(&mut found);
        for (field, ranges) in &self.bounded {
            if let Content::Text(text) = field.of(record) {
                ranges.find(&text, Number::parse(&text), &mut found);
            }
        }
    }

    /// How many views are found by the value or prefix alone.
    pub(super) fn listed(&self) -> usize {
        self.listed.len()
    }

    /// Some may come more than once.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<View>> {
        self.listed.iter().chain(self.bounded.iter().flat_map(|(_, ranges)| ranges.all()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.bounded.is_empty()
    }

    fn ranges(&mut self, field: &Field) -> &mut RangeViews {
        let at = self.bounded.iter().position(|(known, _)| known == field).unwrap_or_else(|| {
            self.bounded.push((field.clone(), RangeViews::default()));
            self.bounded.len() - 1
        });
        &mut self.bounded[at].1
    }
}
