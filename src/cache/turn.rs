//! Whose turn it is to fetch, among all nodes: a leader looks into the tier, and where nothing of use
//! is there it fetches for the fleet, or waits for the node that does.

use std::time::Duration;

use http::header::RANGE;

use super::conclude::Concluded;
use super::lookup::{Ask, Plan};
use super::tier::Tiered;
use super::{Cache, Failed, FlightLeader, Job, Origin, Protect, Shared};
use crate::coalesce::FlightOutcome;
use crate::context::Forwarded;
use crate::error::ErrorKind;
use crate::policy::Reason;
use crate::store::remote::{LookedUp, Lookup, Taken, Tier, Turn};

impl<S: Origin> Cache<S> {
    /// Looks for an answer in the tier; the flight's followers get it too. Where there is none, and
    /// another node fetches it, waits for that.
    pub(super) async fn ask_tier(
        &self,
        job: &mut Job,
        mut plan: Plan,
        mut leader: FlightLeader,
    ) -> Tiered {
        let ask = |plan, leader| Tiered::Ask(Box::new(plan), leader);
        // Who insists on the origin gets it. A purge of a URL is one deletion there, which does not
        // find what is keyed by more than that.
        let asks = plan.forwarded != Forwarded::Request && !job.target.key().has_parts();
        let tier = self.shared.tier.as_ref().filter(|_| asks);
        let Some(tier) = tier else { return ask(plan, leader) };
        let mut turn = turn(tier, job, &plan);
        loop {
            let waited = turn.as_ref().is_some_and(Turn::has_waited);
            let LookedUp { lookup, spot, claim } =
                self.shared.look_up(tier, job, turn.as_ref()).await;
            match lookup {
                Lookup::Found(found) => {
                    let how = if waited { Reason::FleetHit } else { Reason::TierHit };
                    match self.use_found(tier, job, plan, leader, *found, how).await {
                        Tiered::Ask(same, again) => (plan, leader) = (*same, again),
                        answered @ Tiered::Answered(_) => {
                            turn.iter().for_each(Turn::answered);
                            return answered;
                        }
                    }
                }
                Lookup::Miss => {}
                Lookup::Unavailable => {
                    turn.iter().for_each(Turn::failed);
                    return self.without_tier(job, plan, leader);
                }
            }
            let (Some(turn), Some(spot)) = (&mut turn, spot) else { return ask(plan, leader) };
            match turn.take(&spot, claim).await {
                Taken::Changed => {}
                Taken::Ours(lease) => {
                    leader.hold(lease);
                    return ask(plan, leader);
                }
                Taken::Apart(why, left) => {
                    if let Some(why) = why {
                        self.shared.hit_for_miss(job, &mut plan, &mut leader, why, left);
                    }
                    return ask(plan, leader);
                }
                Taken::Bound => {
                    plan.reason = Reason::LeaseBound;
                    return ask(plan, leader);
                }
                Taken::Unavailable => return self.without_tier(job, plan, leader),
            }
        }
    }
}

impl<S: Origin> Cache<S> {
    /// Redis can't be asked. Whoever protects clients asks the origin; whoever protects the origin
    /// would have all nodes ask it for everything at once, and so does with what is stored.
    fn without_tier(&self, job: &mut Job, plan: Plan, mut leader: FlightLeader) -> Tiered {
        if job.config.protect == Protect::Client {
            return Tiered::Ask(Box::new(plan), leader);
        }
        let kind = ErrorKind::TierUnavailable;
        let failed = Failed::NoResponse(kind);
        leader.announce(FlightOutcome::Failed(failed));
        let response = self.refuse(job, &plan, failed, kind);
        Tiered::Answered(Concluded { response, pump: None })
    }
}

impl Shared {
    /// Another node has found that an answer is not for others: nobody waits for the next one.
    fn hit_for_miss(
        &self,
        job: &Job,
        plan: &mut Plan,
        leader: &mut FlightLeader,
        why: Reason,
        left: Duration,
    ) {
        let left = left.min(job.config.hit_for_miss);
        let now = self.clock.now();
        job.target.with_key_str(|key| self.marks.set(key, why, now, left));
        leader.announce(FlightOutcome::NotShareable);
        plan.hit_for_miss();
    }
}

/// A request's wait for other nodes' fetches, where it pays off to fetch for them or to wait:
/// not where what comes is kept out of Redis, or nobody is to wait.
fn turn<'a>(tier: &'a Tier, job: &Job, plan: &Plan) -> Option<Turn<'a>> {
    let stored = plan.cacheable && (job.config.store || job.by_response.is_some());
    let whole = match plan.ask {
        Ask::Validation => true,
        Ask::All => plan.fills || !job.headers().contains_key(RANGE),
        Ask::AsIs | Ask::Rest => false,
    };
    // Two nodes are waited for, and then there has to be time left to fetch: who follows here
    // waits for all of that.
    let patience = tier.lease_wait(job.upstream).min(job.config.wait / 4);
    let takes = stored && whole && !patience.is_zero();
    let turn = |key: &str| Turn::new(tier, key, job.upstream, patience);
    takes.then(|| job.target.with_key_str(turn))
}
