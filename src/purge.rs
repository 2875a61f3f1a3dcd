//! `seawall purge`: asks a running node, over its admin listener, to forget.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::ask::{self, AskError};
use crate::cli::Purge;

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

/// Does it and says what was done, in a sentence.
pub(crate) fn run(purge: &Purge) -> Result<String, AskError> {
    let order = order(purge);
    let body = serde_json::to_vec(&order).map_err(|_| AskError::Strange)?;
    let (status, answer) = ask::post(&purge.access, "/purge", body)?;
    done(&order, status, &answer)
}

fn done(order: &Order<'_>, status: StatusCode, answer: &[u8]) -> Result<String, AskError> {
    if !status.is_success() {
        return Err(AskError::Refused { status, why: ask::printable(answer) });
    }
    let receipt: Receipt = serde_json::from_slice(answer).map_err(|_| AskError::Strange)?;
    Ok(sentence(order, receipt.sequence))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use bytes::Bytes;
    use clap::Parser;
    use http::header::AUTHORIZATION;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use hyper::body::Incoming;
    use hyper::server::conn::http1 as server;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
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
    ) -> (Result<String, AskError>, String) {
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
        let order = order(&purge);
        let body = serde_json::to_vec(&order).unwrap();
        let (answer, sent) = tokio::join!(ask::send(&purge.access, "/purge", body), node);
        (answer.and_then(|(status, answer)| done(&order, status, &answer)), sent)
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
        assert!(matches!(refused, Err(AskError::Unauthorized)));
        let (refused, _) = purge("--prefix http://a.test/x", 400, "not a\u{1b} URL").await;
        let sentence = refused.unwrap_err().to_string();
        assert!(sentence.ends_with("(400 Bad Request): not a URL"), "{sentence}");
        let (strange, _) = purge("--all", 200, "<html>").await;
        assert!(matches!(strange, Err(AskError::Strange)));
    }
}
