//! When stale responses may be served (RFC 9111 §4.2.4, RFC 5861), and when never.

use seawall::config::Settings;

use crate::support::*;

fn control(value: &str) -> Answer {
    given(&[("Cache-Control", value), ("ETag", "\"1\"")])
}

// RFC 5861 §3.
#[tokio::test]
async fn within_its_window_stale_while_revalidate_answers_at_once_and_refreshes_once() {
    let gate = Gate::new();
    let answers = [
        ok("old").with("Cache-Control", "max-age=60, stale-while-revalidate=60"),
        ok("new").fresh(60).gate(&gate),
    ];
    let (origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    for response in proxy.at_once(50, &get("/")).await {
        assert_eq!(response.text(), "old", "answered while the origin is still silent");
        assert!(
            response.is_hit() && response.says("detail=stale-while-revalidate"),
            "{response:?}"
        );
        assert!(response.says("ttl=-1"), "{}", response.cache_status());
    }
    origin.arrived(2).await;
    assert_eq!(origin.count(), 2);
    gate.open();
    until_fresh(&proxy, "new").await;
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn after_its_window_stale_while_revalidate_grants_nothing() {
    let answers =
        [ok("old").with("Cache-Control", "max-age=60, stale-while-revalidate=60"), ok("new")];
    let (_origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(120));
    assert_eq!(proxy.get("/").await.text(), "new");
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_stale_response_in_its_window() {
    let answers = [
        ok("old").with("Cache-Control", "max-age=60, stale-while-revalidate=600"),
        status(500),
        ok("new").fresh(600),
    ];
    let (origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    assert_eq!(proxy.get("/").await.text(), "old");
    origin.arrived(2).await;
    assert_eq!(
        proxy.get("/").await.text(),
        "old",
        "a 500 does not replace what may still be served"
    );
}

#[tokio::test]
async fn a_configured_window_serves_where_the_origin_grants_none() {
    let origin = Origin::sequence([ok("old").fresh(60), ok("new").fresh(60)]).await;
    let proxy = Proxy::with(&origin, |s| s.cache().policy.stale_while_revalidate = secs(30)).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    assert_eq!(proxy.get("/").await.text(), "old");
    until_fresh(&proxy, "new").await;
}

// RFC 5861 §4: 500, 502, 503, 504, and no answer at all.
#[tokio::test]
async fn stale_if_error_covers_server_errors_and_silence_within_its_window() {
    for failure in [
        status(500),
        status(502),
        status(503),
        status(504),
        Answer::hang_up(),
        raw("garbage\r\n\r\n"),
    ] {
        let answers = [control("max-age=60, stale-if-error=60").with("X-Is", "old"), failure];
        let (_origin, proxy) = stages(answers).await;
        proxy.get("/").await;
        proxy.advance(secs(100));
        let response = proxy.get("/").await;
        assert_eq!((response.status, response.text()), (200, "body"));
        assert!(response.says("detail=stale-if-error"), "{}", response.cache_status());
        assert_eq!(response.age(), Some(100));
        proxy.advance(secs(20));
        assert!(proxy.get("/").await.status >= 500, "the window has ended");
    }
}

#[tokio::test]
async fn stale_if_error_does_not_hide_other_answers() {
    for code in [404, 403, 410, 501] {
        let answers = [control("max-age=60, stale-if-error=60"), status(code).body("no")];
        let (_origin, proxy) = stages(answers).await;
        proxy.get("/").await;
        proxy.advance(secs(61));
        assert_eq!(proxy.get("/").await.status, code);
    }
}

// RFC 9111 §4.2.4: without a grant, only while the origin can't be reached at all.
#[tokio::test]
async fn without_a_grant_stale_is_served_only_while_no_answer_comes_and_within_the_bound() {
    let bounded = |s: &mut Settings| s.cache().policy.stale_when_disconnected = secs(300);
    for (failure, covered) in [(Answer::hang_up(), true), (status(503), false)] {
        let origin = Origin::sequence([ok("old").fresh(60), failure]).await;
        let proxy = Proxy::with(&origin, bounded).await;
        proxy.get("/").await;
        proxy.advance(secs(61));
        let response = proxy.get("/").await;
        assert_eq!(response.status, if covered { 200 } else { 503 });
        assert_eq!(response.says("detail=disconnected"), covered, "{}", response.cache_status());
        proxy.advance(secs(300));
        assert!(proxy.get("/").await.status >= 500);
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_disconnected_origin() {
    let (mut origin, proxy) = stage(ok("old").fresh(60)).await;
    proxy.get("/").await;
    origin.refuse().await;
    proxy.advance(secs(61));
    let response = proxy.get("/").await;
    assert_eq!((response.status, response.text()), (200, "old"));
    origin.resume().await;
    assert!(proxy.get("/").await.says("fwd=stale"));
}

// RFC 9111 §5.2.2.2, §5.2.2.8, §5.2.2.10, §5.2.2.4. The answer has none of the stored fields.
#[tokio::test]
async fn directives_that_forbid_stale_hold_whatever_else_is_granted() {
    let generous = |s: &mut Settings| {
        s.cache().policy.stale_while_revalidate = secs(600);
        s.cache().policy.stale_if_error = secs(600);
        s.cache().policy.stale_when_disconnected = secs(600);
    };
    let barred = [
        "max-age=60, must-revalidate",
        "max-age=60, proxy-revalidate",
        "s-maxage=60",
        "max-age=60, no-cache",
        "max-age=60, must-revalidate, stale-while-revalidate=600, stale-if-error=600",
        "s-maxage=60, stale-while-revalidate=600, stale-if-error=600",
    ];
    for directives in barred {
        for failure in [Answer::hang_up(), status(503)] {
            let origin =
                Origin::sequence([control(directives).with("X-Stored", "1"), failure]).await;
            let proxy = Proxy::with(&origin, generous).await;
            proxy.get("/").await;
            proxy.advance(secs(61));
            let response = proxy.get("/").await;
            assert!(response.status >= 500, "{directives}: {response:?}");
            assert_eq!(response.field("x-stored"), None, "{directives}");
        }
    }
}

#[tokio::test]
async fn a_body_cut_during_validation_falls_back_to_stale_or_fails_but_never_looks_whole() {
    let answers = [control("max-age=60, stale-if-error=600"), ok("new").claiming(1000).cut()];
    let (_origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    let response = proxy.get("/").await;
    assert!(!response.complete || response.text() == "body", "{response:?}");
    let later = proxy.get("/").await;
    assert!(!later.complete || later.text() == "body", "{later:?}");
}

/// Waits until the refresh in the background has been stored.
async fn until_fresh(proxy: &Proxy, body: &str) {
    within("the refresh", async { while proxy.get("/").await.text() != body {} }).await;
}
