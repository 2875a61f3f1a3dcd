//! The `PURGE` method: from allowed addresses, or with a token.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use subtle::ConstantTimeEq;
use tower::Service;

use super::normalize::Normal;
use super::route::Routes;
use super::{Early, Purge, now};
use crate::body::Body;
use crate::cache::{self, Purged};
use crate::context::{Outcome, Response, ResponseParts};
use crate::error::{ErrorKind, ProxyError};
use crate::rules::{self, Label};
use crate::store::{Mode, Scope};

/// The field by which a `PURGE` asks for another than a soft one (`Purge-Mode: hard`, `refresh`).
static PURGE_MODE: HeaderName = HeaderName::from_static("purge-mode");

/// The field by which a `PURGE` asks for the whole fleet to have done it before it is answered
/// (`Purge-Wait: all`), and how long it waits for that.
static PURGE_WAIT: HeaderName = HeaderName::from_static("purge-wait");
const MOST_WAIT: Duration = Duration::from_secs(10);

/// Fields by which a `PURGE` asks for tags in place of its URL, and what stands between them: the
/// fields that responses have them in.
static TAGS: [(HeaderName, u8); 3] = [
    (HeaderName::from_static("surrogate-key"), b' '),
    (HeaderName::from_static("xkey"), b' '),
    (HeaderName::from_static("cache-tag"), b','),
];

/// Who may purge.
#[derive(Debug)]
pub struct PurgeAccess {
    allow: Vec<IpNet>,
    token: Option<String>,
}

impl PurgeAccess {
    /// As configured.
    #[must_use]
    pub fn new(config: &Purge) -> Self {
        Self { allow: config.allow.clone(), token: config.token.clone() }
    }

    fn permits(&self, client: IpAddr, headers: &HeaderMap) -> bool {
        let allowed = || self.allow.iter().any(|network| network.contains(&client));
        let presented = || headers.get(AUTHORIZATION).is_some_and(|value| self.is_token(value));
        allowed() || presented()
    }

    fn is_token(&self, value: &HeaderValue) -> bool {
        let Some(token) = &self.token else { return false };
        value
            .as_bytes()
            .strip_prefix(b"Bearer ")
            .is_some_and(|presented| presented.ct_eq(token.as_bytes()).into())
    }
}

/// Answers `PURGE`; it never reaches an origin.
#[derive(Clone, Debug)]
pub struct Purging<S> {
    access: Arc<PurgeAccess>,
    cache: Arc<cache::Shared>,
    routes: Arc<Routes>,
    inner: S,
}

impl<S> Purging<S> {
    /// Purges `cache` for whom `access` permits; `routes` tell what a URL is stored under.
    pub(super) fn new(
        access: Arc<PurgeAccess>,
        cache: Arc<cache::Shared>,
        routes: Arc<Routes>,
        inner: S,
    ) -> Self {
        Self { access, cache, routes, inner }
    }

    /// The URL as it is asked for, and as rules key it for a GET with the same fields.
    fn urls(&self, normal: &Normal) -> Vec<Scope> {
        let (target, request) = (&normal.target, &normal.request);
        let (method, headers) = (&Method::GET, &request.head.headers);
        let asked = rules::Request { method, target, headers, client: request.client };
        let ruling = self.routes.ruling(&asked);
        let mut keys = vec![target.key()];
        if let Some(ruling) = ruling {
            let keyed = ruling.keyed(target.clone(), &mut headers.clone(), false).key();
            keys.extend((keyed != keys[0]).then_some(keyed));
        }
        keys.iter().map(|key| Scope::Url(key.as_str().to_owned())).collect()
    }
}

/// A purge that waits for its place in the fleet, or for the fleet; boxed, for it is rare.
type Waiting = Pin<Box<dyn Future<Output = Result<Response, ProxyError>> + Send>>;

