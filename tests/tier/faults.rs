//! Redis gone, read-only, full, flushed, or speaking nonsense: the site goes on.

use ::redis::cmd;
use seawall::redis::{Fault, Health, Secret};
use seawall::store::remote::fleet::Doubted;
use seawall::store::remote::{Looked, Wrote};

use super::{from_tier, node, two};
use crate::support::*;

async fn readiness(proxy: &Proxy) -> String {
    let ready = proxy.ask_admin(&get("/readyz")).await;
    assert_eq!(ready.status, 200, "this node is worth asking, whatever Redis does");
    // What is said of purges comes after it.
    ready.text().lines().next().unwrap_or_default().to_owned() + "\n"
}

#[tokio::test]
async fn a_node_starts_without_redis_and_joins_when_it_comes() {
    let mut redis = Redis::absent();
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let proxy = Proxy::with(&origin, |settings| redis.configure(settings)).await;
    assert_eq!(proxy.get("/").await.text(), "x");
    assert!(proxy.get("/").await.is_hit());
    eventually("a failure to connect", || proxy.tier().room().faults(Fault::Unreachable) > 0).await;
    assert_eq!(readiness(&proxy).await, "degraded: without redis: unreachable\n");
    redis.resume().await;
    proxy.joined().await;
    assert_eq!(readiness(&proxy).await, "ready\n");
    proxy.wrote(Wrote::Stored, 1).await;
    let other = node(&redis, &origin).await;
    other.get("/").await;
    assert_eq!(other.looked(Looked::Hit), 1, "what waited was written");
}

#[tokio::test]
async fn redis_killed_midway_costs_no_request() {
    let mut redis = Redis::start().await;
    let origin = Origin::start(|request| ok(request.target.clone()).fresh(600)).await;
    let proxy = node(&redis, &origin).await;
    for number in 0..20 {
        if number == 10 {
            redis.kill();
        }
        let target = format!("/{number}");
        assert_eq!(proxy.get(&target).await.text(), target);
    }
    proxy.parted().await;
    assert!(proxy.get("/0").await.is_hit(), "memory goes on");
    let before = proxy.looked(Looked::Skipped);
    proxy.get("/new").await;
    assert_eq!(proxy.looked(Looked::Skipped), before + 1, "nobody waits for it");
    redis.resume().await;
    proxy.joined().await;
    proxy.get("/newer").await;
    eventually("the newest to be written", || proxy.tier().waiting().0 == 0).await;
    let other = node(&redis, &origin).await;
    assert!(from_tier(&other.get("/newer").await));
}

#[tokio::test]
async fn a_flushed_redis_is_filled_again() {
    let redis = Redis::start().await;
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    redis.run_line("FLUSHALL").await;
    other.doubted(Doubted::Lost).await;
    assert_eq!(other.get("/").await.text(), "x");
    other.wrote(Wrote::Stored, 1).await;
    assert!(from_tier(&node(&redis, &origin).await.get("/").await));
}

#[tokio::test]
async fn a_redis_that_is_full_is_read_and_not_written_to() {
    let redis = Redis::start().await;
    let origin = Origin::start(|request| ok(request.target.clone()).fresh(600)).await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/before").await;
    one.wrote(Wrote::Stored, 1).await;
    redis.run_line("CONFIG SET maxmemory-policy noeviction").await;
    redis.run_line("CONFIG SET maxmemory 1").await;
    assert_eq!(other.get("/during").await.text(), "/during");
    eventually("the refusal", || other.tier().health() == Health::Unwritable(Fault::Full)).await;
    assert_eq!(readiness(&other).await, "degraded: nothing is written to redis: full\n");
    assert!(from_tier(&other.get("/before").await), "it is still read");
    redis.run_line("CONFIG SET maxmemory 0").await;
    other.get("/after").await;
    other.wrote(Wrote::Stored, 1).await;
    other.joined().await;
}

