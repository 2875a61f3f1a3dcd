//! Interim responses, expectations and switched protocols.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;

use super::*;
use crate::context::{InterimSink, Interims, RequestId};

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<(u16, usize)>>);

impl InterimSink for Seen {
    fn open(&self, _: RequestId) {}
    fn send(&self, _: RequestId, status: StatusCode, headers: &HeaderMap) {
        self.0.lock().expect("no panic before").push((status.as_u16(), headers.len()));
    }
    fn close(&self, _: RequestId) {}
}

#[tokio::test]
async fn interim_responses_are_passed_and_are_never_the_answer() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let seen = Arc::new(Seen::default());
    let script = async {
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        peer.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").await;
        peer.send("HTTP/1.1 102 Processing\r\n\r\n").await;
        peer.send(OK).await;
        peer
    };
    let mut asking = get();
    asking.interim = Some(Interims::new(seen.clone(), RequestId(1)));
    let (answer, _peer) = tokio::join!(fetch(&origins, asking), script);
    assert_eq!(answer.as_deref(), Ok("ok"));
    assert_eq!(*seen.0.lock().expect("no panic before"), [(103, 1), (102, 0)]);
}

/// An upload that expects `100 Continue`, and whether its content was asked for.
fn expecting() -> (OriginRequest, Arc<AtomicBool>) {
    let asked = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&asked);
    let content = futures_util::stream::once(async move {
        told.store(true, Ordering::Release);
        Ok(http_body::Frame::data(Bytes::from_static(b"abc")))
    });
    let mut upload = request("POST", None);
    upload.head.headers.insert("expect", HeaderValue::from_static("100-continue"));
    upload.body = OriginRequestBody::Stream(Box::pin(http_body_util::StreamBody::new(content)));
    (upload, asked)
}

#[tokio::test]
async fn content_flows_when_the_origin_says_continue() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let (upload, asked) = expecting();
    let script = async {
        let mut peer = origin.accept().await;
        assert!(peer.head().await.contains("expect: 100-continue\r\n"));
        assert!(!asked.load(Ordering::Acquire));
        peer.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(peer.body(13).await, "3\r\nabc\r\n0\r\n\r\n");
        peer.send(OK).await;
        peer
    };
    let (answer, _peer) = tokio::join!(fetch(&origins, upload), script);
    assert_eq!(answer.as_deref(), Ok("ok"));
}

#[tokio::test]
async fn content_that_the_origin_refuses_is_never_asked_for() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let (upload, asked) = expecting();
    let script = async {
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno").await;
        peer.is_closed().await;
    };
    let (answer, ()) = tokio::join!(fetch(&origins, upload), script);
    assert_eq!(answer.as_deref(), Ok("no"));
    assert!(!asked.load(Ordering::Acquire));
}

#[tokio::test]
async fn a_protocol_that_was_asked_for_becomes_a_tunnel() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let script = async {
        let mut peer = origin.accept().await;
        let head = peer.head().await;
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        assert!(head.contains("upgrade: echo\r\n"), "{head}");
        peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhi",
        )
        .await;
        assert_eq!(peer.body(4).await, "ping");
        peer.send("pong").await;
        peer.is_closed().await;
    };
    let client = async {
        let mut asking = get();
        asking.upgrade = Some(HeaderValue::from_static("echo"));
        let mut response = send(&origins, asking).await.expect("a head");
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let upgrade = hyper::upgrade::on(&mut response);
        drop(response);
        let mut tunnel = TokioIo::new(upgrade.await.expect("a tunnel"));
        tunnel.write_all(b"ping").await.expect("the origin is there");
        let mut read = [0; 6];
        tunnel.read_exact(&mut read).await.expect("the origin is there");
        assert_eq!(&read, b"hipong");
        assert_eq!(origins.stats()[0].open, 1);
    };
    tokio::join!(script, client);
    assert_eq!(origins.stats()[0].open, 0);
}

#[tokio::test]
async fn an_upgrade_that_is_declined_is_an_ordinary_answer() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let mut asking = get();
    asking.upgrade = Some(HeaderValue::from_static("echo"));
    let (answer, _peer) = tokio::join!(fetch(&origins, asking), origin.serve_one());
    assert_eq!(answer.as_deref(), Ok("ok"));
    assert_eq!(origins.stats()[0].idle, 1);
}
