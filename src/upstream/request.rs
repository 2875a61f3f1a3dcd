//! The head of a request as an origin gets it: pure.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Extensions, HeaderMap, Method, Uri, Version};

use super::shared::fixed_authority;
use super::{Config, OriginRequest, OriginRequestBody};
use crate::error::{ErrorKind, ProxyError};

/// The head of a request as it would go to an upstream over HTTP/1, for who wants to show it.
///
/// # Errors
/// `BadHost` where there is no `Host` that could be sent.
pub fn head_as_sent(config: &Config, request: OriginRequest) -> Result<Parts, ProxyError> {
    let OriginRequest { mut head, body, upgrade, te_trailers, .. } = request;
    let content = match body {
        OriginRequestBody::Empty => Content::None,
        OriginRequestBody::Stream(_) => Content::Streamed,
    };
    let fixed = fixed_authority(config)
        .map_err(|error| ProxyError::with_source(ErrorKind::BadHost, error))?;
    let to = (fixed.as_ref(), config.tls);
    let plan = Plan::new(&mut head, to, content, upgrade, te_trailers)?;
    plan.http1(&mut head);
    Ok(head)
}

/// What stays the same over all attempts to send one request.
#[derive(Debug)]
pub(super) struct Plan {
    /// The host that the origin sees.
    pub(super) authority: Authority,
    host: HeaderValue,
    scheme: Scheme,
    path: PathAndQuery,
    upgrade: Option<HeaderValue>,
    te_trailers: bool,
    content: Content,
    is_head: bool,
}

/// How long a request's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// There is none.
    None,
    /// Known.
    Length(u64),
    /// Unknown: chunked in HTTP/1.
    Streamed,
}

impl Plan {
    /// Reads from `head` what its sending needs, and takes from it what isn't the origin's
    /// business. The client's framing goes too: ours is made from the content as it is. The origin
    /// always gets the `fixed` authority, if there is one, and speaks TLS if it is `secure`.
    ///
    /// # Errors
    /// `BadHost` where the origin is to see the client's host and the URI has none.
    pub(super) fn new(
        head: &mut Parts,
        (fixed, secure): (Option<&Authority>, bool),
        content: Content,
        upgrade: Option<HeaderValue>,
        te_trailers: bool,
    ) -> Result<Self, ProxyError> {
        let authority = match fixed {
            Some(fixed) => fixed.clone(),
            None => head.uri.authority().cloned().ok_or(ErrorKind::BadHost)?,
        };
        let host = host_of(&authority, &head.headers)?;
        let path = head.uri.path_and_query().filter(|path| !path.as_str().is_empty());
        let path = path.cloned().unwrap_or(PathAndQuery::from_static("/"));
        let scheme = if secure { Scheme::HTTPS } else { Scheme::HTTP };
        // The server side's extensions are the client connection's, not this one's.
        head.extensions = Extensions::new();
        head.headers.remove(TRANSFER_ENCODING);
        set_length(&mut head.headers, &head.method, content);
        if content == Content::None {
            head.headers.remove(EXPECT);
        }
        let is_head = head.method == Method::HEAD;
        Ok(Self { authority, host, scheme, path, upgrade, te_trailers, content, is_head })
    }

    /// Whether the request asks for another protocol, which only HTTP/1.1 can.
    pub(super) fn upgrade(&self) -> Option<&HeaderValue> {
        self.upgrade.as_ref()
    }

    /// Whether the request has content.
    pub(super) fn has_content(&self) -> bool {
        self.content != Content::None
    }

