//! `Seawall-Debug: 1`: what was done with a request, in short, in fields of its answer; for clients
//! that may know.
//!
//! The field itself goes no further than to `normalize`, like all that is said to this node alone:
//! no rule, no key, no `Vary` and no origin sees it.

use std::fmt::Write;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use pin_project_lite::pin_project;
use tower::Service;

use super::trace::{Routed, Trace};
use crate::context::{Detail, Request, Response};
use crate::error::ProxyError;
use crate::headers::{SEAWALL_DEBUG, names_secret};
use crate::policy::{VaryKey, VaryOutcome};

static ROUTE: HeaderName = HeaderName::from_static("seawall-debug-route");
static RULES: HeaderName = HeaderName::from_static("seawall-debug-rules");
static KEY: HeaderName = HeaderName::from_static("seawall-debug-key");
static VARIANT: HeaderName = HeaderName::from_static("seawall-debug-variant");
static REASON: HeaderName = HeaderName::from_static("seawall-debug-reason");
static TTL: HeaderName = HeaderName::from_static("seawall-debug-ttl");

/// Bytes of one field's value; what is longer ends in `...`.
const MOST_BYTES: usize = 2048;

/// Shows what was done with requests.
#[derive(Clone, Debug)]
pub struct Debugging<S> {
    allow: Arc<[IpNet]>,
    inner: S,
}

impl<S> Debugging<S> {
    /// For clients in `allow`.
    pub(super) fn new(allow: Arc<[IpNet]>, inner: S) -> Self {
        Self { allow, inner }
    }

    /// Whether a request asks for it, and may.
    fn is_asked(&self, request: &Request) -> bool {
        // Most nodes show nothing to anybody.
        if self.allow.is_empty() {
            return false;
        }
        let asks = request.head.headers.get(&SEAWALL_DEBUG).is_some_and(|value| value == "1");
        let client = request.client.to_canonical();
        asks && self.allow.iter().any(|network| network.contains(&client))
    }
}

impl<S> Service<Request> for Debugging<S>
where
    S: Service<Request, Response = Response, Error = ProxyError>,
{
    type Response = Response;
    type Error = ProxyError;
    type Future = Showing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let trace = self.is_asked(&request).then(|| {
            // Somebody else may look on already.
            let extensions = &mut request.head.extensions;
            extensions.get_or_insert_default::<Trace>().clone()
        });
        Showing { inner: self.inner.call(request), trace }
    }
}

pin_project! {
    /// A request whose answer may have to show how it came about.
    pub struct Showing<F> {
        #[pin]
        inner: F,
        trace: Option<Trace>,
    }
}

impl<F> Future for Showing<F>
where
    F: Future<Output = Result<Response, ProxyError>>,
{
    type Output = Result<Response, ProxyError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(trace) = this.trace.take() {
            show(&trace, &mut response);
        }
        Poll::Ready(Ok(response))
    }
}

fn show(trace: &Trace, response: &mut Response) {
    let headers = response.http.headers_mut();
    // What an origin says under these names is not ours.
    for name in [&ROUTE, &RULES, &KEY, &VARIANT, &REASON, &TTL] {
        headers.remove(name);
    }
    if let (Some(routed), Some(ruling)) = (trace.routed(), trace.ruling()) {
        let variant = variant(routed, headers);
        set(headers, &ROUTE, list([ruling.route().name.as_bytes()]));
        set(headers, &RULES, list(ruling.names().iter().map(String::as_bytes)));
        set(headers, &KEY, key(routed));
        set(headers, &VARIANT, variant);
    }
    if let Some(detail) = response.outcome.detail {
        headers.insert(&REASON, HeaderValue::from_static(Detail::word(detail)));
    }
    if let Some(ttl) = response.outcome.ttl {
        headers.insert(&TTL, HeaderValue::from(ttl));
    }
}

fn set(headers: &mut HeaderMap, name: &HeaderName, text: Option<String>) {
    // Invariant: `quote` leaves nothing that can't stand in a field.
    if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(name, value);
    }
}

