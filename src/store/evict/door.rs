//! Who was here before: a doorkeeper that remembers a first visit for a while.
//!
//! Keys that are asked for once only stay out of the [`Sketch`](super::sketch::Sketch), so that a
//! scan of any number of them neither fills it nor makes it forget.

/// Bits for each key that is remembered: one of ten thousand strangers is taken for a guest.
const BITS_PER_KEY: usize = 32;

/// Bits set for a key, all in one block of words.
const PROBES: usize = 6;
const BLOCK: usize = 8;

/// Two Bloom filters: the younger takes those who come, the older is forgotten when that is full.
#[derive(Debug)]
pub(super) struct Door {
    young: Box<[u64]>,
    old: Box<[u64]>,
    entered: usize,
}

impl Door {
    /// With `bytes`, a power of two and at least 64, for each of the two filters.
    pub(super) fn new(bytes: usize) -> Self {
        let words = vec![0; bytes / 8].into_boxed_slice();
        Self { young: words.clone(), old: words, entered: 0 }
    }

    /// Notes a visit of `hash`; whether it was here among the last `most` others or so.
    pub(super) fn enter(&mut self, hash: u64, most: usize) -> bool {
        let bits = bits(hash);
        // Both are looked at before anything is decided, so that memory is waited for once.
        let is_old = contains(block(&mut self.old, hash), bits);
        if contains(block(&mut self.young, hash), bits) {
            return true;
        }
        let most = most.min(self.young.len() * 64 / BITS_PER_KEY);
        let is_full = self.entered >= most;
        if is_full {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.fill(0);
            self.entered = 0;
        }
        insert(block(&mut self.young, hash), bits);
        self.entered += 1;
        // What was young and has become old does not have it.
        is_old && !is_full
    }
}

/// The words of `filter` where the bits of `hash` are; of which there are as many as a power of two.
fn block(filter: &mut [u64], hash: u64) -> Option<&mut [u64; BLOCK]> {
    let block = (hash as usize & (filter.len() / BLOCK - 1)) * BLOCK;
    filter.get_mut(block..)?.first_chunk_mut()
}

/// The bits of `hash`: of each the word, and which of it.
fn bits(hash: u64) -> [(usize, u32); PROBES] {
    // Other bits than those that chose the block.
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    std::array::from_fn(|probe| {
        let bits = mixed >> (9 * probe);
        ((bits >> 6) as usize % BLOCK, (bits % 64) as u32)
    })
}

fn contains(block: Option<&mut [u64; BLOCK]>, bits: [(usize, u32); PROBES]) -> bool {
    // Without a branch for each, which nobody could foresee.
    block.is_some_and(|block| {
        bits.iter().fold(1, |all, (word, bit)| all & (block[*word] >> bit)) == 1
    })
}

fn insert(block: Option<&mut [u64; BLOCK]>, bits: [(usize, u32); PROBES]) {
    if let Some(block) = block {
        for (word, bit) in bits {
            block[word] |= 1 << bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: u64) -> u64 {
        let mixed = (key ^ (key >> 31)).wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    #[test]
    fn guests_are_known_strangers_are_not_and_old_ones_are_forgotten() {
        let mut door = Door::new(1 << 12);
        let most = 1024;
        let known = (0..1000).filter(|key| door.enter(hash(*key), most)).count();
        assert!(known < 3, "{known}");
        assert!((0..1000).all(|key| door.enter(hash(key), most)));
        for key in 1000..6000 {
            door.enter(hash(key), most);
        }
        let known = (0..1000).filter(|key| door.enter(hash(*key), most)).count();
        assert!(known < 50, "{known}");
    }
}
