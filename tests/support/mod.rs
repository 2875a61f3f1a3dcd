//! Both ends of the proxy, scripted: an origin that can misbehave and clients that see every byte.
//!
//! Nothing here sleeps. Time for the cache moves by [`Proxy::advance`]; waits are on gates and
//! counters, each under [`within`] so that a fault is a failed test and not a hanging one.

mod answer;
mod client;
mod cluster;
mod conn;
pub mod frames;
mod gate;
mod http2;
mod message;
mod origin;
mod program;
mod proxy;
mod redis;
mod sentinel;
mod tls;

pub use answer::{Answer, given, ok, raw, status};
pub use client::{Client, Request, Response, delete, get, head, post, put, request};
pub use cluster::Sharded;
pub use conn::Conn;
pub use gate::Gate;
pub use http2::{H2Client, h2_origin};
pub use message::{Fault as Unreadable, Framing, Io, Wire as Reader, find, framing};
pub use origin::{Origin, Seen};
pub use program::{Served, seawall, temporary};
pub use proxy::{Proxy, SettingsExt, all, alone, rss};
pub use redis::Redis;
pub use sentinel::Watched;
pub use tls::Authority;

use std::future::Future;
use std::time::Duration;

use seawall::clock::Timestamp;
use seawall::config::Settings;
use time::OffsetDateTime;
use time::macros::format_description;

/// How long any wait may take before the test is called failed: far above what any needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// The result of `future`, which must come before the test's patience ends.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let output = tokio::time::timeout(PATIENCE, future).await;
    output.unwrap_or_else(|_elapsed| panic!("gave up waiting for {what}"))
}

/// Waits until `condition` holds. For what has no event to wait for, such as a counter inside the
/// proxy; it yields instead of sleeping.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        while !condition() {
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Seconds, for less noise in tests.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Milliseconds, likewise.
pub const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// An origin that gives every request this answer, and a proxy in front of it.
pub async fn stage(answer: Answer) -> (Origin, Proxy) {
    let origin = Origin::answering(answer).await;
    let proxy = Proxy::start(&origin).await;
    (origin, proxy)
}

/// An origin that gives the n-th request the n-th answer (the last one for ever), and a proxy.
pub async fn stages<const N: usize>(answers: [Answer; N]) -> (Origin, Proxy) {
    let origin = Origin::sequence(answers).await;
    let proxy = Proxy::start(&origin).await;
    (origin, proxy)
}

/// `time` as an HTTP date (RFC 9110 §5.6.7).
pub fn http_date(time: Timestamp) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let time = OffsetDateTime::from_unix_timestamp(time.as_secs()).expect("a year below 9999");
    time.format(format).expect("every part is there")
}

/// Asks for each answer twice, `later` seconds apart, and expects the second to be answered from
/// the first (`expected`), or not, in every case.
pub async fn expect_reuse<const N: usize>(later: u64, expected: bool, cases: [Answer; N]) {
    expect_reuse_with(|_| (), later, expected, cases).await;
}

/// Likewise, with settings that `tune` changed.
pub async fn expect_reuse_with<const N: usize>(
    tune: impl FnOnce(&mut Settings),
    later: u64,
    expected: bool,
    cases: [Answer; N],
) {
    let scripted = cases.clone();
    let case_of = |target: &str| target[1..].parse::<usize>().expect("the case's number");
    let origin = Origin::start(move |request| scripted[case_of(&request.target)].clone()).await;
    let proxy = Proxy::with(&origin, tune).await;
    for case in 0..N {
        let first = proxy.get(&format!("/{case}")).await;
        assert!(first.complete && !first.is_hit(), "case {case}: {first:?}");
    }
    proxy.advance(secs(later));
    let mut wrong = Vec::new();
    for (case, answer) in cases.iter().enumerate() {
        let asked = origin.count();
        let second = proxy.get(&format!("/{case}")).await;
        let reused = origin.count() == asked;
        assert_eq!(reused, second.is_hit(), "Cache-Status tells what happened: {second:?}");
        if reused != expected {
            wrong.push((answer.summary(), second.cache_status().to_owned()));
        }
    }
    assert!(wrong.is_empty(), "reused: {}, for {wrong:#?}", !expected);
}
