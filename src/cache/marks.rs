//! Hit-for-miss: keys whose last answer could not be shared, so that nobody waits for the next.

use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::quality::RandomState;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Map;

use crate::clock::Timestamp;
use crate::key::CacheKey;

/// Marks by the key's hash: a collision costs a shared fetch, never a wrong answer.
#[derive(Debug)]
pub(super) struct Marks {
    until: Map<u64, Timestamp, RandomState>,
    hasher: RandomState,
}

/// Marks kept; about 100 bytes each.
const MOST: u64 = 100_000;

impl Marks {
    pub(super) fn new() -> Self {
        let until = Map::builder()
            .max_capacity(MOST)
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(RandomState::default());
        Self { until, hasher: RandomState::default() }
    }

    /// Whether `key`'s answers are known not to be shared.
    pub(super) fn holds(&self, key: &CacheKey, now: Timestamp) -> bool {
        self.until.get(&self.hash(key)).is_some_and(|until| now < until)
    }

    pub(super) fn set(&self, key: &CacheKey, now: Timestamp, lifetime: Duration) {
        if !lifetime.is_zero() {
            self.until.insert(self.hash(key), now.plus(lifetime));
        }
    }

    pub(super) fn clear(&self, key: &CacheKey) {
        self.until.invalidate(&self.hash(key));
    }

    fn hash(&self, key: &CacheKey) -> u64 {
        self.hasher.hash_one(key)
    }
}
