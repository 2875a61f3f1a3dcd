//! The clients: HTTP/1.1 and HTTP/2, cleartext and TLS, patient and not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpStream;

use super::World;
use super::content::hash;
use super::ledger::Scope;
use super::origin::pause;
use super::verify;
pub use super::wish::upload;
use super::wish::{Known, Patience, Sent, draw};
use crate::support::{Client, Io, Response, Unreadable, within};

/// Lines of a client's past that are told with a violation.
const HISTORY: usize = 12;

/// What came back.
#[derive(Debug)]
pub enum Came {
    /// A response, whole or cut; where `left`, by the client itself.
    Response { response: Response, left: bool },
    /// The client left before anything came.
    Left,
    /// The connection or the stream ended without a response.
    Nothing,
}

/// One client and what it remembers.
struct Person {
    world: Arc<World>,
    rng: SmallRng,
    name: u64,
    asked: u64,
    known: Known,
    history: VecDeque<String>,
}

/// A connection.
enum Line {
    H1(Client),
    H2(SendRequest<Full<Bytes>>),
}

/// Asks until `until`.
pub async fn run(world: Arc<World>, name: u64, until: Instant) {
    let rng = SmallRng::seed_from_u64(hash(&(world.seed, "client", name)));
    let (known, history) = (Known::default(), VecDeque::new());
    let mut person = Person { world, rng, name, asked: 0, known, history };
    while Instant::now() < until {
        person.session(until).await;
    }
}

impl Person {
    /// Some requests on one connection.
    async fn session(&mut self, until: Instant) {
        let (tls, h2) = (self.rng.random_bool(0.15), self.rng.random_bool(0.4));
        let requests = self.rng.random_range(1..16);
        let Some(mut line) = self.connect(tls, h2).await else { return };
        for _ in 0..requests {
            if Instant::now() >= until {
                return;
            }
            let go_on = if !h2 && self.rng.random_bool(0.05) {
                self.pipeline(&mut line, tls).await
            } else {
                let sent = self.draw(tls);
                self.exchange(&mut line, sent).await
            };
            if !go_on {
                return;
            }
        }
    }

    fn draw(&mut self, tls: bool) -> Sent {
        self.asked += 1;
        // The client and its n-th request: the same in every run with this seed.
        draw(&mut self.rng, self.name << 32 | self.asked, tls, &mut self.known)
    }

    async fn connect(&mut self, tls: bool, h2: bool) -> Option<Line> {
        let world = Arc::clone(&self.world);
        let protocol = if h2 { "h2" } else { "http/1.1" };
        world.ledger.count("connections", format!("{protocol}{}", if tls { " tls" } else { "" }));
        if tls {
            let connected = world.authority.connect(world.tls, "example.test", &[protocol]).await;
            return open(connected.ok()?, h2).await;
        }
        open(TcpStream::connect(world.cleartext).await.ok()?, h2).await
    }

    /// Several requests at once, answered in order.
    async fn pipeline(&mut self, line: &mut Line, tls: bool) -> bool {
        let Line::H1(client) = line else { return true };
        let mut all = Vec::new();
        for _ in 0..self.rng.random_range(2..6) {
            let mut sent = self.draw(tls);
            sent.patience = Patience::Full;
            if sent.request.body.is_none() && sent.request.method != "PURGE" {
                all.push(sent);
            }
        }
        for sent in &mut all {
            self.world.begin(sent);
            self.world.ledger.count("requests", "pipelined");
        }
        let bytes: Vec<_> = all.iter().flat_map(|sent| sent.request.bytes()).collect();
        if !client.try_send(bytes).await {
            return false;
        }
        for sent in all {
            let came = h1_response(client, &sent).await;
            let go_on = matches!(&came, Ok(Came::Response { response, .. }) if response.complete);
            // What follows a cut response has no connection to be answered on.
            self.judge(&sent, &came);
            if !go_on {
                return false;
            }
        }
        true
    }

    /// One request and its response; whether the connection can be used on.
    async fn exchange(&mut self, line: &mut Line, mut sent: Sent) -> bool {
        self.world.begin(&mut sent);
        let came = match line {
            Line::H1(client) => h1(client, &sent).await,
            Line::H2(sender) => h2(sender, &sent).await,
        };
        let go_on = match (&came, line) {
            (_, Line::H2(sender)) => !sender.is_closed(),
            (Ok(Came::Response { response, left: false }), Line::H1(_)) => {
                response.complete && response.field("connection") != Some("close")
            }
            _ => false,
        };
        self.judge(&sent, &came);
        go_on
    }

    fn judge(&mut self, sent: &Sent, came: &Result<Came, String>) {
        let world = Arc::clone(&self.world);
        let faults = match came {
            Err(fault) => vec![fault.clone()],
            Ok(came) => verify::verify(&world, sent, came),
        };
        if let Ok(Came::Response { response, .. }) = came {
            // Of an error, or of a 304 that was a lie, a client has nothing to be asked about.
            if (200..300).contains(&response.status) {
                self.known.learn(sent, response.field("etag"), response.field("last-modified"));
            }
            world.book_invalidation(sent, response);
        }
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(told(sent, came.as_ref()));
        for fault in faults {
            let history = Vec::from(self.history.clone()).join("\n    ");
            let name = self.name;
            world.ledger.violation(format!("client {name}: {fault}\n    {history}"));
        }
    }
}

