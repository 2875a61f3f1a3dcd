//! Validators: entity tags and modification dates (RFC 9110 §8.8).

use crate::clock::Timestamp;

/// An entity tag (RFC 9110 §8.8.3). An unquoted one, which some origins send, counts as strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// `W/` stands before it.
    pub weak: bool,
    /// The opaque tag, with its quotes.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// From a field value; `None` if it is empty.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let weak = value.starts_with(b"W/");
        let opaque = value.strip_prefix(b"W/").unwrap_or(value);
        (!opaque.is_empty()).then_some(Self { weak, opaque })
    }

    /// Weak comparison (RFC 9110 §8.8.3.2) with a tag as sent.
    #[must_use]
    pub fn weakly_equals(&self, tag: &[u8]) -> bool {
        self.opaque == tag.strip_prefix(b"W/").unwrap_or(tag)
    }

    /// Strong comparison (RFC 9110 §8.8.3.2) with a tag as sent.
    #[must_use]
    pub fn strongly_equals(&self, tag: &[u8]) -> bool {
        !self.weak && self.opaque == tag
    }
}

/// The validators of a stored response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validators<'a> {
    /// `ETag`.
    pub etag: Option<EntityTag<'a>>,
    /// `Last-Modified`, if it is a date.
    pub last_modified: Option<Timestamp>,
    /// `Date` is at least a second after `Last-Modified`, so that the latter is strong
    /// (RFC 9110 §8.8.2.2).
    pub last_modified_strong: bool,
}

impl Validators<'_> {
    /// Nothing to validate with.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// Has a strong validator, so that partial responses can be combined (RFC 9111 §3.4).
    #[must_use]
    pub fn is_strong(&self) -> bool {
        self.etag.as_ref().map_or(self.last_modified_strong, |tag| !tag.weak)
    }
}

/// The entity tags of a list such as `If-None-Match`. Unlike in quoted strings, a backslash
/// stands for itself (RFC 9110 §8.8.3).
pub(super) fn tags(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    value
        .split(move |&byte| {
            quoted ^= byte == b'"';
            byte == b',' && !quoted
        })
        .map(<[u8]>::trim_ascii)
        .filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(value: &str) -> EntityTag<'_> {
        EntityTag::parse(value.as_bytes()).unwrap()
    }

    /// The table of RFC 9110 §8.8.3.2.
    #[test]
    fn comparison() {
        for (a, b, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            assert_eq!(tag(a).strongly_equals(b.as_bytes()), strong, "{a} {b}");
            assert_eq!(tag(a).weakly_equals(b.as_bytes()), weak, "{a} {b}");
        }
    }

    #[test]
    fn lists_of_tags_split_outside_quotes_and_know_no_escapes() {
        let list: Vec<_> = tags(b"\"a,b\", W/\"c\\\",, x ").collect();
        assert_eq!(list, [&b"\"a,b\""[..], b"W/\"c\\\"", b"x"]);
    }
}
