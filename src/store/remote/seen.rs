//! Which large responses have been fetched before.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use foldhash::quality::RandomState;

/// Places: 512 KiB, whatever is fetched.
const PLACES: usize = 64 * 1024;

/// A table of fixed size, with one place for each key. A key that takes another's place costs that
/// one a fetch.
#[derive(Debug)]
pub(super) struct Seen {
    places: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Seen {
    pub(super) fn new() -> Self {
        let places = std::iter::repeat_with(AtomicU64::default).take(PLACES).collect();
        Self { places, hasher: RandomState::default() }
    }

    /// Notes a key, and tells whether it had been noted before.
    pub(super) fn again(&self, key: &str) -> bool {
        let (place, hash) = self.place(key);
        place.swap(hash, Relaxed) == hash
    }

    /// Whether a key has been noted.
    pub(super) fn knows(&self, key: &str) -> bool {
        let (place, hash) = self.place(key);
        place.load(Relaxed) == hash
    }

    fn place(&self, key: &str) -> (&AtomicU64, u64) {
        // 0 stands for nobody.
        let hash = self.hasher.hash_one(key) | 1;
        (&self.places[(hash >> 1) as usize % PLACES], hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_time_is_told_from_the_first() {
        let seen = Seen::new();
        assert!(!seen.knows("http://a/"));
        assert!(!seen.again("http://a/") && !seen.again("http://b/"));
        assert!(seen.knows("http://a/"));
        assert!(seen.again("http://a/") && seen.again("http://a/"));
    }
}
