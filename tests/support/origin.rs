//! The scripted origin: it records what reaches it and answers as it was told, or misbehaves.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use seawall::clock::{ManualClock, Timestamp};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::answer::Answer;
use super::conn::Conn;
use super::message::{Fields, find};

/// Where the tests' time starts: 2030-01-01T00:00:00Z, a Tuesday.
const START: Timestamp = Timestamp::from_secs(1_893_456_000);

/// A request as the origin saw it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// Which request of all, from 0.
    pub number: usize,
    /// Which connection of all, from 0.
    pub connection: usize,
    /// The name that the TLS client asked for.
    pub sni: Option<String>,
}

impl Seen {
    pub fn field(&self, name: &str) -> Option<&str> {
        find(&self.fields, name)
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).map(|(_, value)| &**value).collect()
    }
}

/// The origin; its port is closed when this is dropped.
pub struct Origin {
    pub address: SocketAddr,
    /// The time of the test: the origin's `Date` and the proxy's clock.
    pub clock: ManualClock,
    pub(super) shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    serve: Arc<dyn Fn(TcpStream) -> JoinHandle<()> + Send + Sync>,
}

/// What the origin's connections share with the test.
pub(super) struct Shared {
    seen: Mutex<Vec<Seen>>,
    arrived: watch::Sender<usize>,
    connections: watch::Sender<usize>,
    faults: Mutex<Vec<String>>,
    pub(super) clock: ManualClock,
}

impl Shared {
    /// Records a request; its number.
    pub(super) fn record(&self, mut seen: Seen) -> usize {
        let mut all = self.seen.lock().expect("no test panics with the lock");
        let number = all.len();
        seen.number = number;
        all.push(seen);
        self.arrived.send_replace(number + 1);
        number
    }

    /// Counts a connection; its number.
    pub(super) fn connected(&self) -> usize {
        let mut number = 0;
        self.connections.send_modify(|count| {
            number = *count;
            *count += 1;
        });
        number
    }

    /// Replaces what was recorded of a request, now that its body is known.
    pub(super) fn complete(&self, request: &Seen) {
        let mut all = self.seen.lock().expect("no test panics with the lock");
        all[request.number] = request.clone();
    }

    /// Fails the test, when it ends, for what the origin was sent.
    pub(super) fn fault(&self, what: String) {
        self.faults.lock().expect("no test panics with the lock").push(what);
    }
}

impl Origin {
    /// Answers each request by `handler`, which sees the whole request.
    pub async fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::plain(Arc::new(handler), None).await
    }

    /// Likewise over TLS.
    pub async fn tls(
        acceptor: TlsAcceptor,
        handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::plain(Arc::new(handler), Some(acceptor)).await
    }

    async fn plain(handler: Arc<Handler>, tls: Option<TlsAcceptor>) -> Self {
        Self::bind(move |shared, stream| {
            let (handler, tls) = (handler.clone(), tls.clone());
            async move {
                let Some(mut conn) = Conn::open(shared, stream, tls).await else { return };
                while let Some(request) = conn.request().await {
                    let answer = handler(&request);
                    match conn.answer(&request, &answer).await {
                        Some(kept) => conn = kept,
                        None => return,
                    }
                }
            }
        })
        .await
    }

    /// Gives every request the same answer.
    pub async fn answering(answer: Answer) -> Self {
        Self::start(move |_| answer.clone()).await
    }

    /// Gives the n-th request the n-th answer, and the last one for ever.
    pub async fn sequence<const N: usize>(answers: [Answer; N]) -> Self {
        Self::start(move |request| answers[request.number.min(N - 1)].clone()).await
    }

    /// Runs `script` on each connection, for what no [`Answer`] can say.
    pub async fn script<F>(script: impl Fn(Conn) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let script = Arc::new(script);
        Self::bind(move |shared, stream| {
            let script = script.clone();
            async move {
                if let Some(conn) = Conn::open(shared, stream, None).await {
                    script(conn).await;
                }
            }
        })
        .await
    }

    /// Listens, and runs `serve` on each connection.
    pub(super) async fn bind<F>(
        serve: impl Fn(Arc<Shared>, TcpStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let clock = ManualClock::new(START);
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            arrived: watch::Sender::new(0),
            connections: watch::Sender::new(0),
            faults: Mutex::default(),
            clock: clock.clone(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = shared.clone();
        let serve: Arc<dyn Fn(TcpStream) -> JoinHandle<()> + Send + Sync> =
            Arc::new(move |stream| tokio::spawn(serve(state.clone(), stream)));
        let accepting = tokio::spawn(accept(listener, serve.clone()));
        Self { address, clock, shared, accepting, serve }
    }

    /// Waits until `count` requests have arrived in all.
    pub async fn arrived(&self, count: usize) {
        let mut arrived = self.shared.arrived.subscribe();
        let wait = arrived.wait_for(|&seen| seen >= count);
        super::within(&format!("request {count} at the origin"), wait)
            .await
            .expect("the origin holds its sender");
    }

    /// How many requests have arrived.
    pub fn count(&self) -> usize {
        *self.shared.arrived.borrow()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("no test panics with the lock").clone()
    }

    /// The latest request.
    pub fn last(&self) -> Seen {
        self.requests().pop().expect("the origin was asked")
    }

    /// Closes the port and every connection: from now on connecting is refused.
    pub async fn refuse(&mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }

    /// Listens again on the same port.
    pub async fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is still free");
        self.accepting = tokio::spawn(accept(listener, self.serve.clone()));
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
        let faults = self.shared.faults.lock().map(|faults| faults.clone()).unwrap_or_default();
        if !std::thread::panicking() {
            assert!(faults.is_empty(), "the origin was sent bad requests: {faults:#?}");
        }
    }
}

type Handler = dyn Fn(&Seen) -> Answer + Send + Sync;

/// Accepts until aborted; the connections end with it.
async fn accept(
    listener: TcpListener,
    serve: Arc<dyn Fn(TcpStream) -> JoinHandle<()> + Send + Sync>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let connection = AbortOnDrop(serve(stream));
        connections.spawn(async move {
            let mut connection = connection;
            let _ = (&mut connection.0).await;
        });
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
