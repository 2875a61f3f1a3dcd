//! Between hyper and the stack: its requests become ours, and responses are watched to their end.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use futures_util::future::Either;
use http::header::CONTENT_LENGTH;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

use super::interim::Interim;
use super::pulse::{Pass, Pulse};
use super::stream;
use crate::context::{Connection, Request, RequestBody, RequestId, RequestParts};
use crate::error::ProxyError;

/// What a worker serves: tower's service from our requests to responses with some body.
pub trait Handler:
    Service<
        Request,
        Response = http::Response<<Self as Handler>::Body>,
        Error = ProxyError,
        Future: Send,
    > + Clone
    + Send
    + 'static
{
    /// The body of its responses.
    type Body: HttpBody<Data: Send, Error = ProxyError> + Send + Unpin + 'static;
}

impl<S, B> Handler for S
where
    S: Service<Request, Response = http::Response<B>, Error = ProxyError, Future: Send>
        + Clone
        + Send
        + 'static,
    B: HttpBody<Data: Send, Error = ProxyError> + Send + Unpin + 'static,
{
    type Body = B;
}

/// Numbers requests: a start that differs between processes, and a step per worker so that
/// workers share nothing.
#[derive(Debug)]
pub(super) struct RequestIds {
    next: AtomicU64,
    step: u64,
}

impl RequestIds {
    /// The numbers of worker `index` of `count`; `start` is the process's.
    pub(super) fn new(start: u64, index: usize, count: usize) -> Self {
        Self { next: AtomicU64::new(start.wrapping_add(index as u64)), step: count as u64 }
    }

    fn next(&self) -> RequestId {
        RequestId(self.next.fetch_add(self.step, Ordering::Relaxed))
    }
}

/// The stack as one connection's hyper service.
#[derive(Debug)]
pub(super) struct Stack<S> {
    /// tower calls by `&mut`, hyper by `&`; the borrow ends with the call.
    pub(super) inner: RefCell<S>,
    pub(super) connection: Arc<Connection>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) interim: Option<Arc<Interim>>,
    pub(super) ids: Arc<RequestIds>,
}

impl<S> hyper::service::Service<http::Request<Incoming>> for Stack<S>
where
    S: Handler,
{
    type Response = http::Response<Watched<S::Body>>;
    type Error = ProxyError;
    type Future = Answer<S>;

    fn call(&self, request: http::Request<Incoming>) -> Answer<S> {
        let (head, body) = request.into_parts();
        let (pass, received) = self.pulse.begin(!body.is_end_stream());
        let id = self.ids.next();
        let is_old = head.version < http::Version::HTTP_11;
        if let Some(interim) = &self.interim {
            interim.begin(id, !is_old);
        }
        let body =
            if body.is_end_stream() { RequestBody::Empty } else { RequestBody::Stream(body) };
        let request = RequestParts::boxed(head, body, &self.connection, received, id);
        Answer { begun: begin(&mut self.inner.borrow_mut(), request), pass: Some(pass), is_old }
    }
}

/// Calls a stack that is ready in place; only one that is not has to be cloned to be waited for.
fn begin<S: Handler>(stack: &mut S, request: Request) -> Begun<S> {
    match stack.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Either::Left(stack.call(request)),
        _ => Either::Right(Box::pin(stack.clone().oneshot(request))),
    }
}

type Begun<S> = Either<<S as Service<Request>>::Future, Pin<Box<Oneshot<S, Request>>>>;

pin_project! {
    /// A request being answered.
    pub(super) struct Answer<S>
    where
        S: Service<Request>,
    {
        #[pin]
        begun: Begun<S>,
        pass: Option<Pass>,
        // The client speaks HTTP/1.0, which has no chunks.
        is_old: bool,
    }
}

impl<S> Future for Answer<S>
where
    S: Handler,
{
    type Output = Result<http::Response<Watched<S::Body>>, ProxyError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.begun.poll(cx))?;
        // The version is the sender's (RFC 9110 §2.5), whatever the origin spoke; hyper lowers it
        // for clients of HTTP/1.0.
        *response.version_mut() = http::Version::HTTP_11;
        stream::wait_for_client();
        let pass = this.pass.take();
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS
            && let Some(pass) = &pass
        {
            pass.switches();
        }
        if *this.is_old
            && let Some(pass) = &pass
            && !is_framed(&response)
        {
            pass.ends_with_connection();
        }
        Poll::Ready(Ok(response.map(|body| Watched { body, pass, failure: None })))
    }
}

/// Whether a client without chunks can tell where the response ends.
fn is_framed<B: HttpBody>(response: &http::Response<B>) -> bool {
    response.headers().contains_key(CONTENT_LENGTH) || response.body().size_hint().exact().is_some()
}

/// A response's body, which ends the request when it is dropped.
#[derive(Debug)]
pub(super) struct Watched<B> {
    body: B,
    pass: Option<Pass>,
    failure: Option<ProxyError>,
}

impl<B: HttpBody> Watched<B> {
    /// Holds a failure back for one turn: hyper drops what it has not written when a body fails, and
    /// the client would not even get the head. What is cut shall be seen to be cut.
    fn fail(
        &mut self,
        error: ProxyError,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, ProxyError>>> {
        if self.pass.as_ref().is_none_or(Pass::is_stream) {
            return Poll::Ready(Some(Err(error)));
        }
        self.failure = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<B> HttpBody for Watched<B>
where
    B: HttpBody<Error = ProxyError> + Unpin,
{
    type Data = B::Data;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, ProxyError>>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Some(Err(error)));
        }
        stream::wait_for_body();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        stream::wait_for_client();
        match frame {
            Some(Err(error)) => self.fail(error, cx),
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
