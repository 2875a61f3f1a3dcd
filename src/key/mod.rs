//! The target of a request in its one normal form, and the cache key made of it (RFC 9110 §4.2.3,
//! RFC 9111 §2, RFC 3986 §6.2.2).
//!
//! What is keyed is what the origin gets: both are built from [`Target`].

mod authority;
mod beside;
mod host;
mod host_pattern;
mod path;

use std::borrow::{Borrow, Cow};
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};

use authority::authority;
pub use beside::{Beside, path_of, url_of};
pub use host::normalize_host;
pub use host_pattern::HostPattern;
pub use path::normalize_path;

/// Bytes of a key's text that a thread keeps room for.
const KEPT_TEXT: usize = 4096;

thread_local! {
    /// Room for the text of the key that is looked up: that allocates nothing.
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// What is wrong with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TargetError {
    /// The host is empty, too long, or has a byte that no host name has; or there is userinfo.
    #[error("the host is not valid")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not valid")]
    Port,
    /// The path or query has a byte that no URI has, or a percent sign without two hex digits in
    /// the path, or an encoded NUL in the path.
    #[error("the path is not valid")]
    Path,
    /// The scheme is neither http nor https.
    #[error("the scheme is neither http nor https")]
    Scheme,
}

/// A request's effective target URI, in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// https rather than http.
    pub secure: bool,
    /// `host[:port]`: lower case, no trailing dot, no default port, no userinfo.
    pub authority: Authority,
    /// The path as [`normalize_path`] makes it, and the query as it came.
    pub path_and_query: PathAndQuery,
    beside: Option<Arc<Beside>>,
}

impl Target {
    /// From the parts of a request: scheme, `Host` (or the target's authority), path and query.
    ///
    /// # Errors
    /// When the host, port or path is not valid; the answer is 400.
    pub fn new(secure: bool, host: &[u8], path: &PathAndQuery) -> Result<Self, TargetError> {
        let path_and_query = match normalize_path(path.as_str())? {
            Cow::Borrowed(normal) if normal.len() == path.as_str().len() => path.clone(),
            normal => path_from(normal.into_owned())?,
        };
        Ok(Self { secure, authority: authority(host, secure)?, path_and_query, beside: None })
    }

    /// From an absolute `http` or `https` URL; a fragment is dropped.
    ///
    /// # Errors
    /// When it is not such a URL, or its host, port or path is not valid.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = url.split_once("://").ok_or(TargetError::Scheme)?;
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err(TargetError::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let path = normalize_path(&rest[end..])?.into_owned();
        let authority = authority(&rest.as_bytes()[..end], secure)?;
        Ok(Self { secure, authority, path_and_query: path_from(path)?, beside: None })
    }

    /// The same target with what `change` leaves of its query; nothing of it if that is `None`.
    #[must_use]
    pub fn with_query(self, change: impl for<'q> FnOnce(&'q str) -> Option<Cow<'q, str>>) -> Self {
        let Some(query) = self.path_and_query.query() else { return self };
        let path = self.path_and_query.path();
        let changed = match change(query) {
            Some(Cow::Borrowed(same)) if same.len() == query.len() => return self,
            Some(left) => format!("{path}?{left}"),
            None => path.to_owned(),
        };
        // Invariant: what is left of a normal query is one, so the old one never stays.
        match path_from(changed) {
            Ok(path_and_query) => Self { path_and_query, ..self },
            Err(_) => self,
        }
    }

    /// The same target with what is keyed beside its URI.
    #[must_use]
    pub fn beside(self, beside: Beside) -> Self {
        Self { beside: Some(Arc::new(beside)), ..self }
    }

    /// The same target keyed by another query and a mark: what it shares with others that have
    /// both. The origin gets what it would have got. `None` where the query is too long.
    #[must_use]
    pub fn shared(&self, query: Option<&str>, mark: u64) -> Option<Self> {
        let path = self.path();
        let keyed = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let mut beside = self.beside.as_deref().cloned().unwrap_or_default();
        beside.sent.get_or_insert_with(|| self.path_and_query.clone());
        beside.add_mark(mark);
        let path_and_query = path_from(keyed).ok()?;
        Some(Self { path_and_query, ..self.clone() }.beside(beside))
    }

    /// Whether `url` is where this is, as it is keyed or as the origin gets it.
    #[must_use]
    pub fn is_at(&self, url: &Self) -> bool {
        let sent = self.beside.as_ref().and_then(|beside| beside.sent.as_ref());
        let named = &url.path_and_query;
        self.same_origin(url) && (*named == self.path_and_query || Some(named) == sent)
    }

    /// Whether the request's `Cookie` is keyed, all that the origin gets of it.
    #[must_use]
    pub fn keys_cookies(&self) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.cookies)
    }

    /// Whether the origin gets more of the query than is keyed.
    #[must_use]
    pub fn sends_unkeyed(&self) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.sent.is_some())
    }

    /// The absolute URI for the origin, sharing this target's bytes.
    #[must_use]
    pub fn uri(&self) -> Uri {
        let mut parts = Parts::default();
        parts.scheme = Some(if self.secure { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(self.authority.clone());
        let sent = self.beside.as_ref().and_then(|beside| beside.sent.as_ref());
        parts.path_and_query = Some(sent.unwrap_or(&self.path_and_query).clone());
        // Invariant: all three parts are there, which is all that `from_parts` asks.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// `http` or `https`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The host without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The cache key. Allocates; a lookup needs only [`Target::with_key_str`].
    #[must_use]
    pub fn key(&self) -> CacheKey {
        self.with_key_str(|key| CacheKey(Arc::from(key)))
    }

    /// Calls `use_key` with the key's text, which is put together where this thread has put the
    /// last one.
    pub fn with_key_str<R>(&self, use_key: impl FnOnce(&str) -> R) -> R {
        let beside = self.beside.as_ref().map_or("", |beside| beside.text());
        let path = self.path_and_query.as_str();
        // Taken away meanwhile: `use_key` may ask for another.
        let mut text = TEXT.try_with(Cell::take).unwrap_or_default();
        text.clear();
        for part in [self.scheme(), "://", self.authority.as_str(), path, beside] {
            text.push_str(part);
        }
        let result = use_key(&text);
        if text.capacity() <= KEPT_TEXT {
            let _ = TEXT.try_with(|kept| kept.set(text));
        }
        result
    }

    /// Same scheme, host and port (RFC 9110 §4.3.1).
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        self.secure == other.secure && self.authority == other.authority
    }
}

/// Writes the URL, which is what the key's text begins with.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.path_and_query)
    }
}

