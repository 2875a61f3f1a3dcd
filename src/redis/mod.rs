//! How Redis (or Valkey) is reached: connections, their faults, and when it is left alone.
//!
//! A thread of its own does the reading and writing, so that large bodies are never in the way of
//! what a core answers from memory. Whoever asks, from whatever thread, gives each request a time
//! and a size; what comes of it is noted here, and a breaker decides for all. While it is open there
//! is no connection to be had: a failing Redis costs nobody a wait.

mod breaker;
mod cluster;
mod config;
mod connect;
mod connector;
mod fault;
mod guard;
mod keeper;
mod lane;
mod sentinel;
mod shared;
mod slots;
mod subscription;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub use breaker::{Breaker, Severity};
pub use config::{Address, Config, Login, Place, Secret, Sentinel};
pub use connect::{Opened, SetupError};
pub use connector::Connector;
pub use fault::Fault;
pub use lane::{Connection, Lane};
pub use shared::Health;
pub use subscription::Subscription;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use cluster::Cluster;
use keeper::Keeper;
use shared::{Faults, Shared};

/// The way to Redis. Its thread and its connections end when it is dropped.
#[derive(Debug)]
pub struct Room {
    servers: Servers,
    connector: Connector,
    faults: Faults,
    runtime: Handle,
    /// Dropped, it ends the thread.
    _alive: oneshot::Sender<()>,
}

/// Whom to ask for what.
#[derive(Clone, Debug)]
enum Servers {
    /// One has everything.
    One(Arc<Shared>),
    /// It depends on the key.
    Cluster(Arc<Cluster>),
}

/// How long to wait for a connection while there is none.
const NO_CONNECTION: Duration = Duration::from_millis(50);

impl Room {
    /// Begins to connect, and goes on for as long as there is nobody: Redis may come later.
    ///
    /// # Errors
    /// What no trying again would change.
    pub fn start(config: &Config) -> Result<Self, SetupError> {
        let faults = Faults::default();
        let connector = Connector::new(config, &faults)?;
        let servers = match connector.cluster() {
            Some(cluster) => Servers::Cluster(Arc::clone(cluster)),
            None => Servers::One(Arc::new(Shared::new(Instant::now(), faults.clone()))),
        };
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(SetupError::Thread)?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        let keeping = keep(servers.clone(), connector.clone(), config.answers_within);
        let run = move || {
            runtime.block_on(async {
                let keeping = tokio::spawn(keeping);
                // Both its outcomes are the same: nobody needs this thread any more.
                let _ = ended.await;
                keeping.abort();
            });
            // A name that is just being looked up must not hold the end up.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("redis".to_owned());
        thread.spawn(run).map_err(SetupError::Thread)?;
        Ok(Self { servers, connector, faults, runtime: handle, _alive: alive })
    }

    /// A connection to the server that has `key`, or none while that is not to be asked. Never
    /// waits.
    #[must_use]
    pub fn connection(&self, lane: Lane, key: &str) -> Option<Connection> {
        match &self.servers {
            Servers::One(shared) => shared.connection(lane),
            Servers::Cluster(cluster) => cluster.connection(lane, key),
        }
    }

    /// A connection to write something at the server that has `key`, as a rule or as a probe.
    ///
    /// # Errors
    /// For how long there is none, at most.
    pub fn writing(&self, key: &str) -> Result<Connection, Duration> {
        let connection = self.connection(Lane::Writes, key).ok_or(NO_CONNECTION)?;
        connection.shared.allows_writing(Instant::now()).map(|()| connection)
    }

    /// `items` by the servers that have their keys, each part with a connection, or without one
    /// while that server is not to be asked.
    #[must_use]
    pub fn parts<T>(
        &self,
        lane: Lane,
        items: Vec<T>,
        key: impl Fn(&T) -> &str,
    ) -> Vec<(Option<Connection>, Vec<T>)> {
        let cluster = match &self.servers {
            Servers::One(shared) => return vec![(shared.connection(lane), items)],
            Servers::Cluster(cluster) => cluster,
        };
        let mut parts: Vec<(Option<Connection>, Vec<T>)> = Vec::new();
        for item in items {
            let connection = cluster.connection(lane, key(&item));
            let is_same = |part: &&mut (Option<Connection>, Vec<T>)| {
                part.0.as_ref().map(Connection::server)
                    == connection.as_ref().map(Connection::server)
            };
            match parts.iter_mut().find(is_same) {
                Some((_, items)) => items.push(item),
                None => parts.push((connection, vec![item])),
            }
        }
        parts
    }

    /// Whether there is a server at which something may be written now; of a Cluster, any.
    ///
    /// # Errors
    /// For how long not, at most.
    pub fn allows_writing(&self) -> Result<(), Duration> {
        match &self.servers {
            Servers::One(shared) if !shared.is_connected() => Err(NO_CONNECTION),
            Servers::One(shared) => shared.allows_writing(Instant::now()),
            Servers::Cluster(cluster) => cluster.any().map(drop).ok_or(NO_CONNECTION),
        }
    }

    /// Makes connections that nobody else uses: for subscriptions and blocking reads.
    #[must_use]
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Runs `task` on Redis' own thread, where connections are made and long work is nobody's
    /// concern. It ends with the room.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// The server that is asked, or was last; none of a Cluster.
    #[must_use]
    pub fn server(&self) -> Option<Address> {
        self.connector.current()
    }

    /// All servers, and how it stands with each.
    #[must_use]
    pub fn servers(&self) -> Vec<(Address, Health)> {
        match &self.servers {
            Servers::One(shared) => {
                self.server().map(|at| (at, shared.health())).into_iter().collect()
            }
            Servers::Cluster(cluster) => {
                let shards = cluster.shards();
                shards.iter().map(|it| (it.address.clone(), it.shared.health())).collect()
            }
        }
    }

    /// How it stands.
    #[must_use]
    pub fn health(&self) -> Health {
        match &self.servers {
            Servers::One(shared) => shared.health(),
            Servers::Cluster(cluster) => cluster.health(),
        }
    }

    /// Whether the server that has `key` is asked and written to.
    #[must_use]
    pub fn is_good_for(&self, key: &str) -> bool {
        let health = match &self.servers {
            Servers::One(shared) => shared.health(),
            Servers::Cluster(cluster) => match cluster.shard(key) {
                Some(shard) => shard.shared.health(),
                None => return false,
            },
        };
        health == Health::Good
    }

    /// How often it failed in this way since the start.
    #[must_use]
    pub fn faults(&self, fault: Fault) -> u64 {
        self.faults.of(fault)
    }
}

/// Keeps connections, and what is known of where they should lead, for as long as the thread runs.
async fn keep(servers: Servers, connector: Connector, answers_within: Duration) {
    match servers {
        Servers::Cluster(cluster) => cluster.run().await,
        Servers::One(shared) => {
            let listening = connector.clone();
            let keeper = Keeper { connector, shared, answers_within, lost: None };
            tokio::join!(keeper.run(), async {
                if let Some(sentinels) = listening.sentinels() {
                    sentinels.listen().await;
                }
            });
        }
    }
}
