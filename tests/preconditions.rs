//! The client's conditions, answered from the store (RFC 9110 §13, RFC 9111 §4.3.2).

use crate::support::*;

const MODIFIED: &str = "Tue, 01 Jan 2019 00:00:00 GMT";
const BEFORE: &str = "Mon, 01 Jan 2018 00:00:00 GMT";
const AFTER: &str = "Wed, 01 Jan 2020 00:00:00 GMT";

/// The status that a stored response with `validators` gives to a GET with `conditions`.
async fn answered(validators: &[(&str, &str)], conditions: &[(&str, &str)]) -> u16 {
    let (origin, proxy) = stage(given(validators).fresh(600)).await;
    proxy.get("/").await;
    let request =
        conditions.iter().fold(get("/"), |request, (name, value)| request.with(name, *value));
    let response = proxy.send(&request).await;
    assert_eq!(origin.count(), 1, "answered from the store: {conditions:?}");
    assert_eq!(response.body.is_empty(), response.status == 304);
    response.status
}

// RFC 9110 §13.1.2: weak comparison.
#[tokio::test]
async fn if_none_match_is_answered_from_the_store_by_weak_comparison() {
    for (stored, asked, expected) in [
        ("\"a\"", "\"a\"", 304),
        ("\"a\"", "W/\"a\"", 304),
        ("W/\"a\"", "\"a\"", 304),
        ("W/\"a\"", "W/\"a\"", 304),
        ("\"a\"", "\"b\", \"a\"", 304),
        ("\"a\"", "\"b\",W/\"a\" , \"c\"", 304),
        ("\"a,b\"", "\"x\", \"a,b\"", 304),
        ("\"a\"", "*", 304),
        ("\"a\"", "\"b\"", 200),
        ("\"a\"", "\"A\"", 200),
        ("\"a\"", "a", 200),
    ] {
        let status = answered(&[("ETag", stored)], &[("If-None-Match", asked)]).await;
        assert_eq!(status, expected, "stored {stored}, asked {asked}");
    }
}

// RFC 9110 §13.1.3.
#[tokio::test]
async fn if_modified_since_is_answered_from_the_store_in_every_date_form() {
    for (since, expected) in [
        (MODIFIED, 304),
        (AFTER, 304),
        ("Tuesday, 01-Jan-19 00:00:00 GMT", 304),
        ("Tue Jan  1 00:00:00 2019", 304),
        (BEFORE, 200),
        ("nonsense", 200),
    ] {
        let status =
            answered(&[("Last-Modified", MODIFIED)], &[("If-Modified-Since", since)]).await;
        assert_eq!(status, expected, "{since}");
    }
}

// RFC 9110 §13.2.2: If-None-Match, where present, is the only one that counts.
#[tokio::test]
async fn if_none_match_beats_if_modified_since() {
    let stored = [("ETag", "\"a\""), ("Last-Modified", MODIFIED)];
    let both = |tag, since| [("If-None-Match", tag), ("If-Modified-Since", since)];
    assert_eq!(answered(&stored, &both("\"a\"", BEFORE)).await, 304);
    assert_eq!(answered(&stored, &both("\"b\"", AFTER)).await, 200);
}

// RFC 9111 §4.3.2: without Last-Modified, Date stands in for it.
#[tokio::test]
async fn without_last_modified_the_date_of_the_response_is_compared() {
    let since_now = [("If-Modified-Since", "Tue, 01 Jan 2030 00:00:00 GMT")];
    assert_eq!(answered(&[], &since_now).await, 304);
    assert_eq!(answered(&[], &[("If-Modified-Since", BEFORE)]).await, 200);
}

// RFC 9110 §13.1.1, §13.1.4: conditions for the origin; a cache must not answer them itself
// except as the origin would.
#[tokio::test]
async fn if_match_and_if_unmodified_since_fail_only_where_they_are_false() {
    for (condition, expected) in [
        (("If-Match", "\"a\""), 200),
        (("If-Match", "*"), 200),
        (("If-Unmodified-Since", AFTER), 200),
        (("If-Match", "\"b\""), 412),
        (("If-Match", "W/\"a\""), 412),
        (("If-Unmodified-Since", BEFORE), 412),
    ] {
        let validators = given(&[("ETag", "\"a\""), ("Last-Modified", MODIFIED)]).fresh(600);
        let origin = Origin::start(move |request| match request.number {
            0 => validators.clone(),
            _ => status(expected).body("from the origin"),
        })
        .await;
        let proxy = Proxy::start(&origin).await;
        proxy.get("/").await;
        let response = proxy.send(&get("/").with(condition.0, condition.1)).await;
        assert_eq!(response.status, expected, "{condition:?}");
    }
}

// RFC 9110 §15.4.5.
#[tokio::test]
async fn a_304_from_the_store_has_what_the_200_would_have_had() {
    let answer = given(&[
        ("ETag", "\"a\""),
        ("Vary", "X-Choice"),
        ("Content-Location", "/there"),
        ("Expires", "Tue, 01 Jan 2030 01:00:00 GMT"),
    ]);
    let (_origin, proxy) = stage(answer.fresh(600)).await;
    proxy.get("/").await;
    proxy.advance(secs(10));
    let response = proxy.send(&get("/").with("If-None-Match", "\"a\"")).await;
    assert_eq!(response.status, 304);
    for name in ["etag", "vary", "content-location", "expires", "cache-control", "date"] {
        assert!(response.field(name).is_some(), "{name} is missing: {response:?}");
    }
    assert_eq!(response.age(), Some(10));
    assert!(response.is_hit());
}

#[tokio::test]
async fn a_clients_condition_is_answered_after_the_copy_was_validated() {
    let answers =
        [ok("a").fresh(60).with("ETag", "\"a\""), status(304).fresh(60).with("ETag", "\"a\"")];
    let (origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    let response = proxy.send(&get("/").with("If-None-Match", "\"a\"")).await;
    assert_eq!((response.status, origin.count()), (304, 2));
    let other = proxy.send(&get("/").with("If-None-Match", "\"b\"")).await;
    assert_eq!((other.status, other.text(), origin.count()), (200, "a", 2));
}

// A condition on a cold cache must not leave the others without an object.
#[tokio::test]
async fn a_conditional_miss_never_stores_a_304_for_others() {
    let origin = Origin::start(|request| match request.field("if-none-match") {
        Some(_) => status(304).fresh(60).with("ETag", "\"a\""),
        None => ok("whole").fresh(60).with("ETag", "\"a\""),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let conditional = proxy.send(&get("/").with("If-None-Match", "\"a\"")).await;
    assert_eq!(conditional.status, 304);
    let plain = proxy.get("/").await;
    assert_eq!((plain.status, plain.text()), (200, "whole"));
}
