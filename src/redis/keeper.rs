//! The task that connects, finds out that connections are gone, and connects again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::cmd;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::config::Address;
use super::connect::Opened;
use super::connector::Connector;
use super::fault::Fault;
use super::lane::Lane;
use super::shared::{Health, Lanes, Shared};

/// How often an idle Redis is asked whether it is there.
const PULSE: Duration = Duration::from_secs(1);

/// How long it has to answer that.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often a new connection may try to answer in time.
const PROBES: usize = 3;

/// How long a Redis that can't be written to is kept before another is looked for under its name.
const REPLICA_KEPT: Duration = Duration::from_secs(5);

/// How often sentinels are asked whether another one is the primary by now.
const ASKED_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Keeper {
    pub(super) connector: Connector,
    pub(super) shared: Arc<Shared>,
    pub(super) answers_within: Duration,
    /// Told when the server is lost: perhaps another has taken its place.
    pub(super) lost: Option<Arc<Notify>>,
}

impl Keeper {
    /// Runs for as long as the room's thread.
    pub(super) async fn run(self) {
        let mut generation = 0;
        let mut told = None;
        loop {
            if let Err(pause) = self.shared.allows_connecting(Instant::now()) {
                if timeout(pause, self.hint()).await.is_ok() {
                    self.shared.hasten(Instant::now());
                }
                continue;
            }
            generation += 1;
            match self.connect(generation).await {
                Ok(lanes) => {
                    self.take(lanes);
                    // Only where that is not known to whoever wrote the configuration.
                    let is_found = self.lost.is_some() || self.connector.sentinels().is_some();
                    let server = self.connector.current().filter(|_| is_found);
                    let server = server.map(|at| at.to_string());
                    tracing::info!(server, "redis is there");
                    self.watch(&mut generation).await;
                    self.tell();
                    if let Health::Down(fault) = self.shared.health() {
                        tracing::warn!(why = fault.word(), "redis is not asked for now");
                        told = Some(fault);
                    }
                }
                Err(fault) => {
                    self.shared.not_connected(fault, Instant::now());
                    self.tell();
                    if told != Some(fault) {
                        tracing::warn!(why = fault.word(), "redis is out of reach");
                        told = Some(fault);
                    }
                }
            }
        }
    }

    async fn connect(&self, generation: u64) -> Result<Lanes, Fault> {
        let heads = self.connector.server().await?;
        let (chunks, writes) = (
            Arc::new(self.connector.open_beside(&heads).await?),
            Arc::new(self.connector.open_beside(&heads).await?),
        );
        self.probe(&heads).await?;
        Ok(Lanes { generation, heads: Arc::new(heads), chunks, writes })
    }

    /// Has these connections used from now on.
    fn take(&self, lanes: Lanes) {
        self.connector.settle_on(lanes.heads.at());
        self.shared.publish(lanes, Instant::now());
    }

    fn tell(&self) {
        if let Some(lost) = &self.lost {
            lost.notify_one();
        }
    }

    /// Waits until there is news of where Redis is; for ever where nobody tells.
    async fn hint(&self) {
        match self.connector.sentinels() {
            Some(sentinels) => sentinels.hint().await,
            None => std::future::pending().await,
        }
    }

    /// Whether it answers as soon as lookups need it: once of a few times, for a machine that is
    /// busy for a moment delays one answer, and a Redis that is far away all of them.
    async fn probe(&self, opened: &Opened) -> Result<(), Fault> {
        let ping = cmd("PING");
        for _ in 0..PROBES {
            let (mut connection, begun) = (opened.connection.clone(), Instant::now());
            match timeout(PATIENCE.max(self.answers_within), ping.exec_async(&mut connection)).await
            {
                Ok(Ok(())) if begun.elapsed() <= self.answers_within => return Ok(()),
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(Fault::of(&error)),
                Err(_) => return Err(Fault::Timeout),
            }
        }
        Err(Fault::Timeout)
    }

    /// Ends when the connections are no longer to be used.
    async fn watch(&self, generation: &mut u64) {
        let (mut looked_at, mut refused_at) = (Instant::now(), None::<Instant>);
        loop {
            let hinted = tokio::select! {
                () = self.shared.broken.notified() => false,
                () = self.hint() => true,
                () = sleep(PULSE) => false,
            };
            let Some(heads) = self.shared.connection(Lane::Heads) else { return };
            // What comes of it is noted, and noticed above.
            let _ = heads.ask(&cmd("PING"), 0, PATIENCE).await;
            let read_only = self.shared.health() == Health::Unwritable(Fault::ReadOnly);
            let is_news = read_only && refused_at.is_none();
            refused_at = refused_at.filter(|_| read_only).or(read_only.then(Instant::now));
            if hinted || is_news || looked_at.elapsed() > ASKED_EVERY {
                looked_at = Instant::now();
                if self.has_moved(heads.opened.at()).await {
                    tracing::info!("redis: another server is the primary");
                    self.reconnect(generation).await;
                }
            }
            if refused_at.is_some_and(|at| at.elapsed() > REPLICA_KEPT) {
                refused_at = Some(Instant::now());
                self.reconnect(generation).await;
            }
            if !self.shared.is_connected() {
                return;
            }
        }
    }

    /// Whether sentinels name another primary than the one that is asked.
    async fn has_moved(&self, from: &Address) -> bool {
        match self.connector.sentinels() {
            Some(sentinels) => sentinels.name_another_than(from).await,
            None => false,
        }
    }

    /// Changes over to new connections, if there are any to be had.
    async fn reconnect(&self, generation: &mut u64) {
        *generation += 1;
        if let Ok(lanes) = self.connect(*generation).await {
            self.take(lanes);
        }
    }
}
