//! A histogram of durations with fixed buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in seconds: from a hit in memory to a slow origin.
const BOUNDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Counts of durations by bucket. The last bucket has no upper bound.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn record(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.partition_point(|&bound| bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// The sum of several [`Histogram`]s, as the encoder wants it.
#[derive(Debug)]
pub(super) struct Sum {
    pub(super) seconds: f64,
    pub(super) count: u64,
    /// Upper bound and count of each bucket, not cumulative.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl<'a> FromIterator<&'a Histogram> for Sum {
    fn from_iter<I: IntoIterator<Item = &'a Histogram>>(histograms: I) -> Self {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let mut buckets: Vec<_> = bounds.map(|bound| (bound, 0)).collect();
        let mut seconds = 0.0;
        for histogram in histograms {
            for (sum, bucket) in buckets.iter_mut().zip(&histogram.buckets) {
                sum.1 += bucket.load(Ordering::Relaxed);
            }
            seconds += histogram.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9;
        }
        let count = buckets.iter().map(|&(_, count)| count).sum();
        Self { seconds, count, buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_millis(1));
        histogram.record(Duration::from_secs(31));
        let sum: Sum = [&histogram].into_iter().collect();
        assert_eq!((sum.count, sum.seconds), (2, 31.001));
        assert!(sum.buckets.contains(&(0.001, 1)));
        assert!(sum.buckets.contains(&(f64::INFINITY, 1)));
    }
}
