//! A client for what load generators do not do: everybody at once, and so many different objects.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::interrupt;

/// What a connection takes at most, and a request with its whole answer.
const LONGEST: Duration = Duration::from_secs(60);

/// Whatever keeps an answer from coming.
type Failed = Box<dyn Error + Send + Sync>;

/// How an answer came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    /// From the request to the body's first byte.
    pub(crate) first_byte: Duration,
}

/// A connection.
pub(crate) struct Client {
    host: String,
    sender: SendRequest<Empty<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = timeout(LONGEST, TcpStream::connect(server)).await??;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // How it ended, the sender is told.
        tokio::spawn(connection);
        Ok(Self { host: server.to_string(), sender })
    }

    /// Asks, and reads the whole answer.
    pub(crate) async fn get(&mut self, path: &str) -> io::Result<(Seen, Bytes)> {
        self.ask("GET", path).await
    }

    /// Has something done; what is refused is not.
    pub(crate) async fn order(&mut self, method: &str, path: &str) -> io::Result<()> {
        let (Seen { status, .. }, _) = self.ask(method, path).await?;
        if status.is_success() {
            return Ok(());
        }
        Err(io::Error::other(format!("{method} {path} of {}: {status}", self.host)))
    }

    /// Sends a request without a body, and reads the whole answer.
    pub(crate) async fn ask(&mut self, method: &str, path: &str) -> io::Result<(Seen, Bytes)> {
        let asked = timeout(LONGEST, self.exchange(method, path)).await;
        let whom = |error| io::Error::other(format!("{method} {path} of {}: {error}", self.host));
        asked
            .map_err(|_| format!("not done within {} s", LONGEST.as_secs()).into())
            .flatten()
            .map_err(whom)
    }

    async fn exchange(&mut self, method: &str, path: &str) -> Result<(Seen, Bytes), Failed> {
        let request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        let request = request.body(Empty::new())?;
        let began = Instant::now();
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut first_byte = None;
        let mut bytes = Bytes::new();
        while let Some(frame) = body.frame().await {
            first_byte.get_or_insert_with(|| began.elapsed());
            // Of all bodies that anybody looks into this is the whole.
            bytes = frame?.into_data().unwrap_or_default();
        }
        let first_byte = first_byte.unwrap_or_else(|| began.elapsed());
        Ok((Seen { status, first_byte }, bytes))
    }
}

/// Runs something of this file from a thread that does nothing else meanwhile, until the end is asked
/// for.
pub(crate) fn block_on<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            done = work => done,
            interrupted = interrupt::asked_for() => Err(interrupted),
        }
    })
}

/// Asks once.
pub(crate) fn get(server: SocketAddr, path: &str) -> io::Result<(Seen, Bytes)> {
    block_on(async { Client::connect(server).await?.get(path).await })
}

/// All ask for the same at once over connections that are open already; `late` ones do after that
/// time, and they alone are told of then.
pub(crate) async fn all_at_once(
    server: SocketAddr,
    path: &str,
    clients: usize,
    late: Option<(usize, Duration)>,
) -> io::Result<Vec<Seen>> {
    let mut first = Vec::new();
    for _ in 0..clients {
        first.push(Client::connect(server).await?);
    }
    let mut rest = Vec::new();
    for _ in 0..late.map_or(0, |(count, _)| count) {
        rest.push(Client::connect(server).await?);
    }
    let ask = |mut client: Client| {
        let path = path.to_owned();
        async move { client.get(&path).await.map(|(seen, _)| seen) }
    };
    let early: JoinSet<_> = first.into_iter().map(&ask).collect();
    let Some((_, after)) = late else { return early.join_all().await.into_iter().collect() };
    tokio::time::sleep(after).await;
    let late: JoinSet<_> = rest.into_iter().map(&ask).collect();
    let seen = late.join_all().await.into_iter().collect();
    early.join_all().await;
    seen
}

/// Asks for `count` objects, once each: `prefix` and a number from 1.
pub(crate) async fn fill(server: SocketAddr, prefix: &str, count: u64) -> io::Result<()> {
    const CONNECTIONS: usize = 64;
    let next = Arc::new(AtomicU64::new(1));
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (next, prefix) = (Arc::clone(&next), prefix.to_owned());
        let mut client = Client::connect(server).await?;
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number > count {
                    return Ok(());
                }
                client.order("GET", &format!("{prefix}{number}")).await?;
            }
        });
    }
    workers.join_all().await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_server_that_is_silent_is_not_waited_for_without_end() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = Client::connect(silent.local_addr().unwrap()).await.unwrap();
        tokio::time::pause();
        let error = client.get("/slow").await.unwrap_err().to_string();
        assert!(error.starts_with("GET /slow of 127.0.0.1:"), "{error}");
        assert!(error.ends_with("not done within 60 s"), "{error}");
    }
}
