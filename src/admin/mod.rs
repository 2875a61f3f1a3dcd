//! The admin listener: health, metrics, state, purge.

mod config;
mod curve;
mod explain;
mod purge;
mod reload;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, sleep, timeout};
use tower::Service;

pub use config::Config;
pub use explain::Question;
pub use reload::{ConfigState, Configured, Explaining, NotReloaded, ReloadFault, Reloaded, Token};

use crate::body::Body;
use crate::cache;
use crate::context::{Request, RequestBody};
use crate::error::ProxyError;
use crate::redis::Health;
use crate::shutdown::Shutdown;
use crate::store::remote::Tier;
use crate::store::{Covered, Scope};
use crate::telemetry::Metrics;

/// Bytes of a request's body: a purge of thousands of tags.
const MOST_BODY_BYTES: usize = 256 * 1024;

/// For how long a dry run of a purge counts what is answered from memory: as long as that is the rate
/// at which the origin would be asked.
const MEASURED: Duration = Duration::from_secs(1);

/// How long that body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The admin API as a service for `server`.
#[derive(Clone, Debug)]
pub struct Admin(Arc<State>);

#[derive(Debug)]
struct State {
    token: Token,
    cache: Arc<cache::Shared>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    configured: Arc<dyn Configured>,
}

/// An answer before it becomes a response.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    text: String,
    /// The methods there are, where another was used.
    allow: Option<&'static str>,
}

impl Answer {
    fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", text: text.into(), allow: None }
    }

    fn refused(allow: &'static str) -> Self {
        let text = format!("the methods here are: {allow}\n");
        Self { allow: Some(allow), ..Self::text(StatusCode::METHOD_NOT_ALLOWED, text) }
    }

    fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        Self { status, content_type: "application/json", text: format!("{value}\n"), allow: None }
    }

    /// A request that can't be understood, and why.
    fn bad(fault: &str) -> Self {
        Self::json(StatusCode::BAD_REQUEST, &serde_json::json!({ "error": fault }))
    }
}

impl Admin {
    /// An API over one node's cache, metrics and configuration.
    #[must_use]
    pub fn new(
        token: Token,
        cache: Arc<cache::Shared>,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
        configured: Arc<dyn Configured>,
    ) -> Self {
        Self(Arc::new(State { token, cache, metrics, shutdown, configured }))
    }
}

impl Service<Request> for Admin {
    type Response = http::Response<Body>;
    type Error = ProxyError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ProxyError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let state = Arc::clone(&self.0);
        Box::pin(async move { Ok(respond(state.answer(request).await)) })
    }
}

impl State {
    async fn answer(&self, request: Request) -> Answer {
        let method = &request.head.method;
        let reads = *method == Method::GET || *method == Method::HEAD;
        match request.head.uri.path() {
            // Probes carry no secrets and learn none.
            "/healthz" if reads => Answer::text(StatusCode::OK, "ok\n"),
            "/readyz" if reads => self.ready(),
            _ if !self.permits(&request) => Answer::text(
                StatusCode::UNAUTHORIZED,
                "this admin listener wants `Authorization: Bearer TOKEN`\n",
            ),
            _ if !self.is_meant(&request) => Answer::text(
                StatusCode::MISDIRECTED_REQUEST,
                "without a token, this admin listener answers only where it is asked by address or \
                 as `localhost`\n",
            ),
            "/" if reads => Answer::text(StatusCode::OK, INDEX),
            "/metrics" if reads => Answer {
                status: StatusCode::OK,
                content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
                text: self.metrics.encode(),
                allow: None,
            },
            "/stats" if reads => Answer::json(StatusCode::OK, &self.stats()),
            // A page in somebody's browser can send anything else to loopback unasked.
            "/purge" | "/reload" | "/explain" if *method == Method::POST && !is_json(&request) => {
                Answer::text(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "this is to be sent as `Content-Type: application/json`\n",
                )
            }
            "/purge" if *method == Method::POST => self.purge(request.body).await,
            "/reload" if *method == Method::POST => self.reload().await,
            "/explain" if *method == Method::POST => self.explain(request.body).await,
            "/purge" | "/reload" | "/explain" => Answer::refused("POST"),
            "/" | "/healthz" | "/readyz" | "/metrics" | "/stats" => Answer::refused("GET, HEAD"),
            _ => Answer::text(StatusCode::NOT_FOUND, INDEX),
        }
    }

    fn permits(&self, request: &Request) -> bool {
        let presented = request.head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        self.token.permits(presented.and_then(|presented| presented.strip_prefix(b"Bearer ")))
    }

