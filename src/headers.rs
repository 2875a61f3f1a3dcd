//! Field names and list syntax that several rooms need (RFC 9110 §5, §7.6.1).

use http::header::{
    ACCEPT_RANGES, AGE, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING,
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE, DATE, ETAG, EXPECT, EXPIRES, FORWARDED,
    HOST, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, LOCATION, MAX_FORWARDS, PRAGMA, RANGE, RETRY_AFTER, SET_COOKIE, TRAILER,
    TRANSFER_ENCODING, VARY, VIA, WARNING, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

/// `Cache-Status` (RFC 9211).
pub static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// `CDN-Cache-Control` (RFC 9213 §3.1).
pub static CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
/// Seawall's own targeted field (RFC 9213 §2); it wins over `CDN-Cache-Control`.
pub static SEAWALL_CACHE_CONTROL: HeaderName = HeaderName::from_static("seawall-cache-control");
/// Asks this node, and no other, to show what it does with the request.
pub static SEAWALL_DEBUG: HeaderName = HeaderName::from_static("seawall-debug");
/// `Surrogate-Control` (W3C note of 2001).
pub static SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
/// nginx's `X-Accel-Expires`.
pub static X_ACCEL_EXPIRES: HeaderName = HeaderName::from_static("x-accel-expires");
/// `Keep-Alive`, of HTTP/1.0 days.
pub static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// `Proxy-Connection`, never standard.
pub static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// `Proxy-Authentication-Info` (RFC 9110 §11.7.3).
pub static PROXY_AUTHENTICATION_INFO: HeaderName =
    HeaderName::from_static("proxy-authentication-info");
/// `X-Forwarded-For`.
pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`.
pub static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`.
pub static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Forwarded-Port`.
pub static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// `X-Request-ID`.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Which of the fields that decide something are there, told in one pass: most requests have none,
/// and to look up each would cost more than all else that a hit does with fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present(u8);

impl Present {
    /// A field that is for one connection ([`is_hop_by_hop`]).
    pub const HOP_BY_HOP: Self = Self(1);
    /// `Expect`.
    pub const EXPECT: Self = Self(1 << 1);
    /// `Cookie`.
    pub const COOKIE: Self = Self(1 << 2);
    /// `Cache-Control` or `Pragma`.
    pub const DIRECTIVES: Self = Self(1 << 3);
    /// A precondition other than `If-Range`.
    pub const CONDITIONS: Self = Self(1 << 4);
    /// `Range` or `If-Range`.
    pub const RANGES: Self = Self(1 << 5);
    /// `Authorization`.
    pub const AUTHORIZATION: Self = Self(1 << 6);

    /// One or the other.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in `headers`.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |found, name| found | Self::bit(name).0))
    }

    /// Whether one of `others` is among these.
    #[must_use]
    pub const fn any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    fn bit(name: &HeaderName) -> Self {
        match name.as_str() {
            "expect" => Self::EXPECT,
            "cookie" => Self::COOKIE,
            "cache-control" | "pragma" => Self::DIRECTIVES,
            "if-match" | "if-none-match" | "if-modified-since" | "if-unmodified-since" => {
                Self::CONDITIONS
            }
            "range" | "if-range" => Self::RANGES,
            "authorization" => Self::AUTHORIZATION,
            "connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-authentication-info"
            | "seawall-debug" => Self::HOP_BY_HOP,
            _ => Self(0),
        }
    }
}

/// A number as a field's value, in one allocation as long as it is: `HeaderValue::from` leaves room
/// for any number, and another allocation counts who shares it.
#[must_use]
pub fn number(number: impl Into<u64>) -> HeaderValue {
    let number = number.into();
    // Invariant: digits are a good value.
    HeaderValue::from_str(itoa::Buffer::new().format(number))
        .unwrap_or_else(|_| HeaderValue::from(number))
}

/// Removes the fields that are for one connection only: those that `Connection` nominates, and
/// the hop-by-hop set itself, `Connection` included (RFC 9110 §7.6.1, RFC 9111 §3.1).
///
/// A nomination can't remove a field on which framing, the cache or privacy depends:
/// `Connection: authorization` would turn a private answer into a shared one.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most messages have few fields and none of these: one pass, no look-ups.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        let nominated: SmallVec<[HeaderName; 4]> = connection_options(headers)
            .filter_map(|option| HeaderName::from_bytes(option).ok())
            .filter(|name| !is_kept(name))
            .collect();
        for name in nominated {
            headers.remove(name);
        }
    }
    let of_connection: SmallVec<[HeaderName; 4]> =
        headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in of_connection {
        headers.remove(name);
    }
}

/// Removes from trailers what has no place there: fields that frame, route, authenticate or
/// control a message, or say what its content is (RFC 9110 §6.5.1). A recipient that merges
/// trailers into the header section must not get any of these from us.
pub fn strip_forbidden_trailers(trailers: &mut HeaderMap) {
    const FORBIDDEN: [HeaderName; 9] = [
        ACCEPT_RANGES,
        ALLOW,
        EXPECT,
        LOCATION,
        MAX_FORWARDS,
        RETRY_AFTER,
        TRAILER,
        WARNING,
        WWW_AUTHENTICATE,
    ];
    let is_forbidden = |name: &&HeaderName| {
        is_hop_by_hop(name)
            || (is_kept(name) && **name != ETAG)
            || FORBIDDEN.contains(name)
            // The `http` crate takes a quote for part of a name; nobody else does.
            || name.as_str().contains('"')
    };
    let forbidden: SmallVec<[HeaderName; 4]> =
        trailers.keys().filter(is_forbidden).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

/// The hop-by-hop set (RFC 9110 §7.6.1, §11.7), and what is said to this node alone.
#[must_use]
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    Present::bit(name) == Present::HOP_BY_HOP
}

/// Whether what stands under this name (a field's, a cookie's, a parameter's, a setting's) is
/// likely a secret, or tells who somebody is: it is shown to nobody.
#[must_use]
pub fn names_secret(name: &str) -> bool {
    /// Wherever they stand.
    const PARTS: [&str; 15] = [
        "authorization",
        "authentication",
        "token",
        "secret",
        "passw",
        "passphrase",
        "credential",
        "session",
        "apikey",
        "api-key",
        "access-key",
        "private-key",
        "shared-key",
        "subscription-key",
        "functions-key",
    ];
    /// As words of their own: `x-author` is no secret.
    const WORDS: [&str; 8] = ["auth", "cookie", "jwt", "csrf", "xsrf", "otp", "sid", "pwd"];
    let name = name.to_ascii_lowercase().replace('_', "-");
    PARTS.iter().any(|part| name.contains(part))
        || name.split(['-', '.']).any(|word| WORDS.contains(&word))
}

/// The options in `Connection`, in any case as sent (RFC 9110 §7.6.1).
pub fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    list_members(headers, &CONNECTION)
}

/// The non-empty members of a list field over all its lines, trimmed; commas in quoted strings
/// do not split (RFC 9110 §5.6.1, §5.6.4).
pub fn list_members<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().flat_map(|value| members(value.as_bytes()))
}

/// The non-empty members of one list value, trimmed (RFC 9110 §5.6.1).
#[must_use]
pub fn members(value: &[u8]) -> Members<'_> {
    Members { rest: Some(value) }
}

/// Iterator of [`members`].
#[derive(Clone, Debug)]
pub struct Members<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let end = unquoted_position(rest, b',').unwrap_or(rest.len());
            self.rest = rest.get(end + 1..);
            let member = rest[..end].trim_ascii();
            if !member.is_empty() {
                return Some(member);
            }
        }
    }
}

/// Where `wanted` first stands outside a quoted string (RFC 9110 §5.6.4). A string that is not
/// closed reaches to the end.
#[must_use]
pub fn unquoted_position(value: &[u8], wanted: u8) -> Option<usize> {
    // Up to the first quote nothing is quoted, and few values have one.
    let first = value.iter().position(|&byte| byte == wanted || byte == b'"')?;
    if value[first] == wanted {
        return Some(first);
    }
    let (mut quoted, mut escaped) = (false, false);
    let behind = value[first..].iter().position(|&byte| {
        let found = byte == wanted && !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        found
    })?;
    Some(first + behind)
}

/// Whether a quoted string in the value is not closed, and so swallows what follows it.
#[must_use]
pub fn is_unclosed(value: &[u8]) -> bool {
    let Some(first) = value.iter().position(|&byte| byte == b'"') else { return false };
    let end = value[first..].iter().fold((false, false), |(quoted, escaped), &byte| match byte {
        _ if escaped => (quoted, false),
        b'\\' if quoted => (true, true),
        b'"' => (!quoted, false),
        _ => (quoted, false),
    });
    end.0
}

/// The only value of a field that may stand once; `None` if it is missing or repeated.
#[must_use]
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// Whether framing, routing, the cache or privacy depends on the field.
#[must_use]
pub fn is_essential(name: &HeaderName) -> bool {
    is_kept(name) || is_hop_by_hop(name)
}

/// Fields that `Connection` can't nominate away.
fn is_kept(name: &HeaderName) -> bool {
    const KEPT: [HeaderName; 25] = [
        AGE,
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        COOKIE,
        DATE,
        ETAG,
        EXPIRES,
        FORWARDED,
        HOST,
        IF_MATCH,
        IF_MODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_RANGE,
        IF_UNMODIFIED_SINCE,
        LAST_MODIFIED,
        PRAGMA,
        RANGE,
        SET_COOKIE,
        VARY,
        VIA,
        TRANSFER_ENCODING,
    ];
    let own = [
        &CACHE_STATUS,
        &CDN_CACHE_CONTROL,
        &SEAWALL_CACHE_CONTROL,
        &SURROGATE_CONTROL,
        &X_ACCEL_EXPIRES,
        &X_FORWARDED_FOR,
        &X_FORWARDED_PROTO,
        &X_FORWARDED_HOST,
        &X_FORWARDED_PORT,
        &X_REQUEST_ID,
    ];
    KEPT.contains(name) || own.contains(&name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use http::header::{PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, UPGRADE};

    use super::*;

    /// A value read byte by byte: where `wanted` stands unquoted, and whether the last quote is open.
    fn read(value: &[u8], wanted: u8) -> (Option<usize>, bool) {
        let (mut found, mut quoted, mut escaped) = (None, false, false);
        for (at, &byte) in value.iter().enumerate() {
            if byte == wanted && !quoted {
                found = found.or(Some(at));
            }
            if escaped {
                escaped = false;
            } else if quoted && byte == b'\\' {
                escaped = true;
            } else if byte == b'"' {
                quoted = !quoted;
            }
        }
        (found, quoted)
    }

    proptest! {
        #[test]
        fn quotes_count_from_the_first_on(value in r#"[",a\\]{0,12}"#, wanted in 0..3_usize) {
            let (value, wanted) = (value.as_bytes(), b",\"\\"[wanted]);
            let found = (unquoted_position(value, wanted), is_unclosed(value));
            prop_assert_eq!(found, read(value, wanted));
        }
    }

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn nominated_fields_and_the_hop_by_hop_set_go() {
        let mut headers = map(&[
            ("connection", "A, b"),
            ("connection", "keep-alive"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-connection", "close"),
            ("proxy-authenticate", "Basic"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("c", "3")]));
    }

    #[test]
    fn a_nomination_does_not_make_a_private_answer_shared() {
        let fields = [
            ("authorization", "Basic x"),
            ("cache-control", "private"),
            ("set-cookie", "a=b"),
            ("vary", "x"),
            ("content-length", "3"),
            ("x-forwarded-for", "::1"),
        ];
        let mut headers = map(&fields);
        let nominations =
            "authorization, Cache-Control, set-cookie, vary, content-length, x-forwarded-for";
        headers.insert(CONNECTION, HeaderValue::from_static(nominations));
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&fields));
    }

    #[test]
    fn list_members_respect_quotes_and_skip_empty_ones() {
        let headers = map(&[("x", " a ,, \"b, \\\", c\" "), ("x", "d="), ("x", "")]);
        let name = HeaderName::from_static("x");
        let members: Vec<_> = list_members(&headers, &name).collect();
        assert_eq!(members, [&b"a"[..], b"\"b, \\\", c\"", b"d="]);
    }

    #[test]
    fn what_is_there_is_told_at_once() {
        let groups: [(Present, &[&str]); 6] = [
            (Present::EXPECT, &["Expect"]),
            (Present::COOKIE, &["Cookie"]),
            (Present::DIRECTIVES, &["Cache-Control", "Pragma"]),
            (
                Present::CONDITIONS,
                &["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"],
            ),
            (Present::RANGES, &["Range", "If-Range"]),
            (Present::HOP_BY_HOP, &["Connection", "TE", "Seawall-Debug"]),
        ];
        for (group, names) in groups {
            for name in names {
                let mut headers = map(&[("host", "a"), ("accept", "b"), ("x-if-range", "c")]);
                assert_eq!(Present::of(&headers), Present::default());
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                headers.insert(name, HeaderValue::from_static(""));
                assert_eq!(Present::of(&headers), group);
                assert!(Present::of(&headers).any(group));
            }
        }
        // What `strip_hop_by_hop` takes away it must be asked to.
        let names = [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE];
        let own = [&KEEP_ALIVE, &PROXY_CONNECTION, &PROXY_AUTHENTICATION_INFO, &SEAWALL_DEBUG];
        for name in names.iter().chain([&PROXY_AUTHORIZATION]).chain(own) {
            assert!(is_hop_by_hop(name) && Present::bit(name) == Present::HOP_BY_HOP, "{name}");
        }
        for name in [HOST, ACCEPT_RANGES, VIA, AUTHORIZATION, EXPECT, RANGE] {
            assert!(!is_hop_by_hop(&name) && Present::bit(&name) != Present::HOP_BY_HOP, "{name}");
        }
    }

    proptest! {
        #[test]
        fn members_never_panic(value in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(members(&value).all(|member| !member.is_empty()));
        }
    }
}
