//! `[[rule]]`: what is set for some requests and responses only.

use std::time::Duration;

use crate::support::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Whether a second `GET` of `target` is answered from memory.
async fn is_hit(proxy: &Proxy, request: &Request) -> bool {
    proxy.send(request).await;
    let second = proxy.send(request).await;
    second.field("cache-status").expect("always there").contains("; hit")
}

#[tokio::test]
async fn each_setting_is_decided_by_the_last_rule_that_matches_and_sets_it() {
    let origin = Origin::answering(ok("a")).await;
    let rules = r#"
        [[rule]]
        cache = { default_lifetime = "1h", max_lifetime = "2m" }
        [[rule]]
        match = { path = "/short/**" }
        cache = { default_lifetime = "30s" }
        [[rule]]
        match = { path = "/short/off/*" }
        cache.enabled = false
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    for (path, ttl) in [("/a", Some("ttl=120")), ("/short", Some("ttl=30")), ("/short/off/x", None)]
    {
        proxy.get(path).await;
        let status = proxy.get(path).await.field("cache-status").unwrap().to_owned();
        assert_eq!(status.contains("; hit"), ttl.is_some(), "{path} {status}");
        assert!(ttl.is_none_or(|ttl| status.contains(ttl)), "{path} {status}");
    }
}

#[tokio::test]
async fn requests_are_matched_by_everything_they_say() {
    let origin = Origin::answering(ok("a")).await;
    let rules = r#"
        [[rule]]
        match = { host = "*.shop.test", cookie = { session = false }, header = { accept = "*json*" } }
        cache = { default_lifetime = "1h" }
        [[rule]]
        match = { query = { page = { regex = "^[0-9]+$" } }, client = "127.0.0.0/8", not = { method = "HEAD" } }
        cache = { default_lifetime = "1h" }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    let api = |path: &str| get(path).with("Host", "a.shop.test").with("Accept", "text/json");
    assert!(is_hit(&proxy, &api("/a")).await);
    assert!(is_hit(&proxy, &get("/a?page=7")).await);
    assert!(!is_hit(&proxy, &api("/b").with("Cookie", "a=b; session=1")).await);
    assert!(!is_hit(&proxy, &get("/a?page=x")).await);
    assert!(!is_hit(&proxy, &get("/c").with("Host", "shop.test")).await);
}

#[tokio::test]
async fn responses_are_matched_when_they_come_and_when_they_are_used() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/image" => ok("a").with("Content-Type", "image/png"),
        "/gone" => status(410),
        _ => ok("b").with("Content-Type", "text/html"),
    })
    .await;
    let rules = r#"
        [[rule]]
        match_response = { content_type = "image/*", max_size = "1KiB" }
        cache = { default_lifetime = "1h" }
        [[rule]]
        match_response = { status = "400-499" }
        cache = { negative = { 410 = "30s" } }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    for (path, expected) in [("/image", true), ("/gone", true), ("/page", false)] {
        assert_eq!(is_hit(&proxy, &get(path)).await, expected, "{path}");
    }
    proxy.advance(MINUTE);
    let image = proxy.get("/image").await;
    assert!(image.field("cache-status").unwrap().contains("; hit; ttl=3540"));
    let gone = proxy.get("/gone").await;
    assert!(!gone.field("cache-status").unwrap().contains("; hit"));
}

#[tokio::test]
async fn a_response_can_be_matched_by_what_it_is_not() {
    let origin = Origin::start(|request| {
        let answer = ok("a").fresh(600);
        if request.target == "/private" { answer.with("Cache-Control", "private") } else { answer }
    })
    .await;
    let rules = r#"
        [[rule]]
        match_response = { not = { header = { cache-control = "*private*" } } }
        response.set = { x-shared = "yes" }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    for (path, shown) in [("/", Some("yes")), ("/", Some("yes")), ("/private", None)] {
        assert_eq!(proxy.get(path).await.field("x-shared"), shown, "{path}");
    }
}

// What a rule on responses allows holds for what is stored, whatever the origin's error says.
#[tokio::test]
async fn stale_windows_come_with_the_stored_response() {
    let answers = [ok("a").fresh(10).with("Content-Type", "text/html"), status(503)];
    let origin = Origin::sequence(answers).await;
    let rules = r#"
        [[rule]]
        match_response = { status = 200, content_type = "text/html" }
        cache = { stale_if_error = "5m" }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    proxy.get("/").await;
    proxy.advance(MINUTE);
    let response = proxy.get("/").await;
    assert_eq!((response.status, response.text()), (200, "a"));
}

// Whoever could choose what the origin sees beside the key could choose what others get.
#[tokio::test]
async fn what_is_not_keyed_of_a_query_is_not_sent() {
    let origin = Origin::start(|request| ok(request.target.clone()).fresh(600)).await;
    let rules = r#"
        [[rule]]
        key = { drop_tracking = true, drop_query = ["session*"], sort_query = true }
        [[rule]]
        match = { path = "/static/**" }
        key = { ignore_query = true }
    "#;
    let proxy = Proxy::ruled(&origin, rules).await;
    for (asked, seen) in [
        ("/a?utm_source=x&b=2&a=1", "/a?a=1&b=2"),
        ("/a?a=1&sessionid=7&b=2", "/a?a=1&b=2"),
        ("/a?fbclid=9", "/a"),
        ("/a", "/a"),
        ("/static/x?v=1", "/static/x"),
    ] {
        assert_eq!(proxy.get(asked).await.text(), seen, "{asked}");
    }
    assert_eq!(origin.requests().len(), 3);
}
