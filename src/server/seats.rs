//! The bounds on open connections, and which of them give way when all places are taken.
//!
//! A place that somebody only sits in, before or between requests, is worth less than the next
//! client's request. Which connection gives way is found by looking at all of them: that costs
//! nothing until the bound is met, and little then, since one look finds many. The lock is taken
//! when a connection begins and when it ends.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Limits;
use super::pulse::Pulse;
use crate::limit::{ClientLimit, ClientPlace, Limit};
use crate::telemetry::CoreMetrics;

/// How long a connection may take to come to its first request before it gives way to others.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Connections that one look at all of them finds, at most.
const FINDS: usize = 64;

/// How often all connections are looked at, at most, where they are many.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const MANY: usize = 1024;

/// All workers' connections.
#[derive(Debug)]
pub(super) struct Seats {
    all: Limit,
    clients: ArcSwap<Clients>,
    state: Mutex<State>,
}

/// The bound for each client.
#[derive(Debug)]
struct Clients {
    limit: Option<ClientLimit>,
    many: Vec<IpNet>,
}

#[derive(Debug, Default)]
struct State {
    /// By the order of their arrival.
    seats: BTreeMap<u64, Arc<Seat>>,
    next: u64,
    /// Those that the last look found, most dispensable first.
    found: VecDeque<u64>,
    looked: Option<Instant>,
}

/// One connection, as far as its place is concerned.
#[derive(Debug)]
pub(super) struct Seat {
    since: Instant,
    task: OnceLock<AbortHandle>,
    /// Set once it speaks HTTP.
    pulse: OnceLock<Arc<Pulse>>,
    /// Its place has gone to another, who gives it back.
    handed_on: AtomicBool,
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Permit {
    seats: Arc<Seats>,
    metrics: Arc<CoreMetrics>,
    seat: Arc<Seat>,
    number: u64,
    client: Option<ClientPlace>,
}

/// A client has as many connections as it may.
#[derive(Debug, thiserror::Error)]
#[error("its client has too many connections")]
pub(super) struct TooMany;

impl Seats {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            all: Limit::new(limits.max_connections),
            clients: ArcSwap::from_pointee(Clients::new(limits, None)),
            state: Mutex::default(),
        })
    }

    /// Bounds what is to come by `limits`.
    pub(super) fn resize(&self, limits: &Limits) {
        self.all.resize(limits.max_connections);
        let before = self.clients.load_full();
        self.clients.store(Arc::new(Clients::new(limits, before.limit.as_ref())));
    }

    /// A place for a connection from `peer`, or `None` if it has to be closed at once.
    /// `is_balancer`: which client it is will be told by a PROXY header.
    pub(super) fn enter(
        self: &Arc<Self>,
        peer: IpAddr,
        is_balancer: bool,
        metrics: &Arc<CoreMetrics>,
    ) -> Option<Permit> {
        let client = if is_balancer { None } else { self.client(peer, metrics).ok()? };
        if !self.all.take() && !self.make_room(metrics) {
            metrics.connection_rejected();
            return None;
        }
        metrics.connection_accepted();
        let seat = Arc::new(Seat::default());
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.seats.insert(number, Arc::clone(&seat));
        drop(state);
        let (seats, metrics) = (Arc::clone(self), Arc::clone(metrics));
        Some(Permit { seats, metrics, seat, number, client })
    }

    /// A place among `client`'s connections, where they are bounded. Trusted proxies are many
    /// clients.
    fn client(
        &self,
        client: IpAddr,
        metrics: &CoreMetrics,
    ) -> Result<Option<ClientPlace>, TooMany> {
        let clients = self.clients.load();
        let Some(limit) = &clients.limit else { return Ok(None) };
        let client = client.to_canonical();
        if clients.many.iter().any(|network| network.contains(&client)) {
            return Ok(None);
        }
        let place = limit.enter(client);
        if place.is_none() {
            metrics.client_connection_rejected();
        }
        place.map(Some).ok_or(TooMany)
    }

    /// Ends a connection that can be spared; its place is the caller's.
    fn make_room(&self, metrics: &CoreMetrics) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        let mut may_look = true;
        loop {
            while let Some(number) = state.found.pop_front() {
                let Some(seat) = state.seats.get(&number) else { continue };
                if seat.rank(now).is_some() {
                    seat.hand_on();
                    state.seats.remove(&number);
                    metrics.connection_dismissed();
                    return true;
                }
            }
            if !std::mem::take(&mut may_look) || !state.may_look(now) {
                return false;
            }
            state.look(now);
        }
    }

    /// Ends some of the connections that can be spared, for want of descriptors.
    pub(super) fn spare_some(&self, metrics: &CoreMetrics) {
        for _ in 0..FINDS {
            if !self.make_room(metrics) {
                return;
            }
            self.all.give_back();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned state is still whole: nothing that can panic runs half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clients {
    /// Those who are counted already stay so.
    fn new(limits: &Limits, before: Option<&ClientLimit>) -> Self {
        let limit = limits.max_connections_per_client.map(|most| {
            let limit = before.cloned().unwrap_or_else(|| ClientLimit::new(most));
            limit.resize(most);
            limit
        });
        Self { limit, many: limits.many_clients.clone() }
    }
}

impl State {
    fn may_look(&self, now: Instant) -> bool {
        self.seats.len() < MANY || self.looked.is_none_or(|at| now - at >= LOOK_EVERY)
    }

    /// Finds those that can best be spared.
    fn look(&mut self, now: Instant) {
        let ranked = |(number, seat): (&u64, &Arc<Seat>)| Some((seat.rank(now)?, *number));
        let mut found: Vec<_> = self.seats.iter().filter_map(ranked).collect();
        if found.len() > FINDS {
            found.select_nth_unstable(FINDS);
            found.truncate(FINDS);
        }
        found.sort_unstable();
        self.found = found.into_iter().map(|(_, number)| number).collect();
        self.looked = Some(now);
    }
}

impl Default for Seat {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            task: OnceLock::new(),
            pulse: OnceLock::new(),
            handed_on: AtomicBool::new(false),
        }
    }
}

