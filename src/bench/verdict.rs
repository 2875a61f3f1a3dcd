//! What a response's fields say that the cache did. Pure.

use http::{HeaderMap, HeaderValue};
use seawall::headers;
use serde::Serialize;
use sfv::{BareItem, List, ListEntry, Parameters, Parser};

/// How a request was answered, as the cache tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// From the store, fresh.
    Hit,
    /// From the store although it was no longer fresh.
    Stale,
    /// With another request's fetch.
    Collapsed,
    /// From the store after the origin said that it is still good.
    Revalidated,
    /// By the origin: nothing stored was of use.
    Miss,
    /// By the origin: the cache was not to handle it.
    Bypass,
    /// Nothing is said.
    Silent,
}

impl Verdict {
    /// All, in the order in which reports show them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Hit,
        Self::Stale,
        Self::Collapsed,
        Self::Revalidated,
        Self::Miss,
        Self::Bypass,
        Self::Silent,
    ];

    /// Its name in reports and budgets.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Collapsed => "collapsed",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Silent => "silent",
        }
    }

    /// Whether the answer came from the store without a word to the origin before it.
    pub(crate) const fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::Stale)
    }

    /// Whether it cost the origin no request of its own, as far as the client can know.
    pub(crate) const fn is_saved(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Collapsed)
    }
}

/// The field that told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    /// RFC 9211: says most, so it is asked first.
    CacheStatus,
    /// What nginx's `$upstream_cache_status` is usually sent as, and CDNs' own of the same words.
    UpstreamStatus,
    /// Squid, Fastly, `CloudFront`, and many a configuration.
    XCache,
    /// Varnish: one transaction's number, or that of the one which fetched behind it.
    XVarnish,
}

impl Told {
    /// Its name in reports.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::CacheStatus => "Cache-Status",
            Self::UpstreamStatus => "X-Cache-Status",
            Self::XCache => "X-Cache",
            Self::XVarnish => "X-Varnish",
        }
    }
}

/// Spellings of nginx's word; all have the same values.
const UPSTREAM_STATUS: [&str; 3] = ["x-cache-status", "x-proxy-cache", "cf-cache-status"];

/// What the fields of a response say, and which of them does.
pub(crate) fn read(fields: &HeaderMap) -> (Verdict, Option<Told>) {
    let last = |name: &str| fields.get_all(name).iter().next_back();
    if let Some(verdict) = last(headers::CACHE_STATUS.as_str()).and_then(cache_status) {
        return (verdict, Some(Told::CacheStatus));
    }
    for name in UPSTREAM_STATUS {
        if let Some(verdict) = last(name).and_then(upstream_status) {
            return (verdict, Some(Told::UpstreamStatus));
        }
    }
    if let Some(verdict) = last("x-cache").and_then(x_cache) {
        return (verdict, Some(Told::XCache));
    }
    if let Some(verdict) = last("x-varnish").and_then(x_varnish) {
        return (verdict, Some(Told::XVarnish));
    }
    (Verdict::Silent, None)
}

fn cache_status(value: &HeaderValue) -> Option<Verdict> {
    of_parameters(&nearest(value)?)
}

/// What the cache nearest to the client says, which is the last member (RFC 9211 §2).
fn nearest(value: &HeaderValue) -> Option<Parameters> {
    let mut list: List = Parser::new(value.as_bytes()).parse().ok()?;
    match list.pop()? {
        ListEntry::Item(item) => Some(item.params),
        ListEntry::InnerList(_) => None,
    }
}

/// Whether the nearest cache has stored the response, and its own word for why or why not
/// (RFC 9211 §2.5 and §2.8).
pub(crate) fn kept(fields: &HeaderMap) -> (bool, Option<String>) {
    let last = fields.get_all(headers::CACHE_STATUS.as_str()).iter().next_back();
    let Some(parameters) = last.and_then(nearest) else { return (false, None) };
    let stored = matches!(parameters.get("stored"), Some(BareItem::Boolean(true)));
    let detail = parameters.get("detail").and_then(|detail| match detail {
        BareItem::Token(token) => Some(token.as_str().to_owned()),
        BareItem::String(text) => Some(text.as_str().to_owned()),
        _ => None,
    });
    (stored, detail)
}

