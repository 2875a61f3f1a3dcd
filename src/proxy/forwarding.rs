//! The fields that tell an origin whom the proxy speaks for, and what trusted proxies tell us.
//!
//! What a peer says of others is believed, and added to, only if the peer is trusted; otherwise
//! it is replaced. Fields that origins are known to reflect go altogether: no client must be able
//! to write into a response that others get.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::header::{FORWARDED, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use ipnet::IpNet;
use smallvec::SmallVec;

use super::controlled;
use crate::context::{Connection, Introduction, Protocol, Request};
use crate::key::Target;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Proxies that are passed on of those that a request went through: the last ones, which are the
/// ones that trusted peers vouch for.
const MOST_HOPS: usize = 64;

/// Fields that [`apply`] adds, and room for `Host` before them.
const ADDED: usize = 6;

/// Whether a request's peer is believed when it says whom it speaks for.
pub(super) fn is_trusted(request: &Request, trusted: &[IpNet]) -> bool {
    let peer = request.connection.peer.ip().to_canonical();
    trusted.iter().any(|network| network.contains(&peer))
}

/// Notes whom a trusted peer speaks for.
pub(super) fn find_client(request: &mut Request, trusted: &[IpNet]) {
    if is_trusted(request, trusted) {
        request.client = client(&request.head.headers).unwrap_or(request.client);
    }
}

/// The client's address as a trusted peer tells it: the last in `X-Forwarded-For`, else in
/// `Forwarded`. `None` if the peer says nothing; the unspecified address, which no list holds, if
/// what it says can't be read.
pub(super) fn client(headers: &HeaderMap) -> Option<IpAddr> {
    let told = if headers.contains_key(&X_FORWARDED_FOR) {
        members(headers, &X_FORWARDED_FOR).last().and_then(address)
    } else {
        let last = members(headers, &FORWARDED).last()?;
        parameter(last, b"for").and_then(address)
    };
    Some(told.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
}

/// The members of a list by its commas alone: an open quote that a client wrote into it must not
/// swallow what trusted peers have added.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let members = lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}

/// Whether a trusted peer's client speaks TLS, if the peer says.
pub(super) fn scheme(headers: &HeaderMap) -> Option<bool> {
    let last = members(headers, &X_FORWARDED_PROTO).last();
    let scheme = last.or_else(|| {
        let last = members(headers, &FORWARDED).last()?;
        parameter(last, b"proto")
    })?;
    match scheme {
        scheme if scheme.eq_ignore_ascii_case(b"https") => Some(true),
        scheme if scheme.eq_ignore_ascii_case(b"http") => Some(false),
        _ => None,
    }
}

/// Makes a request's fields say whom it is forwarded for, and by whom: `via`.
pub(super) fn apply(
    headers: &mut HeaderMap,
    connection: &Connection,
    target: &Target,
    trusted: bool,
    via: &Via,
) {
    controlled::strip(headers, trusted);
    headers.reserve(ADDED);
    if let Some(Introduction { element, peer, host, .. }) =
        introduction(connection, target).as_deref()
    {
        if trusted {
            extend(headers, &X_FORWARDED_FOR, peer.as_bytes());
            extend(headers, &FORWARDED, element.as_bytes());
        } else {
            // There is nothing left of what others say.
            headers.insert(&X_FORWARDED_FOR, peer.clone());
            headers.insert(&FORWARDED, element.clone());
        }
        if !(trusted && headers.contains_key(&X_FORWARDED_HOST)) {
            headers.insert(&X_FORWARDED_HOST, host.clone());
        }
    }
    // Normalization has read a trusted peer's word into the target already.
    headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(target.scheme()));
    let http2 = connection.protocol == Protocol::Http2;
    let version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    headers.append(VIA, via.of(version));
}

/// The values of `Via` that one proxy has (RFC 9110 §7.6.3), each made once.
#[derive(Clone, Debug)]
pub(super) struct Via {
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// Those of the proxy called `name`, a token.
    pub(super) fn new(name: &str) -> Self {
        let value = |version| {
            // A name that is no token is refused where it is configured.
            HeaderValue::try_from(format!("{version} {name}"))
                .unwrap_or(HeaderValue::from_static("1.1 seawall"))
        };
        Self { http10: value("1.0"), http11: value("1.1"), http2: value("2.0") }
    }

    /// The value for a message that was received in `version`.
    pub(super) fn of(&self, version: Version) -> HeaderValue {
        let value = match version {
            Version::HTTP_10 => &self.http10,
            Version::HTTP_2 => &self.http2,
            _ => &self.http11,
        };
        value.clone()
    }
}

/// An address as text; the longest IPv6 one has 45 bytes.
type AddressText = SmallVec<[u8; 45]>;

/// Every miss has one, and nearly all are IPv4: without the machinery of formatting.
fn address_text(address: IpAddr) -> AddressText {
    let mut text = AddressText::new();
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push(b'.');
                }
                // Byte by byte: `extend_from_slice` is made for more of them.
                text.extend(itoa::Buffer::new().format(octet).bytes());
            }
        }
        IpAddr::V6(address) => text.extend_from_slice(address.to_string().as_bytes()),
    }
    text
}

/// What is said of a connection's client to who answers for `target`; `None` for a host that no
/// field can name.
fn introduction<'a>(connection: &'a Connection, target: &Target) -> Option<Cow<'a, Introduction>> {
    let is_for = |known: &Introduction| {
        known.authority.as_str() == target.authority.as_str() && known.scheme == target.scheme()
    };
    let known = connection.introduction.get();
    if let Some(known) = known.filter(|known| is_for(known)) {
        return Some(Cow::Borrowed(known));
    }
    let new = introduce(connection.peer.ip().to_canonical(), target)?;
    if known.is_none() {
        // Two requests at once say the same, or the first one is kept.
        let _ = connection.introduction.set(new.clone());
    }
    Some(Cow::Owned(new))
}