impl Seat {
    /// Whether it has shown what it is for, and since when it idles; the least is spared first.
    /// `None`: it is at work, or has not had time to be.
    fn rank(&self, now: Instant) -> Option<(bool, Instant)> {
        let (has_served, since) =
            self.pulse.get().map_or(Some((false, self.since)), |pulse| pulse.spare_since())?;
        (has_served || now - since >= FIRST_REQUEST).then_some((has_served, since))
    }

    /// The task that serves the connection.
    pub(super) fn served_by(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    /// Ends it. One that speaks HTTP ends itself, so that a request that is just coming is served.
    fn hand_on(&self) {
        self.handed_on.store(true, Relaxed);
        match (self.pulse.get(), self.task.get()) {
            (Some(pulse), _) => pulse.dismiss(),
            (None, Some(task)) => task.abort(),
            (None, None) => {}
        }
    }
}

impl Permit {
    /// What else there is to know of the connection.
    pub(super) fn seat(&self) -> Arc<Seat> {
        Arc::clone(&self.seat)
    }

    /// The connection is `client`'s, as its balancer tells.
    ///
    /// # Errors
    /// [`TooMany`] if that client has all that it may.
    pub(super) fn told(&mut self, client: IpAddr) -> Result<(), TooMany> {
        self.client = self.seats.client(client, &self.metrics)?;
        Ok(())
    }

    /// The connection speaks HTTP from here on; `false` if it has to end instead.
    #[must_use]
    pub(super) fn opened(&self, pulse: &Arc<Pulse>) -> bool {
        // Under the lock: who hands its place on ends the task, or tells the pulse.
        let state = self.seats.lock();
        let _ = self.seat.pulse.set(Arc::clone(pulse));
        drop(state);
        !self.seat.handed_on.load(Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Under the lock: a place is either handed on or given back.
        let mut state = self.seats.lock();
        state.seats.remove(&self.number);
        if !self.seat.handed_on.load(Relaxed) {
            self.seats.all.give_back();
        }
        drop(state);
        self.metrics.connection_closed();
    }
}
