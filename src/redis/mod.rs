//! How Redis (or Valkey) is reached: connections, their faults, and when it is left alone.
//!
//! A thread of its own does the reading and writing, so that large bodies are never in the way of
//! what a core answers from memory. Whoever asks, from whatever thread, gives each request a time
//! and a size; what comes of it is noted here, and a breaker decides for all. While it is open there
//! is no connection to be had: a failing Redis costs nobody a wait.

mod breaker;
mod config;
mod connect;
mod connector;
mod fault;
mod guard;
mod keeper;
mod lane;
mod sentinel;
mod shared;
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

use keeper::Keeper;
use shared::Shared;

/// The way to Redis. Its thread and its connections end when it is dropped.
#[derive(Debug)]
pub struct Room {
    shared: Arc<Shared>,
    connector: Connector,
    runtime: Handle,
    /// Dropped, it ends the thread.
    _alive: oneshot::Sender<()>,
}

impl Room {
    /// Begins to connect, and goes on for as long as there is nobody: Redis may come later.
    ///
    /// # Errors
    /// What no trying again would change.
    pub fn start(config: &Config) -> Result<Self, SetupError> {
        let connector = Connector::new(config)?;
        let shared = Arc::new(Shared::new(Instant::now()));
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(SetupError::Thread)?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        let keeper = Keeper {
            connector: connector.clone(),
            shared: Arc::clone(&shared),
            answers_within: config.answers_within,
        };
        let listening = connector.clone();
        let run = move || {
            runtime.block_on(async {
                let keeper = tokio::spawn(keeper.run());
                let listener = tokio::spawn(async move {
                    if let Some(sentinels) = listening.sentinels() {
                        sentinels.listen().await;
                    }
                });
                // Both its outcomes are the same: nobody needs this thread any more.
                let _ = ended.await;
                keeper.abort();
                listener.abort();
            });
            // A name that is just being looked up must not hold the end up.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("redis".to_owned());
        thread.spawn(run).map_err(SetupError::Thread)?;
        Ok(Self { shared, connector, runtime: handle, _alive: alive })
    }

    /// A connection, or none while Redis is not to be asked. Never waits.
    #[must_use]
    pub fn connection(&self, lane: Lane) -> Option<Connection> {
        self.shared.connection(lane)
    }

    /// Whether something may be written now.
    ///
    /// # Errors
    /// For how long not, at most.
    pub fn allows_writing(&self) -> Result<(), Duration> {
        self.shared.allows_writing(Instant::now())
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

    /// Which server is asked, or was last.
    #[must_use]
    pub fn server(&self) -> Option<Address> {
        self.connector.current()
    }

    /// How it stands.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// How often it failed in this way since the start.
    #[must_use]
    pub fn faults(&self, fault: Fault) -> u64 {
        self.shared.faults(fault)
    }
}
