//! Requests that ask for another protocol (RFC 9110 §7.8): what follows them is HTTP until a 101.

use super::*;
use crate::support::*;

#[tokio::test]
async fn what_follows_a_refused_upgrade_is_http() {
    let cases = [
        (
            "h2c",
            "GET / HTTP/1.1⏎◊Connection: Upgrade, HTTP2-Settings⏎Upgrade: h2c⏎HTTP2-Settings: AAMAAABkAAQAAP__⏎⏎",
            "GET / - ",
        ),
        (
            "h2c among others",
            "GET / HTTP/1.1⏎◊Connection: Upgrade⏎Upgrade: websocket, h2c⏎⏎",
            "GET / - ",
        ),
        ("h2c in capitals", "GET / HTTP/1.1⏎◊Connection: Upgrade⏎Upgrade: H2C⏎⏎", "GET / - "),
        ("an unknown protocol", "GET / HTTP/1.1⏎◊Connection: Upgrade⏎Upgrade: foo⏎⏎", "GET / - "),
        (
            "websocket",
            "GET / HTTP/1.1⏎◊Connection: Upgrade⏎Upgrade: websocket⏎Sec-WebSocket-Version: 13⏎Sec-WebSocket-Key: AA==⏎⏎",
            "GET / - ",
        ),
        ("not nominated", "GET / HTTP/1.1⏎◊Upgrade: foo⏎⏎", "GET / - "),
        ("empty", "GET / HTTP/1.1⏎◊Connection: Upgrade⏎Upgrade:⏎⏎", "GET / - "),
        (
            "with content",
            "POST / HTTP/1.1⏎◊Connection: Upgrade⏎Upgrade: foo⏎Content-Length: 2⏎⏎ok",
            "POST / length ok",
        ),
        (
            "GET with content",
            "GET / HTTP/1.1⏎◊Connection: Upgrade⏎Upgrade: foo⏎Content-Length: 2⏎⏎ok",
            "GET / length ok",
        ),
        (
            "GET with chunks",
            "GET / HTTP/1.1⏎◊Connection: Upgrade⏎Upgrade: foo⏎Transfer-Encoding: chunked⏎⏎2⏎ok⏎0⏎⏎",
            "GET / chunked ok",
        ),
    ];
    expect_forwarded(&cases).await;
}

#[tokio::test]
async fn what_follows_an_upgrade_is_read_as_strictly_as_anything() {
    let upgrade = "GET /first HTTP/1.1⏎◊Connection: Upgrade⏎Upgrade: foo⏎⏎";
    let wire = Wire::start().await;
    for bad in [
        "POST / HTTP/1.1⏎◊Content-Length: 5⏎Transfer-Encoding: chunked⏎⏎0⏎⏎",
        "GET / HTTP/1.1\nHost: example.test\n\n",
        "not HTTP⏎⏎",
    ] {
        for in_bytes in [false, true] {
            let outcome = wire.send(&format!("{upgrade}{bad}"), in_bytes).await;
            assert_eq!(outcome.statuses, [200, 400], "{outcome:?}");
            let got: Vec<_> = outcome.forwarded.iter().map(Forwarded::to_string).collect();
            assert_eq!(got, ["GET /first - "], "{outcome:?}");
        }
    }
}

// A client may not speak before the 101, but what it does say is the other protocol's.
#[tokio::test]
async fn bytes_sent_ahead_of_a_101_reach_the_tunnel_unread() {
    let origin = Origin::script(|mut conn| async move {
        let Some(_) = conn.request().await else { return };
        conn.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        )
        .await;
        loop {
            let heard = conn.some().await;
            if heard.is_empty() || !conn.send(heard).await {
                return;
            }
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    let upgrade = "GET / HTTP/1.1⏎◊Connection: Upgrade⏎Upgrade: echo⏎⏎\u{0}\n#⏎";
    client.send(raw::bytes(upgrade)).await;
    assert_eq!(client.begin("GET").await.status, 101);
    client.send("\0\nmore").await;
    let mut heard = Vec::new();
    while heard.len() < 11 {
        heard.extend(client.some().await);
    }
    assert_eq!(heard, b"\0\n#\r\n\0\nmore");
}
