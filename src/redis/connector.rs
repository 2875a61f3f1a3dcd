//! Connections for whoever needs them alone, and which server they lead to.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::cluster::Cluster;
use super::config::{Address, Config, Place};
use super::connect::{Dialer, Opened, SetupError};
use super::fault::Fault;
use super::sentinel::Sentinels;
use super::shared::Faults;
use super::subscription::Subscription;

/// Makes connections to the server that is to be asked, for subscriptions and blocking reads.
#[derive(Clone, Debug)]
pub struct Connector(Arc<Way>);

#[derive(Debug)]
struct Way {
    dialer: Dialer,
    finder: Finder,
    /// Where the keeper's connections lead to.
    current: ArcSwapOption<Address>,
}

/// Who knows where the server is.
#[derive(Debug)]
enum Finder {
    /// The configuration.
    Fixed(Address),
    Sentinels(Sentinels),
    /// The servers themselves: it depends on the key.
    Cluster(Arc<Cluster>),
}

impl Connector {
    /// A connector that keeps these settings.
    ///
    /// # Errors
    /// Authorities that can't be read, a host that no certificate can name.
    pub(super) fn new(config: &Config, faults: &Faults) -> Result<Self, SetupError> {
        let dialer = Dialer::new(config)?;
        let finder = match &config.place {
            Place::Server(address) => Finder::Fixed(address.clone()),
            Place::Sentinel(sentinel) => Finder::Sentinels(Sentinels::new(config, sentinel)?),
            Place::Cluster(seeds) => {
                let (seeds, faults) = (seeds.clone(), faults.clone());
                let cluster = Cluster::new(seeds, dialer.clone(), config.answers_within, faults);
                Finder::Cluster(Arc::new(cluster))
            }
        };
        Ok(Self(Arc::new(Way { dialer, finder, current: ArcSwapOption::empty() })))
    }

    /// A connector to this one server.
    pub(super) fn to(dialer: Dialer, address: Address) -> Self {
        let finder = Finder::Fixed(address);
        Self(Arc::new(Way { dialer, finder, current: ArcSwapOption::empty() }))
    }

    /// Opens a connection to the server that has `key`; its task runs on the runtime that this is
    /// called on.
    ///
    /// # Errors
    /// What keeps it from being made, the answer to the login among that.
    pub async fn open(&self, key: &str) -> Result<Opened, Fault> {
        match &self.0.finder {
            Finder::Cluster(cluster) => cluster.open(key).await,
            _ => self.server().await,
        }
    }

    /// Opens a connection to the one server that there is.
    pub(super) async fn server(&self) -> Result<Opened, Fault> {
        match &self.0.finder {
            Finder::Fixed(address) => self.0.dialer.open(address).await,
            Finder::Sentinels(sentinels) => sentinels.primary(&self.0.dialer).await,
            Finder::Cluster(_) => Err(Fault::ClusterDown),
        }
    }

    /// Opens another one to where `opened` leads.
    pub(super) async fn open_beside(&self, opened: &Opened) -> Result<Opened, Fault> {
        self.0.dialer.open(&opened.at).await
    }

    /// Opens a connection for subscriptions.
    ///
    /// # Errors
    /// As [`Connector::open`].
    pub async fn subscribe(&self) -> Result<Subscription, Fault> {
        let at = match &self.0.finder {
            Finder::Fixed(address) => address.clone(),
            // Whoever publishes does it there.
            Finder::Sentinels(_) => self.current().ok_or(Fault::NoPrimary)?,
            // What is published at any of them, all pass on.
            Finder::Cluster(cluster) => cluster.any().ok_or(Fault::ClusterDown)?,
        };
        Subscription::open(&self.0.dialer, &at).await
    }

    /// Whether `opened` leads to the server that has `key` now, as far as that is known.
    #[must_use]
    pub fn leads_to(&self, key: &str, opened: &Opened) -> bool {
        match &self.0.finder {
            Finder::Cluster(cluster) => {
                let shard = cluster.shard(key);
                opened.is_asking() || shard.is_none_or(|shard| shard.address == *opened.at())
            }
            _ => self.asks(opened.at()),
        }
    }

    /// Whether the server at `address` is asked now, as far as that is known.
    #[must_use]
    pub fn asks(&self, address: &Address) -> bool {
        match &self.0.finder {
            Finder::Cluster(cluster) => {
                cluster.shards().iter().any(|shard| shard.address == *address)
            }
            _ => self.0.current.load().as_deref().is_none_or(|current| current == address),
        }
    }

    /// The Cluster, if it is one.
    pub(super) fn cluster(&self) -> Option<&Arc<Cluster>> {
        match &self.0.finder {
            Finder::Cluster(cluster) => Some(cluster),
            _ => None,
        }
    }

    /// The server that is asked, or was last.
    pub(super) fn current(&self) -> Option<Address> {
        self.0.current.load().as_deref().cloned()
    }

    /// From now on this one is asked.
    pub(super) fn settle_on(&self, address: &Address) {
        self.0.current.store(Some(Arc::new(address.clone())));
    }

    /// The sentinels that tell where the server is, if any do.
    pub(super) fn sentinels(&self) -> Option<&Sentinels> {
        match &self.0.finder {
            Finder::Sentinels(sentinels) => Some(sentinels),
            _ => None,
        }
    }
}
