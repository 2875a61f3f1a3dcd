//! TLS and HTTP/2 origins, played by hyper's own server.

use std::convert::Infallible;
use std::path::PathBuf;

use futures_util::StreamExt;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Answers with the version and the authority that it sees. A request with a `cut` field sees its
/// answer's stream reset when its own content is over; one with `late` is answered only then.
async fn answer(
    request: Request<Incoming>,
) -> Result<Response<http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>>, Infallible>
{
    let host = request.headers().get("host").map(|host| host.to_str().unwrap_or("?").to_owned());
    let authority = request.uri().authority().map(ToString::to_string).or(host);
    let seen = format!("{:?} {}", request.version(), authority.unwrap_or_default());
    let cut = request.headers().contains_key("cut");
    let request = if request.headers().contains_key("late") {
        let (head, content) = request.into_parts();
        let _ = content.collect().await;
        Request::from_parts(head, None)
    } else {
        request.map(Some)
    };
    let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from(seen)))]);
    let rest = futures_util::stream::once(async move {
        if let Some(content) = request.into_body() {
            let _ = content.collect().await;
        }
        Err(std::io::Error::other("cut"))
    });
    let frames = first.chain(rest).take(if cut { 2 } else { 1 });
    Ok(Response::new(BodyExt::boxed_unsync(http_body_util::StreamBody::new(frames))))
}

async fn serve_http2<S>(stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

#[tokio::test]
async fn http2_by_prior_knowledge_shares_one_connection() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.version = Version::Http2;
    let origins = origins(&config);
    let server = tokio::spawn(async move {
        serve_http2(origin.accept().await.0).await;
        origin
    });
    let all = (0..20).map(|_| fetch(&origins, get()));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.as_deref(), Ok("HTTP/2.0 www.example"));
    }
    assert_eq!(
        fetch(&origins, request("POST", Some("abc"))).await.as_deref(),
        Ok("HTTP/2.0 www.example")
    );
    let stats = origins.stats()[0];
    assert_eq!((stats.open, stats.idle, stats.failures), (1, 1, 0));
    assert_eq!(cut_short(&origins).await, Err(ErrorKind::BodyTruncated));
    drop(origins);
    let origin = server.await.expect("the connection ends with its last user");
    assert!(origin.is_left_alone().await);
}

/// Lets the origin reset the stream after the head and a part of the body have come.
async fn cut_short(origins: &Origins) -> Result<String, ErrorKind> {
    let (end, content) = tokio::sync::mpsc::channel(1);
    let mut cut = request("POST", None);
    cut.head.headers.insert("cut", HeaderValue::from_static("1"));
    cut.body = OriginRequestBody::Stream(Box::pin(wire::Stalled(content)));
    let mut response = send(origins, cut).await?;
    let first = response.body_mut().frame().await.expect("a frame").map_err(|error| error.kind)?;
    assert!(first.is_data());
    drop(end);
    text(response).await
}

#[tokio::test]
async fn an_http2_stream_that_is_reset_before_its_head_is_not_asked_for_again() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.version = Version::Http2;
    let origins = origins(&config);
    let server = tokio::spawn(async move {
        serve_http2(origin.accept().await.0).await;
        origin
    });
    assert!(fetch(&origins, get()).await.is_ok());
    let mut cut = get();
    cut.head.headers.insert("cut", HeaderValue::from_static("1"));
    assert!(fetch(&origins, cut).await.is_err());
    assert_eq!(origins.stats()[0].retried, 0);
    drop(origins);
    assert!(server.await.expect("the connection ends").is_left_alone().await);
}

#[tokio::test]
async fn an_http2_connection_that_ended_is_replaced() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.version = Version::Http2;
    let origins = origins(&config);
    for _ in 0..2 {
        // The connection is dropped as soon as it has served.
        let serving = async { serve_http2(origin.accept().await.0).await };
        tokio::select! {
            answer = fetch(&origins, get()) => {
                assert_eq!(answer.as_deref(), Ok("HTTP/2.0 www.example"));
            }
            () = serving => unreachable!("the client keeps its connection"),
        }
    }
    assert_eq!(origins.stats()[0].failures, 0);
}

#[tokio::test]
async fn a_client_that_fails_in_its_upload_is_told_so_on_http2_too() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.version = Version::Http2;
    let origins = origins(&config);
    let serving = async { serve_http2(origin.accept().await.0).await };
    let mut upload = request("POST", None);
    // The origin answers when the upload is over, so the failure comes first.
    upload.head.headers.insert("late", HeaderValue::from_static("1"));
    upload.body = wire::frames(vec![
        Ok(Frame::data(Bytes::from_static(b"ok"))),
        Err(ErrorKind::ClientTimeout.into()),
    ]);
    tokio::select! {
        answer = fetch(&origins, upload) => assert_eq!(answer, Err(ErrorKind::ClientTimeout)),
        () = serving => unreachable!("the client keeps its connection"),
    }
}

#[tokio::test]
async fn a_full_http2_connection_gets_a_sibling() {
    let origin = Origin::start().await;
    let mut config = origin.config();
    config.version = Version::Http2;
    let origins = origins(&config);
    let server = tokio::spawn(async move {
        loop {
            let stream = origin.accept().await.0;
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.max_concurrent_streams(1);
            let serving = server.serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(async move { serving.await.is_ok() });
        }
    });
    // By the end of this exchange, the origin's settings have come.
    assert!(fetch(&origins, get()).await.is_ok());
    let (end, content) = tokio::sync::mpsc::channel(1);
    let mut long = request("POST", None);
    long.head.headers.insert("cut", HeaderValue::from_static("1"));
    long.body = OriginRequestBody::Stream(Box::pin(wire::Stalled(content)));
    let long = send(&origins, long).await.expect("a head");
    assert_eq!(origins.stats()[0].open, 1);
    assert!(fetch(&origins, get()).await.is_ok());
    assert_eq!(origins.stats()[0].open, 2);
    drop((long, end));
    server.abort();
}

