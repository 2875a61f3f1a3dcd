//! What is stored for a request, and what policy makes of it. Never waits.

use std::sync::Arc;

use http::Method;
use http::header::RANGE;

use super::{Job, Shared, compress, partial};
use crate::clock::Timestamp;
use crate::context::{Forwarded, RequestBody};
use crate::policy::{self, PartialAnswer, Reason, Reuse, StaleGrant, Validity, range};
use crate::store::{Content, Memory, Standing, StoredResponse, Variants};

/// What to do with a request.
pub(super) enum Decision {
    /// Answer from memory; stale where there is a grant.
    Use(Arc<StoredResponse>, Option<StaleGrant>),
    /// It is stored in codings that the client does not accept: decode it, and look again.
    Decode(Arc<StoredResponse>),
    /// Ask the origin.
    Forward(Plan),
}

/// What the origin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Just what the client asks: the answer is expected to be its alone.
    AsIs,
    /// The representation, or the wanted part of it, whatever the client holds of it.
    All,
    /// Whether what is stored is still good.
    Validation,
    /// The end of what is stored in part.
    Rest,
}

/// How to ask the origin, and why.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Why the request goes forward, as RFC 9211 says it.
    pub(super) forwarded: Forwarded,
    /// The same in our own words.
    pub(super) reason: Reason,
    /// Whether the answer may be stored and shared: the request is one that caches handle.
    pub(super) cacheable: bool,
    /// What the origin is asked.
    pub(super) ask: Ask,
    /// The origin is asked for the whole although the client asks for a part.
    pub(super) fills: bool,
    /// What is stored: to be validated, completed, or served if the origin fails.
    pub(super) stored: Option<Arc<StoredResponse>>,
    /// Fingerprint of the fields that the stored responses' `Vary` nominates.
    pub(super) variant: u64,
    /// The purge sequence that a flight to be joined has to have begun after.
    pub(super) after: u64,
    /// Nothing at all was found while memory had stored no more often than this.
    pub(super) missed_at: Option<u64>,
}

impl Plan {
    pub(super) fn new(forwarded: Forwarded, reason: Reason) -> Self {
        Self {
            forwarded,
            reason,
            cacheable: true,
            ask: Ask::All,
            fills: false,
            stored: None,
            variant: 0,
            after: 0,
            missed_at: None,
        }
    }

    pub(super) fn bypass(reason: Reason) -> Self {
        let forwarded = match reason {
            Reason::Method => Forwarded::Method,
            Reason::RequestNoStore => Forwarded::Request,
            _ => Forwarded::Bypass,
        };
        Self { cacheable: false, ask: Ask::AsIs, ..Self::new(forwarded, reason) }
    }

    /// The same plan where nothing is stored whatever comes: then the answer is the client's alone.
    fn for_nobody_else(self, job: &Job) -> Self {
        if job.config.store || job.by_response.is_some() {
            return self;
        }
        let ask = if self.stored.is_some() { self.ask } else { Ask::AsIs };
        Self { cacheable: false, reason: Reason::StoreOff, ask, ..self }
    }

    /// The last answer could not be shared: nobody waits for this one, and where nothing is
    /// stored it is the client's alone.
    pub(super) fn hit_for_miss(&mut self) {
        self.fills = false;
        if self.stored.is_none() {
            self.reason = Reason::HitForMiss;
            self.ask = Ask::AsIs;
        }
    }

    /// The same plan for a request that something is stored for.
    pub(super) fn with(self, job: &Job, stored: Arc<StoredResponse>, variant: u64) -> Self {
        let overrides = &job.config.policy;
        let ask = match &stored.content {
            Content::Whole(_) | Content::Coded if !stored.head.validators().is_empty() => {
                Ask::Validation
            }
            Content::Parts(_)
                if *job.method() == Method::GET
                    && !job.headers().contains_key(RANGE)
                    && partial::can_be_completed(&stored, overrides) =>
            {
                Ask::Rest
            }
            _ => Ask::All,
        };
        Self { stored: Some(stored), variant, ask, ..self }
    }
}

