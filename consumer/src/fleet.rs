//! What other replicas have read, by the groups that show them. Asked only where this one is stuck.

use std::sync::Arc;
use std::time::Duration;

use tailrace_bridge::Partition;

use crate::error::KafkaError;
use crate::native::{Client, List, Role};
use crate::properties;
use crate::settings::KafkaSettings;

const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// Other replicas that are asked about, at the most.
const MAX_OTHERS: usize = 16;

/// The group of another replica that has read on where this one stands, if there is one.
///
/// Of all replicas that are stuck, the one that has read furthest finds none ahead of it. So however many are stuck, one of
/// them stays ready.
pub(crate) fn ahead(
    settings: &KafkaSettings,
    admin: &Client,
    stuck: &[Arc<Partition>],
) -> Result<Option<String>, KafkaError> {
    let (own, prefix) = (settings.group(), format!("{}-", settings.group_prefix));
    let names = admin.group_names(ASK_TIMEOUT)?;
    let others = names.into_iter().filter(|name| name.starts_with(&prefix) && *name != own);
    for group in others.take(MAX_OTHERS) {
        if is_ahead(settings, &group, stuck)? {
            return Ok(Some(group));
        }
    }
    Ok(None)
}

fn is_ahead(settings: &KafkaSettings, group: &str, stuck: &[Arc<Partition>]) -> Result<bool, KafkaError> {
    let client = Client::new(&properties::reader_of(settings, group), Role::Consumer)?;
    let mut list = List::new(stuck.len());
    stuck.iter().for_each(|partition| list.add(partition.topic_name(), partition.index() as i32, -1));
    client.committed(&list, ASK_TIMEOUT)?;
    let head = |topic: &str, index: i32| {
        let partition = stuck
            .iter()
            .find(|partition| **partition.topic_name() == *topic && partition.index() as i32 == index);
        partition.map_or(i64::MAX, |partition| i64::try_from(partition.head().offset).unwrap_or(i64::MAX))
    };
    Ok(list.entries().any(|entry| entry.offset > head(entry.topic, entry.partition)))
}
