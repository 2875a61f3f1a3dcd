//! What the policy needs to know of a request, and what the request asks of caches
//! (RFC 9111 §5.2.1).

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, Method};

use super::directives::{Directive, swallowed};
use super::overrides::RequestDirectivesPolicy;
use crate::headers::{list_members, members};

/// A request's method and fields, as the decisions need them.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// The method.
    pub method: &'a Method,
    /// The fields, hop-by-hop ones removed.
    pub headers: &'a HeaderMap,
    /// Whether the peer is trusted to give request directives.
    pub trusted: bool,
    /// Whether the `Cookie` in the fields is part of the key: then whoever gets the response sends
    /// the same one.
    pub keyed_cookies: bool,
    /// Whether the origin is told something that others with the same key may not have it told,
    /// and its answer is shared all the same.
    pub told_unkeyed: bool,
    /// Tells keys apart, so that not all that is stored at once ends at once.
    pub seed: u64,
}

impl<'a> RequestFacts<'a> {
    /// A request whose key is its URL.
    #[must_use]
    pub const fn new(method: &'a Method, headers: &'a HeaderMap, trusted: bool) -> Self {
        Self { method, headers, trusted, keyed_cookies: false, told_unkeyed: false, seed: 0 }
    }
}

/// What a request asks of caches (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Nothing of this request or its response may be stored (§5.2.1.5).
    pub no_store: bool,
    /// Validate first (§5.2.1.4); also `Pragma: no-cache` without `Cache-Control` (§5.4).
    pub no_cache: bool,
    /// Answer from the cache or with 504 (§5.2.1.7).
    pub only_if_cached: bool,
    /// Greatest age in seconds (§5.2.1.1).
    pub max_age: Option<u64>,
    /// Fresh for at least this many seconds more (§5.2.1.3).
    pub min_fresh: Option<u64>,
    /// How stale is good enough (§5.2.1.2).
    pub max_stale: Option<MaxStale>,
}

/// The argument of the request's `max-stale` (RFC 9111 §5.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxStale {
    /// Any staleness.
    Any,
    /// At most this many seconds past the lifetime.
    Seconds(u64),
}

impl RequestDirectives {
    /// Parses all lines. What is unknown or invalid is ignored.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        if headers.contains_key(CACHE_CONTROL) {
            for value in headers.get_all(CACHE_CONTROL) {
                let value = value.as_bytes();
                members(value).for_each(|member| directives.add(&Directive::parse(member)));
                directives.no_store |= swallowed(value).any(|member| member.is("no-store"));
            }
        } else {
            directives.no_cache = list_members(headers, &PRAGMA)
                .any(|member| Directive::parse(member).is("no-cache"));
        }
        directives
    }

    /// Whether the request forbids storing, where nothing else is to be known of it.
    #[must_use]
    pub(super) fn forbid_storing(headers: &HeaderMap) -> bool {
        // Nobody says so by another field: most requests need no more than this.
        headers.contains_key(CACHE_CONTROL) && Self::parse(headers).no_store
    }

    /// Nothing is asked.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.no_store
            && !self.no_cache
            && !self.only_if_cached
            && self.max_age.is_none()
            && self.min_fresh.is_none()
            && self.max_stale.is_none()
    }

    /// What of this counts under the policy: `no-store` and `only-if-cached` always do, for they
    /// cost the origin nothing.
    #[must_use]
    pub const fn effective(self, policy: RequestDirectivesPolicy, trusted: bool) -> Self {
        let honoured = match policy {
            RequestDirectivesPolicy::Ignore => false,
            RequestDirectivesPolicy::Honour => true,
            RequestDirectivesPolicy::Trusted => trusted,
        };
        if honoured {
            return self;
        }
        let Self { no_store, only_if_cached, .. } = self;
        Self {
            no_store,
            only_if_cached,
            no_cache: false,
            max_age: None,
            min_fresh: None,
            max_stale: None,
        }
    }

    /// Asks for a validation even of what is fresh: a reload.
    #[must_use]
    pub(super) fn asks_to_validate(&self) -> bool {
        self.no_cache || self.max_age == Some(0)
    }

    fn add(&mut self, directive: &Directive<'_>) {
        let seconds = || directive.seconds().map(u64::from);
        if directive.is("no-store") {
            self.no_store = true;
        } else if directive.is("no-cache") {
            self.no_cache = true;
        } else if directive.is("only-if-cached") {
            self.only_if_cached = true;
        } else if directive.is("max-age") {
            self.max_age = self.max_age.or_else(seconds);
        } else if directive.is("min-fresh") {
            self.min_fresh = self.min_fresh.or_else(seconds);
        } else if directive.is("max-stale") && self.max_stale.is_none() {
            self.max_stale = match directive.argument {
                None => Some(MaxStale::Any),
                Some(_) => seconds().map(MaxStale::Seconds),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::testing::headers;

    /// RFC 9111 §5.2.1, §5.4.
    #[test]
    fn request_directives() {
        let parse = |fields: &[(&str, &str)]| RequestDirectives::parse(&headers(fields));
        assert!(parse(&[]).is_empty());
        assert!(parse(&[("pragma", "no-cache")]).no_cache);
        assert!(parse(&[("cache-control", "x"), ("pragma", "no-cache")]).is_empty());
        let value = "no-store, only-if-cached, max-age=1, min-fresh=2, max-stale";
        let directives = parse(&[("cache-control", value)]);
        assert!(directives.no_store && directives.only_if_cached && !directives.no_cache);
        assert_eq!((directives.max_age, directives.min_fresh), (Some(1), Some(2)));
        assert_eq!(directives.max_stale, Some(MaxStale::Any));
        let ignored = directives.effective(RequestDirectivesPolicy::Trusted, false);
        assert_eq!((ignored.max_age, ignored.only_if_cached), (None, true));
        assert_eq!(directives.effective(RequestDirectivesPolicy::Trusted, true), directives);
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(value in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                let mut map = HeaderMap::new();
                map.insert(CACHE_CONTROL, value);
                let _ = RequestDirectives::parse(&map);
            }
        }
    }
}
