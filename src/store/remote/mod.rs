//! The tier behind memory that all nodes share, in Redis.
//!
//! Looked up before an origin is asked, within a budget; written behind the answer, from a bounded
//! queue. It is garbage collection that Redis does with its expiry: whether a response may be used
//! is decided by `policy`, from what the entry says, as it is for memory.
//!
//! A purge holds for what comes from Redis, too: an entry says which process fetched it, at which
//! place in that process' sequence of purges and in the [`fleet`]'s, and when. It is held against
//! the purges by the first of these that both sides know, and by the clock ([`timeline`]) where they
//! know none. A purge of a URL is a deletion in Redis besides, so that it is gone for nodes, too,
//! that know no purges any more.

pub mod codec;
mod config;
mod counters;
pub mod fleet;
mod known;
pub mod layout;
mod lease;
mod lookup;
mod queue;
mod reading;
mod seen;
pub mod timeline;
mod top;
mod writer;

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use config::Config;
pub use counters::{Counters, Leased, Looked, Waited, Wrote};
pub use lease::{Claim, Ending, Lease, Spot, Taken, Turn};
pub use lookup::{Found, FoundBody, LookedUp, Lookup, Query};
pub use reading::{Incomplete, Reading};

use crate::clock::{Clock, Timestamp};
use crate::key::CacheKey;
use crate::redis::{Health, Room, SetupError};
use crate::rules::Labels;
use crate::store::{Memory, Mode, Scope, Stamp, StoredResponse};
use codec::Written;
use fleet::Fleet;
use known::Known;
use layout::Place;
use lease::{Hints, Leases};
use queue::{Queue, Write};
use seen::Seen;
use writer::Writer;

/// The share of memory that may wait to be written: one sixteenth.
const QUEUE_DIVISOR: u64 = 16;

/// Lookup budgets that an answer may take which is waited for anyway: a Redis that hesitates for a
/// moment must not send all who wait to the origin.
const PATIENT_BUDGETS: u32 = 10;

/// The tier.
#[derive(Debug)]
pub struct Tier {
    config: Arc<Config>,
    room: Arc<Room>,
    /// This process, among all that ever wrote.
    id: u128,
    fleet: Arc<Fleet>,
    queue: Arc<Queue>,
    seen: Seen,
    counters: Arc<Counters>,
    leases: Arc<Leases>,
    hints: Arc<Hints>,
}

impl Tier {
    /// The tier over `room`. What is to be written is held against the purges that `memory` knows.
    #[must_use]
    pub fn new(config: Config, room: Arc<Room>, memory: Memory, clock: Clock) -> Self {
        let (config, counters, id) =
            (Arc::new(config), Arc::new(Counters::default()), fastrand::u128(..));
        // What waits stays in memory: a Redis that is away must not take its place from others.
        let most_bytes = config.queue_bytes.min(memory.budget().limit() as u64 / QUEUE_DIVISOR);
        let queue = Arc::new(Queue::new(most_bytes, config.queue_items, Arc::clone(&counters)));
        room.spawn(top::publish(
            Arc::clone(&config),
            Arc::downgrade(&room),
            memory.clone(),
            clock.clone(),
        ));
        let fleet = Fleet::start(&config, &room, id, memory.clone(), clock.clone());
        let writer = Writer {
            config: Arc::clone(&config),
            room: Arc::downgrade(&room),
            id,
            fleet: Arc::clone(&fleet),
            memory,
            clock,
            queue: Arc::clone(&queue),
            counters: Arc::clone(&counters),
            known: Mutex::new(Known::default()),
            parked: Mutex::default(),
        };
        room.spawn(writer.run());
        let leases = Leases::start(&room, config.lease, &counters);
        let hints = Arc::new(Hints::default());
        room.spawn(Arc::clone(&hints).listen(room.connector().clone()));
        Self { config, room, id, fleet, queue, seen: Seen::new(), counters, leases, hints }
    }

    /// A tier over a way to Redis of its own.
    ///
    /// # Errors
    /// What can't be set up; that Redis is not there is none of it.
    pub fn start(
        config: Config,
        redis: &crate::redis::Config,
        memory: Memory,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        Ok(Self::new(config, Arc::new(Room::start(redis)?), memory, clock))
    }

