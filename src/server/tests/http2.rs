//! HTTP/2 by prior knowledge; the rest of it is hyper's.

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tower::service_fn;

use super::*;
use crate::error::ErrorKind;

type Sender = http2::SendRequest<Empty<Bytes>>;
type Connection = tokio::task::JoinHandle<hyper::Result<()>>;

async fn connect(address: SocketAddr) -> (Sender, Connection) {
    let stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
    (sender, tokio::spawn(connection))
}

fn request(path: &str) -> http::Request<Empty<Bytes>> {
    let uri = format!("http://a{path}");
    http::Request::builder().uri(uri).body(Empty::new()).expect("a request")
}

#[tokio::test]
async fn prior_knowledge_is_told_by_the_preface() {
    let server = Server::start(&config(), service_fn(echo));
    let (mut sender, _connection) = connect(server.address).await;
    for path in ["/one", "/two"] {
        let response = sender.send_request(request(path)).await.expect("an answer");
        assert!(!response.headers().contains_key("date"));
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, format!("GET {path} HTTP/2.0 from 127.0.0.1 secure=false!"));
    }
}

#[tokio::test]
async fn a_listener_without_http2_refuses_the_preface() {
    let mut config = config();
    config.listeners[0].http2 = false;
    let server = Server::start(&config, service_fn(echo));
    let (mut sender, _connection) = connect(server.address).await;
    sender.send_request(request("/")).await.expect_err("not spoken");
}

#[tokio::test]
async fn a_service_error_resets_the_stream_alone() {
    let stack = service_fn(async |request: Request| {
        if request.head.uri.path() == "/fails" {
            return Err(ErrorKind::BodyTruncated.into());
        }
        echo(request).await
    });
    let server = Server::start(&config(), stack);
    let (mut sender, _connection) = connect(server.address).await;
    sender.send_request(request("/fails")).await.expect_err("reset");
    sender.send_request(request("/works")).await.expect("the connection lives");
}

#[tokio::test]
async fn a_drain_says_goaway_and_finishes_streams() {
    let (release, wait) = tokio::sync::watch::channel(false);
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let stack = service_fn(move |_: Request| {
        let (mut wait, arrived) = (wait.clone(), arrived.clone());
        async move {
            let _ = arrived.send(());
            let _ = wait.wait_for(|&released| released).await;
            answer("done")
        }
    });
    let mut server = Server::start(&config(), stack);
    let (mut sender, connection) = connect(server.address).await;
    let answer = tokio::spawn(sender.send_request(request("/")));
    arrivals.recv().await.expect("arrived");
    server.shutdown.drain();
    release.send_replace(true);
    let response = answer.await.expect("no panic").expect("an answer");
    assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), "done");
    connection.await.expect("no panic").expect("closed in good order");
    tokio::task::spawn_blocking(move || server.join()).await.expect("no panic");
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = Server::start(
        &with_limits(|limits| limits.idle_timeout = Duration::from_millis(50)),
        service_fn(echo),
    );
    let (mut sender, connection) = connect(server.address).await;
    sender.send_request(request("/")).await.expect("an answer");
    connection.await.expect("no panic").expect("closed in good order");
}

fn endless(block: &'static [u8]) -> http::Response<Body> {
    let block = move || Ok(http_body::Frame::data(Bytes::from_static(block)));
    let body = http_body_util::StreamBody::new(futures_util::stream::repeat_with(block));
    http::Response::new(Body::stream(body))
}

/// Waits until the server counts this.
async fn counted(server: &Server, line: &str) {
    let counts = async {
        while !server.counts(line) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counts).await.expect(line);
}

/// All windows are open, but nothing is read of the socket.
#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_whatever_it_allows_to_be_sent() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff";
    const UPDATE: &[u8] = b"\0\0\x04\x08\0\0\0\0\0\x7f\0\0\0";
    fn get(stream: u32) -> Vec<u8> {
        let frame = [b"\0\0\x06\x01\x05", &stream.to_be_bytes()[..], b"\x82\x86\x84\x41\x01a"];
        frame.concat()
    }
    for block in [&[b'x'; 300][..], &[b'x'; 16 * 1024]] {
        let stack = service_fn(async move |_| Ok(endless(block)));
        let limits = |limits: &mut Limits| limits.write_timeout = Duration::from_millis(100);
        let server = Server::start(&with_limits(limits), stack);
        let mut client = TcpStream::connect(server.address).expect("it listens");
        client.write_all(&[PREFACE, SETTINGS, UPDATE].concat()).expect("room for it");
        // A busy machine may take longer than that to fill the socket, which is the end of the
        // stream alone: then there is a next.
        let mut asked = 0;
        let filling = async {
            while !server.counts("seawall_connection_timeouts_total 1") {
                if server.counts(&format!("seawall_stream_timeouts_total {asked}")) {
                    // It may be cut by now.
                    let _ = client.write_all(&get(2 * asked + 1));
                    asked += 1;
                }
                tokio::task::yield_now().await;
            }
        };
        let is_cut = tokio::time::timeout(PATIENCE, filling).await;
        is_cut.unwrap_or_else(|_| panic!("{asked} streams asked for, and the connection lives"));
    }
}

#[tokio::test]
async fn a_stream_whose_client_opens_no_window_is_cut_and_one_that_waits_is_not() {
    let (release, wait) = tokio::sync::watch::channel(false);
    let stack = service_fn(move |request: Request| {
        let mut wait = wait.clone();
        async move {
            if request.head.uri.path() == "/endless" {
                return Ok(endless(&[b'x'; 8192]));
            }
            let _ = wait.wait_for(|&released| released).await;
            answer("late")
        }
    });
    let limits = |limits: &mut Limits| limits.write_timeout = Duration::from_millis(100);
    let server = Server::start(&with_limits(limits), stack);
    let (mut sender, _connection) = connect(server.address).await;
    let late = tokio::spawn(sender.send_request(request("/late")));

    let _unread = sender.send_request(request("/endless")).await.expect("a head");
    let cut = "seawall_stream_timeouts_total 1";
    counted(&server, cut).await;

    release.send_replace(true);
    let response = late.await.expect("no panic").expect("an answer");
    assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), "late");
}
