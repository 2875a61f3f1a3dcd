//! Tunnels after an upgrade (RFC 9110 §7.8), WebSocket above all.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::support::*;

const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

/// An origin that accepts `Upgrade: echo` and then says back what it hears.
async fn echo() -> Origin {
    Origin::script(|mut conn| async move {
        let Some(request) = conn.request().await else { return };
        assert_eq!(request.field("upgrade"), Some("echo"));
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nready ").await;
        loop {
            let heard = conn.some().await;
            if heard.is_empty() || !conn.send(heard).await {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn bytes_flow_both_ways_after_a_101() {
    let origin = echo().await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    client.send(UPGRADE).await;
    let response = client.begin("GET").await;
    assert_eq!((response.status, response.field("upgrade")), (101, Some("echo")));
    let mut heard = Vec::new();
    while heard.len() < 6 {
        heard.extend(client.some().await);
    }
    assert_eq!(heard, b"ready ");
    for word in ["one", "two"] {
        client.send(word).await;
        assert_eq!(client.some().await, word.as_bytes());
    }
}

#[tokio::test]
async fn a_tunnel_ends_on_both_sides_when_either_ends_it() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |mut conn| {
        let held = held.clone();
        async move {
            if conn.request().await.is_some() {
                conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
                conn.ended().await;
                held.pass().await;
            }
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    client.send(UPGRADE).await;
    assert_eq!(client.begin("GET").await.status, 101);
    client.reset();
    gate.reached(1).await;
}

#[tokio::test]
async fn an_origin_that_declines_answers_as_usual() {
    let (_origin, proxy) = stage(ok("no tunnel").fresh(600)).await;
    let mut client = proxy.client().await;
    client.send(UPGRADE).await;
    let response = client.exchange_rest().await;
    assert_eq!((response.status, response.text()), (200, "no tunnel"));
    assert_eq!(client.exchange(&get("/")).await.status, 200, "the connection is HTTP still");
}

// RFC 9113 §3.1: h2c by Upgrade is gone, and tunnelling it would hide requests from us.
#[tokio::test]
async fn an_upgrade_to_h2c_is_not_passed_on() {
    let (origin, proxy) = stage(ok("plain")).await;
    let request = get("/").with("Connection", "Upgrade, HTTP2-Settings").with("Upgrade", "h2c");
    let response = proxy.send(&request.with("HTTP2-Settings", "AAMAAABkAAQAAP__")).await;
    assert_eq!(response.text(), "plain");
    let seen = origin.last();
    assert_eq!((seen.field("upgrade"), seen.field("http2-settings")), (None, None));
}

#[tokio::test]
async fn websocket_messages_pass_both_ways() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_close() && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let origin = Origin::answering(status(500)).await;
    let proxy = Proxy::with(&origin, |s| s.upstream().port = port).await;
    let url = format!("ws://{}/chat", proxy.address);
    let connecting = tokio_tungstenite::connect_async(url);
    let (mut socket, response) = within("the handshake", connecting).await.unwrap();
    assert_eq!(response.status(), 101);
    for message in [Message::text("hello"), Message::binary(vec![7; 300_000])] {
        socket.send(message.clone()).await.unwrap();
        let echoed = within("the echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(echoed, message);
    }
    socket.close(None).await.unwrap();
}
