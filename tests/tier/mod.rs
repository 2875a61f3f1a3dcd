//! The tier behind memory: what one node has fetched, all have, and what Redis does to it.

mod bodies;
mod faults;
mod kept_out;
mod leases;
mod policies;
mod protect;
mod purges;
mod secure;
pub mod stalls;

use ::redis::cmd;
use seawall::store::remote::{Looked, Wrote};

use crate::support::*;

/// Two nodes of a fleet in front of one origin.
async fn two(redis: &Redis, origin: &Origin) -> (Proxy, Proxy) {
    (node(redis, origin).await, node(redis, origin).await)
}

/// A node that has found Redis.
async fn node(redis: &Redis, origin: &Origin) -> Proxy {
    let proxy = Proxy::with(origin, |settings| redis.configure(settings)).await;
    proxy.joined().await;
    proxy
}

fn from_tier(response: &Response) -> bool {
    response.is_hit() && response.cache_status().contains("tier-hit")
}

#[tokio::test]
async fn what_one_node_has_fetched_another_does_not_fetch() {
    let redis = Redis::start().await;
    let answer = ok("shared").fresh(600).with("X-Own", "kept").with("Age", "7");
    let origin = Origin::answering(answer).await;
    let (one, other) = two(&redis, &origin).await;
    assert_eq!(one.get("/a?b").await.text(), "shared");
    one.wrote(Wrote::Stored, 1).await;
    one.advance(secs(3));
    let response = other.get("/a?b").await;
    assert!(from_tier(&response), "{response:?}");
    assert_eq!((response.text(), response.field("X-Own")), ("shared", Some("kept")));
    assert_eq!(response.age(), Some(10), "it ages where it stands");
    let again = other.get("/a?b").await;
    assert!(again.is_hit() && !from_tier(&again), "now from memory: {again:?}");
    assert_eq!(origin.count(), 1);
    assert_eq!(other.looked(Looked::Hit), 1);
}

#[tokio::test]
async fn names_in_redis_are_digests_that_expire() {
    let redis = Redis::start().await;
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let proxy = node(&redis, &origin).await;
    proxy.get("/very-secret?token=1").await;
    proxy.wrote(Wrote::Stored, 1).await;
    let keys = redis.keys().await;
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    assert!(key.starts_with("seawall:1:{") && !key.contains("secret"), "{key}");
    let left: i64 = redis.ask(cmd("TTL").arg(key)).await;
    assert!((600..=700).contains(&left), "fresh, and stale while disconnected: {left}");
}