/// The key: the URL, and what is keyed beside it.
fn key(routed: &Routed) -> Option<String> {
    let key = routed.keyed.key();
    let mut parts = key.as_str().split('\n');
    let url = parts.next().map(|url| url.as_bytes().to_vec());
    let parts = parts.map(|part| {
        let (name, value) = part.split_once('=').unzip();
        match value {
            Some(value) => pair(name.unwrap_or_default(), value.as_bytes()),
            None => part.as_bytes().to_vec(),
        }
    });
    list(url.into_iter().chain(parts))
}

/// What `Vary` makes of the request; `None` where there is none.
fn variant(routed: &Routed, response: &HeaderMap) -> Option<String> {
    if !response.contains_key(VARY) {
        return None;
    }
    let policy = &routed.ruling.terms().cache.policy;
    match VaryKey::parse(response, &routed.headers, policy) {
        VaryOutcome::None => None,
        VaryOutcome::Star => Some("\"*\"".to_owned()),
        VaryOutcome::Key(key) => list(key.nominated().map(|(name, value)| match value {
            Some(value) => pair(name.as_str(), value),
            None => name.as_str().as_bytes().to_vec(),
        })),
    }
}

/// A field with its value, as far as that may be told: the answer may be stored on its way.
fn pair(name: &str, value: &[u8]) -> Vec<u8> {
    let shown = if COOKIE == name {
        cookie_names(value)
    } else if names_secret(name) {
        b"...".to_vec()
    } else {
        value.to_vec()
    };
    [name.as_bytes(), b"=", &shown].concat()
}

fn cookie_names(value: &[u8]) -> Vec<u8> {
    let pairs = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let names = pairs.map(|pair| match pair.iter().position(|byte| *byte == b'=') {
        Some(end) => [&pair[..end], b"=..."].concat(),
        None => b"...".to_vec(),
    });
    names.collect::<Vec<_>>().join(&b"; "[..])
}

/// A list of strings (RFC 9651 §3.1); `None` for an empty one.
fn list<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Option<String> {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push_str(", ");
        }
        if !quote(&mut text, item.as_ref()) {
            break;
        }
    }
    (!text.is_empty()).then_some(text)
}

/// A string (RFC 9651 §3.3.3); what can't stand in one is percent-encoded. Whether it had room.
fn quote(text: &mut String, item: &[u8]) -> bool {
    text.push('"');
    for &byte in item {
        if text.len() >= MOST_BYTES {
            text.push_str("...\"");
            return false;
        }
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text.push('"');
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_quoted_and_bounded() {
        assert_eq!(list::<&[u8]>([]), None);
        assert_eq!(list(["a", "line 7"]).as_deref(), Some("\"a\", \"line 7\""));
        assert_eq!(list(["a\"b\\c\r\nd: é"]).as_deref(), Some(r#""a\"b\\c%0D%0Ad: %C3%A9""#));
        let long = list(["x".repeat(5000), "y".to_owned()]).expect("a list");
        assert!(long.len() < MOST_BYTES + 8 && long.ends_with("x...\""));
    }

    #[test]
    fn secrets_are_named_and_not_told() {
        let cookies = pair("cookie", b"session=s3cret; theme=dark; s3cret");
        assert_eq!(cookies, b"cookie=session=...; theme=...; ...");
        assert_eq!(pair("authorization", b"Basic dXNlcjpwYXNz=="), b"authorization=...");
        assert_eq!(pair("x-api-key", b"s3cret"), b"x-api-key=...");
        assert_eq!(pair("accept", b"*/*"), b"accept=*/*");
    }

    proptest! {
        #[test]
        fn any_list_is_a_field(items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..900), 0..6)) {
            let text = list(&items).unwrap_or_default();
            prop_assert!(text.len() < MOST_BYTES + 16);
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert!(HeaderValue::try_from(text).is_ok());
        }
    }
}
