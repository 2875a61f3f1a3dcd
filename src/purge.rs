//! `seawall purge`: asks a running node, over its admin listener, to forget.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::ask::{self, AskError};
use crate::cli::{Purge, Whom};

/// What `POST /purge` is sent.
#[derive(Clone, Debug, Serialize)]
struct Order<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    hosts: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    measure: bool,
}

/// Responses beyond which a hard purge of more than half of all is asked for twice.
const GUARDED: u64 = 1000;

/// What it answers to a dry run.
#[derive(Debug, Deserialize)]
struct Covered {
    responses: u64,
    bytes: u64,
    of_responses: u64,
    of_bytes: u64,
    expected: Option<Expected>,
}

/// What that would mean for the origin.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Expected {
    used_lately: u64,
    requests_per_second: f64,
    first_second: f64,
    measured_per_second: f64,
}

/// What it answers.
#[derive(Debug, Deserialize)]
struct Receipt {
    sequence: u64,
    fleet: Option<String>,
    acknowledged: Option<Vec<String>>,
    missing: Option<Vec<Missing>>,
}

#[derive(Debug, Deserialize)]
struct Missing {
    node: String,
    silent_ms: u64,
}

/// What came of it, in words.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All that was asked for is done.
    Done(String),
    /// The purge is done, and not all who were waited for are known to have done it.
    Unacknowledged(String),
    /// Nothing is done, for it would take too much.
    Guarded(String),
}

/// Does it and says what was done, in a sentence.
pub(crate) fn run(purge: &Purge) -> Result<Outcome, AskError> {
    let order = order(purge);
    let is_wide = order.kind != Some("url") && order.mode == "hard";
    if purge.dry_run || is_wide && !purge.yes {
        let (dry_run, measure) = (true, purge.dry_run);
        let asked = Order { wait: None, timeout: None, dry_run, measure, ..order.clone() };
        let (status, answer) = ask::post(&purge.access, "/purge", body(&asked)?)?;
        let covered = covered(status, &answer)?;
        if purge.dry_run {
            return Ok(Outcome::Done(would(&order, &covered)));
        }
        if covered.responses > GUARDED && covered.responses > covered.of_responses / 2 {
            let said = would(&order, &covered);
            return Ok(Outcome::Guarded(format!("not done: {said}; --yes does it all the same")));
        }
    }
    let longer = Duration::from_secs(order.timeout.unwrap_or(0));
    let (status, answer) = ask::post_and_wait(&purge.access, "/purge", body(&order)?, longer)?;
    done(&order, status, &answer)
}

fn body(order: &Order<'_>) -> Result<Vec<u8>, AskError> {
    serde_json::to_vec(order).map_err(|_| AskError::Strange)
}

fn covered(status: StatusCode, answer: &[u8]) -> Result<Covered, AskError> {
    if !status.is_success() {
        return Err(AskError::Refused { status, why: ask::printable(answer) });
    }
    serde_json::from_slice(answer).map_err(|_| AskError::Strange)
}

/// What a purge would take of the memory of the node that was asked.
fn would(order: &Order<'_>, covered: &Covered) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    let Covered { responses, bytes, of_responses, of_bytes, expected } = covered;
    let (bytes, of_bytes) = (*bytes as f64 / MIB, *of_bytes as f64 / MIB);
    let (what, how) = (subject(order), if order.mode == "hard" { "remove" } else { "make stale" });
    format!(
        "{what}: this would {how} {responses} of {of_responses} responses ({bytes:.1} of \
         {of_bytes:.1} MiB) in this node's memory{}",
        expected.as_ref().map(load).unwrap_or_default()
    )
}

/// What the origin has to expect, and what that is based on.
fn load(expected: &Expected) -> String {
    let Expected { used_lately, requests_per_second, first_second, measured_per_second } = expected;
    if *used_lately == 0 {
        return "; nobody has asked for any of them lately".to_owned();
    }
    format!(
        "\n{used_lately} of them have been asked for lately. Of the {measured_per_second:.0} requests \
         that memory answered in the last second, some {requests_per_second:.0} were for them: the \
         origin would be asked some {first_second:.0} times in the first second, and less in each \
         after that, once for each. This is an estimate from how often this node was asked for each \
         of late; other nodes have their own"
    )
}

