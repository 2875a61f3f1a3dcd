//! Nodes that could not hear: what they missed they do when they are back, and what they can't know
//! they doubt.

use ::redis::cmd;
use seawall::store::remote::fleet::{Doubted, Read};

use super::{Site, order};
use crate::support::*;
use crate::tier::stalls::{Between, Way};

/// A node behind a way to Redis that the test can close.
async fn far(site: &Site, between: &Between, redis: &Redis) -> Proxy {
    let place = between.place();
    site.node_with(redis, |settings| {
        settings.redis.as_mut().expect("configured").place = place;
    })
    .await
}

#[tokio::test]
async fn a_node_that_was_away_does_what_it_has_missed_and_nothing_else() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let between = Between::to(&redis).await;
    let (one, away) = (site.node(&redis).await, far(&site, &between, &redis).await);
    away.shows("/a").await;
    away.shows("/b").await;
    between.set(Way::Cut);
    eventually("it to notice", || away.tier().fleet().deaf().is_some()).await;
    site.change();
    one.purge("url", "http://example.test/a", "hard").await;
    assert!(away.get("/a").await.is_hit(), "it can't know");
    between.set(Way::Open);
    away.read(Read::Applied, 1).await;
    assert_eq!(away.shows("/a").await, "2");
    assert!(away.get("/b").await.is_hit());
    assert_eq!(away.tier().fleet().counters().doubts(Doubted::Trimmed), 0);
}

#[tokio::test]
async fn a_purge_on_a_node_that_is_away_is_heard_when_it_is_back() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let between = Between::to(&redis).await;
    let (one, away) = (site.node(&redis).await, far(&site, &between, &redis).await);
    one.shows("/a").await;
    between.set(Way::Cut);
    eventually("it to notice", || away.tier().fleet().deaf().is_some()).await;
    away.parted().await;
    site.change();
    away.purge("tag", "page", "hard").await;
    assert_eq!(away.tier().fleet().unpublished(), 1);
    assert!(one.get("/a").await.is_hit());
    between.set(Way::Open);
    one.read(Read::Applied, 1).await;
    assert_eq!(one.shows("/a").await, "2");
}

#[tokio::test]
async fn where_the_stream_was_trimmed_meanwhile_everything_is_validated() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let between = Between::to(&redis).await;
    let (one, away) = (site.node(&redis).await, far(&site, &between, &redis).await);
    away.shows("/a").await;
    away.shows("/b").await;
    between.set(Way::Cut);
    eventually("it to notice", || away.tier().fleet().deaf().is_some()).await;
    one.purge_everywhere_else().await;
    redis.run_line("XTRIM seawall:purges MAXLEN 0").await;
    between.set(Way::Open);
    away.doubted(Doubted::Trimmed).await;
    away.hearing().await;
    let asked = site.origin.count();
    assert_eq!(away.shows("/b").await, "1");
    assert_eq!(site.origin.count(), asked + 1);
    assert_eq!(site.origin.last().field("If-None-Match"), Some("\"1\""), "confirmed");
    assert!(away.get("/b").await.is_hit(), "and fresh again");
    // The node that had read everything has missed nothing.
    assert_eq!(one.tier().fleet().counters().doubts(Doubted::Trimmed), 0);
}

/// What a failover does to a primary's last entries: one node has read them, the other has not.
#[tokio::test]
async fn a_purge_that_is_lost_from_the_end_of_the_stream_is_published_again() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let between = Between::to(&redis).await;
    let (one, away) = (site.node(&redis).await, far(&site, &between, &redis).await);
    away.shows("/a").await;
    between.set(Way::Cut);
    eventually("it to notice", || away.tier().fleet().deaf().is_some()).await;
    let before: Vec<u8> = redis.ask(cmd("DUMP").arg("seawall:purges")).await;
    site.change();
    one.purge("url", "http://example.test/a", "hard").await;
    one.read(Read::Own, 1).await;
    let restore = cmd("RESTORE").arg("seawall:purges").arg(0).arg(before).arg("REPLACE").clone();
    let _: ::redis::Value = redis.ask(&restore).await;
    one.doubted(Doubted::SetBack).await;
    between.set(Way::Open);
    away.read(Read::Applied, 1).await;
    assert_eq!(away.shows("/a").await, "2");
}

