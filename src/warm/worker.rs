//! Asks for one URL after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use seawall::config::Origin;
use seawall::shutdown::Shutdown;
use tokio::sync::{Mutex as Queue, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use super::list::{Item, Server, Wanted};
use super::outcome::Became;
use super::{Report, Tally};
use crate::bench::failure::Failure;
use crate::bench::target::{Sender, Target, Trust, Version};

/// Servers whose addresses are remembered.
const MOST_SERVERS: usize = 10_000;

/// What all workers share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) items: Queue<mpsc::Receiver<Item>>,
    pub(super) fields: HeaderMap,
    pub(super) trust: Trust,
    pub(super) timeout: Duration,
    pub(super) max_body: u64,
    /// Time between two requests, and when the next may be sent.
    pub(super) pace: Option<(Duration, Mutex<Instant>)>,
    pub(super) targets: Mutex<HashMap<Server, Result<Arc<Target>, Failure>>>,
    pub(super) tally: Mutex<Tally>,
    pub(super) report: Report,
    pub(super) stop: Shutdown,
}

/// Who has one connection.
#[derive(Debug)]
pub(super) struct Worker {
    common: Arc<Common>,
    kept: Option<(Server, Sender)>,
}

impl Worker {
    pub(super) fn new(common: Arc<Common>) -> Self {
        Self { common, kept: None }
    }

    /// Until nothing is left, or there is to be no more.
    pub(super) async fn run(mut self) {
        loop {
            let next = async { self.common.items.lock().await.recv().await };
            let item = tokio::select! {
                item = next => item,
                () = self.common.stop.draining() => None,
            };
            match item {
                None => return,
                Some(Item::Broken { line, text }) => self.common.tally().broken(line, text),
                Some(Item::Wanted(wanted)) => {
                    tokio::select! {
                        () = self.common.turn() => {}
                        () = self.common.stop.draining() => return,
                    }
                    let asked = timeout(self.common.timeout, self.ask(&wanted)).await;
                    let asked = asked.unwrap_or(Err(Failure::Timeout));
                    self.common.count(&wanted, asked);
                }
            }
        }
    }

    /// Asks, and reads the whole answer. A connection that turns out to be closed is made anew.
    async fn ask(&mut self, wanted: &Wanted) -> Result<(Became, u64), Failure> {
        for _ in 0..2 {
            let mut sender = self.connected(&wanted.server).await?;
            let request = self.common.request(wanted).ok_or(Failure::Protocol)?;
            match sender.send(request).await {
                Ok(response) => {
                    let read = read(response, self.common.max_body).await?;
                    self.kept = Some((wanted.server.clone(), sender));
                    return Ok(read);
                }
                Err(failed) if failed.is_unsent => {}
                Err(failed) => return Err(failed.failure),
            }
        }
        Err(Failure::Lost)
    }

    async fn connected(&mut self, server: &Server) -> Result<Sender, Failure> {
        if let Some((_, sender)) =
            self.kept.take().filter(|(at, sender)| at == server && !sender.is_closed())
        {
            return Ok(sender);
        }
        let target = self.common.target(server).await?;
        target.connect().await.map_err(|(failure, _)| failure)
    }
}

impl Common {
    pub(super) fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the pace allows for another request.
    async fn turn(&self) {
        let Some((step, next)) = &self.pace else { return };
        let at = {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = (*next).max(Instant::now());
            *next = at + *step;
            at
        };
        sleep_until(at).await;
    }

    async fn target(&self, server: &Server) -> Result<Arc<Target>, Failure> {
        let known = self.targets().get(server).cloned();
        if let Some(known) = known {
            return known;
        }
        let (wanted, trust) = (server.clone(), self.trust.clone());
        // Looking up a name and reading certificates block.
        let found = spawn_blocking(move || {
            let Server { tls, host, port, name } = wanted;
            let origin = Origin { tls, host, port };
            Target::named(&origin, &name, Some(Version::Http1), &trust)
        });
        let found = match found.await {
            Ok(Ok(target)) => Ok(Arc::new(target)),
            Ok(Err(_)) | Err(_) => Err(Failure::Unreachable),
        };
        let mut targets = self.targets();
        if targets.len() < MOST_SERVERS {
            targets.insert(server.clone(), found.clone());
        }
        found
    }

    fn targets(&self) -> std::sync::MutexGuard<'_, HashMap<Server, Result<Arc<Target>, Failure>>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, wanted: &Wanted) -> Option<Request<Empty<Bytes>>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = Uri::from(wanted.path.clone());
        let host = HeaderValue::from_str(wanted.authority.as_str()).ok()?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().extend(self.fields.clone());
        Some(request)
    }

    fn count(&self, wanted: &Wanted, asked: Result<(Became, u64), Failure>) {
        let (became, bytes) = asked.unwrap_or_else(|failure| (Became::failed(failure), 0));
        self.tally().count(&became, bytes);
        self.report.tell(&became, || {
            let scheme = if wanted.server.tls { "https" } else { "http" };
            format!("{scheme}://{}{}", wanted.authority, wanted.path)
        });
    }
}

/// Reads a body to its end, and drops it: only then is it known to be stored as a whole.
async fn read(response: Response<Incoming>, max_body: u64) -> Result<(Became, u64), Failure> {
    let (head, mut body) = response.into_parts();
    let mut bytes = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::of_body(&error))?;
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if bytes > max_body {
            return Err(Failure::TooLarge);
        }
    }
    Ok((Became::read(head.status, &head.headers), bytes))
}
