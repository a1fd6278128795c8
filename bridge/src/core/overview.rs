//! What this replica knows of topics for one tenant: where they begin and end, of which types the tenant's newest records are,
//! and how many come. It reads memory only, and examines a bounded number of records.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::core::Inner;
use crate::log::packed::Held;
use crate::log::partition::Partition;
use crate::log::topic::Topic;
use crate::record::tenant::TenantId;

/// The most records that are examined: of one topic, and for all topics of one call.
const RECORDS_OF_TOPIC: usize = 1000;
const RECORDS_IN_ALL: usize = 50_000;
/// The most segments of a partition that are searched for records of the tenant.
const SEGMENTS: usize = 16;
/// Types of one topic.
const MAX_TYPES: usize = 50;
/// Records that are at most so old count for the rate.
const WINDOW_MS: i64 = 60_000;

/// A topic as one tenant sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicOverview {
    /// Its name.
    pub name: Arc<str>,
    /// For each partition, its offsets in Kafka: from the first, inclusive, to the next one after those that were read,
    /// exclusive.
    pub partitions: Vec<Range<u64>>,
    /// Types of the tenant's newest records, the most frequent first, at most 50.
    pub types: Vec<String>,
    /// Records of the tenant a second, over the last minute by their timestamps.
    pub rate: f64,
}

/// What was found of the tenant in a topic.
#[derive(Default)]
struct Found {
    types: HashMap<String, usize>,
    rate: f64,
}

impl Inner {
    /// The served topics that can have records of the tenant and that `wanted` names, by name.
    pub(crate) fn overview(&self, tenant: &TenantId, wanted: impl Fn(&str) -> bool) -> Vec<TopicOverview> {
        let topics: Vec<Arc<Topic>> = {
            let structure = self.structure.lock();
            let is_served = |topic: &&Arc<Topic>| !structure.unserved.contains_key(&**topic.name());
            structure.topics.values().filter(is_served).cloned().collect()
        };
        let is_meant =
            |topic: &&Arc<Topic>| wanted(topic.name()) && self.rules.can_yield(topic.name(), tenant);
        let topics: Vec<&Arc<Topic>> = topics.iter().filter(is_meant).collect();
        let most = RECORDS_OF_TOPIC.min(RECORDS_IN_ALL / topics.len().max(1));
        let now = self.shared.clock.unix_millis();
        topics.into_iter().map(|topic| overview_of(topic, tenant, most, now)).collect()
    }
}

fn overview_of(topic: &Topic, tenant: &TenantId, most: usize, now: i64) -> TopicOverview {
    let partitions = topic.partitions();
    let of_each = most.div_ceil(partitions.len().max(1));
    let mut found = Found::default();
    partitions.iter().for_each(|partition| examine(partition, tenant, of_each, now, &mut found));
    let offsets = |partition: &Arc<Partition>| {
        let end = partition.head().offset;
        partition.log_start().min(end)..end
    };
    let mut types: Vec<(String, usize)> = found.types.into_iter().collect();
    types.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
    TopicOverview {
        name: topic.name().clone(),
        partitions: partitions.iter().map(offsets).collect(),
        types: types.into_iter().take(MAX_TYPES).map(|(name, _)| name).collect(),
        rate: found.rate,
    }
}

/// Examines the newest records of the tenant in a partition, at most `most`.
fn examine(partition: &Partition, tenant: &TenantId, most: usize, now: i64, found: &mut Found) {
    let segments = partition.log.read().newest_first();
    let (mut examined, mut recent, mut oldest) = (0, 0_u32, now);
    for held in segments.into_iter().take(SEGMENTS) {
        // What is packed is old, and opening it takes longer than it is worth.
        let Held::Open(segment) = held else { break };
        for &index in segment.of_tenant(tenant, 0).iter().rev().take(most - examined) {
            let record = segment.record(index);
            examined += 1;
            if let Some(event_type) = record.event_type {
                *found.types.entry(event_type.to_owned()).or_default() += 1;
            }
            if record.timestamp >= now - WINDOW_MS {
                recent += 1;
                oldest = oldest.min(record.timestamp);
            }
        }
        if examined == most {
            break;
        }
    }
    // Where not all of the last minute was examined, the records are those of a shorter time.
    let window = if examined == most && recent as usize == most { (now - oldest).max(1) } else { WINDOW_MS };
    found.rate += f64::from(recent) * 1000.0 / window as f64;
}
