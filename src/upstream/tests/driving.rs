//! Who drives a connection: whoever waits for its answer, a task where nobody need, and nobody at rest.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;

/// How often somebody was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Woken {
    fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Lets the runtime look at its sockets until `is_so`.
async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes to that in time");
}

#[tokio::test]
async fn who_waits_is_woken_for_an_answer_and_never_again_by_its_connection() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let (_, mut peer) = tokio::join!(fetch(&origins, get()), origin.serve_one());

    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut first = Box::pin(fetch(&origins, get()));
    assert!(first.poll_unpin(&mut cx).is_pending());
    peer.head().await;
    assert_eq!(woken.times(), 0, "nothing has come yet");
    peer.send(OK).await;
    until(|| woken.times() > 0).await;
    assert!(first.poll_unpin(&mut cx).is_ready(), "head and body came at once");
    assert_eq!((woken.times(), origins.stats()[0].idle), (1, 1));

    // The same connection for somebody else, who lets it be closed.
    let (answer, ()) = tokio::join!(fetch(&origins, get()), async {
        peer.head().await;
        peer.send(OK).await;
    });
    assert_eq!(answer.as_deref(), Ok("ok"));
    drop(peer);
    until(|| origins.stats()[0].idle == 0).await;
    assert_eq!(woken.times(), 1, "it is the next one's, and then nobody's");
}

#[tokio::test]
async fn an_answer_in_many_pieces_is_read_by_who_waits_for_them() {
    const PIECES: usize = 50;
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let script = async {
        let mut peer = origin.accept().await;
        for _ in 0..2 {
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            for _ in 0..PIECES {
                peer.send("3\r\nabc\r\n").await;
                tokio::task::yield_now().await;
            }
            peer.send("0\r\n\r\n").await;
        }
    };
    let client = async {
        for _ in 0..2 {
            assert_eq!(fetch(&origins, get()).await, Ok("abc".repeat(PIECES)));
        }
    };
    tokio::join!(script, client);
    assert_eq!(origins.stats()[0].reused, 1);
}

#[tokio::test]
async fn what_was_lost_at_rest_costs_no_request_whatever_its_method() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    // More than are tried for one request.
    let script = async {
        let mut peers = Vec::new();
        for _ in 0..5 {
            let mut peer = origin.accept().await;
            peer.head().await;
            peers.push(peer);
        }
        for peer in &mut peers {
            peer.send(OK).await;
        }
        peers
    };
    let clients = futures_util::future::join_all((0..5).map(|_| fetch(&origins, get())));
    let (answers, peers) = tokio::join!(clients, script);
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("ok")));
    assert_eq!(origins.stats()[0].idle, 5);
    drop(peers);
    let script = async {
        let mut peer = origin.accept().await;
        peer.head().await;
        assert_eq!(peer.body(3).await, "abc");
        peer.send(OK).await;
        peer
    };
    let (answer, _peer) = tokio::join!(fetch(&origins, request("POST", Some("abc"))), script);
    assert_eq!(answer.as_deref(), Ok("ok"));
    assert_eq!(origins.stats()[0].failures, 0);
}

#[tokio::test]
async fn what_is_closed_at_rest_is_let_go_of_in_a_while() {
    let origin = Origin::start().await;
    let config = Config { idle_timeout: Duration::from_secs(3600), ..origin.config() };
    let origins = origins(&config);
    let (answer, mut peer) = tokio::join!(fetch(&origins, get()), origin.serve_one());
    assert_eq!(answer.as_deref(), Ok("ok"));
    // Whenever there is nothing else to do, time passes.
    tokio::time::pause();
    peer.0.shutdown().await.expect("it is open");
    peer.is_closed().await;
}

#[tokio::test]
async fn an_upload_goes_on_while_nobody_reads_its_answer() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let (content, pieces) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
    let pieces = stream::unfold(pieces, |mut pieces| async {
        pieces.recv().await.map(|piece| (piece, pieces))
    });
    let frames = pieces.map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
    let mut upload = request("POST", None);
    upload.body = OriginRequestBody::Stream(Box::pin(StreamBody::new(frames)));

    let (response, mut peer) = tokio::join!(send(&origins, upload), async {
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
        peer
    });
    content.send("abc").expect("it is still wanted");
    drop(content);
    assert_eq!(peer.body(13).await, "3\r\nabc\r\n0\r\n\r\n");
    peer.send("ok").await;
    assert_eq!(text(response.expect("a head")).await.as_deref(), Ok("ok"));
}

#[tokio::test]
async fn a_wait_that_moves_to_another_task_is_woken_there() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let mut fetching = Box::pin(async move { fetch(&origins, get()).await });
    let mut peer = tokio::select! {
        biased;
        _ = &mut fetching => unreachable!("nobody answers"),
        peer = async { let mut peer = origin.accept().await; peer.head().await; peer } => peer,
    };
    let elsewhere = tokio::spawn(fetching);
    tokio::task::yield_now().await;
    peer.send(OK).await;
    let answer = pin!(tokio::time::timeout(PATIENCE, elsewhere)).await;
    assert_eq!(answer.expect("in time").expect("no panic").as_deref(), Ok("ok"));
}
