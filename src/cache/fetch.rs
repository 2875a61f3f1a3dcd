//! Asking the origin: what is sent, by whom, and for how long anybody has to want the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, IF_MODIFIED_SINCE, IF_NONE_MATCH, PRAGMA};
use http::{HeaderMap, Method};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use super::conclude::{Concluded, Started, conclude};
use super::errand::NotNow;
use super::lookup::{self, Ask, Plan};
use super::tier::Tiered;
use super::{Cache, Fetch, FlightKey, FlightLeader, Job, Origin, Shared, partial};
use crate::context::{Forwarded, Interims, Response};
use crate::error::{ErrorKind, ProxyError};
use crate::limit::Place;
use crate::policy::{self, Reason};
use crate::store::{Standing, StoredResponse};

/// For whom a leader fetches.
enum Wanted {
    /// A client: where its answer goes.
    Client { sender: oneshot::Sender<Result<Response, ProxyError>>, interims: Option<Interims> },
    /// Whoever comes next.
    Refresh(Place),
}

impl<S: Origin> Cache<S> {
    /// Fetches for one request only; ends when its client leaves.
    pub(super) async fn alone(
        mut self,
        mut job: Job,
        mut plan: Plan,
        interims: Option<Interims>,
    ) -> Result<Response, ProxyError> {
        let started = self.shared.start(&job, &mut plan);
        let fetch = Fetch { interims, ..job.fetch(&plan) };
        let answer = self.origin.call(fetch).await;
        let concluded = conclude(&mut self, &mut job, plan, answer, started, None).await;
        if let Some(pump) = concluded.pump {
            self.shared.background.spawn(pump.run());
        }
        concluded.response
    }

    /// Fetches at the head of a flight, in a task of its own, which survives its client.
    pub(super) async fn lead(
        self,
        job: Job,
        plan: Plan,
        leader: FlightLeader,
        interims: Option<Interims>,
    ) -> Result<Response, ProxyError> {
        let (sender, receiver) = oneshot::channel();
        let background = self.shared.background.clone();
        let client = Wanted::Client { sender, interims };
        // Boxed before it is spawned: spawning moves a task several times.
        background.spawn(Box::pin(self.leading(job, plan, leader, client)));
        receiver.await.unwrap_or_else(|_| Err(ErrorKind::FetchAbandoned.into()))
    }

    /// Validates a stored response in the background, unless somebody already does, or somebody
    /// has just tried in vain, or a purge has made more stale than the origin is asked for at once.
    pub(super) fn refresh(&self, job: &Job, stored: &Arc<StoredResponse>) {
        let purged = || {
            let standing = |key: &str| self.shared.memory.standing(key, &stored.stamp);
            job.target.with_key_str(standing) == Standing::Soft
        };
        let paced = || !purged() || self.shared.pace.takes(job.upstream, Instant::now());
        if let Ok(refreshing) = self.refreshing_if(job, stored, &paced) {
            self.shared.background.spawn(Box::pin(refreshing));
        }
    }

    /// The validation of a stored response, or what is in its way.
    pub(super) fn refreshing(
        &self,
        job: &Job,
        stored: &Arc<StoredResponse>,
    ) -> Result<impl Future<Output = ()> + Send + 'static + use<S>, NotNow> {
        self.refreshing_if(job, stored, &|| true)
    }

    fn refreshing_if(
        &self,
        job: &Job,
        stored: &Arc<StoredResponse>,
        may: &dyn Fn() -> bool,
    ) -> Result<impl Future<Output = ()> + Send + 'static + use<S>, NotNow> {
        let (key, now) = (job.target.key(), self.shared.clock.now());
        let variant = lookup::fingerprint(Some(stored), job);
        let setback = self.shared.setbacks.get(key.as_str(), variant, now);
        if setback.is_some_and(|setback| setback.is_quiet(now)) {
            return Err(NotNow::Spared);
        }
        let key = FlightKey { key, variant, range: None, after: 0 };
        // Under load what is stale stays so a little longer.
        let place = self.shared.waiting.enter().ok_or(NotNow::Spared)?;
        let leader = self.shared.flights.lead(&key).ok_or(NotNow::UnderWay)?;
        // Last: whose refresh is under way needs no turn.
        if !may() {
            return Err(NotNow::Spared);
        }
        let job = job.for_refresh();
        let plan = Plan::new(Forwarded::Stale, Reason::StaleWhileRevalidate);
        let plan = plan.with(&job, Arc::clone(stored), variant);
        Ok(self.clone().leading(job, plan, leader.into(), Wanted::Refresh(place)))
    }

    async fn leading(
        mut self,
        mut job: Job,
        mut plan: Plan,
        mut leader: FlightLeader,
        wanted: Wanted,
    ) {
        let (mut client, interims, place) = match wanted {
            Wanted::Client { sender, interims } => (Some(sender), interims, None),
            Wanted::Refresh(place) => (None, None, Some(place)),
        };
        if self.shared.tier.is_some() {
            // Boxed, so that it costs nothing where there is no tier.
            match Box::pin(self.ask_tier(&mut job, plan, leader)).await {
                Tiered::Answered(concluded) => {
                    drop(place);
                    return deliver(*concluded, client).await;
                }
                Tiered::Ask(same, again) => (plan, leader) = (*same, again),
            }
        }
        let started = self.shared.start(&job, &mut plan);
        let (grace, graces) = (job.config.fill_grace, Arc::clone(&self.shared.graces));
        let fetch = Fetch { interims, ..job.fetch(&plan) };
        let fetched = self.origin.call(fetch);
        let answer = match &mut client {
            // A refresh is wanted by whoever comes next; the origin's timeouts bound it.
            None => fetched.await,
            Some(client) => tokio::select! {
                answer = fetched => answer,
                () = unwanted(&leader, client, grace, &graces) => return,
            },
        };
        let concluded = conclude(&mut self, &mut job, plan, answer, started, Some(leader)).await;
        drop(place);
        deliver(concluded, client).await;
    }
}

