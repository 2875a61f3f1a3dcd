//! Ranges of bytes, answered from stored responses (RFC 9110 §14).

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use smallvec::SmallVec;

use super::dates::parse_date;
use super::stored_head::StoredHead;
use crate::headers::{members, single};

pub use super::partial::{combinable, complete_partial, short_partial};

/// Ranges that one request may name; with more the whole is sent (RFC 9110 §14.2, §17.15).
const MAX_RANGES: usize = 16;

/// Bytes `start` up to, but without, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The first byte behind.
    pub end: u64,
}

impl ByteRange {
    /// How many bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all of `other` lies within.
    #[must_use]
    pub const fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// How to answer a request with a `Range`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeAnswer {
    /// With the whole representation: no range was asked, or it does not count.
    Whole,
    /// 206 with one range.
    Single(ByteRange),
    /// 206 with `multipart/byteranges`; the ranges do not overlap.
    Multi(SmallVec<[ByteRange; 4]>),
    /// 416.
    Unsatisfiable,
}

/// How a stored partial response can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartialAnswer {
    /// It holds this range, which is what was asked.
    Covers(ByteRange),
    /// It does not.
    Missing,
}

/// A `Content-Range` of bytes (RFC 9110 §14.4) that is satisfied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte.
    pub start: u64,
    /// The first byte behind.
    pub end: u64,
    /// Length of the complete representation; `None` for `*`.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// The bytes it names.
    #[must_use]
    pub const fn range(&self) -> ByteRange {
        ByteRange { start: self.start, end: self.end }
    }

    /// The field's value.
    #[must_use]
    pub fn to_value(&self) -> Option<HeaderValue> {
        let last = self.end.checked_sub(1)?;
        let complete = self.complete.map_or_else(|| "*".to_owned(), |length| length.to_string());
        HeaderValue::try_from(format!("bytes {}-{last}/{complete}", self.start)).ok()
    }
}

/// Evaluates `Range` and `If-Range` against a stored complete representation of `length` bytes.
/// Only GET has ranges, and only of a 200 (RFC 9110 §14.2). Overlapping ranges are joined.
#[must_use]
pub fn evaluate(
    method: &Method,
    request: &HeaderMap,
    stored: &StoredHead,
    length: u64,
) -> RangeAnswer {
    let applies = *method == Method::GET && stored.status() == StatusCode::OK;
    if !applies || !if_range_holds(request, stored) {
        return RangeAnswer::Whole;
    }
    let Some(specs) = parse_range(request) else { return RangeAnswer::Whole };
    // A suffix of nothing is satisfiable (RFC 9110 §14.1.2), yet no `Content-Range` can say so.
    if length == 0 && specs.iter().any(|spec| matches!(spec, RangeSpec::Last(1..))) {
        return RangeAnswer::Whole;
    }
    let mut ranges: SmallVec<[ByteRange; 4]> =
        specs.iter().filter_map(|spec| spec.within(length)).collect();
    if ranges.is_empty() {
        return RangeAnswer::Unsatisfiable;
    }
    join_overlapping(&mut ranges);
    if let [range] = ranges[..] { RangeAnswer::Single(range) } else { RangeAnswer::Multi(ranges) }
}

/// Evaluates `Range` and `If-Range` against a stored partial response that holds the ranges
/// `held` of a representation with the length `complete`, if that is known. Only a single range
/// is answered.
#[must_use]
pub fn evaluate_partial(
    request: &HeaderMap,
    stored: &StoredHead,
    held: &[ByteRange],
    complete: Option<u64>,
) -> PartialAnswer {
    let asked = || {
        let specs = parse_range(request).filter(|_| if_range_holds(request, stored))?;
        let [spec] = specs[..] else { return None };
        match complete {
            Some(length) => spec.within(length),
            // Without the length, only a range with both ends is known to be what was asked.
            None => spec.bounded(),
        }
    };
    match asked() {
        Some(range) if held.iter().any(|held| held.contains(&range)) => {
            PartialAnswer::Covers(range)
        }
        _ => PartialAnswer::Missing,
    }
}

/// Reads a `Content-Range`; `None` if it is not one of bytes, or is unsatisfied or contradicts
/// itself (RFC 9110 §14.4).
#[must_use]
pub fn parse_content_range(value: &HeaderValue) -> Option<ContentRange> {
    let text = value.to_str().ok()?;
    let (unit, rest) = text.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case("bytes ") {
        return None;
    }
    let (range, complete) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (start, last) = (number(first.as_bytes())?, number(last.as_bytes())?);
    let complete = if complete == "*" { None } else { Some(number(complete.as_bytes())?) };
    let end = last.checked_add(1)?;
    let sound = start < end && complete.is_none_or(|length| end <= length);
    sound.then_some(ContentRange { start, end, complete })
}

