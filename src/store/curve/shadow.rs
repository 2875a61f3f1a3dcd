//! One shadow cache: what memory of another size would hold of the sampled keys.

use std::collections::HashMap;

use foldhash::fast;

use super::Reference;
use crate::clock::Timestamp;
use crate::store::evict::{Config, Evictor, Newcomer, Ticket, Victim};

/// Keys and sizes without bodies, under the eviction that the store itself has.
#[derive(Debug)]
pub(super) struct Shadow {
    evictor: Evictor<u64>,
    entries: HashMap<u64, Entry, fast::RandomState>,
    capacity: u64,
}

/// What is known of one that is there.
#[derive(Clone, Copy, Debug)]
struct Entry {
    ticket: Ticket,
    size: u64,
    useless_at: Timestamp,
}

impl Shadow {
    /// An empty one of `config.capacity` bytes, with `counters` for the evictor's sketch.
    pub(super) fn new(config: &Config, counters: usize) -> Self {
        Self {
            evictor: Evictor::remembering(config, counters),
            entries: HashMap::default(),
            capacity: config.capacity,
        }
    }

    /// Keys that are there.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Something is asked for; whether it was there and of use. It is from now on, if it is worth
    /// it.
    pub(super) fn ask(&mut self, reference: &Reference) -> bool {
        let Reference { hash, size, useless_at, now } = *reference;
        let Some(entry) = self.entries.get_mut(&hash) else {
            let admission = self.evictor.admit(Newcomer { key: hash, hash, size, useless_at }, now);
            self.drop_all(admission.victims);
            let entry = admission.ticket.map(|ticket| Entry { ticket, size, useless_at });
            self.entries.extend(entry.map(|entry| (hash, entry)));
            return false;
        };
        self.evictor.touch(entry.ticket);
        let is_of_use = entry.useless_at > now;
        if !is_of_use || entry.size != size {
            // What is there is as it was fetched: only a fetch makes it last longer.
            let until = if is_of_use { entry.useless_at } else { useless_at };
            if let Some(admission) = self.evictor.update(entry.ticket, size, until, now) {
                let ticket = admission.ticket.unwrap_or(entry.ticket);
                *entry = Entry { ticket, size, useless_at: until };
                self.drop_all(admission.victims);
            }
        }
        is_of_use
    }

    /// A key's response was purged.
    pub(super) fn forget(&mut self, hash: u64) {
        if let Some(entry) = self.entries.remove(&hash) {
            self.evictor.release(entry.ticket);
        }
    }

    /// Everything was purged.
    pub(super) fn clear(&mut self) {
        for (_, entry) in self.entries.drain() {
            self.evictor.release(entry.ticket);
        }
    }

    /// Keys above `most` are sampled no longer, which is every other of them.
    pub(super) fn halve(&mut self, most: u64, now: Timestamp) {
        let (entries, evictor) = (&mut self.entries, &self.evictor);
        entries.retain(|hash, entry| {
            let stays = *hash <= most;
            if !stays {
                evictor.release(entry.ticket);
            }
            stays
        });
        self.capacity /= 2;
        let victims = self.evictor.resize(self.capacity, now);
        self.drop_all(victims);
    }

    fn drop_all(&mut self, victims: Vec<Victim<u64>>) {
        for victim in victims {
            self.entries.remove(&victim.key);
        }
    }
}
