//! Which record is the newest of each key in one partition, for all tenants: what a snapshot of the partition has to read.
//!
//! It is built by one read of the partition, and kept by the records that are appended. A cut empties it: which record was the
//! newest below the cut is not known then. If the keys do not fit into the memory for all indexes, it is given up for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::signal::Signal;
use crate::base::sync::Mutex;
use crate::log::memory::Charge;
use crate::log::segment::Segment;
use crate::position::Position;
use crate::record::NewRecord;
use crate::record::key_hash::{KEY_BYTES, NewestOfKeys};
use crate::record::tenant::{TenantId, TenantMap};

/// Bytes that a tenant takes beside its keys.
const TENANT_BYTES: usize = 160;
/// How long an index that did not fit is not tried again.
const GIVEN_UP: Duration = Duration::from_secs(600);

/// The index of one partition. There is none until [`KeyIndex::begin`].
#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    None,
    /// Records are noted as they are appended, and as the build reads the older ones.
    Building(Keys),
    Ready(Keys),
    /// The keys do not fit; since when, once somebody has asked.
    TooLarge(Option<Instant>),
}

#[derive(Debug)]
struct Keys {
    /// Every record below it that was read or appended is in the index.
    end: Position,
    tenants: TenantMap<NewestOfKeys>,
    count: usize,
    charge: Charge,
    limit: usize,
    /// Happens when the build has ended, in whatever way. It also says which build it is.
    built: Arc<Signal>,
}

/// What is known of an index.
#[derive(Debug)]
pub(crate) enum Begun {
    Ready,
    /// Another task builds it, until this happens.
    Building(Arc<Signal>),
    /// The caller is to build it: to note what was appended before, then to [`KeyIndex::finish`].
    Begins(Arc<Signal>),
    /// The keys do not fit.
    TooLarge,
}

/// The newest records of a tenant's keys.
#[derive(Debug)]
pub(crate) struct NewestOffsets {
    /// Their offsets, rising.
    pub(crate) offsets: Vec<u64>,
    /// Whether there are more than these.
    pub(crate) is_cut: bool,
    /// Whether the tenant has records without a key, which are not listed.
    pub(crate) has_keyless: bool,
    /// They are the newest of all records below this position.
    pub(crate) end: Position,
}

impl KeyIndex {
    /// The index, or who builds it. `charge` is the memory for it, of an account of which `limit` bytes may be used.
    pub(crate) fn begin(&self, charge: Charge, limit: usize, now: Instant) -> Begun {
        let mut state = self.state.lock();
        match &mut *state {
            State::Ready(_) => return Begun::Ready,
            State::Building(keys) => return Begun::Building(keys.built.clone()),
            State::TooLarge(since) => {
                if now.duration_since(*since.get_or_insert(now)) < GIVEN_UP {
                    return Begun::TooLarge;
                }
            }
            State::None => {}
        }
        let built = Arc::new(Signal::default());
        let (end, tenants) = (Position { offset: 0, epoch: -1 }, TenantMap::default());
        *state = State::Building(Keys { end, tenants, count: 0, charge, limit, built: built.clone() });
        Begun::Begins(built)
    }

