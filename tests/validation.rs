//! Validation with the origin (RFC 9111 §4.3).

use crate::support::*;

const LONG_AGO: &str = "Tue, 01 Jan 2019 00:00:00 GMT";

// RFC 9111 §4.3.1, §4.3.4.
#[tokio::test]
async fn a_stale_response_is_validated_by_its_etag_and_lives_on() {
    let tagged = ok("body").fresh(60).with("ETag", "\"v1\"");
    let (origin, proxy) = stages([tagged, status(304).fresh(60).with("ETag", "\"v1\"")]).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    let validated = proxy.get("/").await;
    assert_eq!((validated.status, validated.text()), (200, "body"));
    assert!(validated.says("fwd=stale") && validated.says("fwd-status=304"));
    assert_eq!(origin.last().field("if-none-match"), Some("\"v1\""));
    proxy.advance(secs(59));
    assert!(proxy.get("/").await.is_hit(), "the 304 renewed it");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_weak_etag_and_a_last_modified_are_sent_too() {
    let both = ok("body").fresh(1).with("ETag", "W/\"v1\"").with("Last-Modified", LONG_AGO);
    let (origin, proxy) = stages([both, status(304).with("ETag", "W/\"v1\"")]).await;
    proxy.get("/").await;
    proxy.advance(secs(2));
    assert_eq!(proxy.get("/").await.text(), "body");
    let asked = origin.last();
    assert_eq!(asked.field("if-none-match"), Some("W/\"v1\""));
    assert_eq!(asked.field("if-modified-since"), Some(LONG_AGO));
}

#[tokio::test]
async fn last_modified_alone_validates() {
    let dated = ok("body").fresh(1).with("Last-Modified", LONG_AGO);
    let (origin, proxy) = stages([dated, status(304).fresh(60)]).await;
    proxy.get("/").await;
    proxy.advance(secs(2));
    assert_eq!(proxy.get("/").await.text(), "body");
    assert_eq!(origin.last().field("if-modified-since"), Some(LONG_AGO));
    assert!(proxy.get("/").await.is_hit());
}

// RFC 9110 §13.2.1: a server answers 304 only in place of a 2xx, so it says nothing of another.
#[tokio::test]
async fn an_error_is_fetched_anew_whatever_validators_it_had() {
    for code in [301, 404, 410, 500] {
        let tagged = status(code).fresh(1).with("ETag", "\"v1\"").with("Last-Modified", LONG_AGO);
        let (origin, proxy) = stages([tagged, ok("well again").fresh(60)]).await;
        assert_eq!(proxy.get("/").await.status, code);
        proxy.advance(secs(2));
        assert_eq!(proxy.get("/").await.text(), "well again", "{code}");
        let asked = origin.last();
        assert_eq!(asked.field("if-none-match").or(asked.field("if-modified-since")), None);
    }
}

#[tokio::test]
async fn a_new_answer_to_a_validation_replaces_the_old_one() {
    let old = ok("old").fresh(60).with("ETag", "\"1\"");
    let (origin, proxy) = stages([old, ok("new").fresh(60).with("ETag", "\"2\"")]).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    assert_eq!(proxy.get("/").await.text(), "new");
    let hit = proxy.get("/").await;
    assert_eq!((hit.text(), hit.field("etag"), origin.count()), ("new", Some("\"2\""), 2));
}

// RFC 9111 §3.2: the fields of a 304 replace those stored, for this answer and all later ones.
#[tokio::test]
async fn a_304_updates_the_stored_fields_at_once() {
    let old = ok("body").fresh(60).with("ETag", "\"1\"").with("X-A", "old").with("X-B", "kept");
    let renewed = status(304)
        .with("ETag", "\"1\"")
        .with("Cache-Control", "max-age=600")
        .with("X-A", "new")
        .with("X-A", "newer")
        .with("X-C", "added");
    let (origin, proxy) = stages([old, renewed]).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    for _ in 0..2 {
        let response = proxy.get("/").await;
        assert_eq!(response.all("x-a"), ["new", "newer"]);
        assert_eq!(response.all("x-b"), ["kept"]);
        assert_eq!(response.all("x-c"), ["added"]);
        assert_eq!(response.all("cache-control"), ["max-age=600"]);
    }
    proxy.advance(secs(599));
    assert!(proxy.get("/").await.is_hit(), "the new lifetime counts");
    assert_eq!(origin.count(), 2);
}

// RFC 9111 §3.2: what describes the stored bytes stays; a 304 speaks of a message without them.
#[tokio::test]
async fn a_304_never_changes_what_describes_the_stored_bytes() {
    let old = ok("body")
        .fresh(60)
        .with("ETag", "\"1\"")
        .with("Content-Encoding", "gzip")
        .with("Content-Type", "text/plain");
    let bogus = status(304)
        .fresh(60)
        .with("ETag", "\"1\"")
        .with("Content-Encoding", "br")
        .with("Content-Range", "bytes 0-1/2")
        .with("Content-Length", "99");
    let (_origin, proxy) = stages([old, bogus]).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    for _ in 0..2 {
        let response = proxy.get("/").await;
        assert_eq!((response.text(), response.complete), ("body", true));
        assert_eq!(response.field("content-encoding"), Some("gzip"));
        assert_eq!(response.field("content-range"), None);
        assert_eq!(response.field("content-type"), Some("text/plain"));
    }
}

// RFC 9111 §4.3.4: a 304 for something else must not revive what is stored.
#[tokio::test]
async fn a_304_whose_validator_is_not_ours_leads_to_an_unconditional_fetch() {
    let answers = [
        ok("old").fresh(60).with("ETag", "\"1\""),
        status(304).fresh(60).with("ETag", "\"2\""),
        ok("new").fresh(60).with("ETag", "\"2\""),
    ];
    let (origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    assert_eq!(proxy.get("/").await.text(), "new");
    assert_eq!(origin.last().field("if-none-match"), None);
    assert_eq!(proxy.get("/").await.text(), "new");
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn a_304_to_a_request_without_condition_is_never_stored_as_the_object() {
    let (origin, proxy) = stages([status(304).fresh(60), ok("body").fresh(60)]).await;
    proxy.get("/").await;
    assert_eq!(proxy.get("/").await.text(), "body");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_304_that_the_clients_own_condition_brought_is_passed_on() {
    let (origin, proxy) = stage(status(304).with("ETag", "\"mine\"")).await;
    let response = proxy.send(&get("/").with("If-None-Match", "\"mine\"")).await;
    assert_eq!((response.status, response.field("etag")), (304, Some("\"mine\"")));
    assert_eq!(origin.count(), 1);
}

// RFC 9111 §4.3.1: the validation asks about our copy, and for the whole of it.
#[tokio::test]
async fn a_validation_carries_our_condition_and_neither_the_clients_nor_its_range() {
    let old = ok("0123456789").fresh(60).with("ETag", "\"ours\"");
    let (origin, proxy) = stages([old, status(304).fresh(60).with("ETag", "\"ours\"")]).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    let ranged = get("/")
        .with("If-None-Match", "\"theirs\"")
        .with("If-Modified-Since", LONG_AGO)
        .with("Range", "bytes=0-1");
    let response = proxy.send(&ranged).await;
    assert_eq!((response.status, response.text()), (206, "01"));
    let asked = origin.last();
    assert_eq!(asked.field("if-none-match"), Some("\"ours\""));
    assert_eq!(asked.field("if-modified-since"), None);
    assert_eq!(asked.field("range"), None);
}

// RFC 9111 §4.3.3: a server error may be answered with the error itself; the copy stays.
#[tokio::test]
async fn an_error_to_a_validation_is_passed_on_and_the_copy_is_kept() {
    let answers = [
        ok("body").fresh(60).with("ETag", "\"1\""),
        status(500).body("broken"),
        status(304).fresh(60).with("ETag", "\"1\""),
    ];
    let (origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    assert_eq!(proxy.get("/").await.status, 500);
    assert_eq!(proxy.get("/").await.text(), "body");
    assert_eq!(origin.last().field("if-none-match"), Some("\"1\""));
}

#[tokio::test]
async fn a_response_without_lifetime_but_with_a_validator_is_validated_each_time() {
    let answers = [ok("body").with("ETag", "\"1\""), status(304).with("ETag", "\"1\"")];
    let (origin, proxy) = stages(answers).await;
    for asked in 1..4 {
        assert_eq!(proxy.get("/").await.text(), "body");
        assert_eq!(origin.count(), asked);
    }
    assert_eq!(origin.last().field("if-none-match"), Some("\"1\""));
}

// RFC 9111 §4.1: the origin chooses the representation by the fields that Vary names.
#[tokio::test]
async fn a_validation_carries_the_fields_that_vary_names() {
    let old = ok("body").fresh(60).with("ETag", "\"1\"").with("Vary", "X-Choice");
    let (origin, proxy) = stages([old, status(304).fresh(60).with("ETag", "\"1\"")]).await;
    let request = get("/").with("X-Choice", "a");
    proxy.send(&request).await;
    proxy.advance(secs(61));
    proxy.send(&request).await;
    assert_eq!(origin.last().field("x-choice"), Some("a"));
}
