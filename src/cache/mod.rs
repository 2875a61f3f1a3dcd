//! The cache: look up, decide, act.
//!
//! A request is looked up in memory and judged by [`crate::policy`], without waiting. A usable
//! response is answered at once. Everything else goes `forward`: alone, or with others that want
//! the same; what comes of the origin's answer is decided in `conclude`.

mod conclude;
mod config;
mod edit;
mod fetch;
pub mod fill;
mod forward;
mod keep;
mod lookup;
mod marks;
mod multipart;
mod partial;
mod pump;
mod respond;
mod setback;
mod tier;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tower::Service;

pub use config::{ByResponse, Config};
use fill::Fill;
use lookup::{Decision, Plan};
use marks::Marks;
use setback::{Setback, Setbacks};

use crate::body::Body;
use crate::clock::{Clock, Timestamp};
use crate::coalesce::{FlightOutcome, Flights, Leader};
use crate::context::{Interims, Request, Response};
use crate::error::{ErrorKind, ProxyError};
use crate::key::{CacheKey, Target};
use crate::limit::Limit;
use crate::policy::{Failure, RequestDirectives, RequestFacts, StaleGrant, StoredHead, on_failure};
use crate::rules::RequestEdits;
use crate::store::remote::Tier;
use crate::store::{Memory, Mode, Scope, Stamp, Standing, StoredResponse};

/// A request for the cache, with what its route says.
#[derive(Debug)]
pub struct Job {
    /// The request.
    pub request: Request,
    /// Its effective URI, in normal form.
    pub target: Target,
    /// How its route and the rules cache, as far as that is known.
    pub config: Arc<Config>,
    /// Rules that wait for a response, if there are any.
    pub by_response: Option<Arc<dyn ByResponse>>,
    /// What the origin is told otherwise than the client says; nothing here is decided by it.
    pub edits: Option<Arc<RequestEdits>>,
    /// Index of the upstream.
    pub upstream: usize,
    /// Whether the peer is trusted to drive the cache by request directives.
    pub trusted: bool,
}

/// A request for an origin.
#[derive(Debug)]
pub struct Fetch {
    /// Index of the upstream.
    pub upstream: usize,
    /// The effective URI.
    pub target: Target,
    /// What to send; its URI is the effective one.
    pub request: Request,
    /// What is changed of it on its way.
    pub edits: Option<Arc<RequestEdits>>,
    /// Where interim responses go.
    pub interims: Option<Interims>,
    /// Whether the peer's forwarding fields are believed.
    pub trusted: bool,
}

/// The cache as a service, over one that reaches origins.
#[derive(Clone, Debug)]
pub struct Cache<S> {
    shared: Arc<Shared>,
    origin: S,
}

/// What all cores share.
#[derive(Debug)]
pub struct Shared {
    memory: Memory,
    /// What all nodes share, behind memory. Nothing that memory answers looks at it.
    tier: Option<Tier>,
    flights: Flights<FlightKey, Arc<Fill<Filling>>, Failed>,
    /// Keys whose answers could not be shared: nobody waits for the next (hit-for-miss).
    marks: Marks,
    /// Variants of keys whose last fetch failed while they were stored.
    setbacks: Setbacks,
    clock: Clock,
    /// Requests that wait for an origin's answer.
    waiting: Limit,
    /// Fills and refreshes, which belong to no client.
    background: TaskTracker,
    /// One for each fetch that goes on although nobody waits for it.
    graces: Arc<Semaphore>,
}

/// Fetches that go on for their `fill_grace` although their clients have left. More end at once:
/// clients who ask and leave (CVE-2023-44487) would have the origin work for nobody.
const MOST_GRACES: usize = 256;

/// What a flight is for: one variant of one key, or one range of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FlightKey {
    key: CacheKey,
    /// Fingerprint of the fields that `Vary` nominates; 0 while that is not known.
    variant: u64,
    range: Option<Bytes>,
    /// The purge sequence that the flight has to have begun after; 0 unless one was found to be
    /// older than a purge.
    after: u64,
}

type FlightLeader = Leader<FlightKey, Arc<Fill<Filling>>, Failed>;
type FetchOutcome = FlightOutcome<Arc<Fill<Filling>>, Failed>;

/// What followers of a fill need to know beside its body.
#[derive(Debug)]
struct Filling {
    head: StoredHead,
    /// When its fetch began, in the sequence of purges.
    stamp: Stamp,
}

