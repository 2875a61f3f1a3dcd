//! The live miss-ratio curve: what memory of another size would have answered, of the very requests
//! that come.
//!
//! Shadow caches hold keys and sizes, no bodies, of a sample of keys chosen by their hash: all
//! requests for a key are in the sample or none. A cache of a share of the keys with the same share
//! of the memory misses as the whole does, under any policy (SHARDS: Waldspurger, Park, Garthwaite,
//! Ahmad, FAST 2015; miniature simulations: Waldspurger, Saemundsson, Ahmad, Park, ATC 2017), so the
//! shadows run the store's own eviction. The share is halved whenever they hold more keys than they
//! may: their memory is bounded, whatever is stored.
//!
//! Chance decides whether the few keys that are asked for most are in the sample, so a ratio of two
//! counts of the sample would be far off; and the few that are largest are most of the bytes. So all
//! requests are counted, and all that the store itself has missed: the sample only tells how many
//! more or fewer another size would have missed, where chance falls out.
//!
//! Pure but for [`Feed`], which is where threads meet.

mod feed;
mod shadow;
mod tally;
#[cfg(test)]
mod tests;

pub use feed::Feed;
pub use tally::Counts;

use shadow::Shadow;
use tally::Tally;

use crate::clock::Timestamp;
use crate::store::evict;

/// The sizes that are looked at, as multiples of the memory there is, in quarters.
const QUARTERS: [u64; 5] = [1, 2, 4, 8, 16];

/// How many they are.
pub const SIZES: usize = QUARTERS.len();

/// The one that there is.
const HERE: usize = 2;

/// Counters for each key that the shadows may hold together, for their sketches together.
const COUNTERS_PER_KEY: usize = 8;

/// Bytes that a key takes in a shadow: its entry, the evictor's row and slot, with the slack of
/// tables that double.
const BYTES_PER_KEY: usize = 192;

/// The share of the keys is halved so often at most: one of a thousand million is left.
const MOST_HALVINGS: u32 = 30;

/// What the shadows are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The store's own eviction: its capacity is what the sizes are multiples of.
    pub evict: evict::Config,
    /// Keys that all shadows may hold together, a power of two.
    pub most_keys: usize,
}

impl Config {
    /// What shadows take at most, in bytes.
    #[must_use]
    pub const fn most_bytes(most_keys: usize) -> usize {
        most_keys * (BYTES_PER_KEY + 3 * COUNTERS_PER_KEY)
    }
}

/// A request for something that is stored, or could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The key's hash, all of whose bits are used.
    pub hash: u64,
    /// What its responses weigh, in bytes.
    pub size: u64,
    /// When they are of no use any more.
    pub useless_at: Timestamp,
    /// When it was asked for.
    pub now: Timestamp,
}

/// All that was asked for since the start, sampled or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Requests.
    pub requests: u64,
    /// Bytes of what they asked for.
    pub bytes: u64,
    /// Requests that the store had nothing of use for.
    pub misses: u64,
    /// Bytes of what they asked for.
    pub missed_bytes: u64,
}

/// What memory of several sizes would have done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    /// The share of keys that it stands on, from 0 to 1.
    pub sampled: f64,
    /// Since the start; nothing of it goes down.
    pub total: Counts<SIZES>,
    /// Of late: what is an hour old counts half.
    pub recent: Counts<SIZES>,
}

/// A size of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// As a multiple of the memory there is.
    pub times: f64,
    /// The share of requests that it would have answered of late, from 0 to 1.
    pub hit_ratio: f64,
    /// The share of bytes.
    pub byte_hit_ratio: f64,
}

impl Curve {
    /// The multiples of the memory there is, growing.
    #[must_use]
    pub fn sizes() -> [f64; SIZES] {
        QUARTERS.map(|quarters| quarters as f64 / 4.0)
    }

    /// The same of `memory`, in bytes.
    #[must_use]
    pub fn sizes_of(memory: u64) -> [u64; SIZES] {
        QUARTERS.map(|quarters| (memory / 4).saturating_mul(quarters))
    }

