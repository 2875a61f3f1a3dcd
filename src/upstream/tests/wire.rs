//! What an origin reads, and what uploads and trailers do.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use http::HeaderMap;
use http_body::Frame;
use tokio::sync::mpsc;

use super::*;

/// A body that never yields, for as long as the channel's other end lives.
pub(super) struct Stalled(pub(super) mpsc::Receiver<()>);

impl http_body::Body for Stalled {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        self.0.poll_recv(cx).map(|_| None)
    }
}

pub(super) fn frames(frames: Vec<Result<Frame<Bytes>, ProxyError>>) -> OriginRequestBody {
    let stream = futures_util::stream::iter(frames);
    OriginRequestBody::Stream(Box::pin(http_body_util::StreamBody::new(stream)))
}

#[tokio::test]
async fn a_request_is_written_in_origin_form_with_its_length() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let script = async {
        let mut peer = origin.accept().await;
        let head = peer.head().await;
        assert_eq!(head, "POST /a?b HTTP/1.1\r\nhost: www.example\r\ncontent-length: 3\r\n\r\n");
        assert_eq!(peer.body(3).await, "abc");
        peer.send(OK).await;
        peer
    };
    let (answer, _peer) = tokio::join!(fetch(&origins, request("POST", Some("abc"))), script);
    assert_eq!(answer.as_deref(), Ok("ok"));
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let script = async {
        let mut peer = origin.accept().await;
        let head = peer.head().await;
        assert!(head.contains("te: trailers\r\n") && head.contains("connection: te\r\n"), "{head}");
        assert_eq!(peer.body(20).await, "2\r\nok\r\n0\r\nsum: 1\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: sum\r\n\r\n").await;
        peer.send("2\r\nok\r\n0\r\nsum: 2\r\n\r\n").await;
        peer
    };
    let client = async {
        let mut trailers = HeaderMap::new();
        trailers.insert("sum", HeaderValue::from_static("1"));
        let mut upload = request("POST", None);
        upload.te_trailers = true;
        upload.head.headers.insert("trailer", HeaderValue::from_static("sum"));
        let data = Frame::data(Bytes::from_static(b"ok"));
        upload.body = frames(vec![Ok(data), Ok(Frame::trailers(trailers))]);
        let response = send(&origins, upload).await.expect("a head");
        let body = response.into_body().collect().await.expect("a whole body");
        assert_eq!(body.trailers().expect("trailers")["sum"], "2");
    };
    tokio::join!(script, client);
    assert_eq!(origins.stats()[0].idle, 1);
}

#[tokio::test]
async fn a_client_that_fails_in_its_upload_is_told_so_and_the_connection_is_closed() {
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let script = async {
        let mut peer = origin.accept().await;
        // Head and first chunk may arrive before the connection is closed.
        let mut rest = Vec::new();
        let _ = peer.0.read_to_end(&mut rest).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "the upload looks whole");
    };
    let client = async {
        let mut upload = request("POST", None);
        let data = Frame::data(Bytes::from_static(b"ok"));
        upload.body = frames(vec![Ok(data), Err(ErrorKind::ClientTimeout.into())]);
        assert_eq!(fetch(&origins, upload).await, Err(ErrorKind::ClientTimeout));
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn an_upload_that_moves_does_not_use_up_the_first_byte_timeout() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.first_byte_timeout = Duration::from_millis(200);
    let origins = origins(&config);
    let ticks = futures_util::stream::unfold(0, |count| async move {
        tokio::time::interval_at(
            Instant::now() + Duration::from_millis(60),
            Duration::from_secs(1),
        )
        .tick()
        .await;
        (count < 8).then(|| (Ok(Frame::data(Bytes::from_static(b"x"))), count + 1))
    });
    let script = async {
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.body(8 * 6 + 5).await;
        peer.send(OK).await;
        peer
    };
    let mut upload = request("POST", None);
    upload.body = OriginRequestBody::Stream(Box::pin(http_body_util::StreamBody::new(ticks)));
    let (answer, _peer) = tokio::join!(fetch(&origins, upload), script);
    assert_eq!(answer.as_deref(), Ok("ok"));
}

#[tokio::test]
async fn a_name_with_several_addresses_is_reached_at_the_one_that_answers() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.host = "localhost".to_owned();
    let origins = origins(&config);
    let (answer, _peer) = tokio::join!(fetch(&origins, get()), origin.serve_one());
    assert_eq!(answer.as_deref(), Ok("ok"));
}

#[tokio::test]
async fn a_large_body_passes_whole_and_no_faster_than_it_is_read() {
    const SIZE: usize = 64 << 20;
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let script = async {
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n")).await;
        let block = vec![7; 1 << 20];
        for _ in 0..SIZE >> 20 {
            peer.0.write_all(&block).await.expect("the client is there");
            sent.fetch_add(block.len(), Ordering::Relaxed);
        }
        peer
    };
    let client = async {
        let mut body = send(&origins, get()).await.expect("a head").into_body();
        // Unread, the body stays where it is but for the buffers on its way.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(sent.load(Ordering::Relaxed) < SIZE / 2);
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            let data = frame.expect("no error").into_data().expect("data");
            assert!(data.iter().all(|&byte| byte == 7));
            received += data.len();
        }
        assert_eq!(received, SIZE);
    };
    tokio::join!(script, client);
}

#[test]
fn a_sending_future_is_not_a_burden_to_move() {
    let origins = Origins::new(&Shared::new(&[]).expect("nothing to set up"));
    let size = size_of_val(&origins.send(0, get()));
    assert!(size <= 2 << 10, "{size}");
}

#[tokio::test]
async fn an_early_refusal_by_an_origin_that_hangs_up_is_still_the_answer() {
    const REFUSAL: &str =
        "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
    let origin = Origin::start().await;
    let origins = origins(&origin.config());
    let block = Bytes::from(vec![0; 64 << 10]);
    for _ in 0..5 {
        let script = async {
            let mut peer = origin.accept().await;
            peer.head().await;
            // Dropped with content unread: the client's next write is answered with a reset.
            peer.send(REFUSAL).await;
        };
        let mut upload = request("POST", None);
        upload.body = frames((0..256).map(|_| Ok(Frame::data(block.clone()))).collect());
        let (answer, ()) = tokio::join!(fetch(&origins, upload), script);
        assert_eq!(answer.as_deref(), Ok("no"));
    }
}
