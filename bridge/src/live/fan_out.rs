//! Finds the views that a record may concern: views of its tenant, and, of those whose filters require something of a field (a value,
//! a beginning, a side of a bound, or that it is there), only the views that get it. So the cost of a record grows with the views
//! that match, not with all views.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::base::sync::RwLock;
use crate::live::field_views::FieldViews;
use crate::live::view::View;
use crate::record::RecordRef;
use crate::record::field::Field;
use crate::record::selector::{Breadth, Selector};
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
    /// The other views, each indexed by one condition of its filter, or by each of its alternatives.
    by_field: Vec<FieldViews>,
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
        // A view whose filter names several values of a field, or alternatives, is in the index once for each.
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
        if view.key().selectors().is_empty() {
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
        let selectors = view.key().selectors();
        match selectors.into_iter().min_by_key(|selector| self.rank(selector, hasher)) {
            None => self.all.push(view.clone()),
            Some(selector) => {
                for requirement in &selector.any_of {
                    self.field(requirement.field).add(&requirement.sought, view, hasher);
                }
            }
        }
    }

    /// Removes a view. Under which of its conditions it is, is not noted: it is looked for under all of them.
    fn remove(&mut self, view: &Arc<View>, hasher: &RandomState) {
        let selectors = view.key().selectors();
        if selectors.is_empty() {
            return self.all.retain(|other| !Arc::ptr_eq(other, view));
        }
        for requirement in selectors.iter().flat_map(|selector| &selector.any_of) {
            let Some(at) = self.by_field.iter().position(|field| field.field == *requirement.field) else {
                continue;
            };
            self.by_field[at].remove(&requirement.sought, view, hasher);
            if self.by_field[at].is_empty() {
                self.by_field.swap_remove(at);
            }
        }
    }

    /// The least is the condition to index a view by. Texts come before bounds, which many records meet. Of texts it is the one that the
    /// fewest views have so far: a filter by region and user is indexed by user.
    fn rank(&self, selector: &Selector<'_>, hasher: &RandomState) -> (Breadth, usize, Breadth) {
        let breadth = selector.breadth();
        let listed = selector.any_of.iter().filter_map(|requirement| {
            let field = self.by_field.iter().find(|field| field.field == *requirement.field)?;
            Some(field.listed(&requirement.sought, hasher))
        });
        (breadth.max(Breadth::Prefixes), listed.max().unwrap_or(0), breadth)
    }

    fn field(&mut self, field: &Field) -> &mut FieldViews {
        let at = self.by_field.iter().position(|known| known.field == *field).unwrap_or_else(|| {
            self.by_field.push(FieldViews::of(field));
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
                field.find(&record, hasher, |view| {
                    let place = *places.entry(Arc::as_ptr(view)).or_insert_with(|| {
                        concerned.some.push((view.clone(), Vec::new()));
                        concerned.some.len() - 1
                    });
                    let numbers = &mut concerned.some[place].1;
                    // Several alternatives of a view may have found it.
                    if numbers.last() != Some(&number) {
                        numbers.push(number);
                    }
                });
            }
        }
        concerned
    }

    fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.all.iter().chain(self.by_field.iter().flat_map(FieldViews::all))
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.by_field.is_empty()
    }
}
