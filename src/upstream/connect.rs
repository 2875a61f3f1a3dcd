//! Making a connection: addresses in turn, TCP, TLS, and what they ended in.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::{Config, Version};
use super::shared::Target;
use crate::error::{ErrorKind, ProxyError};
use crate::{keepalive, pieces};

/// How long one address is waited for before the next is tried beside it (RFC 8305 §5).
const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// `ENFILE` and `EMFILE`: the system, or this process, has as many files open as it may. The
/// numbers are the same on every Unix; the standard library has no name for them yet.
const OUT_OF_FILES: [i32; 2] = [23, 24];
/// Interim responses (RFC 9110 §15.2) taken before one final response: an origin that sends more
/// is not about to come to an end.
const MOST_INTERIM: u32 = 128;

/// A connection to an origin, before HTTP.
pub(super) struct Dialled {
    pub(super) stream: Stream,
    /// HTTP/2 is to be spoken: by prior knowledge, or as ALPN chose.
    pub(super) http2: bool,
}

/// Bytes to and from an origin.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Asks the system itself whether anything has come. The runtime only knows what had come when
    /// it last asked, and on a busy worker that was a while ago: a surplus of the last response
    /// would be taken for the answer to the request that is sent now.
    ///
    /// Over TLS, bytes may be the protocol's own: there it is as the runtime says.
    ///
    /// # Errors
    /// If bytes, or the end of the connection, are waiting.
    fn expect_silence(&self) -> io::Result<()> {
        let Self::Plain(stream) = self else { return Ok(()) };
        match SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Err(io::Error::other("bytes came before a request was sent")),
        }
    }
}

/// Connects to an address of `target`, the TLS handshake for `server_name` included.
///
/// # Errors
/// `DnsFailed`, `ConnectFailed`, `Unroutable`, `ConnectTimeout`, `ConnectionLost`,
/// `NoDescriptors`, `TlsFailed`.
pub(super) async fn dial(
    config: &Config,
    target: &Target,
    server_name: &str,
    http1_only: bool,
) -> Result<Dialled, ProxyError> {
    let tls = match &target.tls {
        Some(tls) => {
            let name = ServerName::try_from(server_name.to_owned())
                .map_err(|error| ProxyError::with_source(ErrorKind::TlsFailed, error))?;
            Some((if http1_only { &tls.http1 } else { &tls.usual }, name))
        }
        None => None,
    };
    let addresses = target.resolver.addresses().await?;
    let share = config.connect_timeout / u32::try_from(addresses.len() + 1).unwrap_or(u32::MAX);
    let connect = |address| one(address, tls.clone());
    let (address, stream) = race(&addresses, share.min(NEXT_ADDRESS_DELAY), connect).await?;
    target.resolver.prefer(address);
    let http2 = match &stream {
        Stream::Plain(_) => config.version == Version::Http2 && !http1_only,
        Stream::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
    };
    if !http2 && config.version == Version::Http2 && !http1_only {
        let error = io::Error::other("the origin does not offer HTTP/2 (ALPN `h2`)");
        return Err(ProxyError::with_source(ErrorKind::TlsFailed, error));
    }
    Ok(Dialled { stream, http2 })
}

/// Connects to `addresses` in order, each after the one before it failed or took longer than
/// `delay`. The first to succeed wins and the others are dropped; the last failure is the error.
async fn race<T, F>(
    addresses: &[SocketAddr],
    delay: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), ProxyError>
where
    F: Future<Output = Result<T, ProxyError>>,
{
    let mut waiting = addresses.iter().copied();
    let mut running = FuturesUnordered::new();
    let mut failure = ProxyError::new(ErrorKind::ConnectFailed);
    let start = |address| {
        let connecting = connect(address);
        async move { (address, connecting.await) }
    };
    loop {
        match waiting.next() {
            Some(address) => running.push(start(address)),
            None if running.is_empty() => return Err(failure),
            None => {}
        }
        let is_last = waiting.len() == 0;
        loop {
            let finished = tokio::select! {
                biased;
                finished = running.next() => finished,
                () = sleep(delay), if !is_last => break,
            };
            match finished {
                Some((address, Ok(connected))) => return Ok((address, connected)),
                Some((_, Err(error))) => failure = error,
                None => return Err(failure),
            }
            if !is_last {
                break;
            }
        }
    }
}

