//! How long fetches take until the whole fleet has what they bring, by upstream.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Upstreams that are told apart; with more, some share their measure.
const UPSTREAMS: usize = 32;

/// Fetches that are remembered of each.
const LATEST: usize = 128;

/// Fetches that say something.
const ENOUGH: usize = 8;

/// The latest fetches of each upstream: 16 KiB.
#[derive(Debug)]
pub(super) struct Paces(Box<[Pace]>);

#[derive(Debug)]
struct Pace {
    /// Milliseconds and 1; 0 where there was none yet.
    latest: [AtomicU32; LATEST],
    next: AtomicUsize,
}

impl Default for Paces {
    fn default() -> Self {
        let pace = || Pace {
            latest: std::array::from_fn(|_| AtomicU32::new(0)),
            next: AtomicUsize::new(0),
        };
        Self(std::iter::repeat_with(pace).take(UPSTREAMS).collect())
    }
}

impl Paces {
    /// A fetch from an upstream took so long.
    pub(super) fn note(&self, upstream: usize, time: Duration) {
        let Pace { latest, next } = &self.0[upstream % UPSTREAMS];
        let oldest = next.fetch_add(1, Relaxed) % LATEST;
        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        latest[oldest].store(millis.saturating_add(1), Relaxed);
    }

    /// What 95 of 100 fetches from an upstream keep within, once enough are known.
    pub(super) fn p95(&self, upstream: usize) -> Option<Duration> {
        let latest = self.0[upstream % UPSTREAMS].latest.iter();
        let mut times: Vec<_> =
            latest.filter_map(|time| time.load(Relaxed).checked_sub(1)).collect();
        if times.len() < ENOUGH {
            return None;
        }
        let at = (times.len() * 95).div_ceil(100) - 1;
        let (_, millis, _) = times.select_nth_unstable(at);
        Some(Duration::from_millis(u64::from(*millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_slowest_but_one_in_twenty_counts_once_enough_are_known() {
        let paces = Paces::default();
        (0..7).for_each(|_| paces.note(1, 5 * MS));
        assert_eq!(paces.p95(1), None);
        paces.note(1, 9 * MS);
        assert_eq!((paces.p95(1), paces.p95(2)), (Some(9 * MS), None));
        (1..=100).for_each(|time| paces.note(2, time * MS));
        assert_eq!(paces.p95(2), Some(95 * MS));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let paces = Paces::default();
        (0..500).for_each(|_| paces.note(0, Duration::MAX));
        assert_eq!(paces.p95(0), Some(MS * (u32::MAX - 1)));
        (0..LATEST).for_each(|_| paces.note(0, Duration::ZERO));
        assert_eq!(paces.p95(0), Some(Duration::ZERO));
    }
}
