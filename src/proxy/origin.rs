//! The innermost layer: from the cache's terms to the origin's, and back.

use std::fmt::Debug;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::VIA;
use http::request::Parts;
use http::{StatusCode, Uri};
use tower::Service;

use super::Config;
use super::client_body::ClientBody;
use super::forwarding::{self, Via};
use crate::body::Body;
use crate::cache::{Fetch, Protect};
use crate::context::RequestBody;
use crate::error::{ErrorKind, ProxyError};
use crate::headers;
use crate::key::Target;
use crate::rules::{self, RequestEdits};
use crate::upstream::{OriginRequest, OriginRequestBody, Origins};

/// What carries requests to origins: one core's connections, or a script in their place.
pub trait Wire: Clone + Debug + Send + Sync + 'static {
    /// Sends `request` to an upstream, by its index.
    ///
    /// # Errors
    /// As [`Origins::send`].
    fn carry(&self, upstream: usize, request: OriginRequest) -> Carried;
}

/// An answer on its way. In a box from the start: it is large, and would be moved into every future
/// around it.
pub type Carried = Pin<Box<dyn Future<Output = Result<http::Response<Body>, ProxyError>> + Send>>;

impl Wire for Origins {
    fn carry(&self, upstream: usize, request: OriginRequest) -> Carried {
        Box::pin(self.send_for(upstream, request, |body| Body::Stream(Box::into_pin(body))))
    }
}

/// Reaches origins; cheap to clone.
#[derive(Clone, Debug)]
pub struct OriginService<W = Origins> {
    wire: W,
    config: Arc<Config>,
    via: Arc<Via>,
}

impl<W: Wire> OriginService<W> {
    /// Over one core's connections.
    #[must_use]
    pub fn new(wire: W, config: Arc<Config>) -> Self {
        let via = Arc::new(Via::new(&config.name));
        Self { wire, config, via }
    }
}

/// What an origin is sent, and which upstream it is.
pub(super) fn origin_request(
    config: &Config,
    via: &Via,
    fetch: Fetch,
) -> Result<(usize, OriginRequest), ProxyError> {
    let Fetch { upstream, target, request, edits, interims, protect, trusted } = fetch;
    let spares = protect == Protect::Origin;
    let mut head = request.head;
    forwarding::apply(&mut head.headers, &request.connection, &target, trusted, via);
    if let Some(edits) = &edits {
        edit(&mut head, edits, &target, request.client)?;
    }
    let body = match request.body {
        RequestBody::Empty => OriginRequestBody::Empty,
        RequestBody::Stream(incoming) => {
            let body = ClientBody::new(incoming, &config.limits);
            OriginRequestBody::Stream(Box::pin(body))
        }
    };
    let (upgrade, te_trailers) = (request.hop.upgrade, request.hop.trailers);
    let interim = interims;
    Ok((upstream, OriginRequest { head, body, interim, upgrade, spares, te_trailers }))
}

impl<W: Wire> Service<Fetch> for OriginService<W> {
    type Response = http::Response<Body>;
    type Error = ProxyError;
    type Future = Arriving;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, fetch: Fetch) -> Self::Future {
        let (upstream, request) = match origin_request(&self.config, &self.via, fetch) {
            Ok(request) => request,
            Err(error) => return Arriving(Err(Some(error))),
        };
        Arriving(Ok((self.wire.carry(upstream, request), Arc::clone(&self.via))))
    }
}

/// The answer to a request, as the cache gets it; or why that could not be sent.
pub struct Arriving(Result<(Carried, Arc<Via>), Option<ProxyError>>);

impl Future for Arriving {
    type Output = Result<http::Response<Body>, ProxyError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (carried, via) = match &mut self.0 {
            Ok(sent) => sent,
            Err(refused) => {
                let error = refused.take().unwrap_or_else(|| ErrorKind::Internal.into());
                return Poll::Ready(Err(error));
            }
        };
        let mut response = ready!(carried.as_mut().poll(cx))?;
        // What a 101 says of the connection is for both ends of the tunnel.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            headers::strip_hop_by_hop(response.headers_mut());
        }
        // The version received, and by whom.
        let via = via.of(response.version());
        response.headers_mut().append(VIA, via);
        Poll::Ready(Ok(response))
    }
}

/// Changes a request as the rules say. Templates see the fields as the origin would: what is not a
/// client's to say is gone.
fn edit(
    head: &mut Parts,
    edits: &RequestEdits,
    target: &Target,
    client: IpAddr,
) -> Result<(), ProxyError> {
    let seen = rules::Request { method: &head.method, target, headers: &head.headers, client };
    let fields = edits.fields.evaluate(&seen);
    fields.apply(&mut head.headers);
    let Some(rewrite) = &edits.path else { return Ok(()) };
    let refused = |error| ProxyError::with_source(ErrorKind::BadRequest, error);
    // What is sent: its query may be more than what is keyed.
    let sent = head.uri.path_and_query().unwrap_or(&target.path_and_query);
    if let Some(path) = rewrite.apply(sent).map_err(refused)? {
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        uri.path_and_query = Some(path);
        head.uri = Uri::from_parts(uri)
            .map_err(|error| ProxyError::with_source(ErrorKind::BadRequest, error))?;
    }
    Ok(())
}
