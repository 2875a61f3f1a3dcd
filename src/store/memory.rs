//! The memory tier: moka as the concurrent map, the evictor as its policy, the budget as the limit
//! that holds.
//!
//! moka is told no capacity: what is let in and what has to go is the [`Evictor`]'s decision. That
//! knows nothing of bodies that are being filled or still being sent; the [`Budget`] knows all of
//! them, and what does not fit into it is not stored. A part of it is kept from the residents, so
//! that a full store leaves room for fills.
//!
//! The map knows keys by their hashes, of all their bits and with a secret, and every response has
//! the text of its key: so that stands in one place only. Who finds an entry by a hash looks whether
//! it is of the key that was meant. Two keys with one hash, which nobody can look for and which come
//! by chance once in many millions of full stores, take each other's place like two responses of one
//! key; neither is ever taken for the other.
//!
//! Whoever changes an entry tells the evictor in that key's turn, and the map drops nothing by
//! itself: so the two agree whenever nothing is under way. Victims leave the evictor first and the map
//! a moment later; their tickets tell them from whatever has been stored under the same key meanwhile.
//!
//! A purge of everything is a record, like any purge; what it takes is found no more, and dropped bit by
//! bit ([`Memory::sweep`]), so that nobody waits for a million objects to be freed.

use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality;
use moka::ops::compute::Op;
use moka::sync::Cache as Map;

use super::Config;
use super::coverage::{Coverage, Covered};
use super::curve::{self, Curve, Feed, Reference};
use super::evict::{self, Admission, Evictor, Newcomer, Ticket, Touched, Victim};
use super::key_hash::{AsItIs, KeyHash, KeyHasher};
use super::refreshes::Refreshes;
use super::response::{StoredResponse, Variants};
use super::searches::{Search, Searches};
use super::stamps::{Kind, Mode, Scope, Stamp, Stamps, Standing};
use crate::budget::{Budget, Charge};
use crate::clock::Timestamp;
use crate::key::{CacheKey, Target, path_of};
use crate::policy::SearchVariation;

/// The share of the budget that is kept for fills and for bodies still being sent: one eighth.
const RESERVE_DIVISOR: usize = 8;

/// How often the map is asked to let go of what was removed, before a charge is refused. What was
/// removed is free after the second time, unless another thread is just reading the map.
const RELEASE_ATTEMPTS: usize = 4;

/// Bytes of the budget for each key that the shadow caches may hold: they take less than a
/// hundredth of it.
const BYTES_PER_SHADOW: usize = 32 * 1024;

/// Keys that they hold at most, however much memory there is: more would tell little more.
const MOST_SHADOWS: usize = 8192;

/// With fewer they would tell nothing, and there are none.
const LEAST_SHADOWS: usize = 1024;

/// Keys that are swept away at a time: a millisecond or so.
const SWEPT_AT_ONCE: usize = 256;

/// Stored responses by key.
#[derive(Clone, Debug)]
pub struct Memory {
    map: Map<KeyHash, Held, AsItIs>,
    evictor: Arc<Evictor<()>>,
    /// To the shadow caches, where there is memory for them.
    feed: Option<Arc<Feed>>,
    hasher: KeyHasher,
    budget: Budget,
    stamps: Arc<Stamps>,
    searches: Arc<Searches>,
    refreshes: Arc<Refreshes>,
    turns: Turns,
    /// The sequence of the last hard purge of everything.
    emptied: Arc<AtomicU64>,
    /// See [`Memory::insertions`].
    insertions: Arc<AtomicU64>,
    evictions: Arc<AtomicU64>,
    turned_away: Arc<AtomicU64>,
    purges: Arc<[AtomicU64; Kind::ALL.len()]>,
    max_variants: usize,
}

/// What the map holds of a key.
#[derive(Clone, Debug)]
struct Held {
    variants: Variants,
    ticket: Ticket,
}

/// Of those who change one key's entry, one does at a time. moka can see to that too, at the price of
/// an entry in a second map for as long as it takes.
#[derive(Clone, Debug)]
struct Turns(Arc<[Mutex<()>]>);

/// Keys that may be changed at once, at most.
const TURNS: usize = 256;

impl Turns {
    fn new() -> Self {
        Self(std::iter::repeat_with(Mutex::default).take(TURNS).collect())
    }

