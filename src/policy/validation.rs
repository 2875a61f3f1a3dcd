//! Validation of stored responses with the origin (RFC 9111 §4.3).

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
    SET_COOKIE, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::dates::{format_date, parse_date};
use super::overrides::Overrides;
use super::request::RequestFacts;
use super::storability::{Storability, storability};
use super::stored_head::{ResponseTimes, StoredHead};
use crate::headers::single;

/// Makes a request validate the stored response: the client's own preconditions and range go
/// (they are answered from the cache afterwards), the stored validators come, strong or weak
/// (RFC 9111 §4.3.1). Without validators the request is unconditional.
pub fn conditional_headers(stored: &StoredHead, headers: &mut HeaderMap) {
    strip_conditionals(headers);
    let validators = stored.validators();
    let conditions = [
        (IF_NONE_MATCH, ETAG, validators.etag.is_some()),
        (IF_MODIFIED_SINCE, LAST_MODIFIED, validators.last_modified.is_some()),
    ];
    for (condition, validator, present) in conditions {
        if let Some(value) = stored.get(&validator).filter(|_| present) {
            headers.insert(condition, value);
        }
    }
}

/// Removes preconditions and `Range`, so that the origin answers with the whole.
pub fn strip_conditionals(headers: &mut HeaderMap) {
    for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE] {
        headers.remove(name);
    }
}

/// Whether a 304 speaks of this stored response (RFC 9111 §4.3.4).
///
/// Its entity tag has to be the stored one, else its `Last-Modified`. One without either is
/// taken at its word: it answers the validators of this very response, the only ones sent.
#[must_use]
pub fn validated_by(stored: &StoredHead, not_modified: &HeaderMap) -> bool {
    let same_date = same_last_modified(stored, not_modified);
    if not_modified.contains_key(ETAG) {
        return match (stored.validators().etag, single(not_modified, &ETAG)) {
            (Some(tag), Some(new)) => {
                let new = new.as_bytes();
                let both_strong = !tag.weak && !new.starts_with(b"W/");
                if both_strong { tag.strongly_equals(new) } else { tag.weakly_equals(new) }
            }
            // A tag that was not there before: the date may still tell.
            (None, Some(_)) => same_date == Some(true),
            (_, None) => false,
        };
    }
    same_date != Some(false)
}

/// What the answer to a HEAD says of a stored response (RFC 9111 §4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadVerdict {
    /// It is unchanged: [`StoredHead::with_update`] freshens it.
    Same,
    /// It is of another version.
    Changed,
    /// Nothing: no validator came, or it is no answer to go by.
    Silent,
}

/// Judges what is stored by the answer to a HEAD. Unlike a 304, that answer vouches for the stored
/// bytes only by a validator of its own.
#[must_use]
pub fn judge_head(stored: &StoredHead, status: StatusCode, head: &HeaderMap) -> HeadVerdict {
    if status != StatusCode::OK || stored.status() != StatusCode::OK {
        return HeadVerdict::Silent;
    }
    let length = stored.get(&CONTENT_LENGTH).zip(head.get(CONTENT_LENGTH));
    if length.is_some_and(|(stored, new)| stored != new) || !validated_by(stored, head) {
        return HeadVerdict::Changed;
    }
    let validators = stored.validators();
    let tagged = validators.etag.is_some() && head.contains_key(ETAG);
    let dated = validators.last_modified.is_some() && head.contains_key(LAST_MODIFIED);
    if tagged || dated { HeadVerdict::Same } else { HeadVerdict::Silent }
}

/// `None` if one of the two has no date.
fn same_last_modified(stored: &StoredHead, headers: &HeaderMap) -> Option<bool> {
    let stored_date = stored.validators().last_modified?;
    let now = stored.response_at();
    let date = headers.get(LAST_MODIFIED)?;
    Some(parse_date(date.as_bytes(), now) == Some(stored_date))
}

