//! What rules answer by themselves: redirections and fixed responses. Never stored.

use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use tower::Service;

use super::route::Routed;
use super::{Early, now};
use crate::body::Body;
use crate::cache::Job;
use crate::context::{Detail, Outcome, Response, ResponseParts};
use crate::error::{ErrorKind, ProxyError};
use crate::key::Target;
use crate::policy::Reason;
use crate::rules::{self, Answer, Fixed, Redirect};

/// Answers what the rules answer, and passes on the rest.
///
/// A request's content is left unread: hyper skips what is there already, and ends a connection on
/// which more would have to be waited for.
#[derive(Clone, Debug)]
pub struct Answering<S> {
    inner: S,
}

impl<S> Answering<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<Routed> for Answering<S>
where
    S: Service<Job, Response = Response, Error = ProxyError>,
{
    type Response = Response;
    type Error = ProxyError;
    type Future = Early<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        let Routed { job, ruling, asked } = routed;
        match (&ruling.terms().answer, asked) {
            (Some(answer), Some(asked)) => now(answered(answer, &asked, &job)),
            _ => Either::Right(self.inner.call(job)),
        }
    }
}

fn answered(answer: &Answer, asked: &Target, job: &Job) -> Result<Response, ProxyError> {
    let (mut http, reason) = match answer {
        Answer::Redirect(redirect) => {
            let seen = rules::Request { target: asked, ..job.seen() };
            (redirected(redirect, &seen)?, Reason::Redirect)
        }
        Answer::Fixed(fixed) => (fixed_response(fixed, job), Reason::FixedAnswer),
    };
    job.edit_own(http.status(), http.headers_mut());
    let detail = Some(Detail::Reason(reason));
    Ok(ResponseParts::boxed(http, Outcome { detail, ..Outcome::default() }))
}

fn redirected(
    redirect: &Redirect,
    seen: &rules::Request<'_>,
) -> Result<http::Response<Body>, ProxyError> {
    let location = redirect.location(seen).ok_or(ErrorKind::UriTooLong)?;
    let mut http = http::Response::new(Body::Empty);
    *http.status_mut() = redirect.status;
    http.headers_mut().insert(LOCATION, location);
    http.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(http)
}

fn fixed_response(fixed: &Fixed, job: &Job) -> http::Response<Body> {
    let is_head = job.request.head.method == Method::HEAD;
    let body = if is_head { Body::Empty } else { Body::from(fixed.body.clone()) };
    let mut http = http::Response::new(body);
    *http.status_mut() = fixed.status;
    // RFC 9110 §6.4.1, §8.6: these have no content, and no length either.
    if !matches!(fixed.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        let headers = http.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(fixed.body.len()));
        if !fixed.body.is_empty() {
            headers.insert(CONTENT_TYPE, fixed.content_type.clone());
        }
    }
    http
}
