//! What is measured, and connections to it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use seawall::config::Origin;
use seawall::upstream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::Failure;

/// Flow-control windows of HTTP/2: a stream's, and a connection's.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Bound on an answer's header section, in bytes.
const MAX_HEAD: u32 = 256 * 1024;

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without.
    Http2,
}

/// Whom to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    /// Authorities in this file, instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// Anybody.
    pub(crate) insecure: bool,
}

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Target {
    addresses: Arc<[SocketAddr]>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// As asked for; without one, what TLS comes to, else HTTP/1.1.
    wanted: Option<Version>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Why nothing can be sent anywhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// The name has no address.
    #[error("cannot find {host}: {cause}")]
    Unknown {
        /// The host.
        host: String,
        /// Why.
        cause: io::Error,
    },
    /// The certificates can't be used.
    #[error(transparent)]
    Tls(#[from] upstream::SetupError),
    /// The host can't be asked for in TLS.
    #[error("`{0}` is not a name that a certificate can have")]
    Name(String),
}

impl Target {
    /// Finds out the addresses, which stay what they are, and reads certificates.
    ///
    /// # Errors
    /// [`TargetError`].
    pub(crate) fn new(
        origin: &Origin,
        wanted: Option<Version>,
        trust: &Trust,
    ) -> Result<Self, TargetError> {
        Self::named(origin, &origin.host, wanted, trust)
    }

    /// The same, where the server has another name than it is found by: the certificate has to be
    /// for that.
    ///
    /// # Errors
    /// [`TargetError`].
    pub(crate) fn named(
        origin: &Origin,
        name: &str,
        wanted: Option<Version>,
        trust: &Trust,
    ) -> Result<Self, TargetError> {
        use std::net::ToSocketAddrs;
        let host = origin.host.as_str();
        let unknown = |cause| TargetError::Unknown { host: host.to_owned(), cause };
        let addresses: Arc<[_]> = (host, origin.port).to_socket_addrs().map_err(unknown)?.collect();
        let tls = if origin.tls {
            let mut config = upstream::Config::new("bench", true, host, origin.port);
            config.verify = !trust.insecure;
            config.ca.clone_from(&trust.ca);
            config.version = match wanted {
                Some(Version::Http1) => upstream::Version::Http1,
                Some(Version::Http2) => upstream::Version::Http2,
                None => upstream::Version::Auto,
            };
            let server = ServerName::try_from(name.to_owned());
            let server = server.map_err(|_| TargetError::Name(name.to_owned()))?;
            Some((upstream::tls_connector(&config)?, server))
        } else {
            None
        };
        Ok(Self { addresses, tls, wanted })
    }

    /// Makes a connection, to the first address that takes it.
    ///
    /// # Errors
    /// The failure, and what the system or the library says.
    pub(crate) async fn connect(&self) -> Result<Sender, (Failure, String)> {
        let mut failed = (Failure::Unreachable, "the host has no address".to_owned());
        for address in self.addresses.iter() {
            match TcpStream::connect(address).await {
                Ok(tcp) => {
                    // A request is written at once: there is nothing to gather. Where it can't be
                    // set, the connection works all the same.
                    let _ = tcp.set_nodelay(true);
                    return self.speak(tcp).await;
                }
                Err(error) => {
                    failed = (Failure::of_connecting(&error), format!("{address}: {error}"));
                }
            }
        }
        Err(failed)
    }

    async fn speak(&self, tcp: TcpStream) -> Result<Sender, (Failure, String)> {
        let (stream, chosen) = match &self.tls {
            None => (Stream::Plain(tcp), None),
            Some((connector, name)) => {
                let secured = connector.connect(name.clone(), tcp).await;
                let stream = secured.map_err(|error| (Failure::Tls, error.to_string()))?;
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let chosen = if is_http2 { Version::Http2 } else { Version::Http1 };
                (Stream::Tls(Box::new(stream)), Some(chosen))
            }
        };
        let version = match (self.wanted, chosen) {
            (Some(Version::Http2), Some(Version::Http1)) => {
                let said = "the server does not offer HTTP/2 (ALPN `h2`)".to_owned();
                return Err((Failure::Version, said));
            }
            (_, Some(chosen)) => chosen,
            (wanted, None) => wanted.unwrap_or(Version::Http1),
        };
        let lost = |error: hyper::Error| (Failure::Lost, error.to_string());
        match version {
            Version::Http1 => {
                let mut builder = http1::Builder::new();
                builder.max_header_size(MAX_HEAD as usize);
                let (sender, connection) =
                    builder.handshake(TokioIo::new(stream)).await.map_err(lost)?;
                // How it ends, requests are told.
                tokio::spawn(connection);
                Ok(Sender::Http1(sender))
            }
            Version::Http2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .max_header_list_size(MAX_HEAD);
                let (sender, connection) =
                    builder.handshake(TokioIo::new(stream)).await.map_err(lost)?;
                tokio::spawn(connection);
                Ok(Sender::Http2(sender))
            }
        }
    }
}

/// What requests are sent by.
#[derive(Debug)]
pub(crate) enum Sender {
    /// One request at a time.
    Http1(http1::SendRequest<Empty<Bytes>>),
    /// Many at once.
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// A request that was not answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotAnswered {
    /// Why.
    pub(crate) failure: Failure,
    /// Whether nothing of it went out.
    pub(crate) is_unsent: bool,
}

impl Sender {
    /// Which HTTP it speaks.
    pub(crate) const fn version(&self) -> Version {
        match self {
            Self::Http1(_) => Version::Http1,
            Self::Http2(_) => Version::Http2,
        }
    }

    /// Whether nothing more can be sent.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    /// The same connection once more, where it takes many requests at once.
    pub(crate) fn share(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }

    /// Sends a request; the answer's head.
    pub(crate) async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<http::Response<hyper::body::Incoming>, NotAnswered> {
        let ready = match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        };
        if ready.is_err() {
            return Err(NotAnswered { failure: Failure::Lost, is_unsent: true });
        }
        let sent = match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut error| NotAnswered {
            failure: Failure::of_head(error.error()),
            is_unsent: error.take_message().is_some(),
        })
    }
}

/// Bytes to and from the server.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
