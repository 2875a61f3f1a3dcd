//! Counts by detail word, without a lock.

use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;

/// Slots of the table: several times the number of words that exist.
const SLOTS: usize = 256;

/// An open-addressed table of the words seen. Words are static, few, and never leave, so a slot
/// once taken stays taken, and counting is a short hash, a comparison and an addition.
#[derive(Debug)]
pub(super) struct Details(Box<[(OnceLock<&'static str>, AtomicU64)]>);

impl Default for Details {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| Default::default()).collect())
    }
}

impl Details {
    pub(super) fn count(&self, word: &'static str) {
        let start = FixedState::default().hash_one(word) as usize;
        for step in 0..SLOTS {
            let (name, count) = &self.0[start.wrapping_add(step) % SLOTS];
            if *name.get_or_init(|| word) == word {
                count.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Every word seen, with its count.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().filter_map(|(name, count)| {
            name.get().map(|&name| (name, count.load(Ordering::Relaxed)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_word_has_its_own_count() {
        let details = Details::default();
        for kind in ErrorKind::ALL {
            details.count(kind.word());
            details.count(kind.word());
        }
        let counts: Vec<_> = details.each().collect();
        assert_eq!(counts.len(), ErrorKind::ALL.len());
        assert!(counts.iter().all(|&(_, count)| count == 2));
    }
}
