//! The verdict on a client that keeps state by key: for each key it must have the newest record that Kafka has kept.
//!
//! Its stream leaves out records that later ones of the same key supersede, so what it got is not compared record by record: only
//! what it has at the end, that offsets rise in each partition, and that nothing came twice or from elsewhere.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::client::{Got, Seen};
use crate::judge::Verdict;
use crate::ledger::{Entry, Fate, Number, Truth};

/// How a client keeps state by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByKey {
    /// The number of different keys of the topic; other topics have records without keys.
    pub keys: u64,
    /// Whether it also conflates what it misses after its snapshot.
    pub conflate: bool,
}

impl ByKey {
    /// The parameters that such a client asks for.
    pub fn query(&self) -> &'static str {
        if self.conflate { "from=snapshot&conflate=key" } else { "from=snapshot" }
    }
}

/// Topic, partition and key. A record without a key stands for itself.
type Row = (Arc<str>, u32, u64);

/// Compares what a client has at the end with the truth. `topic` is the one whose records have keys.
pub fn judge(got: &Got, by_key: ByKey, topic: &str, truth: &Truth) -> Verdict {
    let mut verdict = Verdict::default();
    let (shown, furthest) = (HashMap::new(), HashMap::new());
    let mut state = State { by_key, topic, truth, shown, furthest, came: HashSet::new() };
    for seen in &got.seen {
        match seen {
            Seen::Record { number, place, is_whole, .. } => {
                verdict.deliveries += 1;
                if !is_whole {
                    verdict.altered += 1;
                    verdict.remark(|| format!("altered: record {number} as {place:?}"));
                }
                state.take(got.tenant, *number, place.as_ref(), &mut verdict);
            }
            Seen::Gap(gap) => {
                verdict.gaps += 1;
                verdict.gaps_wrong += 1;
                verdict.remark(|| format!("{gap:?}: nothing of the kind happened"));
            }
            Seen::Began(_) => {}
            Seen::Strange(text) => {
                verdict.foreign += 1;
                verdict.remark(|| format!("strange: {text}"));
            }
        }
    }
    for (row, (offset, number)) in newest(got.tenant, by_key, topic, truth) {
        let shown = state.shown.get(&row).copied();
        if shown != Some(offset) {
            verdict.lost += 1;
            verdict.remark(|| {
                format!(
                    "lost: {row:?} has record {number} at {offset}, the client has {shown:?} ({by_key:?})"
                )
            });
        }
    }
    verdict
}

struct State<'a> {
    by_key: ByKey,
    topic: &'a str,
    truth: &'a Truth,
    shown: HashMap<Row, u64>,
    furthest: HashMap<(Arc<str>, u32), u64>,
    came: HashSet<(Arc<str>, u32, u64)>,
}

impl State<'_> {
    fn take(
        &mut self,
        tenant: u32,
        number: Number,
        place: Option<&(String, u32, u64)>,
        verdict: &mut Verdict,
    ) {
        let entry = self.truth.entries.get(number as usize);
        let known = entry.filter(|entry| entry.tenant == tenant && entry.fate != Fate::Aborted);
        let (Some(entry), Some((topic, partition, offset))) = (known, place) else {
            verdict.foreign += 1;
            return verdict.remark(|| format!("foreign: record {number} at {place:?}, written as {entry:?}"));
        };
        if **topic != *entry.topic || *partition != entry.partition {
            verdict.altered += 1;
            return verdict.remark(|| format!("altered: record {number} at {place:?}, written as {entry:?}"));
        }
        if !self.came.insert((entry.topic.clone(), *partition, *offset)) {
            verdict.repeated += 1;
            return verdict.remark(|| format!("repeated: record {number} at {place:?}"));
        }
        let furthest = self.furthest.entry((entry.topic.clone(), *partition)).or_default();
        if *offset < *furthest {
            verdict.out_of_order += 1;
            verdict.remark(|| format!("out of order: record {number} at {place:?}"));
        }
        *furthest = *offset;
        self.shown.insert(row(self.by_key, self.topic, entry, number), *offset);
    }
}

