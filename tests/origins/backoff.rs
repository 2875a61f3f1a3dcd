//! After a failure nobody waits for the next one, and the origin is not hammered.

use super::*;

fn old(control: &str) -> Answer {
    ok("old").with("Cache-Control", control)
}

/// An origin that is silent to the second request until the gate opens, then well again.
async fn hanging(control: &str, gate: &Gate) -> (Origin, Proxy) {
    let answers = [old(control), Answer::silent(gate), ok("new").fresh(600)];
    let origin = Origin::sequence(answers).await;
    let proxy = Proxy::with(&origin, |s| s.upstream().first_byte_timeout = millis(100)).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    let first = proxy.start_all(1, &get("/")).await;
    origin.arrived(2).await;
    // So long, by the proxy's clock, does the failure take.
    proxy.advance(secs(4));
    let first = all(first).await.remove(0);
    assert_eq!((first.text(), first.says("detail=stale-if-error")), ("old", true), "{first:?}");
    (origin, proxy)
}

#[tokio::test]
async fn once_an_origin_has_hung_stale_is_served_at_once_and_one_try_finds_it_well() {
    let (origin, proxy) = hanging("max-age=60, stale-if-error=600", &Gate::new()).await;
    let mut http2 = H2Client::connect(proxy.address).await;
    for _ in 0..3 {
        for response in proxy.at_once(5, &get("/")).await {
            assert_eq!(response.text(), "old");
            assert!(response.is_hit() && response.says("detail=stale-if-error"), "{response:?}");
        }
        assert!(http2.exchange(&get("/")).await.is_hit());
        assert_eq!(proxy.send(&head("/")).await.status, 200);
    }
    assert_eq!(origin.count(), 2, "the origin is left alone for as long as it hung");
    proxy.advance(secs(5));
    for response in proxy.at_once(5, &get("/")).await {
        assert!(matches!(response.text(), "old" | "new"), "{response:?}");
    }
    within("the origin to be found well", async { while proxy.get("/").await.text() != "new" {} })
        .await;
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn a_hung_origin_is_asked_anew_when_the_failure_is_forgotten() {
    let (origin, proxy) = hanging("max-age=60, stale-if-error=600", &Gate::new()).await;
    proxy.advance(secs(30));
    let response = proxy.get("/").await;
    assert_eq!((response.text(), origin.count()), ("new", 3));
}

// A failure that shows at once keeps nobody waiting: the next client may find the origin well.
#[tokio::test]
async fn after_a_quick_failure_the_next_request_asks_again() {
    for failure in [status(503), Answer::hang_up()] {
        // A connection that is not used again: what fails on one that is, is tried once more.
        let first = old("max-age=60, stale-if-error=600").closing();
        let (origin, proxy) = stages([first, failure, ok("new").fresh(600)]).await;
        proxy.get("/").await;
        proxy.advance(secs(61));
        assert_eq!(proxy.get("/").await.text(), "old");
        assert_eq!((proxy.get("/").await.text(), origin.count()), ("new", 3));
    }
}

#[tokio::test]
async fn a_refresh_that_failed_is_not_begun_again_by_every_hit() {
    let answers = [
        old("max-age=60, stale-while-revalidate=600"),
        status(500),
        status(500),
        ok("new").fresh(600),
    ];
    let (origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    for tries in 2..4 {
        assert_eq!(proxy.get("/").await.text(), "old");
        origin.arrived(tries).await;
        eventually("the refresh to end", || proxy.flights() == 0).await;
        for response in proxy.at_once(10, &get("/")).await {
            assert_eq!(response.text(), "old");
        }
        assert_eq!(origin.count(), tries);
        proxy.advance(millis(100));
    }
    assert_eq!(proxy.get("/").await.text(), "old");
    within("the refresh", async { while proxy.get("/").await.text() != "new" {} }).await;
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn what_forbids_stale_forbids_it_after_a_failure_too() {
    for control in ["max-age=60, must-revalidate", "s-maxage=60", "max-age=60, no-cache"] {
        let gate = Gate::new();
        let answers = [old(control), Answer::silent(&gate), ok("new").fresh(600)];
        let origin = Origin::sequence(answers).await;
        let proxy = Proxy::with(&origin, |s| s.upstream().first_byte_timeout = millis(60)).await;
        proxy.get("/").await;
        proxy.advance(secs(61));
        let first = proxy.start_all(1, &get("/")).await;
        origin.arrived(2).await;
        proxy.advance(secs(4));
        assert_eq!(all(first).await[0].status, 504, "{control}");
        assert_eq!(proxy.get("/").await.text(), "new", "{control}");
    }
}

// Whoever waits for another's fetch waits no longer than configured, and then takes what a failure
// allows instead of asking a silent origin for himself.
#[tokio::test]
async fn who_has_waited_long_enough_is_served_stale() {
    let gate = Gate::new();
    let origin =
        Origin::sequence([old("max-age=60, stale-if-error=600"), Answer::silent(&gate)]).await;
    let proxy = Proxy::with(&origin, |s| s.cache().wait = millis(60)).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    let leader = proxy.start_all(1, &get("/")).await;
    origin.arrived(2).await;
    for response in proxy.at_once(5, &get("/")).await {
        assert_eq!(response.text(), "old");
        assert!(response.says("detail=stale-if-error"), "{response:?}");
    }
    assert_eq!(origin.count(), 2);
    gate.open();
    assert_eq!(all(leader).await[0].text(), "old");
}

// A request that nobody shares may have brought the failure upon itself.
#[tokio::test]
async fn a_failure_of_one_clients_own_is_nobody_elses() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.number {
        0 => old("max-age=60, stale-if-error=600, public"),
        _ if request.field("authorization").is_some() => Answer::silent(&held),
        _ => ok("new").fresh(600),
    })
    .await;
    let proxy = Proxy::with(&origin, |s| s.upstream().first_byte_timeout = millis(60)).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    let own = proxy.start_all(1, &get("/").with("Authorization", "Basic eDp5")).await;
    origin.arrived(2).await;
    proxy.advance(secs(4));
    all(own).await;
    assert_eq!(proxy.get("/").await.text(), "new");
}

#[tokio::test]
async fn a_body_that_stops_keeps_the_next_clients_from_waiting_too() {
    let gate = Gate::new();
    let stopped = ok("ha").then(&gate).body("lf").fresh(600);
    let answers = [old("max-age=60, stale-if-error=600"), stopped, ok("new").fresh(600)];
    let origin = Origin::sequence(answers).await;
    let proxy = Proxy::with(&origin, |s| s.upstream().between_bytes_timeout = millis(100)).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    let first = proxy.start_all(1, &get("/")).await;
    gate.reached(1).await;
    proxy.advance(secs(4));
    assert!(!all(first).await[0].complete);
    let second = proxy.get("/").await;
    assert_eq!((second.text(), origin.count()), ("old", 2), "{second:?}");
}

// A failure of a fetch that had begun before what is stored came: the origin has been well since.
#[tokio::test]
async fn a_failure_from_before_the_last_success_keeps_nobody_from_asking() {
    let gate = Gate::new();
    let control = "max-age=60, stale-if-error=600";
    let cut = ok("ha").then(&gate).stop().body("lf").fresh(600);
    let well = ok("new").with("Cache-Control", control);
    let (origin, proxy) = stages([old(control), cut, well, ok("newest").fresh(600)]).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    let first = proxy.start_all(1, &get("/")).await;
    gate.reached(1).await;
    // So that the next one does not join this fetch.
    proxy.purge("url", "http://example.test/", "soft").await;
    proxy.advance(secs(1));
    assert_eq!((proxy.get("/").await.text(), origin.count()), ("new", 3));
    proxy.advance(secs(61));
    gate.open();
    assert!(!all(first).await[0].complete);
    eventually("the failure to be seen", || proxy.flights() == 0).await;
    assert_eq!((proxy.get("/").await.text(), origin.count()), ("newest", 4));
}

// One variant that always fails at once does not keep another from being refreshed.
#[tokio::test]
async fn a_variant_that_fails_is_no_setback_for_another() {
    let origin = Origin::start(|request| {
        let new = request.number > 1;
        match request.field("accept-language") {
            Some("xx") if new => status(500),
            _ if new => ok("new").fresh(600).with("Vary", "Accept-Language"),
            _ => old("max-age=60, stale-while-revalidate=600").with("Vary", "Accept-Language"),
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let asking = |language: &str| get("/").with("Accept-Language", language);
    proxy.send(&asking("xx")).await;
    proxy.send(&asking("en")).await;
    proxy.advance(secs(61));
    assert_eq!(proxy.send(&asking("xx")).await.text(), "old");
    origin.arrived(3).await;
    eventually("the refresh to fail", || proxy.flights() == 0).await;
    assert_eq!(proxy.send(&asking("en")).await.text(), "old");
    origin.arrived(4).await;
    assert_eq!(origin.last().field("accept-language"), Some("en"));
}

// Who has waited for long enough does not know that the origin is gone: stale needs a permission.
#[tokio::test]
async fn waiting_for_a_slow_origin_is_no_disconnection() {
    let gate = Gate::new();
    let slow = ok("new").fresh(600).gate(&gate);
    let (origin, proxy) = {
        let origin = Origin::sequence([old("max-age=60"), slow]).await;
        let proxy = Proxy::with(&origin, |s| s.cache().wait = millis(60)).await;
        (origin, proxy)
    };
    proxy.get("/").await;
    proxy.advance(secs(61));
    let leader = proxy.start_all(1, &get("/")).await;
    origin.arrived(2).await;
    let follower = proxy.start_all(1, &get("/")).await;
    origin.arrived(3).await;
    gate.open();
    assert_eq!(all(leader).await[0].text(), "new");
    assert_eq!(all(follower).await[0].text(), "new");
}
