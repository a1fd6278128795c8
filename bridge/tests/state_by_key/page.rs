//! A page that keeps state by key, as the documentation tells it to, and what that state should be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tailrace_bridge::*;

use crate::ledger::{Fact, Log};
use crate::support::blocks;

pub(crate) const TENANT: &str = "acme";

/// What a page asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) from_snapshot: bool,
    pub(crate) conflate: bool,
    /// Only records of this group.
    pub(crate) group: Option<u8>,
}

/// What a page has.
pub(crate) struct Page {
    pub(crate) kind: Kind,
    pub(crate) id: Option<String>,
    /// By partition and key: the offset of the record that it shows.
    pub(crate) shown: BTreeMap<(usize, String), u64>,
    /// All records that came, by partition, in order.
    pub(crate) came: BTreeMap<usize, Vec<u64>>,
    /// The positions at the end of its snapshot.
    pub(crate) synced_at: Option<Vec<u64>>,
    pub(crate) subscription: Option<Subscription>,
    /// Another log took the place of one that it had read: it begins anew.
    pub(crate) is_void: bool,
}

impl Page {
    pub(crate) fn new(kind: Kind) -> Page {
        Page {
            kind,
            id: None,
            shown: BTreeMap::new(),
            came: BTreeMap::new(),
            synced_at: None,
            subscription: None,
            is_void: false,
        }
    }

    pub(crate) fn request(&self) -> SubscribeRequest {
        let group: Vec<String> = self.kind.group.iter().map(|group| format!("value.g={group}")).collect();
        SubscribeRequest {
            tenant: TenantId::new(TENANT).unwrap(),
            topics: Vec::new(),
            filter: Filter::parse(&[], &[], &group).unwrap(),
            framing: Framing::Sse,
            event_name: Default::default(),
            envelope: Envelope::Record,
            unmasked: false,
            conflate: self.kind.conflate,
            from: if self.kind.from_snapshot { StartFrom::Snapshot } else { StartFrom::Earliest },
            last_event_id: self.id.clone(),
        }
    }

    /// Takes whole blocks. Returns whether it was told that it is live.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let mut is_synced = false;
        for block in blocks(bytes) {
            if self.is_void {
                break;
            }
            self.id = block.id.or(self.id.take());
            let Some(data) = block.data else { continue };
            let data: Value = serde_json::from_str(&data).unwrap();
            match block.event.as_str() {
                "" | "tailrace.left" => self.record(&data, block.event.is_empty())?,
                "tailrace.gap" => self.is_void |= data["code"] != "retention",
                "tailrace.synced" => is_synced = true,
                other => return Err(format!("an unexpected event: {other}")),
            }
        }
        Ok(is_synced && !self.is_void)
    }

    fn record(&mut self, data: &Value, is_whole: bool) -> Result<(), String> {
        let partition = data["partition"].as_u64().unwrap() as usize;
        let offset = data["offset"].as_u64().unwrap();
        let came = self.came.entry(partition).or_default();
        if came.last().is_some_and(|last| *last >= offset) {
            return Err(format!("{partition}@{offset} comes after {:?}", came.last()));
        }
        came.push(offset);
        let Some(key) = data["key"].as_str() else { return Ok(()) };
        let place = (partition, key.to_owned());
        match is_whole && data["value_kind"] != "tombstone" {
            true => drop(self.shown.insert(place, offset)),
            false => drop(self.shown.remove(&place)),
        }
        Ok(())
    }

    fn meets(&self, fact: &Fact) -> bool {
        self.kind.group.is_none_or(|group| fact.group == Some(group))
    }

    /// For each key, the page shows its newest record below its positions, if that has a value that meets the filter. What
    /// Kafka has removed meanwhile may be missing.
    pub(crate) fn expect_newest(&self, logs: &[Log], positions: &[u64]) -> Result<usize, String> {
        let mut checked = 0;
        for (partition, (log, &position)) in logs.iter().zip(positions).enumerate() {
            let of_tenant = log.written.iter().filter(|fact| fact.tenant == TENANT);
            let keys: BTreeSet<&str> = of_tenant.filter_map(|fact| fact.key.as_deref()).collect();
            for key in keys {
                let shown = self.shown.get(&(partition, key.to_owned())).copied();
                let newest = log.newest_below(TENANT, key, position);
                let is_past = shown.is_some_and(|shown| shown < log.start);
                if is_past || newest.is_some_and(|newest| newest.is_gone) {
                    continue;
                }
                checked += 1;
                let due = newest.filter(|newest| newest.group.is_some() && self.meets(newest));
                let due = due.map(|newest| newest.offset);
                if shown != due {
                    return Err(format!(
                        "{:?}: {partition}/{key} below {position}: {shown:?} is shown, {due:?} is the newest",
                        self.kind
                    ));
                }
            }
        }
        Ok(checked)
    }

    /// After its snapshot the page got every record that Kafka has kept.
    pub(crate) fn expect_everything(&self, logs: &[Log]) -> Result<(), String> {
        let Some(from) = &self.synced_at else { return Ok(()) };
        for (partition, (log, &from)) in logs.iter().zip(from).enumerate() {
            let came = self.came.get(&partition).map_or(&[][..], Vec::as_slice);
            let is_due = |fact: &&Fact| fact.tenant == TENANT && fact.offset >= from && self.meets(fact);
            if let Some(lost) = log.facts().filter(is_due).find(|fact| !came.contains(&fact.offset)) {
                return Err(format!("{:?}: {partition}@{} never came after {from}", self.kind, lost.offset));
            }
        }
        Ok(())
    }

    /// Records without a key are never left out.
    pub(crate) fn expect_keyless(&self, logs: &[Log]) -> Result<(), String> {
        for (partition, log) in logs.iter().enumerate() {
            let came = self.came.get(&partition).map_or(&[][..], Vec::as_slice);
            let is_due = |fact: &&Fact| fact.tenant == TENANT && fact.key.is_none() && self.meets(fact);
            if let Some(lost) = log.facts().filter(is_due).find(|fact| !came.contains(&fact.offset)) {
                return Err(format!("{:?}: {partition}@{} without a key never came", self.kind, lost.offset));
            }
        }
        Ok(())
    }
}
