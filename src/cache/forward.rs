//! Which way to the origin: alone, at the head of others that want the same, or behind one.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{AUTHORIZATION, IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{Method, StatusCode};
use tokio::time::timeout;

use super::fill::Fill;
use super::lookup::{self, Ask, Decision, Plan};
use super::{
    Cache, CacheFuture, Failed, FetchOutcome, Filling, FlightKey, FlightLeader, Job, Origin,
    Shared, ranges, respond,
};
use crate::clock::Timestamp;
use crate::coalesce::{self, FlightOutcome, Role};
use crate::context::{Interims, Outcome, Response};
use crate::error::{ErrorKind, ProxyError};
use crate::headers::Present;
use crate::key::CacheKey;
use crate::limit::Place;
use crate::policy::{Reason, StaleGrant};
use crate::store::{Standing, StoredResponse};

/// How often one request may follow a leader that came to nothing before it goes alone.
const MOST_FLIGHTS: usize = 3;

/// What is done next for a request that memory could not answer.
enum Step {
    Answer(Result<Response, ProxyError>),
    /// Fetch for others, too.
    Lead(Plan, FlightLeader),
    /// Fetch for this request only.
    Alone,
    /// Wait for what another's fetch comes to.
    Follow(Follower),
    /// What is stored is to be decoded first.
    Decode(Arc<StoredResponse>),
    /// What is asked for has become something else.
    Again,
}

type Follower = coalesce::Follower<Arc<Fill<Filling>>, Failed>;

impl<S: Origin> Cache<S> {
    /// Gets an answer to what memory could not answer; `place` is held until its head is there.
    ///
    /// A request is judged by when it `came`: what was fresh then, or has come since, is good enough
    /// for it however long it waited. Otherwise all who wait for an object that lives for a second
    /// would find it stale by the time they get it.
    pub(super) fn forward(
        self,
        mut job: Job,
        mut plan: Plan,
        came: Timestamp,
        place: Place,
    ) -> CacheFuture {
        // RFC 9111 §5.2.1.7, whatever else the request says.
        let retrieves = *job.method() == Method::GET || *job.method() == Method::HEAD;
        if retrieves && job.directives().only_if_cached {
            return CacheFuture::Ready(Some(Err(ErrorKind::OnlyIfCached.into())));
        }
        let interims = job.request.open_interims();
        // Most need not wait for others: their futures are the smaller for it.
        match self.step(&mut job, &mut plan, came, came) {
            Step::Answer(answer) => CacheFuture::Ready(Some(answer)),
            Step::Lead(plan, leader) => {
                CacheFuture::Led(self.lead(job, plan, leader, interims, place))
            }
            Step::Alone => CacheFuture::Forward(Box::pin(self.alone(job, plan, interims, place))),
            step => {
                CacheFuture::Forward(Box::pin(self.wait(step, job, plan, interims, came, place)))
            }
        }
    }

    /// Waits for what others fetch, from `step` on, until there is an answer or none to wait for.
    async fn wait(
        self,
        mut step: Step,
        mut job: Job,
        mut plan: Plan,
        interims: Option<Interims>,
        came: Timestamp,
        place: Place,
    ) -> Result<Response, ProxyError> {
        let (mut failures, mut flights) = (0, 1);
        loop {
            match step {
                Step::Answer(answer) => return answer,
                Step::Lead(plan, leader) => {
                    return self.lead(job, plan, leader, interims, place).await;
                }
                Step::Alone => break,
                Step::Again => {}
                Step::Decode(stored) => match self.decoded(&mut job, &plan, &stored, came).await {
                    Some(response) => return Ok(response),
                    None => break,
                },
                Step::Follow(follower) => {
                    let outcome = timeout(job.config.wait, follower.outcome()).await;
                    let Ok(outcome) = outcome else {
                        // Waiting longer, or asking a silent origin once more for each who waits,
                        // is no better than what a failure allows. It may answer yet: this is no
                        // disconnection (RFC 9111 §4.2.4).
                        let failed = Failed::Status(StatusCode::GATEWAY_TIMEOUT);
                        if let Some(stale) = self.stale_after(&mut job, &plan, failed) {
                            return Ok(stale);
                        }
                        plan.reason = Reason::WaitBound;
                        plan.fills = false;
                        break;
                    };
                    match self.followed(&mut job, &mut plan, outcome, came, &mut failures) {
                        Followed::Answer(response) => return response,
                        Followed::Decode(stored) => {
                            match self.decoded(&mut job, &plan, &stored, came).await {
                                Some(response) => return Ok(response),
                                None => break,
                            }
                        }
                        Followed::Again => {}
                        Followed::Alone => break,
                    }
                }
            }
            if flights == MOST_FLIGHTS {
                break;
            }
            flights += 1;
            let now = self.shared.clock.now();
            step = self.step(&mut job, &mut plan, came, now);
        }
        self.alone(job, plan, interims, place).await
    }

