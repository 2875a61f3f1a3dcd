//! Who stays in memory: Seawall's own evictor, and what others use, to compare.

mod belady;
mod gdsf;
mod list;
mod moka;
mod ours;
mod queue;
mod s3_fifo;
mod sieve;
#[cfg(test)]
mod tests;
mod tiny_lfu;
mod unbounded;

use crate::clock::Timestamp;
use crate::store::evict;

/// Stands for a request that never comes.
pub(super) const NEVER: u32 = u32::MAX;

/// Decides who stays.
pub(super) trait Keeper {
    /// The key that is asked for now is asked for again by the request with this number, or
    /// [`NEVER`]: for those who know the future.
    fn foresee(&mut self, _next: u32) {}

    /// A resident is asked for.
    fn touch(&mut self, key: u32);

    /// An object is to stay, or one that stays has another size; those that have to go are added
    /// to `gone`, itself perhaps. Whether it stays.
    fn put(&mut self, item: Item, gone: &mut Vec<u32>) -> bool;

    /// A resident goes for a reason of its own.
    fn remove(&mut self, key: u32);

    /// What all residents weigh, in bytes.
    fn weight(&self) -> u64;

    /// What one of them weighs, where that is kept.
    fn size(&self, _key: u32) -> u64 {
        0
    }
}

/// An object that is to stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// Below the number of keys.
    pub(super) key: u32,
    /// In bytes.
    pub(super) size: u64,
    /// When it is of no use any more.
    pub(super) useless_at: Timestamp,
    pub(super) now: Timestamp,
}

/// A policy of eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// What Seawall does: `store::evict`.
    Seawall,
    /// Least recently used, as nginx, Varnish and Pingora.
    Lru,
    /// First in, first out.
    Fifo,
    /// moka with its own eviction: `TinyLFU` admission without a window.
    Moka,
    /// S3-FIFO (Yang et al., SOSP 2023).
    S3Fifo,
    /// SIEVE (Zhang et al., NSDI 2024).
    Sieve,
    /// Greedy-Dual-Size-Frequency (Cherkasova, 1998).
    Gdsf,
    /// W-TinyLFU with an adaptive window, as in Caffeine.
    TinyLfu,
    /// Belady's rule, which knows the future: no policy, but the most hits that there can be where
    /// all objects have one size.
    Belady,
    /// All the memory that there is: what nobody can do better than.
    Unbounded,
}

impl Policy {
    /// Those that are compared with Seawall.
    pub const OTHERS: [Self; 9] = [
        Self::Lru,
        Self::Fifo,
        Self::Moka,
        Self::S3Fifo,
        Self::Sieve,
        Self::Gdsf,
        Self::TinyLfu,
        Self::Belady,
        Self::Unbounded,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seawall => "Seawall",
            Self::Lru => "LRU",
            Self::Fifo => "FIFO",
            Self::Moka => "moka",
            Self::S3Fifo => "S3-FIFO",
            Self::Sieve => "SIEVE",
            Self::Gdsf => "GDSF",
            Self::TinyLfu => "W-TinyLFU",
            Self::Belady => "Belady",
            Self::Unbounded => "unbounded memory",
        }
    }

    /// Whether nobody could do as it does: it is there to be measured against.
    #[must_use]
    pub const fn is_bound(self) -> bool {
        matches!(self, Self::Belady | Self::Unbounded)
    }

    /// With room for `config.capacity` bytes and keys below `keys`.
    pub(super) fn keeper(self, config: &evict::Config, keys: usize) -> Box<dyn Keeper> {
        let capacity = config.capacity;
        match self {
            Self::Seawall => Box::new(ours::Ours::new(config, keys)),
            Self::Lru => Box::new(queue::Queue::new(capacity, keys, true)),
            Self::Fifo => Box::new(queue::Queue::new(capacity, keys, false)),
            Self::Moka => Box::new(moka::Moka::new(capacity)),
            Self::S3Fifo => Box::new(s3_fifo::S3Fifo::new(capacity, keys)),
            Self::Sieve => Box::new(sieve::Sieve::new(capacity, keys)),
            Self::Gdsf => Box::new(gdsf::Gdsf::new(capacity, keys)),
            Self::TinyLfu => Box::new(tiny_lfu::TinyLfu::new(capacity, keys)),
            Self::Belady => Box::new(belady::Belady::new(capacity, keys)),
            Self::Unbounded => Box::new(unbounded::Unbounded::new(keys)),
        }
    }
}

/// All of its bits are used by the sketch (the finalizer of `SplitMix64`).
pub(super) fn hash(key: u32) -> u64 {
    let mixed = u64::from(key).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
