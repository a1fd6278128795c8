//! The views that are found by what a record has in one field.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::RandomState;
use std::sync::Arc;

use crate::live::prefix_views::PrefixViews;
use crate::live::range_views::RangeViews;
use crate::live::text_views::TextViews;
use crate::live::view::View;
use crate::live::view_list::ViewList;
use crate::record::RecordRef;
use crate::record::field::{Content, Field};
use crate::record::number::Number;
use crate::record::selector::{Sought, hash_of};

#[derive(Debug)]
pub(super) struct FieldViews {
    pub(super) field: Field,
    /// Views that require one of a few values, by the value's hash. A collision only costs one evaluation of a filter.
    by_value: HashMap<u64, TextViews>,
    /// With very many tenants, nearly all have none of these.
    others: Option<Box<Others>>,
}

#[derive(Debug, Default)]
struct Others {
    prefixes: PrefixViews,
    ranges: RangeViews,
    /// Views that require the field to be there.
    there: ViewList,
}

impl FieldViews {
    pub(super) fn of(field: &Field) -> FieldViews {
        FieldViews { field: field.clone(), by_value: HashMap::new(), others: None }
    }

    pub(super) fn add(&mut self, sought: &Sought<'_>, view: &Arc<View>, hasher: &RandomState) {
        if let Sought::Equal(values) = sought {
            for value in values {
                self.by_value.entry(hash(value, hasher)).or_default().add(view);
            }
            return;
        }
        let others = self.others.get_or_insert_default();
        match sought {
            Sought::Equal(_) => {}
            Sought::Begins(prefixes) => {
                prefixes.iter().for_each(|prefix| others.prefixes.add(prefix, view, hasher));
            }
            Sought::Order(wanted, bound) => others.ranges.add(*wanted, bound, view),
            Sought::There => others.there.add(view),
        }
    }

    /// Removes what [`FieldViews::add`] has added, if it has.
    pub(super) fn remove(&mut self, sought: &Sought<'_>, view: &Arc<View>, hasher: &RandomState) {
        if let Sought::Equal(values) = sought {
            return values.iter().for_each(|value| self.remove_value(hash(value, hasher), view));
        }
        let Some(others) = &mut self.others else { return };
        match sought {
            Sought::Equal(_) => {}
            Sought::Begins(prefixes) => {
                prefixes.iter().for_each(|prefix| others.prefixes.remove(prefix, view, hasher));
            }
            Sought::Order(wanted, bound) => others.ranges.remove(*wanted, bound, view),
            Sought::There => others.there.remove(view),
        }
        if others.is_empty() {
            self.others = None;
        }
    }

    fn remove_value(&mut self, hash: u64, view: &Arc<View>) {
        let Entry::Occupied(mut views) = self.by_value.entry(hash) else { return };
        views.get_mut().remove(view);
        if views.get().is_empty() {
            views.remove();
        }
    }

    /// How many views are found by the text alone that has the most; 0 where they are found by a bound.
    pub(super) fn listed(&self, sought: &Sought<'_>, hasher: &RandomState) -> usize {
        let most = match (sought, &self.others) {
            (Sought::Equal(values), _) => {
                let lists = values.iter().filter_map(|value| self.by_value.get(&hash(value, hasher)));
                lists.map(TextViews::listed).max()
            }
            (Sought::Begins(prefixes), Some(others)) => {
                prefixes.iter().map(|prefix| others.prefixes.listed(prefix, hasher)).max()
            }
            _ => None,
        };
        most.unwrap_or(0)
    }

    /// Hands over the views that the record may concern; some may come more than once.
    pub(super) fn find<'v>(
        &'v self,
        record: &RecordRef<'_>,
        hasher: &RandomState,
        mut found: impl FnMut(&'v Arc<View>),
    ) {
        let content = self.field.of(record);
        if let Content::Text(text) = &content {
            let number = Number::parse(text);
            if let Some(views) = self.by_value.get(&hash_of(text, number, hasher)) {
                views.find(record, &mut found);
            }
            if let Some(others) = &self.others {
                others.prefixes.find(text, hasher).for_each(|views| views.find(record, &mut found));
                others.ranges.find(text, number, &mut found);
            }
        }
        if let Some(others) = &self.others
            && !others.there.is_empty()
            && self.field.is_there(&content, record)
        {
            others.there.iter().for_each(&mut found);
        }
    }

    /// Some come more than once.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<View>> {
        let others = self.others.as_deref().into_iter().flat_map(Others::all);
        self.by_value.values().flat_map(TextViews::all).chain(others)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_value.is_empty() && self.others.is_none()
    }
}

impl Others {
    fn all(&self) -> impl Iterator<Item = &Arc<View>> {
        self.prefixes.all().chain(self.ranges.all()).chain(self.there.iter())
    }

    fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.ranges.is_empty() && self.there.is_empty()
    }
}

fn hash(value: &str, hasher: &RandomState) -> u64 {
    hash_of(value, Number::parse(value), hasher)
}
