//! One client connection: PROXY header, TLS, which HTTP version, then hyper to its end.

use std::cell::RefCell;
use std::error::Error as _;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::Handler;
use super::accept::Peer;
use super::bind::Manner;
use super::deadline::{End, Graceful, drive};
use super::farewell::Farewell;
use super::gather::{Gathered, Turns};
use super::guard::Guard;
use super::interim::Interim;
use super::proxy_protocol::{self, Addresses};
use super::pulse::Pulse;
use super::seats::{Permit, TooMany};
use super::service::{RequestIds, Stack};
use super::stream::Streams;
use super::transport::{Prefixed, Transport};
use super::{Control, Limits};
use crate::context::{Connection, InterimSink, Protocol};
use crate::shutdown::Shutdown;
use crate::telemetry::CoreMetrics;

/// The first bytes of HTTP/2 by prior knowledge (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// hyper's own bound on fields, within which it needs no allocation for them.
const INLINE_HEADERS: usize = 100;

/// Bytes of a connection's read buffer, and of small writes that are gathered.
const BUFFER: usize = 128 * 1024;

/// Bytes that an HTTP/2 stream may buffer beyond its client's window. They stand outside the memory
/// budget, and one client may open many streams and read none: enough to keep a connection busy,
/// and no more.
const STREAM_BUFFER: usize = 64 * 1024;

/// Bytes that a client may send ahead, on a stream and on its connection. Fixed: an adaptive window
/// grows as far as the client is fast, and what waits in it for a slow origin is memory that a
/// client chooses.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Protocol errors of an HTTP/2 client before its connection is ended (CVE-2023-44487's kin:
/// resets that the server is made to send).
const MAX_LOCAL_RESETS: usize = 64;

/// How often a silent HTTP/2 client is asked whether it lives, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What a worker's connections share.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) shutdown: Shutdown,
    pub(super) metrics: Arc<CoreMetrics>,
    pub(super) control: Control,
    ids: Arc<RequestIds>,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        count: usize,
        metrics: Arc<CoreMetrics>,
        shutdown: &Shutdown,
        control: &Control,
    ) -> Self {
        static START: OnceLock<u64> = OnceLock::new();
        let start = *START.get_or_init(|| RandomState::new().hash_one(0));
        Self {
            shutdown: shutdown.clone(),
            control: control.clone(),
            metrics,
            ids: Arc::new(RequestIds::new(start, index, count)),
        }
    }
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // A hit keeps the origin's Date.
        .auto_date_header(false)
        // A client that has sent all may shut down its side and still gets its answer.
        .half_close(true)
        .timer(TokioTimer::new())
        // Ours counts from the first byte, so that keep-alive has a time of its own.
        .header_read_timeout(None)
        .max_header_size(limits.max_header_bytes)
        .max_buf_size(limits.max_header_bytes.max(BUFFER));
    if limits.max_headers != INLINE_HEADERS {
        builder.max_headers(limits.max_headers);
    }
    builder
}

fn http2(limits: &Limits, metrics: &Arc<CoreMetrics>) -> http2::Builder<Streams> {
    let write_timeout = limits.write_timeout;
    let streams = Streams { write_timeout, metrics: Arc::clone(metrics) };
    let mut builder = http2::Builder::new(streams);
    builder
        .auto_date_header(false)
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_send_buf_size(STREAM_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Serves one connection to its end.
pub(super) async fn serve<S>(peer: Peer, manner: Arc<Manner>, stack: S, worker: Arc<Worker>)
where
    S: Handler,
{
    let begun = Instant::now();
    let Peer { stream, address: peer, mut permit } = peer;
    let limits = worker.control.limits();
    let terms = Terms { manner: &manner, limits: &limits, shutdown: &worker.shutdown, begun };
    match open(stream, peer, &mut permit, &terms).await {
        Ok(opened) => opened.serve(stack, permit, &worker, limits, begun).await,
        Err(error) => {
            match error {
                OpenError::TimedOut => worker.metrics.connection_timed_out(),
                OpenError::Tls(_) => worker.metrics.tls_failed(),
                OpenError::ProxyHeader(_) => worker.metrics.bad_request(),
                OpenError::TooMany(_) | OpenError::Io(_) | OpenError::Ended => {}
            }
            tracing::debug!(%peer, %error, "no HTTP connection");
        }
    }
}

/// By which a connection is opened.
struct Terms<'a> {
    manner: &'a Manner,
    limits: &'a Limits,
    shutdown: &'a Shutdown,
    begun: Instant,
}

/// Why a connection did not come to speak HTTP.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("timed out")]
    TimedOut,
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error(transparent)]
    ProxyHeader(#[from] proxy_protocol::HeaderError),
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the process is shutting down")]
    Ended,
}

/// A connection that is ready for HTTP.
struct Opened {
    transport: Transport,
    addresses: Addresses,
    secure: bool,
    protocol: Protocol,
}

async fn open(
    stream: TcpStream,
    peer: SocketAddr,
    permit: &mut Permit,
    terms: &Terms<'_>,
) -> Result<Opened, OpenError> {
    let Terms { manner, limits, shutdown, begun } = *terms;
    stream.set_nodelay(true)?;
    let mut addresses = Addresses { peer: canonical(peer), local: canonical(stream.local_addr()?) };
    let mut stream = Prefixed::new(stream);
    let balancer = addresses.peer;
    if manner.is_balancer(balancer.ip()) {
        let header = proxy_protocol::read(&mut stream, addresses);
        addresses =
            timeout(limits.handshake_timeout, header).await.map_err(|_| OpenError::TimedOut)??;
        if addresses.peer != balancer {
            permit.told(addresses.peer.ip())?;
        }
    }
    let Some(acceptor) = &manner.tls else {
        let protocol = if manner.http2 {
            let deadline = begun + limits.header_timeout;
            tell_protocol(&mut stream, deadline, shutdown).await?
        } else {
            Protocol::Http1
        };
        let transport = Transport::Plain(stream);
        return Ok(Opened { transport, addresses, secure: false, protocol });
    };
    let stream = timeout(limits.handshake_timeout, acceptor.accept(stream))
        .await
        .map_err(|_| OpenError::TimedOut)?
        .map_err(OpenError::Tls)?;
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    Ok(Opened { transport: Transport::Tls(Box::new(stream)), addresses, secure: true, protocol })
}