#[tokio::test]
async fn a_replica_is_read_and_not_written_to() {
    let redis = Redis::start().await;
    let origin = Origin::start(|request| ok(request.target.clone()).fresh(600)).await;
    let (one, other) = two(&redis, &origin).await;
    one.get("/before").await;
    one.wrote(Wrote::Stored, 1).await;
    // Of a primary that never comes; it still has what it had.
    redis.run_line("REPLICAOF 127.0.0.1 1").await;
    other.get("/during").await;
    eventually("the refusal", || other.tier().health() == Health::Unwritable(Fault::ReadOnly))
        .await;
    assert!(from_tier(&other.get("/before").await));
    redis.run_line("REPLICAOF NO ONE").await;
    other.get("/after").await;
    other.wrote(Wrote::Stored, 1).await;
    other.joined().await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_a_right_one_works() {
    let redis = Redis::with(&["--requirepass", "right"]).await;
    let origin = Origin::answering(ok("x").fresh(600)).await;
    for (password, health) in [
        (None, Health::Down(Fault::Denied)),
        (Some("wrong"), Health::Down(Fault::Denied)),
        (Some("right"), Health::Good),
    ] {
        let proxy = Proxy::with(&origin, |settings| {
            redis.configure(settings);
            let redis = settings.redis.as_mut().expect("configured");
            redis.login.password = password.map(|it| Secret(it.to_owned()));
        });
        let proxy = proxy.await;
        eventually("the outcome", || proxy.tier().health() == health).await;
        assert_eq!(proxy.get("/").await.text(), "x");
    }
}

#[tokio::test]
async fn values_of_somebody_else_are_misses() {
    let redis = Redis::start().await;
    let origin = Origin::answering(ok("right").fresh(600)).await;
    let one = node(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    let key = redis.keys().await.remove(0);
    let entry: Vec<u8> = redis.ask(cmd("HGET").arg(&key).arg("-")).await;
    let mut altered = entry.clone();
    altered[100] ^= 1;
    let mut newer = entry.clone();
    newer[2] = 77;
    for (value, outcome) in [
        (b"not ours".to_vec(), Looked::Corrupt),
        (Vec::new(), Looked::Corrupt),
        (entry[..entry.len() / 2].to_vec(), Looked::Corrupt),
        (altered, Looked::Corrupt),
        (newer, Looked::Version),
    ] {
        let _: i64 = redis.ask(cmd("HSET").arg(&key).arg("-").arg(value)).await;
        let proxy = node(&redis, &origin).await;
        assert_eq!(proxy.get("/").await.text(), "right");
        assert_eq!(proxy.looked(outcome), 1, "{}", outcome.word());
        proxy.wrote(Wrote::Stored, 1).await;
    }
    // The entry of one key under another's name.
    one.get("/other").await;
    one.wrote(Wrote::Stored, 2).await;
    let other = redis.keys().await.into_iter().find(|it| *it != key).expect("two keys");
    let _: i64 = redis.ask(cmd("HSET").arg(&other).arg("-").arg(&entry)).await;
    let proxy = node(&redis, &origin).await;
    proxy.get("/other").await;
    assert_eq!(proxy.looked(Looked::Corrupt), 1);
    // No hash at all.
    let _: ::redis::Value = redis.ask(cmd("SET").arg(&key).arg("a string")).await;
    let proxy = node(&redis, &origin).await;
    assert_eq!(proxy.get("/").await.text(), "right");
    proxy.wrote(Wrote::Stored, 1).await;
    assert!(from_tier(&node(&redis, &origin).await.get("/").await), "in the place of the string");
}

/// Half a gigabyte under a name of ours: it is not read.
#[tokio::test]
async fn a_value_that_is_far_too_large_ends_the_connection_and_not_the_memory() {
    let redis = Redis::start().await;
    let origin = Origin::answering(ok("right").fresh(600)).await;
    let one = node(&redis, &origin).await;
    one.get("/").await;
    one.wrote(Wrote::Stored, 1).await;
    let key = redis.keys().await.remove(0);
    let large = vec![b'x'; 64 * 1024 * 1024];
    let _: i64 = redis.ask(cmd("HSET").arg(&key).arg("-").arg(&large)).await;
    let other = node(&redis, &origin).await;
    assert_eq!(other.get("/").await.text(), "right");
    assert_eq!(other.looked(Looked::Failed), 1);
    other.joined().await;
}

#[tokio::test]
async fn what_evicts_and_expires_is_a_miss() {
    let redis = Redis::with(&["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let origin = Origin::start(|request| {
        let number: usize = request.target[1..].parse().expect("a number");
        ok(vec![number as u8; 200_000]).fresh(600)
    })
    .await;
    let one = node(&redis, &origin).await;
    for number in 0..30 {
        one.get(&format!("/{number}")).await;
    }
    eventually("all to be written", || one.tier().waiting().0 == 0).await;
    let other = node(&redis, &origin).await;
    for number in 0..30_usize {
        let response = other.get(&format!("/{number}")).await;
        assert!(response.complete && response.body == vec![number as u8; 200_000], "{number}");
    }
}

#[tokio::test]
async fn what_can_not_be_written_is_dropped_the_oldest_first() {
    let mut redis = Redis::absent();
    let origin = Origin::start(|request| ok(request.target.clone()).fresh(600)).await;
    let proxy = Proxy::with(&origin, |settings| {
        redis.configure(settings);
        settings.tier.queue_items = 5;
    });
    let proxy = proxy.await;
    for number in 0..20 {
        proxy.get(&format!("/{number}")).await;
    }
    proxy.wrote(Wrote::Dropped, 15).await;
    redis.resume().await;
    proxy.wrote(Wrote::Stored, 5).await;
    let other = node(&redis, &origin).await;
    other.get("/19").await;
    other.get("/0").await;
    assert_eq!((other.looked(Looked::Hit), other.looked(Looked::Miss)), (1, 1));
}