impl StoredHead {
    /// The head as a 304, or a HEAD's 200, changes it (RFC 9111 §3.2): each field it carries
    /// replaces all stored lines of the name, but for those that describe the stored bytes and
    /// `Set-Cookie`. Facts and freshness are made anew with the new times; `request` is the
    /// client's request that was validated for.
    #[must_use]
    pub fn with_update(
        &self,
        not_modified: &HeaderMap,
        times: ResponseTimes,
        overrides: &Overrides,
        request: &RequestFacts<'_>,
    ) -> Self {
        let mut merged = self.header_map();
        merge(&mut merged, not_modified, times);
        Self::new(request, self.status(), &merged, times, overrides)
    }

    /// Whether the head, as updated, may still be stored: a 304 can bring `no-store`.
    #[must_use]
    pub fn storable(&self, request: &RequestFacts<'_>, overrides: &Overrides) -> Storability {
        storability(request, self.status(), &self.header_map(), overrides)
    }
}

/// RFC 9111 §3.2. `Age` is the new one or none, `Date` the new one or the time of receipt.
pub(super) fn merge(merged: &mut HeaderMap, newer: &HeaderMap, times: ResponseTimes) {
    for name in newer.keys().filter(|name| is_updated(name)) {
        merged.remove(name);
        for value in newer.get_all(name) {
            // A map that is full keeps what it has.
            let _ = merged.try_append(name, value.clone());
        }
    }
    if !newer.contains_key(DATE)
        && let Ok(date) = HeaderValue::try_from(format_date(times.response_at))
    {
        merged.insert(DATE, date);
    }
    if !newer.contains_key(AGE) {
        merged.remove(AGE);
    }
}

