//! Requests that leave HTTP (RFC 9110 §7.8): sent to the origin past the cache, and if it agrees,
//! bytes go both ways until either end closes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderValue, Method, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tower::Service;

use super::origin::{OriginService, Wire};
use crate::body::Body;
use crate::cache::{Fetch, Job};
use crate::context::{Detail, Forwarded, Outcome, Response, ResponseParts};
use crate::error::{ErrorKind, ProxyError};
use crate::policy::Reason;
use crate::shutdown::Shutdown;
use crate::upstream::Origins;

/// Protocols that are never tunnelled: HTTP/2 on cleartext would carry requests that nobody here
/// reads (RFC 9113 §3.1 has given it up).
const REFUSED: [&[u8]; 1] = [b"h2c"];

/// Tunnels what asks to leave HTTP, and passes on the rest.
#[derive(Clone, Debug)]
pub struct Tunnelling<S, W = Origins> {
    origin: OriginService<W>,
    shutdown: Shutdown,
    inner: S,
}

impl<S, W: Wire> Tunnelling<S, W> {
    /// Tunnels to `origin`; open tunnels end when `shutdown` kills.
    pub(super) fn new(origin: OriginService<W>, shutdown: Shutdown, inner: S) -> Self {
        Self { origin, shutdown, inner }
    }
}

/// A tunnel being set up.
pub(super) type Opening = Pin<Box<dyn Future<Output = Result<Response, ProxyError>> + Send>>;

impl<S, W: Wire> Service<Job> for Tunnelling<S, W>
where
    S: Service<Job, Response = Response, Error = ProxyError>,
{
    type Response = Response;
    type Error = ProxyError;
    type Future = Either<Opening, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut job: Job) -> Self::Future {
        if !leaves_http(&mut job) {
            return Either::Right(self.inner.call(job));
        }
        let client = job.request.head.extensions.remove::<OnUpgrade>();
        let (upstream, for_edits) = (job.upstream, job.for_edits());
        let tags = Arc::clone(&job.config.tags);
        let fetched = self.origin.call(Fetch::from(job));
        let shutdown = self.shutdown.clone();
        Either::Left(Box::pin(async move {
            let mut response = fetched.await?;
            tags.hide(response.headers_mut());
            let status = response.status();
            if status == StatusCode::SWITCHING_PROTOCOLS {
                let origin = response.extensions_mut().remove::<OnUpgrade>();
                let (Some(client), Some(origin)) = (client, origin) else {
                    return Err(ErrorKind::Internal.into());
                };
                let tunnel = tunnel(client, origin, shutdown.clone());
                shutdown.background().spawn(tunnel);
                let headers = response.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.remove(CONTENT_LENGTH);
                *response.body_mut() = Body::Empty;
            } else {
                response.headers_mut().remove(UPGRADE);
                if let Some(job) = for_edits {
                    job.edit_own(status, response.headers_mut());
                }
            }
            let outcome = Outcome {
                forwarded: Some(Forwarded::Bypass),
                forward_status: Some(status),
                detail: Some(Detail::Reason(Reason::Upgrade)),
                upstream: Some(upstream),
                ..Outcome::default()
            };
            Ok(ResponseParts::boxed(response, outcome))
        }))
    }
}

/// Whether a request is to be tunnelled; what it says of leaving HTTP is dropped where it is not.
pub(super) fn leaves_http(job: &mut Job) -> bool {
    let hop = &mut job.request.hop;
    // RFC 9110 §7.8: a server may ignore Upgrade, and then the request is a plain one. What has
    // an effect of its own goes the way on which its effects are seen.
    let retrieves = job.request.head.method == Method::GET;
    hop.upgrade = hop.upgrade.take().filter(|upgrade| retrieves && allowed(upgrade));
    hop.upgrade.is_some()
}

fn allowed(upgrade: &HeaderValue) -> bool {
    let mut protocols = upgrade.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    !protocols.any(|protocol| REFUSED.iter().any(|refused| protocol.eq_ignore_ascii_case(refused)))
}

async fn tunnel(client: OnUpgrade, origin: OnUpgrade, shutdown: Shutdown) {
    let both = async {
        let (client, origin) = tokio::try_join!(client, origin)?;
        let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
        copy_bidirectional(&mut client, &mut origin).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    tokio::select! {
        ended = both => {
            if let Err(error) = ended {
                tracing::debug!(%error, "tunnel ended");
            }
        }
        () = shutdown.killed() => {}
    }
}
