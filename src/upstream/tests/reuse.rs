//! Which connections serve again, and what is sent twice.

use super::*;

#[tokio::test]
async fn a_connection_whose_answer_was_read_serves_again() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let (answer, mut peer) = tokio::join!(fetch(&origins, get()), origin.serve_one());
    assert_eq!(answer.as_deref(), Ok("ok"));
    for _ in 0..3 {
        let (answer, ()) = tokio::join!(fetch(&origins, get()), async {
            peer.head().await;
            peer.send(OK).await;
        });
        assert_eq!(answer.as_deref(), Ok("ok"));
    }
    assert!(origin.is_left_alone().await);
    let expected = UpstreamStats { open: 1, idle: 1, reused: 3, ..UpstreamStats::default() };
    assert_eq!(origins.stats(), [expected]);
}

#[tokio::test]
async fn a_chunked_answer_and_an_empty_one_free_their_connection() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let script = async {
        let mut peer = origin.accept().await;
        for answer in [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n",
        ] {
            peer.head().await;
            peer.send(answer).await;
        }
    };
    let client = async {
        for (method, expected) in [("GET", "ok"), ("GET", ""), ("GET", ""), ("HEAD", "")] {
            let answer = fetch(&origins, request(method, None)).await;
            assert_eq!(answer.as_deref(), Ok(expected));
        }
    };
    tokio::join!(script, client);
    assert_eq!(origins.stats()[0].reused, 3);
}

/// Uses up one connection's first exchange, then closes it when the second request has arrived.
async fn lose_the_second(origin: &Origin, origins: &Origins) -> Peer {
    let (answer, peer) = tokio::join!(fetch(origins, get()), origin.serve_one());
    assert_eq!(answer.as_deref(), Ok("ok"));
    peer
}

#[tokio::test]
async fn an_unanswered_idempotent_request_is_sent_once_more_on_a_fresh_connection() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let mut peer = lose_the_second(&origin, &origins).await;
    let script = async {
        peer.head().await;
        drop(peer);
        origin.serve_one().await
    };
    let (answer, _peer) = tokio::join!(fetch(&origins, get()), script);
    assert_eq!(answer.as_deref(), Ok("ok"));
    assert_eq!((origins.stats()[0].retried, origins.stats()[0].failures), (1, 0));
}

#[tokio::test]
async fn what_may_not_be_repeated_is_not() {
    for (method, content, policy) in [
        ("POST", Some("abc"), RetryReused::Idempotent),
        ("POST", None, RetryReused::Idempotent),
        ("PUT", Some("abc"), RetryReused::Idempotent),
        ("GET", None, RetryReused::Unsent),
    ] {
        let origin = Origin::start().await;
        let mut config = origin.config();
        config.retry_reused = policy;
        let origins = origins(&config);
        let mut peer = lose_the_second(&origin, &origins).await;
        let script = async {
            peer.head().await;
            peer.body(content.map_or(0, str::len)).await;
            drop(peer);
        };
        let (answer, ()) = tokio::join!(fetch(&origins, request(method, content)), script);
        assert_eq!(answer, Err(ErrorKind::ConnectionLost), "{method} {policy:?}");
        assert!(origin.is_left_alone().await);
        assert_eq!((origins.stats()[0].retried, origins.stats()[0].failures), (0, 1));
    }
}

#[tokio::test]
async fn a_begun_answer_is_not_asked_for_again() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let mut peer = lose_the_second(&origin, &origins).await;
    let script = async {
        peer.head().await;
        peer.send("HTTP/1.1 20").await;
        drop(peer);
    };
    let (answer, ()) = tokio::join!(fetch(&origins, get()), script);
    assert_eq!(answer, Err(ErrorKind::ConnectionLost));
    assert!(origin.is_left_alone().await);
}

#[tokio::test]
async fn a_fresh_connection_that_is_lost_is_the_outcome() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let script = async {
        let mut peer = origin.accept().await;
        peer.head().await;
    };
    let (answer, ()) = tokio::join!(fetch(&origins, get()), script);
    assert_eq!(answer, Err(ErrorKind::ConnectionLost));
    assert!(origin.is_left_alone().await);
}

