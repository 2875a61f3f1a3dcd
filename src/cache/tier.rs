//! What the tier behind memory has for a request, before its leader asks the origin.
//!
//! A leader looks it up ([`super::turn`]), so there is one lookup for a key at a time; who follows it
//! gets what it gets. What is found is judged by `policy` and held against this node's purges like anything
//! stored, goes into memory if memory admits it, and answers from there. A large body that is fresh
//! is streamed through a fill instead, like one from an origin. One that has to be validated first
//! is read as a whole: no byte of it could be sent before.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;

use super::conclude::Concluded;
use super::fill::{Fill, Finished, Limits};
use super::lookup::{self, Ask, Decision, Plan};
use super::pump::{Deposit, Pump};
use super::{Cache, Filling, FlightLeader, Job, Origin, Shared, respond};
use crate::body::{Blocks, Body};
use crate::coalesce::FlightOutcome;
use crate::context::{Detail, Forwarded, Outcome, Response};
use crate::policy::{self, Overrides, Reason, Reuse, StoredHead, Validity};
use crate::store::remote::{Found, FoundBody, Looked, LookedUp, Query, Reading, Tier, Turn};
use crate::store::{Content, Insertion, Stamp, Standing, StoredResponse, Variants};

/// What came of asking the tier.
pub(super) enum Tiered {
    /// It had an answer.
    Answered(Concluded),
    /// The origin has to be asked, as planned, or to validate what was found.
    Ask(Box<Plan>, FlightLeader),
}

/// A response that was found, and stands with regard to purges.
struct Candidate {
    head: StoredHead,
    stamp: Stamp,
    validity: Validity,
    body: FoundBody,
}

impl<S: Origin> Cache<S> {
    /// Answers from what was found, if that may be.
    pub(super) async fn use_found(
        &self,
        tier: &Tier,
        job: &mut Job,
        plan: Plan,
        leader: FlightLeader,
        found: Found,
        how: Reason,
    ) -> Tiered {
        let ask = |plan, leader| Tiered::Ask(Box::new(plan), leader);
        let Some(candidate) = self.shared.candidate(tier, job, &plan, found) else {
            return ask(plan, leader);
        };
        tier.counters().looked(Looked::Hit);
        let now = self.shared.clock.now();
        let config = job.config_for(&candidate.head).into_owned();
        let (facts, directives) = (job.facts(), job.directives());
        let Candidate { head, stamp, validity, body } = candidate;
        let verdict = policy::reuse(&head, &facts, &directives, &config.policy, validity, now);
        match (verdict, body) {
            (Reuse::Unusable(_), _) => ask(plan, leader),
            (Reuse::Fresh, FoundBody::Chunks(reading)) => {
                let length = reading.length();
                let Ok(body) = reading.begin().await else { return ask(plan, leader) };
                job.settle(&head);
                let answered = self.shared.stream(job, head, stamp, (body, length), leader, how);
                Tiered::Answered(answered)
            }
            (_, body) => {
                let gathered = self.shared.gather(body, config.max_object_size).await;
                let Some(blocks) = gathered else { return ask(plan, leader) };
                self.answer_whole(job, plan, leader, (head, stamp, blocks), how)
            }
        }
    }

