//! Plain connections: requests, limits, deadlines.

use std::sync::mpsc;

use futures_util::StreamExt;
use tower::service_fn;

use super::*;
use crate::error::ErrorKind;

/// For a deadline that has to pass and that nothing has to meet.
const SHORT: Duration = Duration::from_millis(50);

/// For a deadline that has to pass after another client, on a busy machine, has met it.
const LONG: Duration = Duration::from_millis(500);

#[test]
fn requests_are_answered_on_one_connection() {
    let server = Server::start(&config(), service_fn(echo));
    let mut client = server.connect();
    client.send("GET /one HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.read_until("!");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-length: "), "{answer}");
    assert!(answer.ends_with("GET /one HTTP/1.1 from 127.0.0.1 secure=false!"), "{answer}");
    assert!(!answer.contains("date:"), "a hit keeps the origin's Date: {answer}");
    client.send("GET /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(client.read_to_end().contains("GET /two "));
    assert!(server.counts("seawall_connections_accepted_total 1"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(&config(), service_fn(echo));
    let mut client = server.connect();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.read_until("!").contains("GET /1 "));
    assert!(client.read_until("!").contains("GET /2 "));
}

#[test]
fn every_worker_serves_and_so_does_one_runtime_for_all() {
    for runtime in [Runtime::PerCore, Runtime::MultiThread] {
        let config = Config { threads: 2, runtime, ..config() };
        let server = Server::start(&config, service_fn(echo));
        for _ in 0..20 {
            let mut client = server.connect();
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            assert!(client.read_to_end().ends_with('!'));
        }
        assert!(server.counts("seawall_connections_accepted_total 20"));
    }
}

#[test]
fn a_service_error_closes_without_an_answer() {
    let stack = service_fn(async |_: Request| Answer::Err(ErrorKind::BodyTruncated.into()));
    let server = Server::start(&config(), stack);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_to_end(), "");
}

/// Half a body, and then a failure.
async fn half(_: Request) -> Answer {
    let half = Ok(http_body::Frame::data(Bytes::from_static(b"half")));
    let frames = futures_util::stream::iter([half]).chain(futures_util::stream::once(async {
        tokio::task::yield_now().await;
        Err(ErrorKind::BodyTruncated.into())
    }));
    let body = http_body_util::StreamBody::new(frames);
    Answer::Ok(http::Response::new(Body::stream(body)))
}

// Nothing but the connection's end tells such a client that it has all (RFC 9112 §8).
#[test]
fn a_body_error_resets_a_connection_whose_end_would_be_the_bodys() {
    let server = Server::start(&config(), service_fn(half));
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let ended = client.0.read_to_end(&mut Vec::new());
    let kind = ended.map_err(|error| error.kind());
    assert_eq!(kind, Err(std::io::ErrorKind::ConnectionReset));
}

#[test]
fn a_body_error_cuts_the_body() {
    let server = Server::start(&config(), service_fn(half));
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.read_to_end();
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    assert!(!answer.contains("0\r\n\r\n"), "no end: {answer}");
}

#[test]
fn half_closed_clients_get_their_answer() {
    let server = Server::start(&config(), service_fn(echo));
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.0.shutdown(std::net::Shutdown::Write).expect("shut down");
    assert!(client.read_to_end().ends_with('!'));
}

#[test]
fn an_early_answer_to_an_upload_is_not_lost() {
    let stack = service_fn(async |_: Request| answer("too large!"));
    let server = Server::start(&config(), stack);
    let mut client = server.connect();
    let length = 4 * 1024 * 1024;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    // All of it is sent before anything is read: a reset would fail one or the other.
    client.send(vec![b'x'; length]);
    assert!(client.read_until("!").contains("too large!"));
}

#[test]
fn what_is_not_http_is_refused_and_counted() {
    let server = Server::start(&config(), service_fn(echo));
    let mut client = server.connect();
    client.send("NOT HTTP\r\n\r\n");
    assert!(client.read_to_end().starts_with("HTTP/1.1 400 "));
    drop(client);
    // The counter moves once the connection is gone, which the client cannot see.
    let mut server = server;
    server.shutdown.drain();
    server.join();
    assert!(server.counts("seawall_bad_requests_total 1"));
}

