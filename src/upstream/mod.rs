//! Origins: connections to them, and what may go wrong on the way.
//!
//! [`Origins`] is one core's view of every upstream: a pool of connections each, and one function
//! to send a request with. What all cores share, resolved addresses and TLS settings, is
//! [`Shared`]. A request's way: `request` (pure) → pool or dial → `exchange` → `response` (pure)
//! → [`OriginBody`]; `retry` (pure) says what follows a failure.

mod body;
mod config;
mod connect;
mod exchange;
mod failure;
mod health;
mod http1;
mod pool;
mod queue;
mod request;
mod resolve;
mod response;
mod retry;
mod send;
mod shared;
mod tls;
mod upload;

#[cfg(test)]
mod tests;

use std::future::{Future, ready};
use std::sync::Arc;

use futures_util::future::Either;
use http::HeaderValue;
use tokio::time::Instant;

pub use body::OriginBody;
pub use config::{Config, Identity, RetryReused, UnknownTransferCoding, Version};
pub use request::head_as_sent;
pub use shared::{SetupError, Shared};

use crate::body::BoxBody;
use crate::context::Interims;
use crate::error::{ErrorKind, ProxyError};
use exchange::Job;
use pool::Upstream;
use shared::Target;

/// What speaks TLS to an upstream with these settings, for who needs no more of this room than that.
///
/// # Errors
/// As [`Shared::new`], for this upstream.
pub fn tls_connector(config: &Config) -> Result<tokio_rustls::TlsConnector, SetupError> {
    tls::TlsSettings::new(config).map(|settings| settings.usual)
}

/// All upstreams as one core sees them. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Origins {
    upstreams: Arc<[Arc<Upstream>]>,
}

/// A request for an origin.
#[derive(Debug)]
pub struct OriginRequest {
    /// Method, absolute normal URI (scheme and host as the client's side has them) and fields.
    /// Hop-by-hop fields are gone already; `Host`, target form, version and framing are set on
    /// sending.
    pub head: http::request::Parts,
    /// The content.
    pub body: OriginRequestBody,
    /// Where interim responses other than 100 and 101 go (RFC 9110 §15.2); only HTTP/1 origins'
    /// can be seen.
    pub interim: Option<Interims>,
    /// The client's `Upgrade`, sent on with `Connection: upgrade` (RFC 9110 §7.8). A 101 answer
    /// carries hyper's [`hyper::upgrade::OnUpgrade`] in its extensions.
    pub upgrade: Option<HeaderValue>,
    /// Whether it is refused rather than sent while the origin is known to be out of reach or to
    /// have more than it can take.
    pub spares: bool,
    /// Whether the client takes trailers: sends `TE: trailers` (RFC 9110 §10.1.4).
    pub te_trailers: bool,
}

/// The content of a request for an origin.
#[derive(Default)]
pub enum OriginRequestBody {
    /// None.
    #[default]
    Empty,
    /// Streamed. An exact size hint becomes `Content-Length`, otherwise HTTP/1 sends it chunked.
    Stream(BoxBody),
}

impl std::fmt::Debug for OriginRequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Stream(_) => "Stream",
        })
    }
}

/// One core's counts for one upstream. Gauges are of now, counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamStats {
    /// Open connections (gauge), tunnels included.
    pub open: u64,
    /// Idle connections (gauge).
    pub idle: u64,
    /// Requests sent on a connection that had served one before (counter).
    pub reused: u64,
    /// Requests sent again after a connection turned out dead (counter): mostly one that the origin
    /// closed while it was at rest, which is found out by who wants it next.
    pub retried: u64,
    /// Requests that ended without a response (counter).
    pub failures: u64,
}

impl Origins {
    /// One core's pools for the upstreams of `shared`, in their order.
    #[must_use]
    pub fn new(shared: &Shared) -> Self {
        Self { upstreams: Arc::default() }.renewed(shared)
    }

    /// The same for other upstreams, in place of `self`: one that `shared` has kept keeps its
    /// connections. Those of the others serve the requests that have them, and idle no longer
    /// than they may.
    #[must_use]
    pub fn renewed(&self, shared: &Shared) -> Self {
        let pool = |(config, target): (&Config, &Arc<Target>)| {
            let mut pools = self.upstreams.iter();
            let kept = pools.find(|pool| Arc::ptr_eq(&pool.target, target)).cloned();
            let new = || Arc::new(Upstream::new(config.clone(), Arc::clone(target)));
            kept.unwrap_or_else(new)
        };
        Self { upstreams: shared.configs().iter().zip(shared.targets()).map(pool).collect() }
    }

    /// Sends `request` to the upstream at `index` of the configured list, and resolves when the
    /// final response's head is there. Dropping the future gives the exchange up: its HTTP/1
    /// connection is closed, its HTTP/2 stream reset.
    ///
    /// # Errors
    /// Every [`ErrorKind`] with the origin at fault up to the response's head (`OriginBusy` where
    /// no place is free, `OriginSpared` where it is not asked at all); the kinds that the request's own body reports; `Internal` if there is no
    /// such upstream.
    pub fn send(
        &self,
        index: usize,
        request: OriginRequest,
    ) -> impl Future<Output = Result<http::Response<Box<OriginBody>>, ProxyError>> + Send + 'static + use<>
    {
        self.send_for(index, request, |body| body)
    }

    /// The same; the answer has what `make` makes of its body. The future is large: whoever wants
    /// something else of the answer has it made here rather than by another future around this one.
    ///
    /// # Errors
    /// As [`Origins::send`].
    pub fn send_for<B: Send + 'static>(
        &self,
        index: usize,
        request: OriginRequest,
        make: fn(Box<OriginBody>) -> B,
    ) -> impl Future<Output = Result<http::Response<B>, ProxyError>> + Send + 'static + use<B> {
        let Some(upstream) = self.upstreams.get(index) else {
            return Either::Left(ready(Err(ErrorKind::Internal.into())));
        };
        let spares = request.spares;
        let (mut job, message) = match send::plan(Arc::clone(upstream), request) {
            Ok(planned) => planned,
            Err(error) => return Either::Left(ready(Err(upstream.failed(error)))),
        };
        let mut message = Some(message);
        Either::Right(async move {
            let target = &job.upstream.target;
            if spares && !target.health.admits() {
                return Err(ErrorKind::OriginSpared.into());
            }
            let place = target.queue.enter(spares).await?;
            let began = Instant::now();
            job.begin(began);
            let outcome = send::send(&job, &mut message, began).await;
            let Job { upstream, .. } = &job;
            match outcome {
                Ok(response) => {
                    upstream.target.health.answered();
                    Ok(response.map(|body| make(body.holding(place))))
                }
                Err(error) => {
                    upstream.target.health.failed(error.kind, began.elapsed());
                    Err(upstream.failed(error))
                }
            }
        })
    }

    /// Counts for each upstream, in the configured order.
    #[must_use]
    pub fn stats(&self) -> Vec<UpstreamStats> {
        self.upstreams.iter().map(|upstream| upstream.stats()).collect()
    }
}