fn done(order: &Order<'_>, status: StatusCode, answer: &[u8]) -> Result<Outcome, AskError> {
    if !status.is_success() {
        return Err(AskError::Refused { status, why: ask::printable(answer) });
    }
    let receipt: Receipt = serde_json::from_slice(answer).map_err(|_| AskError::Strange)?;
    let said = sentence(order, &receipt);
    Ok(if status == StatusCode::ACCEPTED {
        Outcome::Unacknowledged(format!("{said}\n{}", unacknowledged(&receipt)))
    } else {
        Outcome::Done(said)
    })
}

/// Why nobody can say that all have done it.
fn unacknowledged(receipt: &Receipt) -> String {
    let missing = receipt.missing.as_deref().unwrap_or_default();
    if receipt.fleet.is_none() {
        return "not acknowledged: Redis has not taken the purge; it will get it when it is back"
            .to_owned();
    }
    if missing.is_empty() {
        return "not acknowledged: Redis does not tell who is there".to_owned();
    }
    let named = missing.iter().map(|Missing { node, silent_ms }| {
        let node = ask::printable(node.as_bytes());
        format!("not acknowledged by {node}, last heard of {:.1}s ago", *silent_ms as f64 / 1000.0)
    });
    named.collect::<Vec<_>>().join("\n")
}

fn order(purge: &Purge) -> Order<'_> {
    let (kind, value) = match (&purge.url, &purge.prefix) {
        (Some(url), _) => (Some("url"), Some(url.as_str())),
        (None, Some(prefix)) => (Some("prefix"), Some(prefix.as_str())),
        (None, None) => (purge.all.then_some("all"), None),
    };
    let Purge { hosts, tags, groups, origin, .. } = purge;
    let mode = match (purge.hard, purge.refresh) {
        (true, _) => "hard",
        (false, true) => "refresh",
        (false, false) => "soft",
    };
    let wait = purge.wait.map(|Whom::All| "all");
    let timeout = wait.map(|_| purge.timeout);
    Order {
        kind,
        value,
        hosts,
        tags,
        groups,
        origin: origin.as_deref(),
        mode,
        wait,
        timeout,
        dry_run: false,
        measure: false,
    }
}

fn subject(order: &Order<'_>) -> String {
    match (order.kind, order.value) {
        (Some("prefix"), Some(prefix)) => format!("everything below {prefix}"),
        (_, Some(url)) => url.to_owned(),
        (Some(_), None) => "everything".to_owned(),
        (None, None) => match order.origin {
            Some(origin) => format!("what is in {} of {origin}", order.groups.join(", ")),
            None if order.tags.is_empty() => format!("all of {}", order.hosts.join(", ")),
            None => format!("what has {}", order.tags.join(", ")),
        },
    }
}

