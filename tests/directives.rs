//! Directives of a response (RFC 9111 §5.2.2) and how they are read (§5.2, RFC 9110 §5.6).

use crate::support::*;

fn control(value: &str) -> Answer {
    given(&[("Cache-Control", value), ("ETag", "\"1\"")])
}

// RFC 9111 §5.2.2.5, §5.2.2.7.
#[tokio::test]
async fn no_store_and_private_are_not_stored_whatever_stands_beside_them() {
    let cases = [
        control("no-store"),
        control("No-StOrE, max-age=60"),
        control("max-age=60, no-store"),
        control("max-age=60").with("Cache-Control", "no-store"),
        control("private, max-age=60"),
        control("PRIVATE, s-maxage=60"),
        control("public, private, max-age=60"),
        control("max-age=60,no-store"),
        control("max-age=60 , no-store "),
        control(",,no-store,, max-age=60"),
    ];
    expect_reuse(0, false, cases).await;
}

#[tokio::test]
async fn what_is_not_stored_says_why() {
    let reasons = [("no-store", "no-store"), ("private", "private")];
    for (directive, word) in reasons {
        let (_origin, proxy) = stage(control(&format!("max-age=60, {directive}"))).await;
        let response = proxy.get("/").await;
        assert!(response.says(&format!("detail={word}")), "{}", response.cache_status());
        assert!(!response.says("stored"));
    }
}

// RFC 9111 §5.2.2.4: stored, and validated before every reuse.
#[tokio::test]
async fn no_cache_is_stored_and_validated_each_time() {
    let fresh = control("no-cache, max-age=60");
    let (origin, proxy) = stages([fresh, status(304).with("ETag", "\"1\"")]).await;
    proxy.get("/").await;
    for asked in 2..4 {
        let response = proxy.get("/").await;
        assert_eq!((response.status, response.text()), (200, "body"));
        assert_eq!(origin.last().field("if-none-match"), Some("\"1\""));
        assert_eq!(origin.count(), asked);
    }
}

// RFC 9111 §5.2.2.4, §5.2.2.7: the field forms.
#[tokio::test]
async fn fields_named_by_private_or_no_cache_are_not_stored() {
    for form in ["private=\"x-secret, x-other\"", "no-cache=\"X-Secret,X-Other\""] {
        let answer = control(&format!("max-age=60, {form}"))
            .with("X-Secret", "for one")
            .with("X-Other", "for one")
            .with("X-Public", "for all");
        let (origin, proxy) = stage(answer).await;
        assert_eq!(proxy.get("/").await.field("x-secret"), Some("for one"));
        let hit = proxy.get("/").await;
        assert_eq!(origin.count(), 1, "{form}");
        assert_eq!((hit.field("x-secret"), hit.field("x-other")), (None, None), "{form}");
        assert_eq!(hit.field("x-public"), Some("for all"));
    }
}

// RFC 9111 §5.2: an argument may be a token or a quoted string, names are in any case, unknown
// directives are ignored.
#[tokio::test]
async fn directives_are_read_as_tokens_and_not_found_as_text() {
    let reused = [
        control("max-age=3600, unknown"),
        control("unknown=\"max-age=1, no-store\", max-age=3600"),
        control("MAX-AGE=3600"),
        control("max-age=\"3600\""),
        control("max-age=003600"),
        control("no-storex, max-age=3600"),
        control("x-no-store, max-age=3600"),
        control("max-age=3600, a=\"\\\", no-store\""),
        control("  max-age=3600  "),
    ];
    expect_reuse(10, true, reused).await;
    let not_reused = [
        control("extension=\"max-age=3600\", max-age=1"),
        control("xmax-age=3600"),
        control("max-age='3600'"),
        control("max-age=-3600"),
        control("max-age=3600.0"),
        control("max-age="),
        control("max-age"),
        control("max-age=abc"),
        control("max-age = 3600"),
        control("s-maxage=abc, max-age=1"),
    ];
    expect_reuse(10, false, not_reused).await;
}

// RFC 9111 §4.2.1: either the first value or stale; the shorter one satisfies both readings.
#[tokio::test]
async fn a_directive_given_twice_never_means_the_longer_lifetime() {
    let cases = [control("max-age=1, max-age=3600"), control("max-age=3600, max-age=1")];
    expect_reuse(3601, false, cases.clone()).await;
    expect_reuse(10, false, [cases[0].clone()]).await;
}

// RFC 9111 §5.2.2.3: understood statuses make no-store void; others forbid storing.
#[tokio::test]
async fn must_understand_beats_no_store_for_a_known_status_and_forbids_an_unknown_one() {
    let header = "must-understand, no-store, max-age=60";
    expect_reuse(0, true, [control(header)]).await;
    let unknown = status(299).body("body").with("Cache-Control", "must-understand, max-age=60");
    expect_reuse(0, false, [unknown]).await;
}

// RFC 8246 §2: nothing to do for a shared cache but to take it for what it is.
#[tokio::test]
async fn immutable_changes_nothing_about_a_stale_response() {
    expect_reuse(59, true, [control("max-age=60, immutable")]).await;
    expect_reuse(61, false, [control("max-age=60, immutable")]).await;
}

// A later no-store says nothing about the response that is stored and fresh.
#[tokio::test]
async fn a_fresh_response_is_served_without_asking_what_the_origin_says_now() {
    let (origin, proxy) = stages([ok("old").fresh(60), control("no-store")]).await;
    proxy.get("/").await;
    assert_eq!(proxy.get("/").await.text(), "old");
    assert_eq!(origin.count(), 1);
}

// RFC 9111 §5.4: Pragma means nothing in a response.
#[tokio::test]
async fn pragma_in_a_response_changes_nothing() {
    expect_reuse(10, true, [control("max-age=60").with("Pragma", "no-cache")]).await;
}
