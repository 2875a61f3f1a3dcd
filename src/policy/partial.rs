//! Storing partial responses and making them whole (RFC 9111 §3.3, §3.4).

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::dates::parse_date;
use super::overrides::Overrides;
use super::range::{ByteRange, ContentRange, parse_content_range};
use super::request::RequestFacts;
use super::stored_head::{ResponseTimes, StoredHead};
use super::validation::merge;
use crate::headers::single;

/// Whether a stored response and a new partial one are parts of the same representation: they
/// share a strong validator and do not disagree on the complete length (RFC 9111 §3.4).
#[must_use]
pub fn combinable(stored: &StoredHead, headers: &HeaderMap) -> bool {
    let new_range = single(headers, &CONTENT_RANGE).and_then(parse_content_range);
    let new_length = new_range.and_then(|range| range.complete);
    let agree = stored.complete_length().zip(new_length).is_none_or(|(stored, new)| stored == new);
    agree && shares_strong_validator(stored, headers)
}

fn shares_strong_validator(stored: &StoredHead, headers: &HeaderMap) -> bool {
    let validators = stored.validators();
    if validators.etag.is_some() || headers.contains_key(ETAG) {
        let tag = validators.etag.zip(single(headers, &ETAG));
        return tag.is_some_and(|(stored, new)| stored.strongly_equals(new.as_bytes()));
    }
    let new = single(headers, &LAST_MODIFIED);
    let new = new.and_then(|date| parse_date(date.as_bytes(), stored.response_at()));
    validators.last_modified_strong && new.is_some() && new == validators.last_modified
}

/// What is held of a partial response whose body has `body_len` bytes, and the length to measure
/// ranges against. If the body is shorter than its `Content-Range` says and should have reached
/// the end, the representation counts as ending where the body does (for
/// [`Overrides::accept_short_partial`]; without it such a body is not stored).
#[must_use]
pub fn short_partial(range: ContentRange, body_len: u64) -> (ByteRange, Option<u64>) {
    let end = range.end.min(range.start.saturating_add(body_len));
    let to_the_end = range.complete == Some(range.end);
    let complete = if to_the_end { Some(end) } else { range.complete };
    (ByteRange { start: range.start, end }, complete)
}

/// Makes a request ask only for the missing end of a stored partial response that holds the
/// beginning, under `If-Range`. Returns whether it did: there has to be something missing, and a
/// strong validator (or [`Overrides::complete_partial_without_validator`], and then the caller
/// has to fetch again if the answer can't be combined).
pub fn complete_partial(
    stored: &StoredHead,
    held: &[ByteRange],
    complete: Option<u64>,
    overrides: &Overrides,
    headers: &mut HeaderMap,
) -> bool {
    let [held] = held else { return false };
    let missing = held.start == 0 && complete.is_none_or(|length| held.end < length);
    let validators = stored.validators();
    if !missing || !(validators.is_strong() || overrides.complete_partial_without_validator) {
        return false;
    }
    let Ok(range) = HeaderValue::try_from(format!("bytes={}-", held.end)) else { return false };
    super::strip_conditionals(headers);
    headers.insert(RANGE, range);
    if validators.is_strong() {
        let name = if validators.etag.is_some() { ETAG } else { LAST_MODIFIED };
        if let Some(value) = stored.get(&name) {
            headers.insert(IF_RANGE, value);
        }
    }
    true
}

