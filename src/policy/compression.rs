//! Which responses are compressed, and for whom.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderName, RANGE, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::encoding::{Accepted, Coding};
use super::media_types::MediaTypes;
use super::request::RequestFacts;
use super::stored_head::StoredHead;
use crate::headers::list_members;

/// What an operator says of compression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Codings to make, the best first; none: nothing is compressed.
    pub codings: SmallVec<[Coding; 3]>,
    /// How hard to try.
    pub levels: Levels,
    /// Bodies below this many bytes are left alone.
    pub min_size: u64,
    /// Media types that are worth it.
    pub types: MediaTypes,
}

/// Levels by coding. Higher ones take longer, once for each response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// 1 to 19.
    pub zstd: u8,
    /// 0 to 11.
    pub br: u8,
    /// 1 to 9.
    pub gzip: u8,
}

impl Default for Levels {
    /// Where more would take much longer for little.
    fn default() -> Self {
        Self { zstd: 9, br: 5, gzip: 6 }
    }
}

impl Levels {
    /// The level of one coding.
    #[must_use]
    pub const fn of(self, coding: Coding) -> u8 {
        match coding {
            Coding::Zstd => self.zstd,
            Coding::Br => self.br,
            Coding::Gzip => self.gzip,
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            codings: SmallVec::new(),
            levels: Levels::default(),
            min_size: 1024,
            types: MediaTypes::default(),
        }
    }
}

impl Compression {
    /// Whether copies of a response in other codings may be made and served. The length of its
    /// body is looked at by [`Compression::is_worth`].
    #[must_use]
    pub fn covers(&self, head: &StoredHead) -> bool {
        head.is_transformable()
            && head.get(&CONTENT_TYPE).is_some_and(|value| self.types.holds(value.as_bytes()))
    }

    /// Whether a body of `length` bytes is worth it.
    #[must_use]
    pub const fn is_worth(&self, length: u64) -> bool {
        length >= self.min_size && length > 0
    }

    /// The codings that a request accepts, the best first. One that does not say that it accepts
    /// a coding does not; nor does one that says `no-transform` (RFC 9111 §5.2.1.6).
    #[must_use]
    pub fn accepted(&self, request: &HeaderMap) -> SmallVec<[Coding; 3]> {
        let Some(accepted) = accepted_by(request) else { return SmallVec::new() };
        self.codings.iter().copied().filter(|coding| accepted.has(*coding)).collect()
    }
}

/// Whether nobody forbids to send a response in another coding: its origin, by `no-transform`
/// (RFC 9110 §7.7) or by having chosen one itself; its being a part; or what it says to one
/// visitor. The lengths of compressed secrets can tell them (BREACH), so that what carries a
/// cookie or answers credentials is left alone even where it may be shared.
pub(super) fn is_transformable(
    request: &RequestFacts<'_>,
    status: StatusCode,
    headers: &HeaderMap,
) -> bool {
    let untouchable = [CONTENT_ENCODING, CONTENT_RANGE, SET_COOKIE];
    status != StatusCode::PARTIAL_CONTENT
        && !untouchable.iter().any(|name| headers.contains_key(name))
        && !forbids_to_transform(headers)
        && !request.headers.contains_key(AUTHORIZATION)
}

/// What a request accepts; `None` where nothing is to be made for it.
pub(super) fn accepted_by(request: &HeaderMap) -> Option<Accepted> {
    Accepted::of(request).filter(|_| !forbids_to_transform(request))
}

fn forbids_to_transform(headers: &HeaderMap) -> bool {
    list_members(headers, &CACHE_CONTROL).any(|member| member.eq_ignore_ascii_case(b"no-transform"))
}

impl StoredHead {
    /// The head of a copy in `coding`: what described the origin's bytes is gone or made anew.
    #[must_use]
    pub fn coded(&self, coding: Coding, level: u8) -> Self {
        const OF_THE_BYTES: [HeaderName; 5] = [
            CONTENT_LENGTH,
            HeaderName::from_static("content-md5"),
            HeaderName::from_static("digest"),
            HeaderName::from_static("content-digest"),
            HeaderName::from_static("repr-digest"),
        ];
        let mut fields = self.header_map();
        for name in OF_THE_BYTES {
            fields.remove(name);
        }
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
        let tag = self.validators().etag;
        if let Some(tag) = tag.and_then(|tag| tag.coded(coding, level)) {
            fields.insert(ETAG, tag);
        }
        vary_by_coding(&mut fields);
        self.with_fields(&fields).without_strong_date()
    }
}

