//! HEAD (RFC 9110 §9.3.2, RFC 9111 §4.3.5).

use crate::support::*;

#[tokio::test]
async fn head_is_answered_from_a_stored_get() {
    let (origin, proxy) = stage(ok("0123456789").fresh(600).with("X-A", "1")).await;
    proxy.get("/").await;
    let response = proxy.send(&head("/")).await;
    assert_eq!((response.status, response.is_hit(), origin.count()), (200, true, 1));
    assert_eq!(response.field("content-length"), Some("10"));
    assert_eq!(response.field("x-a"), Some("1"));
}

#[tokio::test]
async fn a_head_never_makes_an_empty_get() {
    let (origin, proxy) = stage(ok("body").fresh(600)).await;
    assert_eq!(proxy.send(&head("/")).await.status, 200);
    let response = proxy.get("/").await;
    assert_eq!((response.text(), response.complete), ("body", true));
    assert!(origin.count() <= 2);
}

#[tokio::test]
async fn a_head_says_the_length_that_the_origin_said() {
    let (_origin, proxy) = stage(ok("body").claiming(4711)).await;
    assert_eq!(proxy.send(&head("/")).await.field("content-length"), Some("4711"));
}

#[tokio::test]
async fn a_connection_goes_on_after_a_head() {
    let (_origin, proxy) = stage(ok("body").fresh(600)).await;
    let mut client = proxy.client().await;
    for _ in 0..2 {
        assert_eq!(client.exchange(&head("/")).await.status, 200);
        assert_eq!(client.exchange(&get("/")).await.text(), "body");
    }
}

// RFC 9111 §4.3.5: a HEAD that agrees with the stored response renews it.
#[tokio::test]
async fn a_head_that_agrees_freshens_the_stored_response() {
    let answer = |lifetime| ok("body").fresh(lifetime).with("ETag", "\"1\"");
    let origin = Origin::start(move |request| match &*request.method {
        "HEAD" => answer(600).with("X-New", "1"),
        _ => answer(60),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    proxy.get("/").await;
    proxy.advance(secs(61));
    proxy.send(&head("/")).await;
    let asked = origin.count();
    let response = proxy.get("/").await;
    assert_eq!((response.text(), origin.count()), ("body", asked));
    assert_eq!(response.field("x-new"), Some("1"));
}

// RFC 9111 §4.3.5: one that disagrees shows that the stored response is out of date.
#[tokio::test]
async fn a_head_that_disagrees_ends_the_stored_response() {
    for (tag, length) in [("\"2\"", 4), ("\"1\"", 5)] {
        let origin = Origin::start(move |request| match (&*request.method, request.number) {
            ("HEAD", _) => ok("body").claiming(length).fresh(600).with("ETag", tag),
            (_, 0) => ok("body").fresh(60).with("ETag", "\"1\""),
            _ => ok("other").fresh(600).with("ETag", "\"2\""),
        })
        .await;
        let proxy = Proxy::start(&origin).await;
        proxy.get("/").await;
        proxy.advance(secs(61));
        proxy.send(&head("/")).await;
        assert_eq!(proxy.get("/").await.text(), "other", "{tag} {length}");
    }
}
