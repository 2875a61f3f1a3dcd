//! Connections to the origin: reuse, and what is sent again when one dies (RFC 9110 §9.2.2,
//! RFC 9112 §9.3).

use seawall::config::Settings;
use seawall::upstream::{RetryReused, UnknownTransferCoding};

use crate::support::*;

/// One worker, because each has its own connections to the origin.
fn one_worker(settings: &mut Settings) {
    settings.server.threads = 1;
}

async fn alone(origin: &Origin) -> Proxy {
    Proxy::with(origin, one_worker).await
}

#[tokio::test]
async fn one_connection_to_the_origin_serves_many_requests() {
    let origin = Origin::start(|request| match &*request.target {
        "/204" => status(204),
        "/304" => status(304),
        "/empty" => ok(""),
        "/chunked" => ok("body").chunked(),
        _ => ok("body"),
    })
    .await;
    let proxy = alone(&origin).await;
    for target in ["/", "/204", "/304", "/empty", "/chunked", "/"] {
        proxy.get(target).await;
        proxy.send(&head(target)).await;
        proxy.send(&post(target, "x")).await;
    }
    assert_eq!((origin.count(), origin.connections()), (18, 1));
}

#[tokio::test]
async fn a_connection_that_the_origin_closes_is_not_used_again() {
    for closing in [ok("body").closing(), ok("body").until_close()] {
        let origin = Origin::answering(closing).await;
        let proxy = alone(&origin).await;
        for connections in 1..4 {
            assert_eq!(proxy.get("/").await.text(), "body");
            assert_eq!(origin.connections(), connections);
        }
    }
}

// The race that every pool has: the origin hangs up just as the request arrives.
#[tokio::test]
async fn an_idempotent_request_survives_a_connection_that_dies_as_it_is_reused() {
    let origin = Origin::start(|request| match request.number {
        1 => Answer::hang_up(),
        _ => ok("body"),
    })
    .await;
    let proxy = alone(&origin).await;
    for _ in 0..2 {
        assert_eq!(proxy.get("/").await.text(), "body");
    }
    assert_eq!((origin.count(), origin.connections()), (3, 2));
}

#[tokio::test]
async fn a_request_that_must_not_be_repeated_is_not() {
    for request in [post("/", "x"), post("/", ""), request("PATCH", "/").body("x"), put("/", "x")] {
        let origin = Origin::start(|request| match request.number {
            1 => Answer::hang_up(),
            _ => ok("body"),
        })
        .await;
        let proxy = alone(&origin).await;
        proxy.get("/").await;
        assert_eq!(proxy.send(&request).await.status, 502, "{} with a body", request.method);
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn a_fresh_connection_that_dies_is_an_error_and_no_reason_to_repeat() {
    let (origin, proxy) = stage(Answer::hang_up()).await;
    let response = proxy.get("/").await;
    assert_eq!(response.status, 502);
    assert!(response.says("detail=connection-lost"), "{}", response.cache_status());
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_request_is_repeated_once_only() {
    let origin = Origin::start(|request| match request.number {
        0 => ok("body"),
        _ => Answer::hang_up(),
    })
    .await;
    let proxy = alone(&origin).await;
    proxy.get("/").await;
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn with_retry_of_the_unsent_only_nothing_is_sent_twice() {
    let origin = Origin::start(|request| match request.number {
        1 => Answer::hang_up(),
        _ => ok("body"),
    })
    .await;
    let proxy = Proxy::with(&origin, |s| {
        one_worker(s);
        s.upstream().retry_reused = RetryReused::Unsent;
    })
    .await;
    proxy.get("/").await;
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn nothing_is_repeated_once_a_byte_of_an_answer_has_come() {
    let origin = Origin::start(|request| match request.number {
        1 => raw("HTTP/1.1 20"),
        _ => ok("body"),
    })
    .await;
    let proxy = alone(&origin).await;
    proxy.get("/").await;
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(origin.count(), 2);
}

// RFC 9112 §9.3, §6.3: what follows a response unasked is no response.
#[tokio::test]
async fn surplus_bytes_after_a_response_answer_nobody() {
    let surplus = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
    let origin = Origin::start(move |request| match request.number {
        0 => ok("").verbatim().with("Content-Length", "4").body(&surplus.as_bytes()[38..]),
        _ => ok("right"),
    })
    .await;
    let proxy = alone(&origin).await;
    proxy.get("/1").await;
    assert_eq!(proxy.get("/2").await.text(), "right");
}

// RFC 9112 §6.3: framing that can be read in two ways is an error, not a choice.
#[tokio::test]
async fn a_response_whose_framing_is_in_doubt_is_a_502_and_never_stored() {
    for head in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4, 5\r\n",
        "Content-Length: -4\r\n",
        "Content-Length: 4x\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 18446744073709551620\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: unheard-of\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
    ] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n{head}\r\n4\r\nbody\r\n0\r\n\r\n"
        );
        let (origin, proxy) = stage(raw(answer)).await;
        for asked in 1..3 {
            let response = proxy.get("/").await;
            assert_eq!(response.status, 502, "{head:?}: {response:?}");
            assert_eq!(origin.count(), asked);
        }
    }
}

#[tokio::test]
async fn garbage_from_the_origin_is_a_502_and_never_passed_on() {
    for garbage in [
        "nonsense\r\n\r\n",
        "\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 abc Letters\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNul: a\0b\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
    ] {
        let (_origin, proxy) = stage(raw(garbage)).await;
        assert_eq!(proxy.get("/").await.status, 502, "{garbage:?}");
    }
}

#[tokio::test]
async fn bad_chunks_cut_the_client_and_leave_nothing_stored() {
    for chunks in
        ["4\r\nbodyXX", "zz\r\nbody\r\n", "4\r\nbo", "ffffffffffffffffff\r\nbody", "-4\r\nbody\r\n"]
    {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        );
        let (origin, proxy) = stages([raw(answer), ok("body").fresh(600)]).await;
        // Cut, even before its head, or a 502: anything but whole.
        let response = proxy.client().await.try_exchange(&get("/")).await;
        assert!(
            !matches!(&response, Ok(response) if response.complete && response.status != 502),
            "{chunks:?}: {response:?}"
        );
        assert_eq!(proxy.get("/").await.text(), "body");
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn an_unknown_transfer_coding_may_be_read_to_the_end_where_configured() {
    let answer = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: unheard-of\r\n\r\nbody";
    let origin = Origin::answering(raw(answer)).await;
    let proxy = Proxy::with(&origin, |s| {
        s.upstream().unknown_transfer_coding = UnknownTransferCoding::ReadToClose;
    })
    .await;
    for _ in 0..2 {
        assert_eq!(proxy.get("/").await.text(), "body");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn too_large_a_response_head_is_a_502() {
    let large = ok("body").with("X-Large", "x".repeat(140_000));
    let (_origin, proxy) = stage(large).await;
    let response = proxy.get("/").await;
    assert_eq!(response.status, 502);
}

#[tokio::test]
async fn idle_connections_are_dropped_before_the_origin_drops_them() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |mut conn| {
        let held = held.clone();
        async move {
            if conn.request().await.is_some() {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                conn.ended().await;
                held.pass().await;
            }
        }
    })
    .await;
    let proxy = Proxy::with(&origin, |s| s.upstream().idle_timeout = millis(50)).await;
    proxy.get("/").await;
    gate.reached(1).await;
}
