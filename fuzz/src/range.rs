//! `Range`, `If-Range` and `Content-Range` against lengths: everything stays inside the object.

use http::header::{CONTENT_RANGE, RANGE};
use http::{Method, StatusCode};
use seawall::clock::Timestamp;
use seawall::policy::partial::{combinable, complete_partial, short_partial};
use seawall::policy::range::{evaluate, evaluate_partial, parse_content_range};
use seawall::policy::{
    ByteRange, ContentRange, PartialAnswer, RangeAnswer, RequestFacts, ResponseTimes, StoredHead,
};

use super::input::{Input, overrides};

/// Numbers: the object's length, where what is held of it starts and ends, a body's length.
pub fn run(data: &[u8]) {
    let input = Input::read(data);
    let [length, start, end, sent] = [0, 1, 2, 3].map(|index| input.number(index).unsigned_abs());
    let now = Timestamp::from_secs(784_111_777);
    let times = ResponseTimes { request_at: now, response_at: now };
    let request = RequestFacts::new(&Method::GET, &input.request, false);
    for overrides in overrides() {
        let head = |status| StoredHead::new(&request, status, &input.response, times, &overrides);
        whole(&input, &head(StatusCode::OK), length);

        let part = head(StatusCode::PARTIAL_CONTENT);
        let stored = [ByteRange { start, end: end.max(start) }];
        for complete in [None, Some(length)] {
            let answer = evaluate_partial(&input.request, &part, &stored, complete);
            if let PartialAnswer::Covers(range) = answer {
                assert!(!range.is_empty() && stored[0].contains(&range), "{range:?} of {stored:?}");
                assert!(complete.is_none_or(|length| range.end <= length), "{range:?}");
            }
            let mut asked = input.request.clone();
            if complete_partial(&part, &stored, complete, &overrides, &mut asked) {
                assert_eq!(asked[RANGE], format!("bytes={}-", stored[0].end));
                assert!(complete.is_none_or(|length| stored[0].end < length));
            }
        }
        let _ = combinable(&part, &input.response);
        if !stored[0].is_empty() {
            let range = ContentRange { start, end: stored[0].end, complete: None };
            let _ = part.combined(&input.response, range, times, &overrides, &request);
        }
    }
    for value in input.response.get_all(CONTENT_RANGE) {
        if let Some(range) = parse_content_range(value) {
            assert!(range.start < range.end, "{range:?}");
            assert!(range.complete.is_none_or(|length| range.end <= length), "{range:?}");
            let written = range.to_value().expect("a range has a value");
            assert_eq!(parse_content_range(&written), Some(range));
            let (held, complete) = short_partial(range, sent);
            assert!(range.range().contains(&held) && held.len() <= sent, "{held:?}");
            assert!(complete.is_none_or(|length| held.end <= length), "{held:?}");
        }
    }
}

fn whole(input: &Input, head: &StoredHead, length: u64) {
    let ranges = match evaluate(&Method::GET, &input.request, head, length) {
        RangeAnswer::Single(range) => vec![range],
        RangeAnswer::Multi(ranges) => ranges.to_vec(),
        RangeAnswer::Whole | RangeAnswer::Unsatisfiable => return,
    };
    assert!(ranges.iter().all(|range| !range.is_empty() && range.end <= length), "{ranges:?}");
    // RFC 9110 §17.15: nobody gets more than there is.
    let sum: u64 = ranges.iter().map(ByteRange::len).sum();
    assert!(sum <= length && ranges.len() <= 1000, "{ranges:?} of {length}");
}
