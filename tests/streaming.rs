//! Bodies are passed on as they come, in both directions, trailers included.

use crate::support::*;

#[tokio::test]
async fn the_first_event_arrives_before_the_second_is_sent() {
    let gate = Gate::new();
    let stream = ok("data: 1\n\n").chunked().then(&gate).body("data: 2\n\n");
    let stream = stream.with("Content-Type", "text/event-stream").with("Cache-Control", "no-cache");
    let (_origin, proxy) = stage(stream).await;
    let mut client = proxy.client().await;
    client.send(get("/events").bytes()).await;
    let response = client.begin("GET").await;
    assert_eq!(client.bytes(9).await, b"data: 1\n\n");
    gate.open();
    let rest = client.finish(response).await;
    assert_eq!((rest.text(), rest.complete), ("data: 2\n\n", true));
}

#[tokio::test]
async fn a_dripping_body_arrives_byte_by_byte() {
    let gate = Gate::new();
    let (_origin, proxy) = stage(ok("").drip(b"drip", &gate).fresh(600)).await;
    let mut client = proxy.client().await;
    client.send(get("/").bytes()).await;
    client.begin("GET").await;
    for byte in b"drip" {
        gate.release(1);
        assert_eq!(client.bytes(1).await, [*byte]);
    }
    assert_eq!(client.piece().await, Ok(None));
    assert_eq!(proxy.get("/").await.text(), "drip");
}

#[tokio::test]
async fn a_request_body_is_passed_on_before_it_is_complete() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |mut conn| {
        let held = held.clone();
        async move {
            let Some((_, Some(mut framing))) = conn.head().await else { return };
            assert_eq!(conn.piece(&mut framing).await.as_deref(), Some(&b"first"[..]));
            held.pass().await;
            while conn.piece(&mut framing).await.is_some() {}
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 11\r\n\r\nfirst").await;
    gate.reached(1).await;
    gate.open();
    client.send("second").await;
    assert_eq!(client.exchange_rest().await.status, 200);
}

// An origin that does not read must stop the client, not fill the proxy.
#[tokio::test]
async fn an_origin_that_does_not_read_is_felt_by_the_client() {
    const OFFERED: usize = 256 * 1024 * 1024;
    if !alone("streaming::an_origin_that_does_not_read_is_felt_by_the_client") {
        return;
    }
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |mut conn| {
        let held = held.clone();
        async move {
            if conn.head().await.is_some() {
                held.pass().await;
            }
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    client
        .send(format!("POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: {OFFERED}\r\n\r\n"))
        .await;
    origin.arrived(1).await;
    let before = rss();
    let block = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    // The first block that finds no room, and finds none for a long while, ends it.
    while sent < OFFERED && tokio::time::timeout(millis(500), client.send(&block)).await.is_ok() {
        sent += block.len();
    }
    assert!(sent < OFFERED / 2, "{sent} bytes were taken for an origin that reads none");
    assert!(rss() < before + 64 * 1024 * 1024);
    gate.open();
}

#[tokio::test]
async fn chunked_request_bodies_and_their_trailers_reach_the_origin() {
    let (origin, proxy) = stage(ok("done")).await;
    let mut client = proxy.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
             3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n",
        )
        .await;
    assert_eq!(client.exchange_rest().await.status, 200);
    let seen = origin.last();
    assert_eq!(seen.body, b"abcdefg");
    assert_eq!(find(&seen.trailers, "x-sum"), Some("7"));
}

// RFC 9110 §6.5.1: trailers go to who says that it takes them.
#[tokio::test]
async fn trailers_reach_a_client_that_takes_them() {
    let (_origin, proxy) = stage(ok("body").trailer("X-Sum", "4").with("Trailer", "X-Sum")).await;
    let response = proxy.send(&get("/").with("TE", "trailers").with("Connection", "TE")).await;
    assert_eq!((response.text(), find(&response.trailers, "x-sum")), ("body", Some("4")));
    let without = proxy.get("/").await;
    assert_eq!((without.text(), without.complete), ("body", true));
}

// RFC 9110 §6.5.1: trailers never become header fields, nor decide anything.
#[tokio::test]
async fn trailers_never_become_fields_nor_change_what_is_stored() {
    let answer =
        ok("body").fresh(600).trailer("Cache-Control", "no-store").trailer("Content-Length", "1");
    let (origin, proxy) = stage(answer).await;
    proxy.get("/").await;
    let hit = proxy.get("/").await;
    assert_eq!((hit.text(), origin.count()), ("body", 1));
    assert_eq!(hit.all("cache-control"), ["max-age=600"]);
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_stored_and_framed_anew() {
    let (origin, proxy) = stage(ok("body").until_close().fresh(600)).await;
    proxy.get("/").await;
    let mut client = proxy.client().await;
    for _ in 0..2 {
        let hit = client.exchange(&get("/")).await;
        assert_eq!((hit.text(), hit.field("content-length")), ("body", Some("4")));
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_large_upload_arrives_whole() {
    let (origin, proxy) = stage(ok("done")).await;
    let body: Vec<u8> = (0..5_000_000_u32).map(|index| (index % 251) as u8).collect();
    assert_eq!(proxy.send(&put("/", &body)).await.status, 200);
    assert!(origin.last().body == body);
}

#[tokio::test]
async fn a_client_that_leaves_during_its_upload_ends_the_request_to_the_origin() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |mut conn| {
        let held = held.clone();
        async move {
            if conn.head().await.is_some() {
                conn.ended().await;
                held.pass().await;
            }
        }
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 100\r\n\r\nsome").await;
    origin.arrived(1).await;
    client.reset();
    gate.reached(1).await;
}

#[tokio::test]
async fn too_large_a_request_body_is_a_413() {
    let origin = Origin::answering(ok("done")).await;
    let proxy = Proxy::with(&origin, |s| s.proxy.limits.max_body_bytes = Some(10)).await;
    assert_eq!(proxy.send(&post("/", "0123456789")).await.status, 200);
    assert_eq!(proxy.send(&post("/", "0123456789a")).await.status, 413);
    assert_eq!(origin.count(), 1);
}