/// A TLS origin for `www.example` that offers `protocols`, and its authority's file.
struct Secure {
    origin: Origin,
    acceptor: TlsAcceptor,
    ca: PathBuf,
}

impl Secure {
    async fn start(protocols: &[&str]) -> Self {
        let key = rcgen::generate_simple_self_signed(vec!["www.example".to_owned()])
            .expect("a certificate");
        let origin = Origin::start().await;
        let file = format!("seawall-{}-{}.pem", std::process::id(), origin.port());
        let ca = std::env::temp_dir().join(file);
        std::fs::write(&ca, key.cert.pem()).expect("a temporary file");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let secret = PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key");
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], secret)
            .expect("a certificate and its key");
        server.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { origin, acceptor: TlsAcceptor::from(Arc::new(server)), ca }
    }

    fn config(&self, version: Version) -> Config {
        let mut config = Config::new("origin", true, "127.0.0.1", self.origin.port());
        config.ca = Some(self.ca.clone());
        config.version = version;
        config
    }

    /// Serves one connection; the name that it was asked for.
    async fn serve(&self) -> Option<String> {
        let stream = self.acceptor.accept(self.origin.accept().await.0).await.ok()?;
        let connection = stream.get_ref().1;
        let name = connection.server_name().map(str::to_owned);
        if connection.alpn_protocol() == Some(b"h2") {
            tokio::spawn(serve_http2(stream));
        } else {
            tokio::spawn(async move {
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
        name
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca);
    }
}

#[tokio::test]
async fn alpn_decides_the_version() {
    for (offered, version, expected) in [
        (&["h2", "http/1.1"][..], Version::Auto, "HTTP/2.0 www.example"),
        (&["http/1.1"], Version::Auto, "HTTP/1.1 www.example"),
        (&[], Version::Auto, "HTTP/1.1 www.example"),
        (&["h2", "http/1.1"], Version::Http1, "HTTP/1.1 www.example"),
        (&["h2"], Version::Http2, "HTTP/2.0 www.example"),
    ] {
        let secure = Secure::start(offered).await;
        let origins = origins(&secure.config(version));
        let (answer, name) = tokio::join!(fetch(&origins, get()), secure.serve());
        assert_eq!(answer.as_deref(), Ok(expected), "{offered:?} {version:?}");
        assert_eq!(name.as_deref(), Some("www.example"));
        assert_eq!(fetch(&origins, get()).await.as_deref(), Ok(expected));
        assert_eq!(origins.stats()[0].open, 1);
    }
}

#[tokio::test]
async fn an_upgrade_goes_over_http1_where_the_version_is_open() {
    let secure = Secure::start(&["h2", "http/1.1"]).await;
    let origins = origins(&secure.config(Version::Auto));
    let mut asking = get();
    asking.upgrade = Some(HeaderValue::from_static("websocket"));
    let (answer, _) = tokio::join!(fetch(&origins, asking), secure.serve());
    assert_eq!(answer.as_deref(), Ok("HTTP/1.1 www.example"));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_nobody_looks() {
    let secure = Secure::start(&["http/1.1"]).await;
    let mut config = secure.config(Version::Http1);
    config.sni = Some("other.example".to_owned());
    let refusing = origins(&config);
    let (answer, _) = tokio::join!(fetch(&refusing, get()), secure.serve());
    assert_eq!(answer, Err(ErrorKind::TlsFailed));
    config.verify = false;
    let trusting = origins(&config);
    let (answer, name) = tokio::join!(fetch(&trusting, get()), secure.serve());
    assert_eq!(answer.as_deref(), Ok("HTTP/1.1 www.example"));
    assert_eq!(name.as_deref(), Some("other.example"));
}

#[tokio::test]
async fn an_http2_origin_has_to_offer_it() {
    let secure = Secure::start(&[]).await;
    let origins = origins(&secure.config(Version::Http2));
    let (answer, _) = tokio::join!(fetch(&origins, get()), secure.serve());
    assert_eq!(answer, Err(ErrorKind::TlsFailed));
}

#[tokio::test]
async fn an_origin_that_answers_in_plain_text_is_a_tls_failure() {
    let secure = Secure::start(&[]).await;
    let origins = origins(&secure.config(Version::Http1));
    let script = async {
        let mut peer = secure.origin.accept().await;
        peer.send(OK).await;
        peer
    };
    let (answer, _peer) = tokio::join!(fetch(&origins, get()), script);
    assert_eq!(answer, Err(ErrorKind::TlsFailed));
}

#[tokio::test]
async fn connections_are_kept_apart_by_the_name_that_was_verified() {
    let secure = Secure::start(&["http/1.1"]).await;
    let mut config = secure.config(Version::Http1);
    config.verify = false;
    let origins = origins(&config);
    for (host, fresh) in [("a.example", true), ("b.example", true), ("a.example", false)] {
        let mut asking = get();
        asking.head.uri = format!("https://{host}/").parse().expect("a URI");
        let expected = format!("HTTP/1.1 {host}");
        let answer = if fresh {
            let (answer, name) = tokio::join!(fetch(&origins, asking), secure.serve());
            assert_eq!(name.as_deref(), Some(host));
            answer
        } else {
            fetch(&origins, asking).await
        };
        assert_eq!(answer, Ok(expected));
    }
    assert_eq!(origins.stats()[0].open, 2);
}
