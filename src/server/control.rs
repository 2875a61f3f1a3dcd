//! What of a running server can be changed: how connections are spoken with, not where.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::bind::Manner;
use super::seats::Seats;
use super::tls::TlsError;
use super::{Config, Limits};

/// The handle by which a running server is changed. Clones share it.
///
/// Connections keep what they began with; the bounds on their number hold for all at once.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: ArcSwap<Limits>,
    seats: Arc<Seats>,
    /// Of each listener, in the order of the configuration.
    manners: Vec<Arc<ArcSwap<Manner>>>,
}

/// What [`Control::take`] puts into force.
#[derive(Debug)]
pub struct Prepared {
    limits: Limits,
    manners: Vec<Arc<Manner>>,
}

impl Control {
    pub(super) fn new(limits: &Limits, manners: Vec<Arc<ArcSwap<Manner>>>) -> Self {
        let seats = Seats::new(limits);
        Self(Arc::new(Inner { limits: ArcSwap::from_pointee(limits.clone()), seats, manners }))
    }

    /// Loads what `config` names: its listeners are those that the server has, in their order.
    /// Nothing is changed by it, but that certificates whose files have changed are renewed, as they
    /// would be soon.
    ///
    /// # Errors
    /// A certificate or key that cannot be used.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, TlsError> {
        let pairs = config.listeners.iter().zip(&self.0.manners);
        let manners = pairs.map(|(listener, manner)| manner.load().renewed(listener).map(Arc::new));
        Ok(Prepared { limits: config.limits.clone(), manners: manners.collect::<Result<_, _>>()? })
    }

    /// Puts what was prepared into force, for connections that come.
    pub fn take(&self, prepared: Prepared) {
        self.0.seats.resize(&prepared.limits);
        self.0.limits.store(Arc::new(prepared.limits));
        for (manner, new) in self.0.manners.iter().zip(prepared.manners) {
            manner.store(new);
        }
    }

    pub(super) fn limits(&self) -> Arc<Limits> {
        self.0.limits.load_full()
    }

    pub(super) fn seats(&self) -> &Arc<Seats> {
        &self.0.seats
    }

    pub(super) fn manners(&self) -> &[Arc<ArcSwap<Manner>>] {
        &self.0.manners
    }
}
