//! Bounds work before any is done.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT};
use http::{HeaderMap, Method};
use tower::Service;

use super::{Early, Limits, now};
use crate::context::{Request, Response};
use crate::error::{ErrorKind, ProxyError};
use crate::headers::Present;

/// Refuses what is too much or not for a reverse proxy.
#[derive(Clone, Debug)]
pub struct Admit<S> {
    limits: Arc<Limits>,
    inner: S,
}

impl<S> Admit<S> {
    /// Admits within `limits`; how many are under way was seen by `observe`.
    pub(super) fn new(limits: Arc<Limits>, inner: S) -> Self {
        Self { limits, inner }
    }
}

impl<S> Service<Request> for Admit<S>
where
    S: Service<Request, Response = Response, Error = ProxyError>,
{
    type Response = Response;
    type Error = ProxyError;
    type Future = Early<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let refused = request.refused.or_else(|| refusal(&request, &self.limits));
        match refused {
            Some(kind) => now(Err(kind.into())),
            None => Either::Right(self.inner.call(request)),
        }
    }
}

/// How many fields there are; HTTP/2 may bring `Cookie` in pieces (RFC 9113 §8.2.3).
fn fields(headers: &HeaderMap) -> usize {
    headers.len() - headers.get_all(COOKIE).iter().skip(1).count()
}

fn refusal(request: &Request, limits: &Limits) -> Option<ErrorKind> {
    let head = &request.head;
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Some(ErrorKind::MethodRefused);
    }
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.max_uri_bytes {
        return Some(ErrorKind::UriTooLong);
    }
    if head.headers.len() > limits.max_headers && fields(&head.headers) > limits.max_headers {
        return Some(ErrorKind::TooManyFields);
    }
    if let Some(most) = limits.max_body_bytes
        && let Some(length) = head.headers.get(CONTENT_LENGTH)
        && length.to_str().ok().and_then(|length| length.parse().ok()).is_none_or(|n: u64| n > most)
    {
        return Some(ErrorKind::BodyTooLarge);
    }
    if !request.present.any(Present::EXPECT) {
        return None;
    }
    // RFC 9110 §10.1.1: the only one there is, and it is made once.
    let mut expectations = head.headers.get_all(EXPECT).iter();
    let unknown = expectations
        .next()
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    (unknown || expectations.next().is_some()).then_some(ErrorKind::ExpectationFailed)
}