/// `If-Range` (RFC 9110 §13.1.5): a strong tag that equals the stored one, or exactly its strong
/// date. A request without the field is not bound.
fn if_range_holds(request: &HeaderMap, stored: &StoredHead) -> bool {
    if !request.contains_key(IF_RANGE) {
        return true;
    }
    let Some(value) = single(request, &IF_RANGE) else { return false };
    let validators = stored.validators();
    let tag = value.as_bytes();
    if tag.starts_with(b"\"") || tag.starts_with(b"W/") {
        return validators.etag.is_some_and(|stored| stored.strongly_equals(tag));
    }
    let date = parse_date(tag, stored.response_at());
    date.is_some() && date == validators.last_modified && validators.last_modified_strong
}

/// One `range-spec` (RFC 9110 §14.1.2).
#[derive(Clone, Copy, Debug)]
enum RangeSpec {
    /// First byte, and first byte behind.
    Between(u64, u64),
    From(u64),
    Last(u64),
}

impl RangeSpec {
    fn parse(member: &[u8]) -> Option<Self> {
        let dash = member.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (&member[..dash], &member[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => number(last).map(Self::Last),
            (false, true) => number(first).map(Self::From),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last.saturating_add(1)))
            }
        }
    }

    /// The bytes it selects of a representation; `None` if none.
    fn within(self, length: u64) -> Option<ByteRange> {
        let range = match self {
            Self::Between(start, end) => ByteRange { start, end: end.min(length) },
            Self::From(start) => ByteRange { start, end: length },
            Self::Last(count) => ByteRange { start: length.saturating_sub(count), end: length },
        };
        (!range.is_empty()).then_some(range)
    }

    fn bounded(self) -> Option<ByteRange> {
        match self {
            Self::Between(start, end) => Some(ByteRange { start, end }),
            _ => None,
        }
    }
}

/// `None` if there is no `Range` that counts: one line, of bytes, well-formed, not too long.
fn parse_range(request: &HeaderMap) -> Option<SmallVec<[RangeSpec; 4]>> {
    let value = single(request, &RANGE)?.as_bytes();
    let (unit, set) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let specs: SmallVec<[RangeSpec; 4]> =
        members(set).take(MAX_RANGES + 1).map(RangeSpec::parse).collect::<Option<_>>()?;
    (1..=MAX_RANGES).contains(&specs.len()).then_some(specs)
}

/// Joins ranges that overlap or touch, and only then changes their order (RFC 9110 §15.3.7.2).
fn join_overlapping(ranges: &mut SmallVec<[ByteRange; 4]>) {
    let mut sorted = ranges.clone();
    sorted.sort_unstable();
    let mut joined: SmallVec<[ByteRange; 4]> = SmallVec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    if joined.len() < ranges.len() {
        *ranges = joined;
    }
}

