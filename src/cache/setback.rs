//! Failed fetches, remembered for a short while: so that a broken origin is left alone, and nobody
//! waits for it who may be served stale.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foldhash::quality::RandomState;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Map;

use super::Failed;
use crate::clock::Timestamp;
use crate::key::CacheKey;

/// Setbacks remembered; about 100 bytes each. Only what is stored has any, but for origins that are
/// to be spared.
const MOST: u64 = 10_000;

/// The last setback of variants of keys, by their hash. What it says is no more than a hint on how
/// to fetch: two may share a hash. Variants are apart: one that always fails must not keep the
/// others from being refreshed.
#[derive(Debug)]
pub(super) struct Setbacks {
    last: Map<u64, Setback, RandomState>,
    /// Whether there has ever been one: where all is well, nothing is looked up for each fill.
    any: AtomicBool,
    hasher: RandomState,
}

impl Setbacks {
    pub(super) fn new() -> Self {
        let last = Map::builder()
            .max_capacity(MOST)
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(RandomState::default());
        Self { last, any: AtomicBool::new(false), hasher: RandomState::default() }
    }

    /// What went wrong with a variant of `key` lately.
    pub(super) fn get(&self, key: &str, variant: u64, now: Timestamp) -> Option<Setback> {
        self.last.get(&self.hash(key, variant)).filter(|setback| now < setback.until())
    }

    pub(super) fn set(&self, key: &CacheKey, variant: u64, setback: Setback, now: Timestamp) {
        if now < setback.until() {
            self.any.store(true, Ordering::Release);
            self.last.insert(self.hash(key.as_str(), variant), setback);
        }
    }

    pub(super) fn clear(&self, key: &CacheKey, variant: u64) {
        if self.any.load(Ordering::Acquire) {
            self.last.invalidate(&self.hash(key.as_str(), variant));
        }
    }

    fn hash(&self, key: &str, variant: u64) -> u64 {
        self.hasher.hash_one((key, variant))
    }
}

/// A fetch of a variant of a key that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setback {
    failed: Failed,
    /// Until then nobody waits for the origin who may be served stale.
    patient_until: Timestamp,
    /// Until then no refresh in the background begins.
    quiet_until: Timestamp,
}

/// Bounds of the time for which the origin is left alone after a failure.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// For how many times as long as a failure took to show, beyond the pause, clients are served
/// stale at once: long enough for a try in the background to fail in the same way.
const PATIENCE: u32 = 3;

/// A failure that took longer than this counts as if it had taken this: a download of an hour that
/// was cut, or a clock that was set, is no reason to expect nothing of the origin for hours.
const LONGEST_FAILURE: Duration = Duration::from_secs(60);

impl Setback {
    /// Of a fetch that failed at `now` after it had taken that long. The origin gets a pause as
    /// long as that, so that it is asked half of the time at most; a failure that shows at once
    /// keeps nobody waiting, and the next client may as well ask again.
    pub(super) fn new(failed: Failed, took: Duration, now: Timestamp) -> Self {
        let took = took.min(LONGEST_FAILURE);
        let pause = took.min(LONGEST_PAUSE);
        let patience = pause.saturating_add(took.saturating_mul(PATIENCE));
        Self {
            failed,
            patient_until: now.plus(patience),
            quiet_until: now.plus(pause.max(SHORTEST_PAUSE)),
        }
    }

    /// Until when this is worth remembering.
    fn until(&self) -> Timestamp {
        self.patient_until.max(self.quiet_until)
    }

    /// How the fetch failed, how long clients are yet served stale for it, and how long no refresh
    /// begins.
    pub(super) fn told(&self, now: Timestamp) -> (Failed, Duration, Duration) {
        (self.failed, self.patient_until.since(now), self.quiet_until.since(now))
    }

    /// How the fetch failed, for as long as another one can be expected to fail likewise.
    pub(super) fn expected(&self, now: Timestamp) -> Option<Failed> {
        (now < self.patient_until).then_some(self.failed)
    }

    /// How the fetch failed.
    pub(super) const fn failed(&self) -> Failed {
        self.failed
    }

    /// Whether the origin is to be left alone.
    pub(super) fn is_quiet(&self, now: Timestamp) -> bool {
        now < self.quiet_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn key() -> CacheKey {
        crate::key::Target::parse("http://h/").expect("a URL").key()
    }

    #[test]
    fn a_setback_is_remembered_until_its_time_is_up_or_a_fetch_succeeds() {
        let (setbacks, start, key) = (Setbacks::new(), Timestamp::from_secs(7), key());
        let setback =
            Setback::new(Failed::NoResponse(ErrorKind::Internal), Duration::from_secs(1), start);
        setbacks.set(&key, 0, setback, start);
        assert!(setbacks.get(key.as_str(), 1, start).is_none(), "another variant");
        assert!(setbacks.get(key.as_str(), 0, start.plus(Duration::from_secs(3))).is_some());
        assert!(setbacks.get(key.as_str(), 0, start.plus(Duration::from_secs(4))).is_none());
        setbacks.clear(&key, 0);
        assert!(setbacks.get(key.as_str(), 0, start).is_none());
    }

    #[test]
    fn the_pause_is_as_long_as_the_failure_took_within_bounds() {
        let failed = Failed::NoResponse(ErrorKind::FirstByteTimeout);
        for (took, quiet, patient) in [
            (0, 100, 0),
            (50, 100, 200),
            (2_000, 2_000, 8_000),
            (60_000, 10_000, 190_000),
            (3_600_000, 10_000, 190_000),
        ] {
            let setback = Setback::new(failed, Duration::from_millis(took), Timestamp::EPOCH);
            assert_eq!(setback.quiet_until, Timestamp::from_millis(quiet), "{took}");
            assert_eq!(setback.patient_until, Timestamp::from_millis(patient), "{took}");
        }
    }
}
