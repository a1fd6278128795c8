//! A compressed segment, which is opened again for its readers.

use std::sync::{Arc, Weak};

use crate::base::sync::Mutex;
use crate::log::segment::Segment;
use crate::position::Position;

/// The level of zstd. Higher levels make JSON records hardly smaller, and take several times as long.
const LEVEL: i32 = 1;
/// A segment is not packed if it would not shrink to so many eighths of its size.
const WORTH_EIGHTHS: usize = 6;
/// Bytes that a packed segment takes beside its text.
const OVERHEAD: usize = size_of::<Packed>() + 64;

/// The records of a segment, compressed.
#[derive(Debug)]
pub(crate) struct Packed {
    base: u64,
    end: Position,
    /// Timestamps of the first and last record, and the highest one.
    time_span: Option<(i64, i64)>,
    newest: i64,
    text: Box<[u8]>,
    text_len: usize,
    opened_size: usize,
    /// Locked while the segment is opened, so that it is opened once for all readers.
    opened: Mutex<Weak<Segment>>,
}

/// A segment in memory, open or packed.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    Open(Arc<Segment>),
    Packed(Arc<Packed>),
}

impl Packed {
    /// Packs a segment. `None`: it would not become much smaller.
    pub(crate) fn of(segment: &Arc<Segment>) -> Option<Packed> {
        let mut text = Vec::with_capacity(segment.used());
        segment.write(&mut text);
        let mut packed = vec![0; zstd_safe::compress_bound(text.len())];
        let len = zstd_safe::compress(&mut packed[..], &text, LEVEL).ok()?;
        packed.truncate(len);
        let opened_size = segment.used();
        let is_worth = packed.len() + OVERHEAD <= opened_size / 8 * WORTH_EIGHTHS;
        is_worth.then(|| Packed {
            base: segment.base(),
            end: segment.end(),
            time_span: segment.time_span(),
            newest: segment.newest(),
            text: packed.into_boxed_slice(),
            text_len: text.len(),
            opened_size,
            opened: Mutex::new(Arc::downgrade(segment)),
        })
    }

    /// The first offset that it covers.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// The first offset after those that it covers, with the leader epoch below it.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// Timestamps of the first and last record, in milliseconds.
    pub(crate) fn time_span(&self) -> Option<(i64, i64)> {
        self.time_span
    }

    /// Bytes of memory that it takes.
    pub(crate) fn size(&self) -> usize {
        self.text.len() + OVERHEAD
    }

    /// Bytes of memory that the open segment takes in addition.
    pub(crate) fn opened_size(&self) -> usize {
        self.opened_size
    }

    /// Its segment, if it is open now.
    pub(crate) fn opened(&self) -> Option<Arc<Segment>> {
        self.opened.lock().upgrade()
    }

    /// Its segment, opened if it is not open yet. `None` is not expected: it means that the bytes are not what was written.
    pub(crate) fn open(&self) -> Option<Arc<Segment>> {
        let mut opened = self.opened.lock();
        if let Some(segment) = opened.upgrade() {
            return Some(segment);
        }
        let mut text = vec![0; self.text_len];
        zstd_safe::decompress(&mut text[..], &self.text).ok().filter(|&len| len == self.text_len)?;
        let segment = Arc::new(Segment::read(self.base, self.end, &text)?);
        *opened = Arc::downgrade(&segment);
        Some(segment)
    }
}

impl Held {
    pub(crate) fn base(&self) -> u64 {
        match self {
            Held::Open(segment) => segment.base(),
            Held::Packed(packed) => packed.base(),
        }
    }

    /// Timestamps of the first and last record, in milliseconds.
    pub(crate) fn time_span(&self) -> Option<(i64, i64)> {
        match self {
            Held::Open(segment) => segment.time_span(),
            Held::Packed(packed) => packed.time_span(),
        }
    }

    /// The highest timestamp of a record, in milliseconds; `i64::MIN` if there is none.
    pub(crate) fn newest(&self) -> i64 {
        match self {
            Held::Open(segment) => segment.newest(),
            Held::Packed(packed) => packed.newest,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::record::tenant::TenantId;
    use crate::record::{Headers, NewRecord, written_headers};

    /// An offset's distance, a timestamp, an epoch, a tenant, a key, a value.
    type Given = (u64, i64, i32, usize, Option<Vec<u8>>, Option<Vec<u8>>);

    fn segment(base: u64, records: &[Given]) -> Segment {
        let mut segment = Segment::new(Position { offset: base, epoch: -1 });
        let mut offset = base;
        for (distance, timestamp, epoch, tenant, key, value) in records {
            offset += distance;
            let headers = written_headers(&[("trace", key.as_deref())]);
            segment.push(&NewRecord {
                offset,
                epoch: *epoch,
                timestamp: *timestamp,
                key: key.as_deref(),
                value: value.as_deref(),
                headers: Headers::written(&headers),
                tenant: TenantId::new(["acme", "globex", "initech"][*tenant]).unwrap(),
                event_type: Some("order".into()),
                form: crate::record::form::Form::default(),
            });
            offset += 1;
        }
        segment.close(Position { offset: offset + 3, epoch: -1 });
        segment
    }

    fn told(segment: &Segment) -> String {
        let mut told = format!("{:?} {:?} {}", segment.base(), segment.end(), segment.used());
        for name in ["acme", "globex", "initech"] {
            for &index in segment.of_tenant(&TenantId::new(name).unwrap(), 0) {
                told += &format!("\n{name} {index} {:?}", segment.record(index));
            }
        }
        told
    }

    fn records() -> impl Strategy<Value = Vec<Given>> {
        let bytes = || proptest::option::of(vec(any::<u8>(), 0..40));
        vec((0..3u64, any::<i64>(), -1..i32::MAX, 0..3usize, bytes(), bytes()), 0..60)
    }

    proptest! {
        #[test]
        fn what_is_written_comes_back_as_it_was(base in 0..1_000_000_000u64, records in records()) {
            let segment = segment(base, &records);
            let mut text = Vec::new();
            segment.write(&mut text);
            let read = Segment::read(segment.base(), segment.end(), &text).unwrap();
            prop_assert_eq!(told(&read), told(&segment));
            prop_assert_eq!(read.size(), segment.used());
        }

        #[test]
        fn foreign_text_never_panics(base in any::<u64>(), text in vec(any::<u8>(), 0..200)) {
            Segment::read(base, Position { offset: u64::MAX, epoch: 0 }, &text);
        }
    }

    fn of_values(value: impl Fn(u64) -> Vec<u8>) -> Arc<Segment> {
        let record = |at| (0, at as i64, 0, 0, None, Some(value(at)));
        Arc::new(segment(5, &(0..200).map(record).collect::<Vec<_>>()))
    }

    #[test]
    fn a_packed_segment_opens_once_for_all_who_hold_it() {
        let plain = of_values(|at| format!("{{\"user\":{at},\"status\":\"shipped\"}}").into_bytes());
        let packed = Packed::of(&plain).unwrap();
        assert!(packed.size() * 3 < plain.used(), "{} of {}", packed.size(), plain.used());
        assert_eq!((packed.opened_size(), packed.base()), (plain.used(), 5));
        let before = told(&plain);
        drop(plain);
        assert!(packed.opened().is_none());
        let first = packed.open().unwrap();
        assert!(Arc::ptr_eq(&first, &packed.open().unwrap()));
        assert_eq!(told(&first), before);
    }

    #[test]
    fn what_does_not_shrink_is_not_packed() {
        let noise = of_values(|_| (0..400).map(|_| rand::random::<u8>()).collect());
        assert!(Packed::of(&noise).is_none());
    }
}
