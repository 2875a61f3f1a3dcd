//! Who fetches for others: for those who follow here, and for the nodes that wait for this one.

use std::sync::Arc;

use super::fill::Fill;
use super::{Failed, FetchOutcome, Filling, FlightKey};
use crate::coalesce::{FlightOutcome, Leader};
use crate::key::CacheKey;
use crate::store::remote::{Ending, Lease};

type Flight = Leader<FlightKey, Arc<Fill<Filling>>, Failed>;

/// The head of a flight, and of the fleet where it holds the lease: whatever ends the one ends the
/// other.
#[derive(Debug)]
pub(super) struct FlightLeader {
    flight: Flight,
    /// What the flight is for; kept beyond its end.
    key: CacheKey,
    lease: Option<Lease>,
}

impl FlightLeader {
    /// At the head of `flight`, which is for `key`.
    pub(super) fn new(flight: Flight, key: CacheKey) -> Self {
        Self { flight, key, lease: None }
    }

    /// What is fetched.
    pub(super) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Fetches for the fleet from here on.
    pub(super) fn hold(&mut self, lease: Lease) {
        self.lease = Some(lease);
    }

    /// The lease, to be ended by what is written.
    pub(super) fn take_lease(&mut self) -> Option<Lease> {
        self.lease.take()
    }

    /// Other nodes get nothing of this fetch: they need not wait for it any more.
    pub(super) fn leave_fleet(&mut self, ending: Ending) {
        if let Some(lease) = self.lease.take() {
            lease.end(ending);
        }
    }

    /// Tells the followers (see [`Leader::announce`]), and the other nodes what is theirs to know:
    /// they can have a response only once it is written, so that one that is only shared here keeps
    /// them waiting.
    pub(super) fn announce(&mut self, outcome: FetchOutcome) {
        match outcome {
            FlightOutcome::Shared(_) => {}
            FlightOutcome::Settled | FlightOutcome::NotShareable => {
                self.leave_fleet(Ending::Apart(None));
            }
            FlightOutcome::Failed(_) => self.leave_fleet(Ending::Failed),
            FlightOutcome::Abandoned => self.leave_fleet(Ending::Abandoned),
        }
        self.flight.announce(outcome);
    }

    /// Whether anybody waits for this flight's outcome at this moment, here.
    pub(super) fn has_followers(&self) -> bool {
        self.flight.has_followers()
    }

    /// Waits until nobody here waits for this flight's outcome.
    pub(super) async fn unfollowed(&self) {
        self.flight.unfollowed().await;
    }
}
