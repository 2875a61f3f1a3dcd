//! A response's cache directives, parsed once (RFC 9111 §5.2.2).

use std::num::NonZeroU32;

use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE,
    ETAG, EXPIRES, HeaderName, LAST_MODIFIED, TRANSFER_ENCODING, VARY,
};

use super::age::delta_seconds;
use super::overrides::Overrides;
use super::targeted;
use crate::headers::{is_unclosed, members};

/// Most fields that one `private=` or `no-cache=` may name; with more it counts as unqualified.
const MAX_NAMED_FIELDS: usize = 16;

/// Which field a response's directives were read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// `Cache-Control`, or none at all.
    #[default]
    CacheControl,
    /// `Seawall-Cache-Control` (RFC 9213).
    SeawallCacheControl,
    /// `CDN-Cache-Control` (RFC 9213).
    CdnCacheControl,
    /// `Surrogate-Control`.
    SurrogateControl,
}

/// What a response allows caches (RFC 9111 §5.2.2), from the one field that decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    flags: u16,
    max_age: Option<Seconds>,
    s_maxage: Option<Seconds>,
    stale_while_revalidate: Option<Seconds>,
    stale_if_error: Option<Seconds>,
    /// Which field this was read from.
    pub source: Source,
}

/// All that is said to caches: what decisions need as long as a response is stored, and what only
/// its storing does.
#[derive(Clone, Debug, Default)]
pub struct CacheControl {
    /// What is allowed, from the one field that decides.
    pub directives: ResponseDirectives,
    /// Fields named by a qualified `private` (§5.2.2.7) or `no-cache` (§5.2.2.4): they are not
    /// stored, the latter since they may not be sent without validation.
    pub withheld_fields: Vec<HeaderName>,
}

/// A number of seconds that is one more within, so that an optional one takes no more room: every
/// stored response has four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seconds(NonZeroU32);

impl Seconds {
    /// At most 2^32 - 2, which is more than a directive may say (§1.2.2).
    const fn new(seconds: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(seconds))
    }

    const fn get(self) -> u32 {
        self.0.get() - 1
    }
}

/// The directives without a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    NoStore = 1,
    NoCache = 1 << 1,
    Private = 1 << 2,
    Public = 1 << 3,
    MustRevalidate = 1 << 4,
    ProxyRevalidate = 1 << 5,
    MustUnderstand = 1 << 6,
    Immutable = 1 << 7,
}

impl ResponseDirectives {
    /// Lifetime in seconds (§5.2.2.1); an invalid one is zero (§4.2.1).
    #[must_use]
    pub fn max_age(&self) -> Option<u32> {
        self.max_age.map(Seconds::get)
    }

    /// Lifetime in seconds in shared caches (§5.2.2.10); an invalid one is zero.
    #[must_use]
    pub fn s_maxage(&self) -> Option<u32> {
        self.s_maxage.map(Seconds::get)
    }

    /// Window in seconds (RFC 5861 §3).
    #[must_use]
    pub fn stale_while_revalidate(&self) -> Option<u32> {
        self.stale_while_revalidate.map(Seconds::get)
    }

    /// Window in seconds (RFC 5861 §4).
    #[must_use]
    pub fn stale_if_error(&self) -> Option<u32> {
        self.stale_if_error.map(Seconds::get)
    }

    /// `no-store` (§5.2.2.5).
    #[must_use]
    pub const fn no_store(&self) -> bool {
        self.has(Flag::NoStore)
    }

    /// `no-cache` without field names (§5.2.2.4).
    #[must_use]
    pub const fn no_cache(&self) -> bool {
        self.has(Flag::NoCache)
    }

    /// `private` without field names (§5.2.2.7).
    #[must_use]
    pub const fn private(&self) -> bool {
        self.has(Flag::Private)
    }

    /// `public` (§5.2.2.9).
    #[must_use]
    pub const fn public(&self) -> bool {
        self.has(Flag::Public)
    }

