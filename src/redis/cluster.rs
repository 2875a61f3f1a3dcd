//! The servers of a Cluster: who has which slots, and a breaker for each of them.
//!
//! Each server has connections and a keeper of its own, as the only one has where there is no
//! Cluster: one that is lost, slow or full is the concern of those who want something of its slots.
//! The map of the slots is a hint, too. A server that does not have a slot says who does, and that
//! one is asked in the same breath; then the map is fetched again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::redis::cmd;
use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::config::Address;
use super::connect::{Dialer, Opened};
use super::connector::Connector;
use super::fault::Fault;
use super::keeper::Keeper;
use super::lane::{Connection, Lane};
use super::shared::{Faults, Health, Shared};
use super::slots::{self, Range, SLOTS};

/// How often the map is fetched without a reason.
const LOOKED_EVERY: Duration = Duration::from_secs(5);

/// How soon it is fetched again while something is missing, the first time and at most; and how soon
/// after a server has said that a slot is elsewhere.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long one server may take to tell it, connecting included.
const PATIENCE: Duration = Duration::from_millis(500);

/// Bytes of a map: each of a thousand servers with a dozen replicas in a hundred parts.
const MOST_MAP: usize = 4 * 1024 * 1024;

/// No server has the slot.
const NOBODY: u16 = u16::MAX;

/// Servers of one Cluster that are asked; the documentation of Redis says a thousand.
const MOST_SHARDS: usize = 1024;

/// All of it.
#[derive(Debug)]
pub(super) struct Cluster {
    seeds: Vec<Address>,
    dialer: Dialer,
    answers_within: Duration,
    map: ArcSwap<Map>,
    faults: Faults,
    /// Why there is no map yet.
    blind: Mutex<Option<Fault>>,
    /// The map may be out of date.
    stale: Arc<Notify>,
}

#[derive(Debug)]
struct Map {
    shards: Vec<Arc<Shard>>,
    /// For each slot, which of the shards has it.
    owners: Box<[u16]>,
}

/// A server that has slots.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) address: Address,
    pub(super) shared: Arc<Shared>,
    keeper: AbortHandle,
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Where a server has sent somebody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Redirect {
    pub(super) to: Address,
    /// For this once: the slot is on its way.
    pub(super) asking: bool,
}

impl Cluster {
    pub(super) fn new(
        seeds: Vec<Address>,
        dialer: Dialer,
        answers_within: Duration,
        faults: Faults,
    ) -> Self {
        let map = Map { shards: Vec::new(), owners: vec![NOBODY; SLOTS].into() };
        Self {
            seeds,
            dialer,
            answers_within,
            map: ArcSwap::from_pointee(map),
            faults,
            blind: Mutex::new(Some(Fault::Unreachable)),
            stale: Arc::default(),
        }
    }

    /// The server that has a key.
    pub(super) fn shard(&self, key: &str) -> Option<Arc<Shard>> {
        let map = self.map.load();
        map.shards.get(usize::from(map.owners[slots::slot(key)])).map(Arc::clone)
    }

    /// All that have slots.
    pub(super) fn shards(&self) -> Vec<Arc<Shard>> {
        self.map.load().shards.clone()
    }

    /// A connection to the server that has a key.
    pub(super) fn connection(self: &Arc<Self>, lane: Lane, key: &str) -> Option<Connection> {
        let connection = self.shard(key)?.shared.connection(lane)?;
        Some(connection.within(Arc::clone(self)))
    }

    /// A connection to where a server has sent somebody, if that is one of these.
    pub(super) fn follow(&self, redirect: &Redirect, lane: Lane) -> Option<Connection> {
        if !redirect.asking {
            self.stale.notify_one();
        }
        let map = self.map.load();
        let shard = map.shards.iter().find(|shard| shard.address == redirect.to)?;
        shard.shared.connection(lane)
    }

    /// How it stands: with all of them, or with some.
    pub(super) fn health(&self) -> Health {
        let map = self.map.load();
        let (mut down, mut unwritable, mut up) = (None, None, false);
        for shard in &map.shards {
            match shard.shared.health() {
                Health::Down(fault) | Health::Partly(fault) => down = Some(fault),
                Health::Unwritable(fault) => (unwritable, up) = (Some(fault), true),
                Health::Good => up = true,
            }
        }
        if map.owners.contains(&NOBODY) {
            down = down.or(*self.blind()).or(Some(Fault::ClusterDown));
        }
        match (down, unwritable) {
            (Some(fault), _) if up => Health::Partly(fault),
            (Some(fault), _) => Health::Down(fault),
            (None, Some(fault)) => Health::Unwritable(fault),
            (None, None) => Health::Good,
        }
    }