/// Looks up and decides: by what the request asks for itself, and where that finds nothing of use,
/// by what its URL shares with others. The job is then one for that.
pub(super) fn decide_anew(shared: &Shared, job: &mut Job, now: Timestamp) -> Decision {
    decide_anew_by(shared, job, now, |memory, key| memory.get(key, now))
}

/// The same, with another way to look into memory.
pub(super) fn decide_anew_by(
    shared: &Shared,
    job: &mut Job,
    now: Timestamp,
    get: impl Fn(&Memory, &str) -> Option<Variants>,
) -> Decision {
    if let Some(plan) = unanswerable(job) {
        return Decision::Forward(plan);
    }
    let plan = match find(shared, job, now, &get) {
        Decision::Forward(plan) => plan,
        used => return used,
    };
    // A rule on the response may have had it shared; whether it still does is asked there.
    if !job.config.policy.no_vary_search && job.by_response.is_none() {
        return Decision::Forward(plan);
    }
    let Some(search) = shared.memory.search(&job.target) else { return Decision::Forward(plan) };
    let Some(target) = search.shared(&job.target) else { return Decision::Forward(plan) };
    job.share(target, search.variation);
    match find(shared, job, now, &get) {
        // Nothing of use there either. What is stored for the URL itself can be validated; and
        // where its answers are known not to be shared, nobody is to wait for them.
        Decision::Forward(sharing)
            if sharing.stored.is_none()
                && (plan.stored.is_some()
                    || job.own().with_key_str(|key| shared.marks.holds(key, now))) =>
        {
            job.keep_to_itself();
            Decision::Forward(plan)
        }
        decision => decision,
    }
}

/// Looks up and decides.
pub(super) fn decide(shared: &Shared, job: &Job, now: Timestamp) -> Decision {
    job.target.with_key_str(|key| decide_under(shared, job, key, now))
}

/// The same for who has the request's key already.
pub(super) fn decide_under(shared: &Shared, job: &Job, key: &str, now: Timestamp) -> Decision {
    decide_under_by(shared, job, key, now, |memory, key| memory.get(key, now))
}

/// The same, with another way to look into memory.
pub(super) fn decide_under_by(
    shared: &Shared,
    job: &Job,
    key: &str,
    now: Timestamp,
    get: impl FnOnce(&Memory, &str) -> Option<Variants>,
) -> Decision {
    unanswerable(job).map_or_else(|| find_under(shared, job, key, now, get), Decision::Forward)
}

/// How the origin is asked where nothing stored can be the answer.
fn unanswerable(job: &Job) -> Option<Plan> {
    if !job.config.enabled {
        return Some(Plan::bypass(Reason::CacheOff));
    }
    if matches!(job.request.body, RequestBody::Stream(_)) {
        let method = policy::eligibility(&job.facts()).err();
        return Some(Plan::bypass(method.unwrap_or(Reason::RequestBody)));
    }
    if let Err(reason) = policy::eligibility(&job.facts()) {
        return Some(Plan::bypass(reason));
    }
    if job.edits.as_ref().is_some_and(|edits| edits.tells_unkeyed()) {
        return Some(Plan::bypass(Reason::UnkeyedEdit));
    }
    (!job.config.lookup)
        .then(|| Plan::new(Forwarded::Bypass, Reason::LookupOff).for_nobody_else(job))
}

fn find(
    shared: &Shared,
    job: &Job,
    now: Timestamp,
    get: impl FnOnce(&Memory, &str) -> Option<Variants>,
) -> Decision {
    job.target.with_key_str(|key| find_under(shared, job, key, now, get))
}

fn find_under(
    shared: &Shared,
    job: &Job,
    key: &str,
    now: Timestamp,
    get: impl FnOnce(&Memory, &str) -> Option<Variants>,
) -> Decision {
    let insertions = shared.memory.insertions();
    let found = match get(&shared.memory, key) {
        Some(variants) => among(shared, job, key, variants, now),
        None => Decision::Forward(Plan {
            missed_at: Some(insertions),
            ..Plan::new(Forwarded::UriMiss, Reason::Miss)
        }),
    };
    match found {
        Decision::Forward(plan) => Decision::Forward(plan.for_nobody_else(job)),
        other => other,
    }
}

