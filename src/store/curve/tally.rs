//! Counts that forget: each minute leaves a little less of those before it.

use crate::clock::Timestamp;

/// Milliseconds after which what was counted weighs half.
const HALF_LIFE: i64 = 3_600_000;

/// The step in which it is forgotten, in milliseconds.
const STEP: i64 = 60_000;

/// Half-lives that leave nothing to speak of.
const MOST_HALVINGS: f64 = 64.0;

/// What was asked for, and what each size of memory missed of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts<const N: usize> {
    /// Requests.
    pub requests: f64,
    /// Bytes of what was asked for.
    pub bytes: f64,
    /// Requests that found nothing.
    pub misses: [f64; N],
    /// Bytes of what they asked for.
    pub missed_bytes: [f64; N],
    /// Requests for which the store itself had nothing.
    pub(super) here: f64,
    /// Bytes of what they asked for.
    pub(super) bytes_here: f64,
}

impl<const N: usize> Counts<N> {
    const NONE: Self = Self {
        requests: 0.0,
        bytes: 0.0,
        misses: [0.0; N],
        missed_bytes: [0.0; N],
        here: 0.0,
        bytes_here: 0.0,
    };

    fn scale(&mut self, factor: f64) {
        let Self { requests, bytes, misses, missed_bytes, here, bytes_here } = self;
        let all = [requests, bytes, here, bytes_here].into_iter().chain(misses);
        all.chain(missed_bytes).for_each(|count| *count *= factor);
    }

    /// With what the store missed, and as many more or fewer as the sample says of each size. The
    /// size that the store has is at the index `here`.
    pub(super) fn compared(&self, here: usize) -> Self {
        let compare = |sampled: [f64; N], missed: f64, of: f64| {
            sampled.map(|misses| (missed + misses - sampled[here]).clamp(0.0, of.max(0.0)))
        };
        Self {
            misses: compare(self.misses, self.here, self.requests),
            missed_bytes: compare(self.missed_bytes, self.bytes_here, self.bytes),
            ..*self
        }
    }

    /// No miss that was told before is taken back.
    pub(super) fn rise_above(&mut self, before: &Self) {
        let pairs = self.misses.iter_mut().zip(before.misses);
        let bytes = self.missed_bytes.iter_mut().zip(before.missed_bytes);
        pairs.chain(bytes).for_each(|(now, before)| *now = now.max(before));
    }
}

/// The same counts since the start, and of late.
#[derive(Debug)]
pub(super) struct Tally<const N: usize> {
    pub(super) total: Counts<N>,
    pub(super) recent: Counts<N>,
    /// Up to when what is recent has been forgotten.
    forgotten_to: Option<Timestamp>,
}

impl<const N: usize> Tally<N> {
    pub(super) const fn new() -> Self {
        Self { total: Counts::NONE, recent: Counts::NONE, forgotten_to: None }
    }

    /// Counts something in both.
    pub(super) fn count(&mut self, add: impl Fn(&mut Counts<N>)) {
        add(&mut self.total);
        add(&mut self.recent);
    }

    /// It is `now`, a minute later perhaps. A clock that goes back forgets nothing.
    pub(super) fn age(&mut self, now: Timestamp) {
        let since = self.forgotten_to.get_or_insert(now);
        let passed = now.as_millis().saturating_sub(since.as_millis());
        if (0..STEP).contains(&passed) {
            return;
        }
        *since = now;
        let halvings = (passed.max(0) as f64 / HALF_LIFE as f64).min(MOST_HALVINGS);
        self.recent.scale((-halvings).exp2());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_leaves_half_and_what_was_counted_in_all_stays() {
        let mut tally = Tally::<1>::new();
        let at = Timestamp::from_secs;
        tally.age(at(1_000_000));
        tally.count(|counts| {
            counts.requests += 8.0;
            counts.misses[0] += 4.0;
        });
        (1..=3600).for_each(|second| tally.age(at(1_000_000 + second)));
        assert!((tally.recent.requests - 4.0).abs() < 1e-6, "{tally:?}");
        assert!((tally.recent.misses[0] - 2.0).abs() < 1e-6, "{tally:?}");
        assert_eq!((tally.total.requests, tally.total.misses[0]), (8.0, 4.0));
        tally.age(at(0));
        assert!((tally.recent.requests - 4.0).abs() < 1e-6, "a clock went back: {tally:?}");
        tally.age(Timestamp::from_millis(i64::MAX));
        assert!(tally.recent.requests < 1e-6);
    }
}
