//! What the cache does without a request for it: what a purge has made stale is refreshed, and what
//! other nodes are asked for most is had from the tier before anybody asks here.

use std::time::Instant;

use tokio::time::sleep;

use super::fetch::fill_unread;
use super::lookup::{self, Decision};
use super::tier::Tiered;
use super::{Cache, FlightLeader, Job, Origin};
use crate::policy::Reason;
use crate::store::Memory;
use crate::store::remote::{LookedUp, Lookup};

/// What is to be done for a request that nobody has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// What is stored and not fresh is validated or fetched, at the pace of the upstream.
    Refresh,
    /// What is not stored is had from the tier; no origin is asked.
    Preload,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It is fresh now.
    Done,
    /// It was already.
    Fresh,
    /// There is nothing that could be refreshed or had.
    Nothing,
    /// Somebody else is at it.
    UnderWay,
    /// It failed, or something has just failed there, or too much waits already.
    Failed,
}

impl Ran {
    /// All, for tables.
    pub const ALL: [Self; 5] =
        [Self::Done, Self::Fresh, Self::Nothing, Self::UnderWay, Self::Failed];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Fresh => "fresh",
            Self::Nothing => "nothing",
            Self::UnderWay => "under-way",
            Self::Failed => "failed",
        }
    }
}

/// Why a refresh does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotNow {
    /// It has just failed, or too many wait for an origin.
    Spared,
    /// Somebody else is at it.
    UnderWay,
    /// Somebody else has just done it.
    Renewed,
}

impl<S: Origin> Cache<S> {
    /// Does `errand` for what `job` asks for, and returns when it is done. Counts as no use of what
    /// is stored.
    pub async fn run(self, job: Job, errand: Errand) -> Ran {
        match errand {
            Errand::Refresh => self.renew(job).await,
            Errand::Preload => self.preload(job).await,
        }
    }

    async fn renew(self, mut job: Job) -> Ran {
        let Some(stored) = (match self.peek(&mut job) {
            Decision::Use(_, None) => return Ran::Fresh,
            Decision::Use(stored, Some(_)) | Decision::Decode(stored) => Some(stored),
            Decision::Forward(plan) => plan.stored,
        }) else {
            return Ran::Nothing;
        };
        if !job.config.store {
            return Ran::Nothing;
        }
        sleep(self.shared.pace.turn(job.upstream, Instant::now())).await;
        match self.refreshing(&job, &stored) {
            Ok(refreshing) => refreshing.await,
            Err(NotNow::UnderWay) => return Ran::UnderWay,
            Err(NotNow::Renewed) => return Ran::Fresh,
            Err(NotNow::Spared) => return Ran::Failed,
        }
        match self.peek(&mut job) {
            Decision::Use(_, None) => Ran::Done,
            _ => Ran::Failed,
        }
    }

    async fn preload(self, mut job: Job) -> Ran {
        let Some(tier) = &self.shared.tier else { return Ran::Nothing };
        let mut plan = match self.peek(&mut job) {
            Decision::Forward(plan) if plan.stored.is_none() && plan.cacheable => plan,
            Decision::Forward(_) => return Ran::Nothing,
            Decision::Use(..) | Decision::Decode(_) => return Ran::Fresh,
        };
        let key = self.shared.flight_key(&job, &mut plan, self.shared.clock.now());
        let Some(key) = key.filter(|_| job.config.store) else { return Ran::Nothing };
        let Some(leader) = self.shared.flights.lead(&key) else { return Ran::UnderWay };
        let leader = FlightLeader::new(leader, key.key);
        let LookedUp { lookup, .. } = self.shared.look_up(tier, &job, None).await;
        let found = match lookup {
            Lookup::Found(found) => found,
            Lookup::Miss => return Ran::Nothing,
            Lookup::Unavailable => return Ran::Failed,
        };
        let now = self.shared.clock.now();
        // What would have to be refreshed is not worth the origin's time before it is asked for.
        if found.head.ttl(&job.config_for(&found.head).policy, now) <= 0 {
            return Ran::Nothing;
        }
        let how = Reason::TierHit;
        match self.use_found(tier, &mut job, plan, leader, *found, how).await {
            Tiered::Ask(..) => Ran::Nothing,
            Tiered::Answered(concluded) => {
                fill_unread(Some(concluded)).await;
                match self.peek(&mut job) {
                    Decision::Use(..) => Ran::Done,
                    _ => Ran::Failed,
                }
            }
        }
    }

    /// What would be done for a request, without counting it as one.
    fn peek(&self, job: &mut Job) -> Decision {
        let now = self.shared.clock.now();
        lookup::decide_anew_by(&self.shared, job, now, Memory::peek)
    }
}
