//! Clients' preconditions, answered from the cache (RFC 9110 §13, RFC 9111 §4.3.2).

use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use http::{HeaderMap, Method};

use super::facts::date_of;
use super::overrides::Overrides;
use super::stored_head::StoredHead;
use super::validators::{EntityTag, tags};
use crate::clock::Timestamp;

/// What a request's preconditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// None, or all true: answer as if there were none.
    Proceed,
    /// Answer 304 with the fields that [`not_modified_headers`] leaves.
    NotModified,
    /// Answer 412, or let the origin do so: `If-Match` and `If-Unmodified-Since` are meant for it
    /// (RFC 9111 §4.3.2), and it may have a newer representation that they hold for.
    Failed,
}

/// Evaluates preconditions against a stored response, in the order of RFC 9110 §13.2.2. They
/// count only where the answer would be a 2xx to GET or HEAD (§13.2.1); a field that can't be
/// read does not count.
#[must_use]
pub fn evaluate(
    method: &Method,
    request: &HeaderMap,
    stored: &StoredHead,
    overrides: &Overrides,
) -> Precondition {
    let retrieves = *method == Method::GET || *method == Method::HEAD;
    if !retrieves || !stored.status().is_success() {
        return Precondition::Proceed;
    }
    if request.contains_key(IF_MATCH) {
        if !any_tag(request, &IF_MATCH, stored, EntityTag::strongly_equals) {
            return Precondition::Failed;
        }
    } else if is_modified_since(request, stored) == Some(true) {
        return Precondition::Failed;
    }
    let not_modified = if request.contains_key(IF_NONE_MATCH) {
        any_tag(request, &IF_NONE_MATCH, stored, EntityTag::weakly_equals)
    } else {
        is_not_modified_since(request, stored, overrides)
    };
    if not_modified { Precondition::NotModified } else { Precondition::Proceed }
}

/// Leaves in a map what a 304 carries (RFC 9110 §15.4.5): not what describes the content, and
/// `Last-Modified` only where there is no `ETag` to go by.
pub fn not_modified_headers(headers: &mut HeaderMap) {
    let digest = HeaderName::from_static("content-md5");
    for name in
        [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE, digest]
    {
        headers.remove(name);
    }
    if headers.contains_key(ETAG) {
        headers.remove(LAST_MODIFIED);
    }
}

/// `*`, or a tag of the list that equals the stored one (§13.1.1, §13.1.2).
fn any_tag<'a>(
    request: &HeaderMap,
    name: &HeaderName,
    stored: &'a StoredHead,
    equals: fn(&EntityTag<'a>, &[u8]) -> bool,
) -> bool {
    let stored_tag = stored.validators().etag;
    let mut sent = request.get_all(name).iter().flat_map(|line| tags(line.as_bytes()));
    sent.any(|tag| tag == b"*" || stored_tag.is_some_and(|stored| equals(&stored, tag)))
}

/// `If-Unmodified-Since` (§13.1.4); `None` if it does not count.
fn is_modified_since(request: &HeaderMap, stored: &StoredHead) -> Option<bool> {
    let since = date_in(request, &IF_UNMODIFIED_SINCE, stored)?;
    Some(stored.validators().last_modified? > since)
}

/// `If-Modified-Since` (§13.1.3). Without a stored `Last-Modified`, `Date` stands for it
/// (RFC 9111 §4.3.2).
fn is_not_modified_since(request: &HeaderMap, stored: &StoredHead, overrides: &Overrides) -> bool {
    let Some(since) = date_in(request, &IF_MODIFIED_SINCE, stored) else { return false };
    match stored.validators().last_modified {
        Some(modified) => modified <= since,
        None => overrides.not_modified_without_last_modified || stored.date() <= since,
    }
}

