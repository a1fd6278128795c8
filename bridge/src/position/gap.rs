//! Offsets that can no longer be delivered: the client gets them as data, and is never moved past them silently. This is the
//! data of a `tailrace.gap` event; `sse::frame::gap` makes the event.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::base::metrics;

/// Why records cannot be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapCode {
    /// Kafka's retention has removed them.
    Retention,
    /// The topic was deleted and created again.
    Recreated,
    /// The log was truncated, and other records took those offsets (KIP-320).
    Truncated,
    /// The topic or the partition was deleted.
    Deleted,
    /// The event id could not be read.
    UnknownId,
}

impl GapCode {
    /// All codes.
    pub const ALL: [GapCode; 5] =
        [GapCode::Retention, GapCode::Recreated, GapCode::Truncated, GapCode::Deleted, GapCode::UnknownId];

    /// The code in the event's data, and the label of metrics. Stable.
    pub fn as_str(self) -> &'static str {
        match self {
            GapCode::Retention => "retention",
            GapCode::Recreated => "recreated",
            GapCode::Truncated => "truncated",
            GapCode::Deleted => "deleted",
            GapCode::UnknownId => "unknown_id",
        }
    }

    /// Whether the gap names a topic and a partition.
    pub fn names_a_partition(self) -> bool {
        self != GapCode::UnknownId
    }

    /// Whether new records reuse old offsets, so that the gap has `next` in place of `to`.
    pub fn reuses_offsets(self) -> bool {
        matches!(self, GapCode::Recreated | GapCode::Truncated)
    }
}

impl Serialize for GapCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The data of a `tailrace.gap`: for one partition, offsets from `from` up to and without `to` cannot be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Why.
    pub code: GapCode,
    /// The topic's name; `None` for an id that could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Arc<str>>,
    /// The partition's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// The first offset that cannot be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// The first offset after those that cannot be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// The new position, in place of `to`, if new records reuse old offsets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl Gap {
    /// A gap of one partition that continues at `to`, which is the gap's end or, if offsets are reused, its `next`.
    pub(crate) fn of_partition(code: GapCode, topic: &Arc<str>, partition: u32, from: u64, to: u64) -> Gap {
        let reused = code.reuses_offsets();
        Gap {
            code,
            topic: Some(topic.clone()),
            partition: Some(partition),
            from: Some(from),
            to: (!reused).then_some(to),
            next: reused.then_some(to),
        }
    }

    /// Counts the gap, and logs for an operator what a client of the tenant gets.
    pub(crate) fn note_announced(&self, tenant: &dyn fmt::Display) {
        let (code, topic) = (self.code.as_str(), self.topic.as_deref());
        let Gap { partition, from, to, next, .. } = *self;
        let count = from.zip(to).map(|(from, to)| to.saturating_sub(from));
        metrics::count_gap(code);
        tracing::debug!(%tenant, code, topic, partition, from, to, next, count, "a gap is announced");
    }

    /// The gap of an id that could not be read. It names no partition.
    pub(crate) fn unknown_id() -> Gap {
        Gap { code: GapCode::UnknownId, topic: None, partition: None, from: None, to: None, next: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(gap: &Gap) -> String {
        serde_json::to_string(gap).unwrap()
    }

    #[test]
    fn a_gap_by_retention_names_its_range() {
        let gap = Gap::of_partition(GapCode::Retention, &"orders".into(), 1, 100, 150);
        assert_eq!(json(&gap), r#"{"code":"retention","topic":"orders","partition":1,"from":100,"to":150}"#);
    }

    #[test]
    fn a_gap_with_reused_offsets_names_the_next_one() {
        let gap = Gap::of_partition(GapCode::Truncated, &"orders".into(), 1, 100, 90);
        assert_eq!(json(&gap), r#"{"code":"truncated","topic":"orders","partition":1,"from":100,"next":90}"#);
    }

    #[test]
    fn an_unknown_id_names_no_partition() {
        assert_eq!(json(&Gap::unknown_id()), r#"{"code":"unknown_id"}"#);
    }
}
