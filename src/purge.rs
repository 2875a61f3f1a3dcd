//! `seawall purge`: asks a running node, over its admin listener, to forget.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use seawall::config::Origin;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::Purge;

/// Bound on the whole exchange.
const DEADLINE: Duration = Duration::from_secs(10);
/// Bound on the answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What `POST /purge` is sent.
#[derive(Debug, Serialize)]
struct Order<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    mode: &'static str,
}

/// What it answers.
#[derive(Debug, Deserialize)]
struct Receipt {
    sequence: u64,
}

/// Why a purge was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PurgeError {
    #[error("the admin listener speaks plain http; write http:// in --admin")]
    Https,
    #[error("cannot reach the admin listener at {at}: {cause}")]
    Unreachable { at: String, cause: io::Error },
    #[error("the admin listener at {0} gave no answer within 10s")]
    Late(String),
    #[error("the admin listener broke the connection: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the token cannot stand in a header field")]
    Token(#[from] http::Error),
    #[error("the admin listener wants a token: give SEAWALL_ADMIN_TOKEN or --token")]
    Unauthorized,
    #[error("the admin listener refused ({status}): {why}")]
    Refused { status: StatusCode, why: String },
    #[error("this is not the answer of an admin listener; is the address right?")]
    Strange,
    #[error("cannot start: {0}")]
    Start(io::Error),
}

/// Does it and says what was done, in a sentence.
pub(crate) fn run(purge: &Purge) -> Result<String, PurgeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(PurgeError::Start)?;
    runtime.block_on(async {
        let done = timeout(DEADLINE, send(purge)).await;
        done.unwrap_or_else(|_| Err(PurgeError::Late(authority(&purge.admin))))
    })
}

async fn send(purge: &Purge) -> Result<String, PurgeError> {
    if purge.admin.tls {
        return Err(PurgeError::Https);
    }
    let order = order(purge);
    let response = exchange(&purge.admin, request(purge, &order)?).await?;
    let status = response.status();
    let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let answer = answer.map_err(|_| PurgeError::Strange)?.to_bytes();
    match status {
        StatusCode::UNAUTHORIZED => Err(PurgeError::Unauthorized),
        status if status.is_success() => {
            let receipt: Receipt =
                serde_json::from_slice(&answer).map_err(|_| PurgeError::Strange)?;
            Ok(sentence(&order, receipt.sequence))
        }
        status => Err(PurgeError::Refused { status, why: printable(&answer) }),
    }
}

fn order(purge: &Purge) -> Order<'_> {
    let (kind, value) = match (&purge.url, &purge.prefix) {
        (Some(url), _) => (Some("url"), Some(url.as_str())),
        (None, Some(prefix)) => (Some("prefix"), Some(prefix.as_str())),
        (None, None) => (purge.all.then_some("all"), None),
    };
    let Purge { tags, groups, origin, .. } = purge;
    let mode = if purge.hard { "hard" } else { "soft" };
    Order { kind, value, tags, groups, origin: origin.as_deref(), mode }
}

