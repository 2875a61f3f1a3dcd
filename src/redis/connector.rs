//! Connections for whoever needs them alone, and which server they lead to.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::config::{Address, Config, Place};
use super::connect::{Dialer, Opened, SetupError};
use super::fault::Fault;
use super::sentinel::Sentinels;
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
}

impl Connector {
    /// A connector that keeps these settings.
    ///
    /// # Errors
    /// Authorities that can't be read, a host that no certificate can name.
    pub(super) fn new(config: &Config) -> Result<Self, SetupError> {
        let finder = match &config.place {
            Place::Server(address) => Finder::Fixed(address.clone()),
            Place::Sentinel(sentinel) => Finder::Sentinels(Sentinels::new(config, sentinel)?),
        };
        let way = Way { dialer: Dialer::new(config)?, finder, current: ArcSwapOption::empty() };
        Ok(Self(Arc::new(way)))
    }

    /// Opens a connection; its task runs on the runtime that this is called on.
    ///
    /// # Errors
    /// What keeps it from being made, the answer to the login among that.
    pub async fn open(&self) -> Result<Opened, Fault> {
        match &self.0.finder {
            Finder::Fixed(address) => self.0.dialer.open(address).await,
            Finder::Sentinels(sentinels) => sentinels.primary(&self.0.dialer).await,
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
        let current = self.0.current.load_full();
        let at = match (&self.0.finder, &current) {
            (Finder::Fixed(address), _) => address,
            // Whoever publishes does it there.
            (Finder::Sentinels(_), Some(address)) => address,
            (Finder::Sentinels(_), None) => return Err(Fault::NoPrimary),
        };
        Subscription::open(&self.0.dialer, at).await
    }

    /// Whether a connection to `address` is to the server that is asked now, as far as that is
    /// known.
    #[must_use]
    pub fn leads_to(&self, address: &Address) -> bool {
        self.0.current.load().as_deref().is_none_or(|current| current == address)
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
            Finder::Fixed(_) => None,
            Finder::Sentinels(sentinels) => Some(sentinels),
        }
    }
}