async fn one(
    address: SocketAddr,
    tls: Option<(&TlsConnector, ServerName<'static>)>,
) -> Result<Stream, ProxyError> {
    let refused = |error: io::Error| ProxyError::with_source(refusal(&error), error);
    let tcp = TcpStream::connect(address).await.map_err(refused)?;
    // Heads and bodies are written whole: there is nothing for Nagle to gather.
    tcp.set_nodelay(true).map_err(refused)?;
    keepalive::set(&tcp).map_err(refused)?;
    match tls {
        None => Ok(Stream::Plain(tcp)),
        Some((connector, name)) => {
            let stream = connector.connect(name, tcp).await;
            let stream =
                stream.map_err(|error| ProxyError::with_source(ErrorKind::TlsFailed, error))?;
            Ok(Stream::Tls(Box::new(stream)))
        }
    }
}

/// What a failed connect says of the origin.
fn refusal(error: &io::Error) -> ErrorKind {
    if error.raw_os_error().is_some_and(|code| OUT_OF_FILES.contains(&code)) {
        return ErrorKind::NoDescriptors;
    }
    match error.kind() {
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorKind::Unroutable,
        // The system's own patience ended before ours.
        io::ErrorKind::TimedOut => ErrorKind::ConnectTimeout,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            ErrorKind::ConnectionLost
        }
        _ => ErrorKind::ConnectFailed,
    }
}

/// `dialling`, for at most `limit`.
///
/// # Errors
/// `ConnectTimeout`, or what `dialling` ends in.
pub(super) async fn within<T>(
    limit: Duration,
    dialling: impl Future<Output = Result<T, ProxyError>>,
) -> Result<T, ProxyError> {
    timeout(limit, dialling).await.unwrap_or(Err(ErrorKind::ConnectTimeout.into()))
}

/// What a connection's reader and writer leave for the exchange to see.
#[derive(Debug)]
pub(super) struct Meter {
    start: Instant,
    /// An exchange is about to begin: nothing may have come for it yet.
    beginning: AtomicBool,
    received: AtomicBool,
    /// The exchange has content: it matters when that moves.
    uploads: AtomicBool,
    written: AtomicU64,
    interim: AtomicU32,
}

impl Meter {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            beginning: AtomicBool::new(false),
            received: AtomicBool::new(false),
            uploads: AtomicBool::new(false),
            written: AtomicU64::new(0),
            interim: AtomicU32::new(0),
        }
    }

    /// From here on, [`Meter::received`] and [`Meter::count_interim`] are about a new exchange, and
    /// [`Meter::written_at`] where it `uploads`.
    pub(super) fn begin(&self, uploads: bool) {
        self.uploads.store(uploads, Ordering::Release);
        self.received.store(false, Ordering::Release);
        self.beginning.store(true, Ordering::Release);
        self.interim.store(0, Ordering::Release);
    }

    /// Counts an interim response; which one it is, from 1.
    pub(super) fn count_interim(&self) -> u32 {
        self.interim.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether more interim responses have come than anybody has a use for: no more is read then.
    pub(super) fn is_flooded(&self) -> bool {
        self.interim.load(Ordering::Acquire) > MOST_INTERIM
    }

    /// Whether a byte came since [`Meter::begin`].
    pub(super) fn received(&self) -> bool {
        self.received.load(Ordering::Acquire)
    }

    /// When bytes of an upload last went out.
    pub(super) fn written_at(&self) -> Instant {
        self.start + Duration::from_millis(self.written.load(Ordering::Acquire))
    }

    fn wrote(&self) {
        if !self.uploads.load(Ordering::Acquire) {
            return;
        }
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.written.store(millis, Ordering::Release);
    }
}

/// An origin's stream that is metered, and counted as open for as long as it lives.
pub(super) struct Metered {
    stream: Stream,
    meter: Arc<Meter>,
    open: Arc<AtomicU64>,
}

