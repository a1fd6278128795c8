//! Latencies, counted in buckets: adding one does not allocate, and no bucket is wider than 1/64 of its value.

/// Buckets for each power of two.
const STEPS: u64 = 64;

/// Enough powers of two for any number of microseconds.
const BUCKETS: usize = 64 * STEPS as usize;

pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0 }
    }

    pub(crate) fn add(&mut self, micros: u64) {
        self.counts[bucket(micros)] += 1;
        self.total += 1;
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The value in microseconds that `share` (0 to 1) of all values do not exceed, within 1/64; zero if there are none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut sum = 0;
        for (index, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum >= wanted && sum > 0 {
                return value(index);
            }
        }
        0
    }
}

fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let power = micros.ilog2() - STEPS.ilog2();
    (u64::from(power) * STEPS + (micros >> power)) as usize
}

/// The least value of a bucket.
fn value(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let power = bucket / STEPS - 1;
    (bucket - power * STEPS) << power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_again_to_a_sixty_fourth() {
        for micros in (0..100_000).chain([1_000_000, 77_777_777, u64::MAX]) {
            let found = value(bucket(micros));
            assert!(found <= micros && micros - found <= micros / STEPS, "{micros}: {found}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        (1..=100).for_each(|micros| histogram.add(micros));
        assert_eq!((histogram.quantile(0.5), histogram.quantile(0.99)), (50, 99));
    }
}
