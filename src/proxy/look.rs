//! A look at what would be done with a request: the layers that decide, over a look into the cache.
//! There is no origin below, so none can be asked.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use ipnet::IpNet;
use tower::{Service, ServiceExt};

use super::forwarding::{self, Via};
use super::origin::origin_request;
use super::stack::LookStack;
use super::tunnel::leaves_http;
use super::{Config, Trace};
use crate::body::Body;
use crate::cache::{self, Examined, Job};
use crate::context::{Detail, Forwarded, Outcome, Request, Response, ResponseParts};
use crate::error::ProxyError;
use crate::policy::Reason;
use crate::upstream::OriginRequest;

/// Looks at requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Look {
    trusted: Arc<[IpNet]>,
    stack: LookStack,
}

/// What was found out about a request.
#[derive(Debug)]
pub struct Looked {
    /// Where it was routed, and what the rules say.
    pub trace: Trace,
    /// Who asks, as a trusted peer tells it.
    pub client: IpAddr,
    /// What would be answered: with content only where no origin is asked.
    pub answer: Result<Response, ProxyError>,
    /// What the cache has; `None` where the request does not come so far.
    pub cache: Option<InCache>,
}

/// What was found in the cache.
#[derive(Debug)]
pub struct InCache {
    /// What would be done with the request.
    pub examined: Examined,
    /// What the origin would be asked, if it would, and which upstream it is.
    pub origin: Option<(usize, OriginRequest)>,
}

impl Look {
    pub(super) fn new(trusted: Arc<[IpNet]>, stack: LookStack) -> Self {
        Self { trusted, stack }
    }

    /// Looks at `request`. Its body is not read, and has no part in it.
    ///
    /// `PURGE` is a method like any other here: nothing is purged.
    pub async fn at(&self, mut request: Request) -> Looked {
        let trace = Trace::default();
        let slot = Slot::default();
        request.head.extensions.insert(trace.clone());
        request.head.extensions.insert(slot.clone());
        forwarding::find_client(&mut request, &self.trusted);
        let client = request.client;
        let answer = self.stack.clone().oneshot(request).await;
        let cache = slot.lock().take();
        Looked { trace, client, answer, cache }
    }
}

/// Where the innermost layer leaves what it saw.
#[derive(Clone, Debug, Default)]
struct Slot(Arc<Mutex<Option<InCache>>>);

impl Slot {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<InCache>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The innermost layer: in the place of the cache and of all below.
#[derive(Clone, Debug)]
pub(super) struct Looking {
    config: Arc<Config>,
    via: Arc<Via>,
    cache: Arc<cache::Shared>,
}

impl Looking {
    pub(super) fn new(config: Arc<Config>, cache: Arc<cache::Shared>) -> Self {
        let via = Arc::new(Via::new(&config.name));
        Self { config, via, cache }
    }

    fn look(&self, mut job: Job) -> Result<Response, ProxyError> {
        if leaves_http(&mut job) {
            let outcome = Outcome {
                forwarded: Some(Forwarded::Bypass),
                detail: Some(Detail::Reason(Reason::Upgrade)),
                upstream: Some(job.upstream),
                ..Outcome::default()
            };
            return Ok(ResponseParts::boxed(http::Response::new(Body::Empty), outcome));
        }
        let slot = job.request.head.extensions.remove::<Slot>().unwrap_or_default();
        let mut examined = self.cache.examine(job);
        let outcome = examined.outcome;
        let refused = match examined.would {
            cache::Would::Refuse(kind) => Some(kind),
            _ => None,
        };
        let origin =
            examined.fetch.take().map(|fetch| origin_request(&self.config, &self.via, fetch));
        let origin = origin.transpose()?;
        let answer = examined.answer.take();
        *slot.lock() = Some(InCache { examined, origin });
        match (refused, answer) {
            (Some(kind), _) => Err(kind.into()),
            (None, Some(answer)) => Ok(answer),
            (None, None) => Ok(ResponseParts::boxed(http::Response::new(Body::Empty), outcome)),
        }
    }
}

impl Service<Job> for Looking {
    type Response = Response;
    type Error = ProxyError;
    type Future = Ready<Result<Response, ProxyError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> Self::Future {
        ready(self.look(job))
    }
}
