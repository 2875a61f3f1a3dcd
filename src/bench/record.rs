//! What was measured: by one thread while it runs, by all of them together at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use http::StatusCode;

use super::failure::Failure;
use super::timeline::Timeline;
use super::verdict::{Told, Verdict};

/// Longer durations count as this one.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Durations with three significant digits, from a microsecond to an hour.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        // Invariant: these bounds are in order, and three digits are as many as may be.
        #[expect(clippy::expect_used, reason = "constants that the crate accepts")]
        let histogram =
            Histogram::new_with_bounds(1, LONGEST.as_micros() as u64, 3).expect("bounds in order");
        Self(histogram)
    }
}

impl Latencies {
    /// Counts one.
    pub(super) fn record(&mut self, duration: Duration) {
        self.0.saturating_record(duration.as_micros().try_into().unwrap_or(u64::MAX));
    }

    /// Counts those of `other` too.
    pub(super) fn add(&mut self, other: &Self) {
        // Both have the same bounds: nothing is beyond them.
        let _ = self.0.add(&other.0);
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The one that `share` of all, from 0 to 1, do not exceed; `None` where there are none.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.value_at_quantile(share)))
    }

    /// The longest.
    pub(super) fn most(&self) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.max()))
    }

    /// The mean.
    pub(super) fn mean(&self) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_secs_f64(self.0.mean() / 1e6))
    }
}

/// A whole answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    /// What the cache says that it did.
    pub(super) verdict: Verdict,
    /// By which field.
    pub(super) told: Option<Told>,
    /// Bytes of its body.
    pub(super) bytes: u64,
}

/// Answers of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Bytes of their bodies.
    pub(super) bytes: u64,
    /// How many, and how long they took to their last byte.
    pub(super) latencies: Latencies,
}

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Answers, as the cache tells of them.
    pub(super) answers: BTreeMap<Verdict, Tally>,
    /// Answers by status.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Answers by the field that told.
    pub(super) told: BTreeMap<Told, u64>,
    /// Requests without a whole answer.
    pub(super) failures: BTreeMap<Failure, u64>,
    /// How much later requests were sent than they were due.
    pub(super) lag: Latencies,
    /// The same over time.
    pub(super) timeline: Timeline,
}

impl Record {
    /// Counts an answer, of which the last byte came `at` that long after the start.
    pub(super) fn answered(&mut self, answer: Answer, took: Duration, at: Duration) {
        let tally = self.answers.entry(answer.verdict).or_default();
        tally.bytes += answer.bytes;
        tally.latencies.record(took);
        *self.statuses.entry(answer.status.as_u16()).or_default() += 1;
        if let Some(told) = answer.told {
            *self.told.entry(told).or_default() += 1;
        }
        self.timeline.answered(at, answer.verdict.is_hit(), answer.bytes, took);
    }

    /// Counts a request that came to nothing `at` that long after the start.
    pub(super) fn failed(&mut self, failure: Failure, at: Duration) {
        *self.failures.entry(failure).or_default() += 1;
        self.timeline.failed(at);
    }

    /// Adds what another thread measured from the same start.
    pub(super) fn add(&mut self, other: &Self) {
        for (verdict, tally) in &other.answers {
            let own = self.answers.entry(*verdict).or_default();
            own.bytes += tally.bytes;
            own.latencies.add(&tally.latencies);
        }
        add_counts(&mut self.statuses, &other.statuses);
        add_counts(&mut self.told, &other.told);
        add_counts(&mut self.failures, &other.failures);
        self.lag.add(&other.lag);
        self.timeline.add(&other.timeline);
    }

    /// Requests that were answered.
    pub(super) fn answered_count(&self) -> u64 {
        self.answers.values().map(|tally| tally.latencies.count()).sum()
    }

    /// Requests that were not.
    pub(super) fn failed_count(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Bytes of all bodies.
    pub(super) fn bytes(&self) -> u64 {
        self.answers.values().map(|tally| tally.bytes).sum()
    }

    /// How long all answers took.
    pub(super) fn latencies(&self) -> Latencies {
        let mut all = Latencies::default();
        for tally in self.answers.values() {
            all.add(&tally.latencies);
        }
        all
    }
}

fn add_counts<K: Ord + Copy>(counts: &mut BTreeMap<K, u64>, others: &BTreeMap<K, u64>) {
    for (key, count) in others {
        *counts.entry(*key).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn answer(verdict: Verdict, bytes: u64) -> Answer {
        Answer { status: StatusCode::OK, verdict, told: Some(Told::CacheStatus), bytes }
    }

    #[test]
    fn threads_add_up() {
        let (mut one, mut two) = (Record::default(), Record::default());
        one.answered(answer(Verdict::Hit, 10), MS(1), MS(5));
        one.answered(answer(Verdict::Miss, 100), MS(50), MS(60));
        two.answered(answer(Verdict::Hit, 20), MS(3), MS(9));
        two.failed(Failure::Lost, MS(10));
        one.add(&two);
        assert_eq!((one.answered_count(), one.failed_count(), one.bytes()), (3, 1, 130));
        assert_eq!(one.answers[&Verdict::Hit].bytes, 30);
        assert_eq!(one.statuses[&200], 3);
        assert_eq!(one.told[&Told::CacheStatus], 3);
        assert_eq!(one.failures[&Failure::Lost], 1);
        let all = one.latencies();
        let near = |found: Option<Duration>, expected: u64| {
            let found = found.unwrap().as_secs_f64() * 1e3;
            assert!((found / expected as f64 - 1.0).abs() < 0.002, "{found} for {expected}");
        };
        near(all.quantile(0.5), 3);
        near(all.quantile(1.0), 50);
        near(all.most(), 50);
        near(all.mean(), 18);
    }

    #[test]
    fn nothing_has_no_quantiles_and_what_is_too_long_is_the_longest() {
        let mut latencies = Latencies::default();
        assert_eq!(
            (latencies.quantile(0.5), latencies.most(), latencies.mean()),
            (None, None, None)
        );
        latencies.record(Duration::MAX);
        latencies.record(Duration::ZERO);
        assert_eq!(latencies.count(), 2);
        assert!(latencies.most().unwrap() + Duration::from_secs(4) >= LONGEST);
    }
}
