//! What was read of the stream, and why it was doubted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::store::remote::counters::outcomes;

outcomes! {
    /// What an entry of the stream came to.
    Read {
        /// Somebody else's purge: done here now.
        Applied => "applied",
        /// This node's own, which was done when it was asked for.
        Own => "own",
        /// It makes no sense, or is too large: skipped.
        Malformed => "malformed",
        /// The entry that a stream begins with.
        Beginning => "beginning",
    }
}

outcomes! {
    /// Why everything that this node held had to be validated.
    Doubted {
        /// The process has started: what is in Redis may have been purged.
        Start => "start",
        /// The stream has been read for the first time.
        Joined => "joined",
        /// The stream was lost and begun anew: flushed, evicted, or Redis started empty.
        Lost => "lost",
        /// The stream does not have what this node has read of it: a failover lost the rest.
        SetBack => "set-back",
        /// Entries were trimmed that this node had not read.
        Trimmed => "trimmed",
        /// A node had more purges than it could keep while the stream was out of reach.
        Told => "told",
        /// The stream was out of reach for longer than `max_unsynced`.
        Unsynced => "unsynced",
    }
}

/// Counts of both.
#[derive(Debug, Default)]
pub struct Counters {
    read: [AtomicU64; Read::ALL.len()],
    doubted: [AtomicU64; Doubted::ALL.len()],
    published: AtomicU64,
    overflows: AtomicU64,
}

impl Counters {
    /// An entry came to this; gives how many have by now.
    pub(super) fn read(&self, outcome: Read) -> u64 {
        self.read[outcome as usize].fetch_add(1, Relaxed) + 1
    }

    pub(super) fn doubted(&self, why: Doubted) {
        self.doubted[why as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn published(&self, count: usize) {
        self.published.fetch_add(count as u64, Relaxed);
    }

    pub(super) fn overflowed(&self) {
        self.overflows.fetch_add(1, Relaxed);
    }

    /// Entries that came to this since the start.
    #[must_use]
    pub fn entries(&self, outcome: Read) -> u64 {
        self.read[outcome as usize].load(Relaxed)
    }

    /// How often everything was doubted for this reason.
    #[must_use]
    pub fn doubts(&self, why: Doubted) -> u64 {
        self.doubted[why as usize].load(Relaxed)
    }

    /// Entries that this node has written.
    #[must_use]
    pub fn publications(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// How often there were too many to keep, so that all nodes were told to doubt everything.
    #[must_use]
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Relaxed)
    }
}
