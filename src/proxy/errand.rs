//! Errands: what nobody asks for comes to the cache by the layers that decide what is keyed and which
//! settings apply, as a request for it would; not by those that count, let in, or answer clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use http::header::HOST;
use http::{HeaderValue, Uri};
use tower::{Service, ServiceExt};

use super::OriginService;
use super::route::Routed;
use super::stack::ErrandStack;
use crate::body::Body;
use crate::cache::{Cache, Errand, Job, Ran};
use crate::context::{
    Connection, Outcome, Protocol, Request, RequestBody, RequestId, RequestParts, Response,
    ResponseParts,
};
use crate::error::ProxyError;
use crate::store::Sought;

/// Runs errands. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Errands {
    stack: ErrandStack,
}

/// Which errand it is, and where its end is told.
#[derive(Clone, Debug)]
struct Slot {
    errand: Errand,
    ran: Arc<Mutex<Option<Ran>>>,
}

impl Errands {
    pub(super) fn new(stack: ErrandStack) -> Self {
        Self { stack }
    }

    /// Does `errand` for what is `sought`, to its end; `None` where no request could be for that.
    pub async fn run(&self, sought: &Sought, errand: Errand) -> Option<Ran> {
        let mut request = request(sought)?;
        let ran = Arc::default();
        request.head.extensions.insert(Slot { errand, ran: Arc::clone(&ran) });
        // Refused by a layer above the cache, it has not run: the slot says so.
        let _ = self.stack.clone().oneshot(request).await;
        ran.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The request of a client of this machine.
fn request(sought: &Sought) -> Option<Request> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let uri: Uri = sought.url.parse().ok()?;
    let secure = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.headers = sought.headers();
    head.headers.insert(HOST, HeaderValue::from_str(uri.authority()?.as_str()).ok()?);
    head.uri = uri.path_and_query().cloned().map(Uri::from)?;
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let protocol = Protocol::Http1;
    let connection = Connection {
        peer: here,
        local: here,
        secure,
        protocol,
        interim: None,
        introduction: OnceLock::new(),
    };
    let id = RequestId(NUMBER.fetch_add(1, Ordering::Relaxed));
    let (connection, now) = (Arc::new(connection), Instant::now());
    Some(RequestParts::boxed(head, RequestBody::Empty, &connection, now, id))
}

/// Past what is only for clients: who is let in, and what is answered without the cache.
#[derive(Clone, Debug)]
pub(super) struct Straight<S>(pub(super) S);

impl<S: Service<Job>> Service<Routed> for Straight<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> S::Future {
        self.0.call(routed.job)
    }
}

/// The innermost layer: the cache, which has something to do.
#[derive(Clone, Debug)]
pub(super) struct Running(pub(super) Cache<OriginService>);

impl Service<Job> for Running {
    type Response = Response;
    type Error = ProxyError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, ProxyError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut job: Job) -> Self::Future {
        let (cache, slot) = (self.0.clone(), job.request.head.extensions.remove::<Slot>());
        Box::pin(async move {
            if let Some(Slot { errand, ran }) = slot {
                // Boxed apart, or it would be held twice.
                let done = Box::pin(cache.run(job, errand)).await;
                *ran.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            }
            let http = http::Response::new(Body::Empty);
            Ok(ResponseParts::boxed(http, Outcome::default()))
        })
    }
}