impl StoredHead {
    /// The head of this response combined with a newer partial one (RFC 9111 §3.4): the newer
    /// fields win. `held` is what the combined body holds; if that is all, the head is a 200.
    #[must_use]
    pub fn combined(
        &self,
        newer: &HeaderMap,
        held: ContentRange,
        times: ResponseTimes,
        overrides: &Overrides,
        request: &RequestFacts<'_>,
    ) -> Self {
        let mut merged = self.header_map();
        merge(&mut merged, newer, times);
        merged.insert(CONTENT_LENGTH, HeaderValue::from(held.range().len()));
        let whole = held.start == 0 && held.complete == Some(held.end);
        let status = if whole {
            merged.remove(CONTENT_RANGE);
            StatusCode::OK
        } else {
            if let Some(value) = held.to_value() {
                merged.insert(CONTENT_RANGE, value);
            }
            StatusCode::PARTIAL_CONTENT
        };
        Self::new(request, status, &merged, times, overrides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{AT_ONCE, NOW_DATE, get, headers, stored};

    const TAG: (&str, &str) = ("etag", "\"a\"");
    const PART: (&str, &str) = ("content-range", "bytes 0-4/10");
    const REST: (&str, &str) = ("content-range", "bytes 5-9/10");
    const HELD: [ByteRange; 1] = [ByteRange { start: 0, end: 5 }];

    fn part(fields: &[(&str, &str)]) -> StoredHead {
        stored(206, &[&[PART, ("date", NOW_DATE)], fields].concat(), &Overrides::default())
    }

    /// RFC 9111 §3.4.
    #[test]
    fn parts_are_combined_by_a_strong_validator() {
        let weak = ("etag", "W/\"a\"");
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT");
        let fresh = ("last-modified", NOW_DATE);
        for (stored, new, expected) in [
            (&[TAG][..], &[TAG, REST][..], true),
            (&[TAG], &[REST], false),
            (&[TAG], &[("etag", "\"b\""), REST], false),
            (&[weak], &[weak, REST], false),
            (&[TAG], &[TAG, ("content-range", "bytes 5-9/11")], false),
            (&[TAG], &[TAG, ("content-range", "bytes 5-9/*")], true),
            (&[modified], &[modified, REST], true),
            (&[fresh], &[fresh, REST], false),
            (&[], &[REST], false),
        ] {
            assert_eq!(combinable(&part(stored), &headers(new)), expected, "{stored:?} {new:?}");
        }
    }

    #[test]
    fn the_missing_end_is_asked_for() {
        let complete = |head: &StoredHead, held: &[_], overrides: &_| {
            let mut request = headers(&[("if-none-match", "\"x\"")]);
            complete_partial(head, held, Some(10), overrides, &mut request).then_some(request)
        };
        let plain = Overrides::default();
        let expected = headers(&[("range", "bytes=5-"), ("if-range", "\"a\"")]);
        assert_eq!(complete(&part(&[TAG]), &HELD, &plain), Some(expected));
        assert_eq!(complete(&part(&[]), &HELD, &plain), None);
        let contested =
            Overrides { complete_partial_without_validator: true, ..Overrides::default() };
        let expected = headers(&[("range", "bytes=5-")]);
        assert_eq!(complete(&part(&[]), &HELD, &contested), Some(expected));
        let end = [ByteRange { start: 5, end: 10 }];
        assert_eq!(complete(&part(&[TAG]), &end, &plain), None);
    }

    #[test]
    fn a_short_part_ends_where_its_body_does() {
        let range = ContentRange { start: 4, end: 10, complete: Some(10) };
        assert_eq!(short_partial(range, 5), (ByteRange { start: 4, end: 9 }, Some(9)));
        assert_eq!(short_partial(range, 6), (range.range(), Some(10)));
        let middle = ContentRange { start: 4, end: 8, complete: Some(10) };
        assert_eq!(short_partial(middle, 2), (ByteRange { start: 4, end: 6 }, Some(10)));
    }

    #[test]
    fn all_parts_make_a_whole() {
        let plain = Overrides::default();
        let request = HeaderMap::new();
        let combined = |end| {
            let held = ContentRange { start: 0, end, complete: Some(10) };
            part(&[TAG, ("x", "old")]).combined(
                &headers(&[TAG, REST, ("x", "new"), ("date", NOW_DATE)]),
                held,
                AT_ONCE,
                &plain,
                &get(&request),
            )
        };
        let whole = combined(10);
        let expected = headers(&[TAG, ("x", "new"), ("date", NOW_DATE), ("content-length", "10")]);
        assert_eq!((whole.status(), whole.header_map()), (StatusCode::OK, expected));
        let longer = combined(8);
        assert!(longer.is_partial());
        assert_eq!(longer.get(&CONTENT_RANGE).unwrap(), "bytes 0-7/10");
    }
}