    /// Its points by growing memory; `None` where nothing was asked for.
    #[must_use]
    pub fn points(&self) -> Option<[Point; SIZES]> {
        let Counts { requests, bytes, misses, missed_bytes, .. } = self.recent;
        let hit = |missed: f64, of: f64| if of > 0.0 { 1.0 - (missed / of).min(1.0) } else { 0.0 };
        (requests > 0.0).then(|| {
            std::array::from_fn(|size| Point {
                times: QUARTERS[size] as f64 / 4.0,
                hit_ratio: hit(misses[size], requests),
                byte_hit_ratio: hit(missed_bytes[size], bytes),
            })
        })
    }
}

/// The shadow caches. `now` comes with what they are told.
#[derive(Debug)]
pub struct Shadows {
    caches: [Shadow; SIZES],
    most_keys: usize,
    /// How often the share of the keys was halved.
    halvings: u32,
    tally: Tally<SIZES>,
    /// What was asked for up to now, by who counts it.
    asked: Asked,
    /// What was told of it, which never goes down.
    told: Option<Counts<SIZES>>,
}

impl Shadows {
    /// Empty ones.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let counters = (config.most_keys * COUNTERS_PER_KEY).next_power_of_two();
        let capacities = Curve::sizes_of(config.evict.capacity);
        let caches = std::array::from_fn(|size| {
            let (capacity, quarters) = (capacities[size], QUARTERS[size]);
            // Half of them to the largest: all sizes together are nearly twice that one.
            let share = counters * quarters as usize / 32;
            Shadow::new(&evict::Config { capacity, ..config.evict.clone() }, share)
        });
        let most_keys = config.most_keys;
        Self {
            caches,
            most_keys,
            halvings: 0,
            tally: Tally::new(),
            asked: Asked::default(),
            told: None,
        }
    }

    /// Keys with hashes up to this are sampled.
    #[must_use]
    pub const fn sampled_to(&self) -> u64 {
        u64::MAX >> self.halvings
    }

    /// Keys that all of them hold together.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.caches.iter().map(Shadow::len).sum()
    }

    /// Something is asked for; nothing happens where it isn't sampled.
    pub fn ask(&mut self, reference: &Reference) {
        if reference.hash > self.sampled_to() {
            return;
        }
        self.tally.age(reference.now);
        // It stands for others that aren't sampled.
        let requests = f64::from(self.halvings).exp2();
        let bytes = requests * reference.size as f64;
        let missed = self.caches.each_mut().map(|cache| !cache.ask(reference));
        self.tally.count(|counts| {
            for (size, _) in missed.iter().enumerate().filter(|(_, missed)| **missed) {
                counts.misses[size] += requests;
                counts.missed_bytes[size] += bytes;
            }
        });
        while self.keys() > self.most_keys && self.halvings < MOST_HALVINGS {
            self.halve(reference.now);
        }
    }

    /// This is what has been asked for since the start, sampled or not.
    pub fn asked(&mut self, asked: Asked) {
        let before = std::mem::replace(&mut self.asked, asked);
        let more = |read: fn(&Asked) -> u64| read(&asked).saturating_sub(read(&before)) as f64;
        self.tally.count(|counts| {
            counts.requests += more(|asked| asked.requests);
            counts.bytes += more(|asked| asked.bytes);
            counts.here += more(|asked| asked.misses);
            counts.bytes_here += more(|asked| asked.missed_bytes);
        });
    }

    /// Samples half of the keys of before: there is too much to do.
    pub fn halve(&mut self, now: Timestamp) {
        self.halvings = (self.halvings + 1).min(MOST_HALVINGS);
        let most = self.sampled_to();
        self.caches.iter_mut().for_each(|cache| cache.halve(most, now));
    }

    /// What is stored under a key was purged.
    pub fn forget(&mut self, hash: u64) {
        self.caches.iter_mut().for_each(|cache| cache.forget(hash));
    }

    /// Everything was purged.
    pub fn clear(&mut self) {
        self.caches.iter_mut().for_each(Shadow::clear);
    }

    /// What they have come to.
    pub fn curve(&mut self) -> Curve {
        let mut total = self.tally.total.compared(HERE);
        if let Some(told) = self.told {
            total.rise_above(&told);
        }
        self.told = Some(total);
        let sampled = (-f64::from(self.halvings)).exp2();
        Curve { sampled, total, recent: self.tally.recent.compared(HERE) }
    }
}