/// Hands the answer to the client, if there is one, and fills what is left to fill.
pub(super) async fn deliver(
    concluded: Concluded,
    client: Option<oneshot::Sender<Result<Response, ProxyError>>>,
) {
    let Concluded { response, pump } = concluded;
    let refreshes = client.is_none();
    match client {
        // Not sent means that the client is gone; the response ends here.
        Some(client) => drop(client.send(response)),
        None => drop(response),
    }
    if let Some(pump) = pump {
        let pump = if refreshes { pump.unread() } else { pump };
        pump.run().await;
    }
}

/// Ends when nobody has wanted a fetch's answer for as long as `grace`, or where none is left.
async fn unwanted<T>(
    leader: &FlightLeader,
    client: &mut oneshot::Sender<T>,
    grace: Duration,
    graces: &Semaphore,
) {
    client.closed().await;
    loop {
        leader.unfollowed().await;
        let Ok(_permit) = graces.try_acquire() else { return };
        sleep(grace).await;
        if !leader.has_followers() {
            return;
        }
    }
}

impl Shared {
    /// Begins a fetch. What was chosen to be validated or completed may have been purged while
    /// the request waited for another's answer: then everything is asked for. Earlier purges are
    /// seen here, and later ones when the answer is stored.
    pub(super) fn start(&self, job: &Job, plan: &mut Plan) -> Started {
        let started = Started::now(self);
        let purged = plan.stored.as_ref().is_some_and(|stored| self.is_gone(job, stored));
        if purged {
            plan.stored = None;
            if plan.ask != Ask::AsIs {
                plan.ask = Ask::All;
            }
        }
        started
    }
}

impl Job {
    /// The request for the origin; what judging the answer needs stays here.
    pub(super) fn fetch(&mut self, plan: &Plan) -> Fetch {
        let body = std::mem::take(&mut self.request.body);
        let extensions = std::mem::take(&mut self.request.head.extensions);
        let mut fetch = self.bare_fetch();
        if plan.cacheable {
            self.ask_for_all(&mut fetch.request.head.headers);
        }
        // Also where nothing is compressed: clients may have copies from when it was.
        policy::add_origin_tags(&mut fetch.request.head.headers);
        plan.condition(self, &mut fetch.request.head.headers);
        plan.ask_for_whole(&mut fetch.request.head.headers);
        fetch.request.body = body;
        fetch.request.head.extensions = extensions;
        fetch
    }

    /// The request for another try: for everything, and for nobody in particular.
    pub(super) fn refetch(&self) -> Fetch {
        let mut fetch = self.bare_fetch();
        policy::strip_conditionals(&mut fetch.request.head.headers);
        self.ask_for_all(&mut fetch.request.head.headers);
        fetch
    }

    /// What others are given has to be what they would have asked for.
    fn ask_for_all(&self, headers: &mut HeaderMap) {
        if let Some(told) = self.config.policy.encodings.of(headers) {
            headers.insert(ACCEPT_ENCODING, told);
        }
    }

    fn bare_fetch(&self) -> Fetch {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = self.request.head.method.clone();
        head.version = self.request.head.version;
        head.uri = self.target.uri();
        head.headers = self.request.head.headers.clone();
        let request = self.request.with_head(head);
        let (upstream, trusted) = (self.upstream, self.trusted);
        let (target, edits) = (self.own().clone(), self.edits.clone());
        let protect = self.config.protect;
        Fetch { upstream, target, request, edits, interims: None, protect, trusted }
    }

    /// The same request without its client: a GET without preconditions and range.
    fn for_refresh(&self) -> Self {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = Method::GET;
        head.headers = self.request.head.headers.clone();
        policy::strip_conditionals(&mut head.headers);
        // What the client demands of freshness is not demanded by who comes next.
        head.headers.remove(CACHE_CONTROL);
        head.headers.remove(PRAGMA);
        Self {
            request: self.request.with_head(head),
            target: self.target.clone(),
            shares: self.shares.clone(),
            config: Arc::clone(&self.config),
            by_response: self.by_response.clone(),
            edits: self.edits.clone(),
            upstream: self.upstream,
            trusted: self.trusted,
        }
    }
}

impl Plan {
    /// Makes the client's fields ask what the plan asks.
    fn condition(&self, job: &Job, headers: &mut HeaderMap) {
        if self.ask == Ask::AsIs {
            return;
        }
        // The client's own are answered here, from what comes.
        headers.remove(IF_NONE_MATCH);
        headers.remove(IF_MODIFIED_SINCE);
        let Some(stored) = &self.stored else { return };
        match self.ask {
            Ask::Validation => policy::conditional_headers(&stored.head, headers),
            Ask::Rest => {
                partial::ask_for_rest(stored, &job.config.policy, headers);
            }
            Ask::AsIs | Ask::All => {}
        }
    }
}