    fn take(&self, hash: KeyHash) -> MutexGuard<'_, ()> {
        self.0[hash as usize % TURNS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a response that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// It is stored.
    Stored,
    /// What would have to go for it is worth more.
    TurnedAway,
    /// A purge forbids it.
    Purged,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let eviction = evict::Config {
            capacity: capacity(config.memory),
            size_exponent: config.optimise.size_exponent(),
            uses: config.optimise.uses(),
            seed: quality::RandomState::default().hash_one(0),
        };
        let evictor = Arc::new(Evictor::new(&eviction));
        let feed = most_shadows(config.memory)
            .map(|most_keys| Arc::new(Feed::new(&curve::Config { evict: eviction, most_keys })));
        Self {
            map: Map::builder().build_with_hasher(AsItIs),
            evictor,
            feed,
            hasher: KeyHasher::default(),
            budget: Budget::new(config.memory),
            stamps: Arc::new(Stamps::new()),
            searches: Arc::new(Searches::new()),
            refreshes: Arc::default(),
            turns: Turns::new(),
            emptied: Arc::default(),
            insertions: Arc::default(),
            evictions: Arc::default(),
            turned_away: Arc::default(),
            purges: Arc::default(),
            max_variants: config.max_variants,
        }
    }

    /// Everything stored under `key`. Counts as a use, `now`.
    #[must_use]
    pub fn get(&self, key: &str, now: Timestamp) -> Option<Variants> {
        let Held { variants, ticket } = self.find(key)?;
        let touched = self.evictor.touch(ticket);
        if let (Some(Touched { hash, size }), Some(feed)) = (touched, &self.feed) {
            let useless_at = variants.useless_at();
            feed.asked(&Reference { hash, size, useless_at, now }, useless_at > now);
        }
        Some(variants)
    }

    /// The same for who only wants to know: it counts as no use.
    #[must_use]
    pub fn peek(&self, key: &str) -> Option<Variants> {
        self.find(key).map(|held| held.variants)
    }

    /// What is stored under `key`, and not just under its hash.
    fn find(&self, key: &str) -> Option<Held> {
        let held = self.map.get(&self.hasher.hash(key));
        held.filter(|held| held.variants.are_of(key) && self.remains(&held.variants))
    }

    /// Whether the last hard purge of everything has left any of them.
    fn remains(&self, variants: &Variants) -> bool {
        let emptied = self.emptied.load(Ordering::Relaxed);
        variants.as_slice().iter().any(|response| response.stamp.fetched_at() >= emptied)
    }

    /// How often something was stored. Whoever has read this and then looked up a key in vain need
    /// not look again for what others have stored since, as long as it is the same.
    #[must_use]
    pub fn insertions(&self) -> u64 {
        self.insertions.load(Ordering::Acquire)
    }

    /// Where a response stored under `key` stands with regard to purges.
    #[must_use]
    pub fn standing(&self, key: &str, stamp: &Stamp) -> Standing {
        self.stamps.standing(key, stamp)
    }

    /// The same for what may not be in the store, or no longer: a response being fetched, or held
    /// while its validation is under way.
    #[must_use]
    pub fn standing_outside(&self, key: &str, stamp: &Stamp) -> Standing {
        self.stamps.outside(key, stamp)
    }

