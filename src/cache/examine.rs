//! What would be done with a request now, found out without doing it: nobody is asked, nothing is
//! begun, and what is looked at counts as unused.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::lookup::{self, Ask, Decision, Plan};
use super::{Config, Failed, Fetch, FlightKey, Job, Shared, respond};
use crate::clock::Timestamp;
use crate::coalesce::UnderWay;
use crate::context::{Detail, Outcome, Response};
use crate::error::ErrorKind;
use crate::key::Target;
use crate::policy::{self, Reason, StaleGrant};
use crate::store::{Memory, Standing, StoredResponse};

/// What would be done with a request, and what that comes from.
#[derive(Debug)]
pub struct Examined {
    /// When it was looked at.
    pub now: Timestamp,
    /// What would be done.
    pub would: Would,
    /// The same in the words of `Cache-Status`.
    pub outcome: Outcome,
    /// What the client would get, where memory answers.
    pub answer: Option<Response>,
    /// What the origin would be asked, where nobody asks it already.
    pub fetch: Option<Fetch>,
    /// What the request shares with other URLs, where it is answered by that (`No-Vary-Search`).
    pub shared: Option<Target>,
    /// All that is stored under the key that counts, most recent first.
    pub variants: Vec<Arc<StoredResponse>>,
    /// Which of them is for this request.
    pub chosen: Option<usize>,
    /// Where that one stands with regard to purges.
    pub standing: Option<Standing>,
    /// The number of the latest purge.
    pub purges: u64,
    /// Why the last answer that is known of was not shared, and for how long nobody waits for the
    /// next one (hit-for-miss); zero where that is over.
    pub mark: Option<(Reason, Duration)>,
    /// What went wrong lately when it was fetched.
    pub trouble: Option<Trouble>,
    /// The fetch under way that the request would wait for, or that refreshes what it gets.
    pub flight: Option<UnderWay>,
    /// Whether it would be refreshed for those who come after.
    pub refresh: Refresh,
    /// The settings that count for it.
    pub config: Arc<Config>,
}

/// What would be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Would {
    /// Answered from memory, fresh.
    Hit,
    /// Answered from memory, stale.
    Stale(StaleGrant),
    /// What is stored in codings that the client does not accept would be decoded first, and then
    /// judged.
    Decode,
    /// The origin would be asked whether what is stored is still good.
    Revalidate,
    /// The origin would be asked for what is missing of it.
    Complete,
    /// The origin would be asked for all of it.
    Miss,
    /// The origin would be asked just what the client asks, for the client alone.
    Pass,
    /// The request would be refused.
    Refuse(ErrorKind),
}

/// A fetch that failed lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How.
    pub kind: ErrorKind,
    /// For how long those who may be served stale do not wait for the origin.
    pub patient: Duration,
    /// For how long no refresh begins in the background.
    pub quiet: Duration,
}

/// What becomes of what is served from memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refresh {
    /// Nothing.
    None,
    /// It would be refreshed in the background.
    Begins,
    /// It is being refreshed.
    UnderWay,
    /// The origin is left alone for so long.
    LeftAlone(Duration),
    /// Too many requests wait already.
    NoRoom,
    /// It would be refreshed early with this probability, from 0 to 1.
    ByChance(f64),
}

impl Shared {
    /// Looks at what would be done with `job` now.
    #[must_use]
    pub fn examine(&self, mut job: Job) -> Examined {
        job.forget_part_by_date();
        let now = self.clock.now();
        let decision = lookup::decide_anew_by(self, &mut job, now, Memory::peek);
        let mut all = self.stored_for(&job, now);
        match decision {
            Decision::Use(stored, grant) => {
                all.would = grant.map_or(Would::Hit, Would::Stale);
                self.would_serve(&mut all, &stored, grant, &mut job);
            }
            Decision::Decode(_) if self.waiting.is_full() => all.refuse(ErrorKind::TooManyWaiting),
            Decision::Decode(_) => all.would = Would::Decode,
            Decision::Forward(plan) => self.would_forward(&mut all, plan, &mut job),
        }
        // What is told of a stored response is told by the settings for it.
        if let Some(stored) = all.stored() {
            job.settle(&stored.head);
        }
        all.config = job.config;
        all
    }