    /// Opens a connection of its own to the server that has a key, or is about to have it.
    pub(super) async fn open(&self, key: &str) -> Result<Opened, Fault> {
        let shard = self.shard(key).ok_or_else(|| self.blind().unwrap_or(Fault::ClusterDown))?;
        let opened = self.dialer.open(&shard.address).await?;
        match opened.redirect_of(cmd("EXISTS").arg(key), PATIENCE).await? {
            None => Ok(opened),
            Some(Redirect { to, asking }) => {
                self.stale.notify_one();
                let opened = self.dialer.open(&to).await?;
                Ok(if asking { opened.asking() } else { opened })
            }
        }
    }

    /// Any server that is asked now.
    pub(super) fn any(&self) -> Option<Address> {
        let mut shards = self.shards();
        shards.retain(|shard| shard.shared.is_connected());
        fastrand::choice(shards).map(|shard| shard.address.clone())
    }

    /// Keeps the map up to date for as long as its thread runs.
    pub(super) async fn run(self: Arc<Self>) {
        let (mut pause, mut turn) = (FIRST_PAUSE, 0);
        loop {
            let looked = self.look(turn).await;
            turn += 1;
            match looked {
                Ok(ranges) => {
                    *self.blind() = None;
                    self.adopt(&ranges);
                }
                Err(fault) => {
                    self.faults.count(fault);
                    if self.blind().is_some() {
                        *self.blind() = Some(fault);
                    }
                }
            }
            let is_whole = matches!(self.health(), Health::Good | Health::Unwritable(_));
            pause = if is_whole { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            let most = if is_whole { LOOKED_EVERY } else { pause };
            // Only a hint: what is told of a slot is told by each who wants something of it.
            if timeout(most, self.stale.notified()).await.is_ok() {
                sleep(FIRST_PAUSE.mul_f64(0.5 + fastrand::f64())).await;
            }
        }
    }

    /// The map as one server has it: another one each time.
    async fn look(&self, turn: usize) -> Result<Vec<Range>, Fault> {
        let shards = self.shards();
        let known = shards.iter().cycle().skip(turn % shards.len().max(1)).take(shards.len());
        let (up, down): (Vec<_>, Vec<_>) = known.partition(|shard| shard.shared.is_connected());
        let known = up.into_iter().map(|shard| &shard.address);
        let rest = down.into_iter().map(|shard| &shard.address);
        let mut fault = Fault::Unreachable;
        for address in known.chain(&self.seeds).chain(rest) {
            match timeout(PATIENCE, self.ask(address)).await {
                Ok(Ok(ranges)) if !ranges.is_empty() => return Ok(ranges),
                // It is by itself.
                Ok(Ok(_)) => fault = Fault::ClusterDown,
                Ok(Err(other)) => fault = other,
                Err(_) => fault = Fault::Timeout,
            }
        }
        Err(fault)
    }

    async fn ask(&self, address: &Address) -> Result<Vec<Range>, Fault> {
        let opened = self.dialer.open(address).await?;
        let answer = opened.ask(cmd("CLUSTER").arg("SLOTS"), MOST_MAP, PATIENCE).await?;
        slots::read(answer, address).ok_or(Fault::Garbage)
    }

    /// Takes a map over. Servers of before stay as they are, new ones are connected to, and those
    /// that have no slots any more are left.
    fn adopt(&self, ranges: &[Range]) {
        let before = self.map.load_full();
        let mut known: HashMap<&Address, Arc<Shard>> =
            before.shards.iter().map(|shard| (&shard.address, Arc::clone(shard))).collect();
        let mut places: HashMap<&Address, u16> = HashMap::new();
        let (mut shards, mut owners) = (Vec::new(), vec![NOBODY; SLOTS]);
        for Range { first, last, owner } in ranges {
            let place = match places.get(owner) {
                Some(place) => *place,
                None if shards.len() >= MOST_SHARDS => continue,
                None => {
                    let shard = known.remove(owner).unwrap_or_else(|| self.shard_at(owner));
                    let place = u16::try_from(shards.len()).unwrap_or(NOBODY);
                    shards.push(shard);
                    places.insert(owner, place);
                    place
                }
            };
            if let Some(range) = owners.get_mut(*first..=*last) {
                range.fill(place);
            }
        }
        let is_new = shards.len() != before.shards.len() || *owners != *before.owners;
        if is_new || !known.is_empty() {
            tracing::info!(servers = shards.len(), "redis: the map of the cluster has changed");
            self.map.store(Arc::new(Map { shards, owners: owners.into() }));
        }
    }

    fn shard_at(&self, address: &Address) -> Arc<Shard> {
        let shared = Arc::new(Shared::new(Instant::now(), self.faults.clone()));
        let keeper = Keeper {
            connector: Connector::to(self.dialer.clone(), address.clone()),
            shared: Arc::clone(&shared),
            answers_within: self.answers_within,
            lost: Some(Arc::clone(&self.stale)),
        };
        let keeper = tokio::spawn(keeper.run()).abort_handle();
        Arc::new(Shard { address: address.clone(), shared, keeper })
    }

    fn blind(&self) -> std::sync::MutexGuard<'_, Option<Fault>> {
        self.blind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