    /// Whether it is a `HEAD`, whose response tells of a length and has no content.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    /// The head for an HTTP/1.1 connection (RFC 9112 §3.2.1, §3.2).
    pub(super) fn http1(&self, head: &mut Parts) {
        head.version = Version::HTTP_11;
        head.uri = Uri::from(self.path.clone());
        put_host_first(&mut head.headers, &self.host);
        if self.content == Content::Streamed {
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let connection = match (self.te_trailers, self.upgrade.is_some()) {
            (true, true) => Some("te, upgrade"),
            (true, false) => Some("te"),
            (false, true) => Some("upgrade"),
            (false, false) => None,
        };
        if let Some(connection) = connection {
            head.headers.insert(CONNECTION, HeaderValue::from_static(connection));
        }
        if self.te_trailers {
            head.headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        if let Some(upgrade) = &self.upgrade {
            head.headers.insert(UPGRADE, upgrade.clone());
        }
    }

    /// The head for an HTTP/2 connection (RFC 9113 §8.2.2, §8.3.1).
    pub(super) fn http2(&self, head: &mut Parts) -> Result<(), ProxyError> {
        head.version = Version::HTTP_2;
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(self.path.clone());
        head.uri = Uri::from_parts(uri)
            .map_err(|error| ProxyError::with_source(ErrorKind::BadRequest, error))?;
        // A head that an HTTP/1 connection handed back has these.
        for name in [HOST, CONNECTION, TRANSFER_ENCODING, UPGRADE] {
            head.headers.remove(name);
        }
        // hyper does not tell of interim responses on HTTP/2, so a `100 Continue` could not be
        // awaited: the content follows at once, and no expectation is made.
        head.headers.remove(EXPECT);
        if self.te_trailers {
            head.headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        Ok(())
    }
}

/// `Content-Length` as the content is, whatever the client said; 0 is said where the method
/// makes one expect content (RFC 9110 §8.6).
fn set_length(headers: &mut HeaderMap, method: &Method, content: Content) {
    let expects_content = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    let length = match content {
        Content::Length(length) => Some(length),
        Content::None if expects_content => Some(0),
        Content::None | Content::Streamed => None,
    };
    match length {
        Some(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None => {
            headers.remove(CONTENT_LENGTH);
        }
    }
}

/// `authority` as the value of `Host`: mostly the client's own.
fn host_of(authority: &Authority, headers: &HeaderMap) -> Result<HeaderValue, ErrorKind> {
    match headers.get(HOST) {
        Some(host) if host.as_bytes() == authority.as_str().as_bytes() => Ok(host.clone()),
        _ => HeaderValue::from_str(authority.as_str()).map_err(|_| ErrorKind::BadHost),
    }
}

/// Makes `host` the only `Host`, and the first field (RFC 9110 §7.2: "SHOULD be the first").
fn put_host_first(headers: &mut HeaderMap, host: &HeaderValue) {
    let mut lines = headers.iter();
    let first = lines.next();
    if first == Some((&HOST, host)) && lines.next().is_none_or(|(name, _)| *name != HOST) {
        return;
    }
    if first.is_some_and(|(name, _)| *name == HOST) {
        // A field that is there already is replaced where it stands.
        headers.insert(HOST, host.clone());
        return;
    }
    headers.remove(HOST);
    let rest = std::mem::take(headers);
    headers.reserve(rest.len() + 4);
    headers.insert(HOST, host.clone());
    headers.extend(rest);
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::*;

    fn fixed(identity: Identity) -> Option<Authority> {
        let mut config = Config::new("o", false, "origin.internal", 8080);
        config.identity = identity;
        fixed_authority(&config).expect("a host")
    }

    fn head(method: &str, uri: &str, fields: &[(&'static str, &str)]) -> Parts {
        let mut builder = http::Request::builder().method(method).uri(uri);
        for &(name, value) in fields {
            builder = builder.header(name, value);
        }
        builder.body(()).expect("a valid request").into_parts().0
    }

    fn http1(
        mut head: Parts,
        identity: Identity,
        content: Content,
        upgrade: Option<&'static str>,
        te_trailers: bool,
    ) -> Parts {
        let upgrade = upgrade.map(HeaderValue::from_static);
        let fixed = fixed(identity);
        let plan = Plan::new(&mut head, (fixed.as_ref(), false), content, upgrade, te_trailers)
            .expect("a valid head");
        plan.http1(&mut head);
        head
    }

    #[test]
    fn host_is_one_and_first_whatever_the_client_sent() {
        let uri = "http://www.example/a?b";
        for fields in [
            &[("accept", "*/*"), ("host", "other.example"), ("host", "third.example")][..],
            &[("host", "other.example"), ("accept", "*/*"), ("host", "third.example")],
            &[("accept", "*/*")],
        ] {
            for (identity, expected) in [
                (Identity::Preserve, "www.example"),
                (Identity::Upstream, "origin.internal:8080"),
                (Identity::Name("fixed.example".to_owned()), "fixed.example"),
            ] {
                let sent = http1(head("GET", uri, fields), identity, Content::None, None, false);
                let names: Vec<_> = sent.headers.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(names, ["host", "accept"]);
                assert_eq!(sent.headers[HOST], expected);
                assert_eq!(sent.uri, "/a?b");
            }
        }
    }

    #[test]
    fn several_values_of_a_field_survive_in_order() {
        let fields = [("cookie", "a"), ("accept", "x"), ("cookie", "b")];
        let sent = http1(
            head("GET", "http://a/", &fields),
            Identity::Preserve,
            Content::None,
            None,
            false,
        );
        let cookies: Vec<_> = sent.headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a", "b"]);
    }

    #[test]
    fn framing_follows_the_content_and_not_the_clients_fields() {
        let fields = [("content-length", "7"), ("transfer-encoding", "gzip")];
        for (method, content, length, coding) in [
            ("POST", Content::Length(3), Some("3"), None),
            ("POST", Content::Streamed, None, Some("chunked")),
            ("GET", Content::Streamed, None, Some("chunked")),
            ("POST", Content::None, Some("0"), None),
            ("GET", Content::None, None, None),
        ] {
            let sent =
                http1(head(method, "http://a/", &fields), Identity::Preserve, content, None, false);
            let field = |name: &str| {
                sent.headers.get(name).map(|value| value.to_str().expect("plain text"))
            };
            assert_eq!(field("content-length"), length, "{method} {content:?}");
            assert_eq!(field("transfer-encoding"), coding, "{method} {content:?}");
        }
    }

    #[test]
    fn connection_names_what_is_of_this_connection() {
        for (te, upgrade, expected) in [
            (true, Some("websocket"), Some("te, upgrade")),
            (true, None, Some("te")),
            (false, Some("websocket"), Some("upgrade")),
            (false, None, None),
        ] {
            let sent = http1(
                head("GET", "http://a/", &[]),
                Identity::Preserve,
                Content::None,
                upgrade,
                te,
            );
            let connection =
                sent.headers.get(CONNECTION).map(|value| value.to_str().expect("plain text"));
            assert_eq!(connection, expected);
            assert_eq!(sent.headers.contains_key(TE), te);
            assert_eq!(sent.headers.contains_key(UPGRADE), upgrade.is_some());
        }
    }

    #[test]
    fn a_head_made_for_http1_can_be_remade_for_http2() {
        let mut head = head("GET", "http://www.example", &[("host", "x"), ("a", "b")]);
        let upgrade = Some(HeaderValue::from_static("websocket"));
        let plan = Plan::new(&mut head, (None, false), Content::Streamed, upgrade, true)
            .expect("a valid head");
        plan.http1(&mut head);
        plan.http2(&mut head).expect("a valid head");
        assert_eq!(head.uri, "http://www.example/");
        let mut names: Vec<_> = head.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "te"]);
    }

    #[test]
    fn the_asterisk_form_is_kept() {
        let mut head = head("OPTIONS", "*", &[]);
        let fixed = fixed(Identity::Upstream);
        let to = (fixed.as_ref(), false);
        let plan = Plan::new(&mut head, to, Content::None, None, false).expect("a head");
        plan.http1(&mut head);
        assert_eq!(head.uri, "*");
        let mut bare = self::head("OPTIONS", "*", &[]);
        let error = Plan::new(&mut bare, (None, false), Content::None, None, false)
            .expect_err("no host to preserve");
        assert_eq!(error.kind, ErrorKind::BadHost);
    }
}
