//! What the memory tier is told.

use super::evict::Uses;

/// Settings of the memory tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes for everything that holds responses: stored, being filled, and being sent until the
    /// connection has taken it.
    pub memory: usize,
    /// Whether `memory` is taken from the system before the first request, and kept. The store does
    /// not see to it: it is the program that owns the allocator.
    pub preallocate: bool,
    /// What is kept when not everything can be.
    pub optimise: Optimise,
    /// Stored variants of one key; the oldest goes when there are more.
    pub max_variants: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory: 256 * 1024 * 1024,
            preallocate: false,
            optimise: Optimise::Both,
            max_variants: 64,
        }
    }
}

/// What the store is to serve most of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimise {
    /// Requests: many small objects rather than a large one.
    Requests,
    /// Bytes: size does not count against an object.
    Bytes,
    /// A little less of the first for some of the second.
    Both,
}

impl Optimise {
    /// How much an object's size counts against it (see [`crate::store::evict`]).
    #[must_use]
    pub const fn size_exponent(self) -> f64 {
        match self {
            // A little more than for most hits a byte: what is small is asked for again more often.
            Self::Requests => 1.1,
            Self::Both => 0.75,
            Self::Bytes => 0.0,
        }
    }

    /// What an object's uses count for (see [`crate::store::evict`]).
    #[must_use]
    pub const fn uses(self) -> Uses {
        match self {
            Self::Requests | Self::Both => Uses::All,
            Self::Bytes => Uses::Few,
        }
    }
}
