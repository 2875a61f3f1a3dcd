//! What a head keeps, and what is read from it.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use proptest::prelude::*;

use super::*;
use crate::policy::testing::{AT_ONCE, NOW_DATE, at, get, headers, secs, stored};

#[test]
fn fields_and_the_order_of_repeated_lines_are_kept() {
    let long = "x-".to_owned() + &"long".repeat(40);
    let fields = [
        ("date", NOW_DATE),
        ("x-own", "1"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        (long.as_str(), "value"),
        ("content-type", "text/html"),
        ("x-empty", ""),
        ("x-own", "obs-text: \u{fc}"),
    ];
    let head = stored(200, &fields, &Overrides::default());
    assert_eq!(head.header_map(), headers(&fields));
    assert_eq!(head.get(&HeaderName::from_bytes(long.as_bytes()).unwrap()).unwrap(), "value");
    let cookies: Vec<_> = head.get_all(&SET_COOKIE).collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[test]
fn hidden_fields_stay_for_all_but_clients() {
    let names = (0..2000).map(|index| format!("x-own-{index}"));
    let fields: Vec<_> = names.map(|name| (name, "1")).collect();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let more = [fields.as_slice(), &[("x-own-0", "2"), ("date", NOW_DATE)]].concat();
    // Of those in the table of names, and of those that stand in the head.
    let hidden =
        ["x-own-0", "x-own-1999"].map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap());
    let head = stored(200, &more, &Overrides::default()).hiding(hidden.iter());
    assert_eq!(head.header_map(), headers(&more));
    assert_eq!(head.get_all(&hidden[0]).count(), 2);
    assert_eq!(head.answer_fields().len(), 1999);
    assert!(hidden.iter().all(|name| !head.answer_fields().contains_key(name)));
}

#[test]
fn nothing_of_the_source_is_held() {
    let source = Bytes::from(b"max-age=10|Accept-Encoding|\"tag\"|name-of-its-own|text".to_vec());
    let value =
        |at: std::ops::Range<usize>| HeaderValue::from_maybe_shared(source.slice(at)).unwrap();
    let mut map = HeaderMap::new();
    map.insert(CACHE_CONTROL, value(0..10));
    map.insert(VARY, value(11..26));
    map.insert(ETAG, value(27..32));
    map.insert(HeaderName::from_bytes(&source[33..48]).unwrap(), value(49..53));
    let mut request = HeaderMap::new();
    request.insert("accept-encoding", value(49..53));
    let status = StatusCode::OK;
    let head = StoredHead::new(&get(&request), status, &map, AT_ONCE, &Overrides::default());
    drop((map, request));
    assert!(source.is_unique());
    assert_eq!(head.header_map().len(), 5);
}

#[test]
fn an_answer_shares_the_block() {
    let head = stored(200, &[("etag", "\"a\""), ("x-b", "c")], &Overrides::default());
    let answer = head.header_map();
    let block = head.lines.block().as_ptr_range();
    assert!(answer.values().all(|value| block.contains(&value.as_bytes().as_ptr())));
    assert_eq!(head.validators().etag.unwrap().opaque, b"\"a\"");
}

#[test]
fn heap_bytes_count_block_and_vary() {
    let plain = Overrides::default();
    let small = stored(200, &[("date", NOW_DATE)], &plain);
    // A line has three bytes beside its value. What counts owners, and the next multiple of 16.
    assert_eq!(small.heap_bytes(), (3 + NOW_DATE.len() + 8).next_multiple_of(16));
    let names: Vec<_> = (0..9).map(|index| format!("x-{index}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let many = stored(200, &fields, &plain);
    assert!(many.heap_bytes() >= small.heap_bytes() + 9 * 3);
    let varied = stored(200, &[("date", NOW_DATE), ("vary", "x-a")], &plain);
    assert!(varied.heap_bytes() > small.heap_bytes() + size_of::<VaryKey>());
}

/// Every stored response has one.
#[test]
fn a_head_is_small() {
    assert!(size_of::<StoredHead>() <= 120, "{}", size_of::<StoredHead>());
}

#[test]
fn values_above_64_kib_are_kept() {
    let long = "v".repeat(70_000);
    let fields = [("x-long", long.as_str()), ("date", NOW_DATE), ("etag", "\"a\"")];
    let head = stored(200, &fields, &Overrides::default());
    assert_eq!(head.header_map(), headers(&fields));
    assert_eq!(head.validators().etag.unwrap().opaque, b"\"a\"");
}

/// RFC 9111 §5.1, §5.2.2.4, §5.2.2.7; RFC 9110 §6.6.1.
#[test]
fn age_and_named_fields_are_left_out_and_date_is_added() {
    let control = "max-age=9, private=\"x-a\", no-cache=\"set-cookie\"";
    let fields = [("cache-control", control), ("age", "3"), ("x-a", "1"), ("set-cookie", "a=b")];
    let head = stored(200, &fields, &Overrides::default());
    assert_eq!(head.header_map(), headers(&[("cache-control", control), ("date", NOW_DATE)]));
    assert_eq!((head.current_age(at(0)), head.age_seconds(at(2))), (secs(3), 5));
    let old = stored(200, &[("age", "99999999999")], &Overrides::default());
    assert_eq!(old.age_seconds(at(9)), OVERFLOW);
}

#[test]
fn lengths_and_validators() {
    let plain = Overrides::default();
    let fields = [
        ("content-length", "5"),
        ("content-range", "bytes 0-4/10"),
        ("etag", "W/\"a\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:36 GMT"),
        ("date", NOW_DATE),
    ];
    let partial = stored(206, &fields, &plain);
    assert_eq!((partial.content_length(), partial.complete_length()), (Some(5), Some(10)));
    assert!(partial.is_partial() && !partial.validators().is_strong());
    assert!(partial.validators().last_modified_strong);
    assert_eq!(stored(200, &fields, &plain).complete_length(), Some(5));
    for value in ["+5", "5, 5", "-1", "18446744073709551616"] {
        assert_eq!(stored(200, &[("content-length", value)], &plain).content_length(), None);
    }
    assert!(
        !stored(200, &[("last-modified", NOW_DATE), ("date", NOW_DATE)], &plain)
            .validators()
            .is_strong()
    );
}

#[test]
fn a_tier_keeps_it_through_windows_and_with_a_validator_longer() {
    let overrides =
        Overrides { stale_if_error: secs(100), keep: secs(1000), ..Overrides::default() };
    let control = ("cache-control", "max-age=10");
    let date = ("date", NOW_DATE);
    let until = |fields: &[_]| stored(200, fields, &overrides).expires_from_store_at(&overrides);
    assert_eq!(until(&[control, date]), at(110));
    assert_eq!(until(&[control, date, ("etag", "\"a\"")]), at(1110));
    assert_eq!(until(&[control, date, ("age", "4")]), at(106));
    assert_eq!(until(&[("cache-control", "max-age=10, must-revalidate"), date]), at(10));
}

proptest! {
    #[test]
    fn any_head_round_trips(fields in prop::collection::vec(("[a-d]{1,3}", prop::collection::vec(0x20_u8..0x7f, 0..12)), 0..12)) {
        let mut map = headers(&[("date", NOW_DATE)]);
        for (name, value) in &fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let none = HeaderMap::new();
        let head = StoredHead::new(&get(&none), StatusCode::OK, &map, AT_ONCE, &Overrides::default());
        prop_assert_eq!(head.header_map(), map);
    }
}