/// RFC 9211 §2.1 to §2.7.
fn of_parameters(parameters: &Parameters) -> Option<Verdict> {
    let is_set = |name| matches!(parameters.get(name), Some(BareItem::Boolean(true)));
    let number = |name| parameters.get(name).and_then(BareItem::as_integer).map(i64::from);
    let is_expired = number("ttl").is_some_and(|ttl| ttl < 0);
    let is_validated = number("fwd-status") == Some(304);
    if is_set("hit") {
        return Some(if is_expired { Verdict::Stale } else { Verdict::Hit });
    }
    let reason = parameters.get("fwd").and_then(BareItem::as_token)?;
    Some(match reason.as_str() {
        _ if is_set("collapsed") => Verdict::Collapsed,
        "bypass" | "method" => Verdict::Bypass,
        "stale" | "request" if is_validated => Verdict::Revalidated,
        // The origin was asked and failed: what is past its time is what was stored before.
        "stale" if is_expired && !is_set("stored") => Verdict::Stale,
        _ => Verdict::Miss,
    })
}

/// The words of nginx's `$upstream_cache_status`, and Cloudflare's.
fn upstream_status(value: &HeaderValue) -> Option<Verdict> {
    let word = value.to_str().ok()?.trim().to_ascii_uppercase();
    Some(match word.as_str() {
        "HIT" => Verdict::Hit,
        // It is being fetched in the background, or could not be.
        "STALE" | "UPDATING" => Verdict::Stale,
        "REVALIDATED" => Verdict::Revalidated,
        "MISS" | "EXPIRED" | "SCARCE" => Verdict::Miss,
        "BYPASS" | "DYNAMIC" => Verdict::Bypass,
        _ => return None,
    })
}

/// `HIT`, `MISS from host`, `TCP_MEM_HIT`, `RefreshHit from cloudfront`, or `MISS, HIT`, where the
/// last is nearest to the client.
fn x_cache(value: &HeaderValue) -> Option<Verdict> {
    let text = value.to_str().ok()?.rsplit(',').next()?.trim().to_ascii_uppercase();
    let word = text.split_whitespace().next()?;
    let has = |part| word.contains(part);
    Some(match word {
        "UPDATING" => Verdict::Stale,
        _ if has("STALE") => Verdict::Stale,
        _ if has("REFRESHHIT") || has("REFRESH_HIT") || has("REFRESH_UNMODIFIED") => {
            Verdict::Revalidated
        }
        _ if has("REVALIDATED") => Verdict::Revalidated,
        _ if has("COLLAPSED") => Verdict::Collapsed,
        _ if has("HIT") && !has("HITPASS") => Verdict::Hit,
        _ if has("MISS") || has("EXPIRED") || has("REFRESH_MODIFIED") => Verdict::Miss,
        _ if has("PASS") => Verdict::Bypass,
        _ => return None,
    })
}

