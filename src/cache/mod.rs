//! The cache: look up, decide, act.
//!
//! A request is looked up in memory and judged by [`crate::policy`], without waiting. A usable
//! response is answered at once. Everything else goes `forward`: alone, or with others that want
//! the same; what comes of the origin's answer is decided in `conclude`.

mod compress;
mod conclude;
mod config;
mod edit;
mod errand;
mod examine;
mod fetch;
pub mod fill;
mod forward;
mod freshen;
mod job;
mod keep;
mod leader;
mod led;
mod lookup;
mod marks;
mod multipart;
mod pace;
mod partial;
mod pump;
mod purge;
mod ranges;
mod ready;
mod respond;
mod setback;
mod tier;
mod turn;

use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use foldhash::quality::RandomState;
use http::StatusCode;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tower::Service;

pub use config::{ByResponse, Config, Protect};
pub use errand::{Errand, Ran};
pub use examine::{Examined, Refresh, Trouble, Would};
use fill::Fill;
pub use job::{Fetch, Job, Shares};
use leader::FlightLeader;
pub use led::Led;
use lookup::{Decision, Plan};
use marks::Marks;
use pace::Pace;
pub use purge::{Missing, Purged};
pub use ranges::Ranges;
use setback::{Setback, Setbacks};

use crate::body::Body;
use crate::clock::{Clock, Timestamp};
use crate::coalesce::{FlightOutcome, Flights};
use crate::context::Response;
use crate::error::{ErrorKind, ProxyError};
use crate::key::CacheKey;
use crate::limit::Limit;
use crate::policy::{self, Failure, StaleGrant, StoredHead, VaryKey, on_failure};
use crate::store::remote::Tier;
use crate::store::{Memory, Stamp, Standing, StoredResponse};

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
    /// One for each copy in another coding that may be made at once.
    compressors: Arc<Semaphore>,
    /// One for each copy that may be decoded at once.
    decoders: Arc<Semaphore>,
    /// One for each fetch that goes on although nobody waits for it.
    graces: Arc<Semaphore>,
    /// At which what purges have made stale is refreshed.
    pace: Pace,
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
            compressors: Arc::new(Semaphore::new(compress::compressors())),
            decoders: Arc::new(Semaphore::new(compress::decoders())),
            graces: Arc::new(Semaphore::new(MOST_GRACES)),
            pace: Pace::new(),
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

    /// What purges have made stale is refreshed so many times a second for each upstream, beyond what
    /// clients wait for; zero for no bound.
    pub fn refresh_at(&self, rate: u32) {
        self.pace.set(rate);
    }

    /// How often a refresh was put off for that.
    #[must_use]
    pub fn refreshes_put_off(&self) -> u64 {
        self.pace.put_off()
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

    /// Remembers that a fetch failed that was to replace what is stored of a variant; unless what
    /// is stored by now came while it was under way: the origin has been well since.
    fn remember_failure(&self, key: &CacheKey, variant: u64, failed: Failed, began: Timestamp) {
        let came_since = |stored: &Arc<StoredResponse>| {
            let of = stored.head.vary().map_or(0, VaryKey::fingerprint);
            of == variant && stored.head.response_at() > began
        };
        let stored = self.memory.peek(key.as_str());
        if stored.is_some_and(|variants| variants.as_slice().iter().any(came_since)) {
            return;
        }
        let now = self.clock.now();
        let setback = Setback::new(failed, now.since(began), now);
        self.setbacks.set(key, variant, setback, now);
    }

    /// How the last fetch of what a request wants failed, if the origin is to be left alone for a
    /// while after that.
    fn spared(&self, job: &Job, plan: &Plan, now: Timestamp) -> Option<Failed> {
        if job.config.protect == Protect::Client || !plan.cacheable {
            return None;
        }
        let setback = job.target.with_key_str(|key| self.setbacks.get(key, plan.variant, now))?;
        let spared = setback.is_quiet(now) && !job.directives().only_if_cached;
        spared.then(|| setback.failed())
    }

    /// A fetch of a variant succeeded, and its answer may be shared.
    fn forget_trouble(&self, key: &CacheKey, variant: u64) {
        self.marks.clear(key.as_str());
        self.setbacks.clear(key, variant);
    }

    /// Requests that wait for an origin's answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.taken()
    }

    /// Copies in other codings that are being made.
    #[must_use]
    pub fn compressing(&self) -> usize {
        compress::compressors() - self.compressors.available_permits()
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

/// An even number: every state is seeded anew, from what is this thread's own.
fn random() -> u32 {
    RandomState::default().hash_one(()) as u32
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
        now: Timestamp,
    ) -> Response {
        // What a client accepts of its own accord is not the origin's concern.
        let due = match grant {
            None => policy::is_due_early(&stored.head, &job.config.policy, now, random),
            Some(grant) => grant != StaleGrant::RequestMaxStale,
        };
        if due && job.config.store {
            self.refresh(job, stored);
        }
        let outcome = respond::hit_outcome(stored, grant, job, now);
        let choice = compress::choose_of(stored, job);
        self.shared.heed(choice.wish, stored, job);
        job.edited(respond::answer_in(&choice, stored, job, outcome, now), now)
    }

    /// Refuses what would have to wait beside too many others, unless what is stored will do.
    fn shed(&self, job: &Job, plan: &Plan) -> Result<Response, ProxyError> {
        let kind = ErrorKind::TooManyWaiting;
        self.refuse(job, plan, Failed::NoResponse(kind), kind)
    }

    /// Does without an origin that has just failed: what is stored is as good as after another
    /// failure.
    fn spare(&self, job: &Job, plan: &Plan, failed: Failed) -> Result<Response, ProxyError> {
        self.refuse(job, plan, failed, ErrorKind::OriginSpared)
    }

    fn refuse(
        &self,
        job: &Job,
        plan: &Plan,
        failed: Failed,
        kind: ErrorKind,
    ) -> Result<Response, ProxyError> {
        let now = self.shared.clock.now();
        let stored = plan.stored.as_ref().and_then(|stored| {
            let grant = self.shared.grant_on_failure(job, stored, failed, now)?;
            let outcome = respond::hit_outcome(stored, Some(grant), job, now);
            let response = respond::answer(stored, job, outcome, now);
            Some(job.edited_by(&job.config_for(&stored.head), response, now))
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
        job.forget_part_by_date();
        let now = self.shared.clock.now();
        match lookup::decide_anew(&self.shared, &mut job, now) {
            Decision::Use(stored, grant) => {
                job.settle(&stored.head);
                CacheFuture::Ready(Some(Ok(self.serve(&stored, grant, &job, now))))
            }
            Decision::Decode(stored) => match self.shared.waiting.enter() {
                Some(place) => {
                    let decode = compress::decode_first(self.clone(), job, stored, place);
                    CacheFuture::Forward(Box::pin(decode))
                }
                None => CacheFuture::Ready(Some(Err(ErrorKind::TooManyWaiting.into()))),
            },
            Decision::Forward(plan) => match self.shared.waiting.enter() {
                Some(place) => {
                    if let Some(failed) = self.shared.spared(&job, &plan, now) {
                        return CacheFuture::Ready(Some(self.spare(&job, &plan, failed)));
                    }
                    self.clone().forward(job, plan, now, place)
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
    /// On its way to the origin, for others too.
    Led(Led),
    /// On its way to the origin otherwise.
    Forward(Pin<Box<dyn Future<Output = Result<Response, ProxyError>> + Send>>),
}

impl Future for CacheFuture {
    type Output = Result<Response, ProxyError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(answer) => {
                Poll::Ready(answer.take().unwrap_or_else(|| Err(ErrorKind::Internal.into())))
            }
            Self::Led(led) => Pin::new(led).poll(cx),
            Self::Forward(future) => future.as_mut().poll(cx),
        }
    }
}

impl std::fmt::Debug for CacheFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Ready",
            Self::Led(_) => "Led",
            Self::Forward(_) => "Forward",
        })
    }
}
