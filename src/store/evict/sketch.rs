//! How often keys were asked for lately: a count-min sketch that forgets.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Counters at least, so that a small store remembers enough.
const LEAST_COUNTERS: usize = 1 << 14;

/// Bytes of capacity for each counter: what is stored is larger than that with all it costs, so
/// there are more counters than residents.
const BYTES_PER_COUNTER: u64 = 512;

/// A key's counters are neighbours, so that an increment visits one place in memory; in each
/// of the rows it has one.
const BLOCK: usize = 64;
const ROWS: usize = 4;
const ROW: usize = BLOCK / ROWS;

/// Increments by hits are noted in steps of so many, so that a hit seldom writes to what all
/// threads share.
const STEP: u8 = 4;

/// Halved at a time at most, so that nobody waits for all of them.
const MOST_HALVED: usize = 4096;

/// Estimates from above, seldom by much. Threads may lose each other's increments: these are
/// estimates anyway, and nobody waits.
#[derive(Debug)]
pub(super) struct Sketch {
    counters: Box<[AtomicU8]>,
    /// Increments that no ageing has answered yet.
    added: AtomicUsize,
    /// The counter that is halved next.
    hand: AtomicUsize,
}

impl Sketch {
    /// With so many counters: a power of two, and at least a block of them.
    pub(super) fn new(counters: usize) -> Self {
        let zeros = std::iter::repeat_with(AtomicU8::default);
        Self {
            counters: zeros.take(counters.next_power_of_two().max(BLOCK)).collect(),
            added: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    /// How many counters suit a store of `capacity` bytes.
    pub(super) fn counters_for(capacity: u64) -> usize {
        let wanted = usize::try_from(capacity / BYTES_PER_COUNTER).unwrap_or(LEAST_COUNTERS);
        wanted.next_power_of_two().max(LEAST_COUNTERS)
    }

    /// How many counters there are, each a byte: a power of two.
    pub(super) fn counters(&self) -> usize {
        self.counters.len()
    }

    /// How often `hash` was added lately.
    pub(super) fn get(&self, hash: u64) -> u8 {
        self.of(hash).map_or(0, |counters| lowest(&counters))
    }

    /// Adds `hash`, and returns how often it was added lately.
    pub(super) fn add(&self, hash: u64) -> u8 {
        let Some(counters) = self.of(hash) else { return 0 };
        let before = lowest(&counters);
        if before == u8::MAX {
            return before;
        }
        let uses = before + 1;
        // Only the lowest are raised: other keys have made the others too high already.
        for counter in counters {
            if counter.load(Ordering::Relaxed) == before {
                counter.store(uses, Ordering::Relaxed);
            }
        }
        if uses.is_multiple_of(STEP) {
            self.added.fetch_add(usize::from(STEP), Ordering::Relaxed);
        }
        uses
    }

    /// Notes one increment for ageing that [`Sketch::add`] does not.
    pub(super) fn note(&self) {
        self.added.fetch_add(1, Ordering::Relaxed);
    }

    /// Halves as many counters as is due if each is to be halved once in `period` increments.
    pub(super) fn age(&self, period: usize) {
        let (added, counters) = (self.added.load(Ordering::Relaxed), self.counters());
        let due = (added.saturating_mul(counters) / period.max(1)).min(MOST_HALVED);
        if due == 0 {
            return;
        }
        // Rounded up: what is rounded off would be answered twice.
        let answered = due.saturating_mul(period).div_ceil(counters).min(added);
        self.added.fetch_sub(answered, Ordering::Relaxed);
        let hand = self.hand.fetch_add(due, Ordering::Relaxed);
        // There are as many as a power of two.
        let (mut from, mut left) = (hand & (counters - 1), due);
        while left > 0 {
            let rest = self.counters.get(from..).unwrap_or_default();
            let some = rest.get(..left).unwrap_or(rest);
            left -= some.len();
            from = 0;
            for counter in some {
                counter.store(counter.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
            }
        }
    }

    /// The counters of `hash`.
    fn of(&self, hash: u64) -> Option<[&AtomicU8; ROWS]> {
        let blocks = self.counters() / BLOCK;
        // As many as a power of two.
        let start = ((hash >> 32) as usize & (blocks - 1)) * BLOCK;
        let block = self.counters.get(start..)?.first_chunk::<BLOCK>()?;
        let counter = |row: usize| block.get(row * ROW + (hash >> (8 * row)) as usize % ROW);
        Some([counter(0)?, counter(1)?, counter(2)?, counter(3)?])
    }
}

fn lowest(counters: &[&AtomicU8; ROWS]) -> u8 {
    counters.iter().map(|counter| counter.load(Ordering::Relaxed)).fold(u8::MAX, u8::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: u64) -> u64 {
        key.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ key
    }

    #[test]
    fn what_was_added_is_never_underestimated_and_seldom_overestimated() {
        let sketch = Sketch::new(1 << 16);
        let mut wrong = 0;
        for key in 0..5000 {
            for _ in 0..key % 7 {
                sketch.add(hash(key));
            }
        }
        for key in 0..5000 {
            let uses = u64::from(sketch.get(hash(key)));
            assert!(uses >= key % 7);
            wrong += u64::from(uses > key % 7);
        }
        assert!(wrong < 100, "{wrong}");
    }

    #[test]
    fn counters_stop_at_their_end() {
        let sketch = Sketch::new(1 << 16);
        let uses = (0..1000).map(|_| sketch.add(7)).max();
        assert_eq!(uses, Some(u8::MAX));
    }

    #[test]
    fn every_counter_is_halved_once_a_period() {
        let sketch = Sketch::new(1 << 16);
        let period = 1000;
        for key in 0..1000 {
            (0..8).for_each(|_| {
                sketch.add(hash(key));
            });
        }
        // Eight periods' worth of increments.
        let before: Vec<_> = (0..1000).map(|key| sketch.get(hash(key))).collect();
        for _ in 0..sketch.counters() / MOST_HALVED {
            sketch.age(period);
        }
        for (key, before) in (0..1000).zip(before) {
            assert_eq!(sketch.get(hash(key)), before / 2);
        }
        (0..1000).for_each(|_| sketch.age(period));
        assert!((0..1000).all(|key| sketch.get(hash(key)) <= 1), "all is answered, and no more");
    }
}
