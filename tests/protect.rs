//! Whom to spare while an origin is in trouble: `protect`.

use seawall::cache::Protect;
use seawall::config::Settings;

use crate::support::*;

fn spare(settings: &mut Settings) {
    settings.cache().protect = Protect::Origin;
}

/// A refusal that tells the client to come back.
fn spared(response: &Response) -> bool {
    response.status == 503
        && response.field("retry-after") == Some("1")
        && response.says("detail=origin-spared")
}

#[tokio::test]
async fn a_url_that_has_just_failed_is_left_alone_and_others_are_not() {
    for failing in [status(503), status(502), Answer::hang_up()] {
        let origin = Origin::start(move |request| match request.target.as_str() {
            "/failing" => failing.clone(),
            _ => ok("well").fresh(60),
        })
        .await;
        let proxy = Proxy::with(&origin, spare).await;
        let first = proxy.get("/failing").await;
        assert!(matches!(first.status, 502 | 503) && !spared(&first), "{first:?}");
        let asked = origin.count();
        assert!(spared(&proxy.get("/failing").await));
        assert_eq!(origin.count(), asked);
        assert_eq!(proxy.get("/well").await.text(), "well");
        proxy.advance(millis(100));
        assert!(!spared(&proxy.get("/failing").await), "the pause is over");
        assert!(origin.count() > asked + 1);
    }
}

/// What one request can provoke must not shut others out.
#[tokio::test]
async fn an_error_that_may_be_the_requests_own_doing_spares_nobody() {
    for failing in [500, 501, 404] {
        let origin = Origin::answering(status(failing)).await;
        let proxy = Proxy::with(&origin, spare).await;
        for count in 1..4 {
            assert_eq!(proxy.get("/").await.status, failing);
            assert_eq!(origin.count(), count);
        }
    }
}

#[tokio::test]
async fn by_default_the_origin_is_asked_all_the_same() {
    let origin = Origin::answering(status(503)).await;
    let proxy = Proxy::start(&origin).await;
    for count in 1..4 {
        let response = proxy.get("/").await;
        assert!(response.status == 503 && !spared(&response));
        assert_eq!(origin.count(), count);
    }
}

#[tokio::test]
async fn an_origin_out_of_reach_is_not_asked_for_any_url() {
    let mut origin = Origin::answering(ok("stored").fresh(1)).await;
    let proxy = Proxy::with(&origin, spare).await;
    proxy.get("/stored").await;
    origin.refuse().await;
    let first = proxy.get("/other").await;
    assert!(first.says("detail=connect-failed"), "{}", first.cache_status());
    assert!(spared(&proxy.get("/another").await));
    assert!(spared(&proxy.send(&post("/form", "a")).await));
    // What is stored is as good as if the origin had been asked in vain.
    proxy.advance(secs(2));
    let stale = proxy.get("/stored").await;
    assert_eq!((stale.status, stale.text()), (200, "stored"));
    assert!(stale.says("detail=disconnected"), "{}", stale.cache_status());
}

#[tokio::test]
async fn what_is_stored_is_served_as_after_the_failure_itself() {
    let origin = Origin::sequence([ok("stored").fresh(1), status(503)]).await;
    let proxy = Proxy::with(&origin, |settings| {
        spare(settings);
        settings.cache().policy.stale_if_error = secs(600);
    })
    .await;
    proxy.get("/").await;
    proxy.advance(secs(2));
    for _ in 0..3 {
        let stale = proxy.get("/").await;
        assert_eq!((stale.status, stale.text()), (200, "stored"));
        assert!(stale.says("detail=stale-if-error"));
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn where_one_has_waited_in_vain_for_a_place_nobody_else_does() {
    let gate = Gate::new();
    let origin = Origin::answering(ok("late").gate(&gate)).await;
    let proxy = Proxy::with(&origin, |settings| {
        spare(settings);
        settings.upstream().max_requests = 1;
        settings.upstream().queue_timeout = secs(3);
    })
    .await;
    let first = proxy.start_all(1, &get("/first")).await;
    gate.reached(1).await;
    let begun = std::time::Instant::now();
    let second = proxy.get("/second").await;
    assert!(second.status == 503 && second.says("detail=origin-busy"));
    let waited = begun.elapsed();
    let begun = std::time::Instant::now();
    let third = proxy.get("/third").await;
    assert!(third.status == 503 && third.says("detail=origin-busy"));
    assert!(begun.elapsed() < waited / 2, "it did not wait");
    gate.open();
    assert_eq!(all(first).await[0].text(), "late");
}
