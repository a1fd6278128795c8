//! The bytes that the server sends for a burst, taken from its output, so that the floor can send the same bytes.

use anyhow::{Context, Result};

use crate::payload::{DIGITS, MARK};

/// The bytes of one burst, with chunks and ids, and the positions of the times of sending in them.
#[derive(Default)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    times: Vec<usize>,
}

impl Frame {
    pub(crate) fn new(bytes: Vec<u8>) -> Frame {
        let times = times(&bytes);
        Frame { bytes, times }
    }

    /// Writes the time of sending into every event.
    pub(crate) fn stamp(&mut self, now_us: u64) {
        let digits = format!("{now_us:0width$}", width = usize::from(DIGITS));
        for at in &self.times {
            self.bytes[*at..*at + digits.len()].copy_from_slice(digits.as_bytes());
        }
    }
}

/// The positions of the digits of each whole event.
fn times(bytes: &[u8]) -> Vec<usize> {
    let digits = usize::from(DIGITS);
    let whole = |at: &usize| {
        bytes.get(at + 1..at + 1 + digits).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    };
    memchr::memchr_iter(MARK, bytes).filter(whole).map(|at| at + 1).collect()
}

/// The last reads in a row that hold exactly `events` events.
pub(crate) fn learn(reads: &[Vec<u8>], events: usize) -> Result<Vec<u8>> {
    let (mut found, mut sum) = (None, Vec::new());
    for read in reads {
        sum.extend_from_slice(read);
        match times(&sum).len() {
            // Bytes between events belong to none of them.
            0 => sum.clear(),
            count if count == events => found = Some(std::mem::take(&mut sum)),
            count if count > events => sum.clear(),
            _ => {}
        }
    }
    found.with_context(|| format!("none of {} reads have {events} events together", reads.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{EVENT_BYTES, write_event};

    fn burst(events: u64) -> Vec<u8> {
        let mut out = Vec::new();
        (0..events).for_each(|sent| write_event(&mut out, EVENT_BYTES, 0, sent));
        out
    }

    #[test]
    fn a_burst_is_learnt_even_if_it_came_in_pieces() {
        let reads = [b": heartbeat\n\n".to_vec(), burst(2), burst(1), b":\n\n".to_vec(), burst(3), burst(1)];
        assert_eq!(learn(&reads, 3).expect("there is one").len(), 3 * EVENT_BYTES);
        assert!(learn(&reads, 5).is_err());
    }

    #[test]
    fn a_stamped_frame_has_the_new_time_in_every_event_and_the_same_size() {
        let mut frame = Frame::new(burst(3));
        frame.stamp(77);
        let mut found = Vec::new();
        crate::payload::Scan::default().feed(&frame.bytes, |sent| found.push(sent));
        assert_eq!((found, frame.bytes.len()), (vec![77; 3], 3 * EVENT_BYTES));
    }
}