/// `123`: fetched for this request; `123 45`: by what request 45 fetched.
fn x_varnish(value: &HeaderValue) -> Option<Verdict> {
    let text = value.to_str().ok()?;
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let mut words = text.split_whitespace();
    let first = words.next().filter(|word| is_number(word));
    match (first, words.next(), words.next()) {
        (Some(_), None, None) => Some(Verdict::Miss),
        (Some(_), Some(second), None) if is_number(second) => Some(Verdict::Hit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn said(name: &str, value: &str) -> (Verdict, Option<Told>) {
        let mut fields = HeaderMap::new();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        fields.append(name, HeaderValue::from_str(value).unwrap());
        read(&fields)
    }

    #[test]
    fn cache_status_tells_all() {
        for (value, verdict) in [
            ("seawall; hit; ttl=57", Verdict::Hit),
            ("seawall; hit", Verdict::Hit),
            ("seawall; hit; ttl=-3; detail=stale-while-revalidate", Verdict::Stale),
            ("seawall; fwd=uri-miss; fwd-status=200; ttl=60; stored", Verdict::Miss),
            ("seawall; fwd=uri-miss; collapsed", Verdict::Collapsed),
            ("seawall; fwd=stale; fwd-status=304; ttl=60; stored", Verdict::Revalidated),
            ("seawall; fwd=stale; fwd-status=200; stored", Verdict::Miss),
            ("seawall; fwd=stale; fwd-status=503; ttl=-1; detail=stale-if-error", Verdict::Stale),
            ("seawall; fwd=uri-miss; ttl=-1; stored", Verdict::Miss),
            ("seawall; fwd=bypass", Verdict::Bypass),
            ("seawall; fwd=method", Verdict::Bypass),
            ("\"inner cache\"; hit, outer; fwd=vary-miss", Verdict::Miss),
            ("inner; fwd=uri-miss, outer; hit; ttl=1", Verdict::Hit),
        ] {
            assert_eq!(said("cache-status", value), (verdict, Some(Told::CacheStatus)), "{value}");
        }
        for value in ["", "seawall", "seawall; detail=no-route", "a b", "(a b); hit", "x; hit=?0"] {
            assert_eq!(said("cache-status", value), (Verdict::Silent, None), "{value}");
        }
    }

    #[test]
    fn other_caches_are_understood() {
        for (name, value, verdict) in [
            ("x-cache-status", "HIT", Verdict::Hit),
            ("x-cache-status", "MISS", Verdict::Miss),
            ("x-cache-status", "EXPIRED", Verdict::Miss),
            ("x-cache-status", "UPDATING", Verdict::Stale),
            ("x-cache-status", "STALE", Verdict::Stale),
            ("x-cache-status", "REVALIDATED", Verdict::Revalidated),
            ("x-cache-status", "BYPASS", Verdict::Bypass),
            ("x-proxy-cache", "hit", Verdict::Hit),
            ("cf-cache-status", "DYNAMIC", Verdict::Bypass),
            ("x-cache", "HIT", Verdict::Hit),
            ("x-cache", "MISS from squid.example", Verdict::Miss),
            ("x-cache", "TCP_MEM_HIT from a.example", Verdict::Hit),
            ("x-cache", "TCP_REFRESH_UNMODIFIED", Verdict::Revalidated),
            ("x-cache", "TCP_REFRESH_MODIFIED", Verdict::Miss),
            ("x-cache", "RefreshHit from cloudfront", Verdict::Revalidated),
            ("x-cache", "Hit from cloudfront", Verdict::Hit),
            ("x-cache", "MISS, HIT", Verdict::Hit),
            ("x-cache", "HIT, MISS", Verdict::Miss),
            ("x-cache", "HIT-STALE", Verdict::Stale),
            ("x-cache", "PASS", Verdict::Bypass),
            ("x-varnish", "32770", Verdict::Miss),
            ("x-varnish", "32773 32771", Verdict::Hit),
        ] {
            assert_eq!(said(name, value).0, verdict, "{name}: {value}");
        }
        for (name, value) in
            [("x-cache", "from here"), ("x-varnish", "a b"), ("x-varnish", "1 2 3"), ("age", "5")]
        {
            assert_eq!(said(name, value), (Verdict::Silent, None), "{name}: {value}");
        }
    }

    #[test]
    fn the_field_that_says_most_is_believed() {
        let mut fields = HeaderMap::new();
        fields.append("x-varnish", HeaderValue::from_static("1 2"));
        fields.append("x-cache", HeaderValue::from_static("MISS"));
        assert_eq!(read(&fields), (Verdict::Miss, Some(Told::XCache)));
        fields.append("x-cache-status", HeaderValue::from_static("STALE"));
        assert_eq!(read(&fields), (Verdict::Stale, Some(Told::UpstreamStatus)));
        fields.append("cache-status", HeaderValue::from_static("inner; fwd=uri-miss"));
        fields.append("cache-status", HeaderValue::from_static("outer; hit"));
        assert_eq!(read(&fields), (Verdict::Hit, Some(Told::CacheStatus)));
    }

    proptest! {
        #[test]
        fn no_value_is_too_strange(value in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                for name in ["cache-status", "x-cache-status", "x-cache", "x-varnish"] {
                    let mut fields = HeaderMap::new();
                    fields.append(name, value.clone());
                    let (verdict, told) = read(&fields);
                    prop_assert_eq!(verdict == Verdict::Silent, told.is_none());
                }
            }
        }
    }
}
