//! Lists of partitions with offsets and leader epochs.

use std::ffi::{CStr, CString};

use bridge::Position;
use rdkafka_sys as sys;
use tailrace_bridge as bridge;

use super::Code;

/// A list of partitions, each with an offset and a leader epoch.
#[derive(Debug)]
pub(crate) struct List {
    ptr: *mut sys::rd_kafka_topic_partition_list_t,
}

/// One entry of a [`List`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) error: Code,
}

impl List {
    pub(crate) fn new(capacity: usize) -> List {
        let capacity = i32::try_from(capacity).unwrap_or(0);
        // SAFETY: no preconditions.
        List { ptr: unsafe { sys::rd_kafka_topic_partition_list_new(capacity) } }
    }

    /// Adds a partition with a raw offset, which may be one of librdkafka's logical ones.
    pub(crate) fn add(&mut self, topic: &str, partition: i32, offset: i64) {
        self.add_with_epoch(topic, partition, offset, -1);
    }

    /// Adds a partition at a position; its leader epoch is then confirmed by the broker (KIP-320).
    pub(crate) fn add_position(&mut self, topic: &str, partition: i32, at: Position) {
        let offset = i64::try_from(at.offset).unwrap_or(i64::MAX);
        self.add_with_epoch(topic, partition, offset, at.epoch);
    }

    fn add_with_epoch(&mut self, topic: &str, partition: i32, offset: i64, epoch: i32) {
        // Topic names hold no NUL: Kafka allows letters, digits, `.`, `_` and `-`.
        let Ok(topic) = CString::new(topic) else { return };
        // SAFETY: the list is valid, the name is copied, the entry lives as long as the list does not grow.
        unsafe {
            let entry = sys::rd_kafka_topic_partition_list_add(self.ptr, topic.as_ptr(), partition);
            (*entry).offset = offset;
            if epoch >= 0 {
                sys::rd_kafka_topic_partition_set_leader_epoch(entry, epoch);
            }
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        // SAFETY: the list is valid, `elems` holds `cnt` entries.
        let raw = unsafe {
            let list = &*self.ptr;
            if list.cnt == 0 { &[] } else { std::slice::from_raw_parts(list.elems, list.cnt as usize) }
        };
        raw.iter().map(|entry| Entry {
            // SAFETY: every entry has a NUL-terminated name.
            topic: unsafe { CStr::from_ptr(entry.topic) }.to_str().unwrap_or_default(),
            partition: entry.partition,
            offset: entry.offset,
            error: entry.err,
        })
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.ptr
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: owned by this value alone.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.ptr) };
    }
}
