//! Origins that are not there, say nothing, or say it very slowly: every wait has an end, and it
//! is the same end for everybody who waits.

use super::*;

fn late(bytes: impl AsRef<[u8]>, error: &'static str) -> Fault {
    Fault { bytes: bytes.as_ref().to_vec(), then: Then::Hold, outcome: (504, error) }
}

#[tokio::test]
async fn a_head_that_does_not_come_or_does_not_end() {
    let faults = [
        late("", "http_response_timeout"),
        late("\r\n", "http_response_timeout"),
        late("HTTP/1.1 200", "http_response_timeout"),
        late("HTTP/1.1 200 OK\r\nX: y\r\n", "http_response_timeout"),
        late("HTTP/1.1 100 Continue\r\n\r\n", "http_response_timeout"),
        late("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "http_response_timeout"),
    ];
    expect_outcomes(&faults, |s| s.upstream().first_byte_timeout = millis(60)).await;
}

#[tokio::test]
async fn a_body_that_stops() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
    let faults = [
        "Content-Length: 10\r\n\r\n",
        "Content-Length: 10\r\n\r\nhalf",
        "\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ]
    .map(|rest| late(format!("{head}{rest}"), ""));
    for (version, count) in [(Version::Http1, 3), (Version::Http2, 3)] {
        let tune = |s: &mut Settings| s.upstream().between_bytes_timeout = millis(60);
        let story = Story::begin(&faults, Stored::Barred, tune).await;
        for index in 0..faults.len() {
            for response in story.ask(index, version, count).await {
                assert!(!response.complete, "{index}, {version:?}: {response:?}");
            }
        }
        story.recover("stopped").await;
    }
}

/// Answers every request with `start`, and then `piece` again and again until the proxy leaves.
async fn dripping(start: &'static str, piece: &'static str) -> Origin {
    Origin::script(move |mut conn| async move {
        if conn.request().await.is_some() {
            conn.send(start).await;
            let mut pace = tokio::time::interval(millis(2));
            while conn.send(piece).await {
                pace.tick().await;
            }
        }
    })
    .await
}

// Each read makes progress; the head as a whole does not.
#[tokio::test]
async fn a_head_that_drips_ends_with_the_timeout_of_all_of_it() {
    for (start, piece) in [
        ("", "\n"),
        ("HTTP/1.1 200 ", "x"),
        ("HTTP/1.1 200 OK\r\nX: ", "y"),
        ("HTTP/1.1 200 OK\r\n", "X: y\r\n"),
        ("HTTP/1.1 103 Early Hints\r\nX: ", "y"),
        ("", "HTTP/1.1 102 Processing\r\n\r\n"),
    ] {
        let origin = dripping(start, piece).await;
        let proxy = Proxy::with(&origin, |s| s.upstream().first_byte_timeout = millis(100)).await;
        let response = proxy.get("/").await;
        assert_eq!(response.status, 504, "{start:?} {piece:?}");
        let told = "seawall; error=http_response_timeout";
        assert_eq!(response.field("proxy-status"), Some(told), "{start:?} {piece:?}");
        let mut http2 = H2Client::connect(proxy.address).await;
        assert_eq!(http2.exchange(&get("/")).await.status, 504, "{start:?} {piece:?}");
    }
}

// What is not the body's bytes is no progress of the body.
#[tokio::test]
async fn framing_that_drips_ends_with_the_timeout_between_bytes() {
    for piece in ["0", "4;x", "4\r\nbody\r\n0\r\nx: "] {
        let head =
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n";
        let start: &'static str = format!("{head}{piece}").leak();
        let origin = dripping(start, if piece == "0" { "0" } else { "x" }).await;
        let proxy = Proxy::with(&origin, |s| s.upstream().between_bytes_timeout = millis(60)).await;
        assert!(!proxy.get("/").await.complete, "{piece:?}");
    }
}

#[tokio::test]
async fn an_origin_that_is_not_there() {
    let unresolvable = |s: &mut Settings| s.upstream().host = "no-such-name.invalid".to_owned();
    let origin = Origin::answering(ok("body")).await;
    let proxy = Proxy::with(&origin, unresolvable).await;
    let mut http2 = H2Client::connect(proxy.address).await;
    for response in [proxy.get("/").await, http2.exchange(&get("/")).await] {
        assert_eq!(response.status, 502);
        assert_eq!(response.field("proxy-status"), Some("seawall; error=dns_error"));
    }
    for stored in STORED {
        let mut story = Story::begin(&[late("", "")], stored, |_| ()).await;
        story.origin.refuse().await;
        let refused = Fault { outcome: (502, "connection_refused"), ..late("", "") };
        for version in [Version::Http1, Version::Http2] {
            for response in story.ask(0, version, 3).await {
                expect_outcome(&refused, stored, &response);
            }
        }
        story.origin.resume().await;
        story.recover("refused").await;
    }
}

#[tokio::test]
async fn a_cleartext_answer_to_a_tls_handshake_is_no_answer() {
    let origin = Origin::script(|mut conn| async move {
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong").await;
        conn.ended().await;
    })
    .await;
    let authority = Authority::new("cleartext");
    let proxy = Proxy::with(&origin, |s| {
        s.upstream().tls = true;
        s.upstream().ca = Some(authority.file());
    })
    .await;
    let response = proxy.get("/").await;
    assert_eq!(response.status, 502, "{response:?}");
    assert_eq!(response.field("proxy-status"), Some("seawall; error=tls_protocol_error"));
}