#[tokio::test]
async fn where_the_stream_was_flushed_every_node_validates_what_it_holds() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    other.shows("/a").await;
    redis.run_line("FLUSHALL").await;
    one.doubted(Doubted::Lost).await;
    other.doubted(Doubted::Lost).await;
    let response = other.get("/a").await;
    assert!(response.cache_status().contains("purges-missed"), "{response:?}");
    // The new stream is as good as the old one.
    site.change();
    one.purge_everywhere(r#""urls":["http://example.test/a"]"#, "hard").await;
    assert_eq!(other.shows("/a").await, "2");
}

#[tokio::test]
async fn a_redis_that_starts_anew_is_a_new_sequence_and_what_was_not_written_is() {
    let (mut redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    other.shows("/a").await;
    redis.kill();
    one.parted().await;
    site.change();
    one.purge("url", "http://example.test/a", "hard").await;
    redis.resume().await;
    for node in [&one, &other] {
        node.doubted(Doubted::Lost).await;
    }
    assert_eq!(other.shows("/a").await, "2");
    other.read(Read::Applied, 1).await;
}

#[tokio::test]
async fn without_the_stream_nothing_is_used_for_longer_than_the_bound() {
    let (mut redis, site) = (Redis::start().await, Site::start().await);
    let one = site.node_with(&redis, |settings| settings.tier.max_unsynced = millis(300)).await;
    one.shows("/a").await;
    assert!(one.get("/a").await.is_hit());
    redis.kill();
    one.doubted(Doubted::Unsynced).await;
    site.change();
    assert_eq!(one.shows("/a").await, "2", "although it was fresh for ten minutes");
    let ready = one.ask_admin(&get("/readyz")).await;
    assert!(ready.text().contains("purges of other nodes are not heard"), "{}", ready.text());
    assert!(ready.text().contains("memory is used for 300ms"), "{}", ready.text());
    let metrics = one.ask_admin(&get("/metrics")).await;
    assert!(metrics.text().contains("seawall_fleet_synced 0.0"));
}

#[tokio::test]
async fn without_a_bound_memory_goes_on_for_as_long_as_it_is_fresh() {
    let (mut redis, site) = (Redis::start().await, Site::start().await);
    let one = site.node_with(&redis, |settings| settings.tier.max_unsynced = millis(0)).await;
    one.shows("/a").await;
    redis.kill();
    one.parted().await;
    assert!(one.get("/a").await.is_hit());
    assert_eq!(one.tier().fleet().counters().doubts(Doubted::Unsynced), 0);
}

/// RFC 5861 §3 and §4: what may have been purged hard is served stale only where the origin fails.
#[tokio::test]
async fn what_is_doubted_is_not_served_while_it_is_refreshed_but_where_the_origin_fails() {
    let redis = Redis::start().await;
    let control = "max-age=600, stale-while-revalidate=600, stale-if-error=600";
    let first = ok("old").with("Cache-Control", control);
    let second = ok("new").with("Cache-Control", control);
    let site = Site {
        origin: Origin::sequence([first, second, status(503)]).await,
        version: std::sync::Arc::default(),
    };
    let one = site.node(&redis).await;
    one.shows("/a").await;
    redis.run_line("FLUSHALL").await;
    one.doubted(Doubted::Lost).await;
    assert_eq!(one.shows("/a").await, "new");
    one.read(Read::Beginning, 2).await;
    redis.run_line("FLUSHALL").await;
    let lost = || one.tier().fleet().counters().doubts(Doubted::Lost) == 2;
    eventually("the second loss", lost).await;
    assert_eq!(one.shows("/a").await, "new");
    assert_eq!(site.origin.count(), 3);
}

impl Proxy {
    /// Purges something that nobody has, and waits until this node has read it back.
    async fn purge_everywhere_else(&self) {
        self.purge("url", "http://elsewhere.test/", "hard").await;
        self.read(Read::Own, 1).await;
        // Who is away is missing.
        let answer = self.ask_admin(&order(r#""tags":["nobody"]"#, "hard", 0)).await;
        assert_eq!(answer.status, 202);
    }
}
