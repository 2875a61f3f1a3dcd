//! Which stored responses are worth their memory: admission and eviction, without the store.
//!
//! Pure: it knows keys, sizes and requests, no bodies and no map; time and the seed of its
//! randomness are passed in, so a replayed log decides as production does.
//!
//! Every resident has a *priority*: `floor + uses / size^b`. `uses` is how often it was asked for
//! lately, as a `Sketch` tells, and as [`Uses`] counts that. The floor is the priority of what was
//! evicted last: whatever nobody asks for falls behind as it rises, without any clock
//! (Greedy-Dual-Size-Frequency). Who goes is the lowest of a random sample, which needs no ordered
//! list, so a hit writes two numbers and takes no lock.
//!
//! Admission has two tests. A newcomer must be worth more than all those together that would go for
//! it; otherwise one huge object flushes the store. And one that was never seen before counts for
//! as many uses as such ones have turned out to have (`Novelty`): in a burst they are let in,
//! while the keys of a scan displace each other and nothing else.

mod choose;
mod door;
mod novelty;
mod residents;
mod sketch;
mod slots;
#[cfg(test)]
mod tests;
mod uses;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use choose::{Choice, Chosen, MOST_VICTIMS, Pool};
use door::Door;
use novelty::Novelty;
use residents::Residents;
use sketch::Sketch;
use slots::Slots;
pub use uses::Uses;

use crate::clock::Timestamp;

/// How far back uses are known, in requests, as a multiple of the number of residents: after so
/// many the sketch counts half, and after so many strangers the door forgets one. Long enough to
/// tell residents from each other, short enough to forget fashions.
const HISTORY: usize = 30;

/// Residents that are assumed for that when there are fewer.
const FEW: usize = 64;

/// What the policy is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What all residents may weigh together, in bytes.
    pub capacity: u64,
    /// How much its size counts against an object: from 0, not at all, for most bytes served from
    /// the store, to 1, fully, or a little more, for most requests.
    pub size_exponent: f64,
    /// What its uses count for.
    pub uses: Uses,
    /// Seed of the samples.
    pub seed: u64,
}

/// Names a resident as it is. When that is gone or changed it means nothing, whoever comes to the
/// same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    slot: u32,
    generation: u32,
}

/// One that asks to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer<K> {
    /// What its owner finds it by, where the hash is not enough.
    pub key: K,
    /// The key's hash, all of whose bits are used.
    pub hash: u64,
    /// Its weight in bytes.
    pub size: u64,
    /// When it is of no use to anybody any more: from then on it goes before all others.
    pub useless_at: Timestamp,
}

/// What becomes of a newcomer, or of a resident that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission<K> {
    /// Its ticket from now on; `None` if it is turned away, which a resident never is.
    pub ticket: Option<Ticket>,
    /// Those that have to go.
    pub victims: Vec<Victim<K>>,
}

/// A resident that was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Its key's hash.
    pub hash: u64,
    /// Its weight in bytes.
    pub size: u64,
}

/// One that is resident no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim<K> {
    /// What it was found by; there may be another by now.
    pub key: K,
    /// The key's hash.
    pub hash: u64,
    /// Its ticket, which means nothing any more.
    pub ticket: Ticket,
}

/// Decides who stays. Shared between threads: a hit takes no lock, a decision takes one.
#[derive(Debug)]
pub struct Evictor<K> {
    sketch: Sketch,
    slots: Slots,
    /// The priority below which nobody is resident: an `f64`'s bits, which only rise.
    floor: AtomicU64,
    size_exponent: f64,
    uses: Uses,
    ledger: Mutex<Ledger<K>>,
}

/// What only decisions touch.
#[derive(Debug)]
struct Ledger<K> {
    residents: Residents<K>,
    door: Door,
    novelty: Novelty,
    pool: Pool,
    random: fastrand::Rng,
    capacity: u64,
}

