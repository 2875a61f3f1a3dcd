//! Purging by method and by the admin API.

use crate::support::*;

fn purge(target: &str) -> Request {
    request("PURGE", target)
}

/// A proxy that lets this machine purge by method, with `targets` stored.
async fn holding(targets: &[&str]) -> (Origin, Proxy) {
    let origin = Origin::start(|request| match request.field("if-none-match") {
        Some(_) => status(304).fresh(600).with("ETag", "\"1\""),
        None => ok("body").fresh(600).with("ETag", "\"1\"").with("Vary", "X-A"),
    })
    .await;
    let allowed = vec!["127.0.0.0/8".parse().unwrap()];
    let proxy = Proxy::with(&origin, |s| s.proxy.purge.allow = allowed).await;
    for target in targets {
        proxy.get(target).await;
    }
    (origin, proxy)
}

#[tokio::test]
async fn purge_is_refused_unless_allowed_and_never_reaches_the_origin() {
    let (origin, proxy) = stage(ok("body").fresh(600)).await;
    proxy.get("/").await;
    assert_eq!(proxy.send(&purge("/")).await.status, 403);
    assert!(proxy.get("/").await.is_hit());
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn an_allowed_address_may_purge_one_url_and_nothing_else_goes() {
    let (origin, proxy) = holding(&["/a", "/b"]).await;
    let response = proxy.send(&purge("/a")).await;
    assert!((200..300).contains(&response.status), "{response:?}");
    assert!(!proxy.get("/a").await.is_hit());
    assert!(proxy.get("/b").await.is_hit());
    assert_eq!(origin.requests().iter().filter(|seen| seen.method == "PURGE").count(), 0);
}

#[tokio::test]
async fn a_token_may_purge_from_anywhere_and_a_wrong_one_may_not() {
    let origin = Origin::answering(ok("body").fresh(600)).await;
    let proxy = Proxy::with(&origin, |s| s.proxy.purge.token = Some("secret".to_owned())).await;
    proxy.get("/").await;
    for wrong in ["Bearer wrong", "Bearer secre", "Basic secret", "secret", "Bearer "] {
        let refused = proxy.send(&purge("/").with("Authorization", wrong)).await;
        assert_eq!(refused.status, 403, "{wrong}");
    }
    assert!(proxy.get("/").await.is_hit());
    let allowed = proxy.send(&purge("/").with("Authorization", "Bearer secret")).await;
    assert!((200..300).contains(&allowed.status));
    assert!(!proxy.get("/").await.is_hit());
}

#[tokio::test]
async fn every_variant_goes() {
    let (_origin, proxy) = holding(&["/"]).await;
    let other = get("/").with("X-A", "1");
    proxy.send(&other).await;
    proxy.purge("url", "http://example.test/", "hard").await;
    assert!(!proxy.get("/").await.is_hit());
    assert!(!proxy.send(&other).await.is_hit());
}

#[tokio::test]
async fn a_prefix_purge_takes_what_begins_so_and_no_more() {
    let (_origin, proxy) = holding(&["/shop/1", "/shop/2?q", "/shop", "/shopping", "/"]).await;
    proxy.purge("prefix", "http://example.test/shop/", "hard").await;
    for (target, kept) in [
        ("/shop/1", false),
        ("/shop/2?q", false),
        ("/shop", true),
        ("/shopping", true),
        ("/", true),
    ] {
        assert_eq!(proxy.get(target).await.is_hit(), kept, "{target}");
    }
}

#[tokio::test]
async fn a_purge_of_one_host_leaves_the_others() {
    let (_origin, proxy) = holding(&["/"]).await;
    let elsewhere = get("/").with("Host", "other.test");
    proxy.send(&elsewhere).await;
    proxy.purge("prefix", "http://example.test/", "hard").await;
    assert!(!proxy.get("/").await.is_hit());
    assert!(proxy.send(&elsewhere).await.is_hit());
}

#[tokio::test]
async fn all_means_all_and_what_comes_later_is_stored_again() {
    let (_origin, proxy) = holding(&["/a", "/b"]).await;
    proxy.purge("all", "", "hard").await;
    for target in ["/a", "/b"] {
        assert!(!proxy.get(target).await.is_hit());
        assert!(proxy.get(target).await.is_hit());
    }
}

#[tokio::test]
async fn what_a_purge_of_everything_takes_is_freed_though_nobody_asks_for_anything() {
    let targets: Vec<_> = (0..300).map(|number| format!("/{number}")).collect();
    let targets: Vec<_> = targets.iter().map(String::as_str).collect();
    let (_origin, proxy) = holding(&targets).await;
    let metrics = || async { proxy.ask_admin(&get("/metrics")).await.text().to_owned() };
    let is_empty = |text: &str| text.lines().any(|line| line == "seawall_memory_used_bytes 0.0");
    assert!(!is_empty(&metrics().await));
    proxy.purge("all", "", "hard").await;
    within("memory to be free", async { while !is_empty(&metrics().await) {} }).await;
}

#[tokio::test]
async fn a_soft_purge_makes_stale_and_a_validation_revives() {
    let (origin, proxy) = holding(&["/"]).await;
    proxy.purge("url", "http://example.test/", "soft").await;
    let response = proxy.get("/").await;
    assert!(!response.is_hit() && response.says("fwd=stale"), "{}", response.cache_status());
    assert_eq!(response.text(), "body");
    assert_eq!(origin.last().field("if-none-match"), Some("\"1\""));
    assert!(proxy.get("/").await.is_hit());
}

#[tokio::test]
async fn a_softly_purged_response_may_be_served_while_it_is_refreshed() {
    let gate = Gate::new();
    let answers = [
        ok("old").with("Cache-Control", "max-age=600, stale-while-revalidate=60"),
        ok("new").fresh(600).gate(&gate),
    ];
    let (origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.purge("url", "http://example.test/", "soft").await;
    assert_eq!(proxy.get("/").await.text(), "old");
    origin.arrived(2).await;
    gate.open();
}

#[tokio::test]
async fn a_hard_purge_leaves_nothing_to_validate_or_to_fall_back_on() {
    let (mut origin, proxy) = holding(&["/a", "/b"]).await;
    proxy.purge("all", "", "hard").await;
    proxy.get("/a").await;
    assert_eq!(origin.last().field("if-none-match"), None);
    origin.refuse().await;
    assert!(proxy.get("/b").await.status >= 500);
}

#[tokio::test]
async fn a_fill_begun_before_a_purge_is_not_fresh_after_it() {
    for (kind, value, mode) in [
        ("url", "http://example.test/", "hard"),
        ("url", "http://example.test/", "soft"),
        ("prefix", "http://example.test/", "hard"),
        ("all", "", "soft"),
    ] {
        let gate = Gate::new();
        let answers = [ok("before").then(&gate).body("!").fresh(600), ok("after").fresh(600)];
        let (origin, proxy) = stages(answers).await;
        let filling = proxy.start_all(1, &get("/")).await;
        origin.arrived(1).await;
        proxy.purge(kind, value, mode).await;
        let meanwhile = proxy.start_all(1, &get("/")).await;
        origin.arrived(2).await;
        gate.open();
        assert_eq!(all(filling).await[0].text(), "before!", "its own client still gets it");
        assert_eq!(all(meanwhile).await[0].text(), "after");
        assert_eq!(proxy.get("/").await.text(), "after", "{kind} {mode}");
    }
}

#[tokio::test]
async fn the_admin_api_refuses_what_it_does_not_understand() {
    let (_origin, proxy) = holding(&["/"]).await;
    for body in [
        "",
        "{",
        r#"{"kind":"everything","value":"","mode":"hard"}"#,
        r#"{"kind":"url","mode":"hard"}"#,
    ] {
        let response =
            proxy.ask_admin(&post("/purge", body).with("Content-Type", "application/json")).await;
        assert_eq!(response.status, 400, "{body}");
    }
    assert!(proxy.get("/").await.is_hit());
}

#[tokio::test]
async fn the_admin_api_asks_for_its_token() {
    let origin = Origin::answering(ok("body").fresh(600)).await;
    let proxy = Proxy::with(&origin, |s| s.admin.token = Some("secret".to_owned())).await;
    let body = r#"{"kind":"all","mode":"hard"}"#;
    let ask = post("/purge", body).with("Content-Type", "application/json");
    assert_eq!(proxy.ask_admin(&ask).await.status, 401);
    let authorized = ask.with("Authorization", "Bearer secret");
    assert!((200..300).contains(&proxy.ask_admin(&authorized).await.status));
}

#[tokio::test]
async fn without_a_token_the_admin_api_answers_no_name_but_localhost() {
    let (_origin, proxy) = holding(&["/"]).await;
    let body = r#"{"kind":"all","mode":"hard"}"#;
    let purge = post("/purge", body).with("Content-Type", "application/json");
    for (request, status) in
        [(get("/stats"), 421), (get("/metrics"), 421), (purge, 421), (get("/healthz"), 200)]
    {
        let response = Client::connect(proxy.admin).await.exchange(&request).await;
        assert_eq!(response.status, status, "{}", request.target);
    }
    assert!(proxy.get("/").await.is_hit());
}

#[tokio::test]
async fn the_admin_listener_tells_health_and_metrics() {
    let (_origin, proxy) = holding(&["/"]).await;
    for target in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(proxy.ask_admin(&get(target)).await.status, 200, "{target}");
    }
    assert_eq!(proxy.ask_admin(&get("/nothing")).await.status, 404);
}
