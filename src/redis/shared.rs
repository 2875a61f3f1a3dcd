//! What all who ask share: the connections, if there are any, and how it goes.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::breaker::Breaker;
use super::connect::Opened;
use super::fault::Fault;
use super::lane::{Connection, Lane};

/// The connections of one moment.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) generation: u64,
    pub(super) heads: Arc<Opened>,
    pub(super) chunks: Arc<Opened>,
    pub(super) writes: Arc<Opened>,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// None while nobody may ask.
    lanes: ArcSwapOption<Lanes>,
    circuits: Mutex<Circuits>,
    /// Somebody has to connect again.
    pub(super) broken: Notify,
    faults: Faults,
    /// What keeps Redis from being asked, and from being written to: an index into all faults and
    /// 1, or 0.
    down: AtomicU8,
    unwritable: AtomicU8,
}

/// How often what went wrong, with all servers together.
#[derive(Clone, Debug)]
pub(super) struct Faults(Arc<[AtomicU64; Fault::ALL.len()]>);

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl Faults {
    pub(super) fn count(&self, fault: Fault) {
        self.0[fault as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize].load(Relaxed)
    }
}

#[derive(Debug)]
struct Circuits {
    all: Breaker,
    writes: Breaker,
    generation: u64,
}

/// How it stands with Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is asked and written to.
    Good,
    /// It is asked; what is to be written waits.
    Unwritable(Fault),
    /// Some servers of a Cluster are not asked.
    Partly(Fault),
    /// Nobody asks it.
    Down(Fault),
}

impl Shared {
    pub(super) fn new(now: Instant, faults: Faults) -> Self {
        let circuits =
            Circuits { all: Breaker::open(now), writes: Breaker::closed(now), generation: 0 };
        Self {
            lanes: ArcSwapOption::empty(),
            circuits: Mutex::new(circuits),
            broken: Notify::new(),
            faults,
            down: AtomicU8::new(mark(Fault::Unreachable)),
            unwritable: AtomicU8::new(0),
        }
    }

    pub(super) fn connection(self: &Arc<Self>, lane: Lane) -> Option<Connection> {
        let lanes = self.lanes.load();
        let lanes = lanes.as_ref()?;
        let opened = match lane {
            Lane::Heads => &lanes.heads,
            Lane::Chunks => &lanes.chunks,
            Lane::Writes => &lanes.writes,
        };
        let (opened, shared) = (Arc::clone(opened), Arc::clone(self));
        let generation = lanes.generation;
        Some(Connection { lane, opened, shared, generation, cluster: None })
    }

    /// The connections that are to be used from now on.
    pub(super) fn publish(&self, lanes: Lanes, now: Instant) {
        let mut circuits = self.lock();
        circuits.generation = lanes.generation;
        circuits.all.succeeded(now);
        self.lanes.store(Some(Arc::new(lanes)));
        self.down.store(0, Relaxed);
    }

    pub(super) fn is_connected(&self) -> bool {
        self.lanes.load().is_some()
    }

    /// No connection could be made, or none that answers in time.
    pub(super) fn not_connected(&self, fault: Fault, now: Instant) {
        self.faults.count(fault);
        self.down.store(mark(fault), Relaxed);
        self.lock().all.failed(fault.severity(), now, fastrand::f64());
    }

    pub(super) fn allows_connecting(&self, now: Instant) -> Result<(), std::time::Duration> {
        let mut circuits = self.lock();
        if circuits.all.allows(now) { Ok(()) } else { Err(circuits.all.pause(now)) }
    }

    /// There is news of where Redis is: whoever waits to connect need not wait longer.
    pub(super) fn hasten(&self, now: Instant) {
        self.lock().all.hasten(now);
    }

    /// Whether something may be written now: always, or as a probe.
    pub(super) fn allows_writing(&self, now: Instant) -> Result<(), std::time::Duration> {
        let mut circuits = self.lock();
        if circuits.writes.allows(now) { Ok(()) } else { Err(circuits.writes.pause(now)) }
    }

    pub(super) fn succeeded(&self, lane: Lane, generation: u64) {
        let (mut circuits, now) = (self.lock(), Instant::now());
        if circuits.generation != generation {
            return;
        }
        if circuits.all.is_closed() {
            circuits.all.succeeded(now);
        }
        if lane == Lane::Writes {
            circuits.writes.succeeded(now);
            self.unwritable.store(0, Relaxed);
        }
    }

    /// A server of a Cluster has answered, that it does not have what it was asked for.
    pub(super) fn moved(&self, generation: u64) {
        self.faults.count(Fault::Moving);
        self.succeeded(Lane::Heads, generation);
    }

    pub(super) fn failed(&self, lane: Lane, generation: u64, fault: Fault) {
        self.faults.count(fault);
        let (mut circuits, now) = (self.lock(), Instant::now());
        if circuits.generation != generation {
            return;
        }
        let of_the_connection = matches!(fault, Fault::Lost | Fault::Garbage);
        if lane == Lane::Writes && !of_the_connection {
            let opened = circuits.writes.failed(fault.severity(), now, fastrand::f64());
            if opened || !circuits.writes.is_closed() {
                self.unwritable.store(mark(fault), Relaxed);
            }
            // Perhaps another one is the primary by now.
            if opened && fault == Fault::ReadOnly {
                self.broken.notify_one();
            }
        } else if circuits.all.failed(fault.severity(), now, fastrand::f64()) {
            self.down.store(mark(fault), Relaxed);
            self.lanes.store(None);
            self.broken.notify_one();
        }
    }

    pub(super) fn health(&self) -> Health {
        let fault = |mark: &AtomicU8| {
            let index = usize::from(mark.load(Relaxed)).checked_sub(1)?;
            Fault::ALL.get(index).copied()
        };
        match (fault(&self.down), fault(&self.unwritable)) {
            (Some(down), _) => Health::Down(down),
            (None, Some(unwritable)) => Health::Unwritable(unwritable),
            (None, None) => Health::Good,
        }
    }

    /// A poisoned circuit is still one: nothing that can panic runs while it is locked.
    fn lock(&self) -> MutexGuard<'_, Circuits> {
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mark(fault: Fault) -> u8 {
    fault as u8 + 1
}
