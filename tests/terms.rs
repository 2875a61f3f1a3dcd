//! What rules set of caching, beyond what the origin says.

use crate::support::*;

/// An origin that counts what it answers, each answer fresh for ten minutes.
async fn counting() -> Origin {
    Origin::start(|seen| ok(seen.field("x-turn").unwrap_or("none")).fresh(600)).await
}

fn turn(turn: &str) -> Request {
    get("/a").with("X-Turn", turn)
}

#[tokio::test]
async fn without_lookup_the_answer_is_fetched_and_takes_the_place_of_what_is_stored() {
    let origin = counting().await;
    let rules = r"
        [[rule]]
        match = { header = { x-refresh = true } }
        cache = { lookup = false }
    ";
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
    let rules = r"
        [[rule]]
        match = { header = { x-preview = true } }
        cache = { store = false }
    ";
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

#[tokio::test]
async fn an_imposed_lifetime_holds_whatever_the_origin_says_of_freshness() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/short" => ok("a").fresh(1),
        "/long" => ok("a").fresh(9999),
        "/moved" => status(302).with("location", "/a"),
        "/lost" => status(404).with("cache-control", "max-age=9999"),
        "/mine" => ok("a").with("cache-control", "private, max-age=9999"),
        _ => ok("a").with("cache-control", "no-store"),
    })
    .await;
    let rules = r#"
        [[rule]]
        cache = { lifetime = "1m", lifetimes = { 302 = "20s", 404 = "10s" } }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    for (path, ttl) in
        [("/short", 60), ("/long", 60), ("/moved", 20), ("/lost", 10), ("/mine", 0), ("/not", 0)]
    {
        proxy.get(path).await;
        let second = proxy.get(path).await;
        assert_eq!(second.is_hit(), ttl > 0, "{path} {}", second.cache_status());
        assert!(ttl == 0 || second.says(&format!("ttl={ttl}")), "{path}");
    }
}

// RFC 9111 §4.2: `max-age` counts from the generation, and `Age` says how long ago that was.
#[tokio::test]
async fn clients_are_told_a_lifetime_of_their_own() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/mine" => ok("a").with("cache-control", "private, max-age=9"),
        _ => ok("a").fresh(600).with("etag", "\"a\""),
    })
    .await;
    let proxy = Proxy::ruled(&origin, "[[rule]]\ncache = { browser_ttl = \"1m\" }").await;
    let control = |response: &Response| response.field("cache-control").unwrap().to_owned();
    assert_eq!(control(&proxy.get("/a").await), "max-age=60");
    proxy.advance(std::time::Duration::from_secs(100));
    let hit = proxy.get("/a").await;
    assert_eq!((control(&hit), hit.age()), ("max-age=160".to_owned(), Some(100)));
    let same = proxy.send(&get("/a").with("If-None-Match", "\"a\"")).await;
    assert_eq!((same.status, control(&same)), (304, "max-age=160".to_owned()));
    assert_eq!(control(&proxy.get("/mine").await), "private, max-age=9");
}

// The fetch took a second: so near the end it is due whatever is drawn, and nobody has to wait.
#[tokio::test]
async fn what_is_asked_for_near_its_end_is_refreshed_before_it() {
    let slow = Gate::new();
    let first = ok("old").fresh(2).with("etag", "\"a\"").gate(&slow);
    let origin = Origin::sequence([first, ok("new").fresh(600)]).await;
    let rules = "[[rule]]\ncache = { early_refresh = 100 }";
    let proxy = Proxy::ruled(&origin, rules).await;
    let client = proxy.start_all(1, &get("/")).await;
    origin.arrived(1).await;
    proxy.advance(std::time::Duration::from_secs(1));
    slow.open();
    assert_eq!(all(client).await[0].text(), "old");
    // Fresh until its last millisecond, and answered at once.
    proxy.advance(std::time::Duration::from_millis(999));
    let hit = proxy.get("/").await;
    assert!(hit.is_hit());
    assert_eq!(hit.text(), "old");
    origin.arrived(2).await;
    assert_eq!(origin.last().field("if-none-match"), Some("\"a\""));
    let refreshed = async { while proxy.get("/").await.text() != "new" {} };
    within("the refresh", refreshed).await;
}

#[tokio::test]
async fn jitter_spreads_what_was_stored_at_once() {
    let origin = Origin::answering(ok("a").fresh(1000)).await;
    let proxy = Proxy::ruled(&origin, "[[rule]]\ncache = { jitter = 0.5 }").await;
    for number in 0..50 {
        proxy.get(&format!("/{number}")).await;
    }
    proxy.advance(std::time::Duration::from_secs(750));
    let mut hits = 0;
    for number in 0..50 {
        hits += usize::from(proxy.get(&format!("/{number}")).await.is_hit());
    }
    assert!((5..45).contains(&hits), "{hits}");
}
