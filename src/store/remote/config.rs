//! What the tier behind memory is told.

use std::time::Duration;

/// Settings of the tier in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What all names in Redis begin with. Nodes with the same one share what they store.
    pub namespace: String,
    /// How long a lookup may take before it counts as a miss.
    pub lookup_budget: Duration,
    /// Bodies above this many bytes stay in memory only.
    pub max_object_size: u64,
    /// Bodies up to this many bytes are written when they are first fetched, larger ones when they
    /// are fetched again.
    pub write_at_once: u64,
    /// Bytes that may wait to be written.
    pub queue_bytes: u64,
    /// Responses that may wait to be written, and deletions that may.
    pub queue_items: usize,
    /// For how long memory goes on without news of other nodes' purges; zero without a bound.
    pub max_unsynced: Duration,
    /// Variants of one URL.
    pub max_variants: usize,
    /// How long a fetch by another node is waited for; `None`: what fetches from the upstream
    /// usually take, twice, and a second at least. Zero: nobody waits, and nobody is waited for.
    pub lease_wait: Option<Duration>,
    /// How long a node that fetches for all may be silent before another takes its place. Less than
    /// the shortest wait, so that one fetch more is all that it costs.
    pub lease: Duration,
    /// How many of the responses that the fleet asks for most a node that starts has before it is
    /// asked, and tells others of; zero for none.
    pub preload: usize,
    /// How often a node tells what is asked for most there.
    pub top_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespace: "seawall".to_owned(),
            lookup_budget: Duration::from_millis(10),
            max_object_size: 16 * 1024 * 1024,
            write_at_once: 1024 * 1024,
            queue_bytes: 32 * 1024 * 1024,
            queue_items: 10_000,
            max_unsynced: Duration::from_secs(30),
            max_variants: 64,
            lease_wait: None,
            lease: Duration::from_millis(900),
            preload: 1000,
            top_every: Duration::from_secs(60),
        }
    }
}