/// Adds `Accept-Encoding` to `Vary`, unless that says so already (RFC 9110 §12.5.5).
pub fn vary_by_coding(fields: &mut HeaderMap) {
    let says_so = list_members(fields, &VARY)
        .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"));
    if !says_so {
        fields.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Makes the fields of a 304 speak of the copy that the client has, by its tag: whoever stores that
/// must not lose the `Vary` that it has (RFC 9111 §4.3.4).
pub fn speak_of_copy(fields: &mut HeaderMap, tag: HeaderValue) {
    fields.insert(ETAG, tag);
    vary_by_coding(fields);
}

/// Whether a request for a part is bound to a date alone. Copies in several codings have the same
/// `Last-Modified`, so that such a request can't say of which one it has the rest.
#[must_use]
pub fn resumes_by_date(request: &HeaderMap) -> bool {
    let is_tag = |value: &HeaderValue| {
        value.as_bytes().starts_with(b"\"") || value.as_bytes().starts_with(b"W/")
    };
    request.contains_key(RANGE)
        && request.get(http::header::IF_RANGE).is_some_and(|value| !is_tag(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Overrides;
    use crate::policy::testing::{headers, stored, stored_for};

    fn compression() -> Compression {
        Compression { codings: Coding::ALL.into_iter().collect(), ..Compression::default() }
    }

    const TEXT: (&str, &str) = ("content-type", "Text/HTML; charset=utf-8");

    #[test]
    fn what_is_left_alone() {
        let plain = Overrides::default();
        let covers = |head: &StoredHead| compression().covers(head);
        assert!(covers(&stored(200, &[TEXT], &plain)));
        assert!(covers(&stored(404, &[TEXT], &plain)));
        for fields in [
            &[][..],
            &[("content-type", "image/png")],
            &[("content-type", "text/event-stream")],
            &[TEXT, ("content-encoding", "gzip")],
            &[TEXT, ("content-encoding", "identity")],
            &[TEXT, ("cache-control", "max-age=9, No-Transform")],
            &[TEXT, ("content-range", "bytes 0-1/2")],
            &[TEXT, ("set-cookie", "a=b")],
        ] {
            assert!(!covers(&stored(200, fields, &plain)), "{fields:?}");
        }
        assert!(!covers(&stored(206, &[TEXT], &plain)));
        let credentials = [("authorization", "Basic eDp5")];
        assert!(!covers(&stored_for(&credentials, 200, &[TEXT], &plain)));
        assert!(compression().is_worth(1024) && !compression().is_worth(1023));
    }

    #[test]
    fn a_client_gets_what_it_names() {
        use Coding::{Br, Gzip, Zstd};
        for (value, expected) in [
            (Some("gzip, deflate, br, zstd"), &[Zstd, Br, Gzip][..]),
            (Some("gzip;q=1.0, br;q=0.1"), &[Br, Gzip]),
            (Some("br;q=0, gzip"), &[Gzip]),
            (Some("gzip, identity;q=0"), &[Gzip]),
            (Some("*"), &[Zstd, Br, Gzip]),
            (Some("identity"), &[]),
            (Some(""), &[]),
            (None, &[]),
        ] {
            let fields: Vec<_> =
                value.map(|value| ("accept-encoding", value)).into_iter().collect();
            assert_eq!(compression().accepted(&headers(&fields)).as_slice(), expected, "{value:?}");
        }
        let request =
            headers(&[("accept-encoding", "br"), ("cache-control", "no-cache, no-transform")]);
        assert!(compression().accepted(&request).is_empty());
    }

    /// RFC 9110 §8.8.3.3, §12.5.5; RFC 9530 §3.
    #[test]
    fn a_copy_says_what_it_is() {
        let head = stored(
            200,
            &[
                TEXT,
                ("etag", "\"a\""),
                ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT"),
                ("vary", "x"),
                ("content-length", "900"),
                ("content-md5", "1"),
                ("repr-digest", "2"),
                ("x-hidden", "3"),
            ],
            &Overrides::default(),
        );
        let hidden = HeaderName::from_static("x-hidden");
        let copy = head.hiding([&hidden].into_iter()).coded(Coding::Br, 5);
        let fields = copy.answer_fields();
        assert_eq!(fields["content-encoding"], "br");
        assert_eq!(fields["etag"], "\"a-sw-br5\"");
        let vary: Vec<_> = fields.get_all(VARY).iter().collect();
        assert_eq!(vary, ["x", "Accept-Encoding"]);
        for gone in ["content-length", "content-md5", "repr-digest", "x-hidden"] {
            assert!(!fields.contains_key(gone), "{gone}");
        }
        assert_eq!(copy.content_length(), None);
        assert!(copy.validators().etag.unwrap().strongly_equals(b"\"a-sw-br5\""));
        assert!(!copy.validators().last_modified_strong);
    }

    #[test]
    fn vary_is_said_once() {
        for (before, after) in [
            (&[][..], &["Accept-Encoding"][..]),
            (&["x"], &["x", "Accept-Encoding"]),
            (&["x, ACCEPT-encoding"], &["x, ACCEPT-encoding"]),
            (&["*"], &["*"]),
        ] {
            let fields: Vec<_> = before.iter().map(|value| ("vary", *value)).collect();
            let mut fields = headers(&fields);
            vary_by_coding(&mut fields);
            assert_eq!(fields.get_all(VARY).iter().collect::<Vec<_>>(), after);
        }
    }

    #[test]
    fn only_a_tag_tells_which_copy_is_resumed() {
        for (fields, expected) in [
            (&[("range", "bytes=1-"), ("if-range", "Sun, 06 Nov 1994 08:00:00 GMT")][..], true),
            (&[("range", "bytes=1-"), ("if-range", "\"a\"")], false),
            (&[("range", "bytes=1-")], false),
            (&[("if-range", "Sun, 06 Nov 1994 08:00:00 GMT")], false),
        ] {
            assert_eq!(resumes_by_date(&headers(fields)), expected, "{fields:?}");
        }
    }
}
