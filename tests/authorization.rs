//! Requests with credentials (RFC 9111 §3.5) and responses with cookies (§7.3).

use crate::support::*;

async fn shared_after_credentials(control: &str) -> bool {
    let (origin, proxy) = stage(given(&[("Cache-Control", control)])).await;
    proxy.send(&get("/").with("Authorization", "Basic eDp5")).await;
    proxy.get("/").await;
    origin.count() == 1
}

#[tokio::test]
async fn an_answer_to_credentials_is_shared_only_where_the_origin_says_so() {
    for control in ["max-age=600", "max-age=600, immutable", "max-age=600, proxy-revalidate"] {
        assert!(!shared_after_credentials(control).await, "{control}");
    }
    for control in ["public, max-age=600", "s-maxage=600", "must-revalidate, max-age=600"] {
        assert!(shared_after_credentials(control).await, "{control}");
    }
}

#[tokio::test]
async fn credentials_do_not_forbid_what_was_stored_without_them() {
    let (origin, proxy) = stage(ok("public").fresh(600)).await;
    proxy.get("/").await;
    assert!(proxy.send(&get("/").with("Authorization", "Basic eDp5")).await.is_hit());
    assert_eq!(origin.last().field("authorization"), None);
}

#[tokio::test]
async fn concurrent_requests_with_different_credentials_each_get_their_own_answer() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| {
        ok(request.field("authorization").unwrap_or("none")).fresh(600).gate(&held)
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut tasks = Vec::new();
    for user in 0..10 {
        let request = get("/").with("Authorization", format!("Bearer {user}"));
        tasks.extend(proxy.start_all(1, &request).await);
    }
    // The first decides that nobody else can use its answer; only then do the others go.
    origin.arrived(1).await;
    gate.open();
    for (user, response) in all(tasks).await.iter().enumerate() {
        assert_eq!(response.text(), format!("Bearer {user}"));
    }
}

#[tokio::test]
async fn a_response_with_set_cookie_is_not_shared_unless_configured() {
    let cookie = ok("body").fresh(600).with("Set-Cookie", "session=secret");
    expect_reuse(0, false, [cookie.clone()]).await;
    let store = |s: &mut seawall::config::Settings| s.cache().policy.store_set_cookie = true;
    expect_reuse_with(store, 0, true, [cookie.clone()]).await;
    let (_origin, proxy) = stage(cookie).await;
    assert!(proxy.get("/").await.says("detail=set-cookie"));
}

#[tokio::test]
async fn a_cookie_that_comes_with_a_304_reaches_its_client_and_no_other() {
    let answers = [
        ok("body").fresh(60).with("ETag", "\"1\""),
        status(304).fresh(60).with("ETag", "\"1\"").with("Set-Cookie", "session=secret"),
        ok("body").fresh(60).with("ETag", "\"1\""),
    ];
    let (_origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    assert_eq!(proxy.get("/").await.field("set-cookie"), Some("session=secret"));
    assert_eq!(proxy.get("/").await.field("set-cookie"), None);
}

#[tokio::test]
async fn collapsed_requests_never_share_a_cookie() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| {
        ok("body").fresh(600).with("Set-Cookie", format!("session={}", request.number)).gate(&held)
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let tasks = proxy.start_all(20, &get("/")).await;
    origin.arrived(1).await;
    gate.open();
    let mut cookies: Vec<_> = all(tasks)
        .await
        .iter()
        .map(|response| response.field("set-cookie").map(str::to_owned))
        .collect();
    cookies.sort();
    cookies.dedup();
    assert_eq!(cookies.len(), 20);
}

#[tokio::test]
async fn a_request_cookie_makes_no_difference_to_what_the_origin_allows() {
    let (origin, proxy) = stage(ok("body").fresh(600)).await;
    proxy.send(&get("/").with("Cookie", "a=1")).await;
    assert!(proxy.send(&get("/").with("Cookie", "a=2")).await.is_hit());
    assert_eq!(origin.count(), 1);
}
