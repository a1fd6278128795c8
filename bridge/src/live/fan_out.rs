//! Finds the views that a record may concern: views of its tenant, and, of those whose filters require one value of a field,
//! only the views that require the record's value. So the cost of a record grows with the views that match, not with all views.

use std::collections::HashMap;
use std::collections::hash_map;
use std::hash::RandomState;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::base::sync::RwLock;
use crate::live::view::View;
use crate::record::RecordRef;
use crate::record::filter::{Equality, Field};
use crate::record::tenant::TenantId;

/// The view index of every topic, by the topic's key. Every batch reads this map, so its lock is held only briefly.
#[derive(Debug, Default)]
pub(crate) struct FanOut {
    topics: RwLock<HashMap<u64, Arc<ViewIndex>>>,
}

impl FanOut {
    /// The index of the topic with this key; a new, empty one if there is none yet.
    pub(crate) fn of(&self, key: u64) -> Arc<ViewIndex> {
        if let Some(known) = self.topics.read().get(&key) {
            return known.clone();
        }
        self.topics.write().entry(key).or_default().clone()
    }

    /// Drops the indexes of all topics but these.
    pub(crate) fn retain(&self, is_known: impl Fn(u64) -> bool) {
        self.topics.write().retain(|key, _| is_known(*key));
    }
}

/// The views of a topic. Batches read it; views come and go under the bridge's structure lock.
#[derive(Debug, Default)]
pub(crate) struct ViewIndex {
    /// Keyed by the hash that is stored with the tenant's name.
    tenants: RwLock<HashTable<TenantViews>>,
    /// Hashes field values. It is randomly keyed, since clients choose the values that they filter by.
    hasher: RandomState,
}

/// The views of one tenant.
#[derive(Debug)]
enum TenantViews {
    /// A single view that every record of the tenant may concern. With very many tenants, nearly all have only that.
    One(Arc<View>),
    Many(Box<ManyViews>),
}

#[derive(Debug)]
struct ManyViews {
    tenant: TenantId,
    /// Views that every record of the tenant may concern.
    all: Vec<Arc<View>>,
    /// The other views, each indexed by one field.
    by_field: Vec<FieldViews>,
}

/// Views that require values of one field, by the value's hash. A collision of hashes only costs one evaluation of a filter.
#[derive(Debug)]
struct FieldViews {
    field: Field,
    by_value: HashMap<u64, Vec<Arc<View>>>,
}

/// Views that some of a tenant's records may concern. Their filters have not been evaluated yet.
#[derive(Debug, Default)]
pub(crate) struct Concerned {
    /// Views that any of the records may concern.
    pub(crate) all: Vec<Arc<View>>,
    /// The other views, each with the numbers of the records that may concern it.
    pub(crate) some: Vec<(Arc<View>, Vec<u32>)>,
}

impl ViewIndex {
    pub(crate) fn insert(&self, view: &Arc<View>) {
        let mut tenants = self.tenants.write();
        match tenants.entry(hash(view.tenant()), |views| views.is_of(view.tenant()), TenantViews::hash) {
            Entry::Occupied(mut entry) => entry.get_mut().insert(view, &self.hasher),
            Entry::Vacant(entry) => drop(entry.insert(TenantViews::of(view, &self.hasher))),
        }
    }

    pub(crate) fn remove(&self, view: &Arc<View>) {
        let mut tenants = self.tenants.write();
        let found = tenants.find_entry(hash(view.tenant()), |views| views.is_of(view.tenant()));
        if let Ok(mut entry) = found
            && entry.get_mut().remove(view, &self.hasher)
        {
            entry.remove();
        }
    }