/// How a fetch failed, as its followers are told.
#[derive(Clone, Copy, Debug)]
enum Failed {
    /// No (whole) response came.
    NoResponse(ErrorKind),
    /// An error response came.
    Status(StatusCode),
}

/// The origin, as the cache sees it.
pub trait Origin:
    Service<Fetch, Response = http::Response<Body>, Error = ProxyError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Origin for S where
    S: Service<Fetch, Response = http::Response<Body>, Error = ProxyError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

impl Shared {
    /// An empty cache in front of nothing yet. `background` tracks the work that outlives its
    /// client, `waiting` bounds those that memory cannot answer.
    #[must_use]
    pub fn new(memory: Memory, clock: Clock, background: TaskTracker, waiting: Limit) -> Self {
        Self {
            memory,
            tier: None,
            flights: Flights::new(),
            marks: Marks::new(),
            setbacks: Setbacks::new(),
            clock,
            waiting,
            background,
            graces: Arc::new(Semaphore::new(MOST_GRACES)),
        }
    }

    /// The same, with a tier behind memory.
    #[must_use]
    pub fn backed_by(self, tier: Tier) -> Self {
        Self { tier: Some(tier), ..self }
    }

    /// The tier behind memory, if there is one.
    #[must_use]
    pub fn tier(&self) -> Option<&Tier> {
        self.tier.as_ref()
    }

    /// Purges, here and in the tier behind, and returns the purge's sequence number.
    pub fn purge(&self, scope: Scope, mode: Mode) -> u64 {
        let Some(tier) = &self.tier else { return self.memory.purge(scope, mode) };
        let sequence = self.memory.purge(scope.clone(), mode);
        tier.purged(&scope, mode, sequence, self.clock.now());
        sequence
    }

    /// Purges all of them, and returns the last one's sequence number.
    pub fn purge_each(&self, scopes: Vec<Scope>, mode: Mode) -> u64 {
        let last = scopes.into_iter().map(|scope| self.purge(scope, mode)).last();
        last.unwrap_or_else(|| self.memory.sequence())
    }

    /// Drops one response of `key` from memory, and all of them from the tier behind.
    fn remove(&self, key: &CacheKey, old: &Arc<StoredResponse>) {
        self.memory.remove(key, old);
        if let Some(tier) = &self.tier {
            tier.forget(key);
        }
    }

    /// The store.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The clock that policy is asked with.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether a hard purge has taken away what a request still holds.
    fn is_gone(&self, job: &Job, stored: &StoredResponse) -> bool {
        let standing = |key: &str| self.memory.standing_outside(key, &stored.stamp);
        job.target.with_key_str(standing) == Standing::Hard
    }

    /// The stale answer that a failed fetch allows, if what is stored can answer the request: not
    /// what a purge has taken away, nor a part that does not hold what is asked.
    fn grant_on_failure(
        &self,
        job: &Job,
        stored: &StoredResponse,
        failed: Failed,
        now: Timestamp,
    ) -> Option<StaleGrant> {
        if self.is_gone(job, stored) || !lookup::covers(stored, job) {
            return None;
        }
        failure_grant(job, stored, failed, now)
    }

    /// Remembers that a fetch failed that was to replace what is stored of a variant.
    fn remember_failure(&self, key: &CacheKey, variant: u64, failed: Failed, began: Timestamp) {
        let now = self.clock.now();
        let setback = Setback::new(failed, now.since(began), now);
        self.setbacks.set(key, variant, setback, now);
    }

    /// A fetch of a variant succeeded, and its answer may be shared.
    fn forget_trouble(&self, key: &CacheKey, variant: u64) {
        self.marks.clear(key);
        self.setbacks.clear(key, variant);
    }

    /// Requests that wait for an origin's answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.taken()
    }

    /// Fetches under way that others may join.
    #[must_use]
    pub fn flights(&self) -> usize {
        self.flights.len()
    }
}

/// What a failed fetch allows for what is stored, all else being right.
fn failure_grant(
    job: &Job,
    stored: &StoredResponse,
    failed: Failed,
    now: Timestamp,
) -> Option<StaleGrant> {
    let failure = match failed {
        // The origin is there, and was spared: this is no disconnection (RFC 9111 §4.2.4).
        Failed::NoResponse(kind) if kind.is_shed() => Failure::Status(kind.status()),
        Failed::NoResponse(_) => Failure::NoResponse,
        Failed::Status(status) => Failure::Status(status),
    };
    let config = job.config_for(&stored.head);
    let policy = &config.policy;
    let directives = job.directives().effective(policy.request_directives, job.trusted);
    on_failure(&stored.head, &directives, policy, failure, now)
}