impl Metered {
    pub(super) fn new(stream: Stream, open: Arc<AtomicU64>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self { stream, meter: Arc::new(Meter::new()), open }
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.meter.is_flooded() {
            return Poll::Ready(Err(io::Error::other("interim responses without end")));
        }
        let before = buf.filled().len();
        let polled = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if buf.filled().len() > before {
            self.meter.received.store(true, Ordering::Release);
        }
        if self.meter.beginning.load(Ordering::Acquire) {
            self.meter.beginning.store(false, Ordering::Release);
            if polled.is_pending() {
                self.stream.expect_silence()?;
            }
        }
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        if polled.is_ready() {
            self.meter.wrote();
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.stream {
            Stream::Plain(stream) => pieces::poll_write(Pin::new(stream), cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        if polled.is_ready() {
            self.meter.wrote();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[derive(Clone, Copy)]
    enum Behaviour {
        Answers,
        Refuses,
        Hangs,
    }

    /// What has come before a request was sent is not its answer (RFC 9112 §9.2), even where the
    /// runtime has not heard of it.
    #[tokio::test]
    async fn what_came_before_a_request_is_noticed_before_it_is_sent() {
        for surplus in [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), b""] {
            let origin = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = origin.local_addr().expect("bound");
            let stream = TcpStream::connect(address).await.expect("it listens");
            let (mut peer, _) = origin.accept().expect("a connection");
            let mut metered = Metered::new(Stream::Plain(stream), Arc::default());
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let mut buffer = [0; 8];
            let mut read = |metered: &mut Metered| {
                Pin::new(metered).poll_read(&mut cx, &mut ReadBuf::new(&mut buffer))
            };

            metered.meter().begin(false);
            assert!(read(&mut metered).is_pending());
            io::Write::write_all(&mut peer, surplus).expect("sent");
            drop(peer);
            // Nothing here lets the runtime look at its sockets.
            assert!(read(&mut metered).is_pending());
            metered.meter().begin(false);
            assert!(matches!(read(&mut metered), Poll::Ready(Err(_))));
        }
    }

    #[test]
    fn a_failed_connect_says_why() {
        for (error, kind) in [
            (io::ErrorKind::ConnectionRefused, ErrorKind::ConnectFailed),
            (io::ErrorKind::HostUnreachable, ErrorKind::Unroutable),
            (io::ErrorKind::NetworkUnreachable, ErrorKind::Unroutable),
            (io::ErrorKind::TimedOut, ErrorKind::ConnectTimeout),
            (io::ErrorKind::ConnectionReset, ErrorKind::ConnectionLost),
            (io::ErrorKind::PermissionDenied, ErrorKind::ConnectFailed),
        ] {
            assert_eq!(refusal(&error.into()), kind, "{error:?}");
        }
        for code in OUT_OF_FILES {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(refusal(&error), ErrorKind::NoDescriptors);
        }
    }

    async fn race_of(behaviours: &[Behaviour]) -> Result<(u16, Duration), ErrorKind> {
        let addresses: Vec<_> = (0..behaviours.len())
            .map(|port| SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("few"))))
            .collect();
        let before = Instant::now();
        let connect = |address: SocketAddr| {
            let behaviour = behaviours[usize::from(address.port())];
            async move {
                match behaviour {
                    Behaviour::Answers => Ok(()),
                    Behaviour::Refuses => Err(ProxyError::new(ErrorKind::ConnectFailed)),
                    Behaviour::Hangs => pending().await,
                }
            }
        };
        let limited = within(Duration::from_secs(5), race(&addresses, NEXT_ADDRESS_DELAY, connect));
        match limited.await {
            Ok((address, ())) => Ok((address.port(), before.elapsed())),
            Err(error) => Err(error.kind),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_address_costs_a_share_and_a_refusing_one_nothing() {
        use Behaviour::{Answers, Hangs, Refuses};
        let delay = NEXT_ADDRESS_DELAY;
        for (behaviours, expected) in [
            (&[Answers, Answers][..], Ok((0, Duration::ZERO))),
            (&[Refuses, Answers], Ok((1, Duration::ZERO))),
            (&[Hangs, Answers], Ok((1, delay))),
            (&[Hangs, Hangs, Answers], Ok((2, 2 * delay))),
            (&[Hangs, Refuses, Answers], Ok((2, delay))),
            (&[Refuses, Refuses], Err(ErrorKind::ConnectFailed)),
            (&[Refuses, Hangs], Err(ErrorKind::ConnectTimeout)),
            (&[], Err(ErrorKind::ConnectFailed)),
        ] {
            assert_eq!(race_of(behaviours).await, expected);
        }
    }
}
