//! Entries that somebody else writes into the stream: a backend, by hand, or out of malice.

use std::process::Command;

use ::redis::cmd;
use seawall::store::remote::fleet::Read;

use super::Site;
use crate::support::*;

/// What the documentation shows: the program that comes with Redis.
fn by_hand(redis: &Redis, words: &[&str]) {
    let port = redis.address.port().to_string();
    let xadd = ["-p", &port, "XADD", "seawall:purges", "*"];
    let done = Command::new("redis-cli").args(xadd).args(words).output().expect("redis-cli");
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test]
async fn a_backend_purges_by_writing_to_redis() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    for (count, words) in [
        &["tag", "page", "mode", "hard"][..],
        &["url", "http://EXAMPLE.test:80/x/../a"],
        &["url", "http://example.test/b", "url", "http://example.test/a", "note", "by hand"],
        &["host", "example.test"],
        &["origin", "http://example.test", "group", "g", "mode", "soft"],
        &["all", "1"],
    ]
    .into_iter()
    .enumerate()
    {
        one.shows("/a").await;
        let before = other.shows("/a").await;
        site.change();
        by_hand(&redis, words);
        for node in [&one, &other] {
            node.read(Read::Applied, count as u64 + 1).await;
            assert_ne!(node.shows("/a").await, before, "{words:?}");
        }
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_counted_and_skipped() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let one = site.node(&redis).await;
    one.shows("/a").await;
    site.change();
    for words in [
        &["tga", "page"][..],
        &["url", "/a"],
        &["all", "1", "mode", "hrad"],
        &["group", "g"],
        &["note", "nothing"],
    ] {
        by_hand(&redis, words);
    }
    let huge = |bytes: usize| vec![b"tag".to_vec(), vec![b'x'; bytes]];
    let many: Vec<_> = (0..6000).map(|_| b"tag".to_vec()).collect();
    for fields in [huge(300_000), huge(8 * 1024 * 1024), many] {
        let _: String = redis.ask(cmd("XADD").arg("seawall:purges").arg("*").arg(fields)).await;
    }
    one.read(Read::Malformed, 8).await;
    assert!(one.get("/a").await.is_hit(), "nothing was done");
    by_hand(&redis, &["tag", "page", "mode", "hard"]);
    one.read(Read::Applied, 1).await;
    assert_eq!(one.shows("/a").await, "2", "and what comes after them is");
}

/// Somebody writes before any node has begun the stream.
#[tokio::test]
async fn a_stream_that_no_node_has_begun_is_taken_over() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    by_hand(&redis, &["tag", "page", "mode", "hard"]);
    let one = site.node(&redis).await;
    one.read(Read::Applied, 1).await;
    one.shows("/a").await;
    assert!(one.get("/a").await.is_hit());
}

#[tokio::test]
async fn what_is_no_stream_under_its_name_gives_way() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    redis.run_line("SET seawall:purges x").await;
    redis.run_line("SET seawall:nodes:{seawall:purges} x").await;
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    one.purge_everywhere(r#""kind":"all""#, "hard").await;
    other.read(Read::Applied, 1).await;
}

#[tokio::test]
async fn a_large_purge_goes_in_parcels_and_all_of_it_arrives() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    other.shows("/a").await;
    site.change();
    let mut tags: Vec<_> = (0..4000).map(|number| format!("\"t{number}\"")).collect();
    tags.push("\"page\"".to_owned());
    one.purge_everywhere(&format!("\"tags\":[{}]", tags.join(",")), "hard").await;
    assert_eq!(other.shows("/a").await, "2");
    assert!(other.tier().fleet().counters().entries(Read::Applied) > 10);
}