/// The connection's end and the next request reach its task in one turn, the end first: the
/// request comes back unsent. The runtime looks at its sockets after every task, and the spawned
/// tasks stand before the connection's in the queue, so this is no matter of luck.
#[test]
fn a_request_that_was_handed_back_unsent_is_sent_again_whatever_its_method() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().event_interval(1).build().expect("a runtime");
    runtime.block_on(async {
        let origin = Origin::start().await;
        let origins = origins(&origin.config());
        let peer = lose_the_second(&origin, &origins).await;
        assert_eq!(origins.stats()[0].idle, 1);
        // The connection's task comes to rest first.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        drop(peer);
        for _ in 0..8 {
            tokio::spawn(async {});
        }
        let script = async {
            let mut peer = origin.accept().await;
            peer.head().await;
            assert_eq!(peer.body(3).await, "abc");
            peer.send(OK).await;
            peer
        };
        let (answer, _peer) = tokio::join!(fetch(&origins, request("POST", Some("abc"))), script);
        assert_eq!(answer.as_deref(), Ok("ok"));
        assert_eq!((origins.stats()[0].retried, origins.stats()[0].failures), (1, 0));
    });
}

#[tokio::test]
async fn surplus_bytes_and_a_closing_answer_end_their_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok-and-more",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let origin = Origin::start().await;
        let origins = origins(&origin.config());
        let script = async {
            let mut peer = origin.accept().await;
            peer.head().await;
            peer.send(answer).await;
            peer.is_closed().await;
            origin.serve_one().await
        };
        let client = async {
            assert_eq!(fetch(&origins, get()).await.as_deref(), Ok("ok"));
            assert_eq!(fetch(&origins, get()).await.as_deref(), Ok("ok"));
        };
        tokio::join!(script, client);
        assert_eq!(origins.stats()[0].reused, 0, "{answer}");
    }
}

/// An answer with so many fields beside its length.
fn with_fields(number: usize) -> String {
    let fields = "x: y\r\n".repeat(number);
    format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok")
}

#[tokio::test]
async fn an_answer_with_many_fields_is_asked_for_on_a_wider_connection_and_the_next_one_at_once() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let (first, mut narrow) = two_connections(&origin, &origins).await;
    let script = async {
        narrow.head().await;
        narrow.send(&with_fields(200)).await;
        narrow.is_closed().await;
        let mut wide = origin.accept().await;
        for _ in 0..2 {
            wide.head().await;
            wide.send(&with_fields(200)).await;
        }
    };
    let client = async {
        for _ in 0..2 {
            assert_eq!(fetch(&origins, get()).await.as_deref(), Ok("ok"));
        }
    };
    tokio::join!(script, client);
    assert!(origin.is_left_alone().await);
    assert_eq!((origins.stats()[0].retried, origins.stats()[0].reused), (1, 2));
    drop(first);
}

/// Two connections at rest, of which the first one is wide, and the second is used first.
async fn two_connections(origin: &Origin, origins: &Origins) -> (Peer, Peer) {
    let (begun, waiting) = tokio::sync::oneshot::channel();
    let script = async {
        let mut first = origin.accept().await;
        first.head().await;
        begun.send(()).expect("the second request waits for that");
        let second = origin.serve_one().await;
        first.send(OK).await;
        (first, second)
    };
    let second = async {
        waiting.await.expect("the first request has begun");
        fetch(origins, get()).await
    };
    let (.., peers) = tokio::join!(fetch(origins, get()), second, script);
    assert_eq!(origins.stats()[0].idle, 2);
    peers
}