    /// What there is for a request, whatever is made of it.
    fn stored_for(&self, job: &Job, now: Timestamp) -> Examined {
        let key = job.target.key();
        let variants = self.memory.peek(key.as_str());
        let variants = variants.map(|found| found.as_slice().to_vec()).unwrap_or_default();
        let heads = variants.iter().map(|stored| &stored.head);
        let chosen = policy::select(heads, job.headers(), &job.config.policy);
        let stored = chosen.and_then(|place| variants.get(place));
        let variant = lookup::fingerprint(stored.or(variants.first()), job);
        let trouble = self.setbacks.get(key.as_str(), variant, now).map(|setback| {
            let (failed, patient, quiet) = setback.told(now);
            Trouble { kind: failed.kind(), patient, quiet }
        });
        Examined {
            now,
            would: Would::Pass,
            outcome: Outcome::default(),
            answer: None,
            fetch: None,
            shared: job.shares.as_ref().map(|_| job.target.clone()),
            chosen,
            standing: stored.map(|stored| self.memory.standing(key.as_str(), &stored.stamp)),
            purges: self.memory.sequence(),
            mark: self.marks.told(key.as_str(), now),
            trouble,
            flight: None,
            refresh: Refresh::None,
            config: Arc::clone(&job.config),
            variants,
        }
    }

    fn would_serve(
        &self,
        all: &mut Examined,
        stored: &Arc<StoredResponse>,
        grant: Option<StaleGrant>,
        job: &mut Job,
    ) {
        let variant = lookup::fingerprint(Some(stored), job);
        let key = FlightKey { key: job.target.key(), variant, range: None, after: 0 };
        job.settle(&stored.head);
        all.flight = self.flights.under_way(&key);
        all.refresh = self.would_refresh(all, stored, grant, job);
        let outcome = respond::hit_outcome(stored, grant, job, all.now);
        let answer = respond::answer(stored, job, outcome, all.now);
        all.outcome = outcome;
        all.answer = Some(job.edited(answer, all.now));
    }

    fn would_refresh(
        &self,
        all: &Examined,
        stored: &StoredResponse,
        grant: Option<StaleGrant>,
        job: &Job,
    ) -> Refresh {
        let chance = policy::early_chance(&stored.head, &job.config.policy, all.now);
        let due = match grant {
            None => chance > 0.0,
            Some(grant) => grant != StaleGrant::RequestMaxStale,
        };
        match all.trouble {
            _ if !due || !job.config.store => Refresh::None,
            Some(trouble) if !trouble.quiet.is_zero() => Refresh::LeftAlone(trouble.quiet),
            _ if self.waiting.is_full() => Refresh::NoRoom,
            _ if all.flight.is_some() => Refresh::UnderWay,
            _ if grant.is_none() => Refresh::ByChance(chance),
            _ => Refresh::Begins,
        }
    }

    fn would_forward(&self, all: &mut Examined, mut plan: Plan, job: &mut Job) {
        let retrieves = *job.method() == Method::GET || *job.method() == Method::HEAD;
        if self.waiting.is_full() {
            let kind = ErrorKind::TooManyWaiting;
            return self.would_refuse(all, &plan, job, Failed::NoResponse(kind), kind);
        }
        if let Some(failed) = self.spared(job, &plan, all.now) {
            return self.would_refuse(all, &plan, job, failed, ErrorKind::OriginSpared);
        }
        if retrieves && job.directives().only_if_cached {
            return all.refuse(ErrorKind::OnlyIfCached);
        }
        let key = self.flight_key(job, &mut plan, all.now);
        all.flight = key.and_then(|key| self.flights.under_way(&key));
        // A look at the purges, as when a fetch begins.
        self.start(job, &mut plan);
        all.would = match plan.ask {
            Ask::AsIs => Would::Pass,
            Ask::All => Would::Miss,
            Ask::Validation => Would::Revalidate,
            Ask::Rest => Would::Complete,
        };
        all.outcome = Outcome {
            forwarded: Some(plan.forwarded),
            detail: Some(Detail::Reason(plan.reason)),
            upstream: Some(job.upstream),
            ..Outcome::default()
        };
        if all.flight.is_none() {
            all.fetch = Some(job.fetch(&plan));
        }
    }
}

impl Shared {
    /// What would be done without the origin, as after a fetch that failed.
    fn would_refuse(
        &self,
        all: &mut Examined,
        plan: &Plan,
        job: &mut Job,
        failed: Failed,
        kind: ErrorKind,
    ) {
        let stale = plan.stored.as_ref().and_then(|stored| {
            Some((self.grant_on_failure(job, stored, failed, all.now)?, stored))
        });
        match stale {
            Some((grant, stored)) => {
                all.would = Would::Stale(grant);
                self.would_serve(all, stored, Some(grant), job);
            }
            None => all.refuse(kind),
        }
    }
}

impl Examined {
    /// The stored response that is for this request.
    #[must_use]
    pub fn stored(&self) -> Option<&Arc<StoredResponse>> {
        self.variants.get(self.chosen?)
    }

    fn refuse(&mut self, kind: ErrorKind) {
        self.would = Would::Refuse(kind);
        self.outcome.detail = Some(Detail::Error(kind));
    }
}
