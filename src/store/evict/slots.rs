//! What hits write: one slot a resident, at a place that never moves.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Slots in the first chunks together; each further such group has as many as all before it.
const FIRST: u32 = 1024;

/// Chunks in a group: what is made ahead is at most so small a part of what there is.
const CHUNKS_IN_GROUP: u32 = 8;

/// Chunks that are enough for every `u32`.
const CHUNKS: usize = 23 * CHUNKS_IN_GROUP as usize;

/// A resident's part that is shared with hits. Floating-point numbers are kept as their bits.
#[derive(Debug, Default)]
#[repr(align(32))]
pub(super) struct Slot {
    priority: AtomicU64,
    reward: AtomicU64,
    hash: AtomicU64,
    size: AtomicU64,
}

impl Slot {
    /// The resident's key's hash.
    pub(super) fn hash(&self) -> u64 {
        self.hash.load(Ordering::Relaxed)
    }

    /// What it weighs, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// It weighs `size` bytes from now on, and one use adds `reward` to its priority.
    pub(super) fn weigh(&self, size: u64, reward: f64) {
        self.size.store(size, Ordering::Relaxed);
        self.reward.store(reward.to_bits(), Ordering::Relaxed);
    }

    /// The lowest priority goes first.
    pub(super) fn priority(&self) -> f64 {
        f64::from_bits(self.priority.load(Ordering::Relaxed))
    }

    pub(super) fn set_priority(&self, priority: f64) {
        self.priority.store(priority.to_bits(), Ordering::Relaxed);
    }

    /// What one use adds to the priority.
    pub(super) fn reward(&self) -> f64 {
        f64::from_bits(self.reward.load(Ordering::Relaxed))
    }

    /// A new resident moves in.
    pub(super) fn occupy(&self, hash: u64, size: u64, reward: f64, priority: f64) {
        self.hash.store(hash, Ordering::Relaxed);
        self.weigh(size, reward);
        self.set_priority(priority);
    }
}

/// Slots by number, in chunks that are made when they are first needed.
#[derive(Debug)]
pub(super) struct Slots([OnceLock<Box<[Slot]>>; CHUNKS]);

impl Slots {
    pub(super) fn new() -> Self {
        Self([const { OnceLock::new() }; CHUNKS])
    }

    /// The slot, if its chunk is there.
    pub(super) fn get(&self, number: u32) -> Option<&Slot> {
        let (chunk, index) = place(number);
        self.0.get(chunk)?.get()?.get(index)
    }

    /// The slot, whose chunk is made if it is not there.
    pub(super) fn get_or_make(&self, number: u32) -> Option<&Slot> {
        let (chunk, index) = place(number);
        let slots = || std::iter::repeat_with(Slot::default).take(size(chunk) as usize);
        self.0.get(chunk)?.get_or_init(|| slots().collect()).get(index)
    }
}

/// Slots in a chunk.
fn size(chunk: usize) -> u64 {
    let group = chunk as u32 / CHUNKS_IN_GROUP;
    (u64::from(FIRST) << group) / u64::from(CHUNKS_IN_GROUP)
}

/// The chunk, and the index in it.
fn place(number: u32) -> (usize, usize) {
    // Groups are as large as all before them, were there one more before the first.
    let shifted = u64::from(number) + u64::from(FIRST);
    let group = shifted.ilog2() - FIRST.ilog2();
    let within = shifted - (u64::from(FIRST) << group);
    // Sizes are powers of two: this is a quotient and what remains, without a division.
    let size_log2 = FIRST.ilog2() - CHUNKS_IN_GROUP.ilog2() + group;
    let chunk = u64::from(group * CHUNKS_IN_GROUP) + (within >> size_log2);
    (chunk as usize, (within & ((1 << size_log2) - 1)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_places_without_gaps() {
        let mut next = (0, 0);
        for number in 0..100_000 {
            let (chunk, index) = place(number);
            assert!((chunk, index) == next || (chunk, index) == (next.0 + 1, 0));
            assert!(index < size(chunk) as usize);
            next = (chunk, index + 1);
        }
        assert!(place(u32::MAX).0 < CHUNKS);
    }
}