/// IPv4 clients of an IPv6 socket are IPv4 clients.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Reads until the first bytes are, or can no longer be, the preface of HTTP/2.
async fn tell_protocol(
    stream: &mut Prefixed<TcpStream>,
    deadline: Instant,
    shutdown: &Shutdown,
) -> Result<Protocol, OpenError> {
    let reading = async {
        loop {
            let seen = stream.ahead();
            let common = seen.len().min(PREFACE.len());
            if seen[..common] != PREFACE[..common] {
                return Ok(Protocol::Http1);
            }
            if common == PREFACE.len() {
                return Ok(Protocol::Http2);
            }
            if !stream.look_ahead().await? {
                return Err(OpenError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    };
    let reading = timeout_at(deadline, reading);
    tokio::pin!(reading);
    let told = tokio::select! {
        biased;
        told = &mut reading => told,
        () = shutdown.draining() => {
            // The client has connected: its request is likely on the way.
            return timeout(super::deadline::LAST_REQUEST, reading)
                .await
                .map_err(|_| OpenError::Ended)?
                .map_err(|_| OpenError::TimedOut)?;
        }
    };
    told.map_err(|_| OpenError::TimedOut)?
}

impl Opened {
    async fn serve<S>(
        self,
        stack: S,
        permit: Permit,
        worker: &Worker,
        limits: Arc<Limits>,
        begun: Instant,
    ) where
        S: Handler,
    {
        let pulse = Pulse::new(begun, self.protocol, Arc::clone(&worker.metrics));
        if !permit.opened(&pulse) {
            return;
        }
        let interim = (self.protocol == Protocol::Http1).then(|| Arc::new(Interim::default()));
        let connection = Arc::new(Connection {
            peer: self.addresses.peer,
            local: self.addresses.local,
            secure: self.secure,
            protocol: self.protocol,
            interim: interim.clone().map(|interim| interim as Arc<dyn InterimSink>),
            introduction: OnceLock::new(),
        });
        let peer = connection.peer;
        let io = Guard::new(self.transport, Arc::clone(&pulse), interim.clone(), permit);
        let ids = Arc::clone(&worker.ids);
        let stack = Stack {
            inner: RefCell::new(stack),
            connection,
            pulse: Arc::clone(&pulse),
            interim,
            ids,
        };
        let shutdown = worker.shutdown.clone();
        let end = match self.protocol {
            Protocol::Http1 => {
                let mut connection =
                    http1(&limits).serve_connection(TokioIo::new(io), stack).with_upgrades();
                let end = drive(&mut connection, Arc::clone(&pulse), limits, shutdown).await;
                pulse.end();
                if let Some(farewell) = Farewell::after(&end, &pulse)
                    && let Some(parts) = connection.into_parts()
                {
                    farewell.say(parts.io.into_inner()).await;
                }
                end
            }
            Protocol::Http2 => {
                let io = Gathered::new(io);
                let connection = http2(&limits, &worker.metrics)
                    .serve_connection(TokioIo::new(io.clone()), stack);
                drive(Turns::new(connection, io), Arc::clone(&pulse), limits, shutdown).await
            }
        };
        worker.ended(peer, &end, &pulse);
    }
}

impl Worker {
    /// A place for a connection from `peer`, if there is one.
    pub(super) fn enter(&self, peer: IpAddr, manner: &Manner) -> Option<Permit> {
        self.control.seats().enter(peer, manner.is_balancer(peer), &self.metrics)
    }

    fn ended(&self, peer: SocketAddr, end: &End, pulse: &Pulse) {
        if let Some(offence) = pulse.offence() {
            tracing::debug!(%peer, offence = offence.word(), "connection ended: its client misbehaves");
            self.metrics.connection_offended(offence.word());
        }
        match end {
            End::Closed(Err(error)) if is_malformed(error) => self.metrics.bad_request(),
            End::TimedOut { due } => {
                tracing::debug!(%peer, ?due, "connection cut: too slow");
                self.metrics.connection_timed_out();
            }
            End::Closed(_) | End::Abandoned | End::Dismissed => {}
        }
        tracing::trace!(%peer, ?end, "connection ended");
    }
}

/// Whether a connection ended for what its client sent, by the verdict of hyper or of h2.
fn is_malformed(error: &hyper::Error) -> bool {
    let of_http2 = || error.source()?.downcast_ref::<h2::Error>();
    error.is_parse() || of_http2().is_some_and(h2::Error::is_library)
}

impl<I, S> Graceful for &mut http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S::ResBody: http_body::Body + 'static,
    <S::ResBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    Self: Future<Output = hyper::Result<()>>,
{
    fn graceful_shutdown(mut self: Pin<&mut Self>) {
        Pin::new(&mut **self).graceful_shutdown();
    }
}

impl<I, S, E> Graceful for http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<hyper::body::Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S::ResBody: http_body::Body + 'static,
    <S::ResBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, S::ResBody>,
    Self: Future<Output = hyper::Result<()>>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}