fn request(purge: &Purge, order: &Order<'_>) -> Result<Request<Full<Bytes>>, PurgeError> {
    let mut request = Request::post("/purge")
        .header(HOST, authority(&purge.admin))
        .header(CONTENT_TYPE, "application/json");
    if let Some(token) = purge.token.as_deref().filter(|token| !token.is_empty()) {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = serde_json::to_vec(order).map_err(|_| PurgeError::Strange)?;
    Ok(request.body(Full::from(body))?)
}

async fn exchange(
    admin: &Origin,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, PurgeError> {
    let connected = TcpStream::connect((admin.host.as_str(), admin.port)).await;
    let stream =
        connected.map_err(|cause| PurgeError::Unreachable { at: authority(admin), cause })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

fn authority(admin: &Origin) -> String {
    let Origin { host, port, .. } = admin;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn sentence(order: &Order<'_>, sequence: u64) -> String {
    let what = match (order.kind, order.value) {
        (Some("prefix"), Some(prefix)) => format!("everything below {prefix}"),
        (_, Some(url)) => url.to_owned(),
        (Some(_), None) => "everything".to_owned(),
        (None, None) => match order.origin {
            Some(origin) => format!("what is in {} of {origin}", order.groups.join(", ")),
            None => format!("what has {}", order.tags.join(", ")),
        },
    };
    let how = if order.mode == "hard" { "removed" } else { "made stale" };
    format!("{what}: {how} (purge {sequence})")
}

/// The answer's text, without what could steer a terminal.
fn printable(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.trim().chars().filter(|letter| !letter.is_control()).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use hyper::server::conn::http1 as server;
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    fn command(arguments: &str) -> Purge {
        let line = format!("seawall purge {arguments}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Purge(purge) => purge,
            other => panic!("{other:?}"),
        }
    }

    /// Sends `arguments` to an admin listener that answers so; gives what it received, too.
    async fn purge(
        arguments: &str,
        status: u16,
        answer: &'static str,
    ) -> (Result<String, PurgeError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let node = async {
            let (received, mut orders) = tokio::sync::mpsc::unbounded_channel();
            let service = service_fn(|request: Request<Incoming>| {
                let received = received.clone();
                async move {
                    let token = request.headers().get(AUTHORIZATION).cloned();
                    let body = request.into_body().collect().await?.to_bytes();
                    let order = format!("{} {token:?}", String::from_utf8_lossy(&body));
                    received.send(order).unwrap();
                    let body = Full::new(Bytes::from(answer));
                    Ok::<_, hyper::Error>(Response::builder().status(status).body(body).unwrap())
                }
            });
            let (stream, _) = listener.accept().await.unwrap();
            let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            orders.recv().await.unwrap()
        };
        let purge = command(&format!("{arguments} --admin http://127.0.0.1:{port}"));
        tokio::join!(send(&purge), node)
    }

    #[tokio::test]
    async fn a_purge_is_ordered_and_confirmed() {
        let (done, order) = purge("--url http://a.test/x --hard", 200, r#"{"sequence":7}"#).await;
        assert_eq!(done.unwrap(), "http://a.test/x: removed (purge 7)");
        assert_eq!(order, r#"{"kind":"url","value":"http://a.test/x","mode":"hard"} None"#);
        let (done, order) = purge("--all --token secret", 200, r#"{"sequence":8,"more":1}"#).await;
        assert_eq!(done.unwrap(), "everything: made stale (purge 8)");
        assert_eq!(order, r#"{"kind":"all","mode":"soft"} Some("Bearer secret")"#);
        let (done, order) = purge("--tag a --tag b --soft", 200, r#"{"sequence":9}"#).await;
        assert_eq!(done.unwrap(), "what has a, b: made stale (purge 9)");
        assert_eq!(order, r#"{"tags":["a","b"],"mode":"soft"} None"#);
        let grouped = "--group g --origin http://a.test --hard";
        let (done, order) = purge(grouped, 200, r#"{"sequence":9}"#).await;
        assert_eq!(done.unwrap(), "what is in g of http://a.test: removed (purge 9)");
        assert_eq!(order, r#"{"groups":["g"],"origin":"http://a.test","mode":"hard"} None"#);
    }

    #[tokio::test]
    async fn refusals_say_why() {
        let (refused, _) = purge("--all", 401, "").await;
        assert!(matches!(refused, Err(PurgeError::Unauthorized)));
        let (refused, _) = purge("--prefix http://a.test/x", 400, "not a\u{1b} URL").await;
        let sentence = refused.unwrap_err().to_string();
        assert!(sentence.ends_with("(400 Bad Request): not a URL"), "{sentence}");
        let (strange, _) = purge("--all", 200, "<html>").await;
        assert!(matches!(strange, Err(PurgeError::Strange)));
    }
}