/// One element of `Forwarded` (RFC 7239 §4), and what it says: slices of it, for other fields say the
/// same.
fn introduce(peer: IpAddr, target: &Target) -> Option<Introduction> {
    let (authority, scheme) = (target.authority.clone(), target.scheme());
    let (open, close): (&[u8], &[u8]) =
        if peer.is_ipv4() { (b"for=", b";host=\"") } else { (b"for=\"[", b"]\";host=\"") };
    let (peer, host) = (address_text(peer), authority.as_str().as_bytes());
    let parts = [open, &peer, close, host, b"\";proto=", scheme.as_bytes()];
    let text = Bytes::from(parts.concat());
    let (peer_at, host_at) = (open.len(), open.len() + peer.len() + close.len());
    let value = |part: Bytes| HeaderValue::from_maybe_shared(part).ok();
    Some(Introduction {
        peer: value(text.slice(peer_at..peer_at + peer.len()))?,
        host: value(text.slice(host_at..host_at + host.len()))?,
        element: value(text)?,
        authority,
        scheme,
    })
}

/// The value of a parameter of a `Forwarded` element, without its quotes.
fn parameter<'a>(element: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    element.split(|byte| *byte == b';').find_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// An address with or without port, an IPv6 one with or without brackets.
fn address(value: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse::<IpAddr>().ok().or_else(with_port).map(|address| address.to_canonical())
}

/// Adds a member to a list that stands in one line, so that origins which read only one see all.
fn extend(headers: &mut HeaderMap, name: &HeaderName, member: &[u8]) {
    let all: Vec<_> = members(headers, name).collect();
    let value = if all.is_empty() {
        HeaderValue::from_bytes(member)
    } else {
        let last = &all[all.len().saturating_sub(MOST_HOPS)..];
        HeaderValue::from_bytes(&[&last.join(&b", "[..]), member].join(&b", "[..]))
    };
    set(headers, name, value);
}

/// Makes `value` the only one of `name`, if it is one that may be said.
fn set<E>(headers: &mut HeaderMap, name: &HeaderName, value: Result<HeaderValue, E>) {
    if let Ok(value) = value {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;

    fn connection(peer: &str) -> Connection {
        Connection {
            peer: SocketAddr::new(peer.parse().expect("an address"), 1234),
            local: SocketAddr::from(([127, 0, 0, 1], 80)),
            secure: false,
            protocol: Protocol::Http1,
            interim: None,
            introduction: OnceLock::new(),
        }
    }

    fn applied(lines: &[(&'static str, &str)], trusted: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a value"));
        }
        let target = Target::parse("http://shop.example/").expect("a URL");
        apply(&mut headers, &connection("192.0.2.7"), &target, trusted, &Via::new("seawall"));
        headers
    }

    #[test]
    fn what_an_untrusted_peer_says_is_replaced() {
        let headers = applied(
            &[
                ("x-forwarded-for", "6.6.6.6"),
                ("x-forwarded-host", "evil.example"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-scheme", "https"),
                ("x-original-url", "/admin"),
                ("forwarded", "for=6.6.6.6"),
            ],
            false,
        );
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["forwarded"], "for=192.0.2.7;host=\"shop.example\";proto=http");
        assert!(!headers.contains_key("x-original-url"));
        assert!(!headers.contains_key("x-forwarded-scheme"));
        assert_eq!(headers["via"], "1.1 seawall");
    }

    #[test]
    fn each_request_of_a_connection_is_introduced_by_its_own_authority_and_scheme() {
        let connection = connection("192.0.2.7");
        for url in ["http://a.test/x", "http://a.test/y", "http://b.test:81/", "https://a.test/"] {
            let target = Target::parse(url).expect("a URL");
            let mut headers = HeaderMap::new();
            apply(&mut headers, &connection, &target, false, &Via::new("seawall"));
            let (host, scheme) = (target.authority.as_str(), target.scheme());
            assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
            assert_eq!(headers["x-forwarded-host"], host);
            let element = format!("for=192.0.2.7;host=\"{host}\";proto={scheme}");
            assert_eq!(headers["forwarded"], element);
        }
    }

    #[test]
    fn what_a_trusted_peer_says_is_added_to() {
        let headers = applied(
            &[("x-forwarded-for", "203.0.113.1"), ("x-forwarded-for", "203.0.113.2")],
            true,
        );
        assert_eq!(headers["x-forwarded-for"], "203.0.113.1, 203.0.113.2, 192.0.2.7");
    }

    #[test]
    fn a_trusted_peers_client_is_read_in_all_its_forms() {
        for (name, value, expected) in [
            ("x-forwarded-for", "10.0.0.1, 203.0.113.9", Some("203.0.113.9")),
            ("x-forwarded-for", "203.0.113.9:4711", Some("203.0.113.9")),
            ("x-forwarded-for", "unknown", Some("0.0.0.0")),
            ("x-forwarded-for", "\"x, 203.0.113.9", Some("203.0.113.9")),
            (
                "x-forwarded-for",
                &format!("{}203.0.113.9", "10.0.0.1, ".repeat(100)),
                Some("203.0.113.9"),
            ),
            ("forwarded", "for=203.0.113.9;proto=https", Some("203.0.113.9")),
            ("forwarded", "x=\"1;for=10.0.0.1;y, for=203.0.113.9", Some("203.0.113.9")),
            ("forwarded", "for=\"[2001:db8::1]:80\"", Some("2001:db8::1")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a value"));
            assert_eq!(client(&headers).map(|client| client.to_string()).as_deref(), expected);
        }
    }
}
