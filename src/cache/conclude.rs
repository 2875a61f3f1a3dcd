//! What comes of an origin's answer: a freshened response, a fill, a pass-through, or stale.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::Either;
use http::header::{AUTHORIZATION, DATE, ETAG};
use http::response::Parts as ResponseHead;
use http::{HeaderValue, Method, StatusCode};

use super::lookup::{Ask, Plan};
use super::pump::Pump;
use super::{
    Cache, Failed, FlightLeader, Job, Origin, Protect, Shared, compress, partial, respond,
};
use crate::body::Body;
use crate::clock::Timestamp;
use crate::coalesce::FlightOutcome;
use crate::context::{Detail, Outcome, Response, ResponseParts};
use crate::error::{ErrorKind, Fault, ProxyError};
use crate::key::CacheKey;
use crate::policy::{
    self, HeadVerdict, Precondition, Reason, RequestDirectives, ResponseTimes, Reuse, StaleGrant,
    StoredHead, Validity, reuse,
};
use crate::store::StoredResponse;
use crate::store::remote::Ending;

/// The origin's answer, or why there is none.
pub(super) type Answer = Result<http::Response<Body>, ProxyError>;

/// The client's answer, and the fill that goes on without it.
pub(super) struct Concluded {
    pub(super) response: Result<Response, ProxyError>,
    pub(super) pump: Option<Box<Pump>>,
}

/// When a fetch began, on the clock and in the sequence of purges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Started {
    pub(super) at: Timestamp,
    pub(super) sequence: u64,
}

impl Started {
    pub(super) fn now(shared: &Shared) -> Self {
        Self { at: shared.clock.now(), sequence: shared.memory.sequence() }
    }
}

/// What was asked, and what came of it.
pub(super) struct Asked {
    pub(super) plan: Plan,
    pub(super) answer: Answer,
    pub(super) started: Started,
    pub(super) leader: Option<FlightLeader>,
}

/// Decides what to do with an answer, asking again where it can't be used. Boxed only for that: the
/// futures that wait for this one are the smaller for it.
pub(super) fn conclude<'a, S: Origin>(
    cache: &'a mut Cache<S>,
    job: &'a mut Job,
    asked: Asked,
) -> Either<Ready<Concluded>, Pin<Box<dyn Future<Output = Concluded> + Send + 'a>>> {
    match judge(&cache.shared, job, asked) {
        Ok(concluded) => Either::Left(ready(concluded)),
        Err(again) => Either::Right(Box::pin(ask_again(cache, job, again))),
    }
}

async fn ask_again<S: Origin>(
    cache: &mut Cache<S>,
    job: &mut Job,
    mut again: Box<Again>,
) -> Concluded {
    loop {
        let Again { plan, leader, whole } = *again;
        let started = Started::now(&cache.shared);
        let fetch = if whole { job.refetch() } else { job.fetch(&plan) };
        let answer = cache.origin.call(fetch).await;
        match judge(&cache.shared, job, Asked { plan, answer, started, leader }) {
            Ok(concluded) => return concluded,
            Err(next) => again = next,
        }
    }
}

/// What an answer comes to, or what has to be asked in its place.
fn judge(shared: &Arc<Shared>, job: &mut Job, asked: Asked) -> Result<Concluded, Box<Again>> {
    let Asked { plan, answer, started, leader } = asked;
    settle(job, &plan, &answer);
    let now = shared.clock.now();
    let conclusion = Conclusion { shared, job, plan, started, now, leader, for_itself: false };
    match conclusion.judge(answer) {
        Verdict::Done(mut concluded) => {
            concluded.response = concluded.response.map(|response| job.edited(response, now));
            Ok(concluded)
        }
        Verdict::Stale(mut concluded, stored) => {
            let config = job.config_for(&stored.head);
            let edited = |response| job.edited_by(&config, response, now);
            concluded.response = concluded.response.map(edited);
            Ok(concluded)
        }
        Verdict::Again(again) => {
            let (plan, leader) = *again;
            Err(Box::new(Again { plan, leader, whole: true }))
        }
        Verdict::Part(part) => {
            let (plan, pump) = *part;
            if let Some(pump) = pump {
                shared.background.spawn(pump.run());
            }
            Err(Box::new(Again { plan, leader: None, whole: false }))
        }
    }
}

/// What is asked in the place of what was.
struct Again {
    plan: Plan,
    leader: Option<FlightLeader>,
    /// For everything, and for nobody in particular.
    whole: bool,
}