impl<S> Cache<S> {
    /// The cache in front of `origin`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, origin: S) -> Self {
        Self { shared, origin }
    }
}

impl<S: Origin> Cache<S> {
    /// Answers from memory; what is stale and may be served while it is refreshed, is refreshed.
    fn serve(
        &self,
        stored: &Arc<StoredResponse>,
        grant: Option<StaleGrant>,
        job: &Job,
    ) -> Response {
        // What a client accepts of its own accord is not the origin's concern.
        if grant.is_some_and(|grant| grant != StaleGrant::RequestMaxStale) {
            self.refresh(job, stored);
        }
        let now = self.shared.clock.now();
        let outcome = respond::hit_outcome(stored, grant, job, now);
        job.edited(respond::answer(stored, job, outcome, now))
    }

    /// Refuses what would have to wait beside too many others, unless what is stored will do.
    fn shed(&self, job: &Job, plan: &Plan) -> Result<Response, ProxyError> {
        let (kind, now) = (ErrorKind::TooManyWaiting, self.shared.clock.now());
        let stored = plan.stored.as_ref().and_then(|stored| {
            let grant = self.shared.grant_on_failure(job, stored, Failed::NoResponse(kind), now)?;
            let outcome = respond::hit_outcome(stored, Some(grant), job, now);
            Some(job.edited_by(
                &job.config_for(&stored.head),
                respond::answer(stored, job, outcome, now),
            ))
        });
        stored.ok_or_else(|| kind.into())
    }
}

impl<S: Origin> Service<Job> for Cache<S> {
    type Response = Response;
    type Error = ProxyError;
    type Future = CacheFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut job: Job) -> CacheFuture {
        let now = self.shared.clock.now();
        match lookup::decide(&self.shared, &job, now) {
            Decision::Use(stored, grant) => {
                job.settle(&stored.head);
                CacheFuture::Ready(Some(Ok(self.serve(&stored, grant, &job))))
            }
            Decision::Forward(plan) => match self.shared.waiting.enter() {
                Some(place) => {
                    let forward = forward::forward(self.clone(), job, plan, place);
                    CacheFuture::Forward(Box::pin(forward))
                }
                None => CacheFuture::Ready(Some(self.shed(&job, &plan))),
            },
        }
    }
}

/// Resolves at once for what is in memory; boxed only for what goes forward.
pub enum CacheFuture {
    /// Answered from memory, or refused.
    Ready(Option<Result<Response, ProxyError>>),
    /// On its way to the origin.
    Forward(Pin<Box<dyn Future<Output = Result<Response, ProxyError>> + Send>>),
}

impl Future for CacheFuture {
    type Output = Result<Response, ProxyError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(answer) => {
                Poll::Ready(answer.take().unwrap_or_else(|| Err(ErrorKind::Internal.into())))
            }
            Self::Forward(future) => future.as_mut().poll(cx),
        }
    }
}

impl std::fmt::Debug for CacheFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Ready",
            Self::Forward(_) => "Forward",
        })
    }
}

impl From<Job> for Fetch {
    /// The request as it is, past the cache.
    fn from(job: Job) -> Self {
        let Job { mut request, target, edits, upstream, trusted, .. } = job;
        request.head.uri = target.uri();
        let interims = request.open_interims();
        Self { upstream, target, request, edits, interims, trusted }
    }
}

impl Job {
    /// The settings for a stored response.
    fn config_for(&self, head: &StoredHead) -> Cow<'_, Arc<Config>> {
        match &self.by_response {
            None => Cow::Borrowed(&self.config),
            Some(rules) => Cow::Owned(rules.settings(head.status(), &head.header_map())),
        }
    }

    /// Keeps to the settings for a stored response.
    fn settle(&mut self, head: &StoredHead) {
        if let Cow::Owned(config) = self.config_for(head) {
            self.config = config;
        }
    }

    /// Keeps to the settings for a response that came.
    fn settle_for(&mut self, status: StatusCode, headers: &HeaderMap) {
        if let Some(rules) = &self.by_response {
            self.config = rules.settings(status, headers);
        }
    }

    fn method(&self) -> &Method {
        &self.request.head.method
    }

    fn headers(&self) -> &HeaderMap {
        &self.request.head.headers
    }

    fn facts(&self) -> RequestFacts<'_> {
        RequestFacts { method: self.method(), headers: self.headers(), trusted: self.trusted }
    }

    fn directives(&self) -> RequestDirectives {
        RequestDirectives::parse(self.headers())
    }
}