impl World {
    fn begin(&self, sent: &mut Sent) {
        self.ledger.count("requests", sent.name);
        sent.begun = self.ledger.tick();
        sent.at = self.ledger.now();
        sent.moment = Instant::now();
    }

    /// What was purged, or changed by an unsafe request, may not be seen any more.
    fn book_invalidation(&self, sent: &Sent, response: &Response) {
        if response.status >= 400 {
            return;
        }
        let scope = Scope::Place(sent.place);
        if sent.request.method == "PURGE" {
            self.ledger.purged(scope, sent.name == "PURGE hard", sent.begun);
        } else if sent.token.is_some()
            && let Some(emission) = verify::emission(self, response)
        {
            self.ledger.purged(scope, true, emission.sequence);
        }
    }
}

async fn open(io: impl Io + 'static, h2: bool) -> Option<Line> {
    if !h2 {
        return Some(Line::H1(Client::over(io)));
    }
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(io));
    let (sender, connection) = within("the handshake", handshake).await.ok()?;
    tokio::spawn(connection);
    Some(Line::H2(sender))
}

async fn h1(client: &mut Client, sent: &Sent) -> Result<Came, String> {
    // An answer may come before all of a body is taken.
    let _ = client.try_send(sent.request.bytes()).await;
    if let Patience::LeavesBefore(milliseconds) = sent.patience {
        pause(Duration::from_millis(milliseconds)).await;
        return Ok(Came::Left);
    }
    h1_response(client, sent).await
}

async fn h1_response(client: &mut Client, sent: &Sent) -> Result<Came, String> {
    let mut response = match client.try_begin(&sent.request.method).await {
        Ok(response) => response,
        Err(Unreadable::Cut) => return Ok(Came::Nothing),
        Err(Unreadable::Bad(what)) => return Err(format!("not a response: {what}")),
    };
    loop {
        match client.piece().await {
            Ok(None) => {
                response.complete = true;
                return Ok(Came::Response { response, left: false });
            }
            Err(Unreadable::Cut) => return Ok(Came::Response { response, left: false }),
            Err(Unreadable::Bad(what)) => return Err(format!("not a body: {what}")),
            Ok(Some(piece)) => response.body.extend(piece),
        }
        if leaves(sent, &response).await {
            return Ok(Came::Response { response, left: true });
        }
    }
}

/// What the client does before it reads on.
async fn leaves(sent: &Sent, response: &Response) -> bool {
    match sent.patience {
        Patience::LeavesAt(bytes) => response.body.len() >= bytes,
        Patience::Slow => {
            pause(Duration::from_millis(5)).await;
            false
        }
        _ => false,
    }
}

async fn h2(sender: &mut SendRequest<Full<Bytes>>, sent: &Sent) -> Result<Came, String> {
    let scheme = if sent.place.tls { "https" } else { "http" };
    let uri = format!("{scheme}://example.test{}", sent.request.target);
    let mut builder = http::Request::builder().method(&*sent.request.method).uri(uri);
    for (name, value) in &sent.request.fields {
        builder = builder.header(name, value);
    }
    let body = Full::new(Bytes::from(sent.request.body.clone().unwrap_or_default()));
    let request = builder.body(body).expect("a valid request");
    let exchange = sender.send_request(request);
    let begun = if let Patience::LeavesBefore(milliseconds) = sent.patience {
        tokio::select! {
            begun = exchange => begun,
            () = pause(Duration::from_millis(milliseconds)) => return Ok(Came::Left),
        }
    } else {
        within("a response", exchange).await
    };
    let Ok(begun) = begun else { return Ok(Came::Nothing) };
    let (head, mut body): (_, Incoming) = begun.into_parts();
    let own = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let fields = head.headers.iter().map(own).collect();
    let mut response = Response { status: head.status.as_u16(), fields, ..Response::default() };
    loop {
        match within("more of the body", body.frame()).await {
            None => {
                response.complete = true;
                return Ok(Came::Response { response, left: false });
            }
            Some(Err(_)) => return Ok(Came::Response { response, left: false }),
            Some(Ok(frame)) => response.body.extend(frame.into_data().unwrap_or_default()),
        }
        if leaves(sent, &response).await {
            return Ok(Came::Response { response, left: true });
        }
    }
}

/// A line of history.
fn told(sent: &Sent, came: Result<&Came, &String>) -> String {
    let asked: Vec<_> =
        sent.request.fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let url = sent.place.url();
    let came = match came {
        Ok(Came::Response { response, left }) => {
            let fields: Vec<_> =
                response.fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let (bytes, complete) = (response.body.len(), response.complete);
            format!(
                "{} [{}] {bytes} bytes, complete {complete}, left {left}",
                response.status,
                fields.join("; ")
            )
        }
        other => format!("{other:?}"),
    };
    let method = &sent.request.method;
    format!("#{} {:?} {method} {url} [{}] -> {came}", sent.begun, sent.patience, asked.join("; "))
}
