//! Purges of the whole fleet: what is purged anywhere is gone everywhere.

mod acknowledged;
mod away;
mod cluster;
mod command;
mod entries;
mod failover;
mod refresh;
mod storm;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seawall::config::{CliOverrides, Settings, parse};
use seawall::store::remote::fleet::Read;
use seawall::store::remote::{Looked, Wrote};

use crate::support::*;

/// An origin whose content has a version that the test moves; it says so in the body and the tag.
/// All of it is fresh for ten minutes, has the tag `page`, and is in the group `g`.
struct Site {
    origin: Origin,
    version: Arc<AtomicU64>,
}

impl Site {
    async fn start() -> Self {
        let version = Arc::new(AtomicU64::new(1));
        let shared = Arc::clone(&version);
        let origin = Origin::start(move |request| {
            let tag = format!("\"{}\"", shared.load(Ordering::SeqCst));
            let answer = match request.field("If-None-Match") {
                Some(known) if known == tag => status(304),
                _ => ok(tag.trim_matches('"')),
            };
            answer
                .fresh(600)
                .with("ETag", &tag)
                .with("Cache-Tag", "page")
                .with("Cache-Groups", "\"g\"")
        });
        Self { origin: origin.await, version }
    }

    /// From now on there is something else to be had.
    fn change(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    async fn node(&self, redis: &Redis) -> Proxy {
        self.node_with(redis, |_| ()).await
    }

    async fn node_with(&self, redis: &Redis, tune: impl FnOnce(&mut Settings)) -> Proxy {
        let configure = |settings: &mut Settings| {
            redis.configure(settings);
            tune(settings);
        };
        self.joined_by(configure).await
    }

    /// A node that has found Redis, whatever that is, by these settings.
    async fn joined_by(&self, configure: impl FnOnce(&mut Settings)) -> Proxy {
        let proxy = Proxy::with(&self.origin, |settings| {
            tagged(settings);
            configure(settings);
        });
        let proxy = proxy.await;
        proxy.joined().await;
        proxy
    }
}

/// Waits for other nodes longer than a busy machine takes for anything.
fn patient(settings: &mut Settings) {
    settings.tier.lease_wait = Some(secs(15));
    settings.tier.lease = secs(15);
}

fn tagged(settings: &mut Settings) {
    let file =
        "[upstream.origin]\nurl = \"http://127.0.0.1\"\n[[rule]]\ntags.listed = [\"Cache-Tag\"]\n";
    let read = parse(file, &CliOverrides::default()).unwrap_or_else(|faults| panic!("{faults}"));
    settings.proxy.rules = read.proxy.rules;
    settings.proxy.purge.allow = vec!["127.0.0.0/8".parse().expect("a network")];
}

/// The order for a purge that waits for all nodes, for so many seconds.
fn order(what: &str, mode: &str, seconds: u64) -> Request {
    let wait = format!(r#""mode":"{mode}","wait":"all","timeout":{seconds}"#);
    let order = request("POST", "/purge").with("Content-Type", "application/json");
    order.body(format!("{{{what},{wait}}}"))
}

impl Proxy {
    /// Purges, and returns when every node has done it.
    async fn purge_everywhere(&self, what: &str, mode: &str) {
        let answer = self.ask_admin(&order(what, mode, 20)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// What clients get.
    async fn shows(&self, target: &str) -> String {
        self.get(target).await.text().to_owned()
    }
}

#[tokio::test]
async fn whatever_a_purge_covers_by_it_is_gone_from_the_memory_of_all_nodes() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    for what in [
        r#""urls":["http://example.test/a"]"#,
        r#""prefixes":["http://example.test/"]"#,
        r#""hosts":["example.test"]"#,
        r#""tags":["page"]"#,
        r#""groups":["g"],"origin":"http://example.test""#,
        r#""kind":"all""#,
    ] {
        for mode in ["hard", "soft"] {
            let before = other.shows("/a").await;
            assert!(other.get("/a").await.is_hit());
            site.change();
            one.purge_everywhere(what, mode).await;
            let after = other.shows("/a").await;
            assert_ne!(before, after, "{what} {mode}");
            assert!(other.get("/a").await.is_hit(), "once");
            assert_eq!(one.shows("/a").await, after);
        }
    }
}

#[tokio::test]
async fn a_purge_of_something_else_leaves_it_there() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    other.shows("/a").await;
    site.change();
    one.purge_everywhere(r#""urls":["http://example.test/b"],"tags":["x"]"#, "hard").await;
    one.purge_everywhere(r#""hosts":["other.test"]"#, "hard").await;
    assert!(other.get("/a").await.is_hit());
}

/// RFC 9111 §4.4, for the fleet.
#[tokio::test]
async fn an_unsafe_request_on_one_node_is_heard_by_the_others() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    other.shows("/a").await;
    site.change();
    one.send(&post("/a", "new")).await;
    other.read(Read::Applied, 1).await;
    assert_eq!(other.shows("/a").await, "2");
}

/// What was fetched between asking for a purge and reading it back is not purged by it.
#[tokio::test]
async fn a_node_does_its_own_purge_once() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let one = site.node(&redis).await;
    one.shows("/a").await;
    for count in 1..=20 {
        one.purge("url", "http://example.test/a", "hard").await;
        one.shows("/a").await;
        one.read(Read::Own, count).await;
        assert!(one.get("/a").await.is_hit(), "{count}");
    }
}

#[tokio::test]
async fn a_fill_begun_on_another_node_before_a_purge_is_not_fresh_after_it() {
    let redis = Redis::start().await;
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.number {
        0 => ok("before").fresh(600).gate(&held),
        _ => ok("after").fresh(600),
    })
    .await;
    let site = Site { origin, version: Arc::default() };
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    let slow = one.start_all(1, &get("/a")).await;
    site.origin.arrived(1).await;
    other.purge_everywhere(r#""kind":"all""#, "hard").await;
    gate.open();
    all(slow).await;
    assert_eq!(one.shows("/a").await, "after", "in memory");
    let third = site.node(&redis).await;
    assert_eq!(third.shows("/a").await, "after", "in Redis");
    assert_eq!(other.shows("/a").await, "after");
}

/// By the order of purges: no clock has moved at all.
#[tokio::test]
async fn what_is_in_redis_is_held_against_purges_by_who_knew_what_when_it_was_fetched() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    one.shows("/a").await;
    one.wrote(Wrote::Stored, 1).await;
    site.change();
    other.purge_everywhere(r#""tags":["page"]"#, "hard").await;
    // A node that starts has never heard of it but from the stream.
    let third = site.node(&redis).await;
    assert_eq!(third.shows("/a").await, "2");
    assert_eq!(third.looked(Looked::Purged), 1);
    third.wrote(Wrote::Stored, 1).await;
    // Fetched after the purge, it is good for everybody at once.
    for node in [&one, &other, &site.node(&redis).await] {
        let response = node.get("/a").await;
        assert_eq!(response.text(), "2");
        assert!(response.cache_status().contains("tier-hit"), "{response:?}");
    }
}

#[tokio::test]
async fn metrics_tell_of_purges_and_of_doubts() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    one.purge_everywhere(r#""kind":"all""#, "soft").await;
    let (one, other) =
        (one.ask_admin(&get("/metrics")).await, other.ask_admin(&get("/metrics")).await);
    for (metrics, line) in [
        (&one, "seawall_fleet_published_total 1"),
        (&one, "seawall_fleet_entries_total{result=\"own\"} 1"),
        (&one, "seawall_fleet_synced 1.0"),
        (&other, "seawall_fleet_entries_total{result=\"applied\"} 1"),
        (&other, "seawall_fleet_doubts_total{why=\"joined\"} 1"),
        (&other, "seawall_fleet_unpublished 0.0"),
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line}");
    }
}