/// What a stored response is found by: `scheme://host[:port]/path?query` in normal form, and what a
/// rule keys beside it, each part on a line of its own. Cheap
/// to clone; a map keyed by it is looked up by `str`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(Arc<str>);

impl CacheKey {
    /// From a text that is a key's already: what names one, as a purge does.
    #[must_use]
    pub fn from_text(key: &str) -> Self {
        Self(Arc::from(key))
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A key for what is noted of a response's parts; nothing is stored under it.
    #[must_use]
    pub fn of_parts(&self) -> Self {
        Self(format!("{self}\n-").into())
    }

    /// Whether more than a URL is keyed.
    #[must_use]
    pub fn has_parts(&self) -> bool {
        url_of(&self.0).len() < self.0.len()
    }

    /// Bytes on the heap, for the budget.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // The reference counts stand before the text.
        2 * size_of::<usize>() + self.0.len()
    }
}

impl Borrow<str> for CacheKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for CacheKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn path_from(normal: String) -> Result<PathAndQuery, TargetError> {
    PathAndQuery::from_maybe_shared(Bytes::from(normal)).map_err(|_| TargetError::Path)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(url: &str) -> String {
        Target::parse(url).map(|target| target.key().to_string()).unwrap()
    }

    /// RFC 3986 §6.2.2, RFC 9110 §4.2.3.
    #[test]
    fn one_normal_form() {
        for (raw, normal) in [
            ("HTTP://Example.COM:80", "http://example.com/"),
            ("https://example.com.:443/a", "https://example.com/a"),
            ("https://example.com:/a", "https://example.com/a"),
            ("http://example.com:0443/a", "http://example.com:443/a"),
            ("http://[2001:DB8::0:1]:8080/", "http://[2001:db8::1]:8080/"),
            ("http://h/%7euser/%41%2f%c3", "http://h/~user/A%2F%C3"),
            ("http://h/a/./b/../c", "http://h/a/c"),
            ("http://h/a/%2e%2E/c/..", "http://h/"),
            ("http://h/../../x", "http://h/x"),
            ("http://h//a//../b", "http://h//a/b"),
            ("http://h/.well-known/x", "http://h/.well-known/x"),
            ("http://h/a?b=%zz&c=%2f%41/../", "http://h/a?b=%zz&c=%2f%41/../"),
            ("http://h?q", "http://h/?q"),
            ("http://h/é?é#top", "http://h/%C3%A9?%C3%A9"),
        ] {
            assert_eq!(key(raw), normal, "{raw}");
        }
    }

