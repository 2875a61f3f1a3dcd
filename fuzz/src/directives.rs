//! Directives, dates and ages: parsing, and the arithmetic of freshness with hostile numbers.

use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, DATE};
use http::{HeaderValue, Method, StatusCode};
use seawall::clock::Timestamp;
use seawall::policy::{
    CacheControl, Failure, Overrides, RequestDirectives, RequestFacts, ResponseTimes, Reuse,
    Storability, StoredHead, Validity, format_date, on_failure, parse_date, reuse, storability,
};

use super::input::{Input, overrides};

/// Numbers: when the response came (ms), how long it took (ms), how much later it is asked for
/// (ms), its status.
pub fn run(data: &[u8]) {
    let input = Input::read(data);
    dates(&input);
    for overrides in overrides() {
        freshness(&input, &overrides);
    }
}

fn dates(input: &Input) {
    let now = Timestamp::from_millis(input.number(0));
    for value in input.response.values().chain(input.request.values()) {
        if let Some(date) = parse_date(value.as_bytes(), now) {
            let written = format_date(date);
            assert_eq!(parse_date(written.as_bytes(), now), Some(date), "{written}");
        }
    }
}

fn freshness(input: &Input, overrides: &Overrides) {
    let response_at = Timestamp::from_millis(input.number(0));
    let times =
        ResponseTimes { request_at: response_at.minus(millis(input.number(1))), response_at };
    let later = response_at.plus(millis(input.number(2)));
    let status =
        u16::try_from(input.number(3)).ok().and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.unwrap_or(StatusCode::OK);
    let request = RequestFacts::new(&Method::GET, &input.request, true);
    let stored = StoredHead::new(&request, status, &input.response, times, overrides);

    same_fields(input, overrides, &stored);
    let lifetime = stored.freshness(overrides).duration;
    assert!(lifetime <= overrides.max_lifetime, "{lifetime:?}");
    assert!(stored.current_age(later) >= stored.current_age(response_at), "age never falls");
    assert!(stored.age_seconds(later) <= 1 << 31);
    let _ = stored.ttl(overrides, later);
    let _ = stored.expires_from_store_at(overrides);

    let asked = RequestDirectives::parse(&input.request);
    for validity in [Validity::Valid, Validity::SoftPurged] {
        if reuse(&stored, &request, &asked, overrides, validity, later) == Reuse::Fresh {
            assert!(stored.current_age(later) < lifetime && validity == Validity::Valid);
        }
    }
    let _ = storability(&request, status, &input.response, overrides);
    restrictions(input, overrides, status, times, later);
}

/// What may not be stored may not, and what must be validated is, whatever else is said.
fn restrictions(
    input: &Input,
    overrides: &Overrides,
    status: StatusCode,
    times: ResponseTimes,
    later: Timestamp,
) {
    let said = CacheControl::parse(&input.response, overrides).directives;
    // A targeted field replaces `Cache-Control`; RFC 9111 §5.2.2.3 lets `no-store` be ignored.
    if said.is_targeted() || said.must_understand() {
        return;
    }
    let request = RequestFacts::new(&Method::GET, &input.request, true);
    let with = |directive| {
        let mut response = input.response.clone();
        response.append(CACHE_CONTROL, HeaderValue::from_static(directive));
        response
    };
    for directive in ["no-store", "private"] {
        let stored = storability(&request, status, &with(directive), overrides);
        assert!(!matches!(stored, Storability::Store), "{directive}");
    }
    let unvalidated = StoredHead::new(&request, status, &with("no-cache"), times, overrides);
    let asked = RequestDirectives::parse(&input.request);
    let reuse = reuse(&unvalidated, &request, &asked, overrides, Validity::Valid, later);
    assert!(!matches!(reuse, Reuse::Fresh | Reuse::Stale(_)), "{reuse:?}");
    let bound = StoredHead::new(&request, status, &with("must-revalidate"), times, overrides);
    for failure in [Failure::Status(StatusCode::BAD_GATEWAY), Failure::NoResponse] {
        let grant = on_failure(&bound, &asked, overrides, failure, later);
        assert!(grant.is_none(), "{grant:?}");
    }
}

/// A stored head gives back what it was made of.
fn same_fields(input: &Input, overrides: &Overrides, stored: &StoredHead) {
    let control = CacheControl::parse(&input.response, overrides);
    let mut expected = input.response.clone();
    expected.remove(AGE);
    for name in &control.withheld_fields {
        expected.remove(name);
    }
    let mut found = stored.header_map();
    if !expected.contains_key(DATE) {
        found.remove(DATE);
    }
    assert_eq!(found, expected);
}

fn millis(number: i64) -> Duration {
    Duration::from_millis(number.unsigned_abs())
}
