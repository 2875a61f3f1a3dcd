//! The memory tier: moka as the concurrent map, the budget as the limit that holds.
//!
//! moka evicts by weight, but some time after the fact, and it knows nothing of bodies that are
//! being filled or still being sent. The [`Budget`] knows all of them: what does not fit into it
//! is not stored. A part of it is kept from the map, so that a full store leaves room for fills.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Map;

use super::Config;
use super::response::{StoredResponse, Variants};
use super::stamps::{Mode, Scope, Stamp, Stamps, Standing};
use crate::budget::{Budget, Charge};
use crate::key::CacheKey;

/// The share of the budget that is kept for fills and for bodies still being sent: one eighth.
const RESERVE_DIVISOR: usize = 8;

/// Stored responses by key.
#[derive(Clone, Debug)]
pub struct Memory {
    map: Map<CacheKey, Variants, RandomState>,
    budget: Budget,
    stamps: Arc<Stamps>,
    evictions: Arc<AtomicU64>,
    max_variants: usize,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&evictions);
        let map = Map::builder()
            .max_capacity((config.memory - config.memory / RESERVE_DIVISOR) as u64)
            .weigher(|key: &CacheKey, variants: &Variants| {
                let weight = variants.weight() + key.as_str().len() as u64;
                u32::try_from(weight).unwrap_or(u32::MAX)
            })
            // Recency, as in the caches that operators know.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |_, _, cause| {
                if cause.was_evicted() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(RandomState::default());
        Self {
            map,
            budget: Budget::new(config.memory),
            stamps: Arc::new(Stamps::new()),
            evictions,
            max_variants: config.max_variants,
        }
    }

    /// Everything stored under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Variants> {
        self.map.get(key)
    }

    /// Where a response stored under `key` stands with regard to purges.
    #[must_use]
    pub fn standing(&self, key: &str, stamp: &Stamp) -> Standing {
        self.stamps.standing(key, stamp)
    }

    /// The same for what may not be in the store, or no longer: a response being fetched, or held
    /// while its validation is under way.
    #[must_use]
    pub fn standing_outside(&self, key: &str, stamp: &Stamp) -> Standing {
        self.stamps.outside(key, stamp)
    }

    /// The sequence that a fetch is stamped with, read before it begins.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.stamps.sequence()
    }

    /// Charges `bytes`, evicting what is due first if they do not fit.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> Option<Charge> {
        self.budget.try_charge(bytes).or_else(|| {
            self.map.run_pending_tasks();
            self.budget.try_charge(bytes)
        })
    }

    /// Stores `response` beside the other variants of `key`. `false` where a purge forbids it.
    pub fn insert(&self, key: &CacheKey, response: &Arc<StoredResponse>) -> bool {
        if key.has_parts() {
            self.stamps.expect_parts();
        }
        if self.stamps.admit(key.as_str(), &response.stamp) == Standing::Hard {
            return false;
        }
        self.map.entry_by_ref(key).and_upsert_with(|old| match old {
            Some(old) => old.value().with(Arc::clone(response), self.max_variants),
            None => Variants::One(Arc::clone(response)),
        });
        // A purge that came in between found nothing to drop.
        let stands = self.stamps.admit(key.as_str(), &response.stamp) != Standing::Hard;
        if !stands {
            self.remove(key, response);
        }
        stands
    }

    /// Drops the one response `old` of `key`, if it is still there.
    pub fn remove(&self, key: &CacheKey, old: &Arc<StoredResponse>) {
        self.map.entry_by_ref(key).and_compute_with(|entry| {
            let Some(variants) = entry.map(moka::Entry::into_value) else { return Op::Nop };
            match variants.without(old) {
                Some(rest) => Op::Put(rest),
                None => Op::Remove,
            }
        });
    }

    /// Purges, and returns the purge's sequence number.
    #[must_use]
    pub fn purge(&self, scope: Scope, mode: Mode) -> u64 {
        let gone = match (&scope, mode) {
            (Scope::Url(url), Mode::Hard) => Some(url.clone()),
            _ => None,
        };
        let everything = (&scope, mode) == (&Scope::All, Mode::Hard);
        // The record first: what is put into the map after it is checked against it.
        let sequence = self.stamps.purge(scope, mode);
        if let Some(url) = gone {
            self.map.invalidate(url.as_str());
        } else if everything {
            self.map.invalidate_all();
        }
        sequence
    }

    /// Keys stored; approximate while writes are under way.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.map.entry_count()
    }

    /// Keys evicted for want of memory since the start.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// The budget that everything is charged to.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Does what is pending: evictions, drops. For tests and shutdown.
    pub fn settle(&self) {
        self.map.run_pending_tasks();
    }
}