    /// `must-revalidate` (§5.2.2.2).
    #[must_use]
    pub const fn must_revalidate(&self) -> bool {
        self.has(Flag::MustRevalidate)
    }

    /// `must-understand` (§5.2.2.3).
    #[must_use]
    pub const fn must_understand(&self) -> bool {
        self.has(Flag::MustUnderstand)
    }

    /// `immutable` (RFC 8246).
    #[must_use]
    pub const fn immutable(&self) -> bool {
        self.has(Flag::Immutable)
    }

    /// Whether a stale response may never be served without validation (RFC 9111 §4.2.4):
    /// `must-revalidate`, `proxy-revalidate`, `s-maxage` (§5.2.2.10) or `no-cache`.
    #[must_use]
    pub const fn bars_stale(&self) -> bool {
        self.no_cache()
            || self.must_revalidate()
            || self.has(Flag::ProxyRevalidate)
            || self.s_maxage.is_some()
    }

    /// Whether the response may be shared though its request carried `Authorization`
    /// (RFC 9111 §3.5).
    #[must_use]
    pub const fn allows_authorized(&self) -> bool {
        self.public() || self.must_revalidate() || self.s_maxage.is_some()
    }

    /// Whether `Cache-Control` and `Expires` were set aside (RFC 9213 §2.2).
    #[must_use]
    pub const fn is_targeted(&self) -> bool {
        !matches!(self.source, Source::CacheControl)
    }

    pub(super) const fn has(&self, flag: Flag) -> bool {
        self.flags & flag as u16 != 0
    }

    pub(super) const fn set(&mut self, flag: Flag) {
        self.flags |= flag as u16;
    }

    /// Sets a lifetime or window by name. The first of several counts (§4.2.1).
    pub(super) fn set_seconds(&mut self, name: &str, seconds: u32) {
        let slot = match name {
            "max-age" => &mut self.max_age,
            "s-maxage" => &mut self.s_maxage,
            "stale-while-revalidate" => &mut self.stale_while_revalidate,
            _ => &mut self.stale_if_error,
        };
        slot.get_or_insert(Seconds::new(seconds));
    }
}

impl CacheControl {
    /// Reads the field that decides: the first valid, non-empty targeted one (RFC 9213 §2.2),
    /// else `Cache-Control`.
    #[must_use]
    pub fn parse(headers: &HeaderMap, overrides: &Overrides) -> Self {
        if let Some(targeted) = targeted::parse(headers, overrides) {
            return targeted;
        }
        let mut control = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            members(value.as_bytes()).for_each(|member| control.add(&Directive::parse(member)));
            swallowed(value.as_bytes()).for_each(|member| control.restrict(&member));
        }
        control
    }

    /// Without a directive yet.
    pub(super) fn from_source(source: Source) -> Self {
        let directives = ResponseDirectives { source, ..ResponseDirectives::default() };
        Self { directives, ..Self::default() }
    }

    /// Whether the field is named by a qualified `private` or `no-cache`.
    #[must_use]
    pub fn withholds(&self, field: &HeaderName) -> bool {
        self.withheld_fields.contains(field)
    }

    /// `private` or `no-cache` with a list of field names. What can't be read, or names a field
    /// on which the cache itself depends, counts as unqualified: the more restrictive reading.
    pub(super) fn set_qualified(&mut self, flag: Flag, list: &[u8]) {
        let names: Option<Vec<HeaderName>> = members(list)
            .take(MAX_NAMED_FIELDS + 1)
            .map(|name| HeaderName::from_bytes(name).ok().filter(|name| !is_essential(name)))
            .collect();
        match names {
            Some(names) if !names.is_empty() && names.len() <= MAX_NAMED_FIELDS => {
                self.withheld_fields.extend(names);
            }
            _ => self.directives.set(flag),
        }
    }

    fn restrict(&mut self, directive: &Directive<'_>) {
        use Flag::{MustRevalidate, NoCache, NoStore, Private, ProxyRevalidate};
        if let Some(flag @ (NoStore | NoCache | Private | MustRevalidate | ProxyRevalidate)) =
            flag_of(|name| directive.is(name))
        {
            self.directives.set(flag);
        }
    }

    pub(super) fn add(&mut self, directive: &Directive<'_>) {
        if let Some(flag) = flag_of(|name| directive.is(name)) {
            match (flag, directive.unquoted()) {
                (Flag::Private | Flag::NoCache, Some(list)) => self.set_qualified(flag, &list),
                _ => self.directives.set(flag),
            }
        } else if let Some(name) = seconds_of(|name| directive.is(name)) {
            // An invalid lifetime counts as stale (§4.2.1).
            self.directives.set_seconds(name, directive.seconds().unwrap_or(0));
        }
    }
}

