//! Keys as the store knows them: by hashes that stand for them everywhere but in the response.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

/// A key's hash. All its bits are used: by the map, and by the evictor's sketch.
pub(super) type KeyHash = u64;

/// Hashes keys with a secret of its own, so that no client can find two keys with one hash, or aim
/// at the counters of somebody else's key.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyHasher {
    secret: RandomState,
    /// All keys have one hash: to try what becomes of those that do.
    #[cfg(test)]
    pub(super) is_blind: bool,
}

impl KeyHasher {
    pub(super) fn hash(&self, key: &str) -> KeyHash {
        #[cfg(test)]
        if self.is_blind {
            return 0;
        }
        self.secret.hash_one(key)
    }
}

/// Takes a hash for what it is: to be hashed no more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AsItIs;

/// A [`KeyHash`], or nothing yet.
#[derive(Debug)]
pub(super) struct Taken(u64);

impl BuildHasher for AsItIs {
    type Hasher = Taken;

    fn build_hasher(&self) -> Taken {
        Taken(0)
    }
}

impl Hasher for Taken {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// For what is no hash: none of our keys.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_taken_as_it_is() {
        for hash in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(AsItIs.hash_one(hash), hash);
        }
    }
}
