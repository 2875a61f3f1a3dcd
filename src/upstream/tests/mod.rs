//! The upstream against origins that are scripted byte by byte on real sockets.

mod driving;
mod faults;
mod interim;
mod reuse;
mod secure;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Long enough for anything that should happen, short enough to fail a test in.
const PATIENCE: Duration = Duration::from_secs(20);

/// An origin whose every byte the test writes.
struct Origin(TcpListener);

impl Origin {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("it is bound").port()
    }

    fn config(&self) -> Config {
        Config::new("origin", false, "127.0.0.1", self.port())
    }

    async fn accept(&self) -> Peer {
        let accepted = tokio::time::timeout(PATIENCE, self.0.accept()).await;
        Peer(accepted.expect("a connection in time").expect("a connection").0)
    }

    /// Accepts a connection and answers its first request with [`OK`].
    async fn serve_one(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.head().await;
        peer.send(OK).await;
        peer
    }

    /// Whether nobody is connecting.
    async fn is_left_alone(&self) -> bool {
        use futures_util::FutureExt;
        tokio::task::yield_now().await;
        self.0.accept().now_or_never().is_none()
    }
}

/// The origin's side of one connection.
struct Peer(TcpStream);

impl Peer {
    /// Reads to the end of a request's head.
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("a whole head"));
        }
        String::from_utf8(head).expect("plain text")
    }

    async fn body(&mut self, length: usize) -> String {
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("the whole body");
        String::from_utf8(body).expect("plain text")
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("the client is there");
    }

    /// Resolves when the client has closed the connection; fails if it sends more.
    async fn is_closed(&mut self) {
        let read = tokio::time::timeout(PATIENCE, self.0.read(&mut [0; 64])).await;
        assert!(matches!(read.expect("closed in time"), Ok(0) | Err(_)), "the client sent more");
    }
}

fn origins(config: &Config) -> Origins {
    let configs = std::slice::from_ref(config);
    Origins::new(&Shared::new(configs).expect("valid settings"))
}

fn request(method: &str, content: Option<&'static str>) -> OriginRequest {
    let head = http::Request::builder().method(method).uri("http://www.example/a?b");
    let body = content.map_or(OriginRequestBody::Empty, |content| {
        let content = Full::new(Bytes::from_static(content.as_bytes()));
        OriginRequestBody::Stream(Box::pin(content.map_err(|never| match never {})))
    });
    let head = head.body(()).expect("a valid request").into_parts().0;
    OriginRequest { head, body, interim: None, upgrade: None, spares: false, te_trailers: false }
}

fn get() -> OriginRequest {
    request("GET", None)
}

async fn send(
    origins: &Origins,
    request: OriginRequest,
) -> Result<http::Response<Box<OriginBody>>, ErrorKind> {
    let sent = tokio::time::timeout(PATIENCE, origins.send(0, request)).await;
    sent.expect("an outcome in time").map_err(|error| error.kind)
}

async fn text(response: http::Response<Box<OriginBody>>) -> Result<String, ErrorKind> {
    let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await;
    let body = body.expect("an end in time").map_err(|error| error.kind)?;
    Ok(String::from_utf8(body.to_bytes().to_vec()).expect("plain text"))
}

/// Sends `request` and reads the whole answer.
async fn fetch(origins: &Origins, request: OriginRequest) -> Result<String, ErrorKind> {
    text(send(origins, request).await?).await
}

/// What the rooms above build on: bodies can be erased, and clones shared by threads.
#[test]
fn the_public_types_can_move_between_threads() {
    fn is_shareable<T: Clone + Send + Sync + 'static>() {}
    is_shareable::<Origins>();
    let _: fn(OriginBody) -> crate::body::Body = crate::body::Body::stream;
}
