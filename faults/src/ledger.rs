//! The records that were written, and their offsets in Kafka: every client is compared with these.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// The number of one record of a trial. Its value is computed from the number, so that a received value can be checked.
pub type Number = u64;

/// The state of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Sent, but not acknowledged, now or ever. A client may get it or not.
    Unsure,
    /// Part of an open transaction. No client may get it.
    Open,
    /// In the log, and committed. All clients of its tenant must get it.
    Written,
    /// Its transaction was aborted. No client may get it.
    Aborted,
    /// Acknowledged, and cut from the log later. A client may have got it before.
    Cut,
}

/// One record.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The topic, one of the trial's.
    pub topic: Arc<str>,
    /// How often the topic was created again, or its log was cut, before this record.
    pub generation: u32,
    pub partition: u32,
    pub tenant: u32,
    /// Known once Kafka acknowledged it.
    pub offset: Option<u64>,
    pub fate: Fate,
    /// When it was acknowledged or committed.
    pub at: Option<Instant>,
}

/// The ledger of one trial; all clones share it.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<Entry>>>);

/// Records in the order of their offsets.
pub type Stretch = Vec<(u64, Number)>;

/// Topic, generation and partition.
pub type Log = (Arc<str>, u32, u32);

/// The closed ledger.
#[derive(Debug, Default)]
pub struct Truth {
    pub entries: Vec<Entry>,
    /// Records that are in the log more than once: the numbers of all copies, in the order of their offsets.
    pub copies: HashMap<Number, Vec<Number>>,
    /// The records that each tenant must have got, by topic, generation and partition.
    pub expected: HashMap<u32, HashMap<Log, Stretch>>,
}

/// The name of a tenant, by its index.
pub fn tenant_name(tenant: u32) -> String {
    format!("tenant-{tenant}")
}

/// The value of a record: JSON, with padding that depends on the number.
pub fn value(number: Number, partition: u32, tenant: u32) -> String {
    scaled_value(number, partition, tenant, 1)
}

/// As [`value`], with `scale` times the padding, and a field that states the scale.
pub fn scaled_value(number: Number, partition: u32, tenant: u32, scale: u32) -> String {
    let padding = padding(number, scale);
    let said = if scale == 1 { String::new() } else { format!(r#""s":{scale},"#) };
    format!(r#"{{"n":{number},"p":{partition},"t":"{}",{said}"x":"{padding}"}}"#, tenant_name(tenant))
}

/// The padding of a value.
pub(crate) fn padding(number: Number, scale: u32) -> String {
    // Any mixing function will do: values of neighbours must differ, and the checker must be able to compute them.
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let length = (mixed >> 56) as usize * scale as usize;
    let letter = char::from(b'a' + (mixed >> 40) as u8 % 26);
    std::iter::repeat_n(letter, length).collect()
}

impl Ledger {
    /// Adds a record before it is sent, and returns its number.
    pub fn enter(
        &self,
        topic: &Arc<str>,
        generation: u32,
        partition: u32,
        tenant: u32,
        fate: Fate,
    ) -> Number {
        let mut entries = self.0.lock();
        let (offset, at) = (None, None);
        entries.push(Entry { topic: topic.clone(), generation, partition, tenant, offset, fate, at });
        entries.len() as Number - 1
    }

    /// Notes that Kafka has acknowledged the record. A record of a transaction stays open.
    pub fn acknowledge(&self, number: Number, offset: u64) {
        let entry = &mut self.0.lock()[number as usize];
        (entry.offset, entry.at) = (Some(offset), Some(Instant::now()));
        if entry.fate == Fate::Unsure {
            entry.fate = Fate::Written;
        }
    }

    /// Sets the state of records, such as those of a transaction.
    pub fn settle(&self, numbers: &[Number], fate: Fate) {
        let mut entries = self.0.lock();
        for number in numbers {
            let entry = &mut entries[*number as usize];
            (entry.fate, entry.at) = (fate, Some(Instant::now()));
        }
    }

    /// Calls `which` with each number and entry, to change the entries that it selects.
    pub fn change(&self, mut which: impl FnMut(Number, &mut Entry)) {
        self.0.lock().iter_mut().enumerate().for_each(|(number, entry)| which(number as Number, entry));
    }

    /// The number of records.
    pub fn len(&self) -> u64 {
        self.0.lock().len() as u64
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the ledger. `found` are the records of the log, which may contain a record more than once: when leaders move,
    /// even an idempotent producer sends unacknowledged records again. Each copy then counts as a record.
    pub fn close(&self, found: &[Found]) -> Truth {
        let mut entries = self.0.lock().clone();
        let copies = enter_copies(&mut entries, found);
        let mut expected: HashMap<u32, HashMap<_, Stretch>> = HashMap::new();
        for (number, entry) in entries.iter().enumerate() {
            if let (Fate::Written, Some(offset)) = (entry.fate, entry.offset) {
                let place = (entry.topic.clone(), entry.generation, entry.partition);
                let of_tenant = expected.entry(entry.tenant).or_default();
                of_tenant.entry(place).or_default().push((offset, number as Number));
            }
        }
        expected.values_mut().flat_map(HashMap::values_mut).for_each(|stretch| stretch.sort_unstable());
        Truth { entries, copies, expected }
    }
}

/// A record as the bare consumer read it.
#[derive(Clone, Debug)]
pub struct Found {
    pub topic: Arc<str>,
    pub partition: u32,
    pub offset: u64,
    pub number: Number,
}

fn enter_copies(entries: &mut Vec<Entry>, found: &[Found]) -> HashMap<Number, Vec<Number>> {
    let mut places: HashMap<Number, Vec<u64>> = HashMap::new();
    for found in found {
        let is_it = |entry: &Entry| {
            entry.topic == found.topic && entry.partition == found.partition && entry.fate == Fate::Written
        };
        if entries.get(found.number as usize).is_some_and(is_it) {
            places.entry(found.number).or_default().push(found.offset);
        }
    }
    places.retain(|_, offsets| offsets.len() > 1);
    let mut copies = HashMap::new();
    for (number, mut offsets) in places {
        offsets.sort_unstable();
        entries[number as usize].offset = Some(offsets[0]);
        let mut numbers = vec![number];
        for offset in &offsets[1..] {
            numbers.push(entries.len() as Number);
            entries.push(Entry { offset: Some(*offset), ..entries[number as usize].clone() });
        }
        copies.insert(number, numbers);
    }
    copies
}