    /// The views that records of one tenant may concern. Each record comes with its number.
    pub(crate) fn concerned<'a>(
        &self,
        tenant: &TenantId,
        records: impl Iterator<Item = (u32, RecordRef<'a>)>,
    ) -> Concerned {
        match self.tenants.read().find(hash(tenant), |views| views.is_of(tenant)) {
            Some(TenantViews::One(view)) => Concerned { all: vec![view.clone()], some: Vec::new() },
            Some(TenantViews::Many(many)) => many.concerned(records, &self.hasher),
            None => Concerned::default(),
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<View>> {
        let tenants = self.tenants.read();
        let mut all = Vec::with_capacity(tenants.len());
        for views in tenants.iter() {
            match views {
                TenantViews::One(view) => all.push(view.clone()),
                TenantViews::Many(many) => all.extend(many.views().cloned()),
            }
        }
        // A view whose filter names several values of its field is in the index once for each.
        all.sort_unstable_by_key(Arc::as_ptr);
        all.dedup_by(|a, b| Arc::ptr_eq(a, b));
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tenants.read().is_empty()
    }
}

fn hash(tenant: &TenantId) -> u64 {
    tenant.hash_value()
}

impl TenantViews {
    fn of(view: &Arc<View>, hasher: &RandomState) -> TenantViews {
        if view.key().equalities().is_empty() {
            return TenantViews::One(view.clone());
        }
        let mut many = ManyViews::of(view.tenant());
        many.insert(view, hasher);
        TenantViews::Many(Box::new(many))
    }

    fn tenant(&self) -> &TenantId {
        match self {
            TenantViews::One(view) => view.tenant(),
            TenantViews::Many(many) => &many.tenant,
        }
    }

    fn is_of(&self, tenant: &TenantId) -> bool {
        self.tenant() == tenant
    }

    fn hash(&self) -> u64 {
        hash(self.tenant())
    }

    fn insert(&mut self, view: &Arc<View>, hasher: &RandomState) {
        if let TenantViews::One(first) = self {
            let mut many = ManyViews::of(first.tenant());
            many.insert(first, hasher);
            *self = TenantViews::Many(Box::new(many));
        }
        if let TenantViews::Many(many) = self {
            many.insert(view, hasher);
        }
    }

    /// Removes a view; returns whether none is left.
    fn remove(&mut self, view: &Arc<View>, hasher: &RandomState) -> bool {
        match self {
            TenantViews::One(only) => Arc::ptr_eq(only, view),
            TenantViews::Many(many) => {
                many.remove(view, hasher);
                many.is_empty()
            }
        }
    }
}

impl ManyViews {
    fn of(tenant: &TenantId) -> ManyViews {
        ManyViews { tenant: tenant.clone(), all: Vec::new(), by_field: Vec::new() }
    }

    fn insert(&mut self, view: &Arc<View>, hasher: &RandomState) {
        let equalities = view.key().equalities();
        // By the field whose values have the fewest views so far: a filter by region and user is indexed by user.
        match equalities.into_iter().min_by_key(|equality| self.crowd(equality, hasher)) {
            None => self.all.push(view.clone()),
            Some(equality) => {
                let field = self.field(equality.field);
                for hash in equality.hashes(hasher) {
                    let there = field.by_value.entry(hash).or_default();
                    // Two spellings of a number have one hash; the view is entered once.
                    if !there.last().is_some_and(|last| Arc::ptr_eq(last, view)) {
                        there.push(view.clone());
                    }
                }
            }
        }
    }

    fn remove(&mut self, view: &Arc<View>, hasher: &RandomState) {
        let stays = |other: &Arc<View>| !Arc::ptr_eq(other, view);
        let equalities = view.key().equalities();
        if equalities.is_empty() {
            return self.all.retain(stays);
        }
        for equality in equalities {
            let Some(at) = self.by_field.iter().position(|field| field.field == *equality.field) else {
                continue;
            };
            let by_value = &mut self.by_field[at].by_value;
            for hash in equality.hashes(hasher) {
                if let hash_map::Entry::Occupied(mut entry) = by_value.entry(hash) {
                    entry.get_mut().retain(stays);
                    if entry.get().is_empty() {
                        entry.remove();
                    }
                }
            }
            if by_value.is_empty() {
                self.by_field.swap_remove(at);
            }
        }
    }

    /// How many views are indexed under the most crowded of the values.
    fn crowd(&self, equality: &Equality<'_>, hasher: &RandomState) -> usize {
        let Some(field) = self.by_field.iter().find(|field| field.field == *equality.field) else { return 0 };
        equality.hashes(hasher).filter_map(|hash| field.by_value.get(&hash)).map(Vec::len).max().unwrap_or(0)
    }

    fn field(&mut self, field: &Field) -> &mut FieldViews {
        let at = self.by_field.iter().position(|known| known.field == *field).unwrap_or_else(|| {
            self.by_field.push(FieldViews { field: field.clone(), by_value: HashMap::new() });
            self.by_field.len() - 1
        });
        &mut self.by_field[at]
    }

    fn concerned<'a>(
        &self,
        records: impl Iterator<Item = (u32, RecordRef<'a>)>,
        hasher: &RandomState,
    ) -> Concerned {
        let mut concerned = Concerned { all: self.all.clone(), some: Vec::new() };
        if self.by_field.is_empty() {
            return concerned;
        }
        let mut places: HashMap<*const View, usize> = HashMap::new();
        for (number, record) in records {
            for field in &self.by_field {
                let views = field.field.hash_in(&record, hasher).and_then(|hash| field.by_value.get(&hash));
                for view in views.into_iter().flatten() {
                    let place = *places.entry(Arc::as_ptr(view)).or_insert_with(|| {
                        concerned.some.push((view.clone(), Vec::new()));
                        concerned.some.len() - 1
                    });
                    concerned.some[place].1.push(number);
                }
            }
        }
        concerned
    }

    fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.all.iter().chain(self.by_field.iter().flat_map(|field| field.by_value.values().flatten()))
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.by_field.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::TokioClock;
    use crate::live::ring_memory::RingMemory;
    use crate::live::view::Shared;
    use crate::live::view_key::ViewKey;
    use crate::log::coverage::Coverages;
    use crate::record::filter::Filter;
    use crate::record::{Headers, NewRecord, encode};
    use crate::sse::envelope::Envelope;
    use proptest::prelude::*;

    fn tenant() -> TenantId {
        TenantId::new("acme").unwrap()
    }

    fn view(keys: &[String], wheres: &[String]) -> Arc<View> {
        let filter = Filter::parse(&[], keys, wheres).unwrap();
        let key = ViewKey::new(tenant(), Vec::new(), filter, Envelope::None, false, false);
        let shared =
            Shared::new(RingMemory::default(), Duration::ZERO, Arc::new(TokioClock::new()), Arc::default());
        View::new(key, shared, Coverages::default().of(Vec::new()))
    }

    fn record<'a>(bytes: &'a mut Vec<u8>, key: &'a str, value: &'a str) -> RecordRef<'a> {
        let new = NewRecord {
            offset: 0,
            epoch: 0,
            timestamp: 0,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: Headers::default(),
            tenant: tenant(),
            event_type: None,
        };
        encode(bytes, &new);
        RecordRef::decode(bytes, 0, 0, 0)
    }

