//! HTTP/2 on both sides (RFC 9113).

use http_body_util::BodyExt;
use seawall::upstream::Version;

use crate::support::*;

#[tokio::test]
async fn an_h2_client_gets_misses_hits_and_errors_like_any_other() {
    let (origin, proxy) = stage(ok("body").fresh(600).with("X-A", "1")).await;
    let mut client = H2Client::connect(proxy.address).await;
    let miss = client.exchange(&get("/")).await;
    assert_eq!((miss.status, miss.text(), miss.complete), (200, "body", true));
    let hit = client.exchange(&get("/")).await;
    assert!(hit.is_hit() && hit.field("x-a") == Some("1"));
    assert!(proxy.get("/").await.is_hit(), "both protocols share one cache");
    assert_eq!(origin.count(), 1);
    assert_eq!(origin.last().field("host"), Some("example.test"));
}

#[tokio::test]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match &*request.target {
        "/slow" => ok("slow").gate(&held),
        _ => ok("quick"),
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let client = H2Client::connect(proxy.address).await;
    let mut other = client.clone();
    let slow = tokio::spawn(async move {
        let mut client = client;
        client.exchange(&get("/slow")).await
    });
    origin.arrived(1).await;
    assert_eq!(other.exchange(&get("/quick")).await.text(), "quick");
    gate.open();
    assert_eq!(slow.await.unwrap().text(), "slow");
}

// RFC 9113 §8.1: a stream that can't be finished is reset, never ended.
#[tokio::test]
async fn a_cut_body_resets_the_stream_and_spares_the_connection() {
    let (_origin, proxy) = stages([ok("half").claiming(1000).cut(), ok("body")]).await;
    let mut client = H2Client::connect(proxy.address).await;
    let cut = client.exchange(&get("/")).await;
    assert!(!cut.complete, "{cut:?}");
    assert_eq!(client.exchange(&get("/")).await.text(), "body");
}

#[tokio::test]
async fn an_h2_client_that_leaves_midway_ends_nothing_for_others() {
    let gate = Gate::new();
    let (origin, proxy) = stage(ok("first").then(&gate).body("second").fresh(600)).await;
    let mut leaver = H2Client::connect(proxy.address).await;
    let mut response = leaver.begin(&get("/")).await;
    within("the first bytes", response.body_mut().frame()).await.unwrap().unwrap();
    let followers = proxy.start_all(3, &get("/")).await;
    drop(response);
    gate.open();
    for response in all(followers).await {
        assert_eq!((response.text(), response.complete), ("firstsecond", true));
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn request_bodies_and_response_trailers_pass() {
    let (origin, proxy) = stage(ok("body").trailer("x-sum", "4")).await;
    let mut client = H2Client::connect(proxy.address).await;
    let request = post("/", "upload").with("TE", "trailers");
    let response = client.exchange(&request).await;
    assert_eq!((response.text(), find(&response.trailers, "x-sum")), ("body", Some("4")));
    assert_eq!(origin.last().body, b"upload");
}

// RFC 9113 §8.2.2.
#[tokio::test]
async fn no_connection_specific_field_reaches_an_h2_client() {
    let answer = ok("body")
        .fresh(600)
        .with("Connection", "x-hop")
        .with("X-Hop", "1")
        .with("Keep-Alive", "x");
    let (_origin, proxy) = stage(answer).await;
    let mut client = H2Client::connect(proxy.address).await;
    for _ in 0..2 {
        let response = client.exchange(&get("/")).await;
        for name in ["connection", "keep-alive", "transfer-encoding", "x-hop", "upgrade"] {
            assert_eq!(response.field(name), None, "{name}");
        }
    }
}

// RFC 9113 §8.2.3.
#[tokio::test]
async fn cookie_crumbs_are_joined_for_an_http1_origin() {
    let (origin, proxy) = stage(ok("body")).await;
    let mut client = H2Client::connect(proxy.address).await;
    client.exchange(&get("/").with("Cookie", "a=1").with("Cookie", "b=2")).await;
    assert_eq!(origin.last().field("cookie"), Some("a=1; b=2"));
}

#[tokio::test]
async fn an_h2_origin_is_spoken_to_in_h2() {
    let origin = h2_origin(|seen| {
        assert!(seen.field("connection").is_none() && seen.field("transfer-encoding").is_none());
        (200, vec![("cache-control", "max-age=600"), ("x-a", "1")], "from h2")
    })
    .await;
    let proxy = Proxy::with(&origin, |s| s.upstream().version = Version::Http2).await;
    let miss = proxy.get("/").await;
    assert_eq!((miss.text(), miss.field("x-a")), ("from h2", Some("1")));
    assert!(proxy.get("/").await.is_hit());
    assert_eq!(proxy.send(&post("/upload", "bytes")).await.status, 200);
    let seen = origin.last();
    assert_eq!(
        (seen.body.as_slice(), seen.field(":authority")),
        (&b"bytes"[..], Some("example.test"))
    );
}

#[tokio::test]
async fn concurrent_requests_to_an_h2_origin_share_connections() {
    let origin = h2_origin(|_| (200, vec![("cache-control", "no-store")], "body")).await;
    let proxy = Proxy::with(&origin, |s| {
        s.upstream().version = Version::Http2;
        s.server.threads = 1;
    })
    .await;
    proxy.get("/").await;
    for response in proxy.at_once(20, &get("/")).await {
        assert_eq!(response.text(), "body");
    }
    assert!(origin.connections() <= 2, "{}", origin.connections());
}

#[tokio::test]
async fn without_http2_the_listener_speaks_http1_only() {
    let origin = Origin::answering(ok("body")).await;
    let proxy = Proxy::with(&origin, |s| s.server.listeners[0].http2 = false).await;
    let mut client = proxy.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = client.ended().await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5")
    );
    assert_eq!(proxy.get("/").await.text(), "body");
}
