//! Waiting for one's turn: for what another node fetches, or for the lease.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::hints::Waiter;
use super::keeper::BEATS;
use super::{Claim, Held, Lease, Spot};
use crate::policy::Reason;
use crate::store::remote::counters::Waited;
use crate::store::remote::layout::Place;
use crate::store::remote::{PATIENT_BUDGETS, Tier};

/// Nodes that are waited for, one after the other: the first, and the one that takes its place when
/// it is heard of no more.
const MOST_LEADERS: u32 = 2;

/// How often something else may stand in Redis than what was found a moment before.
const MOST_CHANGES: u32 = 3;

/// Those who wait for a lease to run out do not ask for it all in the same millisecond.
const SPREAD: std::ops::Range<u64> = 2..20;

/// What comes of it.
#[derive(Debug)]
pub enum Taken {
    /// This node fetches, for all.
    Ours(Lease),
    /// There is something to read.
    Changed,
    /// There was an answer, which is not for others: why, and for how long that holds.
    Apart(Option<Reason>, Duration),
    /// It takes too long.
    Bound,
    /// Redis can't tell.
    Unavailable,
}

/// One request's wait.
#[derive(Debug)]
pub struct Turn<'a> {
    tier: &'a Tier,
    place: Place,
    upstream: usize,
    patience: Duration,
    /// The token of the node that is waited for, and until when.
    leader: Option<u64>,
    until: Instant,
    leaders: u32,
    changes: u32,
    waiter: Option<Waiter>,
}

impl<'a> Turn<'a> {
    /// For a key's response from this upstream; each node that fetches it is given `patience`.
    #[must_use]
    pub fn new(tier: &'a Tier, key: &str, upstream: usize, patience: Duration) -> Self {
        let (place, until) = (tier.place(key), Instant::now());
        Self {
            tier,
            place,
            upstream,
            patience,
            leader: None,
            until,
            leaders: 0,
            changes: 0,
            waiter: None,
        }
    }

    /// Whether another node was waited for.
    #[must_use]
    pub fn has_waited(&self) -> bool {
        self.leaders > 0
    }

    /// What was waited for is there.
    pub fn answered(&self) {
        self.waited(Waited::Answered);
    }

    /// Redis fails while it was waited for.
    pub fn failed(&self) {
        self.waited(Waited::Failed);
    }

    /// Waits until this node is to fetch, or need not. `first` is what came of a claim that went
    /// along with the lookup.
    pub async fn take(&mut self, spot: &Spot, first: Option<Claim>) -> Taken {
        let mut claim = match first {
            Some(claim) => claim,
            None => self.claim(spot).await,
        };
        loop {
            let held = match claim {
                Claim::Held(held) => held,
                Claim::Granted(lease) => return self.over(Waited::Succeeded, Taken::Ours(lease)),
                Claim::Apart(why, left) => {
                    return self.over(Waited::Apart, Taken::Apart(why, left));
                }
                Claim::Changed if self.changes < MOST_CHANGES => {
                    self.changes += 1;
                    return Taken::Changed;
                }
                Claim::Changed | Claim::Unavailable => {
                    return self.over(Waited::Failed, Taken::Unavailable);
                }
            };
            if !self.may_wait(&held) {
                return self.over(Waited::Bound, Taken::Bound);
            }
            match &mut self.waiter {
                Some(waiter) if waiter.is_for(&held.name) => {
                    let soon = held.left + Duration::from_millis(fastrand::u64(SPREAD));
                    let poll = soon.min(self.tier.config.lease / BEATS);
                    let until = self.until.min(Instant::now() + poll);
                    if timeout_at(until, waiter.message()).await.is_ok() {
                        waiter.looks();
                        return Taken::Changed;
                    }
                }
                // What ended before the subscription is seen by the next look.
                _ => {
                    let mut waiter = self.tier.hints.wait_for(&held.name);
                    let _ = timeout(self.tier.config.lookup_budget, waiter.joined()).await;
                    self.waiter = Some(waiter);
                }
            }
            // It is time for a look without a message.
            if let Some(waiter) = &mut self.waiter {
                waiter.looks();
            }
            claim = self.claim(spot).await;
        }
    }

    async fn claim(&self, spot: &Spot) -> Claim {
        let budgets = if self.has_waited() { PATIENT_BUDGETS } else { 1 };
        let budget = self.tier.config.lookup_budget.saturating_mul(budgets);
        self.tier.leases.claim(&self.place, spot, self.upstream, budget).await
    }

    /// Whether there is time left for this holder.
    fn may_wait(&mut self, held: &Held) -> bool {
        if self.leader != Some(held.token) {
            self.leader = Some(held.token);
            self.leaders += 1;
            if self.leaders <= MOST_LEADERS {
                self.until = Instant::now() + self.patience;
            }
        }
        Instant::now() < self.until
    }

    fn over(&self, outcome: Waited, taken: Taken) -> Taken {
        self.waited(outcome);
        taken
    }

    /// Only waits are counted.
    fn waited(&self, outcome: Waited) {
        if self.has_waited() {
            self.tier.counters.waited(outcome);
        }
    }
}