#[tokio::test]
async fn what_may_not_be_repeated_has_room_for_many_fields_from_the_start() {
    for (method, content) in [("POST", None), ("PUT", Some("abc"))] {
        let origin = Origin::start().await;
        let origins = origins(&origin.config());
        let (mut wide, usual) = two_connections(&origin, &origins).await;
        let script = async {
            wide.head().await;
            wide.body(content.map_or(0, str::len)).await;
            wide.send(&with_fields(200)).await;
        };
        let client = async {
            let answer = fetch(&origins, request(method, content)).await;
            assert_eq!(answer.as_deref(), Ok("ok"), "{method}");
        };
        tokio::join!(script, client);
        assert!(origin.is_left_alone().await);
        assert_eq!((origins.stats()[0].retried, origins.stats()[0].reused), (0, 1));
        drop(usual);
    }
}

#[tokio::test]
async fn an_answer_that_no_connection_would_take_is_asked_for_once_more_and_not_again() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let (mut first, mut usual) = two_connections(&origin, &origins).await;
    let script = async {
        usual.head().await;
        usual.send(&with_fields(300)).await;
        usual.is_closed().await;
        let mut fresh = origin.accept().await;
        for wide in [&mut fresh, &mut first] {
            wide.head().await;
            wide.send(&with_fields(300)).await;
            wide.is_closed().await;
        }
    };
    let client = async {
        for _ in 0..2 {
            let outcome = fetch(&origins, get()).await;
            assert_eq!(outcome, Err(ErrorKind::ResponseHeadTooLarge));
        }
    };
    tokio::join!(script, client);
    assert!(origin.is_left_alone().await);
    assert_eq!(origins.stats()[0].retried, 1);
}

#[tokio::test]
async fn a_body_that_is_dropped_early_closes_its_connection() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let script = async {
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nok").await;
        peer.is_closed().await;
    };
    let client = async {
        let response = send(&origins, get()).await.expect("a head");
        drop(response);
    };
    tokio::join!(script, client);
    assert_eq!(origins.stats()[0].idle, 0);
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let mut sending = Box::pin(origins.send(0, get()));
    let mut peer = tokio::select! {
        _ = &mut sending => unreachable!("nobody answers"),
        peer = async { let mut peer = origin.accept().await; peer.head().await; peer } => peer,
    };
    drop(sending);
    peer.is_closed().await;
    assert_eq!(origins.stats()[0].idle, 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_when_its_time_is_up() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.idle_timeout = Duration::from_millis(20);
    let origins = origins(&config);
    let (_, mut peer) = tokio::join!(fetch(&origins, get()), origin.serve_one());
    peer.is_closed().await;
    assert_eq!(origins.stats()[0].idle, 0);
}

#[tokio::test]
async fn no_more_than_max_idle_connections_are_kept() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.max_idle = 1;
    let origins = origins(&config);
    let script = async { [origin.serve_one().await, origin.serve_one().await] };
    let (.., mut peers) = tokio::join!(fetch(&origins, get()), fetch(&origins, get()), script);
    assert_eq!(origins.stats()[0].idle, 1);
    let [first, second] = &mut peers;
    tokio::select! { () = first.is_closed() => {}, () = second.is_closed() => {} }
}

#[tokio::test]
async fn an_early_answer_to_an_unfinished_upload_ends_the_connection() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let (_keep, content) = tokio::sync::mpsc::channel::<()>(1);
    let script = async {
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno").await;
        peer.is_closed().await;
    };
    let client = async {
        let mut upload = request("POST", None);
        upload.body = OriginRequestBody::Stream(Box::pin(wire::Stalled(content)));
        assert_eq!(fetch(&origins, upload).await.as_deref(), Ok("no"));
    };
    tokio::join!(script, client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_reused_where_their_tasks_run_on_other_threads() {
    const REQUESTS: u64 = 200;
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let server = tokio::spawn(async move {
        loop {
            let mut peer = origin.accept().await;
            tokio::spawn(async move {
                while matches!(peer.0.peek(&mut [0]).await, Ok(1)) {
                    peer.head().await;
                    peer.send(OK).await;
                }
            });
        }
    });
    for _ in 0..REQUESTS {
        assert_eq!(fetch(&origins, get()).await.as_deref(), Ok("ok"));
    }
    server.abort();
    // Now and then the next request is faster than the connection comes to rest.
    assert!(origins.stats()[0].reused > REQUESTS / 2, "{:?}", origins.stats());
}