    /// Notes records that were appended to the log, which now ends at `end`. To be called before any view has them.
    pub(crate) fn appended(&self, records: &[NewRecord<'_>], end: Position) {
        self.change(|keys| {
            records.iter().for_each(|record| keys.note(&record.tenant, record.key, record.offset));
            keys.rise_to(end);
        });
    }

    /// The log ends at `end`, and has no further records below it.
    pub(crate) fn move_end(&self, end: Position) {
        self.change(|keys| keys.rise_to(end));
    }

    /// The log was truncated: nothing that is known of it holds.
    pub(crate) fn reset(&self) {
        let before = std::mem::take(&mut *self.state.lock());
        if let State::Building(keys) = before {
            keys.built.finish();
        }
    }

    /// Notes the records of a segment in `[from, until)` for the build `built`. False: the build has ended, since the log was
    /// truncated, or since its keys do not fit.
    pub(crate) fn read(&self, built: &Arc<Signal>, segment: &Segment, from: u64, until: u64) -> bool {
        self.change(|keys| {
            if !Arc::ptr_eq(&keys.built, built) {
                return;
            }
            for (tenant, indexes) in segment.tenants() {
                for record in indexes.iter().map(|&index| segment.record(index)) {
                    if (from..until).contains(&record.offset) {
                        keys.note(tenant, record.key, record.offset);
                    }
                }
            }
        });
        matches!(&*self.state.lock(), State::Building(keys) if Arc::ptr_eq(&keys.built, built))
    }

    /// Ends the build `built`. `is_whole`: all records up to `end` were noted; otherwise there is no index.
    pub(crate) fn finish(&self, built: &Arc<Signal>, is_whole: bool, end: Position) {
        let mut state = self.state.lock();
        match std::mem::take(&mut *state) {
            State::Building(mut keys) if Arc::ptr_eq(&keys.built, built) => {
                if is_whole {
                    keys.rise_to(end);
                    *state = State::Ready(keys);
                }
            }
            other => *state = other,
        }
        drop(state);
        built.finish();
    }

    /// The newest records of the tenant's keys at offsets of at least `from`: the first `most` of them. `None`: there is no
    /// index.
    pub(crate) fn newest(&self, tenant: &TenantId, from: u64, most: usize) -> Option<NewestOffsets> {
        let state = self.state.lock();
        let State::Ready(keys) = &*state else { return None };
        let of_tenant = keys.tenants.get(tenant);
        let (offsets, is_cut) = of_tenant.map_or((Vec::new(), false), |newest| newest.offsets(from, most));
        let has_keyless = of_tenant.is_some_and(NewestOfKeys::has_keyless);
        Some(NewestOffsets { offsets, is_cut, has_keyless, end: keys.end })
    }

    /// How many keys it has, of all tenants.
    pub(crate) fn keys(&self) -> usize {
        match &*self.state.lock() {
            State::Building(keys) | State::Ready(keys) => keys.count,
            State::None | State::TooLarge(_) => 0,
        }
    }

    /// Whether the keys do not fit.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(&*self.state.lock(), State::TooLarge(_))
    }

    fn change(&self, change: impl FnOnce(&mut Keys)) {
        let mut state = self.state.lock();
        let (State::Building(keys) | State::Ready(keys)) = &mut *state else { return };
        change(keys);
        keys.charge.set(keys.count * KEY_BYTES + keys.tenants.len() * TENANT_BYTES);
        if keys.charge.account().used() > keys.limit {
            let built = keys.built.clone();
            *state = State::TooLarge(None);
            drop(state);
            built.finish();
        }
    }
}

impl Keys {
    fn note(&mut self, tenant: &TenantId, key: Option<&[u8]>, offset: u64) {
        let is_new = match self.tenants.get_mut(tenant) {
            Some(newest) => newest.note(key, offset),
            None => self.tenants.entry(tenant.clone()).or_default().note(key, offset),
        };
        self.count += usize::from(is_new);
    }

    fn rise_to(&mut self, end: Position) {
        if self.end.offset < end.offset {
            self.end = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::Account;
    use crate::log::segment::SegmentBuilder;
    use crate::record::Headers;

    const ROOM: usize = 1 << 20;

    fn record<'a>(offset: u64, tenant: &str, key: Option<&'a str>) -> NewRecord<'a> {
        NewRecord {
            offset,
            epoch: 0,
            timestamp: 0,
            key: key.map(str::as_bytes),
            value: Some(b"{}"),
            headers: Headers::default(),
            tenant: TenantId::new(tenant).unwrap(),
            event_type: None,
            form: crate::record::form::Form::default(),
        }
    }

    fn at(offset: u64) -> Position {
        Position { offset, epoch: 0 }
    }

    fn begun(index: &KeyIndex, account: &Account, limit: usize) -> Arc<Signal> {
        match index.begin(account.charge(0), limit, Instant::now()) {
            Begun::Begins(built) => built,
            other => panic!("{other:?}"),
        }
    }