impl<S> Service<Normal> for Purging<S>
where
    S: Service<Normal, Response = Response, Error = ProxyError>,
{
    type Response = Response;
    type Error = ProxyError;
    type Future = Either<Early<S::Future>, Waiting>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, normal: Normal) -> Self::Future {
        if normal.request.head.method.as_str() != "PURGE" {
            return Either::Left(Either::Right(self.inner.call(normal)));
        }
        let headers = &normal.request.head.headers;
        if !self.access.permits(normal.request.client, headers) {
            return Either::Left(now(Err(ErrorKind::Forbidden.into())));
        }
        let mode = mode(headers);
        let scopes = match tags(headers) {
            Ok(Some(tags)) => tags,
            Ok(None) => self.urls(&normal),
            Err(refused) => return Either::Left(now(Err(refused))),
        };
        let waits = headers.get(&PURGE_WAIT).is_some_and(|whom| whom == "all");
        let purging = self.cache.purge_in_fleet(scopes, mode, waits.then_some(MOST_WAIT));
        Either::Right(Box::pin(async move { Ok(answer(&purging.await)) }))
    }
}

/// What is asked for, and soft where that is nothing.
fn mode(headers: &HeaderMap) -> Mode {
    let asked = headers.get(&PURGE_MODE);
    let named = |mode: &Mode| asked.is_some_and(|asked| asked == mode.word());
    Mode::ALL.into_iter().find(named).unwrap_or(Mode::Soft)
}

/// The tags to purge; `None` where there is no field for them.
fn tags(headers: &HeaderMap) -> Result<Option<Vec<Scope>>, ProxyError> {
    if TAGS.iter().all(|(name, _)| !headers.contains_key(name)) {
        return Ok(None);
    }
    let lines = TAGS
        .iter()
        .flat_map(|(name, separator)| headers.get_all(name).iter().map(|line| (line, *separator)));
    let named = lines.flat_map(|(line, separator)| rules::tags(line.as_bytes(), separator));
    let scopes: Result<Vec<_>, _> = named.map(|tag| Label::tag(tag).map(Scope::Label)).collect();
    let scopes = scopes.map_err(|error| ProxyError::with_source(ErrorKind::BadRequest, error))?;
    // Nobody who names no tag means the URL.
    if scopes.is_empty() { Err(ErrorKind::BadRequest.into()) } else { Ok(Some(scopes)) }
}

/// 200, or 202 where not everybody has done it who was waited for.
fn answer(purged: &Purged) -> Response {
    // Invariant: numbers and texts are always JSON.
    let text = serde_json::to_string(purged).unwrap_or_default();
    let mut http = http::Response::new(Body::Bytes((text + "\n").into()));
    if !purged.is_complete() {
        *http.status_mut() = StatusCode::ACCEPTED;
    }
    let headers = http.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ResponseParts::boxed(http, Outcome::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_take_the_place_of_the_url_and_none_is_no_purge() {
        let named = |fields: &[(HeaderName, &'static str)]| {
            let lines =
                fields.iter().map(|(name, tags)| (name.clone(), HeaderValue::from_static(tags)));
            let mut headers = HeaderMap::new();
            headers.extend(lines.map(|(name, value)| (Some(name), value)));
            tags(&headers)
        };
        let [(key, _), (xkey, _), (tag, _)] = &TAGS;
        let scopes = |tags: &[&str]| {
            let label = |tag: &&str| Scope::Label(Label::tag(tag.as_bytes()).expect("a tag"));
            Some(tags.iter().map(label).collect::<Vec<_>>())
        };
        assert_eq!(named(&[]).expect("no tags"), None);
        let fields = [(key.clone(), "a b,c"), (xkey.clone(), "x y"), (tag.clone(), "d e, f")];
        let tags = ["a", "b,c", "x", "y", "d e", "f"];
        assert_eq!(named(&fields).expect("tags"), scopes(&tags));
        assert!(named(&[(key.clone(), " ")]).is_err());
    }

    #[test]
    fn only_allowed_addresses_and_the_token_may_purge() {
        let access = PurgeAccess {
            allow: vec!["127.0.0.0/8".parse().expect("a network")],
            token: Some("s3cret".to_owned()),
        };
        let (near, far) = ([127, 0, 0, 1].into(), [192, 0, 2, 1].into());
        let with = |value: &'static str| {
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))])
        };
        assert!(access.permits(near, &HeaderMap::new()));
        assert!(!access.permits(far, &HeaderMap::new()));
        assert!(access.permits(far, &with("Bearer s3cret")));
        assert!(!access.permits(far, &with("Bearer s3cre")));
        assert!(!access.permits(far, &with("s3cret")));
        let closed = PurgeAccess { allow: Vec::new(), token: None };
        assert!(!closed.permits(near, &with("Bearer ")));
    }
}