    /// Whether the request is for this listener. A page in somebody's browser can give its own name
    /// the address of loopback (DNS rebinding), and then read what is here; names are refused
    /// therefore, unless a token says who asks.
    fn is_meant(&self, request: &Request) -> bool {
        self.token.is_set() || names_this_machine(&request.head)
    }

    fn ready(&self) -> Answer {
        if self.shutdown.is_draining() {
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        // Without Redis the site goes on from memory and origin: this node is worth asking.
        let text = self.cache.tier().map_or_else(|| "ready\n".to_owned(), readiness);
        Answer::text(StatusCode::OK, text)
    }

    fn stats(&self) -> serde_json::Value {
        let memory = self.cache.memory();
        memory.settle();
        serde_json::json!({
            "memory_used_bytes": memory.budget().used(),
            "memory_limit_bytes": memory.budget().limit(),
            "keys": memory.keys(),
            "evictions": memory.evictions(),
            "turned_away": memory.turned_away(),
            "curve": memory.curve().and_then(|curve| curve::describe(&curve, memory.budget())),
            "purge_sequence": memory.sequence(),
            "flights": self.cache.flights(),
            "background_tasks": self.shutdown.background().len(),
            "config": self.configured.state(),
        })
    }

    async fn reload(&self) -> Answer {
        let Some(outcome) = self.configured.reload() else {
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "too many reloads at once\n");
        };
        match outcome.await {
            Ok(Ok(reloaded)) => Answer::json(StatusCode::OK, &serde_json::json!(reloaded)),
            Ok(Err(refused)) => {
                Answer::json(StatusCode::UNPROCESSABLE_ENTITY, &serde_json::json!(refused))
            }
            Err(_) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "the node is ending\n"),
        }
    }

    async fn purge(&self, body: RequestBody) -> Answer {
        let text = match read(body).await {
            Ok(text) => text,
            Err(refused) => return refused,
        };
        match purge::parse(&text) {
            Ok(purge::Order { scopes, dry_run: true, measure, .. }) => {
                self.covered(scopes, measure).await
            }
            Ok(purge::Order { scopes, mode, wait, .. }) => {
                let purged = self.cache.purge_in_fleet(scopes, mode, wait).await;
                let complete = purged.is_complete();
                let status = if complete { StatusCode::OK } else { StatusCode::ACCEPTED };
                Answer::json(status, &serde_json::json!(purged))
            }
            Err(fault) => Answer::bad(&fault),
        }
    }

    /// How much of this node's memory a purge would take. Everything is looked at, so on a thread
    /// that nobody waits for.
    async fn covered(&self, scopes: Vec<Scope>, measure: bool) -> Answer {
        let cache = Arc::clone(&self.cache);
        let looking = tokio::task::spawn_blocking(move || cache.memory().covered(&scopes));
        let Ok(covered) = looking.await else {
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "the node is ending\n");
        };
        let expected = if measure { Some(self.expected(&covered).await) } else { None };
        let Covered { responses, bytes, of_responses, of_bytes, .. } = covered;
        let told = serde_json::json!({
            "responses": responses, "bytes": bytes,
            "of_responses": of_responses, "of_bytes": of_bytes,
            "expected": expected,
        });
        Answer::json(StatusCode::OK, &told)
    }

    /// What a purge would mean for the origin, by the requests of a moment.
    async fn expected(&self, covered: &Covered) -> serde_json::Value {
        let (begun, before) = (Instant::now(), self.metrics.answered_from_memory());
        sleep(MEASURED).await;
        let answered = self.metrics.answered_from_memory().saturating_sub(before);
        let measured = answered as f64 / begun.elapsed().as_secs_f64();
        let load = covered.load(measured);
        serde_json::json!({
            "used_lately": covered.used(), "requests_per_second": load.requests,
            "first_second": load.first_second, "measured_per_second": measured,
        })
    }

    async fn explain(&self, body: RequestBody) -> Answer {
        let text = match read(body).await {
            Ok(text) => text,
            Err(refused) => return refused,
        };
        let question = match Question::parse(&text) {
            Ok(question) => question,
            Err(fault) => return Answer::bad(&fault),
        };
        match self.configured.explain(question).await {
            Ok(explained) => Answer::json(StatusCode::OK, &explained),
            Err(fault) => Answer::bad(&fault),
        }
    }
}