    /// The way to Redis.
    #[must_use]
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Purges of all nodes.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// How it stands with Redis.
    #[must_use]
    pub fn health(&self) -> Health {
        self.room.health()
    }

    /// What became of lookups and writes.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Responses and bytes that wait to be written, and deletions that wait.
    #[must_use]
    pub fn waiting(&self) -> (usize, u64, usize) {
        self.queue.waiting()
    }

    /// The stamp by which a response from here is held against the purges that this node knows.
    #[must_use]
    pub fn stamp(&self, written: &Written, labels: Option<Arc<Labels>>) -> Stamp {
        let sequence =
            if written.by == self.id { written.sequence } else { self.fleet.sequence_of(written) };
        Stamp::new(sequence, labels)
    }

    /// Whether a body of `length` bytes may be written under `key`. A purge of a URL is one
    /// deletion, which does not find what is keyed by more than that.
    #[must_use]
    pub fn takes(&self, key: &CacheKey, length: u64) -> bool {
        !key.has_parts() && length <= self.config.max_object_size
    }

    /// Has a response written whose fetch began at `began`, if it is worth it, and ends the `lease`
    /// under which it was fetched. Never waits.
    pub fn offer(
        &self,
        key: &CacheKey,
        response: &Arc<StoredResponse>,
        began: Timestamp,
        lease: Option<Lease>,
    ) {
        // A purge of a URL is one deletion, which does not find what is keyed by more than that.
        let length = writer::whole_length(response).filter(|_| !key.has_parts());
        if let Some(length) = length {
            if length > self.config.max_object_size {
                self.counters.wrote(Wrote::TooLarge);
            } else if length > self.config.write_at_once && !self.seen.again(key.as_str()) {
                self.counters.wrote(Wrote::NotYet);
            } else {
                let (key, response) = (key.clone(), Arc::clone(response));
                return self.queue.write(Write { key, response, began, lease });
            }
        }
        if let Some(lease) = lease {
            lease.end(Ending::Apart(None));
        }
    }

    /// Whether a response under `key` with a body of so many bytes would be written, were it offered
    /// now.
    #[must_use]
    pub fn would_take(&self, key: &CacheKey, length: u64) -> bool {
        let at_once = length <= self.config.write_at_once || self.seen.knows(key.as_str());
        at_once && self.takes(key, length)
    }

    /// How long to wait for another node's fetch from an upstream.
    #[must_use]
    pub fn lease_wait(&self, upstream: usize) -> Duration {
        self.config.lease_wait.unwrap_or_else(|| self.leases.usual_wait(upstream))
    }

    /// Responses for which this node waits while another fetches them.
    #[must_use]
    pub fn waiting_for_others(&self) -> usize {
        self.hints.len()
    }

    /// What is stored under `key` is not to be had any more.
    pub fn forget(&self, key: &CacheKey) {
        self.queue.delete([key.clone()]);
    }

    /// Purges in memory and here, and has the other nodes do it. Returns the numbers of the records,
    /// of which the last counts.
    #[must_use]
    pub fn purge(&self, scopes: Vec<Scope>, mode: Mode) -> RangeInclusive<u64> {
        let gone = scopes.iter().filter_map(|scope| match (scope, mode) {
            (Scope::Url(url), Mode::Hard) => Some(CacheKey::from_text(url)),
            _ => None,
        });
        let gone: Vec<_> = gone.collect();
        let numbers = self.fleet.purge(scopes, mode);
        self.queue.delete(gone);
        numbers
    }

    /// Waits, at most so long, until what waits to be written is in Redis: what a node has fetched
    /// last, and above all its purges, should outlive it. It takes part in no more purges after
    /// that. Blocks.
    pub fn flush(&self, most: Duration) {
        const STEP: Duration = Duration::from_millis(2);
        let begun = Instant::now();
        let answers = || matches!(self.health(), Health::Good | Health::Partly(_));
        while !self.queue.is_idle() && answers() && begun.elapsed() < most {
            std::thread::sleep(STEP);
        }
        self.fleet.leave(&self.room, most.saturating_sub(begun.elapsed()));
    }

    fn place(&self, key: &str) -> Place {
        Place::new(&self.config.namespace, key)
    }
}

/// How long it is until then.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
