//! What an unsafe request makes invalid (RFC 9111 §4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use smallvec::SmallVec;

use crate::headers::single;
use crate::key::Target;

/// The URIs to invalidate, as the text of their cache keys: after a 2xx or 3xx to a method that
/// is not known to be safe, the target itself, and what `Location` and `Content-Location` name on
/// the same origin.
#[must_use]
pub fn invalidated(
    method: &Method,
    status: StatusCode,
    target: &Target,
    headers: &HeaderMap,
) -> SmallVec<[String; 3]> {
    let mut uris = SmallVec::new();
    let done = status.is_success() || status.is_redirection();
    if method.is_safe() || !done {
        return uris;
    }
    uris.push(target.to_string());
    for name in [LOCATION, CONTENT_LOCATION] {
        let reference = single(headers, &name).and_then(|value| value.to_str().ok());
        let other = reference.and_then(|reference| resolve(target, reference));
        // Another origin's entries are not this one's to drop (RFC 9111 §4.4).
        if let Some(other) = other.filter(|other| other.same_origin(target)) {
            let uri = other.to_string();
            if !uris.contains(&uri) {
                uris.push(uri);
            }
        }
    }
    uris
}

/// Resolves a URI reference against a target (RFC 3986 §5.2); `None` if the result is not an
/// http(s) URL.
pub(super) fn resolve(base: &Target, reference: &str) -> Option<Target> {
    let reference = reference.trim();
    let reference = reference.split_once('#').map_or(reference, |(before, _)| before);
    let origin = || format!("{}://{}", base.scheme(), base.authority);
    let absolute = match reference {
        "" => base.to_string(),
        _ if has_scheme(reference) => reference.to_owned(),
        _ if reference.starts_with("//") => format!("{}:{reference}", base.scheme()),
        _ if reference.starts_with('/') => origin() + reference,
        _ if reference.starts_with('?') => origin() + base.path() + reference,
        _ => {
            let path = base.path();
            let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
            origin() + folder + reference
        }
    };
    Target::parse(&absolute).ok()
}

/// RFC 3986 §3.1.
fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?']).unwrap_or(reference.len());
    let (scheme, rest) = reference.split_at(end);
    rest.starts_with(':') && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::headers;

    fn uris(method: &str, status: u16, fields: &[(&str, &str)]) -> Vec<String> {
        let target = Target::parse("http://h/a/b?c").unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        invalidated(&method, status, &target, &headers(fields)).into_vec()
    }

    /// RFC 9111 §4.4.
    #[test]
    fn unsafe_methods_that_succeed_invalidate_the_target() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
            assert_eq!(uris(method, 201, &[]), ["http://h/a/b?c"], "{method}");
            assert_eq!(uris(method, 303, &[]).len(), 1, "{method}");
            assert!(uris(method, 404, &[]).is_empty() && uris(method, 500, &[]).is_empty());
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(uris(method, 200, &[]).is_empty(), "{method}");
        }
    }

    #[test]
    fn locations_on_the_same_origin_go_too() {
        for (reference, expected) in [
            ("d", Some("http://h/a/d")),
            ("../d?e#f", Some("http://h/d?e")),
            ("?x", Some("http://h/a/b?x")),
            ("/x", Some("http://h/x")),
            ("//H:80/x", Some("http://h/x")),
            ("HTTP://h/x", Some("http://h/x")),
            ("https://h/x", None),
            ("http://h:81/x", None),
            ("//other/x", None),
            ("mailto:x", None),
            ("b?c", None),
        ] {
            let found = uris("POST", 201, &[("location", reference)]);
            assert_eq!(found.get(1).map(String::as_str), expected, "{reference}");
        }
        assert_eq!(uris("POST", 201, &[("location", "/x"), ("content-location", "/y")]).len(), 3);
    }
}