/// What stands behind a quote that is not closed: nobody can tell whether it is meant, so what it
/// forbids is forbidden and what it allows is not allowed.
pub(super) fn swallowed(value: &[u8]) -> impl Iterator<Item = Directive<'_>> {
    let value = if is_unclosed(value) { value } else { b"" };
    value.split(|&byte| byte == b',').map(|member| Directive::parse(member.trim_ascii()))
}

pub(super) fn flag_of(is: impl Fn(&str) -> bool) -> Option<Flag> {
    const FLAGS: [(&str, Flag); 8] = [
        ("no-store", Flag::NoStore),
        ("no-cache", Flag::NoCache),
        ("private", Flag::Private),
        ("public", Flag::Public),
        ("must-revalidate", Flag::MustRevalidate),
        ("proxy-revalidate", Flag::ProxyRevalidate),
        ("must-understand", Flag::MustUnderstand),
        ("immutable", Flag::Immutable),
    ];
    FLAGS.iter().find(|(name, _)| is(name)).map(|(_, flag)| *flag)
}

pub(super) fn seconds_of(is: impl Fn(&str) -> bool) -> Option<&'static str> {
    ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"]
        .into_iter()
        .find(|name| is(name))
}

/// Whether a token may contain it (RFC 9110 §5.6.2).
const fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.'
            | b'^'..=b'`' | b'|' | b'~'
    )
}

/// One member of `Cache-Control`: a token, and an argument in token or quoted form (§5.2).
pub(super) struct Directive<'a> {
    name: &'a [u8],
    pub(super) argument: Option<&'a [u8]>,
}

