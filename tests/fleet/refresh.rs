//! Refreshing and preloading in a fleet: one fetch for all nodes, and a node that starts has what the
//! others are asked for most.

use ::redis::cmd;
use seawall::config::Settings;
use seawall::store::remote::{Looked, Wrote};

use super::{Site, order};
use crate::support::*;

/// What is asked for most is told at once.
fn telling(settings: &mut Settings) {
    settings.tier.top_every = millis(20);
}

async fn told(redis: &Redis, count: usize) {
    within("what is asked for most", async {
        loop {
            let there: usize = redis.ask(cmd("ZCARD").arg("seawall:top")).await;
            if there == count {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn ask(proxy: &Proxy, path: &str, times: usize) {
    for _ in 0..times {
        proxy.get(path).await;
    }
}

#[tokio::test]
async fn a_purge_that_refreshes_does_on_all_nodes_by_one_fetch() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let (one, other) = (site.node(&redis).await, site.node(&redis).await);
    for node in [&one, &other] {
        ask(node, "/a", 3).await;
        one.wrote(Wrote::Stored, 1).await;
    }
    assert_eq!(site.origin.count(), 1);
    // What is not newer than what memory has is not taken from Redis.
    one.advance(secs(1));
    site.change();
    let answer = one.ask_admin(&order(r#""tags":["page"]"#, "refresh", 20)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("both to have it", || one.stands("/a") && other.stands("/a")).await;
    for node in [&one, &other] {
        let response = node.get("/a").await;
        assert!(response.is_hit() && response.text() == "2", "{response:?}");
    }
    assert_eq!(site.origin.count(), 2);
}

#[tokio::test]
async fn a_backend_asks_for_it_by_the_stream() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let one = site.node(&redis).await;
    ask(&one, "/a", 3).await;
    site.change();
    let entry = ["seawall:purges", "*", "tag", "page", "mode", "refresh"];
    let _: String = redis.ask(cmd("XADD").arg(&entry)).await;
    eventually("it to be refreshed", || site.origin.count() == 2 && one.stands("/a")).await;
    assert_eq!(one.get("/a").await.text(), "2");
}

#[tokio::test]
async fn a_node_that_starts_answers_from_memory_what_others_are_asked_for_most() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let one = site.node_with(&redis, telling).await;
    for path in ["/a", "/b"] {
        ask(&one, path, 3).await;
    }
    ask(&one, "/seldom", 1).await;
    one.wrote(Wrote::Stored, 3).await;
    told(&redis, 2).await;
    let other = site.node(&redis).await;
    let has =
        |path: &str| other.cache().memory().peek(&format!("http://example.test{path}")).is_some();
    eventually("it to have both", || has("/a") && has("/b")).await;
    assert!(!has("/seldom"));
    let fetched = site.origin.count();
    let lookups = || Looked::ALL.iter().map(|&looked| other.looked(looked)).sum::<u64>();
    let before = lookups();
    for path in ["/a", "/b"] {
        let response = other.get(path).await;
        assert!(response.is_hit() && !response.cache_status().contains("tier-hit"), "{response:?}");
    }
    assert_eq!((site.origin.count(), lookups()), (fetched, before));
}

#[tokio::test]
async fn what_was_purged_is_not_preloaded() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let one = site.node_with(&redis, telling).await;
    for path in ["/a", "/b"] {
        ask(&one, path, 3).await;
    }
    one.wrote(Wrote::Stored, 2).await;
    told(&redis, 2).await;
    site.change();
    one.purge_everywhere(r#""tags":["page"]"#, "hard").await;
    let other = site.node(&redis).await;
    eventually("both to be looked up", || other.looked(Looked::Purged) == 2).await;
    assert_eq!(other.shows("/a").await, "2");
}

#[tokio::test]
async fn garbage_among_what_is_asked_for_most_is_skipped() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let one = site.node_with(&redis, telling).await;
    ask(&one, "/a", 3).await;
    one.wrote(Wrote::Stored, 1).await;
    told(&redis, 1).await;
    let mut add = cmd("ZADD");
    add.arg("seawall:top");
    for (place, member) in
        ["\u{0}", "nonsense", "ftp://a/", "http://", "http://h/\nhost: x", "http://h/\n:"]
            .into_iter()
            .enumerate()
    {
        add.arg(1e12 + place as f64).arg(member);
    }
    let _: usize = redis.ask(&add).await;
    let other = site.node(&redis).await;
    eventually("it to have the rest", || {
        other.cache().memory().peek("http://example.test/a").is_some()
    })
    .await;
}

#[tokio::test]
async fn a_node_that_wants_none_has_none_and_tells_nothing() {
    let (redis, site) = (Redis::start().await, Site::start().await);
    let silent = |settings: &mut Settings| {
        telling(settings);
        settings.tier.preload = 0;
    };
    let one = site.node_with(&redis, silent).await;
    let telling = site.node_with(&redis, telling).await;
    ask(&telling, "/a", 3).await;
    ask(&one, "/b", 3).await;
    told(&redis, 1).await;
    let members: Vec<String> = redis.ask(cmd("ZRANGE").arg(&["seawall:top", "0", "-1"])).await;
    assert_eq!(members, ["http://example.test/a"]);
    let late = site.node_with(&redis, silent).await;
    assert!(late.cache().memory().peek("http://example.test/a").is_none());
}
