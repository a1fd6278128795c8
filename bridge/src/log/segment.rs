//! A range of one partition in memory: its records' bytes one after the other, and for each tenant the list of its records.

use std::mem::size_of;

use smallvec::{SmallVec, smallvec};

use crate::base::varint::{put_varint, take_varint, unzigzag, zigzag};
use crate::position::Position;
use crate::record::tenant::{TenantId, TenantMap};
use crate::record::{self, NewRecord, RecordRef};

/// Bytes that a tenant's list takes beside its entries: the map's slot and the name.
const TENANT_OVERHEAD: usize = 96;
/// The indexes of a tenant's records. A few are stored inline, since very many tenants have few records in a segment.
type Indexes = SmallVec<[u32; 4]>;

/// The records of one partition with offsets in `[base, end)`. Missing offsets are holes, or records of no tenant.
#[derive(Debug)]
pub struct Segment {
    base: u64,
    end: Position,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    tenants: TenantMap<Indexes>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: u64,
    timestamp: i64,
    start: u32,
    epoch: i32,
}

/// How much a segment holds. The next segment of the same partition will probably hold as much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    bytes: usize,
    entries: usize,
}

/// Buffers for a segment's records: new ones, or those of an evicted segment. Fresh memory costs as much as the copy into it.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Capacity {
    /// A 32nd more, for records that are not all of one size.
    fn and_some(self) -> Capacity {
        Capacity { bytes: self.bytes + self.bytes / 32, entries: self.entries + self.entries / 32 }
    }
}

impl Buffers {
    /// Whether the buffers have the capacity, and not much more.
    pub(crate) fn fit(&self, capacity: Capacity) -> bool {
        let least = capacity.bytes + capacity.bytes / 64;
        let fits = (least..=least + least / 2).contains(&self.bytes.capacity());
        fits && self.entries.capacity() >= capacity.entries
    }
}

impl Segment {
    pub(crate) fn new(base: Position) -> Segment {
        Segment::with_capacity(base, Capacity::default(), Buffers::default())
    }

    /// An empty segment that has the capacity at once, in `buffers` if they are large enough.
    pub(crate) fn with_capacity(base: Position, capacity: Capacity, buffers: Buffers) -> Segment {
        let Buffers { mut bytes, mut entries } = buffers;
        if bytes.capacity() < capacity.bytes {
            bytes.reserve_exact(capacity.and_some().bytes);
        }
        if entries.capacity() < capacity.entries {
            entries.reserve_exact(capacity.and_some().entries);
        }
        Segment { base: base.offset, end: base, bytes, entries, tenants: TenantMap::default() }
    }

    /// How much it holds.
    pub(crate) fn filled(&self) -> Capacity {
        Capacity { bytes: self.bytes.len(), entries: self.entries.len() }
    }

    /// Its buffers, emptied for another segment.
    pub(crate) fn into_buffers(mut self) -> Buffers {
        self.bytes.clear();
        self.entries.clear();
        Buffers { bytes: self.bytes, entries: self.entries }
    }

    /// The first offset that this segment covers.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The first offset after those that this segment covers, with the leader epoch of the last record before it.
    pub fn end(&self) -> Position {
        self.end
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds no record (it may still cover offsets).
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory that it takes, approximately, including unused capacity.
    pub fn size(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>() + self.index_size()
    }

    /// Bytes of memory that are used.
    pub(crate) fn used(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>() + self.index_size()
    }

    fn index_size(&self) -> usize {
        self.entries.len() * size_of::<u32>() + self.tenants.len() * TENANT_OVERHEAD + size_of::<Segment>()
    }

    pub(crate) fn push(&mut self, record: &NewRecord<'_>) {
        let index = self.entries.len() as u32;
        let start = self.bytes.len() as u32;
        record::encode(&mut self.bytes, record);
        self.entries.push(Entry {
            offset: record.offset,
            timestamp: record.timestamp,
            start,
            epoch: record.epoch,
        });
        match self.tenants.get_mut(&record.tenant) {
            Some(list) => list.push(index),
            None => {
                self.tenants.insert(record.tenant.clone(), smallvec![index]);
            }
        }
        self.end = Position { offset: record.offset + 1, epoch: record.epoch };
    }

    pub(crate) fn close(&mut self, end: Position) {
        debug_assert!(end.offset >= self.end.offset);
        self.end = end;
    }

    /// Frees capacity that no record will use any more, unless it is too little to be worthwhile.
    pub(crate) fn seal(&mut self) {
        let filled = self.filled().and_some();
        if filled.bytes < self.bytes.capacity() - self.bytes.capacity() / 8 {
            self.bytes.shrink_to(filled.bytes);
            self.entries.shrink_to(filled.entries);
        }
        self.tenants.values_mut().for_each(SmallVec::shrink_to_fit);
    }

    /// The tenant's records with offsets of at least `from`, as indexes for [`Segment::record`].
    pub(crate) fn of_tenant(&self, tenant: &TenantId, from: u64) -> &[u32] {
        let Some(list) = self.tenants.get(tenant) else { return &[] };
        let skip = list.partition_point(|&index| self.entries[index as usize].offset < from);
        &list[skip..]
    }

    /// All tenants, each with its records as indexes for [`Segment::record`].
    pub(crate) fn tenants(&self) -> impl Iterator<Item = (&TenantId, &[u32])> {
        self.tenants.iter().map(|(tenant, indexes)| (tenant, indexes.as_slice()))
    }

    pub(crate) fn record(&self, index: u32) -> RecordRef<'_> {
        let entry = &self.entries[index as usize];
        let end = self.entries.get(index as usize + 1).map_or(self.bytes.len(), |next| next.start as usize);
        let bytes = &self.bytes[entry.start as usize..end];
        RecordRef::decode(bytes, entry.offset, entry.epoch, entry.timestamp)
    }