    /// A response that is there as a whole: into memory, and judged as if it had always been.
    fn answer_whole(
        &self,
        job: &mut Job,
        plan: Plan,
        mut leader: FlightLeader,
        (head, stamp, blocks): (StoredHead, Stamp, Arc<Blocks>),
        how: Reason,
    ) -> Tiered {
        let (shared, key, now) = (&self.shared, job.target.key(), self.shared.clock.now());
        let useless_at = head.expires_from_store_at(&job.config_for(&head).policy);
        let content = Content::Whole(blocks);
        let sealed = shared.seal(&key, head, content, stamp, useless_at);
        let Some(sealed) = sealed else { return Tiered::Ask(Box::new(plan), leader) };
        let insertion = shared.memory.insert(&key, &sealed, now);
        if insertion == Insertion::Purged {
            return Tiered::Ask(Box::new(plan), leader);
        }
        let variants = Variants::One(Arc::clone(&sealed));
        match lookup::among(shared, job, key.as_str(), variants, now) {
            Decision::Use(stored, grant) if insertion == Insertion::Stored => {
                // Before the answer: a stale one begins a flight of its own.
                leader.announce(FlightOutcome::Settled);
                drop(leader);
                job.settle(&stored.head);
                Tiered::Answered(from_tier(self.serve(&stored, grant, job, now), how))
            }
            Decision::Use(stored, None) => {
                // Memory has no room for it: those who wait get it all the same.
                if let Some(fill) = shared.filled(job, &stored) {
                    leader.announce(FlightOutcome::Shared(fill));
                }
                drop(leader);
                job.settle(&stored.head);
                Tiered::Answered(from_tier(self.serve(&stored, None, job, now), how))
            }
            Decision::Use(stored, Some(_)) => {
                let variant = lookup::fingerprint(Some(&stored), job);
                let stale = Plan::new(Forwarded::Stale, Reason::Stale);
                let stale = Plan { after: plan.after, ..stale.with(job, stored, variant) };
                Tiered::Ask(Box::new(stale), leader)
            }
            Decision::Forward(new) if new.stored.is_some() => {
                Tiered::Ask(Box::new(Plan { after: plan.after, ..new }), leader)
            }
            Decision::Forward(_) | Decision::Decode(_) => Tiered::Ask(Box::new(plan), leader),
        }
    }
}

/// An answer that is known to come from the tier, where nothing else is to be said of it.
fn from_tier(mut response: Response, how: Reason) -> Concluded {
    let detail = &mut response.outcome.detail;
    *detail = detail.or(Some(Detail::Reason(how)));
    Concluded { response: Ok(response), pump: None }
}

impl Shared {
    pub(super) async fn look_up(
        &self,
        tier: &Tier,
        job: &Job,
        turn: Option<&Turn<'_>>,
    ) -> LookedUp {
        let (key, now) = (job.target.key(), self.clock.now());
        let (by_response, config) = (job.by_response.clone(), Arc::clone(&job.config));
        let reading = move |status: StatusCode, fields: &HeaderMap| -> Overrides {
            match &by_response {
                None => config.policy.clone(),
                Some(rules) => rules.settings(status, fields).policy.clone(),
            }
        };
        let query = Query {
            key: key.as_str(),
            request: job.headers(),
            overrides: &job.config.policy,
            reading: &reading,
            now,
            claims: turn.map(|_| job.upstream),
            waited: turn.is_some_and(Turn::has_waited),
        };
        tier.look_up(&query).await
    }

    /// What was found, if it is newer than what memory has and no purge covers it.
    fn candidate(&self, tier: &Tier, job: &Job, plan: &Plan, found: Found) -> Option<Candidate> {
        let Found { head, written, body } = found;
        if let Some(stored) = &plan.stored
            && stored.head.response_at() >= head.response_at()
        {
            tier.counters().looked(Looked::Miss);
            return None;
        }
        let tags = Arc::clone(&job.config_for(&head).tags);
        let labels = tags.labels(&job.target, |name| head.get_all(name)).ok();
        let stamp = labels.map(|labels| tier.stamp(&written, labels.map(Arc::new)));
        let Some(stamp) = stamp else {
            tier.counters().looked(Looked::Unusable);
            return None;
        };
        let standing = |key: &str| self.memory.standing_outside(key, &stamp);
        let validity = match job.target.with_key_str(standing) {
            Standing::Valid => Validity::Valid,
            Standing::Soft => Validity::SoftPurged,
            Standing::Doubtful => Validity::Doubtful,
            Standing::Hard => {
                tier.counters().looked(Looked::Purged);
                return None;
            }
        };
        Some(Candidate { head: head.hiding(tags.fields()), stamp, validity, body })
    }