/// Decides among what is stored under the request's key.
pub(super) fn among(
    shared: &Shared,
    job: &Job,
    key: &str,
    variants: Variants,
    now: Timestamp,
) -> Decision {
    let responses = variants.as_slice();
    let heads = responses.iter().map(|response| &response.head);
    let Some(chosen) = policy::select(heads, job.headers(), &job.config.policy) else {
        let variant = fingerprint(responses.first(), job);
        let plan = Plan::new(Forwarded::VaryMiss, Reason::VaryMismatch);
        return Decision::Forward(Plan { variant, ..plan });
    };
    let Some(stored) = responses.get(chosen) else {
        return Decision::Forward(Plan::new(Forwarded::Miss, Reason::Miss));
    };
    let variant = fingerprint(Some(stored), job);
    let validity = match shared.memory.standing(key, &stored.stamp) {
        Standing::Valid => Validity::Valid,
        Standing::Soft => Validity::SoftPurged,
        Standing::Doubtful => Validity::Doubtful,
        Standing::Hard => {
            return Decision::Forward(Plan {
                variant,
                ..Plan::new(Forwarded::UriMiss, Reason::Miss)
            });
        }
    };
    if !compress::is_at_hand(stored, job) {
        return Decision::Decode(Arc::clone(stored));
    }
    let config = job.config_for(&stored.head);
    // What was stored under other settings is not for completing either.
    if stored.head.reads_alike(&config.policy) && !covers(stored, job) {
        let plan = Plan::new(Forwarded::Partial, Reason::PartialMiss);
        return Decision::Forward(plan.with(job, Arc::clone(stored), variant));
    }
    let (directives, overrides) = (job.directives(), &config.policy);
    match policy::reuse(&stored.head, &job.facts(), &directives, overrides, validity, now) {
        Reuse::Fresh => used(variants, chosen, None),
        Reuse::Stale(grant) => used(variants, chosen, Some(grant)),
        // Past all use: not even its validators are worth sending.
        Reuse::Validate(_) if now > stored.head.expires_from_store_at(overrides) => {
            Decision::Forward(Plan { variant, ..Plan::new(Forwarded::UriMiss, Reason::Miss) })
        }
        Reuse::Validate(reason) => {
            // What has just failed after a while would do so again: nobody has to wait for that.
            let expected = shared.setbacks.get(key, variant, now).and_then(|it| it.expected(now));
            if let Some(failed) = expected
                && let Some(grant) = super::failure_grant(job, stored, failed, now)
            {
                return Decision::Use(Arc::clone(stored), Some(grant));
            }
            let forwarded = match reason {
                Reason::RequestNoCache | Reason::RequestMaxAge | Reason::RequestMinFresh => {
                    Forwarded::Request
                }
                _ => Forwarded::Stale,
            };
            Decision::Forward(Plan::new(forwarded, reason).with(job, Arc::clone(stored), variant))
        }
        Reuse::Unusable(reason) => {
            Decision::Forward(Plan { variant, ..Plan::new(Forwarded::Miss, reason) })
        }
    }
}

fn used(variants: Variants, chosen: usize, grant: Option<StaleGrant>) -> Decision {
    match variants.into_nth(chosen) {
        Some(stored) => Decision::Use(stored, grant),
        None => Decision::Forward(Plan::new(Forwarded::Miss, Reason::Miss)),
    }
}

/// Whether what is there of the body can answer the request.
pub(super) fn covers(stored: &StoredResponse, job: &Job) -> bool {
    match &stored.content {
        Content::Whole(_) | Content::Coded => true,
        // Only GET has ranges (RFC 9110 §14.2).
        Content::Parts(_) if *job.method() != Method::GET => false,
        Content::Parts(parts) => {
            let held = parts.ranges();
            let answer =
                range::evaluate_partial(job.headers(), &stored.head, &held, parts.complete);
            matches!(answer, PartialAnswer::Covers(_))
        }
    }
}

pub(super) fn fingerprint(stored: Option<&Arc<StoredResponse>>, job: &Job) -> u64 {
    let vary = stored.and_then(|stored| stored.head.vary());
    vary.map_or(0, |vary| vary.fingerprint_for(job.headers()))
}
