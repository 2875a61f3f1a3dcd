//! What was purged on a node does not come back to it from Redis.

use seawall::store::remote::fleet::Read;
use seawall::store::remote::{Looked, Wrote};

use super::{from_tier, node, two};
use crate::support::*;

/// Has `one` fetch and write `/a`.
async fn written(one: &Proxy, path: &str) {
    one.get(path).await;
    one.wrote(Wrote::Stored, 1).await;
}

/// An origin that numbers its answers, all with a tag.
async fn numbering() -> Origin {
    Origin::start(|request| ok(format!("{}", request.number)).fresh(600).with("Cache-Tag", "page"))
        .await
}

fn tagged(settings: &mut seawall::config::Settings) {
    use seawall::config::{CliOverrides, parse};
    let file =
        "[upstream.origin]\nurl = \"http://127.0.0.1\"\n[[rule]]\ntags.listed = [\"Cache-Tag\"]\n";
    let read = parse(file, &CliOverrides::default()).unwrap_or_else(|faults| panic!("{faults}"));
    settings.proxy.rules = read.proxy.rules;
}

async fn tagging(redis: &Redis, origin: &Origin) -> Proxy {
    let proxy = Proxy::with(origin, |settings| {
        redis.configure(settings);
        tagged(settings);
    });
    let proxy = proxy.await;
    proxy.joined().await;
    proxy
}

#[tokio::test]
async fn whatever_the_purge_covers_by_it_is_not_had_from_redis() {
    for (kind, value) in [
        ("url", "http://example.test/a"),
        ("prefix", "http://example.test/"),
        ("tag", "page"),
        ("all", ""),
    ] {
        let (redis, origin) = (Redis::start().await, numbering().await);
        let one = tagging(&redis, &origin).await;
        written(&one, "/a").await;
        assert!(one.get("/a").await.is_hit());
        one.purge(kind, value, "hard").await;
        let after = one.get("/a").await;
        assert_eq!(after.text(), "1", "{kind}");
    }
}

/// The copy that another node wrote is as old.
#[tokio::test]
async fn what_another_node_fetched_before_a_purge_is_covered_by_it() {
    for (kind, value) in [("prefix", "http://example.test/"), ("tag", "page"), ("all", "")] {
        let (redis, origin) = (Redis::start().await, numbering().await);
        let (one, other) = (tagging(&redis, &origin).await, tagging(&redis, &origin).await);
        written(&other, "/a").await;
        one.advance(secs(60));
        one.purge(kind, value, "hard").await;
        assert_eq!(one.get("/a").await.text(), "1", "{kind}");
        assert_eq!(one.looked(Looked::Purged), 1, "{kind}");
        // Written by another after the purge, it is good again.
        one.wrote(Wrote::Stored, 1).await;
        let third = tagging(&redis, &origin).await;
        assert_eq!(third.get("/a").await.text(), "1", "{kind}");
    }
}

#[tokio::test]
async fn what_another_node_fetched_after_a_purge_is_used() {
    let (redis, origin) = (Redis::start().await, numbering().await);
    let (one, other) = two(&redis, &origin).await;
    one.purge("all", "", "hard").await;
    other.read(Read::Applied, 1).await;
    written(&other, "/a").await;
    assert!(from_tier(&one.get("/a").await));
}

#[tokio::test]
async fn a_purge_of_a_url_outlives_the_process_with_all_variants() {
    let redis = Redis::start().await;
    let origin = Origin::start(|request| {
        let kind = request.field("X-Kind").unwrap_or_default();
        ok(format!("{}{kind}", request.number)).fresh(600).with("Vary", "X-Kind")
    })
    .await;
    let one = node(&redis, &origin).await;
    one.send(&get("/a").with("X-Kind", "x")).await;
    one.send(&get("/a").with("X-Kind", "y")).await;
    one.wrote(Wrote::Stored, 2).await;
    one.purge("url", "http://example.test/a", "hard").await;
    one.wrote(Wrote::Deleted, 1).await;
    // One variant is fetched again: the other must not come back with it.
    one.send(&get("/a").with("X-Kind", "x")).await;
    one.wrote(Wrote::Stored, 3).await;
    drop(one);
    let next = node(&redis, &origin).await;
    assert_eq!(next.send(&get("/a").with("X-Kind", "x")).await.text(), "2x");
    assert_eq!(next.send(&get("/a").with("X-Kind", "y")).await.text(), "3y");
}

/// RFC 9111 §4.4.
#[tokio::test]
async fn an_unsafe_request_takes_what_it_changes_from_redis() {
    let (redis, origin) = (Redis::start().await, numbering().await);
    let (one, other) = two(&redis, &origin).await;
    written(&one, "/a").await;
    one.send(&post("/a", "new")).await;
    assert_eq!(one.get("/a").await.text(), "2", "at once, whatever Redis still has");
    one.wrote(Wrote::Deleted, 1).await;
    one.wrote(Wrote::Stored, 2).await;
    assert_eq!(other.get("/a").await.text(), "2");
}

#[tokio::test]
async fn after_a_soft_purge_what_redis_has_is_stale() {
    let redis = Redis::start().await;
    let origin = Origin::start(|request| match request.field("If-None-Match") {
        Some(_) => status(304).fresh(600).with("ETag", "\"a\""),
        None => ok("body").fresh(600).with("ETag", "\"a\""),
    })
    .await;
    let (one, other) = two(&redis, &origin).await;
    written(&other, "/a").await;
    one.advance(secs(60));
    one.purge("all", "", "soft").await;
    let response = one.get("/a").await;
    assert_eq!(response.text(), "body");
    assert_eq!(origin.last().field("If-None-Match"), Some("\"a\""), "confirmed first");
    one.wrote(Wrote::Stored, 1).await;
    assert!(one.get("/a").await.is_hit());
}

/// The fetch had begun before the purge, its answer comes after.
#[tokio::test]
async fn a_fetch_begun_before_a_purge_is_not_written() {
    let redis = Redis::start().await;
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.number {
        0 => ok("before").fresh(600).gate(&held),
        _ => ok("after").fresh(600),
    })
    .await;
    let (one, other) = two(&redis, &origin).await;
    let slow = one.start_all(1, &get("/a")).await;
    origin.arrived(1).await;
    one.purge("all", "", "hard").await;
    gate.open();
    all(slow).await;
    assert_eq!(other.get("/a").await.text(), "after");
    other.wrote(Wrote::Stored, 1).await;
    assert_eq!(one.get("/a").await.text(), "after");
}

#[tokio::test]
async fn what_waits_to_be_written_is_not_after_a_purge() {
    let mut redis = Redis::start().await;
    let origin = numbering().await;
    let one = node(&redis, &origin).await;
    redis.kill();
    one.parted().await;
    one.get("/a").await;
    eventually("it to wait", || one.tier().waiting().0 == 1).await;
    one.purge("prefix", "http://example.test/", "hard").await;
    redis.resume().await;
    one.wrote(Wrote::Outdated, 1).await;
    assert_eq!(redis.keys().await.len(), 0);
}

#[tokio::test]
async fn a_purge_while_redis_is_away_is_done_when_it_is_back() {
    let redis = Redis::start().await;
    let origin = numbering().await;
    let one = node(&redis, &origin).await;
    written(&one, "/a").await;
    redis.run_line("CLIENT PAUSE 500 ALL").await;
    one.purge("url", "http://example.test/a", "hard").await;
    one.wrote(Wrote::Deleted, 1).await;
    assert_eq!(redis.keys().await.len(), 0);
}
