//! Cache groups: which stored responses an origin says belong together (RFC 9875).

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sfv::{BareItem, List, ListEntry, Parser};

/// The groups that a response is in (RFC 9875 §2).
pub static CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// The groups that an unsafe request has made invalid (RFC 9875 §3).
static CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The strings of a field that is a List of Strings, its lines in order; parameters do not count
/// (RFC 9875 §2). None where it is anything else: such a field is ignored as a whole (RFC 9651
/// §4.2).
#[must_use]
pub fn group_names<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Vec<String> {
    let mut text = Vec::new();
    for line in lines {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(line.as_ref());
    }
    let Ok(members) = Parser::new(&text).parse::<List>() else { return Vec::new() };
    let names = members.into_iter().map(|member| match member {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::String(name) => Some(name.into()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    });
    names.collect::<Option<_>>().unwrap_or_default()
}

/// The groups of its own origin that a response makes invalid: none if the method is safe
/// (RFC 9875 §3).
#[must_use]
pub fn invalidated_groups(method: &Method, headers: &HeaderMap) -> Vec<String> {
    if method.is_safe() || !headers.contains_key(&CACHE_GROUP_INVALIDATION) {
        return Vec::new();
    }
    group_names(headers.get_all(&CACHE_GROUP_INVALIDATION).iter().map(HeaderValue::as_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::headers;

    /// RFC 9875 §2, RFC 9651 §4.2.
    #[test]
    fn groups_are_strings_and_anything_else_spoils_the_field() {
        for (lines, expected) in [
            (&[r#""a", "b";x=1"#][..], &["a", "b"][..]),
            (&[r#""a""#, r#""b,c", "d\"e""#], &["a", "b,c", "d\"e"]),
            (&[""], &[]),
            (&["a"], &[]),
            (&[r#""a", 1"#], &[]),
            (&[r#"("a" "b")"#], &[]),
            (&[r#""a"#], &[]),
        ] {
            assert_eq!(
                group_names(lines.iter().map(|line| line.as_bytes())),
                expected,
                "{lines:?}"
            );
        }
    }

    /// RFC 9875 §3.
    #[test]
    fn only_unsafe_requests_invalidate_groups() {
        let fields = headers(&[("cache-group-invalidation", r#""a", "b""#)]);
        assert_eq!(invalidated_groups(&Method::POST, &fields), ["a", "b"]);
        assert!(invalidated_groups(&Method::GET, &fields).is_empty());
        assert!(invalidated_groups(&Method::POST, &HeaderMap::new()).is_empty());
    }
}
