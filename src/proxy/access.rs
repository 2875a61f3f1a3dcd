//! Who is let in: by address, and by user and password. Decided before anything is looked up, so
//! that what is stored is given to nobody else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use tower::Service;

use super::route::Routed;
use super::users::{Presented, Users};
use super::{Early, now};
use crate::context::Response;
use crate::error::{Challenge, ErrorKind, ProxyError};
use crate::headers::single;
use crate::rules::Networks;

/// Who is let in.
#[derive(Clone, Debug)]
pub struct Access {
    /// By the client's address, as trusted proxies tell it.
    pub networks: Networks,
    /// Only these, by user and password; `None` for everybody.
    pub users: Option<Arc<Users>>,
    /// What those who are asked are told: the value of `WWW-Authenticate`.
    pub challenge: HeaderValue,
    /// Whether the origin sees user and password too, and policy with it. Otherwise they are for
    /// Seawall alone, and what is stored is shared among those who are let in.
    pub pass_authorization: bool,
}

/// Passes on those who are let in.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
}

impl<S> Guard<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

/// A request whose password is being verified; boxed, for it is rare.
type Verifying = Pin<Box<dyn Future<Output = Result<Response, ProxyError>> + Send>>;

impl<S> Service<Routed> for Guard<S>
where
    S: Service<Routed, Response = Response, Error = ProxyError, Future: Send>
        + Clone
        + Send
        + 'static,
{
    type Response = Response;
    type Error = ProxyError;
    type Future = Either<Early<S::Future>, Verifying>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut routed: Routed) -> Self::Future {
        let Some(access) = &routed.ruling.terms().access else {
            return Either::Left(Either::Right(self.inner.call(routed)));
        };
        if !access.networks.admit(routed.job.request.client) {
            return Either::Left(now(Err(ErrorKind::AccessDenied.into())));
        }
        let Some(users) = &access.users else {
            return Either::Left(Either::Right(self.inner.call(routed)));
        };
        let headers = &routed.job.request.head.headers;
        let presented = single(headers, &AUTHORIZATION).and_then(Presented::read);
        match presented {
            None => Either::Left(now(Err(asked(access)))),
            Some(presented) if users.knows(&presented) => {
                let access = Arc::clone(access);
                take_credentials(&access, &mut routed);
                Either::Left(Either::Right(self.inner.call(routed)))
            }
            Some(presented) => {
                let (access, users) = (Arc::clone(access), Arc::clone(users));
                let mut inner = self.inner.clone();
                Either::Right(Box::pin(async move {
                    if !users.verify(presented).await? {
                        return Err(asked(&access));
                    }
                    take_credentials(&access, &mut routed);
                    std::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
                    inner.call(routed).await
                }))
            }
        }
    }
}

fn asked(access: &Access) -> ProxyError {
    ProxyError::with_source(ErrorKind::Unauthorized, Challenge(access.challenge.clone()))
}

/// Seawall's own credentials are nobody else's business: what they open is shared among those who
/// have them, and the origin can't tell one from another.
fn take_credentials(access: &Access, routed: &mut Routed) {
    if !access.pass_authorization {
        routed.job.request.head.headers.remove(AUTHORIZATION);
    }
}
