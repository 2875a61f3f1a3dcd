//! The server on real sockets, with clients that write bytes.

mod connections;
mod crowd;
mod drain;
mod http2;
mod interim;
mod proxy_protocol;
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tower::Service;

use super::*;
use crate::body::Body;
use crate::context::Request;
use crate::error::ProxyError;
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

/// Longer than any test should take: a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(20);

type Answer = Result<http::Response<Body>, ProxyError>;

/// A server of its own threads, ended when dropped.
struct Server {
    address: SocketAddr,
    control: Control,
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl Server {
    fn start<S>(config: &Config, stack: S) -> Self
    where
        S: Service<Request, Response = http::Response<Body>, Error = ProxyError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
        let bound = Bound::bind(config).expect("a free port");
        let (address, control) = (bound.addresses()[0], bound.control().clone());
        let (shutdown, metrics) = (Shutdown::new(), Metrics::new(config.threads));
        let thread = std::thread::spawn({
            let (config, shutdown, metrics) = (config.clone(), shutdown.clone(), metrics.clone());
            move || run(&config, bound, move |_| stack.clone(), &shutdown, &metrics)
        });
        Self { address, control, shutdown, metrics, thread: Some(thread) }
    }

    fn connect(&self) -> Client {
        Client::new(self.address)
    }

    /// Waits for the end of a drain that was begun.
    fn join(&mut self) {
        let thread = self.thread.take().expect("joined once");
        thread.join().expect("no panic").expect("no error");
    }

    fn counts(&self, line: &str) -> bool {
        self.metrics.encode().lines().any(|found| found == line)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.kill();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || matches!(ended, Ok(Ok(()))), "{ended:?}");
        }
    }
}

/// A client that writes what it is told and waits for what it expects.
struct Client(TcpStream);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self(stream)
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.write_all(bytes.as_ref()).expect("the server reads");
        self
    }

    /// Reads until what was read ends with `end`.
    fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(1) => read.push(byte[0]),
                ended => panic!("{ended:?} after {:?}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8(read).expect("text")
    }

    /// Reads to the end; a reset counts as one.
    fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        match self.0.read_to_end(&mut read) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&read)),
        }
        String::from_utf8_lossy(&read).into_owned()
    }
}

fn config() -> Config {
    let listeners = vec![Listener::new(([127, 0, 0, 1], 0).into())];
    Config { threads: 1, listeners, grace: PATIENCE, ..Config::default() }
}

fn with_limits(change: impl FnOnce(&mut Limits)) -> Config {
    let mut config = config();
    change(&mut config.limits);
    config
}

#[expect(clippy::unnecessary_wraps, reason = "what a stack returns")]
fn answer(text: &str) -> Answer {
    Ok(http::Response::new(Body::from(Bytes::copy_from_slice(text.as_bytes()))))
}

/// Answers with method, path and protocol.
async fn echo(request: Request) -> Answer {
    answer(&format!(
        "{} {} {:?} from {} secure={}!",
        request.head.method,
        request.head.uri.path(),
        request.head.version,
        request.connection.peer.ip(),
        request.connection.secure,
    ))
}
