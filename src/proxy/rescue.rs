//! The only place where an error becomes a response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{ACCEPT, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};
use pin_project_lite::pin_project;
use tower::Service;

use super::ErrorPages;
use crate::context::{Request, RequestId, Response};
use crate::error::{Challenge, Fault, ProxyError};

/// Answers what the layers below could not.
#[derive(Clone, Debug)]
pub struct Rescue<S> {
    pages: Arc<ErrorPages>,
    inner: S,
}

impl<S> Rescue<S> {
    /// Answers errors with `pages`.
    pub(super) fn new(pages: Arc<ErrorPages>, inner: S) -> Self {
        Self { pages, inner }
    }
}

impl<S> Service<Request> for Rescue<S>
where
    S: Service<Request, Response = Response, Error = ProxyError>,
{
    type Response = Response;
    type Error = ProxyError;
    type Future = Rescuing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let head = request.head.method == Method::HEAD;
        let accept = request.head.headers.get(ACCEPT).cloned();
        let id = request.id;
        let pages = Arc::clone(&self.pages);
        Rescuing { inner: self.inner.call(request), pages, accept, id, head }
    }
}

pin_project! {
    /// A request whose answer may be an error.
    pub struct Rescuing<F> {
        #[pin]
        inner: F,
        pages: Arc<ErrorPages>,
        accept: Option<HeaderValue>,
        id: RequestId,
        head: bool,
    }
}

impl<F> Future for Rescuing<F>
where
    F: Future<Output = Result<Response, ProxyError>>,
{
    type Output = Result<Response, ProxyError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        Poll::Ready(Ok(answer.unwrap_or_else(|error| {
            log(&error, *this.id);
            let accept = this.accept.as_ref();
            let mut response = this.pages.respond(error.kind, accept, *this.id, *this.head);
            if let Some(Challenge(value)) = error.challenge() {
                response.http.headers_mut().insert(WWW_AUTHENTICATE, value.clone());
            }
            response
        })))
    }
}

/// What the operator has to act on is logged with its cause; a client's mistakes are not. What is
/// shed is counted: a flood must not become one of the log.
fn log(error: &ProxyError, id: RequestId) {
    let kind = error.kind.word();
    let cause = error.source.as_ref().map(tracing::field::display);
    if error.kind.is_shed() {
        return tracing::debug!(%id, kind, cause, "request shed");
    }
    match error.kind.fault() {
        Fault::Client => tracing::debug!(%id, kind, cause, "request refused"),
        Fault::Origin => tracing::warn!(%id, kind, cause, "origin failed"),
        Fault::Proxy => tracing::error!(%id, kind, cause, "request failed"),
    }
}