    fn segment(records: &[NewRecord<'_>], end: u64) -> Segment {
        let mut builder = SegmentBuilder::new(0);
        records.iter().for_each(|record| builder.push(record));
        builder.finish(at(end))
    }

    fn newest(index: &KeyIndex, tenant: &str) -> Vec<u64> {
        index.newest(&TenantId::new(tenant).unwrap(), 0, 100).unwrap().offsets
    }

    /// Five records are read, and one is appended before the build has come to its key.
    fn built(account: &Account) -> KeyIndex {
        let index = KeyIndex::default();
        let signal = begun(&index, account, ROOM);
        index.appended(&[record(5, "acme", Some("a"))], at(6));
        let old = [
            record(0, "acme", Some("a")),
            record(1, "globex", Some("a")),
            record(2, "acme", Some("b")),
            record(3, "acme", None),
            record(4, "acme", Some("b")),
        ];
        assert!(index.read(&signal, &segment(&old, 5), 0, 5));
        assert!(index.newest(&TenantId::new("acme").unwrap(), 0, 1).is_none(), "it is not built yet");
        index.finish(&signal, true, at(6));
        assert!(signal.is_done());
        index
    }

    #[test]
    fn it_is_built_by_a_read_while_records_are_appended_and_tenants_never_meet() {
        let account = Account::default();
        let index = built(&account);
        assert_eq!((newest(&index, "acme"), newest(&index, "globex")), (vec![4, 5], vec![1]));
        assert_eq!(newest(&index, "initech"), Vec::<u64>::new());
        assert_eq!(index.keys(), 3);
        let of_acme = index.newest(&TenantId::new("acme").unwrap(), 0, 1).unwrap();
        assert!(of_acme.has_keyless && of_acme.is_cut);
        assert_eq!(of_acme.end, at(6));
        assert!(account.used() >= 3 * KEY_BYTES);
    }

    #[test]
    fn what_is_appended_keeps_it_and_a_cut_empties_it() {
        let account = Account::default();
        let index = built(&account);
        index.appended(&[record(7, "acme", Some("b")), record(8, "acme", Some("c"))], at(9));
        index.move_end(at(12));
        assert_eq!(newest(&index, "acme"), [5, 7, 8]);
        assert_eq!(index.newest(&TenantId::new("acme").unwrap(), 6, 100).unwrap().end, at(12));
        index.reset();
        assert!(index.newest(&TenantId::new("acme").unwrap(), 0, 100).is_none());
        assert_eq!((index.keys(), account.used()), (0, 0));
        // It can be built again.
        let again = begun(&index, &account, ROOM);
        index.finish(&again, true, at(9));
        assert_eq!(newest(&index, "acme"), Vec::<u64>::new());
    }

    #[test]
    fn a_build_that_a_cut_has_ended_notes_nothing_in_the_next_one() {
        let account = Account::default();
        let index = KeyIndex::default();
        let (old, late) = (begun(&index, &account, ROOM), segment(&[record(3, "acme", Some("a"))], 4));
        index.reset();
        assert!(old.is_done(), "who waits for it looks again");
        let new = begun(&index, &account, ROOM);
        assert!(!index.read(&old, &late, 0, 4));
        index.finish(&old, true, at(4));
        assert!(matches!(index.begin(account.charge(0), ROOM, Instant::now()), Begun::Building(_)));
        index.finish(&new, true, at(2));
        assert_eq!(newest(&index, "acme"), Vec::<u64>::new());
    }

    #[test]
    fn keys_that_do_not_fit_are_given_up_and_tried_again_later() {
        let account = Account::default();
        let index = KeyIndex::default();
        let now = Instant::now();
        let signal = begun(&index, &account, 10 * KEY_BYTES);
        let keys: Vec<String> = (0..20).map(|key| key.to_string()).collect();
        let records: Vec<NewRecord<'_>> =
            (0..).zip(&keys).map(|(offset, key)| record(offset, "acme", Some(key))).collect();
        assert!(!index.read(&signal, &segment(&records, 20), 0, 20));
        assert!(signal.is_done() && index.is_too_large());
        assert_eq!(account.used(), 0);
        assert!(matches!(index.begin(account.charge(0), ROOM, now), Begun::TooLarge));
        assert!(matches!(index.begin(account.charge(0), ROOM, now + GIVEN_UP), Begun::Begins(_)));
    }
}