/// How it stands with Redis, a line for each thing that does not work.
fn readiness(tier: &Tier) -> String {
    let mut lines = Vec::new();
    match tier.health() {
        Health::Good => {}
        Health::Unwritable(fault) => {
            lines.push(format!("degraded: nothing is written to redis: {}\n", fault.word()));
        }
        Health::Partly(fault) => {
            lines.push(format!("degraded: without a part of redis: {}\n", fault.word()));
        }
        Health::Down(fault) => lines.push(format!("degraded: without redis: {}\n", fault.word())),
    }
    let fleet = tier.fleet();
    if let Some((fault, since)) = fleet.deaf() {
        let (word, seconds, bound) = (fault.word(), since.as_secs(), fleet.max_unsynced());
        lines.push(format!(
            "degraded: purges of other nodes are not heard for {seconds}s: {word}\n"
        ));
        if !bound.is_zero() && since > bound {
            lines
                .push(format!("memory is used for {bound:?} at most before the origin is asked\n"));
        }
    }
    if lines.is_empty() { "ready\n".to_owned() } else { lines.concat() }
}

/// Reads a request's body; the error is what to answer.
async fn read(body: RequestBody) -> Result<Bytes, Answer> {
    let RequestBody::Stream(body) = body else { return Ok(Bytes::new()) };
    let reading = Limited::new(body, MOST_BODY_BYTES).collect();
    match timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => {
            Err(Answer::text(StatusCode::BAD_REQUEST, format!("bad body: {error}\n")))
        }
        Err(_) => Err(Answer::text(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n")),
    }
}

fn names_this_machine(head: &http::request::Parts) -> bool {
    let host = head.headers.get(HOST).map(HeaderValue::as_bytes);
    let host = host.map(|host| Authority::try_from(host).ok());
    // HTTP/2 has it in the URI; where both are there, neither may be another's name.
    let mut named = head.uri.authority().cloned().map(Some).into_iter().chain(host).peekable();
    named.peek().is_some() && named.all(|named| named.is_some_and(|named| is_local(named.host())))
}

fn is_local(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn is_json(request: &Request) -> bool {
    let content_type = request.head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = content_type.and_then(|value| value.split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

fn respond(answer: Answer) -> http::Response<Body> {
    let mut response = http::Response::new(Body::from(Bytes::from(answer.text)));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(allow) = answer.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if answer.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

const INDEX: &str = "\
Seawall's admin API
  GET  /healthz  whether the process runs
  GET  /readyz   whether it takes traffic (503 while it drains)
  GET  /metrics  counters, gauges and histograms for Prometheus
  GET  /stats    memory, what more or less of it would do, keys, flights, configuration, as JSON
  POST /reload   reads the configuration again; what was in force stays where it has a fault
  POST /purge    {\"urls\": [\"https://…\"], \"prefixes\": [\"https://…\"], \"tags\": [\"…\"], \"mode\": \"soft\" | \"hard\" | \"refresh\"},
                 {\"hosts\": [\"…\"]}, {\"groups\": [\"…\"], \"origin\": \"https://…\"} or {\"kind\": \"all\"};
                 with \"wait\": \"all\" and \"timeout\": SECONDS it answers when every node has done it
                 (202 where some are not known to have); with \"dry_run\": true it says how much of
                 this node's memory that would take, and does nothing; with \"measure\": true, too, what it
                 would mean for the origin, which takes a second; \"refresh\" is soft, and what is in use is refreshed at a bounded pace
  POST /explain  {\"method\": \"GET\", \"url\": \"https://…\", \"headers\": [[\"name\", \"value\"]], \"client\": \"192.0.2.1\"}:
                 what would be done with that request now and why; nothing is done
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_this_machine() {
        for host in ["localhost", "LOCALHOST:9180", "127.0.0.1:9180", "[::1]:9180", "[::1]"] {
            let request = http::Request::get("/stats").header(HOST, host).body(());
            let (head, ()) = request.expect("a request").into_parts();
            assert!(names_this_machine(&head), "{host}");
        }
        for (uri, host) in [
            ("/stats", Some("rebound.example:9180")),
            ("/stats", Some("localhost.rebound.example")),
            ("/stats", Some("127.0.0.1.rebound.example")),
            ("/stats", Some("")),
            ("/stats", None),
            ("http://rebound.example/stats", Some("localhost")),
            ("http://localhost/stats", Some("rebound.example")),
        ] {
            let mut request = http::Request::get(uri);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let (head, ()) = request.body(()).expect("a request").into_parts();
            assert!(!names_this_machine(&head), "{uri} {host:?}");
        }
    }
}