    /// The leader epoch of its last record below the offset; -1 if there is none.
    pub(crate) fn epoch_below(&self, offset: u64) -> i32 {
        let below = self.entries.partition_point(|entry| entry.offset < offset);
        below.checked_sub(1).map_or(-1, |last| self.entries[last].epoch)
    }

    /// The leader epoch of its first record at or after the offset; if there is none, the epoch of its end. -1: not known.
    pub(crate) fn epoch_from(&self, offset: u64) -> i32 {
        let from = self.entries.partition_point(|entry| entry.offset < offset);
        self.entries.get(from).map_or(self.end.epoch, |entry| entry.epoch)
    }

    /// The position after its last record, if that is at or after the offset.
    pub(crate) fn last_from(&self, offset: u64) -> Option<Position> {
        let last = self.entries.last().filter(|last| last.offset >= offset)?;
        Some(Position { offset: last.offset + 1, epoch: last.epoch })
    }

    /// The offset of the first record with at least this timestamp, in milliseconds.
    pub(crate) fn first_since(&self, millis: i64) -> Option<u64> {
        self.entries.iter().find(|entry| entry.timestamp >= millis).map(|entry| entry.offset)
    }

    /// The highest timestamp of a record, in milliseconds; `i64::MIN` if there is none.
    pub(crate) fn newest(&self) -> i64 {
        self.entries.iter().map(|entry| entry.timestamp).max().unwrap_or(i64::MIN)
    }

    /// Appends everything that it holds, except the base and end offsets: first the tenants and the entry of each record, then
    /// the records' bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut owners = vec![0; self.entries.len()];
        put_varint(out, self.tenants.len() as u64);
        for (number, (tenant, list)) in self.tenants.iter().enumerate() {
            put_varint(out, tenant.as_str().len() as u64);
            out.extend_from_slice(tenant.as_str().as_bytes());
            list.iter().for_each(|&index| owners[index as usize] = number as u64);
        }
        put_varint(out, self.entries.len() as u64);
        let mut last = Entry { offset: self.base, timestamp: 0, start: 0, epoch: 0 };
        for (entry, owner) in self.entries.iter().zip(owners) {
            put_varint(out, entry.offset - last.offset);
            put_varint(out, zigzag(entry.timestamp.wrapping_sub(last.timestamp)));
            put_varint(out, u64::from(entry.start - last.start));
            put_varint(out, zigzag(i64::from(entry.epoch) - i64::from(last.epoch)));
            put_varint(out, owner);
            last = *entry;
        }
        out.extend_from_slice(&self.bytes);
    }

    /// The segment that [`Segment::write`] wrote; `None` if the text is something else.
    pub(crate) fn read(base: u64, end: Position, mut text: &[u8]) -> Option<Segment> {
        let rest = &mut text;
        let mut owners: Vec<(TenantId, Indexes)> = Vec::new();
        for _ in 0..take_varint(rest)? {
            let len = usize::try_from(take_varint(rest)?).ok()?;
            let (name, after) = rest.split_at_checked(len)?;
            *rest = after;
            owners.push((TenantId::new(std::str::from_utf8(name).ok()?).ok()?, Indexes::new()));
        }
        let count = usize::try_from(take_varint(rest)?).ok()?;
        let mut entries = Vec::with_capacity(count.min(rest.len()));
        let mut last = Entry { offset: base, timestamp: 0, start: 0, epoch: 0 };
        for index in 0..count as u32 {
            last = Entry {
                offset: last.offset.checked_add(take_varint(rest)?)?,
                timestamp: last.timestamp.wrapping_add(unzigzag(take_varint(rest)?)),
                start: last.start.checked_add(u32::try_from(take_varint(rest)?).ok()?)?,
                epoch: i32::try_from(i64::from(last.epoch).checked_add(unzigzag(take_varint(rest)?))?)
                    .ok()?,
            };
            entries.push(last);
            owners.get_mut(usize::try_from(take_varint(rest)?).ok()?)?.1.push(index);
        }
        owners.iter_mut().for_each(|(_, list)| list.shrink_to_fit());
        let tenants = owners.into_iter().collect();
        Some(Segment { base, end, bytes: rest.to_vec(), entries, tenants })
    }

    /// Timestamps of the first and last record, in milliseconds.
    pub(crate) fn time_span(&self) -> Option<(i64, i64)> {
        Some((self.entries.first()?.timestamp, self.entries.last()?.timestamp))
    }
}

/// Builds a segment from records in offset order, for a read of history.
#[derive(Debug)]
pub struct SegmentBuilder {
    segment: Segment,
}

impl SegmentBuilder {
    /// A segment that covers offsets from `base` on.
    pub fn new(base: u64) -> SegmentBuilder {
        SegmentBuilder { segment: Segment::new(Position { offset: base, epoch: -1 }) }
    }

    /// Adds the next record. A record below the end so far is ignored, since offsets only rise.
    pub fn push(&mut self, record: &NewRecord<'_>) {
        if record.offset >= self.segment.end.offset {
            self.segment.push(record);
        }
    }

    /// Bytes of memory taken so far, approximately.
    pub fn bytes(&self) -> usize {
        self.segment.size()
    }

    /// Closes the segment at `end`: the next offset after everything that was read, kept or not, with the leader epoch of the
    /// record right before it (-1 if that is a hole, or not known).
    pub fn finish(mut self, end: Position) -> Segment {
        let end = if end.offset < self.segment.end.offset { self.segment.end } else { end };
        self.segment.close(end);
        self.segment.seal();
        self.segment
    }
}
