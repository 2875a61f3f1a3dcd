//! A full response from the origin: kept on its way to the client, or passed on.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, SET_COOKIE};
use http::response::Parts as ResponseHead;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::conclude::{Concluded, Conclusion, Verdict, done};
use super::fill::{Fill, Limits};
use super::partial::{self, PartialDeposit};
use super::pump::{Deposit, Pump};
use super::ranges::Source;
use super::{Filling, compress, respond};
use crate::body::Body;
use crate::budget::Charge;
use crate::coalesce::FlightOutcome;
use crate::context::Outcome;
use crate::error::ErrorKind;
use crate::key::CacheKey;
use crate::policy::{
    self, CacheControl, ContentRange, NO_VARY_SEARCH, Reason, SearchVariation, Storability,
    StoredHead,
};
use crate::rules::{Label, Labels, TooManyTags};
use crate::store::{Mode, Scope, Stamp, Standing, StoredResponse};

/// Whether a response may be stored; if so, what it says to caches, where that was read of it.
type Permit = Result<Option<CacheControl>, Reason>;

impl Conclusion<'_> {
    /// A full response: stored on its way to the client, or passed on.
    pub(super) fn replace(mut self, head: ResponseHead, body: Body) -> Verdict {
        self.invalidate(&head);
        let lines = head.headers.get_all(&NO_VARY_SEARCH);
        self.keep_to_itself(head.status, lines.iter());
        let permit = self.storability(&head);
        if !self.plan.fills || head.status != StatusCode::OK {
            return done(self.store(head, body, permit));
        }
        let source = self.source(&head, permit.is_ok());
        self.mark_parts(&head, source);
        match (source, permit) {
            (Source::Whole, permit) => done(self.store(head, body, permit)),
            (Source::OriginToo, permit) => {
                let plan = self.plan.clone().pass_part();
                Verdict::Part(Box::new((plan, self.store(head, body, permit).pump)))
            }
            (Source::Origin, permit) => {
                let plan = self.plan.clone().pass_part();
                self.release(self.key().as_str(), permit.err().unwrap_or(Reason::RangePass));
                Verdict::Part(Box::new((plan, None)))
            }
        }
    }

    /// Stores what may be stored, if there is room for it; passes on the rest.
    fn store(mut self, mut head: ResponseHead, body: Body, permit: Permit) -> Concluded {
        let kept = permit.and_then(|control| {
            let own = self.key();
            let length = content_length(&head.headers);
            let charge = self.reserve(length)?;
            let tagged = self.job.config.tags.are_in(&head.headers);
            let (stored_head, partial) = self.stored_head(&own, &head, control, tagged)?;
            let labels = self.labels(&stored_head, tagged)?;
            Ok((own, length, charge, tagged, stored_head, labels, partial))
        });
        let (own, length, charge, tagged, stored_head, labels, partial) = match kept {
            Ok(kept) => kept,
            Err(reason) => return self.pass(head, body, reason),
        };
        let job = self.job;
        let limits = Limits {
            max_object_size: job.config.max_object_size,
            window: job.config.window as u64,
            stall_timeout: job.config.stall_timeout,
        };
        let sequence = self.started.sequence;
        let stamp = || Stamp::new(sequence, labels.clone());
        let filling = Filling { head: stored_head.clone(), stamp: stamp() };
        let (fill, writer) = Fill::new(filling, length, limits);
        let outcome = Outcome {
            stored: true,
            ttl: Some(stored_head.ttl(&job.config.policy, self.now)),
            ..self.outcome(head.status, self.plan.reason_kept())
        };
        if tagged {
            job.config.tags.hide(&mut head.headers);
        }
        // Before it is announced: this request's reader keeps the fill wanted.
        let response = respond::filling(&fill, head, job, &self.plan, outcome);
        if self.for_itself {
            self.leave_others();
        }
        let shared_key = self.learn(&stored_head);
        // What is stored for this URL alone would be found first.
        let outdated = shared_key.as_ref().and_then(|_| self.plan.stored.clone());
        let instead_of = outdated.map(|stored| (own.clone(), stored));
        let key = shared_key.unwrap_or_else(|| own.clone());
        let replaces = self.plan.stored.is_some() && self.leader.is_some();
        let replaces_since = replaces.then_some(self.started.at);
        let mut fresh_for = None;
        if let Some(reason) = self.unshareable(&stored_head) {
            self.release(own.as_str(), reason);
            self.leader = None;
        } else {
            self.shared.forget_trouble(&own, self.plan.variant);
            fresh_for = u64::try_from(outcome.ttl.unwrap_or(0)).ok().map(Duration::from_secs);
            // What is combined with stored parts is whole only once it is stored: its followers
            // wait for that.
            if partial.as_ref().is_none_or(PartialDeposit::stands_alone)
                && let Some(leader) = &mut self.leader
            {
                leader.announce(FlightOutcome::Shared(fill));
            }
        }
        let shared = Arc::clone(self.shared);
        let graces = Some(Arc::clone(&shared.graces));
        let useless_at = stored_head.expires_from_store_at(&job.config.policy);
        let (variant, copy) = (self.plan.variant, job.wanted_copy(&stored_head));
        let (head, stamp) = (stored_head, stamp());
        let began = self.is_for_all().then_some(self.started.at);
        if partial.is_some() || began.is_none() || !self.is_for_fleet(&key, length) {
            self.leave_fleet();
        }
        let deposit = Deposit {
            shared,
            key,
            variant,
            head,
            stamp,
            began,
            replaces_since,
            instead_of,
            useless_at,
            partial,
            copy,
        };
        let leader = self.leader;
        let grace = job.config.fill_grace;
        let pump = Pump {
            body,
            writer,
            charge,
            trailers: None,
            leader,
            fresh_for,
            grace,
            graces,
            deposit,
        };
        let response = response.ok_or_else(|| ErrorKind::Internal.into());
        Concluded { response, pump: Some(Box::new(pump)) }
    }

    /// Whether other nodes will find it in Redis, as far as that can be told by now.
    fn is_for_fleet(&self, key: &CacheKey, length: Option<u64>) -> bool {
        let tier = self.shared.tier.as_ref();
        tier.is_some_and(|tier| tier.would_take(key, length.unwrap_or(0)))
    }

    /// The head to store, and for a part of something where it belongs. Its tags are hidden where it
    /// is `tagged`.
    fn stored_head(
        &self,
        key: &CacheKey,
        head: &ResponseHead,
        control: Option<CacheControl>,
        tagged: bool,
    ) -> Result<(StoredHead, Option<PartialDeposit>), Reason> {
        let (job, times) = (self.job, self.times());
        let tags = || job.config.tags.fields();
        if head.status == StatusCode::PARTIAL_CONTENT {
            let placed = partial::place(head, self.plan.stored.as_deref(), job, times);
            let (stored_head, deposit) = placed.ok_or(Reason::PartialUnusable)?;
            return Ok((stored_head.hiding(tags()), Some(deposit)));
        }
        let policy = &job.config.policy;
        let control = control.unwrap_or_else(|| CacheControl::parse(&head.headers, policy));
        let said = (head.status, &head.headers);
        let new = StoredHead::saying(control, key.as_str(), &job.facts(), said, times, policy);
        Ok((if tagged { new.hiding(tags()) } else { new }, None))
    }

    /// What the response can be purged by beside its URL; only what is said of the URL itself where
    /// the head is not `tagged`.
    pub(super) fn labels(
        &self,
        head: &StoredHead,
        tagged: bool,
    ) -> Result<Option<Arc<Labels>>, Reason> {
        if !tagged && self.job.config.tags.add.is_empty() {
            return Ok(None);
        }
        let lines = |name| tagged.then(|| head.get_all(name)).into_iter().flatten();
        let labels = self.job.config.tags.labels(self.job.own(), lines);
        let labels = labels.map_err(|TooManyTags| Reason::TooManyTags)?;
        Ok(labels.map(Arc::new))
    }

    /// Notes whether a response answers no URL but its own, although the request was for what
    /// several share. An error does, whatever it says: it must not speak for others.
    pub(super) fn keep_to_itself<L: AsRef<[u8]>>(
        &mut self,
        status: StatusCode,
        lines: impl IntoIterator<Item = L>,
    ) {
        if let Some(shares) = &self.job.shares {
            let said = SearchVariation::parse(lines).filter(|_| speaks_for_others(status));
            self.for_itself = said.as_ref() != Some(&*shares.variation);
        }
    }

    /// The key of what the URL shares with others, where the response is the first to say that it
    /// does, or the first to say so in these words.
    fn learn(&self, head: &StoredHead) -> Option<CacheKey> {
        let (job, known) = (self.job, self.job.shares.as_ref());
        let learns = job.config.policy.no_vary_search
            && *job.method() == Method::GET
            && speaks_for_others(head.status())
            && known.is_none_or(|_| self.for_itself);
        let said = learns.then(|| SearchVariation::parse(head.get_all(&NO_VARY_SEARCH)))??;
        let search = self.shared.memory.learn(job.own(), said, self.started.sequence)?;
        Some(search.shared(job.own())?.key())
    }

    /// The rest of a representation of which the first part is stored: the client gets both.
    pub(super) fn complete(
        self,
        stored: &Arc<StoredResponse>,
        head: ResponseHead,
        body: Body,
        rest: ContentRange,
    ) -> Concluded {
        let job = self.job;
        let first = partial::first(stored, rest.start);
        let whole = ContentRange { start: 0, ..rest };
        let policy = &job.config.policy;
        let complete =
            stored.head.combined(&head.headers, whole, self.times(), policy, &job.facts());
        let complete = complete.hiding(job.config.tags.fields());
        let permit = allowed(complete.storable(&job.facts(), policy)).map(|()| None);
        let now = self.now;
        let cookies: Vec<_> = head.headers.get_all(SET_COOKIE).iter().cloned().collect();
        let mut concluded = self.store(head, body, permit);
        if let Ok(response) = &mut concluded.response
            // A 304 to the client's own precondition stays one.
            && response.http.status() == StatusCode::PARTIAL_CONTENT
        {
            let rest = std::mem::take(response.http.body_mut());
            *response.http.status_mut() = StatusCode::OK;
            *response.http.headers_mut() = respond::head_fields(&complete, job, now);
            compress::vary(&complete, job, response.http.headers_mut());
            // Not stored: they are this client's.
            response.http.headers_mut().extend(cookies.into_iter().map(|it| (SET_COOKIE, it)));
            *response.http.body_mut() = Body::Chain([first, rest].into());
        }
        concluded
    }

    fn storability(&self, head: &ResponseHead) -> Permit {
        let job = self.job;
        let policy = &job.config.policy;
        let candidate = match *job.method() {
            Method::GET => self.plan.cacheable,
            Method::POST if job.config.enabled && !job.differs_at_origin() => {
                policy::post_is_reusable(&job.target, head.status, &head.headers, policy)
            }
            _ => false,
        };
        if !candidate {
            return Err(self.plan.reason);
        }
        if !job.config.store {
            return Err(Reason::StoreOff);
        }
        if job.varies_by_client(&head.headers) {
            return Err(Reason::VaryClient);
        }
        policy::permit(&job.facts(), head.status, &head.headers, policy).map(Some)
    }

    /// Memory for the body, as far as its `length` is known.
    fn reserve(&self, length: Option<u64>) -> Result<Charge, Reason> {
        let length = length.unwrap_or(0);
        if length > self.job.config.max_object_size {
            return Err(Reason::TooLarge);
        }
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        self.shared.memory.charge(bytes).ok_or(Reason::OverBudget)
    }

    /// RFC 9111 §4.4, RFC 9875 §3: what an unsafe method has changed is no longer good.
    fn invalidate(&mut self, head: &ResponseHead) {
        let job = self.job;
        let urls = policy::invalidated(job.method(), head.status, &job.target, &head.headers);
        let groups = policy::invalidated_groups(job.method(), &head.headers);
        // A name that no response can have needs no purge.
        let groups =
            groups.iter().filter_map(|name| Label::group(&job.target, name.as_bytes()).ok());
        let mut scopes =
            urls.into_iter().map(Scope::Url).chain(groups.map(Scope::Label)).peekable();
        let mut latest = if scopes.peek().is_some() { self.unpurged(head) } else { None };
        for scope in scopes {
            let numbers = self.shared.purge(scope, Mode::Hard);
            let (first, last) = numbers.into_inner();
            // What this response itself invalidates is older than it; no other purge is.
            let alone = |latest: &u64| first == latest + 1 && last <= first + 1;
            latest = latest.filter(alone).map(|_| last);
            self.started.sequence = latest.unwrap_or(self.started.sequence);
        }
    }

    /// The latest purge, where none since the fetch began concerns the response.
    fn unpurged(&self, head: &ResponseHead) -> Option<u64> {
        let (job, memory) = (self.job, &self.shared.memory);
        let latest = memory.sequence();
        let lines = |name: &HeaderName| head.headers.get_all(name).into_iter().cloned();
        let labels = job.config.tags.labels(&job.target, lines).ok()?;
        let stamp = Stamp::new(self.started.sequence, labels.map(Arc::new));
        let standing = memory.standing_outside(self.key().as_str(), &stamp);
        (standing == Standing::Valid).then_some(latest)
    }
}

/// Whether a response may answer URLs that it was not asked for.
fn speaks_for_others(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

fn allowed(storability: Storability) -> Result<(), Reason> {
    match storability {
        Storability::Store => Ok(()),
        Storability::DoNotStore(reason) => Err(reason),
    }
}

/// The announced length of a body, from a valid `Content-Length`.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes).and_then(|value| {
        value
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| std::str::from_utf8(value).ok()?.parse().ok())?
    })
}
