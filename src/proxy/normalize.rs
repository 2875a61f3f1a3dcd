//! One reading of a request: whose it is, what URL it is for, what its hop-by-hop fields ask.
//!
//! Nobody below reads `Host`, the request target or a hop-by-hop field again.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::{CONNECTION, COOKIE, EXPECT, HOST, TE, UPGRADE};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use ipnet::IpNet;
use tower::Service;

use super::{Early, forwarding, now};
use crate::context::{Hop, Protocol, Request, Response};
use crate::error::{ErrorKind, ProxyError};
use crate::headers::{self, Present};
use crate::key::{Target, TargetError, normalize_host};

/// A request in normal form.
#[derive(Debug)]
pub struct Normal {
    /// The request, without hop-by-hop fields.
    pub request: Request,
    /// Its effective URI.
    pub target: Target,
    /// Whether its peer's forwarding fields are believed.
    pub trusted: bool,
}

/// Brings requests into normal form, or refuses them.
#[derive(Clone, Debug)]
pub struct Normalize<S> {
    trusted: Arc<[IpNet]>,
    inner: S,
}

impl<S> Normalize<S> {
    /// Believes the peers in `trusted`.
    pub(super) fn new(trusted: Arc<[IpNet]>, inner: S) -> Self {
        Self { trusted, inner }
    }
}

impl<S> Service<Request> for Normalize<S>
where
    S: Service<Normal, Response = Response, Error = ProxyError>,
{
    type Response = Response;
    type Error = ProxyError;
    type Future = Early<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match normalize(request, &self.trusted) {
            Ok(normal) => Either::Right(self.inner.call(normal)),
            Err(error) => now(Err(error)),
        }
    }
}

fn normalize(mut request: Request, trusted: &[IpNet]) -> Result<Normal, ProxyError> {
    check_form(&request.head)?;
    check_names(&request)?;
    let present = request.present;
    if present.any(Present::HOP_BY_HOP) {
        check_connection(&request.head.headers)?;
    }
    let trusted = forwarding::is_trusted(&request, trusted);
    let mut secure = request.connection.secure;
    if trusted {
        secure = forwarding::scheme(&request.head.headers).unwrap_or(secure);
    }
    let target = target(&request, secure)?;
    if present.any(Present::HOP_BY_HOP) {
        request.hop = hop(&request, &request.head.headers);
        headers::strip_hop_by_hop(&mut request.head.headers);
    }
    if present.any(Present::EXPECT) && request.head.version < Version::HTTP_11 {
        // RFC 9110 §10.1.1: HTTP/1.0 knows no interim response, so nobody waits for one.
        request.head.headers.remove(EXPECT);
    }
    if present.any(Present::COOKIE) {
        join_cookies(&mut request.head.headers);
    }
    Ok(Normal { request, target, trusted })
}

/// Each form of target is for some requests only (RFC 9112 §3.2, RFC 9113 §8.3.1).
fn check_form(head: &Parts) -> Result<(), ProxyError> {
    let uri = &head.uri;
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    // hyper shows a `:path` that is missing as an empty one, which `path_and_query` would show as
    // the root.
    let is_missing = uri.path().is_empty();
    let fits = !is_missing
        && match uri.scheme() {
            Some(scheme) if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS => false,
            // Absolute form; HTTP/2 has a path beside its scheme and authority.
            Some(_) if head.version < Version::HTTP_2 => {
                path.is_empty() || path.starts_with(['/', '?'])
            }
            // An authority alone is for CONNECT.
            None if uri.authority().is_some() => false,
            _ => path.starts_with('/') || (path == "*" && head.method == Method::OPTIONS),
        };
    if fits { Ok(()) } else { Err(ErrorKind::BadRequest.into()) }
}

/// RFC 9110 §5.6.2: a quote is in no token, but in what the `http` crate takes for a name. HTTP/1
/// names are checked by its parser.
fn check_names(request: &Request) -> Result<(), ProxyError> {
    let is_bad = |name: &HeaderName| name.as_str().contains('"');
    let http2 = request.connection.protocol == Protocol::Http2;
    if http2 && request.head.headers.keys().any(is_bad) {
        return Err(ErrorKind::BadRequest.into());
    }
    Ok(())
}

/// RFC 9110 §7.6.1: a list of tokens. hyper reads none of a value that isn't ASCII, and would go on
/// after a `close` in it.
fn check_connection(headers: &HeaderMap) -> Result<(), ProxyError> {
    let is_ascii = |value: &HeaderValue| value.as_bytes().is_ascii();
    if headers.get_all(CONNECTION).iter().all(is_ascii) {
        return Ok(());
    }
    Err(ErrorKind::BadRequest.into())
}

/// The effective URI (RFC 9110 §7.1, RFC 9112 §3.2 and §3.3, RFC 9113 §8.3.1).
fn target(request: &Request, secure: bool) -> Result<Target, ProxyError> {
    static ROOT: PathAndQuery = PathAndQuery::from_static("/");
    let head = &request.head;
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(ErrorKind::BadHost.into());
    }
    // An authority in the target goes before `Host`, which stands for it elsewhere but has to be
    // valid all the same (RFC 9112 §3.2).
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    if let (Some(_), Some(host)) = (authority, host) {
        normalize_host(host.as_bytes(), secure).map_err(bad_target)?;
    }
    let host = match (authority, host) {
        (Some(_), None) if head.version == Version::HTTP_11 => None,
        (Some(authority), _) => Some(authority),
        (None, host) => host.map(HeaderValue::as_bytes),
    };
    let path = head.uri.path_and_query().unwrap_or(&ROOT);
    let target = match host {
        Some(host) => Target::new(secure, host, path),
        // Before HTTP/1.1 the address was all there was (RFC 9112 §3.3).
        None if head.version < Version::HTTP_11 => {
            Target::new(secure, request.connection.local.to_string().as_bytes(), path)
        }
        None => return Err(ErrorKind::BadHost.into()),
    };
    target.map_err(bad_target)
}

fn bad_target(error: TargetError) -> ProxyError {
    let kind = match error {
        TargetError::Path | TargetError::Scheme => ErrorKind::BadRequest,
        TargetError::Host | TargetError::Port => ErrorKind::BadHost,
    };
    ProxyError::with_source(kind, error)
}

/// HTTP/2 may send a cookie in crumbs, which are one field to everybody else (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let crumbs: Vec<_> = [first, second].into_iter().chain(crumbs).collect();
        if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            headers.insert(COOKIE, cookie);
        }
    }
}

fn hop(request: &Request, headers: &HeaderMap) -> Hop {
    let names_upgrade = || {
        let mut options = headers::list_members(headers, &CONNECTION);
        options.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
    };
    let upgrade = headers.get(UPGRADE).filter(|_| {
        request.connection.protocol == Protocol::Http1
            && request.head.version == Version::HTTP_11
            && names_upgrade()
    });
    let trailers =
        headers::list_members(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    Hop { upgrade: upgrade.cloned(), trailers }
}