    /// Joins the flight for what is asked, if there may be one.
    fn step(&self, job: &mut Job, plan: &mut Plan, came: Timestamp, now: Timestamp) -> Step {
        let Some(key) = self.shared.flight_key(job, plan, now) else { return Step::Alone };
        let leader = match self.shared.flights.join(&key) {
            Role::Follower(follower) => return Step::Follow(follower),
            Role::Leader(leader) => leader,
        };
        if plan.missed_at == Some(self.shared.memory.insertions())
            && self.shared.is_flight(&key, job, plan, now)
        {
            let leader = FlightLeader::new(leader, key.key);
            return Step::Lead(plan.clone(), leader);
        }
        // What the last leader stored may have come in between.
        match lookup::decide_under(&self.shared, job, key.key.as_str(), came) {
            Decision::Use(stored, grant) => {
                job.settle(&stored.head);
                Step::Answer(Ok(self.collapsed(&stored, grant, job, plan)))
            }
            // It came to be stored so for others meanwhile.
            Decision::Decode(stored) => Step::Decode(stored),
            Decision::Forward(mut new) => {
                // What is asked for may have become something else than the flight is for: whoever
                // follows it must not get that.
                new.after = plan.after;
                // While nothing is stored, only a fill under way has told the variant.
                if new.variant == 0 {
                    new.variant = plan.variant;
                }
                if self.shared.is_flight(&key, job, &mut new, now) {
                    let leader = FlightLeader::new(leader, key.key);
                    return Step::Lead(new, leader);
                }
                *plan = new;
                Step::Again
            }
        }
    }
}

/// What a follower does next.
enum Followed {
    Answer(Result<Response, ProxyError>),
    /// What the leader stored is to be decoded first.
    Decode(Arc<StoredResponse>),
    Again,
    Alone,
}

impl<S: Origin> Cache<S> {
    /// What a follower makes of its leader's outcome.
    fn followed(
        &self,
        job: &mut Job,
        plan: &mut Plan,
        outcome: FetchOutcome,
        came: Timestamp,
        failures: &mut usize,
    ) -> Followed {
        match outcome {
            FlightOutcome::Shared(fill) => self.follow(job, plan, &fill, came),
            FlightOutcome::Settled => match lookup::decide(&self.shared, job, came) {
                Decision::Use(stored, grant) => {
                    job.settle(&stored.head);
                    Followed::Answer(Ok(self.collapsed(&stored, grant, job, plan)))
                }
                Decision::Decode(stored) => Followed::Decode(stored),
                Decision::Forward(new) => {
                    *plan = new;
                    Followed::Alone
                }
            },
            // What came may be for the leader's own URL only; unless it is known by now that nobody
            // shares an answer to any of these URLs.
            FlightOutcome::NotShareable
                if !job.target.with_key_str(|key| self.shared.is_marked(key))
                    && job.keep_to_itself() =>
            {
                match lookup::decide(&self.shared, job, came) {
                    Decision::Use(stored, grant) => {
                        job.settle(&stored.head);
                        Followed::Answer(Ok(self.collapsed(&stored, grant, job, plan)))
                    }
                    Decision::Decode(stored) => Followed::Decode(stored),
                    Decision::Forward(new) => {
                        *plan = new;
                        Followed::Again
                    }
                }
            }
            FlightOutcome::NotShareable => {
                plan.hit_for_miss();
                Followed::Alone
            }
            FlightOutcome::Failed(failed) => {
                if let Some(stale) = self.stale_after(job, plan, failed) {
                    return Followed::Answer(Ok(stale));
                }
                // One more try, shared like the first; then the error, so that a failing origin
                // is not asked by everybody who waits.
                *failures += 1;
                if *failures > 1 {
                    return Followed::Answer(Err(failed.kind().into()));
                }
                Followed::Again
            }
            FlightOutcome::Abandoned => Followed::Again,
        }
    }

    /// An answer from what others stored meanwhile, in codings that this request does not accept.
    async fn decoded(
        &self,
        job: &mut Job,
        plan: &Plan,
        stored: &Arc<StoredResponse>,
        came: Timestamp,
    ) -> Option<Response> {
        let decided = self.shared.decoded(job, stored, came).await;
        let Decision::Use(stored, grant) = decided else { return None };
        job.settle(&stored.head);
        Some(self.collapsed(&stored, grant, job, plan))
    }

    /// What a follower may be served of what is stored, its leader's fetch having failed.
    fn stale_after(&self, job: &mut Job, plan: &Plan, failed: Failed) -> Option<Response> {
        let stored = plan.stored.as_ref()?;
        let now = self.shared.clock.now();
        let grant = self.shared.grant_on_failure(job, stored, failed, now)?;
        job.settle(&stored.head);
        Some(self.collapsed(stored, Some(grant), job, plan))
    }

