//! Every wait has an end. These limits are short and real: what is waited for never comes.

use seawall::config::Settings;

use crate::support::*;

async fn limited(answer: Answer, tune: impl FnOnce(&mut Settings)) -> (Origin, Proxy) {
    let origin = Origin::answering(answer).await;
    let proxy = Proxy::with(&origin, tune).await;
    (origin, proxy)
}

#[tokio::test]
async fn an_origin_that_never_answers_is_a_504() {
    let gate = Gate::new();
    let (origin, proxy) =
        limited(Answer::silent(&gate), |s| s.upstream().first_byte_timeout = millis(50)).await;
    let response = proxy.get("/").await;
    assert_eq!(response.status, 504);
    assert!(response.says("detail=first-byte-timeout"), "{}", response.cache_status());
    assert_eq!(origin.count(), 1, "a timeout is not repeated");
}

#[tokio::test]
async fn a_head_that_drips_is_bounded_as_a_whole() {
    let origin = Origin::script(|mut conn| async move {
        if conn.request().await.is_some() {
            conn.send("HTTP/1.1 200 OK\r\n").await;
            // As fast as the proxy reads, for ever: each read succeeds, the head never ends.
            while conn.send("x: y\r\n").await {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let proxy = Proxy::with(&origin, |s| {
        s.upstream().first_byte_timeout = millis(200);
        s.upstream().max_response_head = 1 << 30;
    })
    .await;
    assert!(proxy.get("/").await.status >= 502);
}

#[tokio::test]
async fn a_body_that_stalls_is_cut_and_not_stored() {
    let gate = Gate::new();
    let stalled = ok("half").then(&gate).body("rest").fresh(600);
    let origin = Origin::sequence([stalled, ok("whole").fresh(600)]).await;
    let proxy = Proxy::with(&origin, |s| s.upstream().between_bytes_timeout = millis(50)).await;
    let response = proxy.get("/").await;
    assert_eq!((response.text(), response.complete), ("half", false));
    assert_eq!(proxy.get("/").await.text(), "whole");
}

#[tokio::test]
async fn the_whole_exchange_can_be_bounded() {
    let gate = Gate::new();
    let (_origin, proxy) =
        limited(Answer::silent(&gate), |s| s.upstream().total_timeout = Some(millis(50))).await;
    let response = proxy.get("/").await;
    assert_eq!(response.status, 504);
}

#[tokio::test]
async fn an_origin_that_can_not_be_reached_is_a_502() {
    let (mut origin, proxy) = limited(ok("body"), |_| ()).await;
    origin.refuse().await;
    let response = proxy.get("/").await;
    assert_eq!(response.status, 502);
    assert!(response.says("detail=connect-failed"), "{}", response.cache_status());
}

// The kernel completes handshakes only while a listener's queue has room: a listener that never
// accepts, with a queue filled by the test, lets further connections hang.
#[tokio::test]
async fn connecting_is_bounded() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = socket2::Socket::from(listener);
    socket.listen(0).unwrap();
    let mut queued = Vec::new();
    loop {
        let connecting = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(millis(100), connecting).await {
            Ok(connected) => queued.push(connected),
            Err(_) => break,
        }
    }
    let (_origin, proxy) = limited(ok("body"), |s| {
        s.upstream().port = address.port();
        s.upstream().connect_timeout = millis(50);
    })
    .await;
    let response = proxy.get("/").await;
    assert_eq!(response.status, 504);
    assert!(response.says("detail=connect-timeout"), "{}", response.cache_status());
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_head_is_let_go() {
    let (origin, proxy) =
        limited(ok("body"), |s| s.server.limits.header_timeout = millis(50)).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: exa").await;
    let said = client.ended().await;
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408"), "{said:?}");
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let (_origin, proxy) = limited(ok("body"), |s| {
        s.server.limits.header_timeout = millis(50);
        s.server.limits.idle_timeout = millis(50);
    })
    .await;
    proxy.client().await.ended().await;
    let mut kept = proxy.client().await;
    assert_eq!(kept.exchange(&get("/")).await.status, 200);
    kept.ended().await;
}

#[tokio::test]
async fn a_client_that_stops_sending_its_body_is_let_go() {
    let (origin, proxy) = limited(ok("body"), |s| s.proxy.limits.body_timeout = millis(50)).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 10\r\n\r\nhalf").await;
    let response = client.exchange_rest().await;
    assert_eq!(response.status, 408);
    client.ended().await;
    assert_eq!(proxy.get("/").await.status, 200);
    assert!(origin.last().body.is_empty());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let (_origin, proxy) = limited(ok(vec![b'x'; 16 * 1024 * 1024 - 1]).fresh(600), |s| {
        s.server.limits.write_timeout = millis(200);
    })
    .await;
    let mut client = proxy.client().await.reading_slowly();
    client.send(get("/").bytes()).await;
    let response = client.begin("GET").await;
    // Not a byte is read until the proxy has given up, which releases what it held.
    proxy.settled().await;
    assert!(!client.finish(response).await.complete);
}
