//! moka, as it comes.

use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::FixedState;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::{Item, Keeper};

/// moka's weights are 32 bits wide.
const FINEST: u64 = u32::MAX as u64;

/// A map of sizes under moka's own policy, whose maintenance runs after every operation.
#[derive(Debug)]
pub(super) struct Moka {
    cache: Cache<u32, u32, FixedState>,
    gone: Arc<Mutex<Vec<u32>>>,
    /// Bytes that count as one.
    unit: u64,
}

impl Moka {
    pub(super) fn new(capacity: u64) -> Self {
        let unit = capacity.div_ceil(FINEST).max(1);
        let gone = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&gone);
        let cache = Cache::builder()
            .max_capacity(capacity / unit)
            .weigher(|_, size: &u32| *size)
            .eviction_listener(move |key: Arc<u32>, _, cause| {
                if cause == RemovalCause::Size {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push(*key);
                }
            })
            // A random one would have another key's uses counted for a key in each run.
            .build_with_hasher(FixedState::default());
        Self { cache, gone, unit }
    }
}

impl Keeper for Moka {
    fn touch(&mut self, key: u32) {
        self.cache.get(&key);
        self.cache.run_pending_tasks();
    }

    fn put(&mut self, item: Item, gone: &mut Vec<u32>) -> bool {
        // Asked for and not found: this is how it learns what is asked for often.
        self.cache.get(&item.key);
        let size = u32::try_from(item.size.div_ceil(self.unit)).unwrap_or(u32::MAX);
        self.cache.insert(item.key, size);
        self.cache.run_pending_tasks();
        gone.append(&mut self.gone.lock().unwrap_or_else(PoisonError::into_inner));
        self.cache.contains_key(&item.key)
    }

    fn remove(&mut self, key: u32) {
        self.cache.invalidate(&key);
    }

    fn weight(&self) -> u64 {
        self.cache.weighted_size() * self.unit
    }
}