    /// Follows a fill that is under way, if its response may answer this request too.
    fn follow(
        &self,
        job: &mut Job,
        plan: &mut Plan,
        fill: &Arc<Fill<Filling>>,
        came: Timestamp,
    ) -> Followed {
        let Filling { head, stamp } = fill.head();
        let standing =
            job.target.with_key_str(|key| self.shared.memory.standing_outside(key, stamp));
        if standing != Standing::Valid {
            // Purged since it began: join those who ask for what is there now.
            let sequence = self.shared.memory.sequence();
            let known = plan.after == sequence;
            plan.after = sequence;
            return if known { Followed::Alone } else { Followed::Again };
        }
        if let Some(vary) = head.vary()
            && !vary.matches(job.headers())
        {
            // Another variant: join those who want the same one.
            let variant = vary.fingerprint_for(job.headers());
            let known = plan.variant == variant;
            plan.variant = variant;
            return if known { Followed::Alone } else { Followed::Again };
        }
        job.settle(head);
        if plan.fills && !ranges::joins(fill, job) {
            *plan = plan.clone().pass_part();
            return Followed::Alone;
        }
        let now = self.shared.clock.now();
        let response = respond::from_fill(fill, job, plan, came, now);
        response.map_or(Followed::Alone, |response| Followed::Answer(Ok(job.edited(response, now))))
    }

    /// An answer from memory after waiting for another request's fetch.
    fn collapsed(
        &self,
        stored: &Arc<StoredResponse>,
        grant: Option<StaleGrant>,
        job: &Job,
        plan: &Plan,
    ) -> Response {
        let mut response = self.serve(stored, grant, job, self.shared.clock.now());
        response.outcome = Outcome {
            hit: false,
            collapsed: true,
            forwarded: Some(plan.forwarded),
            ..response.outcome
        };
        response
    }
}

impl Shared {
    /// The flight that a request may join, or `None` if it goes alone; `plan` says why then.
    pub(super) fn flight_key(
        &self,
        job: &Job,
        plan: &mut Plan,
        now: Timestamp,
    ) -> Option<FlightKey> {
        if !self.may_join(job, plan, now) {
            return None;
        }
        let unmarked = |key: &str| (!self.marks.holds(key, now)).then(|| CacheKey::from_text(key));
        let Some(key) = job.target.with_key_str(unmarked) else {
            plan.hit_for_miss();
            return None;
        };
        let range = flight_range(job, plan);
        Some(FlightKey { key, variant: plan.variant, range, after: plan.after })
    }

    /// Whether nobody waits for an answer by this key.
    fn is_marked(&self, key: &str) -> bool {
        self.marks.holds(key, self.clock.now())
    }

    /// Whether `flight`, which a request with this key has just begun, is for what `plan` asks.
    fn is_flight(&self, flight: &FlightKey, job: &Job, plan: &mut Plan, now: Timestamp) -> bool {
        if !self.may_join(job, plan, now) {
            return false;
        }
        // By the last leader, perhaps, before its flight ended.
        if self.marks.holds(flight.key.as_str(), now) {
            plan.hit_for_miss();
            return false;
        }
        flight.variant == plan.variant
            && flight.after == plan.after
            && flight.range == flight_range(job, plan)
    }

    /// Whether a request may share a fetch.
    fn may_join(&self, job: &Job, plan: &mut Plan, now: Timestamp) -> bool {
        self.fill_for_part(job, plan, now);
        let alone = || {
            [AUTHORIZATION, IF_MATCH, IF_UNMODIFIED_SINCE]
                .iter()
                .any(|name| job.headers().contains_key(name))
        };
        plan.cacheable
            && job.config.collapse
            // Whoever wants it anew does not want what was begun before.
            && job.config.lookup
            && *job.method() == Method::GET
            && !(job.request.present.any(Present::AUTHORIZATION.or(Present::CONDITIONS)) && alone())
    }
}

/// The part that a flight is for, where it is not for the whole.
fn flight_range(job: &Job, plan: &Plan) -> Option<Bytes> {
    if plan.ask == Ask::Validation || plan.fills { None } else { wanted_range(job) }
}

/// The range that the origin is asked for, with its condition: whoever asks for the same under
/// another condition may have to get something else (RFC 9110 §13.1.5).
fn wanted_range(job: &Job) -> Option<Bytes> {
    let headers = job.headers();
    let range = headers.get(RANGE)?;
    let Some(condition) = headers.get(IF_RANGE) else {
        return Some(Bytes::copy_from_slice(range.as_bytes()));
    };
    let mut both = BytesMut::with_capacity(range.len() + 1 + condition.len());
    both.put_slice(range.as_bytes());
    // No field value holds a line feed, so that no two pairs read the same.
    both.put_u8(b'\n');
    both.put_slice(condition.as_bytes());
    Some(both.freeze())
}

impl Failed {
    /// The error that a follower is told when nothing else can be said.
    pub(super) fn kind(self) -> ErrorKind {
        match self {
            Self::NoResponse(kind) => kind,
            Self::Status(_) => ErrorKind::OriginFailing,
        }
    }
}