    #[test]
    fn what_is_not_a_target() {
        for (raw, error) in [
            ("ftp://h/", TargetError::Scheme),
            ("/a", TargetError::Scheme),
            ("http:///a", TargetError::Host),
            ("http://u@h/", TargetError::Host),
            ("http://a b/", TargetError::Host),
            ("http://h../", TargetError::Host),
            ("http://.h/", TargetError::Host),
            ("http://a..h/", TargetError::Host),
            ("http://./", TargetError::Host),
            ("http://[::1/", TargetError::Host),
            ("http://[::1]x/", TargetError::Host),
            ("http://[fe80::1%25eth0]/", TargetError::Host),
            ("http://h:0/", TargetError::Port),
            ("http://h:+1/", TargetError::Port),
            ("http://h:65536/", TargetError::Port),
            ("http://h:1:2/", TargetError::Port),
            ("http://h/%00", TargetError::Path),
            ("http://h/%", TargetError::Path),
            ("http://h/%4", TargetError::Path),
            ("http://h/%+1", TargetError::Path),
            ("http://h/a\\b", TargetError::Path),
            ("http://h/a b", TargetError::Path),
            ("http://h/a\u{7f}", TargetError::Path),
            ("http://h/?a\nb", TargetError::Path),
        ] {
            assert_eq!(Target::parse(raw).map(|target| target.to_string()), Err(error), "{raw}");
        }
    }

    #[test]
    fn a_request_gives_the_same_key_as_its_url() {
        let path = PathAndQuery::from_static("/a/../b?c");
        let target = Target::new(true, b"H:443", &path).unwrap();
        assert_eq!(target.key().as_str(), "https://h/b?c");
        assert_eq!(target, Target::parse("https://h/b?c").unwrap());
        assert_eq!(Target::new(false, b"h", &PathAndQuery::from_static("*")).unwrap().path(), "*");
    }

    #[test]
    fn a_target_survives_as_a_uri() {
        for url in ["http://h:81/a?b", "https://[::1]/"] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.uri().to_string(), url);
        }
    }

    #[test]
    fn what_is_shared_is_keyed_otherwise_and_sent_as_it_was() {
        let target = Target::parse("http://h/a?c=1&b").unwrap();
        let shared = target.shared(Some("b="), 7).unwrap();
        assert_eq!(shared.key().as_str(), "http://h/a?b=\n?7");
        assert_eq!(shared.uri().to_string(), "http://h/a?c=1&b");
        let at = |url: &str| shared.is_at(&Target::parse(url).unwrap());
        assert!(at("http://h/a?b=") && at("http://h/a?c=1&b"));
        assert!(!at("http://h/a") && !at("https://h/a?b=") && !at("http://i/a?b="));
        let bare = target.shared(None, 0).unwrap();
        assert_eq!(bare.key().as_str(), "http://h/a\n?0");
        assert!(bare.key().has_parts() && target.shared(Some(&"x".repeat(70_000)), 0).is_none());
    }

    #[test]
    fn a_map_is_looked_up_by_text() {
        let target = Target::parse("http://h/a").unwrap();
        let map = HashMap::from([(target.key(), 1)]);
        assert_eq!(target.with_key_str(|key| map.get(key).copied()), Some(1));
    }

    #[test]
    fn texts_of_keys_do_not_disturb_each_other() {
        let urls = ["http://h/a".to_owned(), format!("https://i/{}", "b".repeat(2 * KEPT_TEXT))];
        let [a, b] = urls.each_ref().map(|url| Target::parse(url).unwrap());
        for _ in 0..3 {
            a.with_key_str(|outer| {
                b.with_key_str(|inner| assert_eq!(inner, urls[1]));
                assert_eq!((outer, a.key().as_str()), (&*urls[0], &*urls[0]));
            });
        }
        assert!(TEXT.take().capacity() <= KEPT_TEXT);
    }

    proptest! {
        #[test]
        fn any_text_never_panics(url in ".{0,40}", host in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = Target::parse(&url);
            let _ = Target::parse(&format!("http://h/{url}"));
            let _ = normalize_host(&host, true);
        }

        #[test]
        fn normal_forms_are_idempotent(path in "[/a.%2eE?F~é-]{0,24}", host in "[A-Za-z.:0-9]{1,12}") {
            if let Ok(target) = Target::parse(&format!("http://{host}/{path}")) {
                let again = Target::parse(&target.to_string()).unwrap();
                prop_assert_eq!(&again, &target);
                prop_assert_eq!(normalize_path(target.path_and_query.as_str()).unwrap(), target.path_and_query.as_str());
            }
        }

        #[test]
        fn keys_are_injective(a in "[/a.b?]{0,8}", b in "[/a.b?]{0,8}", x in "[ab]\\.?(:80|:81)?", y in "[ab]\\.?(:80|:81)?") {
            let first = Target::parse(&format!("http://{x}/{a}"));
            let second = Target::parse(&format!("http://{y}/{b}"));
            if let (Ok(first), Ok(second)) = (first, second) {
                prop_assert_eq!(first == second, first.key() == second.key());
            }
        }
    }
}
