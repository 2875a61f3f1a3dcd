//! Where requests go, and which are not let through at all (RFC 9112 §3.2, RFC 9110 §7.4).

use std::sync::Arc;

use seawall::config::Settings;
use seawall::key::HostPattern;
use seawall::proxy::Route;
use seawall::upstream;

use crate::support::*;

fn route(host: Option<HostPattern>, path: &str, upstream: usize) -> Arc<Route> {
    let cache = seawall::cache::Config::default();
    Arc::new(Route {
        name: format!("{host:?}{path}"),
        host,
        path: path.to_owned(),
        upstream,
        cache,
    })
}

#[tokio::test]
async fn host_and_path_choose_the_upstream_and_the_first_match_wins() {
    let origins = [
        Origin::answering(ok("0")).await,
        Origin::answering(ok("1")).await,
        Origin::answering(ok("2")).await,
    ];
    let ports: Vec<_> = origins.iter().map(|origin| origin.address.port()).collect();
    let proxy = Proxy::with(&origins[0], |s: &mut Settings| {
        s.upstreams = ports
            .iter()
            .map(|&port| upstream::Config::new("o", false, "127.0.0.1", port))
            .collect();
        s.proxy.routes = vec![
            route(Some(HostPattern::Exact("shop.test".to_owned())), "/api", 1),
            route(Some(HostPattern::Below("shop.test".to_owned())), "/", 2),
            route(Some(HostPattern::Exact("shop.test".to_owned())), "/", 0),
        ];
    })
    .await;
    for (host, path, expected) in [
        ("shop.test", "/", "0"),
        ("shop.test:8080", "/", "0"),
        ("SHOP.test.", "/apis", "0"),
        ("shop.test", "/api", "1"),
        ("shop.test", "/api/x", "1"),
        ("shop.test", "/api?x", "1"),
        ("shop.test", "/x/../api/y", "1"),
        ("www.shop.test", "/api", "2"),
        ("a.b.shop.test", "/", "2"),
    ] {
        assert_eq!(
            proxy.send(&get(path).with("Host", host)).await.text(),
            expected,
            "{host}{path}"
        );
    }
    for host in ["other.test", "xshop.test", "shop.test.evil.test"] {
        let response = proxy.send(&get("/").with("Host", host)).await;
        assert_eq!(response.status, 421, "{host}");
        assert!(response.says("detail=no-route"), "{}", response.cache_status());
    }
}

#[tokio::test]
async fn a_request_whose_host_is_in_doubt_is_refused() {
    let (origin, proxy) = stage(ok("body")).await;
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test/path\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test:port\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    ] {
        let mut client = proxy.client().await;
        client.send(head).await;
        assert_eq!(client.exchange_rest().await.status, 400, "{head:?}");
    }
    assert_eq!(origin.count(), 0);
}

// RFC 9112 §3.2.2: the target's authority is the host, whatever Host says.
#[tokio::test]
async fn an_absolute_target_is_the_host_and_the_key() {
    let (origin, proxy) = stage(ok("body").fresh(600)).await;
    let mut client = proxy.client().await;
    client.send("GET http://a.test/x HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    assert_eq!(client.exchange_rest().await.status, 200);
    let seen = origin.last();
    assert_eq!((seen.field("host"), &*seen.target), (Some("a.test"), "/x"));
    assert!(proxy.send(&get("/x").with("Host", "a.test")).await.is_hit());
    assert!(!proxy.send(&get("/x").with("Host", "b.test")).await.is_hit());
}

#[tokio::test]
async fn connect_and_trace_are_not_served() {
    let (origin, proxy) = stage(ok("body")).await;
    let mut client = proxy.client().await;
    client.send("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n").await;
    let said = String::from_utf8(client.some().await).unwrap();
    assert!(said.starts_with("HTTP/1.1 4"), "{said:?}");
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn options_of_the_server_as_a_whole_is_passed_or_answered_but_not_cached() {
    let (_origin, proxy) = stage(ok("").fresh(600)).await;
    for _ in 0..2 {
        assert!(!proxy.send(&request("OPTIONS", "*")).await.is_hit());
    }
}

// RFC 9112 §6.1, §6.3: a request that can be read in two ways goes no further.
#[tokio::test]
async fn a_request_whose_framing_is_in_doubt_is_refused_and_nothing_after_it_is_read() {
    let (origin, proxy) = stage(ok("body")).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: example.test\r\n\r\n";
    for framing in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 4 4\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: \r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
    ] {
        let mut client = proxy.client().await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: example.test\r\n{framing}\r\n0\r\n\r\n{smuggled}"
            ))
            .await;
        let said = String::from_utf8(client.ended().await).unwrap();
        assert!(
            said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.1 501") || said.is_empty(),
            "{framing:?}: {said:?}"
        );
        assert_eq!(
            said.matches("HTTP/1.1 ").count(),
            usize::from(!said.is_empty()),
            "{framing:?}: {said:?}"
        );
    }
    assert!(origin.requests().iter().all(|seen| seen.target != "/smuggled"));
}

#[tokio::test]
async fn a_request_with_both_length_and_chunks_never_smuggles() {
    let (origin, proxy) = stage(ok("body")).await;
    for framing in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
    ] {
        let mut client = proxy.client().await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: example.test\r\n{framing}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: example.test\r\n\r\n"
            ))
            .await;
        client.ended().await;
    }
    assert!(
        origin.requests().iter().all(|seen| seen.field("content-length").is_none()
            || seen.field("transfer-encoding").is_none())
    );
    assert!(origin.requests().iter().all(|seen| seen.target != "/smuggled"));
}

// The body of a request that is answered from the store must not become the next request.
#[tokio::test]
async fn the_body_of_a_get_answered_from_the_store_is_not_read_as_a_request() {
    let (origin, proxy) = stage(ok("body").fresh(600)).await;
    proxy.get("/").await;
    let mut client = proxy.client().await;
    let inner = "GET /smuggled HTTP/1.1\r\nHost: example.test\r\n\r\n";
    client.send(get("/").body(inner).bytes()).await;
    assert_eq!(client.exchange_rest().await.text(), "body");
    if client.try_send(get("/next").bytes()).await
        && let Ok(next) = client.try_begin("GET").await
    {
        client.finish(next).await;
    }
    assert!(origin.requests().iter().all(|seen| seen.target != "/smuggled"));
}

#[tokio::test]
async fn too_long_a_target_and_too_large_a_head_are_refused() {
    let (origin, proxy) = stage(ok("body")).await;
    let long = proxy.get(&format!("/{}", "x".repeat(20_000))).await;
    assert_eq!(long.status, 414);
    let large = proxy.send(&get("/").with("X-Large", "x".repeat(100_000))).await;
    assert_eq!(large.status, 431);
    let many = (0..200).fold(get("/"), |request, index| request.with(&format!("X-{index}"), "1"));
    assert_eq!(proxy.send(&many).await.status, 431);
    assert_eq!(origin.count(), 0);
}
