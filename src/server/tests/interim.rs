//! Interim responses on the wire.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::watch;
use tower::service_fn;

use super::*;
use crate::context::Interims;

const HEAD: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";

fn sink(request: &Request) -> Interims {
    request.interims().expect("HTTP/1")
}

fn hint(sink: &Interims) {
    let link = HeaderValue::from_static("</a.css>");
    sink.send(StatusCode::EARLY_HINTS, &HeaderMap::from_iter([(header::LINK, link)]));
}

#[test]
fn hints_arrive_while_the_answer_is_awaited() {
    let (release, wait) = watch::channel(false);
    let stack = service_fn(move |request: Request| {
        let mut wait = wait.clone();
        async move {
            let sink = sink(&request);
            sink.open();
            // From another task, as the client connection to an origin does it.
            let hints = sink.clone();
            drop(tokio::spawn(async move { hint(&hints) }));
            let _ = wait.wait_for(|&released| released).await;
            sink.close();
            hint(&sink);
            answer("final!")
        }
    });
    let server = Server::start(&config(), stack);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_until("\r\n\r\n"), HEAD);
    release.send_replace(true);
    let answer = client.read_until("!");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!answer.contains("103"), "closed: {answer}");
}

#[test]
fn a_hint_right_before_the_answer_goes_first() {
    let stack = service_fn(async |request: Request| {
        let sink = sink(&request);
        sink.open();
        tokio::task::yield_now().await;
        hint(&sink);
        sink.close();
        answer("final!")
    });
    let server = Server::start(&config(), stack);
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.read_until("!").starts_with(&format!("{HEAD}HTTP/1.1 200 OK\r\n")));
    }
}

// A fetch is a task of its own: it begins after the connection has gone to sleep.
#[test]
fn hints_of_another_task_arrive_though_it_opens_late() {
    let (release, wait) = watch::channel(false);
    let stack = service_fn(move |request: Request| {
        let mut wait = wait.clone();
        async move {
            let sink = sink(&request);
            let hints = sink.clone();
            drop(tokio::spawn(async move {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                hints.open();
                hint(&hints);
            }));
            let _ = wait.wait_for(|&released| released).await;
            sink.close();
            answer("final!")
        }
    });
    let server = Server::start(&config(), stack);
    let mut client = server.connect();
    for _ in 0..2 {
        release.send_replace(false);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.read_until("\r\n\r\n"), HEAD);
        release.send_replace(true);
        assert!(client.read_until("!").starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

// An exchange with an origin may go on when its request was answered, from the stored response.
#[test]
fn hints_of_an_answered_request_reach_no_other() {
    let earlier = std::sync::Mutex::new(None::<Interims>);
    let earlier = Arc::new(earlier);
    let stack = service_fn(move |request: Request| {
        let earlier = Arc::clone(&earlier);
        async move {
            let sink = sink(&request);
            sink.open();
            let late = earlier.lock().expect("no panic before").replace(sink.clone());
            if let Some(late) = late {
                hint(&late);
                late.open();
                hint(&late);
                late.close();
                tokio::task::yield_now().await;
                hint(&sink);
            }
            sink.close();
            answer("final!")
        }
    });
    let server = Server::start(&config(), stack);
    let mut client = server.connect();
    let mut ask = || {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_until("!")
    };
    assert!(ask().starts_with("HTTP/1.1 200 OK\r\n"));
    for _ in 0..3 {
        let answer = ask();
        assert!(answer.starts_with(&format!("{HEAD}HTTP/1.1 200 OK\r\n")), "{answer}");
    }
}

#[test]
fn the_version_is_ours_whatever_the_origin_spoke() {
    let stack = service_fn(async |_: Request| {
        answer("final!").map(|mut response| {
            *response.version_mut() = http::Version::HTTP_10;
            response
        })
    });
    let server = Server::start(&config(), stack);
    let mut client = server.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.read_until("!").starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn pipelined_answers_are_never_split_by_hints() {
    // The first answer is too large for the socket's buffers, so hyper still holds a part of it
    // when the second request is served.
    const LARGE: usize = 16 * 1024 * 1024;
    let stack = service_fn(async |request: Request| {
        let sink = sink(&request);
        sink.open();
        hint(&sink);
        tokio::task::yield_now().await;
        hint(&sink);
        sink.close();
        if request.head.uri.path() == "/large" {
            return Answer::Ok(http::Response::new(Body::from(Bytes::from(vec![b'x'; LARGE]))));
        }
        answer("final!")
    });
    let server = Server::start(&config(), stack);
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.0.shutdown(std::net::Shutdown::Write).expect("shut down");
    let read = client.read_to_end();
    let first = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
    let after = read.split_once(&first).expect("the first answer").1;
    assert!(after.as_bytes()[..LARGE].iter().all(|&byte| byte == b'x'), "unbroken");
    let rest = &after[LARGE..];
    assert!(rest.ends_with("final!"), "{rest}");
    assert_eq!(rest.replace(HEAD, "").matches("HTTP/1.1").count(), 1, "{rest}");
}

#[test]
fn old_clients_get_no_hints() {
    let stack = service_fn(async |request: Request| {
        let sink = sink(&request);
        sink.open();
        tokio::task::yield_now().await;
        hint(&sink);
        sink.close();
        answer("final!")
    });
    let server = Server::start(&config(), stack);
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(client.read_to_end().starts_with("HTTP/1.0 200 OK\r\n"));
}

#[test]
fn continue_and_hints_are_both_whole() {
    let stack = service_fn(async |request: Request| {
        let sink = sink(&request);
        sink.open();
        let crate::context::RequestBody::Stream(body) = request.body else {
            return answer("no body!");
        };
        let body = http_body_util::BodyExt::collect(body).await.expect("a body").to_bytes();
        hint(&sink);
        sink.close();
        answer(&format!("{}!", body.len()))
    });
    let server = Server::start(&config(), stack);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    let answer = client.read_until("!");
    assert!(answer.starts_with(HEAD) && answer.ends_with("\r\n\r\n4!"), "{answer}");
}

#[test]
fn upgrades_pass_the_guard() {
    let stack = service_fn(async |request: Request| {
        let upgrade = hyper::upgrade::on(http::Request::from_parts(request.head, ()));
        drop(tokio::spawn(async move {
            let io = upgrade.await.expect("upgraded");
            let (mut from, mut to) = tokio::io::split(hyper_util::rt::TokioIo::new(io));
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }));
        Answer::Ok(
            http::Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header(header::CONNECTION, "upgrade")
                .header(header::UPGRADE, "echo")
                .body(Body::Empty)
                .expect("a response"),
        )
    });
    let server = Server::start(&config(), stack);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    assert!(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    client.send("through!");
    assert_eq!(client.read_until("!"), "through!");
    assert!(server.counts("seawall_connections_open 1"), "a tunnel is a connection");
}
