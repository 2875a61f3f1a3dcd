//! HTTP/2 at both ends, by hyper: what matters here is above the frames.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::client::{Request, Response};
use super::message::{Fields, Io};
use super::origin::{Origin, Seen};
use super::within;

/// An HTTP/2 client connection; cloned, it is the same connection.
#[derive(Clone)]
pub struct H2Client {
    sender: SendRequest<Full<Bytes>>,
    scheme: &'static str,
}

impl H2Client {
    /// On cleartext, by prior knowledge.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        Self::over(stream, "http").await
    }

    /// On a stream that is already there, for URLs of this scheme.
    pub async fn over(io: impl Io + 'static, scheme: &'static str) -> Self {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(io));
        let (sender, connection) = within("the handshake", handshake).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self { sender, scheme }
    }

    /// The response; not complete where the stream was reset, even before its head.
    pub async fn exchange(&mut self, request: &Request) -> Response {
        let Ok(response) = self.try_begin(request).await else { return Response::default() };
        let (parts, mut body) = response.into_parts();
        let mut read = Response {
            status: parts.status.as_u16(),
            fields: fields(&parts.headers),
            ..Response::default()
        };
        loop {
            match within("more of the body", body.frame()).await {
                None => {
                    read.complete = true;
                    return read;
                }
                Some(Err(_)) => return read,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => read.body.extend(data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().expect("data or trailers");
                        read.trailers = fields(&trailers);
                    }
                },
            }
        }
    }

    /// A response's head, with the body still to be read.
    pub async fn begin(&mut self, request: &Request) -> http::Response<Incoming> {
        self.try_begin(request).await.expect("a response")
    }

    async fn try_begin(&mut self, request: &Request) -> hyper::Result<http::Response<Incoming>> {
        let uri = format!("{}://example.test{}", self.scheme, request.target);
        let mut builder = http::Request::builder().method(&*request.method).uri(uri);
        for (name, value) in &request.fields {
            builder = builder.header(name, value);
        }
        let body = Full::new(Bytes::from(request.body.clone().unwrap_or_default()));
        let request = builder.body(body).expect("a valid request");
        within("a response", self.sender.send_request(request)).await
    }
}

/// An origin that speaks HTTP/2 on cleartext and answers by `handler`: status, fields, body.
pub async fn h2_origin(
    handler: impl Fn(&Seen) -> (u16, Vec<(&'static str, &'static str)>, &'static str)
    + Send
    + Sync
    + 'static,
) -> Origin {
    let handler = Arc::new(handler);
    Origin::bind(move |shared, stream| {
        let handler = handler.clone();
        async move {
            let connection = shared.connected();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (handler, shared) = (handler.clone(), shared.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.map(|body| body.to_bytes().to_vec());
                    let mut seen = Seen {
                        method: parts.method.to_string(),
                        target: parts
                            .uri
                            .path_and_query()
                            .map(ToString::to_string)
                            .unwrap_or_default(),
                        fields: fields(&parts.headers),
                        body: body.unwrap_or_default(),
                        connection,
                        ..Seen::default()
                    };
                    if let Some(authority) = parts.uri.authority() {
                        seen.fields.push((":authority".to_owned(), authority.to_string()));
                    }
                    seen.number = shared.record(seen.clone());
                    let (status, fields, body) = handler(&seen);
                    let mut builder = http::Response::builder().status(status);
                    for (name, value) in fields {
                        builder = builder.header(name, value);
                    }
                    let response = builder.body(Full::new(Bytes::from(body)));
                    Ok::<_, Infallible>(response.expect("a valid response"))
                }
            });
            let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                // It would be of today, and the tests live in their own time.
                .auto_date_header(false)
                .serve_connection(TokioIo::new(stream), service);
            // Ends with an error when the proxy drops the connection.
            let _ = served.await;
        }
    })
    .await
}

fn fields(headers: &http::HeaderMap) -> Fields {
    let own = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    headers.iter().map(own).collect()
}