fn sentence(order: &Order<'_>, receipt: &Receipt) -> String {
    let what = subject(order);
    let how = match order.mode {
        "hard" => "removed",
        "refresh" => "made stale, and what is in use is being refreshed",
        _ => "made stale",
    };
    let number = receipt.fleet.as_deref().map(|place| ask::printable(place.as_bytes()));
    let number = number.unwrap_or_else(|| receipt.sequence.to_string());
    match receipt.acknowledged.as_ref().map(Vec::len) {
        None => format!("{what}: {how} (purge {number})"),
        Some(1) => format!("{what}: {how} (purge {number}, acknowledged by 1 node)"),
        Some(count) => format!("{what}: {how} (purge {number}, acknowledged by {count} nodes)"),
    }
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
    ) -> (Result<Outcome, AskError>, String) {
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
        let body = body(&order).unwrap();
        let (answer, sent) = tokio::join!(ask::send(&purge.access, "/purge", body), node);
        (answer.and_then(|(status, answer)| done(&order, status, &answer)), sent)
    }

    fn good(done: Result<Outcome, AskError>) -> String {
        match done.unwrap() {
            Outcome::Done(said) => said,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn who_has_not_acknowledged_is_named() {
        let arguments = "--host a.test --wait all --timeout 3";
        let all = r#"{"sequence":7,"fleet":"ab:1-1","acknowledged":["a","b"],"missing":[]}"#;
        let (done, order) = purge(arguments, 200, all).await;
        let said = "all of a.test: made stale (purge ab:1-1, acknowledged by 2 nodes)";
        assert_eq!(good(done), said);
        assert_eq!(order, r#"{"hosts":["a.test"],"mode":"soft","wait":"all","timeout":3} None"#);
        for (answer, named) in [
            (
                r#"{"sequence":7,"fleet":"ab:1-1","acknowledged":["a"],
                    "missing":[{"node":"b\u001b","silent_ms":1234}]}"#,
                "not acknowledged by b, last heard of 1.2s ago",
            ),
            (r#"{"sequence":7,"acknowledged":[],"missing":[]}"#, "Redis has not taken"),
            (r#"{"sequence":7,"fleet":"ab:1-1","acknowledged":[],"missing":[]}"#, "who is there"),
        ] {
            let (done, _) = purge(arguments, 202, answer).await;
            let Outcome::Unacknowledged(said) = done.unwrap() else { panic!("{answer}") };
            assert!(said.contains(named), "{said}");
        }
    }

    #[tokio::test]
    async fn a_purge_is_ordered_and_confirmed() {
        let (done, order) = purge("--url http://a.test/x --hard", 200, r#"{"sequence":7}"#).await;
        assert_eq!(good(done), "http://a.test/x: removed (purge 7)");
        assert_eq!(order, r#"{"kind":"url","value":"http://a.test/x","mode":"hard"} None"#);
        let (done, order) = purge("--all --token secret", 200, r#"{"sequence":8,"more":1}"#).await;
        assert_eq!(good(done), "everything: made stale (purge 8)");
        assert_eq!(order, r#"{"kind":"all","mode":"soft"} Some("Bearer secret")"#);
        let (done, order) = purge("--tag a --refresh", 200, r#"{"sequence":8}"#).await;
        assert!(good(done).contains("is being refreshed (purge 8)"));
        assert_eq!(order, r#"{"tags":["a"],"mode":"refresh"} None"#);
        let (done, order) = purge("--tag a --tag b --soft", 200, r#"{"sequence":9}"#).await;
        assert_eq!(good(done), "what has a, b: made stale (purge 9)");
        assert_eq!(order, r#"{"tags":["a","b"],"mode":"soft"} None"#);
        let grouped = "--group g --origin http://a.test --hard";
        let (done, order) = purge(grouped, 200, r#"{"sequence":9}"#).await;
        assert_eq!(good(done), "what is in g of http://a.test: removed (purge 9)");
        assert_eq!(order, r#"{"groups":["g"],"origin":"http://a.test","mode":"hard"} None"#);
    }

    #[test]
    fn a_dry_run_says_what_it_would_take() {
        let answer = br#"{"responses":7,"bytes":1048576,"of_responses":9,"of_bytes":3145728,
            "expected":{"used_lately":5,"requests_per_second":40.4,"first_second":4.9,
                        "measured_per_second":100}}"#;
        let mut covered = covered(StatusCode::OK, answer).unwrap();
        let said = would(&order(&command("--tag a --hard")), &covered);
        let taken =
            "what has a: this would remove 7 of 9 responses (1.0 of 3.0 MiB) in this node's memory";
        assert!(said.starts_with(taken), "{said}");
        assert!(said.contains("asked some 5 times in the first second"), "{said}");
        covered.expected.as_mut().unwrap().used_lately = 0;
        let said = would(&order(&command("--tag a --hard")), &covered);
        assert!(said.ends_with("nobody has asked for any of them lately"), "{said}");
        covered.expected = None;
        assert_eq!(would(&order(&command("--tag a --hard")), &covered), taken);
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