    fn wheres(all: &[&str]) -> Vec<String> {
        all.iter().map(|&one| one.to_owned()).collect()
    }

    #[test]
    fn of_ten_thousand_users_only_the_one_is_looked_at() {
        let index = ViewIndex::default();
        for user in 0..10_000 {
            index.insert(&view(&[], &wheres(&["value.region=eu", &format!("value.user={user}")])));
        }
        let mut bytes = Vec::new();
        let found = index.concerned(
            &tenant(),
            std::iter::once((7, record(&mut bytes, "k", r#"{"region":"eu","user":17}"#))),
        );
        // The first view is indexed by region: both fields were empty then.
        assert!(found.all.is_empty() && found.some.len() <= 2, "{}", found.some.len());
        assert!(found.some.iter().all(|(_, records)| records == &[7]));
    }

    #[test]
    fn what_is_removed_leaves_nothing() {
        let index = ViewIndex::default();
        let views: Vec<_> = [
            view(&[], &[]),
            view(&["a".to_owned(), "b".to_owned()], &[]),
            view(&[], &wheres(&["value.user=1,1.0,2"])),
            view(&[], &wheres(&["value.user>1"])),
        ]
        .into();
        views.iter().for_each(|view| index.insert(view));
        assert_eq!(index.all().len(), 4);
        views.iter().for_each(|view| index.remove(view));
        assert!(index.is_empty() && index.all().is_empty());
    }

    proptest! {
        #[test]
        fn every_view_whose_filter_matches_is_found_once(
            conditions in proptest::collection::vec(
                proptest::collection::vec(r"value\.(a|b)((=|!=)(0|1|1\.0|10e-1|-0|x|true|)(,1)?|<(0|1|1\.0|-0|x))", 0..3), 1..20),
            value in r#"\{"a":(0|1|1\.0|1e0|-0|"1"|"x"|true|null|\{\}),"b":(1|"x"|9007199254740993)\}|x"#,
        ) {
            let index = ViewIndex::default();
            let views: Vec<_> = conditions.iter().map(|all| view(&[], all)).collect();
            views.iter().for_each(|view| index.insert(view));
            let mut bytes = Vec::new();
            let record = record(&mut bytes, "k", &value);
            let found = index.concerned(&tenant(), std::iter::once((0, record)));
            for view in &views {
                let times = found.all.iter().filter(|other| Arc::ptr_eq(other, view)).count()
                    + found.some.iter().filter(|(other, _)| Arc::ptr_eq(other, view)).count();
                prop_assert!(times <= 1);
                prop_assert!(times == 1 || !view.key().filter().matches(&record), "{:?}", view.key().filter());
            }
        }
    }
}
