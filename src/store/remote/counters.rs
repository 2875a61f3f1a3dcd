//! What became of lookups, writes and leases, by a word each.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! outcomes {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All, for tables.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

pub(super) use outcomes;

outcomes! {
    /// What a lookup came to.
    Looked {
        /// It is there, and may be of use.
        Hit => "hit",
        /// It is not there.
        Miss => "miss",
        /// What is there is torn, altered, or somebody else's.
        Corrupt => "corrupt",
        /// Another version of Seawall wrote it.
        Version => "version",
        /// Today's settings would not store it, or it lies in the future.
        Unusable => "unusable",
        /// A purge on this node covers it.
        Purged => "purged",
        /// A chunk of its body is gone, found before the first byte was sent.
        Incomplete => "incomplete",
        /// A chunk of its body is gone, found when others were sent already.
        Cut => "cut",
        /// It did not come in time, or Redis failed.
        Failed => "failed",
        /// Redis is not asked at present.
        Skipped => "skipped",
    }
}

outcomes! {
    /// What became of what was to be written.
    Wrote {
        /// It is in Redis.
        Stored => "stored",
        /// A newer one is there already.
        Older => "older",
        /// Its body, or its head, is too large.
        TooLarge => "too-large",
        /// Large, and asked for once only so far.
        NotYet => "not-yet",
        /// It waited while the queue was full, and was the oldest.
        Dropped => "dropped",
        /// A purge covers it, or its time is over.
        Outdated => "outdated",
        /// Another node has taken its fetch over.
        Fenced => "fenced",
        /// Redis failed, or refused it.
        Failed => "failed",
        /// A deletion was done.
        Deleted => "deleted",
        /// A deletion was forgotten: too many waited. This node knows of the purge all the same.
        DeletionLost => "deletion-lost",
    }
}

outcomes! {
    /// How a fetch on behalf of the fleet ended.
    Leased {
        /// Its response is in Redis.
        Stored => "stored",
        /// Its response is this node's or one client's alone.
        Apart => "apart",
        /// There was no response.
        Failed => "failed",
        /// It came to nothing that anybody should wait for.
        Abandoned => "abandoned",
        /// Another node has taken it over, or Redis has lost it.
        Lost => "lost",
    }
}

outcomes! {
    /// What came of waiting for another node's fetch.
    Waited {
        /// Its response.
        Answered => "answered",
        /// That node was heard of no more, or failed: this one fetches.
        Succeeded => "succeeded",
        /// Its response is not for others.
        Apart => "apart",
        /// It took too long.
        Bound => "bound",
        /// Redis failed meanwhile.
        Failed => "failed",
    }
}

/// Counts of all.
#[derive(Debug, Default)]
pub struct Counters {
    looked: [AtomicU64; Looked::ALL.len()],
    wrote: [AtomicU64; Wrote::ALL.len()],
    leased: [AtomicU64; Leased::ALL.len()],
    waited: [AtomicU64; Waited::ALL.len()],
    lookup_micros: AtomicU64,
}

impl Counters {
    /// A lookup came to this.
    pub fn looked(&self, outcome: Looked) {
        self.looked[outcome as usize].fetch_add(1, Relaxed);
    }

    /// A write came to this.
    pub fn wrote(&self, outcome: Wrote) {
        self.wrote[outcome as usize].fetch_add(1, Relaxed);
    }

    /// A fetch for the fleet ended like this.
    pub fn leased(&self, outcome: Leased) {
        self.leased[outcome as usize].fetch_add(1, Relaxed);
    }

    /// Waiting for another node came to this.
    pub fn waited(&self, outcome: Waited) {
        self.waited[outcome as usize].fetch_add(1, Relaxed);
    }

    /// A lookup took so long.
    pub fn took(&self, time: std::time::Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.lookup_micros.fetch_add(micros, Relaxed);
    }

    /// Lookups that came to this since the start.
    #[must_use]
    pub fn lookups(&self, outcome: Looked) -> u64 {
        self.looked[outcome as usize].load(Relaxed)
    }

    /// Writes that came to this since the start.
    #[must_use]
    pub fn writes(&self, outcome: Wrote) -> u64 {
        self.wrote[outcome as usize].load(Relaxed)
    }

    /// Fetches for the fleet that ended like this since the start.
    #[must_use]
    pub fn leases(&self, outcome: Leased) -> u64 {
        self.leased[outcome as usize].load(Relaxed)
    }

    /// Waits for other nodes that came to this since the start.
    #[must_use]
    pub fn waits(&self, outcome: Waited) -> u64 {
        self.waited[outcome as usize].load(Relaxed)
    }

    /// Microseconds that all lookups together took.
    #[must_use]
    pub fn lookup_micros(&self) -> u64 {
        self.lookup_micros.load(Relaxed)
    }
}