/// An error and a 304 are followed by what is stored, if anything is.
fn settle(job: &mut Job, plan: &Plan, answer: &Answer) {
    let came = answer.as_ref().ok();
    match (came.filter(|response| response.status() != StatusCode::NOT_MODIFIED), &plan.stored) {
        (Some(response), _) => job.settle_for(response.status(), response.headers()),
        (None, Some(stored)) => job.settle(&stored.head),
        (None, None) => {}
    }
}

pub(super) enum Verdict {
    Done(Concluded),
    /// Done, with what is stored instead of what came.
    Stale(Concluded, Arc<StoredResponse>),
    /// What is stored does not go with what came: ask once more, for everything.
    Again(Box<(Plan, Option<FlightLeader>)>),
    /// The client's part is not to be had from what came: ask for it, while that fills.
    Part(Box<(Plan, Option<Box<Pump>>)>),
}

/// An answer's circumstances. What becomes of a full response is in [`super::keep`].
pub(super) struct Conclusion<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) job: &'a Job,
    pub(super) plan: Plan,
    pub(super) started: Started,
    /// When the answer came.
    pub(super) now: Timestamp,
    pub(super) leader: Option<FlightLeader>,
    /// What came answers the request's own URL and no other.
    pub(super) for_itself: bool,
}

