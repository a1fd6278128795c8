//! All that was ever written, and what Kafka still has of it: the log of each partition, with retention, truncation and
//! compaction.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use tailrace_bridge::*;

/// A record. Its value is a group, which filters look at, and padding.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) offset: u64,
    pub(crate) epoch: i32,
    pub(crate) tenant: &'static str,
    pub(crate) key: Option<String>,
    /// `None`: a tombstone.
    pub(crate) group: Option<u8>,
    pub(crate) value: Option<String>,
    pub(crate) timestamp: i64,
    /// The log was truncated below it.
    pub(crate) is_cut: bool,
    /// Compaction or retention has removed it.
    pub(crate) is_gone: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) written: Vec<Fact>,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) epoch: i32,
}

impl Log {
    /// What Kafka has.
    pub(crate) fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.written.iter().filter(|fact| !fact.is_cut && !fact.is_gone)
    }

    pub(crate) fn write(
        &mut self,
        tenant: &'static str,
        key: Option<String>,
        group: Option<u8>,
        timestamp: i64,
    ) {
        let value = group.map(|group| format!(r#"{{"g":{group},"x":"{}"}}"#, "x".repeat(300)));
        let (offset, epoch, is_cut, is_gone) = (self.end, self.epoch, false, false);
        self.written.push(Fact { offset, epoch, tenant, key, group, value, timestamp, is_cut, is_gone });
        self.end += 1;
    }

    /// The newest record of a key below an offset, whether Kafka still has it or not.
    pub(crate) fn newest_below(&self, tenant: &str, key: &str, offset: u64) -> Option<&Fact> {
        let of_key = |fact: &&Fact| !fact.is_cut && fact.tenant == tenant && fact.key.as_deref() == Some(key);
        self.written.iter().filter(of_key).filter(|fact| fact.offset < offset).max_by_key(|fact| fact.offset)
    }

    /// Removes records below an offset that have a later one of their key there; perhaps tombstones, too.
    pub(crate) fn compact(&mut self, below: u64, tombstones: bool) {
        for at in 0..self.written.len() {
            let fact = &self.written[at];
            let Some(key) = fact.key.as_deref().filter(|_| !fact.is_cut && fact.offset < below) else {
                continue;
            };
            let newest = self.newest_below(fact.tenant, key, below).map(|newest| newest.offset);
            let is_superseded = newest != Some(fact.offset);
            if is_superseded || (tombstones && fact.group.is_none()) {
                self.written[at].is_gone = true;
            }
        }
    }

    pub(crate) fn retain_from(&mut self, start: u64) {
        self.start = start;
        self.written.iter_mut().filter(|fact| fact.offset < start).for_each(|fact| fact.is_gone = true);
    }

    /// A new leader lacks the end of the log.
    pub(crate) fn cut(&mut self, back: u64) {
        self.end = self.end.saturating_sub(back).max(self.start);
        self.epoch += 1;
        let end = self.end;
        self.written.iter_mut().filter(|fact| fact.offset >= end).for_each(|fact| fact.is_cut = true);
    }

    /// Where records of leaders up to this epoch end, with the epoch of the last of them (KIP-320). A leader remembers where
    /// epochs began, whatever compaction has removed there; what retention has removed ends at the log's start.
    pub(crate) fn end_of(&self, epoch: i32) -> Position {
        let later = self.written.iter().find(|fact| !fact.is_cut && fact.epoch > epoch);
        let end = later.map_or(self.end, |fact| fact.offset.max(self.start));
        let last = self.facts().take_while(|fact| fact.offset < end).last();
        Position { offset: end, epoch: last.map_or(-1, |fact| fact.epoch) }
    }

    /// To where the log was truncated since a replica had this head, as far as the consumer can know.
    pub(crate) fn truncated_below(&self, head: Position) -> Option<Position> {
        let to = self.end_of(if head.epoch < 0 { i32::MAX } else { head.epoch });
        (to.offset < head.offset).then_some(to)
    }

    fn read(&self, read: &HistoryRead) -> Result<Segment, HistoryError> {
        let (start, end) = (self.start, self.end);
        if read.from < start || (read.epoch < 0 && read.from > end) {
            return Err(HistoryError::OutOfRange { start, end });
        }
        let confirmed = self.end_of(read.epoch);
        if read.epoch >= 0 && confirmed.offset < read.from {
            return Err(HistoryError::Truncated { end: confirmed.offset, epoch: confirmed.epoch });
        }
        let mut builder = SegmentBuilder::new(read.from);
        let mut to = Position { offset: self.end, epoch: -1 };
        for fact in self.facts().filter(|fact| fact.offset >= read.from) {
            if fact.offset >= read.until || builder.bytes() > read.max_bytes {
                to.offset = fact.offset;
                break;
            }
            builder.push(&record(fact));
            to.epoch = fact.epoch;
        }
        Ok(builder.finish(to))
    }
}

pub(crate) fn record(fact: &Fact) -> NewRecord<'_> {
    NewRecord {
        offset: fact.offset,
        epoch: fact.epoch,
        timestamp: fact.timestamp,
        key: fact.key.as_deref().map(str::as_bytes),
        value: fact.value.as_deref().map(str::as_bytes),
        headers: Headers::default(),
        tenant: TenantId::new(fact.tenant).unwrap(),
        event_type: None,
        form: tailrace_bridge::Form::default(),
    }
}

/// One topic. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Kafka(pub(crate) Arc<Mutex<Vec<Log>>>, Arc<AtomicUsize>);

impl Kafka {
    /// How often it was read from.
    pub(crate) fn reads(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

impl Source for Kafka {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        let kafka = self.clone();
        self.1.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { kafka.0.lock().unwrap()[read.partition as usize].read(&read) })
    }

    fn offsets_at(&self, _: &str, at: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        let offset = |log: &Log| match at {
            OffsetsAt::Earliest => log.start,
            OffsetsAt::Latest => log.end,
            OffsetsAt::Time(time) => {
                log.facts().find(|fact| fact.timestamp >= time).map_or(log.end, |fact| fact.offset)
            }
        };
        let offsets = self.0.lock().unwrap().iter().map(offset).collect();
        Box::pin(async move { Ok(offsets) })
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
