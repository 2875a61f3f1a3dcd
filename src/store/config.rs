//! What the memory tier is told.

/// Settings of the memory tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes for everything that holds responses: stored, being filled, and being sent until the
    /// connection has taken it.
    pub memory: usize,
    /// Stored variants of one key; the oldest goes when there are more.
    pub max_variants: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { memory: 256 * 1024 * 1024, max_variants: 64 }
    }
}
