//! What rules set of caching, beyond what the origin says.

use crate::support::*;

/// An origin that counts what it answers, each answer fresh for ten minutes.
async fn counting() -> Origin {
    Origin::start(|seen| ok(seen.field("x-turn").unwrap_or("none").to_owned()).fresh(600)).await
}

fn turn(turn: &str) -> Request {
    get("/a").with("X-Turn", turn)
}

#[tokio::test]
async fn without_lookup_the_answer_is_fetched_and_takes_the_place_of_what_is_stored() {
    let origin = counting().await;
    let rules = r#"
        [[rule]]
        match = { header = { x-refresh = true } }
        cache = { lookup = false }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    assert_eq!(proxy.send(&turn("1")).await.text(), "1");
    let refreshed = proxy.send(&turn("2").with("X-Refresh", "1")).await;
    assert_eq!(refreshed.text(), "2");
    assert!(refreshed.says("fwd=bypass") && refreshed.says("detail=lookup-off"));
    assert!(refreshed.says("stored"));
    let third = proxy.send(&turn("3")).await;
    assert!(third.is_hit());
    assert_eq!(third.text(), "2");
}

#[tokio::test]
async fn without_store_what_is_stored_is_used_and_nothing_is_added() {
    let origin = counting().await;
    let rules = r#"
        [[rule]]
        match = { header = { x-preview = true } }
        cache = { store = false }
        [[rule]]
        match = { path = "/part/**" }
        match_response = { status = 200 }
        cache = { store = false }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let preview = |number: &str| turn(number).with("X-Preview", "1");
    let first = proxy.send(&preview("1")).await;
    assert!(first.says("detail=store-off") && !first.says("stored"), "{}", first.cache_status());
    assert_eq!(proxy.send(&turn("2")).await.text(), "2");
    let third = proxy.send(&preview("3")).await;
    assert!(third.is_hit());
    assert_eq!(third.text(), "2");
    for _ in 0..2 {
        let part = proxy.get("/part/a").await;
        assert!(part.says("detail=store-off"), "{}", part.cache_status());
    }
}

// A 304 that is good for what is stored is good for the client, and for nobody else.
#[tokio::test]
async fn without_store_a_validation_changes_nothing_of_what_is_stored() {
    let stale = given(&[("cache-control", "max-age=1"), ("etag", "\"a\"")]);
    let renewed = || status(304).with("etag", "\"a\"").with("cache-control", "max-age=60");
    let origin = Origin::sequence([stale, renewed(), renewed()]).await;
    let rules = r#"
        [[rule]]
        match = { header = { x-preview = true } }
        cache = { store = false }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    proxy.get("/").await;
    proxy.advance(std::time::Duration::from_secs(2));
    for request in [get("/").with("X-Preview", "1"), get("/")] {
        let response = proxy.send(&request).await;
        assert_eq!((response.status, response.text()), (200, "body"));
        assert!(response.says("fwd-status=304"), "{}", response.cache_status());
    }
    assert!(proxy.get("/").await.is_hit());
}