impl<'a> Directive<'a> {
    pub(super) fn parse(member: &'a [u8]) -> Self {
        let end = member.iter().position(|&byte| !is_token(byte)).unwrap_or(member.len());
        let (name, rest) = member.split_at(end);
        // Blanks around `=` are not allowed; the argument keeps them, and so is invalid.
        let argument = match rest {
            [] => None,
            [b'=', argument @ ..] => Some(argument),
            other => other.contains(&b'=').then_some(other),
        };
        Self { name, argument }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The argument in delta-seconds, in either form.
    pub(super) fn seconds(&self) -> Option<u32> {
        match self.argument? {
            [b'"', ..] => delta_seconds(&self.unquoted()?),
            token => delta_seconds(token),
        }
    }

    /// The argument without its quotes and escapes (RFC 9110 §5.6.4).
    pub(super) fn unquoted(&self) -> Option<Vec<u8>> {
        let argument = self.argument?;
        let inner =
            argument.strip_prefix(b"\"").map(|rest| rest.strip_suffix(b"\"").unwrap_or(rest));
        let Some(inner) = inner else { return Some(argument.to_vec()) };
        let mut escaped = false;
        let unescaped = inner.iter().copied().filter(|&byte| {
            escaped = byte == b'\\' && !escaped;
            !escaped
        });
        Some(unescaped.collect())
    }
}

/// Fields that decide how the rest is stored and served.
fn is_essential(name: &HeaderName) -> bool {
    const ESSENTIAL: [HeaderName; 12] = [
        CACHE_CONTROL,
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        DATE,
        ETAG,
        EXPIRES,
        LAST_MODIFIED,
        TRANSFER_ENCODING,
        VARY,
    ];
    ESSENTIAL.contains(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::testing::headers;

    fn control(fields: &[(&str, &str)]) -> CacheControl {
        CacheControl::parse(&headers(fields), &Overrides::default())
    }

    fn response(fields: &[(&str, &str)]) -> ResponseDirectives {
        control(fields).directives
    }

    /// RFC 9111 §5.2, §1.2.2, §4.2.1.
    #[test]
    fn max_age_is_tokenised() {
        for (value, max_age) in [
            ("max-age=3600", Some(3600)),
            ("MaX-aGe=3600", Some(3600)),
            ("max-age=\"3600\"", Some(3600)),
            ("max-age=003600", Some(3600)),
            ("max-age='3600'", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age=3600.0", Some(0)),
            ("max-age=a3600", Some(0)),
            ("max-age=3600a", Some(0)),
            ("max-age =3600", Some(0)),
            ("max-age= 3600", Some(0)),
            ("max-age", Some(0)),
            ("max-age=", Some(0)),
            ("max-age=\"\"", Some(0)),
            ("max-age=\"36\\00\"", Some(3600)),
            ("max-age=99999999999", Some(1 << 31)),
            ("extension=\"max-age=3600\", max-age=1", Some(1)),
            ("max-age=1, extension=\"max-age=3600\"", Some(1)),
            ("extension=\"a, max-age=3600\"", None),
            ("max-age=1800, max-age=1", Some(1800)),
            ("x-max-age=3600", None),
        ] {
            assert_eq!(response(&[("cache-control", value)]).max_age(), max_age, "{value}");
        }
        let lines = [("cache-control", "max-age=1"), ("cache-control", "s-maxage=2")];
        assert_eq!((response(&lines).max_age(), response(&lines).s_maxage()), (Some(1), Some(2)));
    }

    /// RFC 9111 §5.2.2.4, §5.2.2.7.
    #[test]
    fn qualified_forms_name_fields() {
        let control = control(&[("cache-control", "private=\"X-A, set-cookie\", no-cache=x-b")]);
        assert!(!control.directives.private() && !control.directives.no_cache());
        assert!(
            ["x-a", "set-cookie", "x-b"]
                .map(HeaderName::from_static)
                .iter()
                .all(|name| control.withholds(name))
        );
    }

    #[test]
    fn unreadable_qualified_forms_count_as_unqualified() {
        let many = (0..20).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(",");
        for list in ["", "\"\"", "\"a b\"", "\"vary\"", "\"x, etag\"", &format!("\"{many}\"")] {
            let value = format!("private={list}, no-cache={list}");
            let directives = response(&[("cache-control", &value)]);
            assert!(directives.private() && directives.no_cache(), "{value}");
        }
    }

    #[test]
    fn restrictive_directives_hold_in_any_garb() {
        for value in ["No-StOrE", "no-store=x", "a, no-store ;b", "x=\"y\", no-store; private"] {
            assert!(response(&[("cache-control", value)]).no_store(), "{value}");
        }
        assert!(!response(&[("cache-control", "x=\"no-store\"")]).no_store());
        let open = response(&[("cache-control", "max-age=9, x=\"y, no-store, public, s-maxage=9")]);
        assert!(open.no_store() && !open.public() && open.s_maxage().is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(value in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                let mut map = HeaderMap::new();
                map.insert(CACHE_CONTROL, value.clone());
                map.insert("cdn-cache-control", value.clone());
                map.insert("surrogate-control", value);
                let overrides = Overrides { surrogate_control: true, ..Overrides::default() };
                let _ = CacheControl::parse(&map, &overrides);
            }
        }
    }
}
