//! Asking the origin: what is sent, by whom, and for how long anybody has to want the answer.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, IF_MODIFIED_SINCE, IF_NONE_MATCH, PRAGMA};
use http::{HeaderMap, Method};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::conclude::{Asked, Concluded, Started, conclude};
use super::errand::NotNow;
use super::led::{Client, Led};
use super::lookup::{self, Ask, Decision, Plan};
use super::tier::Tiered;
use super::{Cache, Fetch, FlightKey, FlightLeader, Job, Origin, Shared, partial};
use crate::clock::Timestamp;
use crate::context::{Forwarded, Interims, Request, Response};
use crate::error::ProxyError;
use crate::headers::Present;
use crate::limit::Place;
use crate::policy::{self, Reason};
use crate::store::{Memory, Standing, StoredResponse};

/// For whom a leader fetches.
enum Wanted {
    /// A client, and where interim responses go.
    Client { client: Client, interims: Option<Interims> },
    /// Whoever comes next.
    Refresh(Place),
}

impl<S: Origin> Cache<S> {
    /// Fetches for one request only; ends when its client leaves. `place` is held until the
    /// answer's head is there.
    pub(super) fn alone(
        mut self,
        mut job: Job,
        mut plan: Plan,
        interims: Option<Interims>,
        place: Place,
    ) -> impl Future<Output = Result<Response, ProxyError>> + Send + use<S> {
        let started = self.shared.start(&job, &mut plan);
        let fetched = self.origin.call(Fetch { interims, ..job.fetch(&plan) });
        async move {
            let _place = place;
            let answer = fetched.await;
            let asked = Asked { plan, answer, started, leader: None };
            let concluded = conclude(&mut self, &mut job, asked).await;
            let Concluded { response, mut pump } = concluded;
            if pump.is_some() {
                poll_fn(|cx| {
                    pump = pump.take().and_then(|pump| pump.advance(cx));
                    Poll::Ready(())
                })
                .await;
            }
            if let Some(pump) = pump {
                self.shared.background.spawn(pump.run());
            }
            response
        }
    }

    /// Fetches at the head of a flight, and goes on with that where its client leaves. `place` is
    /// held until the answer's head is there.
    pub(super) fn lead(
        self,
        job: Job,
        plan: Plan,
        leader: FlightLeader,
        interims: Option<Interims>,
        place: Place,
    ) -> Led {
        let background = self.shared.background.clone();
        let client = Client::default();
        let wanted = Wanted::Client { client: client.clone(), interims };
        Led::new(Box::pin(self.leading(job, plan, leader, wanted)), client, background, place)
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
        let is_quiet = |key: &str| {
            let setback = self.shared.setbacks.get(key, variant, now);
            setback.is_some_and(|setback| setback.is_quiet(now))
        };
        if is_quiet(key.as_str()) {
            return Err(NotNow::Spared);
        }
        let key = FlightKey { key, variant, range: None, after: 0 };
        // Under load what is stale stays so a little longer.
        let place = self.shared.waiting.enter().ok_or(NotNow::Spared)?;
        let leader = self.shared.flights.lead(&key).ok_or(NotNow::UnderWay)?;
        let job = job.for_refresh();
        // Another's flight may have ended since the response was found.
        if self.is_renewed(&job, stored, key.key.as_str(), now) {
            return Err(NotNow::Renewed);
        }
        // Last: whose refresh is under way needs no turn.
        if is_quiet(key.key.as_str()) || !may() {
            return Err(NotNow::Spared);
        }
        let plan = Plan::new(Forwarded::Stale, Reason::StaleWhileRevalidate);
        let plan = plan.with(&job, Arc::clone(stored), variant);
        let leader = FlightLeader::new(leader, key.key);
        let leading = self.clone().leading(job, plan, leader, Wanted::Refresh(place));
        // Not awaited in a block, which would hold this large future twice.
        Ok(leading.then(fill_unread))
    }

    /// Whether memory has another response by now in the place of `stored`, and a fresh one.
    fn is_renewed(
        &self,
        job: &Job,
        stored: &Arc<StoredResponse>,
        key: &str,
        now: Timestamp,
    ) -> bool {
        match lookup::decide_under_by(&self.shared, job, key, now, Memory::peek) {
            Decision::Use(other, None) => !Arc::ptr_eq(&other, stored),
            _ => false,
        }
    }

    /// `None` where nobody wants what would come any more.
    fn leading(
        mut self,
        mut job: Job,
        mut plan: Plan,
        mut leader: FlightLeader,
        wanted: Wanted,
    ) -> impl Future<Output = Option<Concluded>> + Send + use<S> {
        let (client, interims, place) = match wanted {
            Wanted::Client { client, interims } => (Some(client), interims, None),
            Wanted::Refresh(place) => (None, None, Some(place)),
        };
        // A block: a function would hold its arguments twice.
        async move {
            let _place = place;
            if self.shared.tier.is_some() {
                // Boxed, so that it costs nothing where there is no tier.
                match Box::pin(self.ask_tier(&mut job, plan, leader)).await {
                    Tiered::Answered(concluded) => return Some(concluded),
                    Tiered::Ask(same, again) => (plan, leader) = (*same, again),
                }
            }
            let started = self.shared.start(&job, &mut plan);
            let (grace, graces) = (job.config.fill_grace, &self.shared.graces);
            let fetch = Fetch { interims, ..job.fetch(&plan) };
            let fetched = self.origin.call(fetch);
            let answer = match &client {
                // A refresh is wanted by whoever comes next; the origin's timeouts bound it.
                None => fetched.await,
                Some(client) => tokio::select! {
                    biased;
                    answer = fetched => answer,
                    () = unwanted(&leader, client, grace, graces) => return None,
                },
            };
            let asked = Asked { plan, answer, started, leader: Some(leader) };
            Some(conclude(&mut self, &mut job, asked).await)
        }
    }
}

/// Fills what is left to fill, for whoever comes next.
pub(super) async fn fill_unread(concluded: Option<Concluded>) {
    let Some(Concluded { response, pump }) = concluded else { return };
    drop(response);
    if let Some(pump) = pump {
        pump.unread().run().await;
    }
}

/// Ends when nobody has wanted a fetch's answer for as long as `grace`, or where none is left.
async fn unwanted(leader: &FlightLeader, client: &Client, grace: Duration, graces: &Semaphore) {
    client.left().await;
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
        // The request as it came goes on; judging what comes of it needs no more than a copy.
        let copy = self.request.without_body();
        let request = std::mem::replace(&mut self.request, copy);
        let mut fetch = self.fetch_for(request);
        if plan.cacheable {
            self.ask_for_all(&mut fetch.request.head.headers);
        }
        if self.request.present.any(Present::CONDITIONS) {
            // Also where nothing is compressed: clients may have copies from when it was.
            policy::add_origin_tags(&mut fetch.request.head.headers);
        }
        plan.condition(self, &mut fetch.request.head.headers);
        plan.ask_for_whole(&mut fetch.request.head.headers);
        fetch
    }

    /// The request for another try: for everything, and for nobody in particular.
    pub(super) fn refetch(&self) -> Fetch {
        let mut fetch = self.fetch_for(self.request.without_body());
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

    fn fetch_for(&self, mut request: Request) -> Fetch {
        request.head.uri = self.target.uri();
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
        if job.request.present.any(Present::CONDITIONS) {
            // The client's own are answered here, from what comes.
            headers.remove(IF_NONE_MATCH);
            headers.remove(IF_MODIFIED_SINCE);
        }
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
