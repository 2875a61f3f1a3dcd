//! Which upstream a request goes to, and how its answers are cached.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::Method;
use tower::Service;

use super::controlled;
use super::normalize::Normal;
use super::rules::{Ruled, Rules, Ruling};
use super::trace::{Routed as Traced, Trace};
use super::{Early, Route, now};
use crate::cache::Job;
use crate::context::{Request, RequestBody, Response};
use crate::error::{ErrorKind, ProxyError};
use crate::key::Target;
use crate::rules;

/// All routes, as requests are matched against them.
#[derive(Debug)]
pub struct Routes(Vec<Compiled>);

#[derive(Debug)]
struct Compiled {
    route: Arc<Route>,
    ruled: Ruled,
}

impl Routes {
    /// In the order of the configuration: the first match wins.
    #[must_use]
    pub fn new(routes: &[Arc<Route>], rules: &Arc<Rules>) -> Self {
        let compile = |route: &Arc<Route>| Compiled {
            route: Arc::clone(route),
            ruled: Ruled::new(rules, route),
        };
        Self(routes.iter().map(compile).collect())
    }

    /// What is said of a request; `None` where there is no route for it.
    #[must_use]
    pub fn ruling(&self, request: &rules::Request<'_>) -> Option<Arc<Ruling>> {
        Some(self.find(request.target)?.ruled.ruling(request))
    }

    fn find(&self, target: &Target) -> Option<&Compiled> {
        // `OPTIONS *` is of the host as a whole (RFC 9110 §9.3.7).
        let path = if target.path() == "*" { "/" } else { target.path() };
        self.0.iter().find(|compiled| {
            let route = &compiled.route;
            route.host.as_ref().is_none_or(|pattern| pattern.matches(target.host()))
                && under(path, &route.path)
        })
    }
}

/// Whether `path` is `prefix` or lies below it.
fn under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

/// A request with what was found to be said of it.
#[derive(Debug)]
pub struct Routed {
    /// What is to be done.
    pub(super) job: Job,
    /// What the rules say.
    pub(super) ruling: Arc<Ruling>,
    /// What the client asks for with all of its query, where an answer is made of it.
    pub(super) asked: Option<Target>,
}

/// Whether a request is one that a cache answers: what such a one does not say to the cache, the
/// origin must not hear.
fn is_looked_up(request: &Request) -> bool {
    let retrieves = request.head.method == Method::GET || request.head.method == Method::HEAD;
    retrieves && matches!(request.body, RequestBody::Empty) && request.hop.upgrade.is_none()
}

/// Makes a [`Job`] of a request.
#[derive(Clone, Debug)]
pub struct Routing<S> {
    routes: Arc<Routes>,
    inner: S,
}

impl<S> Routing<S> {
    /// Routes by `routes`.
    pub(super) fn new(routes: Arc<Routes>, inner: S) -> Self {
        Self { routes, inner }
    }
}

impl<S> Service<Normal> for Routing<S>
where
    S: Service<Routed, Response = Response, Error = ProxyError>,
{
    type Response = Response;
    type Error = ProxyError;
    type Future = Early<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, normal: Normal) -> Self::Future {
        let Normal { mut request, target, trusted } = normal;
        let Some(ruling) = self.routes.ruling(&rules::Request {
            method: &request.head.method,
            target: &target,
            headers: &request.head.headers,
            client: request.client,
        }) else {
            return now(Err(ErrorKind::NoRoute.into()));
        };
        let terms = ruling.terms();
        let traced = request.head.extensions.get::<Trace>().cloned();
        let traced = traced.map(|trace| (trace, target.clone()));
        let asked = terms.answer.is_some().then(|| target.clone());
        let looked_up = terms.cache.enabled && is_looked_up(&request);
        if looked_up && !terms.key.fields.is_empty() {
            // What the origin will not see must not be keyed either.
            controlled::strip(&mut request.head.headers, trusted);
        }
        let target = ruling.keyed(target, &mut request.head.headers, looked_up);
        let mut by_response = ruling.by_response();
        if let Some((trace, asked)) = traced {
            by_response = by_response.map(|_| trace.by_response(&ruling));
            let (keyed, ruling) = (target.clone(), Arc::clone(&ruling));
            trace.tell(Traced { asked, keyed, headers: request.head.headers.clone(), ruling });
        }
        let (config, upstream) = (Arc::clone(&terms.cache), ruling.route().upstream);
        let edits = terms.request.clone();
        let job =
            Job { request, target, shares: None, config, by_response, edits, upstream, trusted };
        Either::Right(self.inner.call(Routed { job, ruling, asked }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache;
    use crate::key::HostPattern;

    fn route(host: Option<HostPattern>, path: &str, upstream: usize) -> Arc<Route> {
        let (name, path) = (path.to_owned(), path.to_owned());
        Arc::new(Route { name, host, path, upstream, cache: cache::Config::default() })
    }

    #[test]
    fn the_first_route_that_matches_host_and_path_wins() {
        let routes = Routes::new(
            &[
                route(Some(HostPattern::Exact("a.example".to_owned())), "/api", 0),
                route(Some(HostPattern::Below("a.example".to_owned())), "/", 1),
                route(None, "/static/", 2),
                route(Some(HostPattern::Exact("a.example".to_owned())), "/", 3),
            ],
            &Arc::default(),
        );
        for (url, expected) in [
            ("http://a.example/api", Some(0)),
            ("http://a.example:8080/api/x?y", Some(0)),
            ("http://a.example/apis", Some(3)),
            ("http://b.a.example/api", Some(1)),
            ("http://ba.example/", None),
            ("http://other.example/static/x", Some(2)),
            ("http://other.example/static", None),
        ] {
            let target = Target::parse(url).expect("a URL");
            assert_eq!(routes.find(&target).map(|found| found.route.upstream), expected, "{url}");
        }
    }
}