#[test]
fn no_refusal_may_be_stored() {
    let server =
        Server::start(&with_limits(|limits| limits.max_header_bytes = 80_000), service_fn(echo));
    for (head, status) in [
        ("NOT HTTP".to_owned(), "400 Bad Request"),
        (format!("GET /{} HTTP/1.1\r\nHost: a", "x".repeat(70_000)), "414 URI Too Long"),
        (
            format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(90_000)),
            "431 Request Header Fields Too Large",
        ),
    ] {
        let mut client = server.connect();
        client.send(format!("{head}\r\n\r\n"));
        let expected = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\
             cache-control: no-store\r\n\r\n"
        );
        assert_eq!(client.read_to_end(), expected);
    }
}

#[test]
fn large_heads_are_refused() {
    let server =
        Server::start(&with_limits(|limits| limits.max_header_bytes = 8192), service_fn(echo));
    let mut client = server.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(9000)));
    assert!(client.read_to_end().starts_with("HTTP/1.1 431 "));

    let server = Server::start(&config(), service_fn(echo));
    let mut client = server.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100)));
    assert!(client.read_to_end().starts_with("HTTP/1.1 431 "));
}

#[test]
fn silent_and_slow_clients_are_cut() {
    // Nothing at all, a part of the HTTP/2 preface, the whole of it, a part of a head, and
    // something that began well.
    for begin in ["", "PRI * HTT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nHo"] {
        let server =
            Server::start(&with_limits(|limits| limits.header_timeout = SHORT), service_fn(echo));
        let mut client = server.connect();
        client.send(begin);
        let read = client.read_to_end();
        assert!(!read.contains("HTTP/1.1 200"), "{begin:?}: {read:?}");
        // Who sent nothing asked nothing.
        assert_eq!(read.contains("408 Request Timeout"), begin.starts_with("GET"), "{begin:?}");
        let mut server = server;
        server.shutdown.drain();
        server.join();
        assert!(server.counts("seawall_connection_timeouts_total 1"), "{begin:?}");
    }
}

#[test]
fn a_slow_second_head_is_cut_though_idling_is_allowed() {
    let server =
        Server::start(&with_limits(|limits| limits.header_timeout = LONG), service_fn(echo));
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("!");
    client.send("GET / HT");
    let read = client.read_to_end();
    assert!(read.starts_with("HTTP/1.1 408 ") && read.ends_with("connection: close\r\n\r\n"));
}

#[test]
fn idle_connections_are_closed() {
    let server =
        Server::start(&with_limits(|limits| limits.idle_timeout = SHORT), service_fn(echo));
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("!");
    assert_eq!(client.read_to_end(), "");
    let mut server = server;
    server.shutdown.drain();
    server.join();
    assert!(server.counts("seawall_connection_timeouts_total 0"), "idling is no fault");
}

#[test]
fn a_request_under_way_is_not_idle() {
    let (release, wait) = tokio::sync::watch::channel(false);
    let stack = service_fn(move |_: Request| {
        let mut wait = wait.clone();
        async move {
            let _ = wait.wait_for(|&released| released).await;
            answer("late!")
        }
    });
    let mut config = config();
    config.limits.idle_timeout = Duration::from_millis(1);
    config.limits.header_timeout = LONG;
    let server = Server::start(&config, stack);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // Another connection is cut by its deadline meanwhile: the same time has passed for both.
    assert_eq!(server.connect().read_to_end(), "");
    release.send_replace(true);
    assert!(client.read_until("!").ends_with("late!"));
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let (ended, wait) = mpsc::channel();
    let stack = service_fn(move |_: Request| {
        let ended = Ended(ended.clone());
        async move {
            let frames = futures_util::stream::repeat_with(move || {
                let _held = &ended;
                Ok(http_body::Frame::data(Bytes::from_static(&[b'x'; 8192])))
            });
            let body = http_body_util::StreamBody::new(frames);
            Answer::Ok(http::Response::new(Body::stream(body)))
        }
    });
    let server = Server::start(&with_limits(|limits| limits.write_timeout = SHORT), stack);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait.recv_timeout(PATIENCE).expect("the body is dropped");
    drop(client);
}

/// Tells when it is dropped.
struct Ended(mpsc::Sender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn a_worker_that_panics_ends_the_others() {
    let config = Config { threads: 2, ..config() };
    let bound = Bound::bind(&config).expect("a free port");
    let make = |index| {
        assert_ne!(index, 1, "this worker's stack cannot be built");
        service_fn(echo)
    };
    let ended = run(&config, bound, make, &Shutdown::new(), &Metrics::new(2));
    assert!(matches!(ended, Err(RunError::Panicked)), "{ended:?}");
}