    /// The sequence that a fetch is stamped with, read before it begins.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.stamps.sequence()
    }

    /// What responses have said of the queries of the target's path, if anything.
    #[must_use]
    pub fn search(&self, target: &Target) -> Option<Search> {
        target.with_key_str(|key| self.searches.get(key))
    }

    /// A response to `target` says of its path's queries what counts, and was fetched from the
    /// purge `sequence` on. `None` where that can't be remembered, or where a purge has come
    /// since: it may have been of a URL that nobody knew to be answered by this response.
    #[must_use]
    pub fn learn(
        &self,
        target: &Target,
        variation: SearchVariation,
        sequence: u64,
    ) -> Option<Search> {
        let search = target.with_key_str(|key| self.searches.learn(key, variation))?;
        // After it is known: whoever purges from now on knows it. The fence goes with the one in
        // `purge`: of the two, one sees the other.
        fence(Ordering::SeqCst);
        (self.sequence() == sequence).then_some(search)
    }

    /// Charges `bytes`; `None` if they do not fit beside what is stored and under way.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> Option<Charge> {
        let attempt = || self.budget.try_charge(bytes);
        attempt().or_else(|| {
            (0..RELEASE_ATTEMPTS).find_map(|_| {
                self.settle();
                attempt()
            })
        })
    }

    /// Stores `response` beside the other variants of `key`, if it is worth its memory.
    pub fn insert(
        &self,
        key: &CacheKey,
        response: &Arc<StoredResponse>,
        now: Timestamp,
    ) -> Insertion {
        if key.has_parts() {
            self.stamps.expect_parts();
        }
        if self.stamps.admit(key.as_str(), &response.stamp) == Standing::Hard {
            return Insertion::Purged;
        }
        let mut victims = Vec::new();
        let mut insertion = Insertion::TurnedAway;
        let hash = self.hasher.hash(key.as_str());
        self.change(hash, |old| {
            let variants = match &old {
                Some(old) if old.variants.are_of(key.as_str()) => {
                    old.variants.with(Arc::clone(response), self.max_variants)
                }
                _ => Variants::One(Arc::clone(response)),
            };
            let admission = self.admit(hash, old.map(|old| old.ticket), &variants, now);
            victims = admission.victims;
            let Some(ticket) = admission.ticket else { return Op::Nop };
            insertion = Insertion::Stored;
            Op::Put(Held { variants, ticket })
        });
        // Behind it: who sees this number finds what it counts.
        self.insertions.fetch_add(1, Ordering::Release);
        self.evict(&victims);
        if insertion == Insertion::TurnedAway {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        // A purge that came in between found nothing to drop.
        if self.stamps.admit(key.as_str(), &response.stamp) == Standing::Hard {
            self.remove(key, response);
            return Insertion::Purged;
        }
        insertion
    }

    /// Stores `new`, the same response in another form, in the place of `old`; `false` if that is
    /// not there any more.
    pub fn swap(
        &self,
        key: &CacheKey,
        old: &Arc<StoredResponse>,
        new: &Arc<StoredResponse>,
        now: Timestamp,
    ) -> bool {
        let (mut swapped, mut victims) = (false, Vec::new());
        self.change(self.hasher.hash(key.as_str()), |held| {
            let Some(held) = held else { return Op::Nop };
            let Some(variants) = held.variants.replacing(old, new) else { return Op::Nop };
            let (weight, useless_at) = (variants.weight(), variants.useless_at());
            // A ticket that means nothing is the one of a victim, which is about to be dropped.
            let update = self.evictor.update(held.ticket, weight, useless_at, now);
            let Some(Admission { ticket: Some(ticket), victims: others }) = update else {
                return Op::Nop;
            };
            (swapped, victims) = (true, others);
            Op::Put(Held { variants, ticket })
        });
        self.evict(&victims);
        swapped
    }

    /// Drops the one response `old` of `key`, if it is still there.
    pub fn remove(&self, key: &CacheKey, old: &Arc<StoredResponse>) {
        let mut victims = Vec::new();
        self.change_any(self.hasher.hash(key.as_str()), |held| {
            let Some(held) = held else { return Op::Nop };
            let rest = held.variants.without(old).filter(|rest| self.remains(rest));
            let Some(variants) = rest else {
                self.evictor.release(held.ticket);
                return Op::Remove;
            };
            let (weight, useless_at) = (variants.weight(), variants.useless_at());
            // Lighter than before, so that nobody has to go for it; a ticket that means nothing
            // is the one of a victim, which goes now rather than in a moment.
            let lighter = self.evictor.update(held.ticket, weight, useless_at, Timestamp::EPOCH);
            let Some(Admission { ticket: Some(ticket), victims: others }) = lighter else {
                return Op::Remove;
            };
            victims = others;
            Op::Put(Held { variants, ticket })
        });
        self.evict(&victims);
    }

    /// Purges, and returns the numbers of the purge's records, of which the last counts for it: one,
    /// or two where what answers a purged URL because `No-Vary-Search` says so is purged with it.
    /// There are more where others purged in between.
    #[must_use]
    pub fn purge(&self, scope: Scope, mode: Mode) -> RangeInclusive<u64> {
        let (url, prefix) = match &scope {
            Scope::Url(url) => (Some(url.clone()), None),
            // It may cover some of the queries that a response answers, and there is no end of
            // them: all that is shared under the path goes.
            Scope::Prefix(prefix) if prefix.contains('?') => (None, Some(prefix.clone())),
            _ => (None, None),
        };
        self.purges[scope.kind() as usize].fetch_add(1, Ordering::Relaxed);
        let first = self.purge_one(scope, mode);
        // Only now: what is learnt from here on was fetched before this purge, and is found out.
        fence(Ordering::SeqCst);
        if let Some(prefix) = prefix {
            self.searches.forget(&prefix);
        }
        let shared = url.and_then(|url| Some((self.searches.get(&url)?, url)));
        let shared = shared.and_then(|(search, url)| {
            let query = url.split_once('?').map(|(_, query)| query);
            let normal = search.variation.normal_form(query);
            let path = path_of(&url);
            let normal = normal.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
            (normal != url).then_some(normal)
        });
        let last = shared.map_or(first, |normal| self.purge_one(Scope::Url(normal), mode));
        first..=last
    }

    /// Whatever is stored, and being fetched, may have been purged without a word: it is validated
    /// before it is used. Returns the sequence number of that.
    #[must_use]
    pub fn doubt(&self) -> u64 {
        self.stamps.doubt()
    }

    fn purge_one(&self, scope: Scope, mode: Mode) -> u64 {
        let gone = match (&scope, mode) {
            (Scope::Url(url), Mode::Hard) => Some(url.clone()),
            _ => None,
        };
        let everything = (&scope, mode) == (&Scope::All, Mode::Hard);
        // The record first: what is put into the map after it is checked against it.
        let sequence = self.stamps.purge(scope, mode);
        if let Some(url) = gone {
            // Of another key with this hash, which is never, no more than memory is lost.
            let hash = self.hasher.hash(&url);
            // In its turn: who has just read the entry, to put it back changed, has done so by then.
            self.change_any(hash, |held| {
                let Some(held) = held else { return Op::Nop };
                self.evictor.release(held.ticket);
                Op::Remove
            });
            if let Some(feed) = &self.feed {
                feed.forget(hash);
            }
        } else if everything {
            self.feed.iter().for_each(|feed| feed.clear());
            self.emptied.fetch_max(sequence, Ordering::Relaxed);
            self.evictor.outdate();
        }
        sequence
    }

    /// How much a purge of these would take. Looks at everything that is stored.
    #[must_use]
    pub fn covered(&self, scopes: &[Scope]) -> Covered {
        let (coverage, mut covered) = (Coverage::new(scopes), Covered::default());
        self.each(|key, variants, uses| {
            for response in variants.as_slice() {
                if self.standing(key, &response.stamp) != Standing::Hard {
                    let labels = response.stamp.labels().map(AsRef::as_ref);
                    let is_covered = coverage.covers(key, labels);
                    covered.count(response.weight(), uses, is_covered);
                }
            }
        });
        covered
    }

    /// Everything that is stored, and how often it was asked for lately.
    pub(super) fn each(&self, mut see: impl FnMut(&str, &Variants, u8)) {
        for (_, held) in self.map.iter().filter(|(_, held)| self.remains(&held.variants)) {
            see(held.variants.key(), &held.variants, self.evictor.uses(held.ticket));
        }
    }

    /// How often a key was asked for lately.
    pub(super) fn uses(&self, key: &str) -> u8 {
        self.find(key).map_or(0, |held| self.evictor.uses(held.ticket))
    }

    /// What purges want refreshed. Whoever purges says so when the time has come.
    #[must_use]
    pub fn refreshes(&self) -> &Arc<Refreshes> {
        &self.refreshes
    }

    /// Purges of a kind since the start, those by unsafe requests among them.
    #[must_use]
    pub fn purges(&self, kind: Kind) -> u64 {
        self.purges[kind as usize].load(Ordering::Relaxed)
    }

    /// Keys stored; approximate while writes are under way.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.map.entry_count()
    }

    /// Keys evicted for want of memory since the start.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Responses not stored since the start, because what would have gone for them was worth more.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// The way to the shadow caches; `None` where there is too little memory for them.
    #[must_use]
    pub fn feed(&self) -> Option<&Arc<Feed>> {
        self.feed.as_ref()
    }

    /// What memory of other sizes would have answered; `None` where there is too little for the
    /// shadow caches. Costs some milliseconds at most.
    #[must_use]
    pub fn curve(&self) -> Option<Curve> {
        self.feed.as_ref().map(|feed| feed.curve())
    }

    /// The budget that everything is charged to.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Drops some of what a purge of everything has taken; how many keys that were. To be called now
    /// and then by somebody for whom nobody waits, and not in a key's turn.
    #[must_use]
    pub fn sweep(&self) -> usize {
        let outdated = self.evictor.outdated(SWEPT_AT_ONCE);
        self.drop_all(&outdated);
        outdated.len()
    }

    /// Whether somebody else holds it too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.turns.0) > 1
    }

    /// Does what is pending, so that what was removed is freed. Costs some microseconds, a
    /// millisecond where everything was just purged. Not to be called in a key's turn.
    pub fn settle(&self) {
        let _ = self.sweep();
        self.map.run_pending_tasks();
        // moka frees what it removed when no thread reads the map any more, which it finds out as
        // it goes on; an idle store would keep bodies in memory until it is used again.
        crossbeam_epoch::pin().flush();
    }

    /// A place for `variants` of the key with this hash, which has `old` already if it is stored.
    fn admit(
        &self,
        hash: KeyHash,
        old: Option<Ticket>,
        variants: &Variants,
        now: Timestamp,
    ) -> Admission<()> {
        let (size, useless_at) = (variants.weight(), variants.useless_at());
        let update = |ticket| self.evictor.update(ticket, size, useless_at, now);
        old.and_then(update).unwrap_or_else(|| {
            if let Some(feed) = &self.feed {
                feed.asked(&Reference { hash, size, useless_at, now }, false);
            }
            self.evictor.admit(Newcomer { key: (), hash, size, useless_at }, now)
        })
    }

    /// Puts what `change` makes of what is stored under a key in its place. What was purged with
    /// everything else is not there any more.
    fn change(&self, hash: KeyHash, change: impl FnOnce(Option<Held>) -> Op<Held>) {
        self.change_any(hash, |held| change(held.filter(|held| self.remains(&held.variants))));
    }

    /// The same of what is purged, too, but still to be dropped.
    fn change_any(&self, hash: KeyHash, change: impl FnOnce(Option<Held>) -> Op<Held>) {
        let _turn = self.turns.take(hash);
        match change(self.map.get(&hash)) {
            Op::Put(held) => self.map.insert(hash, held),
            Op::Remove => self.map.invalidate(&hash),
            Op::Nop => {}
        }
    }

    /// Drops what the evictor has decided to. Not to be called in a key's turn.
    fn evict(&self, victims: &[Victim<()>]) {
        if victims.is_empty() {
            return;
        }
        self.evictions.fetch_add(victims.len() as u64, Ordering::Relaxed);
        self.drop_all(victims);
        // The map frees them when it gets to it; at once only where fills need the room, since
        // all threads wait for each other there.
        let limit = self.budget.limit();
        if limit - self.budget.used().min(limit) < limit / RESERVE_DIVISOR / 2 {
            self.settle();
        }
    }

    /// Drops what the evictor has let go of. Not to be called in a key's turn.
    fn drop_all(&self, gone: &[Victim<()>]) {
        for gone in gone {
            self.change_any(gone.hash, |held| match held {
                Some(held) if held.ticket == gone.ticket => Op::Remove,
                _ => Op::Nop,
            });
        }
    }
}

/// What all residents may weigh together, in bytes, where everything may take `memory`.
#[must_use]
pub fn capacity(memory: usize) -> u64 {
    let rest = memory - memory / RESERVE_DIVISOR;
    let shadows = most_shadows(memory).map_or(0, Feed::most_bytes);
    rest.saturating_sub(evict::fixed_bytes(rest as u64) + shadows) as u64
}

/// Keys that the shadow caches may hold, a power of two; `None` where there is no memory for them.
fn most_shadows(memory: usize) -> Option<usize> {
    let most = (memory / BYTES_PER_SHADOW).min(MOST_SHADOWS);
    (most >= LEAST_SHADOWS).then(|| 1 << most.ilog2())
}

#[cfg(test)]
mod tests;
