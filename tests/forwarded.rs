//! What the origin is told of the client: replaced, or appended to where the peer is trusted
//! (RFC 7239).

use crate::support::*;

fn forged() -> Request {
    get("/")
        .with("X-Forwarded-For", "203.0.113.9")
        .with("X-Forwarded-Proto", "https")
        .with("X-Forwarded-Host", "evil.test")
        .with("Forwarded", "for=203.0.113.9;proto=https;host=evil.test")
}

#[tokio::test]
async fn a_strangers_word_about_itself_is_replaced() {
    let (origin, proxy) = stage(ok("body")).await;
    proxy.send(&forged()).await;
    let seen = origin.last();
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-forwarded-host"), Some("example.test"));
    let forwarded = seen.field("forwarded").unwrap_or_default();
    assert!(!forwarded.contains("203.0.113.9") && !forwarded.contains("evil"), "{forwarded}");
    assert_eq!(seen.field("host"), Some("example.test"));
}

#[tokio::test]
async fn a_trusted_proxys_word_is_kept_and_appended_to() {
    let origin = Origin::answering(ok("body")).await;
    let trusted = vec!["127.0.0.1/32".parse().unwrap()];
    let proxy = Proxy::with(&origin, |s| s.proxy.trusted_proxies = trusted).await;
    proxy.send(&forged()).await;
    let seen = origin.last();
    assert_eq!(seen.field("x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("x-forwarded-host"), Some("evil.test"));
    assert!(seen.field("forwarded").unwrap_or_default().starts_with("for=203.0.113.9"), "{seen:?}");
}

// An origin that reflects what it is told must not poison what others are given.
#[tokio::test]
async fn forged_fields_reflected_by_the_origin_poison_nobody() {
    let origin = Origin::start(|request| {
        ok(format!("//{}/", request.field("x-forwarded-host").unwrap_or("none"))).fresh(600)
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    proxy.send(&forged()).await;
    assert_eq!(proxy.get("/").await.text(), "//example.test/");
}

#[tokio::test]
async fn other_fields_that_name_a_host_or_path_do_not_pass_from_strangers() {
    let (origin, proxy) = stage(ok("body")).await;
    let names = [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Scheme",
        "X-Host",
        "X-HTTP-Method-Override",
    ];
    proxy.send(&names.iter().fold(get("/"), |request, name| request.with(name, "evil"))).await;
    let seen = origin.last();
    let passed: Vec<_> = names.iter().filter(|name| seen.field(name).is_some()).collect();
    // Those that Seawall owns are replaced; the others are the origin's own affair.
    assert!(
        seen.fields.iter().all(|(name, value)| {
            !name.to_ascii_lowercase().starts_with("x-forwarded") || value != "evil"
        }),
        "{passed:?}"
    );
}

/// A proxy that expects a PROXY header from this machine.
async fn behind_a_balancer() -> (Origin, Proxy) {
    let origin = Origin::answering(ok("body")).await;
    let from = vec!["127.0.0.0/8".parse().unwrap()];
    let proxy = Proxy::with(&origin, |s| s.server.listeners[0].proxy_protocol_from = from).await;
    (origin, proxy)
}

#[tokio::test]
async fn the_proxy_protocol_tells_the_clients_address_in_both_versions() {
    let text = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n".to_vec();
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    binary.extend([203, 0, 113, 7, 127, 0, 0, 1, 0x12, 0x67, 0, 80]);
    for header in [text, binary] {
        let (origin, proxy) = behind_a_balancer().await;
        let mut client = proxy.client().await;
        client.send([header, get("/").bytes()].concat()).await;
        assert_eq!(client.exchange_rest().await.status, 200);
        assert_eq!(origin.last().field("x-forwarded-for"), Some("203.0.113.7"));
        assert_eq!(client.exchange(&get("/")).await.status, 200, "once a connection");
    }
}

#[tokio::test]
async fn a_listed_peer_must_send_a_proxy_header_and_any_other_must_not() {
    let (origin, proxy) = behind_a_balancer().await;
    for wrong in
        ["GET / HTTP/1.1\r\nHost: example.test\r\n\r\n", "PROXY TCP4 nonsense\r\n", "PROXY "]
    {
        let mut client = proxy.client().await;
        client.send(wrong).await;
        client.try_send(" ".repeat(200)).await;
        client.ended().await;
    }
    assert_eq!(origin.count(), 0);
    let (origin, proxy) = stage(ok("body")).await;
    let mut client = proxy.client().await;
    client
        .send(
            "PROXY TCP4 203.0.113.7 127.0.0.1 1 80\r\nGET / HTTP/1.1\r\nHost: example.test\r\n\r\n",
        )
        .await;
    let said = client.ended().await;
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{said:?}");
    assert_eq!(origin.count(), 0);
}