/// Digits only; what is too large saturates.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &digit| {
        let value = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Overrides;
    use crate::policy::testing::{NOW_DATE, headers, stored};

    const fn bytes(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    fn head(status: u16) -> StoredHead {
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT");
        let fields = [("etag", "\"a\""), modified, ("date", NOW_DATE)];
        stored(status, &fields, &Overrides::default())
    }

    fn answer(request: &[(&str, &str)]) -> RangeAnswer {
        evaluate(&Method::GET, &headers(request), &head(200), 10)
    }

    /// RFC 9110 §14.1.2, §14.2.
    #[test]
    fn single_ranges() {
        for (value, expected) in [
            ("bytes=0-1", RangeAnswer::Single(bytes(0, 2))),
            ("BYTES=1-", RangeAnswer::Single(bytes(1, 10))),
            ("bytes=-1", RangeAnswer::Single(bytes(9, 10))),
            ("bytes=-99", RangeAnswer::Single(bytes(0, 10))),
            ("bytes=8-99999999999999999999999", RangeAnswer::Single(bytes(8, 10))),
            ("bytes=10-", RangeAnswer::Unsatisfiable),
            ("bytes=-0", RangeAnswer::Unsatisfiable),
            ("bytes=", RangeAnswer::Whole),
            ("bytes=-", RangeAnswer::Whole),
            ("bytes=2-1", RangeAnswer::Whole),
            ("bytes=a-b", RangeAnswer::Whole),
            ("bytes 0-1", RangeAnswer::Whole),
            ("lines=0-1", RangeAnswer::Whole),
            ("bytes=0-1, x", RangeAnswer::Whole),
        ] {
            assert_eq!(answer(&[("range", value)]), expected, "{value}");
        }
        assert_eq!(answer(&[]), RangeAnswer::Whole);
        assert_eq!(answer(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]), RangeAnswer::Whole);
    }

    /// RFC 9110 §14.2, §15.3.7.2, §17.15.
    #[test]
    fn several_ranges_are_joined_where_they_overlap_and_bounded() {
        let multi = |ranges: &[ByteRange]| RangeAnswer::Multi(SmallVec::from_slice(ranges));
        for (value, expected) in [
            ("bytes=7-8, 0-1", multi(&[bytes(7, 9), bytes(0, 2)])),
            ("bytes=0-1,20-", RangeAnswer::Single(bytes(0, 2))),
            ("bytes=5-8,0-5,-1", RangeAnswer::Single(bytes(0, 10))),
            ("bytes=20-,30-", RangeAnswer::Unsatisfiable),
        ] {
            assert_eq!(answer(&[("range", value)]), expected, "{value}");
        }
        let many = format!("bytes={}", ["0-0"; MAX_RANGES + 1].join(","));
        assert_eq!(answer(&[("range", &many)]), RangeAnswer::Whole);
    }

    /// RFC 9110 §13.1.5.
    #[test]
    fn if_range_compares_strongly() {
        for (value, holds) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            ("Sun, 06 Nov 1994 08:00:00 GMT", true),
            ("Sun, 06 Nov 1994 08:00:01 GMT", false),
            ("x", false),
        ] {
            let found = answer(&[("range", "bytes=0-1"), ("if-range", value)]);
            assert_eq!(found != RangeAnswer::Whole, holds, "{value}");
        }
    }

    #[test]
    fn only_a_get_of_a_200_has_ranges() {
        let request = headers(&[("range", "bytes=0-1")]);
        assert_eq!(evaluate(&Method::HEAD, &request, &head(200), 10), RangeAnswer::Whole);
        assert_eq!(evaluate(&Method::GET, &request, &head(404), 10), RangeAnswer::Whole);
        let suffix = headers(&[("range", "bytes=-5")]);
        assert_eq!(evaluate(&Method::GET, &suffix, &head(200), 0), RangeAnswer::Whole);
    }

    /// RFC 9110 §14.4.
    #[test]
    fn content_range() {
        let parse = |value| parse_content_range(&HeaderValue::from_static(value));
        let range = |start, end, complete| Some(ContentRange { start, end, complete });
        assert_eq!(parse("bytes 4-9/10"), range(4, 10, Some(10)));
        assert_eq!(parse("bytes 4-9/*"), range(4, 10, None));
        for value in [
            "",
            "bytes */10",
            "bytes 9-4/10",
            "bytes 4-10/10",
            "bytes=4-9/10",
            "x 1-2/3",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(parse(value), None, "{value}");
        }
        assert_eq!(parse("bytes 4-9/10").unwrap().to_value().unwrap(), "bytes 4-9/10");
        assert_eq!(parse("bytes 4-9/*").unwrap().to_value().unwrap(), "bytes 4-9/*");
    }

    /// RFC 9111 §3.3.
    #[test]
    fn a_partial_response_answers_what_it_holds() {
        let held = [bytes(4, 10)];
        for (value, complete, expected) in [
            ("bytes=-5", Some(10), PartialAnswer::Covers(bytes(5, 10))),
            ("bytes=6-8", Some(10), PartialAnswer::Covers(bytes(6, 9))),
            ("bytes=6-8", None, PartialAnswer::Covers(bytes(6, 9))),
            ("bytes=6-", Some(10), PartialAnswer::Covers(bytes(6, 10))),
            ("bytes=6-", None, PartialAnswer::Missing),
            ("bytes=3-5", Some(10), PartialAnswer::Missing),
            ("bytes=6-7,8-9", Some(10), PartialAnswer::Missing),
        ] {
            let request = headers(&[("range", value)]);
            assert_eq!(
                evaluate_partial(&request, &head(206), &held, complete),
                expected,
                "{value}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_range_lies_within_and_never_panics(value in "(bytes=)?[0-9,x -]{0,24}", length in 0_u64..30) {
            let request = headers(&[("range", &value)]);
            let sound = |range: &ByteRange| !range.is_empty() && range.end <= length;
            match evaluate(&Method::GET, &request, &head(200), length) {
                RangeAnswer::Single(range) => prop_assert!(sound(&range)),
                RangeAnswer::Multi(ranges) => prop_assert!(ranges.iter().all(sound)),
                RangeAnswer::Whole | RangeAnswer::Unsatisfiable => {}
            }
        }

        #[test]
        fn any_bytes_never_panic(value in prop::collection::vec(any::<u8>(), 0..32)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let _ = parse_content_range(&value);
                let mut request = HeaderMap::new();
                request.insert(RANGE, value.clone());
                request.insert(IF_RANGE, value);
                let _ = evaluate(&Method::GET, &request, &head(200), 10);
            }
        }
    }
}