impl<K: Copy> Evictor<K> {
    /// Nobody resident.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::remembering(config, Sketch::counters_for(config.capacity))
    }

    /// The same with so many counters for what was asked for lately, a power of two and at least
    /// 64, rather than what suits the capacity. They take three bytes each.
    #[must_use]
    pub fn remembering(config: &Config, counters: usize) -> Self {
        let sketch = Sketch::new(counters);
        let ledger = Ledger {
            residents: Residents::new(),
            door: Door::new(sketch.counters()),
            novelty: Novelty::new(),
            pool: Pool::new(),
            random: fastrand::Rng::with_seed(config.seed),
            capacity: config.capacity,
        };
        Self {
            sketch,
            slots: Slots::new(),
            floor: AtomicU64::new(0.0_f64.to_bits()),
            size_exponent: config.size_exponent,
            uses: config.uses,
            ledger: Mutex::new(ledger),
        }
    }

    /// A hit on a resident: one sketch increment and one relaxed store. With a ticket that has
    /// lost its meaning another resident profits, once.
    pub fn touch(&self, ticket: Ticket) -> Option<Touched> {
        let slot = self.slots.get(ticket.slot)?;
        let hash = slot.hash();
        let uses = self.uses.again(self.sketch.add(hash));
        slot.set_priority(self.floor() + uses * slot.reward());
        Some(Touched { hash, size: slot.size() })
    }

    /// How often a resident was hit lately: an estimate that stops at 255. 0 if the ticket has lost
    /// its meaning.
    #[must_use]
    pub fn uses(&self, ticket: Ticket) -> u8 {
        self.slots.get(ticket.slot).map_or(0, |slot| self.sketch.get(slot.hash()))
    }

    /// A newcomer asks to stay.
    pub fn admit(&self, newcomer: Newcomer<K>, now: Timestamp) -> Admission<K> {
        let Newcomer { key, hash, size, useless_at } = newcomer;
        let mut ledger = self.ledger();
        let known = self.known_uses(&mut ledger, hash);
        let uses = known.unwrap_or_else(|| ledger.novelty.worth());
        let reward = self.reward(size);
        let room = self.make_room(&mut ledger, size, uses * reward, now);
        if !room.enough {
            return Admission { ticket: None, victims: room.victims };
        }
        let priority = self.floor() + uses * reward;
        let began_at = if known.is_none() { priority } else { f64::INFINITY };
        let ticket = ledger.residents.insert(key, size, useless_at, began_at);
        if let Some(slot) = self.slots.get_or_make(ticket.slot) {
            slot.occupy(hash, size, reward, priority);
        }
        Admission { ticket: Some(ticket), victims: room.victims }
    }

    /// A resident weighs `size` bytes from now on, and is useless from `useless_at`. Returns its
    /// ticket from now on and who has to go for it, itself perhaps; `None` if the ticket has lost
    /// its meaning, or its resident is outdated.
    ///
    /// The old ticket means nothing any more: what is released late is what was replaced, and not
    /// what took its place.
    pub fn update(
        &self,
        ticket: Ticket,
        size: u64,
        useless_at: Timestamp,
        now: Timestamp,
    ) -> Option<Admission<K>> {
        let mut ledger = self.ledger();
        let slot = self.slots.get(ticket.slot)?;
        let ticket = ledger.residents.update(ticket, (slot.size(), size), useless_at)?;
        slot.weigh(size, self.reward(size));
        Some(Admission { ticket: Some(ticket), victims: self.trim(&mut ledger, now) })
    }

    /// All residents may weigh `capacity` bytes together from now on. Returns who has to go.
    pub fn resize(&self, capacity: u64, now: Timestamp) -> Vec<Victim<K>> {
        let mut ledger = self.ledger();
        ledger.capacity = capacity;
        self.trim(&mut ledger, now)
    }

    /// A resident is gone for a reason of its own: it was purged, or replaced. Does nothing if the
    /// ticket has lost its meaning.
    pub fn release(&self, ticket: Ticket) {
        self.remove(&mut self.ledger(), ticket);
    }

    /// Whoever is resident now is of no use any more: outdated. They stay until somebody needs their
    /// room, or [`Evictor::outdated`] finds them.
    pub fn outdate(&self) {
        self.ledger().residents.outdate();
    }

    /// Takes out some of those that are outdated, `most` at most.
    pub fn outdated(&self, most: usize) -> Vec<Victim<K>> {
        let mut ledger = self.ledger();
        let next = || {
            let ticket = ledger.residents.next_outdated()?;
            let (key, hash) = self.remove(&mut ledger, ticket)?;
            Some(Victim { key, hash, ticket })
        };
        std::iter::from_fn(next).take(most).collect()
    }

    /// Residents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ledger().residents.len()
    }

    /// Whether nobody is resident.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the residents weigh together, in bytes: never more than the capacity.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.ledger().residents.weight()
    }

    /// Everybody resident, in no order.
    #[must_use]
    pub fn residents(&self) -> Vec<Victim<K>> {
        let ledger = self.ledger();
        let named = |(key, ticket): (K, Ticket)| {
            let hash = self.slots.get(ticket.slot)?.hash();
            Some(Victim { key, hash, ticket })
        };
        ledger.residents.all().filter_map(named).collect()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger<K>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn floor(&self) -> f64 {
        f64::from_bits(self.floor.load(Ordering::Relaxed))
    }

    /// What one use adds to the priority of an object of `size` bytes.
    fn reward(&self, size: u64) -> f64 {
        (size.max(1) as f64).powf(-self.size_exponent)
    }

    /// How often one that is not resident was asked for lately, this time included; `None` if it
    /// was never seen before. Notes this time.
    fn known_uses(&self, ledger: &mut Ledger<K>, hash: u64) -> Option<f64> {
        let residents = ledger.residents.len().max(FEW);
        let history = HISTORY * residents;
        self.sketch.age(history);
        // The sketch knows some strangers by mistake, too many to be asked here.
        if !ledger.door.enter(hash, history) {
            ledger.novelty.came(residents);
            return None;
        }
        self.sketch.note();
        let uses = self.sketch.add(hash);
        if uses == 1 {
            ledger.novelty.again();
        }
        Some(self.uses.again(uses))
    }

    /// Evicts those who are worth less together than one of `size` bytes whose priority would be
    /// so much above the floor, if that makes room for it.
    ///
    /// What is maximised is the sum of uses times `size^(1-b)`: requests where b is 1, bytes where
    /// it is 0. A priority above the floor is that worth by byte.
    fn make_room(&self, ledger: &mut Ledger<K>, size: u64, above: f64, now: Timestamp) -> Room<K> {
        if size > ledger.capacity {
            return Room { enough: false, victims: Vec::new() };
        }
        let needed = (ledger.residents.weight() + size).saturating_sub(ledger.capacity);
        let worth = above * size as f64;
        let Choice { chosen, enough } = self.choose(ledger, needed, worth, now);
        // What is too much to be judged at once goes, so that the newcomer gets in another time.
        if enough || chosen.len() >= MOST_VICTIMS {
            return Room { enough, victims: self.evict(ledger, &chosen) };
        }
        // One that goes at once ages the others like any that goes, by its share of the store.
        let rise = worth / ledger.capacity as f64;
        self.floor.store((self.floor() + rise).to_bits(), Ordering::Relaxed);
        ledger.residents.spare(chosen.iter().map(|choice| choice.ticket));
        Room { enough, victims: Vec::new() }
    }

    /// Evicts until the residents weigh no more than they may.
    fn trim(&self, ledger: &mut Ledger<K>, now: Timestamp) -> Vec<Victim<K>> {
        let mut victims = Vec::new();
        loop {
            let over = ledger.residents.weight().saturating_sub(ledger.capacity);
            let chosen = self.choose(ledger, over, f64::INFINITY, now).chosen;
            if chosen.is_empty() {
                return victims;
            }
            victims.extend(self.evict(ledger, &chosen));
        }
    }

    /// Ends the residence of those that were chosen.
    fn evict(&self, ledger: &mut Ledger<K>, chosen: &[Chosen]) -> Vec<Victim<K>> {
        let highest = chosen.iter().map(|choice| choice.priority).fold(self.floor(), f64::max);
        // Under the lock, so it never falls.
        self.floor.store(highest.to_bits(), Ordering::Relaxed);
        let evict = |choice: &Chosen| {
            let ticket = choice.ticket;
            self.remove(ledger, ticket).map(|(key, hash)| Victim { key, hash, ticket })
        };
        chosen.iter().filter_map(evict).collect()
    }

    fn remove(&self, ledger: &mut Ledger<K>, ticket: Ticket) -> Option<(K, u64)> {
        let slot = self.slots.get(ticket.slot)?;
        let (key, began_at) = ledger.residents.remove(ticket, slot.size())?;
        if slot.priority() > began_at {
            ledger.novelty.again();
        }
        Some((key, slot.hash()))
    }
}

/// What the policy itself takes beside what grows with the residents, in bytes.
#[must_use]
pub fn fixed_bytes(capacity: u64) -> usize {
    // The sketch, and the door's two filters of the same size.
    3 * Sketch::counters_for(capacity)
}

/// Room for a newcomer, and who has gone for it.
struct Room<K> {
    enough: bool,
    victims: Vec<Victim<K>>,
}