impl Conclusion<'_> {
    fn judge(self, answer: Answer) -> Verdict {
        let response = match answer {
            Ok(response) => response,
            Err(error) => return self.failed(error),
        };
        let (mut head, body) = response.into_parts();
        self.receive(&mut head);
        let stored = self.plan.stored.clone();
        if head.status == StatusCode::NOT_MODIFIED && !self.answers_a_condition(&head) {
            // RFC 9110 §15.4.5: it answers a condition, and the origin was told of none.
            return self.failed(ErrorKind::BadResponse.into());
        }
        let failed = Failed::Status(head.status);
        if head.status.is_server_error()
            && let Some(stored) = &stored
        {
            self.remember(failed);
            if let Some(grant) = self.grant(stored, failed) {
                return self.stale(stored, failed, grant);
            }
        } else if self.job.config.protect == Protect::Origin && is_trouble(head.status) {
            self.remember(failed);
        }
        match stored {
            Some(stored)
                if head.status == StatusCode::NOT_MODIFIED && self.plan.ask == Ask::Validation =>
            {
                if policy::validated_by(&stored.head, &head.headers) {
                    self.freshen(&stored, &head)
                } else {
                    self.again(Reason::ValidatorMismatch)
                }
            }
            // RFC 9111 §4.3.5: a HEAD may tell whether what is stored is still good.
            Some(stored) if *self.job.method() == Method::HEAD && stored.content.is_whole() => {
                match policy::judge_head(&stored.head, head.status, &head.headers) {
                    HeadVerdict::Same => self.freshen(&stored, &head),
                    HeadVerdict::Changed => {
                        self.shared.remove(&self.job.target.key(), &stored);
                        self.replace(head, body)
                    }
                    HeadVerdict::Silent => self.replace(head, body),
                }
            }
            Some(stored) if self.plan.ask == Ask::Rest => {
                match partial::completes(&stored, &head, &self.job.config.policy) {
                    partial::Completion::Rest(range) => {
                        done(self.complete(&stored, head, body, range))
                    }
                    partial::Completion::Whole => self.replace(head, body),
                    partial::Completion::Useless => self.again(Reason::PartialMiss),
                }
            }
            _ => self.replace(head, body),
        }
    }

    /// Whether a 304 answers a condition: ours, or the client's own. Where that was held back, the
    /// origin can't have meant it if it speaks of something else than the client has.
    fn answers_a_condition(&self, not_modified: &ResponseHead) -> bool {
        let job = self.job;
        let conditional = || respond::is_conditional(job);
        match self.plan.ask {
            Ask::Validation | Ask::Rest => true,
            Ask::AsIs => conditional(),
            Ask::All if !not_modified.headers.contains_key(ETAG) => conditional(),
            Ask::All => {
                let (facts, policy) = (job.facts(), &job.config.policy);
                let fields = &not_modified.headers;
                // Conditions are about what a 200 would bring (RFC 9110 §13.2.1).
                let head = StoredHead::new(&facts, StatusCode::OK, fields, self.times(), policy);
                conditional() && respond::evaluate(job, &head) == Precondition::NotModified
            }
        }
    }

    /// Fields that every response has from its receipt on.
    fn receive(&self, head: &mut ResponseHead) {
        if !head.headers.contains_key(DATE) {
            // RFC 9110 §6.6.1: a recipient with a clock records when it received the message.
            let date = HeaderValue::try_from(policy::format_date(self.now));
            head.headers.extend(date.ok().map(|date| (DATE, date)));
        }
    }

    pub(super) fn again(self, reason: Reason) -> Verdict {
        let plan = Plan { stored: None, ask: Ask::All, reason, ..self.plan };
        Verdict::Again(Box::new((plan, self.leader)))
    }

    pub(super) fn times(&self) -> ResponseTimes {
        ResponseTimes { request_at: self.started.at, response_at: self.now }
    }

    fn grant(&self, stored: &StoredResponse, failed: Failed) -> Option<StaleGrant> {
        self.shared.grant_on_failure(self.job, stored, failed, self.now)
    }

    /// Before the flight ends: whoever comes next must not ask the same again at once. A request
    /// that goes alone may have brought the failure upon itself.
    fn remember(&self, failed: Failed) {
        if self.leader.is_some() {
            let (key, variant) = (self.job.target.key(), self.plan.variant);
            self.shared.remember_failure(&key, variant, failed, self.started.at);
        }
    }

    /// No response came, or none that can be used.
    fn failed(mut self, error: ProxyError) -> Verdict {
        let failed = Failed::NoResponse(error.kind);
        let spared = error.kind == ErrorKind::OriginSpared;
        if self.plan.stored.is_none()
            && self.job.config.protect == Protect::Origin
            && (error.kind.is_unreachable() || is_silence(error.kind))
        {
            self.remember(failed);
        }
        if (error.kind.fault() == Fault::Origin || error.kind.is_shed())
            && let Some(stored) = self.plan.stored.clone()
        {
            // What was not even tried is no news.
            if !spared {
                self.remember(failed);
            }
            if let Some(grant) = self.grant(&stored, failed) {
                return self.stale(&stored, failed, grant);
            }
        }
        self.announce(FlightOutcome::Failed(failed));
        done(Concluded { response: Err(error), pump: None })
    }

    /// The fetch failed and what is stored may be served all the same.
    fn stale(mut self, stored: &Arc<StoredResponse>, failed: Failed, grant: StaleGrant) -> Verdict {
        self.announce(FlightOutcome::Failed(failed));
        let now = self.now;
        let outcome = Outcome {
            hit: false,
            forwarded: Some(self.plan.forwarded),
            forward_status: match failed {
                Failed::Status(status) => Some(status),
                Failed::NoResponse(_) => None,
            },
            ..respond::hit_outcome(stored, Some(grant), self.job, now)
        };
        let response = respond::answer(stored, self.job, outcome, now);
        let concluded = Concluded { response: Ok(response), pump: None };
        Verdict::Stale(concluded, Arc::clone(stored))
    }

    /// Whether other nodes may have the answer: not where only this node's settings let one to
    /// `Authorization` be shared.
    pub(super) fn is_for_all(&self) -> bool {
        !self.job.headers().contains_key(AUTHORIZATION)
    }

    /// The response is this client's alone.
    pub(super) fn pass(mut self, mut head: ResponseHead, body: Body, reason: Reason) -> Concluded {
        self.job.config.tags.hide(&mut head.headers);
        if is_trouble(head.status) {
            // The origin is in trouble, whoever asks; other errors may be this request's own doing.
            self.announce(FlightOutcome::Failed(Failed::Status(head.status)));
        } else {
            self.release_own(reason);
        }
        let outcome = self.outcome(head.status, reason);
        if self.plan.ask != Ask::AsIs && respond::is_conditional(self.job) {
            // The origin was not told of all the client's preconditions: they are answered here.
            let facts = self.job.facts();
            let policy = &self.job.config.policy;
            let judged = StoredHead::new(&facts, head.status, &head.headers, self.times(), policy);
            if compress::tell_of_known(&judged, self.job, &mut head.headers) {
                let response = respond::not_modified(head.headers, outcome);
                return Concluded { response: Ok(response), pump: None };
            }
            if let Some(response) =
                respond::precondition(&judged, &head, self.job, self.plan.ask, outcome)
            {
                return Concluded { response: Ok(response), pump: None };
            }
        }
        self.tell_by_the_clients_tag(&mut head);
        let http = http::Response::from_parts(head, body);
        Concluded { response: Ok(ResponseParts::boxed(http, outcome)), pump: None }
    }

    /// A 304 to a client that was let through with its own conditions, which had the origin's tag
    /// in the place of a copy's: what the client has is the copy.
    fn tell_by_the_clients_tag(&self, head: &mut ResponseHead) {
        if head.status == StatusCode::NOT_MODIFIED
            && let Some(etag) = head.headers.get(ETAG)
            && let Some(own) = policy::client_tag(self.job.headers(), etag)
        {
            policy::speak_of_copy(&mut head.headers, own);
        }
    }

    /// What it is stored under, and marked by.
    pub(super) fn key(&self) -> CacheKey {
        match &self.leader {
            _ if self.for_itself => self.job.own().key(),
            Some(leader) => leader.key().clone(),
            None => self.job.target.key(),
        }
    }

    /// Whoever waits for what several URLs share goes on with its own.
    pub(super) fn leave_others(&mut self) {
        self.announce(FlightOutcome::NotShareable);
        self.leader = None;
    }

    /// Why whoever waits may not have this response too without asking again, if that is so. What
    /// the request itself asks of freshness is not the others' concern.
    pub(super) fn unshareable(&self, head: &StoredHead) -> Option<Reason> {
        let (facts, policy) = (self.job.facts(), &self.job.config.policy);
        let (none, now) = (RequestDirectives::default(), self.now);
        match reuse(head, &facts, &none, policy, Validity::Valid, now) {
            Reuse::Fresh => None,
            // It never will be shared.
            _ if head.freshness(policy).duration.is_zero() => Some(Reason::NoCache),
            Reuse::Stale(_) => Some(Reason::Stale),
            Reuse::Validate(reason) | Reuse::Unusable(reason) => Some(reason),
        }
    }

    /// Followers go their own ways; and if it is the resource's nature not to be shared, nobody
    /// waits for this key for a while.
    pub(super) fn release(&mut self, key: &str, reason: Reason) {
        let own = self.job.headers().contains_key(AUTHORIZATION);
        if self.plan.cacheable
            && !own
            && *self.job.method() == Method::GET
            && of_the_resource(reason)
        {
            // Before the flight ends: whoever comes in between must not begin another.
            let time = self.job.config.hit_for_miss;
            self.shared.marks.set(key, reason, self.now, time);
            if let Some(leader) = &mut self.leader {
                leader.leave_fleet(Ending::Apart(Some((reason, time))));
            }
        }
        self.announce(FlightOutcome::NotShareable);
    }

    /// The same for the key that the response itself has.
    fn release_own(&mut self, reason: Reason) {
        if self.leader.is_some() || self.for_itself {
            return self.release(self.key().as_str(), reason);
        }
        // Most that are passed on have no leader: their key is not needed as one of its own.
        let job = self.job;
        job.target.with_key_str(|key| self.release(key, reason));
    }

    /// Other nodes need not wait for what they will not find.
    pub(super) fn leave_fleet(&mut self) {
        if let Some(leader) = &mut self.leader {
            leader.leave_fleet(Ending::Apart(None));
        }
    }

    pub(super) fn announce(&mut self, outcome: super::FetchOutcome) {
        if let Some(leader) = &mut self.leader {
            leader.announce(outcome);
        }
    }

    pub(super) fn outcome(&self, status: StatusCode, reason: Reason) -> Outcome {
        Outcome {
            forwarded: Some(self.plan.forwarded),
            forward_status: Some(status),
            detail: Some(Detail::Reason(reason)),
            upstream: Some(self.job.upstream),
            ..Outcome::default()
        }
    }
}

pub(super) fn done(concluded: Concluded) -> Verdict {
    Verdict::Done(concluded)
}

/// Whether the origin is in trouble whoever asks; other errors may be one request's own doing.
const fn is_trouble(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

/// Whether the origin was reached and did not answer.
const fn is_silence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionLost | ErrorKind::FirstByteTimeout)
}

/// Whether a reason for not storing lies in the resource, and not in what one request asks (which
/// could then switch sharing off for everybody) or in a shortage.
pub(super) const fn of_the_resource(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoStore
            | Reason::Private
            | Reason::NoCache
            | Reason::SetCookie
            | Reason::VaryStar
            | Reason::VaryCookie
            | Reason::VaryClient
            | Reason::NoFreshness
            | Reason::MustUnderstand
            | Reason::TooLarge
            | Reason::TooManyTags
    )
}