    /// All of a body, in memory that is charged for; `None` where it is more than is stored, there
    /// is not enough, or it does not come.
    async fn gather(&self, body: FoundBody, most: u64) -> Option<Arc<Blocks>> {
        let length = match &body {
            FoundBody::Inline(body) => body.len() as u64,
            FoundBody::Chunks(reading) => reading.length(),
        };
        if length > most {
            return None;
        }
        // Charged before it is read.
        let charge = self.memory.charge(usize::try_from(length).ok()?)?;
        let pieces = match body {
            FoundBody::Inline(body) if body.is_empty() => Vec::new(),
            FoundBody::Inline(body) => vec![body],
            FoundBody::Chunks(reading) => whole(reading).await?,
        };
        Some(Arc::new(Blocks::new(pieces, Some(charge))))
    }

    /// A fresh response whose body is on its way from the tier: to this client, to those who
    /// follow, and into memory if that admits it.
    fn stream(
        self: &Arc<Self>,
        job: &Job,
        head: StoredHead,
        stamp: Stamp,
        (body, length): (Body, u64),
        mut leader: FlightLeader,
        how: Reason,
    ) -> Concluded {
        let (shared, now) = (Arc::clone(self), self.clock.now());
        let policy = &job.config.policy;
        let again = Stamp::new(stamp.fetched_at(), stamp.labels().cloned());
        let filling = Filling { head: head.clone(), stamp: again };
        let (fill, writer) = Fill::new(filling, Some(length), limits(job));
        let ttl = head.ttl(policy, now);
        let outcome = Outcome {
            hit: true,
            ttl: Some(ttl),
            detail: Some(Detail::Reason(how)),
            upstream: Some(job.upstream),
            ..Outcome::default()
        };
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = head.status();
        parts.headers = respond::head_fields(&head, job, now);
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        // All preconditions are answered here: no origin is told of them.
        let plan = Plan { ask: Ask::Validation, ..Plan::new(Forwarded::UriMiss, how) };
        let response = respond::filling(&fill, parts, job, &plan, outcome);
        leader.announce(FlightOutcome::Shared(fill));
        // Without room for all of it, it passes through.
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        let charge = self.memory.charge(bytes).or_else(|| self.memory.charge(0));
        let useless_at = head.expires_from_store_at(policy);
        let (key, graces) = (job.target.key(), Some(Arc::clone(&self.graces)));
        let copy = job.wanted_copy(&head);
        let deposit = Deposit {
            shared,
            key,
            variant: 0,
            head,
            stamp,
            began: None,
            replaces_since: None,
            instead_of: None,
            useless_at,
            partial: None,
            copy,
        };
        let fresh_for = u64::try_from(ttl).ok().map(Duration::from_secs);
        let grace = job.config.fill_grace;
        let leader = Some(leader);
        let pump = charge.map(|charge| {
            Box::new(Pump {
                body,
                writer,
                charge,
                trailers: None,
                leader,
                fresh_for,
                grace,
                graces,
                deposit,
            })
        });
        let response = response.ok_or_else(|| crate::error::ErrorKind::Internal.into());
        Concluded { response: response.map(|response| job.edited(response, now)), pump }
    }

    /// A fill that is whole already, for those who wait.
    fn filled(&self, job: &Job, stored: &StoredResponse) -> Option<Arc<Fill<Filling>>> {
        let Content::Whole(blocks) = &stored.content else { return None };
        let stamp = Stamp::new(stored.stamp.fetched_at(), stored.stamp.labels().cloned());
        let filling = Filling { head: stored.head.clone(), stamp };
        let (fill, writer) = Fill::new(filling, Some(blocks.len()), limits(job));
        let mut charge = self.memory.charge(0)?;
        for piece in blocks.as_slices() {
            writer.append(piece, &mut charge);
        }
        match writer.finish(None, charge) {
            Finished::Whole(_) => Some(fill),
            Finished::Passed => None,
        }
    }
}

fn limits(job: &Job) -> Limits {
    Limits {
        max_object_size: job.config.max_object_size,
        window: job.config.window as u64,
        stall_timeout: job.config.stall_timeout,
    }
}

/// All chunks of a body.
async fn whole(reading: Reading) -> Option<Vec<Bytes>> {
    let mut body = reading.begin().await.ok()?;
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        pieces.extend(frame.ok()?.into_data().ok());
    }
    Some(pieces)
}
