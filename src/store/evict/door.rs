//! Who was here before: a doorkeeper that remembers a first visit for a while.
//!
//! Keys that are asked for once only stay out of the [`Sketch`](super::sketch::Sketch), so that a
//! scan of any number of them neither fills it nor makes it forget.

/// Bits for each key that is remembered: one of ten thousand strangers is taken for a guest.
const BITS_PER_KEY: usize = 32;

/// Bits set for a key, all in one block of words.
const PROBES: u32 = 6;
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
        if contains(&self.young, hash) {
            return true;
        }
        let most = most.min(self.young.len() * 64 / BITS_PER_KEY);
        if self.entered >= most {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.fill(0);
            self.entered = 0;
        }
        insert(&mut self.young, hash);
        self.entered += 1;
        contains(&self.old, hash)
    }
}

/// The block of `hash`, and for each probe the word in it and the bit in that.
fn probes(words: usize, hash: u64) -> (usize, impl Iterator<Item = (usize, u64)>) {
    let block = hash as usize % (words / BLOCK) * BLOCK;
    // Other bits than those that chose the block.
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    let probe = move |probe| {
        let bits = mixed >> (9 * probe);
        ((bits >> 6) as usize % BLOCK, 1_u64 << (bits % 64))
    };
    (block, (0..PROBES).map(probe))
}

fn contains(filter: &[u64], hash: u64) -> bool {
    let (block, mut probes) = probes(filter.len(), hash);
    probes.all(|(word, bit)| filter.get(block + word).is_some_and(|word| word & bit != 0))
}

fn insert(filter: &mut [u64], hash: u64) {
    let (block, probes) = probes(filter.len(), hash);
    for (word, bit) in probes {
        if let Some(word) = filter.get_mut(block + word) {
            *word |= bit;
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