fn row(by_key: ByKey, topic: &str, entry: &Entry, number: Number) -> Row {
    let key = if *entry.topic == *topic { number % by_key.keys } else { number };
    (entry.topic.clone(), entry.partition, key)
}

/// The newest record of each of the tenant's keys, as far as it is known that Kafka has kept it. Of records that other tenants'
/// records of the same key have superseded, it has not.
fn newest(tenant: u32, by_key: ByKey, topic: &str, truth: &Truth) -> HashMap<Row, (u64, Number)> {
    let copies =
        truth.copies.iter().flat_map(|(number, copies)| copies.iter().map(move |copy| (*copy, *number)));
    let original: HashMap<Number, Number> = copies.collect();
    let mut newest: HashMap<Row, (u64, Number, Fate)> = HashMap::new();
    let mut unsure = HashSet::new();
    for (at, entry) in truth.entries.iter().enumerate().filter(|(_, entry)| entry.tenant == tenant) {
        let at = at as Number;
        let number = original.get(&at).copied().unwrap_or(at);
        let row = row(by_key, topic, entry, number);
        match entry.offset {
            Some(offset) if newest.get(&row).is_none_or(|(known, ..)| *known < offset) => {
                newest.insert(row, (offset, number, entry.fate));
            }
            Some(_) => {}
            // It may be in the log, and be the newest.
            None => drop(unsure.insert(row)),
        }
    }
    newest.retain(|row, (_, _, fate)| *fate == Fate::Written && !unsure.contains(row));
    newest.into_iter().map(|(row, (offset, number, _))| (row, (offset, number))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const BY_KEY: ByKey = ByKey { keys: 2, conflate: false };

    /// Records 0 to 5 of one partition, of the keys 0 and 1 in turn.
    fn truth() -> Truth {
        let entry = |offset: u64| Entry {
            topic: "t".into(),
            generation: 0,
            partition: 0,
            tenant: 0,
            offset: Some(offset),
            fate: Fate::Written,
            at: None,
        };
        Truth { entries: (10..16).map(entry).collect(), ..Truth::default() }
    }

    fn got(records: &[(Number, u64)]) -> Got {
        let seen = |(number, offset): &(Number, u64)| Seen::Record {
            number: *number,
            at: Instant::now(),
            place: Some(("t".to_owned(), 0, *offset)),
            is_whole: true,
        };
        Got { seen: records.iter().map(seen).collect(), ..Got::default() }
    }

    fn verdict(records: &[(Number, u64)]) -> Verdict {
        judge(&got(records), BY_KEY, "t", &truth())
    }

    #[test]
    fn the_newest_record_of_each_key_is_enough() {
        assert!(verdict(&[(4, 14), (5, 15)]).is_clean());
        assert!(verdict(&[(0, 10), (1, 11), (3, 13), (4, 14), (5, 15)]).is_clean());
    }

    #[test]
    fn a_key_that_is_missing_or_old_is_lost() {
        assert_eq!(verdict(&[(5, 15)]).lost, 1);
        assert_eq!(verdict(&[(2, 12), (5, 15)]).lost, 1);
        assert_eq!(verdict(&[]).lost, 2);
    }

    #[test]
    fn what_comes_twice_or_backwards_is_counted() {
        assert_eq!(verdict(&[(4, 14), (4, 14), (5, 15)]).repeated, 1);
        assert_eq!(verdict(&[(5, 15), (4, 14)]).out_of_order, 1);
    }

    #[test]
    fn records_without_a_key_are_all_due() {
        let mut truth = truth();
        truth.entries.iter_mut().for_each(|entry| entry.topic = "calm".into());
        let verdict = judge(&got(&[]), BY_KEY, "t", &truth);
        assert_eq!(verdict.lost, 6);
    }
}