fn date_in(request: &HeaderMap, name: &HeaderName, stored: &StoredHead) -> Option<Timestamp> {
    date_of(request, name, stored.response_at())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{NOW_DATE, headers, stored};

    const EARLIER: &str = "Sun, 06 Nov 1994 08:00:00 GMT";
    const RFC_850: &str = "Sunday, 06-Nov-94 08:00:00 GMT";
    const TAG: (&str, &str) = ("etag", "\"a\"");
    const DATED: (&str, &str) = ("last-modified", EARLIER);

    fn outcome(request: &[(&str, &str)], fields: &[(&str, &str)]) -> Precondition {
        let head = stored(200, fields, &Overrides::default());
        evaluate(&Method::GET, &headers(request), &head, &Overrides::default())
    }

    /// RFC 9110 §13.1.2, §13.1.3, §13.2.2.
    #[test]
    fn not_modified() {
        let changed = ("if-modified-since", "Sun, 06 Nov 1994 07:00:00 GMT");
        for (request, expected) in [
            (&[("if-none-match", "\"a\"")][..], true),
            (&[("if-none-match", "W/\"a\"")], true),
            (&[("if-none-match", "\"b\", \"a\", \"c\"")], true),
            (&[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")], true),
            (&[("if-none-match", "*")], true),
            (&[("if-none-match", "\"b\"")], false),
            (&[("if-none-match", "\"a\""), changed], true),
            (&[("if-none-match", "\"b\""), ("if-modified-since", EARLIER)], false),
            (&[("if-modified-since", EARLIER)], true),
            (&[("if-modified-since", RFC_850)], true),
            (&[("if-modified-since", NOW_DATE)], true),
            (&[changed], false),
            (&[("if-modified-since", "x")], false),
            (&[], false),
        ] {
            let wanted = if expected { Precondition::NotModified } else { Precondition::Proceed };
            assert_eq!(outcome(request, &[TAG, DATED]), wanted, "{request:?}");
        }
    }

    /// RFC 9110 §13.1.1, §13.1.4: strong comparison, and both come first.
    #[test]
    fn failed() {
        for (request, expected) in [
            (&[("if-match", "\"a\"")][..], Precondition::Proceed),
            (&[("if-match", "*")], Precondition::Proceed),
            (&[("if-match", "W/\"a\"")], Precondition::Failed),
            (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], Precondition::Failed),
            (&[("if-match", "\"a\""), ("if-none-match", "\"a\"")], Precondition::NotModified),
            (&[("if-unmodified-since", EARLIER)], Precondition::Proceed),
            (&[("if-unmodified-since", "Sun, 06 Nov 1994 07:59:59 GMT")], Precondition::Failed),
            (&[("if-unmodified-since", "x")], Precondition::Proceed),
        ] {
            assert_eq!(outcome(request, &[TAG, DATED]), expected, "{request:?}");
        }
    }

    /// RFC 9111 §4.3.2.
    #[test]
    fn date_stands_for_a_missing_last_modified() {
        let fields = [("date", NOW_DATE)];
        let asked = |since| outcome(&[("if-modified-since", since)], &fields);
        assert_eq!(asked(NOW_DATE), Precondition::NotModified);
        assert_eq!(asked(EARLIER), Precondition::Proceed);
        let contested =
            Overrides { not_modified_without_last_modified: true, ..Overrides::default() };
        let request = headers(&[("if-modified-since", EARLIER)]);
        let head = stored(200, &fields, &contested);
        let found = evaluate(&Method::GET, &request, &head, &contested);
        assert_eq!(found, Precondition::NotModified);
    }

    /// RFC 9110 §13.2.1.
    #[test]
    fn other_methods_and_statuses_do_not_count() {
        let request = headers(&[("if-none-match", "\"a\"")]);
        let plain = Overrides::default();
        let of =
            |method, status| evaluate(&method, &request, &stored(status, &[TAG], &plain), &plain);
        assert_eq!(of(Method::HEAD, 200), Precondition::NotModified);
        assert_eq!(of(Method::POST, 200), Precondition::Proceed);
        assert_eq!(of(Method::GET, 404), Precondition::Proceed);
    }

    /// RFC 9110 §15.4.5.
    #[test]
    fn a_304_tells_nothing_of_the_content() {
        let kept =
            [TAG, ("date", NOW_DATE), ("vary", "x"), ("cache-control", "max-age=9"), ("x", "1")];
        let mut map = headers(&kept);
        map.extend(headers(&[("content-length", "5"), ("content-type", "text/html"), DATED]));
        not_modified_headers(&mut map);
        assert_eq!(map, headers(&kept));
        let mut map = headers(&[DATED, ("content-length", "5")]);
        not_modified_headers(&mut map);
        assert_eq!(map, headers(&[DATED]));
    }
}