#[tokio::test]
async fn another_namespace_is_another_cache() {
    let redis = Redis::start().await;
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let one = node(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    let other = Proxy::with(&origin, |settings| {
        redis.configure(settings);
        settings.tier.namespace = "other".to_owned();
    });
    let other = other.await;
    other.joined().await;
    other.get("/").await;
    assert_eq!(origin.count(), 2);
}

/// RFC 9111 §4.1.
#[tokio::test]
async fn variants_are_told_apart_by_whatever_field() {
    let redis = Redis::start().await;
    for field in ["Accept-Encoding", "X-Kind"] {
        let origin = Origin::start(move |request| {
            let kind = request.field(field).unwrap_or("none").to_owned();
            ok(kind).fresh(600).with("Vary", field)
        })
        .await;
        let (one, other) = two(&redis, &origin).await;
        let asking = |kind: Option<&str>| match kind {
            Some(kind) => get("/").with(field, kind),
            None => get("/"),
        };
        let kinds = [Some("gzip"), Some("br"), None];
        for kind in kinds {
            one.send(&asking(kind)).await;
        }
        one.wrote(Wrote::Stored, 3).await;
        for kind in kinds {
            let response = other.send(&asking(kind)).await;
            assert_eq!(response.text(), kind.unwrap_or("none"), "{field}");
            assert!(from_tier(&response), "{field}: {response:?}");
        }
        assert_eq!(origin.count(), 3);
        other.send(&asking(Some("zstd"))).await;
        assert_eq!(origin.count(), 4, "{field}: a variant that nobody has fetched");
        redis.run_line("FLUSHALL").await;
    }
}

#[tokio::test]
async fn many_requests_at_once_are_one_lookup() {
    let redis = Redis::start().await;
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    redis.run_line("CLIENT PAUSE 300 ALL").await;
    let responses = other.at_once(50, &get("/")).await;
    assert!(responses.iter().all(|response| response.text() == "x"), "{responses:?}");
    assert_eq!((origin.count(), other.looked(Looked::Hit)), (1, 1));
}

/// RFC 9111 §4.3.
#[tokio::test]
async fn what_is_stale_is_validated_and_the_fleet_has_it_fresh_again() {
    let redis = Redis::start().await;
    let origin = Origin::start(|request| match request.field("If-None-Match") {
        Some("\"a\"") => status(304).fresh(60).with("ETag", "\"a\"").with("X-New", "1"),
        _ => ok("body").fresh(60).with("ETag", "\"a\""),
    })
    .await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    other.advance(secs(61));
    let response = other.get("/").await;
    assert_eq!((response.text(), response.field("X-New")), ("body", Some("1")));
    assert_eq!(origin.last().field("If-None-Match"), Some("\"a\""), "validated from Redis");
    other.wrote(Wrote::Stored, 1).await;
    let fresh = one.get("/").await;
    assert!(from_tier(&fresh), "newer than what memory has: {fresh:?}");
    assert_eq!((fresh.text(), fresh.field("X-New")), ("body", Some("1")));
    assert_eq!(origin.count(), 2);
}

/// RFC 5861 §3.
#[tokio::test]
async fn what_is_stale_within_its_window_is_served_and_refreshed() {
    let redis = Redis::start().await;
    let first = ok("old").with("Cache-Control", "max-age=60, stale-while-revalidate=60");
    let origin = Origin::sequence([first, ok("new").fresh(60)]).await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    other.advance(secs(61));
    let stale = other.get("/").await;
    assert_eq!(stale.text(), "old");
    assert!(stale.cache_status().contains("stale-while-revalidate"), "{stale:?}");
    other.wrote(Wrote::Stored, 1).await;
    assert_eq!(other.get("/").await.text(), "new");
    assert_eq!(one.get("/").await.text(), "old", "memory has it still, within its window");
    let refreshed = || one.looked(Looked::Hit) == 1 && one.flights() == 0;
    eventually("a refresh from Redis", refreshed).await;
    assert_eq!((one.get("/").await.text(), origin.count()), ("new", 2));
}

/// RFC 5861 §4.
#[tokio::test]
async fn a_node_that_has_just_started_has_something_stale_for_when_the_origin_fails() {
    let redis = Redis::start().await;
    let first = ok("old").with("Cache-Control", "max-age=60, stale-if-error=600");
    let origin = Origin::sequence([first, status(503)]).await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    other.advance(secs(61));
    let stale = other.get("/").await;
    assert_eq!((stale.status, stale.text()), (200, "old"));
    assert!(stale.cache_status().contains("stale-if-error"), "{stale:?}");
}

#[tokio::test]
async fn what_is_nobody_elses_is_not_in_redis() {
    let redis = Redis::start().await;
    let origin = Origin::start(|request| match request.target.as_str() {
        "/private" => ok("x").with("Cache-Control", "private, max-age=60"),
        "/no-store" => ok("x").with("Cache-Control", "no-store"),
        "/cookie" => ok("x").fresh(60).with("Set-Cookie", "a=b"),
        _ => ok("x").fresh(60),
    })
    .await;
    let proxy = node(&redis, &origin).await;
    for target in ["/private", "/no-store", "/cookie"] {
        proxy.get(target).await;
    }
    proxy.send(&get("/authorized").with("Authorization", "Basic eDp5")).await;
    proxy.get("/public").await;
    proxy.wrote(Wrote::Stored, 1).await;
    assert_eq!(redis.keys().await.len(), 1);
}

/// What the origin said of one visitor's request is not made up for others.
#[tokio::test]
async fn an_answer_that_turns_uncacheable_goes_from_redis_too() {
    let redis = Redis::start().await;
    let origin = Origin::sequence([
        ok("old").fresh(60).with("ETag", "\"a\""),
        status(304).with("ETag", "\"a\"").with("Cache-Control", "private"),
        ok("mine").with("Cache-Control", "private"),
    ])
    .await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    one.advance(secs(61));
    one.get("/").await;
    one.wrote(Wrote::Deleted, 1).await;
    assert_eq!(other.get("/").await.text(), "mine");
}

#[tokio::test]
async fn the_client_s_own_conditions_and_ranges_are_answered_from_redis() {
    let redis = Redis::start().await;
    let origin = Origin::answering(ok("0123456789").fresh(60).with("ETag", "\"a\"")).await;
    let one = node(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    for (field, value, status, body) in
        [("If-None-Match", "\"a\"", 304, ""), ("Range", "bytes=2-4", 206, "234")]
    {
        let other = node(&redis, &origin).await;
        let response = other.send(&get("/").with(field, value)).await;
        assert_eq!((response.status, response.text()), (status, body), "{field}");
        assert!(response.complete);
    }
}

#[tokio::test]
async fn an_older_fetch_does_not_replace_a_newer_one() {
    let redis = Redis::start().await;
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.number {
        0 => ok("old").fresh(600).gate(&held),
        _ => ok("new").fresh(600),
    })
    .await;
    let (one, other) = two(&redis, &origin).await;
    let slow = one.start_all(1, &get("/")).await;
    origin.arrived(1).await;
    one.advance(secs(10));
    assert_eq!(other.get("/").await.text(), "new");
    other.wrote(Wrote::Stored, 1).await;
    gate.open();
    all(slow).await;
    one.wrote(Wrote::Older, 1).await;
    let third = node(&redis, &origin).await;
    assert_eq!(third.get("/").await.text(), "new");
}

#[tokio::test]
async fn what_waits_to_be_written_is_when_a_node_ends() {
    let redis = Redis::start().await;
    let origin = Origin::start(|request| ok(request.target.clone()).fresh(600)).await;
    let mut one = node(&redis, &origin).await;
    for number in 0..50 {
        one.get(&format!("/{number}")).await;
    }
    one.purge("url", "http://example.test/0", "hard").await;
    within("the end", one.shutdown()).await.expect("no panic");
    assert_eq!(redis.keys().await.len(), 49);
}

/// RFC 9111 §4.2.3: a clock that is ahead would make a response fresh for ever.
#[tokio::test]
async fn what_comes_from_the_future_is_not_used() {
    let redis = Redis::start().await;
    let origin = Origin::answering(ok("x").fresh(60)).await;
    let ahead = Origin::answering(ok("future").fresh(60)).await;
    ahead.clock.advance(secs(3600));
    let one = node(&redis, &ahead).await;
    one.send(&get("/")).await;
    one.wrote(Wrote::Stored, 1).await;
    let other = node(&redis, &origin).await;
    assert_eq!(other.get("/").await.text(), "x");
    assert_eq!(other.looked(Looked::Unusable), 1);
}

#[tokio::test]
async fn metrics_and_readiness_tell_how_it_stands() {
    let redis = Redis::start().await;
    let origin = Origin::answering(ok("x").fresh(60)).await;
    let proxy = node(&redis, &origin).await;
    proxy.get("/").await;
    proxy.wrote(Wrote::Stored, 1).await;
    assert_eq!(proxy.ask_admin(&get("/readyz")).await.text(), "ready\n");
    let metrics = proxy.ask_admin(&get("/metrics")).await;
    for line in [
        "seawall_redis_up 1.0",
        "seawall_redis_lookups_total{result=\"miss\"} 1",
        "seawall_redis_writes_total{result=\"stored\"} 1",
        "seawall_redis_queue_items 0.0",
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line}");
    }
}