/// A 304 has no body, so what it says of one is not about the stored bytes; its `Set-Cookie` is
/// for the client at hand.
fn is_updated(name: &HeaderName) -> bool {
    ![CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, TRANSFER_ENCODING, TRAILER, SET_COOKIE]
        .contains(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::testing::{AT_ONCE, NOW_DATE, at, get, headers, reuse_at, stored};
    use crate::policy::{Reason, Reuse};

    const EARLIER: &str = "Sun, 06 Nov 1994 08:00:00 GMT";
    const TAG: (&str, &str) = ("etag", "\"a\"");
    const DATED: (&str, &str) = ("last-modified", EARLIER);

    fn update(head: &StoredHead, fields: &[(&str, &str)], seconds: i64) -> StoredHead {
        let times = ResponseTimes { request_at: at(seconds), response_at: at(seconds) };
        let request = HeaderMap::new();
        head.with_update(&headers(fields), times, &Overrides::default(), &get(&request))
    }

    /// RFC 9111 §4.3.1.
    #[test]
    fn the_stored_validators_replace_the_clients_conditions() {
        let head = stored(200, &[("etag", "W/\"a\""), DATED], &Overrides::default());
        let mut request = headers(&[
            ("if-none-match", "\"mine\""),
            ("if-range", "\"mine\""),
            ("range", "bytes=0-1"),
            ("if-match", "*"),
            ("x", "1"),
        ]);
        conditional_headers(&head, &mut request);
        let expected = [("x", "1"), ("if-none-match", "W/\"a\""), ("if-modified-since", EARLIER)];
        assert_eq!(request, headers(&expected));
        conditional_headers(
            &stored(200, &[("last-modified", "x")], &Overrides::default()),
            &mut request,
        );
        assert_eq!(request, headers(&[("x", "1")]));
    }

    /// RFC 9111 §4.3.4.
    #[test]
    fn a_304_speaks_of_what_it_validates() {
        let weak = ("etag", "W/\"a\"");
        for (stored_fields, fields, expected) in [
            (&[TAG][..], &[TAG][..], true),
            (&[TAG], &[("etag", "\"b\"")], false),
            (&[TAG], &[weak], true),
            (&[weak], &[TAG], true),
            (&[TAG], &[], true),
            (&[TAG, DATED], &[TAG, ("last-modified", NOW_DATE)], true),
            (&[TAG], &[TAG, TAG], false),
            (&[DATED], &[DATED], true),
            (&[DATED], &[("last-modified", NOW_DATE)], false),
            (&[DATED], &[TAG], false),
            (&[DATED], &[TAG, DATED], true),
            (&[DATED], &[], true),
        ] {
            let head = stored(200, stored_fields, &Overrides::default());
            assert_eq!(
                validated_by(&head, &headers(fields)),
                expected,
                "{stored_fields:?} {fields:?}"
            );
        }
    }

    /// RFC 9111 §3.2.
    #[test]
    fn a_304_replaces_fields_but_not_those_of_the_bytes() {
        let head = stored(
            200,
            &[
                TAG,
                ("date", NOW_DATE),
                ("cache-control", "max-age=2"),
                ("x-a", "1"),
                ("x-a", "2"),
                ("x-b", "kept"),
                ("content-length", "5"),
                ("content-encoding", "gzip"),
                ("content-type", "text/html"),
            ],
            &Overrides::default(),
        );
        let later = "Sun, 06 Nov 1994 08:49:42 GMT";
        let updated = update(
            &head,
            &[
                TAG,
                ("date", later),
                ("cache-control", "max-age=9"),
                ("x-a", "3"),
                ("content-length", "0"),
                ("content-encoding", "br"),
                ("content-range", "bytes 0-1/2"),
                ("set-cookie", "a=b"),
                ("age", "1"),
            ],
            5,
        );
        let expected = [
            TAG,
            ("date", later),
            ("cache-control", "max-age=9"),
            ("x-a", "3"),
            ("x-b", "kept"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("content-type", "text/html"),
        ];
        assert_eq!(updated.header_map(), headers(&expected));
        assert_eq!(updated.status(), StatusCode::OK);
        assert_eq!(reuse_at(&updated, &Overrides::default(), 12), Reuse::Fresh);
        let stale = reuse_at(&updated, &Overrides::default(), 13);
        assert_eq!(stale, Reuse::Validate(Reason::Stale));
    }

    #[test]
    fn a_304_without_a_date_is_dated_by_its_receipt() {
        let head = stored(
            200,
            &[TAG, ("date", EARLIER), ("cache-control", "max-age=9")],
            &Overrides::default(),
        );
        assert_eq!(update(&head, &[TAG], 5).date(), at(5));
    }

    #[test]
    fn a_304_can_end_storage() {
        let head = stored(200, &[TAG, ("cache-control", "max-age=9")], &Overrides::default());
        let updated = update(&head, &[("cache-control", "no-store")], 1);
        let request = HeaderMap::new();
        let storable = updated.storable(&get(&request), &Overrides::default());
        assert_eq!(storable, Storability::DoNotStore(Reason::NoStore));
    }

    /// RFC 9111 §4.3.5.
    #[test]
    fn a_head_freshens_what_it_vouches_for_by_a_validator() {
        use HeadVerdict::{Changed, Same, Silent};
        let head = stored(200, &[TAG, ("content-length", "5")], &Overrides::default());
        let judged = |status, fields: &[_]| judge_head(&head, status, &headers(fields));
        assert_eq!(judged(StatusCode::OK, &[TAG, ("content-length", "5")]), Same);
        assert_eq!(judged(StatusCode::OK, &[("content-length", "5")]), Silent);
        assert_eq!(judged(StatusCode::OK, &[TAG, ("content-length", "6")]), Changed);
        assert_eq!(judged(StatusCode::OK, &[("etag", "\"b\"")]), Changed);
        assert_eq!(judged(StatusCode::GONE, &[TAG]), Silent);
        let bare = stored(200, &[("content-length", "5")], &Overrides::default());
        let same_length = headers(&[("content-length", "5")]);
        assert_eq!(judge_head(&bare, StatusCode::OK, &same_length), Silent);
    }

    proptest! {
        #[test]
        fn an_update_is_idempotent(fields in prop::collection::vec(("[a-c]", "[a-z0-9]{0,4}"), 0..6)) {
            let head = stored(200, &[TAG, ("a", "1"), ("a", "2"), ("date", NOW_DATE)], &Overrides::default());
            let fields = headers(&fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>());
            let request = HeaderMap::new();
            let update = |head: &StoredHead| head.with_update(&fields, AT_ONCE, &Overrides::default(), &get(&request));
            let once = update(&head);
            prop_assert_eq!(update(&once).header_map(), once.header_map());
        }
    }
}
