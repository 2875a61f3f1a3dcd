//! Origins that fail, and what it is called.

use super::*;

/// The outcome of a GET that `script` answers on a fresh connection before it closes.
async fn outcome(config: impl FnOnce(&mut Config), script: &str) -> Result<String, ErrorKind> {
    let origin = Origin::start().await;
    let mut settings = origin.config();
    config(&mut settings);
    let origins = origins(&settings);
    let script = async {
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.send(script).await;
        // Closed in order, so that what was sent arrives.
        peer.0.shutdown().await.expect("the client is there");
        peer
    };
    let (outcome, _peer) = tokio::join!(fetch(&origins, get()), script);
    outcome
}

#[tokio::test]
async fn what_an_origin_may_answer_wrongly_has_a_name() {
    use ErrorKind::{
        BadResponse, BodyTruncated, ConnectionLost, ResponseHeadTooLarge, UnknownTransferCoding,
        UpgradeFailed,
    };
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(140_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(300));
    for (answer, expected) in [
        ("", ConnectionLost),
        ("HTTP/1.1 200 OK\r\nx", ConnectionLost),
        ("this is not HTTP\r\n\r\n", BadResponse),
        ("HTTP/1.1 2000 OK\r\n\r\n", BadResponse),
        ("HTTP/3.7 200 OK\r\n\r\n", BadResponse),
        ("HTTP/1.1 200 OK\r\nx y\r\n\r\n", BadResponse),
        ("HTTP/1.1 200 OK\r\nx: y\r\n folded\r\n\r\n", BadResponse),
        ("HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n", BadResponse),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", BadResponse),
        ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", BadResponse),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            BadResponse,
        ),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", BadResponse),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok", UnknownTransferCoding),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            UnknownTransferCoding,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            UpgradeFailed,
        ),
        (&long, ResponseHeadTooLarge),
        (&many, ResponseHeadTooLarge),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", BodyTruncated),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nshort", BodyTruncated),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n", BodyTruncated),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", BadResponse),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokXX", BadResponse),
    ] {
        let start: String = answer.chars().take(80).collect();
        assert_eq!(outcome(|_| {}, answer).await, Err(expected), "{start:?}");
    }
}

#[tokio::test]
async fn a_body_without_framing_ends_with_the_connection() {
    assert_eq!(outcome(|_| {}, "HTTP/1.1 200 OK\r\n\r\nok").await.as_deref(), Ok("ok"));
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok";
    let read = |config: &mut Config| {
        config.unknown_transfer_coding = UnknownTransferCoding::ReadToClose;
    };
    assert_eq!(outcome(read, answer).await.as_deref(), Ok("ok"));
}

#[tokio::test]
async fn bytes_after_a_head_that_ends_in_time_are_waited_for_and_no_longer() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.between_bytes_timeout = Duration::from_millis(50);
    let origins = origins(&config);
    let script = async {
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await;
        peer.is_closed().await;
    };
    let (answer, ()) = tokio::join!(fetch(&origins, get()), script);
    assert_eq!(answer, Err(ErrorKind::BetweenBytesTimeout));
}

#[tokio::test]
async fn a_silent_origin_is_a_first_byte_timeout() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.first_byte_timeout = Duration::from_millis(50);
    let origins = origins(&config);
    let script = async {
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.is_closed().await;
    };
    let (answer, ()) = tokio::join!(fetch(&origins, get()), script);
    assert_eq!(answer, Err(ErrorKind::FirstByteTimeout));
}

/// Sends `piece` again and again until the client goes away.
async fn repeat(origin: &Origin, start: &str, piece: &str) {
    let mut peer = origin.accept().await;
    peer.head().await;
    peer.send(start).await;
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    while peer.0.write_all(piece.as_bytes()).await.is_ok() {
        pace.tick().await;
    }
}

#[tokio::test]
async fn neither_a_dripping_head_nor_endless_interim_responses_outlive_the_timeout() {
    for (start, piece) in
        [("HTTP/1.1 200 OK\r\nx: ", "y"), ("", "HTTP/1.1 102 Processing\r\nx: y\r\n\r\n")]
    {
        let origin = Origin::start().await;
        let mut config = origin.config();
        config.first_byte_timeout = Duration::from_millis(80);
        let origins = origins(&config);
        let (answer, ()) = tokio::join!(fetch(&origins, get()), repeat(&origin, start, piece));
        assert_eq!(answer, Err(ErrorKind::FirstByteTimeout), "{start:?}");
    }
}

#[tokio::test]
async fn a_dripping_body_does_not_outlive_the_total_timeout() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.total_timeout = Some(Duration::from_millis(80));
    let origins = origins(&config);
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n";
    let (answer, ()) = tokio::join!(fetch(&origins, get()), repeat(&origin, head, "y"));
    assert_eq!(answer, Err(ErrorKind::TotalTimeout));
}

#[tokio::test]
async fn an_origin_that_refuses_is_a_failed_connect() {
    let origin = Origin::start().await;
    let config = origin.config();
    drop(origin);
    let origins = origins(&config);
    assert_eq!(fetch(&origins, get()).await, Err(ErrorKind::ConnectFailed));
    assert_eq!(origins.stats()[0].failures, 1);
}

#[tokio::test]
async fn an_unknown_upstream_is_our_own_fault() {
    let origins = Origins::new(&Shared::new(&[]).expect("nothing to set up"));
    assert_eq!(fetch(&origins, get()).await, Err(ErrorKind::Internal));
}
